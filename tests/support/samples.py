"""The gate's sample of a test's cases, and its part of a long list. The soak has the others."""

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import pytest

MARK = "sample"


def parts(count: int) -> pytest.MarkDecorator:
    """Return a parameter ``part``: the gate tries the first of ``count`` parts of a list, ``list[part::count]``."""
    return pytest.mark.parametrize("part", [pytest.param(n, marks=[pytest.mark.soak] * (n > 0)) for n in range(count)])


def outside_samples(items: Iterable[pytest.Item]) -> set[pytest.Item]:
    """Return the cases of tests with ``@pytest.mark.sample(N)`` that only the soak runs.

    The gate has about one case in ``N``, by a checksum of its name, so that tests with the same parameters have
    different ones. Each value that several cases of a test share is in at least one of them.
    """
    tests = defaultdict[tuple[object, str], list[pytest.Function]](list)
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker(MARK) and not item.get_closest_marker("soak"):
            tests[item.parent, item.originalname].append(item)
    return {item for cases in tests.values() for item in _left_out(cases)}


def _left_out(cases: list[pytest.Function]) -> Iterator[pytest.Function]:
    config = cases[0].config
    if any("[" in argument for argument in config.args) and not config.getoption("soak"):
        return  # a case that failed in either run can be run again by its printed id
    (number,) = next(cases[0].iter_markers(MARK)).args
    shared = Counter(value for case in cases for value in _values(case))
    seen: set[object] = set()
    for case in sorted(cases, key=lambda case: (_remainder(case, number), case.name)):
        values = {value for value in _values(case) if shared[value] > 1}
        if _remainder(case, number) and values <= seen:
            yield case
        seen |= values


def _remainder(case: pytest.Function, number: int) -> int:
    return zlib.crc32(case.name.encode()) % number


def _values(case: pytest.Function) -> Iterator[object]:
    for name, value in case.callspec.params.items():
        yield name, value if isinstance(value, str | int | None) else id(value)
