"""No module uses private names of a library, because an upgrade may change them silently.

``gateway/serving`` is exempt: its tests compare the parts of Hypercorn and Quart that it overrides.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support.features import is_of_deleted_feature
from tests.support.repository import ROOT

BULK: Final = (
    "many measurements at once; there is no public way to add to a histogram's buckets, so the minor is pinned"
)

SPACE: Final = "the next size of a file of numbers, which must be reserved; the minor is pinned"

SYNTAX: Final = "the parser of regular expressions, whose public names (sre_parse) are deprecated"
EXCEPTIONS: Final = {
    ("gateway/features/metrics/registry.py", "_sum"): BULK,
    ("gateway/features/metrics/registry.py", "_buckets"): BULK,
    ("gateway/features/metrics/shared_metrics.py", "_capacity"): SPACE,
    ("gateway/features/metrics/shared_metrics.py", "_fname"): SPACE,
    ("gateway/features/metrics/shared_metrics.py", "_used"): SPACE,
    ("gateway/features/steps/kinds/linear.py", "_parser"): SYNTAX,
    ("gateway/features/steps/kinds/linear.py", "_constants"): SYNTAX,
    ("gateway/program.py", "_exit"): "Python documents this name of the module os, in spite of the underscore.",
}
"""A module and a private name of a library that it uses, with the reason."""

USES: Final = re.compile(rb"""(?<!self)(?<!cls)\._[a-z]|import [^\n]*\b_[a-z]|attr\([^\n]*["']_[a-z]""")
"""Source code that may use private names. Most modules have none, and need not be parsed."""

MODULES: Final = sorted(
    path
    for package in ("configfile", "streams", "providers", "loadtest", "trigate", "gateway")
    for path in (ROOT / package).rglob("*.py")
)


def module_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


NAMED_TUPLE: Final = frozenset(("_make", "_replace", "_asdict", "_fields"))
"""Public names of named tuples (https://docs.python.org/3/library/collections.html#collections.namedtuple)."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in NAMED_TUPLE


def assigned_names(nodes: list[ast.AST]) -> set[str]:
    """Return the names that a module defines or assigns: these are private to it, and to no library."""
    found = set()
    for node in nodes:
        match node:
            case ast.Attribute(attr=name, ctx=ast.Store()) | ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
    return found


def private_names(tree: ast.AST) -> Iterator[str]:
    """Yield the private names of other modules that a module imports or uses."""
    nodes = list(ast.walk(tree))
    own = assigned_names(nodes)
    for node in nodes:
        match node:
            case ast.Import(names=names):
                yield from (step for alias in names for step in alias.name.split(".") if is_private(step))
            case ast.ImportFrom(module=module, names=names):
                steps = [*(module or "").split("."), *(alias.name for alias in names)]
                yield from filter(is_private, steps)
            case ast.Attribute(attr=attr) if is_private(attr) and attr not in own:
                yield attr
            case ast.Call(
                func=ast.Name(id="getattr" | "setattr" | "hasattr"), args=[_, ast.Constant(value=str(name)), *_]
            ):
                if is_private(name):
                    yield name


def test_private_names_of_libraries_are_not_used():
    """Private names of our other modules are forbidden, too."""
    sources = {path: path.read_bytes() for path in MODULES if path.parent.name != "serving"}
    found = {
        (module_id(path), name)
        for path, source in sources.items()
        if USES.search(source)
        for name in private_names(ast.parse(source))
    }
    assert found - set(EXCEPTIONS) == set()


def test_every_exception_is_still_needed():
    for place, name in EXCEPTIONS:
        if not is_of_deleted_feature(place):
            assert name in set(private_names(ast.parse((ROOT / place).read_bytes())))
