"""Tests that the members of classes that pages for contributors name exist."""

import ast
import functools
import re
from typing import Final

import pytest

from tests.support.repository import ROOT

PACKAGES: Final = ("configfile", "streams", "providers", "loadtest", "trigate", "gateway")
PAGES: Final = ("ARCHITECTURE.md", "CONTRIBUTING.md", "docs/upgrading.md", "docs/glossary.md")
NAMES: Final = sorted(
    {(page, name) for page in PAGES for name in re.findall(r"`([A-Z]\w+\.[a-z_]\w*)", (ROOT / page).read_text())}
)


@functools.cache
def members() -> frozenset[str]:
    """Return the methods and attributes that the classes of all packages define, each after its class."""
    found: set[str] = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                found |= {f"{node.name}.{name}" for name in names_in(node)}
    return frozenset(found)


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


@pytest.mark.parametrize(("page", "name"), NAMES)
def test_every_member_of_a_class_on_a_page_exists(page, name):
    assert name in members(), page
