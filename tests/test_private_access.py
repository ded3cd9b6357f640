"""No module uses private names of a library, because an upgrade may change them silently.

``gateway/serving`` is exempt: its tests compare the parts of Hypercorn and Quart that it overrides.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support.cases import case
from tests.support.repository import ROOT

BULK: Final = (
    "many measurements at once; there is no public way to add to a histogram's buckets, so the minor is pinned"
)

SYNTAX: Final = "the parser of regular expressions, whose public names (sre_parse) are deprecated"
EXCEPTIONS: Final = {
    ("gateway/telemetry/metrics.py", "_sum"): BULK,
    ("gateway/telemetry/metrics.py", "_buckets"): BULK,
    ("gateway/steps/kinds/linear.py", "_parser"): SYNTAX,
    ("gateway/steps/kinds/linear.py", "_constants"): SYNTAX,
}
"""A module and a private name of a library that it uses, with the reason."""

MODULES: Final = sorted(
    path
    for package in ("configfile", "streams", "providers", "loadtest", "trigate", "gateway")
    for path in (ROOT / package).rglob("*.py")
)


def module_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


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


PRIVATE: Final = re.compile(rb"\b_[^\W_]\w*")
OWN: Final = (
    re.compile(rb"^ *(?:async def|def|class) (_[^\W_]\w*)", re.MULTILINE),
    re.compile(rb"^ *(?:self\.)?(_[^\W_]\w*)(?:: [^=\n]+)? = ", re.MULTILINE),
)
"""Names that a module defines or assigns, at the beginning of a line."""
FOREIGN: Final = re.compile(
    rb"\b(?:getattr|setattr|hasattr)\((?:[^()]|\([^()]*\))*[\"']_[^\W_]|^ *(?:from|import)\b[^\n]*[ .]_[^\W_]",
    re.MULTILINE,
)
"""Ways to use a name of another module that a module also defines."""


def may_use_private_names(path: Path) -> bool:
    """Return false if a module has no private names but its own: this saves parsing nine of ten modules."""
    source = path.read_bytes()
    own = [pattern.findall(source) for pattern in OWN]
    return bool({*PRIVATE.findall(source)}.difference(*own) or FOREIGN.search(source))


def test_private_names_of_libraries_are_not_used():
    """Private names of our other modules are forbidden, too."""
    modules = [path for path in MODULES if path.parent.name != "serving" and may_use_private_names(path)]
    found = {(module_id(path), name) for path in modules for name in private_names(ast.parse(path.read_bytes()))}
    assert found - set(EXCEPTIONS) == set()


def test_every_exception_is_still_needed():
    for place, name in EXCEPTIONS:
        assert name in set(private_names(ast.parse((ROOT / place).read_bytes())))


def test_private_access_is_seen():
    for source in [
        "import a._b",
        "from a import _b",
        "from a._b import c",
        "a.b._c",
        "getattr(a, '_b')",
        "class A(a.B):\n  x = B._b",
    ]:
        with case(source):
            assert set(private_names(ast.parse(source))) & {"_b", "_c"}


def test_private_names_of_the_same_module_are_allowed():
    source = "class A:\n  def __init__(self):\n    self._b = 1\n  def c(self, other):\n    return self._b == other._b"
    assert not set(private_names(ast.parse(source)))
