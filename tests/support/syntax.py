"""Syntax trees of modules, for tests of the whole project."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_WITHIN: Final = ("body", "orelse", "finalbody", "handlers", "cases")


def statements(path: Path) -> Iterator[ast.AST]:
    """Yield every statement of a module, nested ones too.

    Expressions are skipped, because there are ten times as many.
    """
    waiting: list[ast.AST] = [ast.parse(path.read_bytes())]
    while waiting:
        node = waiting.pop()
        for field in _WITHIN:
            inner = getattr(node, field, ())
            yield from inner
            waiting += inner
