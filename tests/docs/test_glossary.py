"""The glossary names what is there, in order."""

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "glossary.md").read_text()
ROWS: Final = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)[1:]
NAMES: Final = sorted({name for *_, code in ROWS for name in re.findall(r"`([A-Z]\w+)(?:\.\w+)?`", code)})


def names() -> set[str]:
    """The classes, types and values of modules."""
    packages = ("configfile", "streams", "providers", "loadtest", "gateway")
    files = (path for package in packages for path in (ROOT / package).rglob("*.py"))
    found = (re.findall(r"^(?:class (\w+)|(\w+): .*= )", path.read_text(), re.MULTILINE) for path in files)
    return {name for pairs in found for pair in pairs for name in pair}


def test_every_class_and_value_that_it_names_is_there():
    assert set(NAMES) - names() == set()


def test_its_words_are_in_order():
    words = [word.partition(",")[0] for word, *_ in ROWS]
    assert words == sorted(words)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([a-z]+/[\w/.]+)`", PAGE))))
def test_every_file_that_it_names_is_there(path):
    assert (ROOT / path).exists()
