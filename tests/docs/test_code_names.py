"""Tests that the members of classes that pages for contributors name exist."""

import ast
import re
from typing import Final

from tests.support.repository import ROOT

PACKAGES: Final = ("configfile", "streams", "providers", "loadtest", "trigate", "gateway")
PAGES: Final = ("ARCHITECTURE.md", "CONTRIBUTING.md", "docs/upgrading.md", "docs/glossary.md")
NAMES: Final = sorted(
    {(page, name) for page in PAGES for name in re.findall(r"`([A-Z]\w+\.[a-z_]\w*)", (ROOT / page).read_text())}
)


def members() -> set[str]:
    """Return the methods and attributes of the classes on the pages, each after its class."""
    has_class = re.compile(rf"^class (?:{'|'.join({name.partition('.')[0] for _, name in NAMES})})\b", re.MULTILINE)
    found: set[str] = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        if has_class.search(source := path.read_text()):
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.ClassDef):
                    found |= {f"{node.name}.{name}" for name in names_in(node)}
    return found


def names_in(node: ast.ClassDef) -> set[str]:
    names: set[str] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(one.name)
        elif isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            names.add(one.target.id)
        elif isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store):
            names.add(one.attr)
    return names


def test_every_member_of_a_class_on_a_page_exists():
    known = members()
    assert NAMES
    assert [(page, name) for page, name in NAMES if name not in known] == []
