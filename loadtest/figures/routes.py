"""What gateways say of the way of a request, by headers of its answer: who answered, in how many attempts, from a cache
or not, for how much money, and which limit refused it."""

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from loadtest.figures.numbers import several

_PREFIX: Final = "x-trigate-"
_COUNTED: Final = {"target": "targets", "cache": "cache", "limit": "limits", "lane": "lanes"}
_MOST: Final = 50  # names of each that are told apart: a server may make up one for each answer
_OTHERS: Final = "(others)"
_DEAREST: Final = 10**6  # US dollars, beyond which a cost is none
_CHEAPEST: Final = Decimal(10) ** -12  # US dollars that are told apart; what is written out has so many digits


class RouteFigures:
    """The sums of what many answers say of their routes. ``costed`` answers have told their ``cost``, in US dollars,
    and ``told`` in how many ``attempts`` they were had."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in _COUNTED.values()}
        self.attempts = self.told = self.costed = 0
        self.cost = Decimal(0)

    def add(self, route: Mapping[str, str]) -> None:
        """Count one answer's headers. What a limit of the gateway's has refused nobody has answered, though it is said
        who was to."""
        refused = bool(route.get(f"{_PREFIX}limit"))
        for header, name in _COUNTED.items():
            if (value := route.get(_PREFIX + header)) and (name == "limits" or not refused):
                self._count(name, value)
        attempts, cost = route.get(f"{_PREFIX}attempts", ""), _money(route.get(f"{_PREFIX}cost", ""))
        if not refused and attempts.isascii() and attempts.isdigit() and len(attempts) < 5:
            self.attempts, self.told = self.attempts + int(attempts), self.told + 1
        if cost is not None:
            self.cost, self.costed = self.cost + cost, self.costed + 1

    def _count(self, name: str, value: str, number: int = 1) -> None:
        counts = self.counts[name]
        counts[value if value in counts or len(counts) < _MOST else _OTHERS] += number

    def merge(self, other: "RouteFigures") -> None:
        """Add all of ``other``."""
        for name, counts in other.counts.items():
            for value, number in counts.items():
                self._count(name, value, number)
        self.attempts += other.attempts
        self.told += other.told
        self.cost += other.cost
        self.costed += other.costed

    @property
    def hits(self) -> int:
        """Answers of the gateway's own cache."""
        return self.counts["cache"]["hit"]

    def dump(self) -> dict[str, Any]:
        """As JSON values; empty where no answer said anything."""
        found: dict[str, Any] = {name: dict(counts.most_common()) for name, counts in self.counts.items() if counts}
        if self.told:
            found |= {"attempts": self.attempts, "attempts_told": self.told}
        if self.costed:
            found |= {"cost_usd": f"{self.cost.normalize():f}", "cost_told": self.costed}
        return found

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> "RouteFigures":
        """Read what ``dump`` gave. Raises ``TypeError`` or ``ValueError`` for anything else."""
        self = cls()
        for name, counts in self.counts.items():
            counts.update({str(key): int(number) for key, number in value.get(name, {}).items()})
        self.attempts, self.told = int(value.get("attempts", 0)), int(value.get("attempts_told", 0))
        self.cost, self.costed = Decimal(value.get("cost_usd", 0)), int(value.get("cost_told", 0))
        return self

    def lines(self) -> list[str]:
        """In words; nothing where no answer said anything."""
        found = []
        if targets := self.counts["targets"]:
            each = f", in {several(round(self.attempts / self.told, 2), 'attempt')} each" if self.told else ""
            found.append(f"answered by {_listed(targets)}{each}")
        if cache := self.counts["cache"]:
            found.append(f"the gateway's cache: {_listed(cache)} ({100 * self.hits / cache.total():.3g} % hits)")
        if limits := self.counts["limits"]:
            found.append(f"refused by its limits: {_listed(limits)}")
        if self.costed:
            found.append(f"cost {self.cost.normalize():f} USD, as {self.costed} answers say")
        return found


def _listed(counts: Counter[str]) -> str:
    named = [f"{name} {number}" for name, number in counts.most_common(6)]
    return ", ".join(named + (["…"] if len(counts) > len(named) else []))


def _money(text: str) -> Decimal | None:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value.quantize(_CHEAPEST) if value.is_finite() and 0 <= value <= _DEAREST else None
