"""Tables whose rows share one test, because a test per row would cost more than the row."""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import pytest

from tests.support.cases import case

Test: TypeAlias = Callable[..., Any]


def each_row(
    names: str | Sequence[str], rows: Iterable[Any], ids: Iterable[object] | Callable[[Any], object] | None = None
) -> Callable[[Test], Test]:
    """Return a decorator with the arguments of ``pytest.mark.parametrize`` that makes one test of all rows.

    It is for tests whose rows leave nothing behind. All rows have the same fixtures. A failure names its row, and the
    rows after it do not run.
    """
    listed = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    table = list(rows)
    assert table, "a table without rows"
    assert not any(isinstance(row, type(pytest.param())) for row in table), "a row with marks needs a test of its own"
    labels = list(ids) if isinstance(ids, Iterable) else table

    def arguments() -> Iterator[tuple[object, Mapping[str, Any]]]:
        for label, row in zip(labels, table, strict=True):
            values = [row] if isinstance(names, str) and len(listed) == 1 else row
            yield label, dict(zip(listed, values, strict=True))

    def decorate(test: Test) -> Test:
        if inspect.iscoroutinefunction(test):

            @functools.wraps(test)
            async def run(**fixtures: Any) -> None:
                for label, row in arguments():
                    with case(label):
                        await test(**fixtures, **row)
        else:

            @functools.wraps(test)
            def run(**fixtures: Any) -> None:
                for label, row in arguments():
                    with case(label):
                        test(**fixtures, **row)

        signature = inspect.signature(test)
        others = [one for name, one in signature.parameters.items() if name not in listed]
        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return run

    return decorate
