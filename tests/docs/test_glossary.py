"""Tests that the glossary lists existing classes and files, in alphabetical order."""

import re
from pathlib import Path
from typing import Final

from tests.support.each_row import each_row

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "glossary.md").read_text()
ROWS: Final = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)[1:]
NAMES: Final = sorted({name for *_, code in ROWS for name in re.findall(r"`([A-Z]\w+)(?:\.\w+)?`", code)})


def defined_names() -> set[str]:
    """Return the classes, types and values of all modules."""
    packages = ("configfile", "streams", "providers", "loadtest", "trigate", "gateway")
    files = (path for package in packages for path in (ROOT / package).rglob("*.py"))
    found = (re.findall(r"^(?:class (\w+)|(\w+): .*= )", path.read_text(), re.MULTILINE) for path in files)
    return {name for pairs in found for pair in pairs for name in pair}


def test_every_class_and_value_in_it_exists():
    assert set(NAMES) - defined_names() == set()


def test_its_terms_are_in_alphabetical_order():
    terms = [term for term, *_ in ROWS]
    assert len(terms) > 10
    assert terms == sorted(terms)


@each_row("path", sorted(set(re.findall(r"`([a-z]+/[\w/.]+)`", PAGE))))
def test_every_file_in_it_exists(path):
    assert (ROOT / path).exists()
