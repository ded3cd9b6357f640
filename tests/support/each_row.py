"""Tables whose rows share one test, because a test per row would cost more than the row."""

import functools
import inspect
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import pytest

from tests.support.cases import case

Test = TypeVar("Test", bound=Callable[..., Any])


def each_row(
    names: str | Sequence[str],
    rows: Iterable[Any],
    ids: Iterable[object] | Callable[[Any], object] | None = None,
    every: int = 1,
) -> Callable[[Test], Test]:
    """Return a decorator with the arguments of ``pytest.mark.parametrize`` that makes one test of all rows.

    It is for tests whose rows leave nothing behind. All rows have the same fixtures. A failure names its row, and the
    rows after it do not run. The gate tries every ``every``-th row, and the soak all of them; tests with the same table
    begin at different rows.
    """
    listed = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    table = list(rows)
    assert table, "a table without rows"
    assert not any(isinstance(row, type(pytest.param())) for row in table), "a row with marks needs a test of its own"
    labels = list(ids) if isinstance(ids, Iterable) else table
    values = [[row] for row in table] if isinstance(names, str) and len(listed) == 1 else table
    arguments = [
        (label, dict(zip(listed, row, strict=True))) for label, row in zip(labels, values, strict=True)
    ]  # fmt: skip

    def decorate(test: Test) -> Test:
        first = zlib.crc32(test.__name__.encode())
        run: Callable[..., Any]
        if inspect.iscoroutinefunction(test):

            async def run(row_step: int = 1, **fixtures: Any) -> None:
                for label, row in arguments[first % row_step :: row_step]:
                    with case(label):
                        await test(**fixtures, **row)
        else:

            def run(row_step: int = 1, **fixtures: Any) -> None:
                for label, row in arguments[first % row_step :: row_step]:
                    with case(label):
                        test(**fixtures, **row)

        functools.update_wrapper(run, test)
        signature = inspect.signature(test)
        others = [one for name, one in signature.parameters.items() if name not in listed]
        if every > 1:
            others.insert(0, inspect.Parameter("row_step", inspect.Parameter.POSITIONAL_OR_KEYWORD))
            steps = pytest.param(every, id="some"), pytest.param(1, id="all", marks=pytest.mark.soak)
            run = pytest.mark.parametrize("row_step", steps)(run)
        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return run  # type: ignore[return-value]

    return decorate
