"""The rules by which the members of a group are ordered: the first is asked, the others where it fails.

Each is a function of the members, their loads, the moment and a source of random numbers from 0 to 1. A member of
weight 0 stands behind all others, whatever the rule: it is for when these are out.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf, log
from typing import Final, TypeAlias

from gateway.balancing.loads import Loads
from gateway.config.settings import Balance
from gateway.routing.plan import Candidate

Random: TypeAlias = Callable[[], float]
BalanceRule: TypeAlias = Callable[[Sequence[Candidate], Loads, float, Random], list[Candidate]]

_TIE: Final = 1e-6
"""Of a difference, at most: what decides among equals."""


def least_busy(members: Sequence[Candidate], loads: Loads, now: float, random: Random) -> list[Candidate]:
    """The fewest open answers for its weight first, equals at random."""
    return _ordered(members, [load_of(one, loads) + _TIE * random() for one in members])


def weighted(members: Sequence[Candidate], loads: Loads, now: float, random: Random) -> list[Candidate]:
    """Each member as often as its weight says among those that are not out: what is left of an order by chance without
    some of its members is such an order, too (Efraimidis and Spirakis, https://doi.org/10.1016/j.ipl.2005.11.003)."""
    return _drawn(members, [one.weight for one in members], random)


def load_of(member: Candidate, loads: Loads) -> float:
    """A member's open answers for its weight."""
    return loads.open_answers(member.target) / member.weight if member.weight else inf


def _drawn(members: Sequence[Candidate], shares: Sequence[float], random: Random) -> list[Candidate]:
    return _ordered(members, [-log(1 - random()) / share if share else inf for share in shares])


def _ordered(members: Sequence[Candidate], keys: Sequence[float]) -> list[Candidate]:
    return [members[at] for at in sorted(range(len(members)), key=keys.__getitem__)]


RULES: Final[Mapping[Balance, BalanceRule]] = {
    "least_busy": least_busy,
    "weighted": weighted,
    "lowest_latency": weighted,
    "cheapest": least_busy,
}
