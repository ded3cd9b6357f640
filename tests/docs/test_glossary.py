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


def classes() -> set[str]:
    files = (path for package in ("streams", "providers", "gateway") for path in (ROOT / package).rglob("*.py"))
    nodes = (node for path in files for node in ast.walk(ast.parse(path.read_bytes())))
    return {node.name for node in nodes if isinstance(node, ast.ClassDef)}


def test_every_class_that_it_names_is_there():
    assert set(NAMES) - classes() == set()


def test_its_words_are_in_order():
    words = [word.partition(",")[0] for word, *_ in ROWS]
    assert words == sorted(words)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([a-z]+/[\w/.]+)`", PAGE))))
def test_every_file_that_it_names_is_there(path):
    assert (ROOT / path).exists()
