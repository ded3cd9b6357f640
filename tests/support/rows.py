"""Tables of values in one case, because a case for each row would cost more than its check."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from tests.support.cases import case

Test = TypeVar("Test", bound=Callable[..., Any])


def each_row(names: str | tuple[str, ...], values: Iterable[Any]) -> Callable[[Test], Test]:
    """Run a test with each row of a table, as ``pytest.mark.parametrize`` does, but as a single case.

    The rows share the test's fixtures. A failure has a note with its row.
    """
    rows = [{names: row} if isinstance(names, str) else dict(zip(names, row, strict=True)) for row in values]
    assert rows, "a table without rows"

    def decorate(test: Test) -> Test:
        run: Callable[..., Any]
        if inspect.iscoroutinefunction(test):

            async def run(**fixtures: Any) -> None:
                for row in rows:
                    with case(row):
                        await test(**fixtures, **row)
        else:

            def run(**fixtures: Any) -> None:
                for row in rows:
                    with case(row):
                        test(**fixtures, **row)

        functools.update_wrapper(run, test)
        signature = inspect.signature(test)
        others = [one for name, one in signature.parameters.items() if name not in rows[0]]
        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return run  # type: ignore[return-value]

    return decorate
