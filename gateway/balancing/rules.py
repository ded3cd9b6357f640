"""The rules by which the members of a group are ordered: the first is asked, the others where it fails.

Each is a function of the members' weights, their loads and a source of random numbers from 0 to 1, and gives their
positions in order. A member of weight 0 stands behind all others, whatever the rule: it is for when these are out.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf, log
from typing import Final, TypeAlias

from gateway.balancing.loads import Loads
from gateway.config.aliases import Balance

Random: TypeAlias = Callable[[], float]
BalanceRule: TypeAlias = Callable[[Sequence[float], Loads, Random], list[int]]

_TIE: Final = 1e-9
"""What decides among equals, and is less than any difference."""
_LAST: Final = 1e100
"""Further behind than any other."""

_ALIKE: Final = 1.25
"""Times the fastest member's time within which another is as fast."""
_STEEP: Final = 4
"""How steeply shares fall: a member that takes twice as long gets a sixteenth of what it had."""
_FLOOR: Final = 0.06
"""The least share of a slow member, where all of these together do not have half: a little more than the 5 of 100
requests by which it is seen to be fast again."""


def least_busy(weights: Sequence[float], loads: Loads, random: Random) -> list[int]:
    """The fewest open answers for its weight first, equals at random."""
    answers = zip(loads.open_answers, weights, strict=True)
    return _ordered(
        [
            count / weight + _TIE * random() if weight else _LAST * (1 + count + _TIE * random())
            for count, weight in answers
        ]
    )


def weighted(weights: Sequence[float], loads: Loads, random: Random) -> list[int]:
    """Each member as often as its weight says among those that are not out: an order that chance has drawn is still one
    without some of its members (Efraimidis and Spirakis, https://doi.org/10.1016/j.ipl.2005.11.003)."""
    return _drawn(weights, random)


def lowest_latency(weights: Sequence[float], loads: Loads, random: Random) -> list[int]:
    """The members whose streams begin about as soon as the fastest one's share the requests by weight, without a herd
    on whichever is a little ahead. The slower ones have less, but never so little that nobody would see them become
    fast again; one that nothing is known of counts as fast (BerriAI/litellm#3360, #1361)."""
    times = loads.first_contents
    known = times
    if not (all(times) and all(weights)):
        known = [time for time, weight in zip(times, weights, strict=True) if time and weight]
    if not known or max(known) <= (fast := _ALIKE * min(known)):
        return _drawn(weights, random)
    shares = [
        weight if time <= fast else weight * (fast / time) ** _STEEP
        for weight, time in zip(weights, times, strict=True)
    ]
    floor = min(_FLOOR, 0.5 / len(shares))
    least, most = floor * sum(shares), max(shares)
    keys = [
        -(random() ** (most / share)) if share >= least else 1 + time if share else _LAST * (1 + random())
        for share, time in zip(shares, times, strict=True)
    ]
    tried = int(random() / floor)
    if tried < len(keys) and 0 < shares[tried] < least:
        keys[tried] = -2.0
    return _ordered(keys)


def cheapest(weights: Sequence[float], loads: Loads, random: Random) -> list[int]:
    """The lowest price of this request first, the least busy among equals; what has no price stands behind what has
    one."""
    prices = _known(loads)
    return sorted(least_busy(weights, loads, random), key=lambda at: (not weights[at], prices[at]))


def is_cheapest(at: int, weights: Sequence[float], loads: Loads) -> bool:
    """True if no other member with a weight costs less than the one ``at``."""
    prices = _known(loads)
    return prices[at] <= min(price for price, weight in zip(prices, weights, strict=True) if weight)


def _known(loads: Loads) -> list[float]:
    return [inf if price is None else price for price in loads.prices]


def _drawn(shares: Sequence[float], random: Random) -> list[int]:
    return _ordered([-log(1 - random()) / share if share else _LAST * (1 + random()) for share in shares])


def _ordered(keys: Sequence[float]) -> list[int]:
    return sorted(range(len(keys)), key=keys.__getitem__)


RULES: Final[Mapping[Balance, BalanceRule]] = {
    "least_busy": least_busy,
    "weighted": weighted,
    "lowest_latency": lowest_latency,
    "cheapest": cheapest,
}
