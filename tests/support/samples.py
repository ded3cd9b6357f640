"""The gate's sample of a test's cases. The soak has the others."""

import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import pytest

MARK = "sample"


def outside_samples(items: Iterable[pytest.Item]) -> set[pytest.Item]:
    """Return the cases of tests with ``@pytest.mark.sample(N)`` that only the soak runs.

    The gate has one case in ``N``, or as many as it takes to have each value that several cases of a test share. A
    checksum of their names chooses them, so that tests with the same parameters have different ones.

    With ``by="place"``, the gate has the cases whose positions in stacked parameters add up to a multiple of ``N``. For
    ``N`` of two, these are every value, and every pair of values if at least three parameters have several. For a
    single parameter, it is its first value.

    With ``by="turns"``, the gate has every ``N``-th case in their order. For an ``N`` without common factors with the
    numbers of values, these are different values of each parameter.
    """
    tests = defaultdict[tuple[object, str], list[pytest.Function]](list)
    for item in items:
        if not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
            continue  # a test without parameters, in a module with the mark
        if item.get_closest_marker(MARK) and not item.get_closest_marker("soak"):
            tests[item.parent, item.originalname].append(item)
    return {item for cases in tests.values() for item in _left_out(cases)}


def _left_out(cases: list[pytest.Function]) -> Iterator[pytest.Function]:
    config = cases[0].config
    if any(
        "[" in argument for argument in config.args
    ):  # a case that failed in either run can be run by its printed id
        yield from cases if config.getoption("soak") else ()
        return
    mark = next(cases[0].iter_markers(MARK))
    (number,) = mark.args
    if mark.kwargs == {"by": "place"}:
        yield from _outside_places(cases, number)
        return
    if mark.kwargs == {"by": "turns"}:
        yield from (case for turn, case in enumerate(sorted(cases, key=_position)) if turn % number)
        return
    assert not mark.kwargs, f"{cases[0].originalname}: unknown {[*mark.kwargs]}"
    cases = sorted(cases, key=lambda case: zlib.crc32(case.name.encode()))
    shared = Counter(value for case in cases for value in _values(case))
    new = {case: {value for value in _values(case) if shared[value] > 1} for case in cases}
    missing = set[object]().union(*new.values())
    while missing or len(new) > len(cases) - math.ceil(len(cases) / number):
        chosen = max(new, key=lambda case: len(new[case] & missing))  # the first one of several
        missing -= new.pop(chosen)
    yield from new


def _outside_places(cases: list[pytest.Function], number: int) -> Iterator[pytest.Function]:
    """Yield the cases whose positions in the parameters' values do not add up to a multiple of ``number``."""
    places = defaultdict[str, dict[object, int]](dict)
    for case in sorted(cases, key=_position):  # they may be shuffled
        for name, value in _values(case):
            places[name].setdefault(value, len(places[name]))
    yield from (case for case in cases if sum(places[name][value] for name, value in _values(case)) % number)


def _position(case: pytest.Function) -> tuple[int, ...]:
    return (*case.callspec.indices.values(),)


def _values(case: pytest.Function) -> Iterator[tuple[str, object]]:
    for name, value in case.callspec.params.items():
        yield name, value if isinstance(value, str | int | None) else id(value)
