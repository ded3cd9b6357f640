"""Groups of candidates to choose from, with given loads."""

from collections.abc import Sequence

import attrs

from gateway.config.aliases import Balance, Route, RouteTarget
from gateway.config_files.loading import from_mapping
from gateway.routing.plan import Candidate, Plan, send_once
from gateway.routing.router import Router

NAMES = [f"member-{number}" for number in range(100)]
_ROUTER = Router(
    from_mapping(
        {
            "version": "v0.3.0",
            "model_providers": [{"model": f"openai/{name}", "name": name, "access_key": "k"} for name in NAMES],
        }
    )
)
TARGETS = [_ROUTER.resolve(name, "chat") for name in NAMES]


def group(*weights: float, number: int = 0, first: int = 0) -> list[Candidate]:
    """Return a group of members with ``weights``, for the targets from ``first`` on."""
    return [Candidate(TARGETS[first + at], number, weight) for at, weight in enumerate(weights)]


def route(balance: Balance = "least_busy", name: str = "route") -> Route:
    return Route(name=name, groups=((RouteTarget("member-0"), RouteTarget("member-1")),), balance=balance)


@attrs.frozen
class FixedLoads:
    """The loads of a group's members, in their order."""

    open_answers: Sequence[int] = ()
    first_contents: Sequence[float] = ()
    prices: Sequence[float | None] = ()


def idle(members: int) -> FixedLoads:
    """Return loads without open requests and without history."""
    return FixedLoads([0] * members, [0.0] * members, [None] * members)


def plan(candidates: Sequence[Candidate], by: Route | None = None) -> Plan:
    return Plan(tuple(candidates), send_once, route=by)


def names(members: Sequence[Candidate]) -> list[str]:
    return [one.target.model for one in members]
