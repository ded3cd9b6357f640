"""The wall of a client: the entries outside of which nothing ever serves it, whatever fails and whatever it asks for.

A key that was locked to one model got another one's answer by making the first fail (BerriAI/litellm#38572, #39998).
"""

from typing import TypeAlias

from gateway.routing.plan import Candidate
from gateway.routing.target import Target
from streams.errors import GatewayError

Wall: TypeAlias = frozenset[str] | None
"""The names of the entries that may serve a client, ``None`` for all."""


def is_inside(target: Target, wall: Wall) -> bool:
    """Whether ``target`` may serve a client with this ``wall``."""
    return wall is None or target.entry.name in wall


def walled(candidates: tuple[Candidate, ...], wall: Wall, client: str | None) -> tuple[Candidate, ...]:
    """The ``candidates`` that may serve ``client``. Raises ``GatewayError`` (403) where none may; it does not say
    where they would have been."""
    if wall is None:
        return candidates
    inside = tuple(one for one in candidates if one.target.entry.name in wall)
    if not inside:
        raise outside(client, candidates[0].target.asked)
    return inside


def outside(client: str | None, asked: str) -> GatewayError:
    """The error for a model that nothing inside of the wall of ``client`` can answer."""
    message = f"the key {client!r} may not use any target of {asked!r}; GET /v1/models lists the models that it may use"
    return GatewayError("permission", message, param="model", headers=(("x-should-retry", "false"),))
