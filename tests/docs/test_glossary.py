"""The glossary names what is there, in order."""

import ast
import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "glossary.md").read_text()
ROWS: Final = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)[1:]
NAMES: Final = sorted({name for *_, code in ROWS for name in re.findall(r"`([A-Z]\w+)(?:\.\w+)?`", code)})


def named(node: ast.stmt) -> str | None:
    """The name that a statement gives to a class, a type or a value."""
    match node:
        case ast.ClassDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return None


def names() -> set[str | None]:
    packages = ("configfile", "streams", "providers", "loadtest", "gateway")
    files = (path for package in packages for path in (ROOT / package).rglob("*.py"))
    return {named(node) for path in files for node in ast.parse(path.read_bytes()).body}


def test_every_class_and_value_that_it_names_is_there():
    assert set(NAMES) - names() == set()


def test_its_words_are_in_order():
    words = [word.partition(",")[0] for word, *_ in ROWS]
    assert words == sorted(words)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([a-z]+/[\w/.]+)`", PAGE))))
def test_every_file_that_it_names_is_there(path):
    assert (ROOT / path).exists()
