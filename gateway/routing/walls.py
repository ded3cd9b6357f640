"""The wall of a client: the entries that may serve it, whatever fails and whatever it requests.

Without it, a key for one model could reach another one by making the first fail (BerriAI/litellm#38572, #39998)."""

from typing import TypeAlias

from gateway.routing.plan import Candidate
from gateway.routing.target import Target
from streams.errors import GatewayError

Wall: TypeAlias = frozenset[str] | None
"""The names of the entries that may serve a client; ``None`` for all."""


def is_inside(target: Target, wall: Wall) -> bool:
    """Return whether ``target`` may serve a client with this ``wall``."""
    return wall is None or target.entry.name in wall


def candidates_inside(candidates: tuple[Candidate, ...], wall: Wall, client: str | None) -> tuple[Candidate, ...]:
    """Return the ``candidates`` that may serve ``client``.

    Raises ``GatewayError`` (403) if there are none; it does not name the others."""
    if wall is None:
        return candidates
    inside = tuple(one for one in candidates if one.target.entry.name in wall)
    if not inside:
        raise outside_error(client, candidates[0].target.requested_name)
    return inside


def outside_error(client: str | None, requested_name: str) -> GatewayError:
    """Return the error for a model that no permitted entry can serve."""
    message = (
        f"the key {client!r} may not use any target of {requested_name!r}; GET /v1/models lists the models "
        "that it may use"
    )
    return GatewayError("permission", message, param="model", headers=(("x-should-retry", "false"),))
