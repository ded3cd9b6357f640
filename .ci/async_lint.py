"""flake8-async over many files, in a sixth of its time. ``python .ci/async_lint.py [its options] FILE ...``

The tool reads each file twice: as a quick syntax tree, and six times as a tree that keeps all whitespace, for three
rules about cancel scopes and tasks. This script shows those rules only the definitions that mention scopes or tasks.
If a rule finds something, or a file uses asyncio or a similar library, the tool checks the whole file.
"""

import ast
import gc
import re
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import libcst
from flake8_async import Plugin
from flake8_async.base import Error, Options
from flake8_async.runner import Flake8AsyncRunner, Flake8AsyncRunner_cst

SCOPES: Final = "open_nursery|fail_after|fail_at|move_on_after|move_on_at|CancelScope"
OTHERS: Final = "asyncio|anyio|trio_\\w+|qtrio|asgi_lifespan|apscheduler|mcp"
NAMED: Final = re.compile(SCOPES)
FOREIGN: Final = re.compile(rf"^\s*(?:import|from)\s+(?:{OTHERS})\b|\b(?:{SCOPES})\s+as\b", re.MULTILINE)
"""Imports of other libraries, and scopes with an alias."""
DEFINITIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Runner(Flake8AsyncRunner):
    """The tool's runner, which skips nodes that no rule visits."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._about = frozenset().union(*(methods(type(one)) for one in (*self.utility_visitors, *self.visitors)))

    def visit(self, node: ast.AST) -> None:
        if f"visit_{type(node).__name__}" in self._about:
            super().visit(node)
        else:
            self.generic_visit(node)


@cache
def methods(rule: type) -> frozenset[str]:
    """Return the node types that a rule visits."""
    names = (name for name in dir(rule) if name.startswith("visit_"))
    return frozenset(name for name in names if getattr(rule, name) is not getattr(ast.NodeVisitor, name, None))


def main() -> int:
    parser = ArgumentParser(prog="flake8-async")
    Plugin.add_options(parser)
    options = parser.parse_args()
    Plugin.parse_options(options)
    told = [f"{file}:{problem}" for file in options.files for problem in problems(Path(file).read_text())]
    print("\n".join(told), end="\n" if told else "")
    return bool(told)


def problems(source: str) -> list[Error]:
    """Return the tool's problems with a module."""
    whole = FOREIGN.search(source) or any(suspicions(source, Plugin.from_source("").options))
    return sorted(Plugin.from_source(source).run()) if whole else []


def suspicions(source: str, options: Options) -> Iterator[Error]:
    """Yield possible problems with a module, without those that a ``noqa`` comment allows."""
    tree, lines = ast.parse(source), source.split("\n")
    for error in Runner.run(tree, options):
        if not re.search(rf"# noqa:.*\b{error.code}\b", lines[error.line - 1]):
            yield error
    if NAMED.search(source):
        leave_scopes(tree.body, lines)
        shown = libcst.MetadataWrapper(libcst.parse_module("\n".join(lines)), unsafe_skip_copy=True)
        runner = Flake8AsyncRunner_cst(options, shown.module)
        for visitor in (*runner.utility_visitors, *runner.visitors):
            shown.visit(visitor)  # visitors can share the positions, because none changes the tree
        yield from runner.state.problems


def leave_scopes(body: list[ast.stmt], lines: list[str]) -> None:
    """Replace all statements that neither mention scopes nor import by ``pass``, without changing line numbers."""
    for node in body:
        decorators = getattr(node, "decorator_list", ())
        first = min((decorator.lineno for decorator in decorators), default=node.lineno) - 1
        last = node.end_lineno or node.lineno
        text = "\n".join(lines[first:last])
        if isinstance(node, ast.ClassDef) and NAMED.search(text):
            leave_scopes(node.body, lines)
        elif not NAMED.search(text) and (isinstance(node, DEFINITIONS) or "import" not in text):
            lines[first:last] = [" " * node.col_offset + "pass", *[""] * (last - first - 1)]


if __name__ == "__main__":
    gc.disable()  # trees have no reference cycles, and very many nodes
    sys.exit(main())
