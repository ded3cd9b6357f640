"""Covering arrays: few cases that contain every pair of values of two factors."""

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, TypeAlias

Case: TypeAlias = dict[str, str]
_Pair: TypeAlias = frozenset[tuple[str, str]]


def covering(
    factors: Mapping[str, Sequence[str]], possible: Callable[[Mapping[str, str]], bool], seed: int = 0
) -> list[Case]:
    """Return cases that contain every possible pair of values, in a random order.

    ``possible`` also gets incomplete cases, and returns false only if no completion is possible.
    """
    draw = random.Random(seed)
    left = {
        pair
        for one, other in combinations(factors, 2)
        for value in factors[one]
        for second in factors[other]
        if possible(dict(pair := frozenset({(one, value), (other, second)})))
    }
    found: list[Case] = []
    while left:
        pair = draw.choice(sorted(left, key=sorted))
        case = _complete_case(dict(sorted(pair)), factors, possible, left, draw)
        covered = set() if case is None else _pairs(case)
        left -= {pair} | covered
        if case is not None:
            found.append(case)
    draw.shuffle(found)
    return found


def covering_rows(*factors: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return rows with one value of each factor. They contain every pair of values of two factors."""
    places = {str(at): [str(place) for place in range(len(values))] for at, values in enumerate(factors)}
    found = covering(places, lambda _: True)
    rows = sorted(tuple(int(case[at]) for at in places) for case in found)
    return [tuple(values[place] for values, place in zip(factors, row, strict=True)) for row in rows]


def _complete_case(
    case: Case,
    factors: Mapping[str, Sequence[str]],
    possible: Callable[[Mapping[str, str]], bool],
    left: set[_Pair],
    draw: random.Random,
) -> Case | None:
    """Return ``case`` with a value for each missing factor, chosen to cover the most pairs in ``left``, or ``None``
    if there is no possible case."""
    missing = [name for name in factors if name not in case]
    if not missing:
        return case
    name = draw.choice(missing)
    values = draw.sample(list(factors[name]), len(factors[name]))
    values.sort(key=lambda value: -len(left & {frozenset({(name, value), known}) for known in case.items()}))
    for value in values:
        more = {**case, name: value}
        if possible(more) and (found := _complete_case(more, factors, possible, left, draw)) is not None:
            return found
    return None


def _pairs(case: Mapping[str, str]) -> set[_Pair]:
    return {frozenset(pair) for pair in combinations(case.items(), 2)}
