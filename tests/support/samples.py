"""The gate's sample of a test's cases. The soak has the others."""

from collections.abc import Iterable

import pytest


def outside_samples(items: Iterable[pytest.Item]) -> set[pytest.Item]:
    """Return the cases of tests with ``@pytest.mark.sample(N)`` that only the soak runs.

    The gate has the cases whose positions in stacked parameters add up to a multiple of ``N``. If no parameter has more
    than ``N`` values, and another one has ``N``, these are every value; for a single parameter, every ``N``-th one.
    """
    return {item for item in items if _is_outside(item)}


def _is_outside(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("sample")
    if mark is None or not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
        return False
    if any("[" in argument for argument in item.config.args):  # either run finds a failed case by its printed id
        return bool(item.config.getoption("soak"))
    return sum(item.callspec.indices.values()) % mark.args[0] != 0
