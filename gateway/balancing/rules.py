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
"""What decides among equals, and is less than any difference."""

_ALIKE: Final = 1.25
"""Times the fastest member's time within which another is as fast."""
_STEEP: Final = 4
"""How steeply shares fall: a member that takes twice as long gets a sixteenth of what it had."""
_FLOOR: Final = 0.06
"""The share of a slow member: a little more than the 5 of 100 requests by which it is seen to be fast again."""


def least_busy(members: Sequence[Candidate], loads: Loads, now: float, random: Random) -> list[Candidate]:
    """The fewest open answers for its weight first, equals at random."""
    return _ordered(members, [load_of(one, loads) + _TIE * random() for one in members])


def weighted(members: Sequence[Candidate], loads: Loads, now: float, random: Random) -> list[Candidate]:
    """Each member as often as its weight says among those that are not out: what is left of an order by chance without
    some of its members is such an order, too (Efraimidis and Spirakis, https://doi.org/10.1016/j.ipl.2005.11.003)."""
    return _drawn(members, [one.weight for one in members], random)


def lowest_latency(members: Sequence[Candidate], loads: Loads, now: float, random: Random) -> list[Candidate]:
    """The members whose streams begin about as soon as the fastest one's share the requests by weight, without a herd
    on whichever is a little ahead. The slower ones have less, but never so little that nobody would see them become
    fast again; one that nothing is known of counts as fast (BerriAI/litellm#3360, #1361)."""
    times = [loads.first_content(one.target, now) for one in members]
    fast = _ALIKE * min((time for time in times if time is not None), default=0.0)
    wanted = [
        one.weight if time is None or time <= fast else one.weight * (fast / time) ** _STEEP
        for one, time in zip(members, times, strict=True)
    ]
    return _drawn(members, _with_floor(wanted), random)


def cheapest(members: Sequence[Candidate], loads: Loads, now: float, random: Random) -> list[Candidate]:
    """The lowest price of this request first, the least busy among equals; what has no price stands behind what has
    one."""
    prices = [loads.price(one.target) for one in members]
    order = least_busy(members, loads, now, random)
    if not any(price is not None for price in prices):
        return order
    price_of = {id(one): inf if price is None else price for one, price in zip(members, prices, strict=True)}
    return sorted(order, key=lambda one: (not one.weight, price_of[id(one)]))


def load_of(member: Candidate, loads: Loads) -> float:
    """A member's open answers for its weight."""
    return loads.open_answers(member.target) / member.weight if member.weight else inf


def _with_floor(wanted: Sequence[float]) -> list[float]:
    """Shares in the proportion that is ``wanted``, none of them less than the floor but for 0. All that is raised takes
    half of the requests at most."""
    total, several = sum(wanted), sum(share > 0 for share in wanted)
    floor = min(_FLOOR, 1 / (2 * max(several, 1)))
    low = [0 < share < floor * total for share in wanted]
    rest = total - sum(share for share, is_low in zip(wanted, low, strict=True) if is_low)
    left = (1 - floor * sum(low)) / (rest or 1)
    return [floor if is_low else share * left for share, is_low in zip(wanted, low, strict=True)]


def _drawn(members: Sequence[Candidate], shares: Sequence[float], random: Random) -> list[Candidate]:
    return _ordered(members, [-log(1 - random()) / share if share else inf for share in shares])


def _ordered(members: Sequence[Candidate], keys: Sequence[float]) -> list[Candidate]:
    return [members[at] for at in sorted(range(len(members)), key=keys.__getitem__)]


RULES: Final[Mapping[Balance, BalanceRule]] = {
    "least_busy": least_busy,
    "weighted": weighted,
    "lowest_latency": lowest_latency,
    "cheapest": cheapest,
}
