"""Groups to choose among, and loads as a test says them."""

from collections.abc import Mapping, Sequence

import attrs

from gateway.config.loading import from_mapping
from gateway.config.settings import Balance, Route, RouteTarget
from gateway.routing.plan import Candidate
from gateway.routing.router import Router
from gateway.routing.target import Target

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
    """A group of members with ``weights``, the targets from ``first`` on."""
    return [Candidate(TARGETS[first + at], number, weight) for at, weight in enumerate(weights)]


def route(balance: Balance = "least_busy", name: str = "route") -> Route:
    return Route(name, ((RouteTarget("member-0"), RouteTarget("member-1")),), balance)


@attrs.frozen
class SaidLoads:
    """Loads by the names of members."""

    open: Mapping[str, int] = {}
    times: Mapping[str, float] = {}
    prices: Mapping[str, float] = {}

    def open_answers(self, target: Target) -> int:
        return self.open.get(target.model, 0)

    def first_content(self, target: Target, now: float) -> float | None:
        return self.times.get(target.model)

    def price(self, target: Target) -> float | None:
        return self.prices.get(target.model)


def names(members: Sequence[Candidate]) -> list[str]:
    return [one.target.model for one in members]
