"""The rules that order a group's members: the first is tried first, the others if it fails.

Each rule takes the members' weights, their loads and a random source from 0 to 1, and returns positions in order.
Members of weight 0 come last under every rule: they are for outages."""

from collections.abc import Callable, Mapping, Sequence
from math import inf, log
from typing import Final, TypeAlias

from gateway.balancing.loads import GroupLoads
from gateway.config.aliases import Balance

Random: TypeAlias = Callable[[], float]
BalanceRule: TypeAlias = Callable[[Sequence[float], GroupLoads, Random], list[int]]

_TIE: Final = 1e-9
"""The random part that decides between equals, smaller than any difference."""
_LAST: Final = 1e100
"""A sort key beyond all others."""

_EQUALLY_FAST: Final = 1.25
"""Members within this multiple of the fastest time count as equally fast."""
_STEEP: Final = 4
"""How steeply shares fall: a member that takes twice as long gets a sixteenth."""
_FLOOR: Final = 0.06
"""The smallest share of a slow member, unless slow members together get half.

It is slightly more than the 5 % of requests that reveal its recovery."""


def least_busy(weights: Sequence[float], loads: GroupLoads, random: Random) -> list[int]:
    """Order members by open responses per weight, equals at random."""
    answers = zip(loads.open_answers, weights, strict=True)
    return _positions_by(
        [
            count / weight + _TIE * random() if weight else _LAST * (1 + count + _TIE * random())
            for count, weight in answers
        ]
    )


def weighted_order(weights: Sequence[float], loads: GroupLoads, random: Random) -> list[int]:
    """Order members at random by weight; the shares stay correct if members are unavailable.

    The method is by Efraimidis and Spirakis (https://doi.org/10.1016/j.ipl.2005.11.003)."""
    return _draw_weighted(weights, random)


def lowest_latency(weights: Sequence[float], loads: GroupLoads, random: Random) -> list[int]:
    """Order members by time to first content: about equally fast members share requests by weight.

    Slower members get fewer, but enough to notice their recovery; unknown ones count as fast (BerriAI/litellm#3360,
    #1361)."""
    times = loads.first_contents
    known = times
    if not (all(times) and all(weights)):
        known = [time for time, weight in zip(times, weights, strict=True) if time and weight]
    if not known or max(known) <= (fast := _EQUALLY_FAST * min(known)):
        return _draw_weighted(weights, random)
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
    return _positions_by(keys)


def cheapest(weights: Sequence[float], loads: GroupLoads, random: Random) -> list[int]:
    """Order members by the price of this request, equals by load; members without a price come last."""
    prices = _prices_or_infinity(loads)
    return sorted(least_busy(weights, loads, random), key=lambda at: (not weights[at], prices[at]))


def is_cheapest(at: int, weights: Sequence[float], loads: GroupLoads) -> bool:
    """Return whether no other member with a weight costs less than member ``at``."""
    prices = _prices_or_infinity(loads)
    return prices[at] <= min(price for price, weight in zip(prices, weights, strict=True) if weight)


def _prices_or_infinity(loads: GroupLoads) -> list[float]:
    return [inf if price is None else price for price in loads.prices]


def _draw_weighted(shares: Sequence[float], random: Random) -> list[int]:
    return _positions_by([-log(1 - random()) / share if share else _LAST * (1 + random()) for share in shares])


def _positions_by(keys: Sequence[float]) -> list[int]:
    return sorted(range(len(keys)), key=keys.__getitem__)


RULES: Final[Mapping[Balance, BalanceRule]] = {
    "least_busy": least_busy,
    "weighted": weighted_order,
    "lowest_latency": lowest_latency,
    "cheapest": cheapest,
}
