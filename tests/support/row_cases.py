"""Tables of values in one case, because a case for each row would cost more than its check."""

import functools
import inspect
import zlib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pytest

from tests.support.cases import case

Test = TypeVar("Test", bound=Callable[..., Any])


def each_row(names: str | tuple[str, ...], values: Iterable[Any], every: int = 1) -> Callable[[Test], Test]:
    """Run a test with each row of a table, as ``pytest.mark.parametrize`` does, but as a single case.

    The rows share the test's fixtures. A failure has a note with its row. The gate has every ``every``-th row, and the
    soak all of them; tests with the same table begin at different rows.
    """
    rows = [{names: row} if isinstance(names, str) else dict(zip(names, row, strict=True)) for row in values]
    assert rows, "a table without rows"

    def decorate(test: Test) -> Test:
        first = zlib.crc32(test.__name__.encode())
        run: Callable[..., Any]
        if inspect.iscoroutinefunction(test):

            async def run(row_step: int = 1, **fixtures: Any) -> None:
                for row in rows[first % row_step :: row_step]:
                    with case(row):
                        await test(**fixtures, **row)
        else:

            def run(row_step: int = 1, **fixtures: Any) -> None:
                for row in rows[first % row_step :: row_step]:
                    with case(row):
                        test(**fixtures, **row)

        functools.update_wrapper(run, test)
        signature = inspect.signature(test)
        others = [one for name, one in signature.parameters.items() if name not in rows[0]]
        if every > 1:
            others.insert(0, inspect.Parameter("row_step", inspect.Parameter.POSITIONAL_OR_KEYWORD))
            steps = pytest.param(every, id="some"), pytest.param(1, id="all", marks=pytest.mark.soak)
            run = pytest.mark.parametrize("row_step", steps)(run)
        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return run  # type: ignore[return-value]

    return decorate
