"""Tables of the documentation, each under a heading of its own: written from the code, or read by tests."""

import re
from collections.abc import Mapping


def with_tables(text: str, tables: Mapping[str, str]) -> str:
    """Return ``text`` with new first tables under its headings; ``tables`` are Markdown by heading."""
    for heading, table in tables.items():
        found = _table(text, heading)
        text = f"{text[: found.start(1)]}{table}\n{text[found.end(1) :]}"
    return text


def rows_of(text: str, heading: str) -> list[tuple[str, ...]]:
    """Return the cells of each row of the first table under ``heading``, without its head. First cells lose
    backticks."""
    _, _, *lines = _table(text, heading)[1].splitlines()
    rows = ([cell.strip() for cell in line.strip("|").split(" | ")] for line in lines)
    return [(first.strip("`"), *rest) for first, *rest in rows]


def _table(text: str, heading: str) -> re.Match[str]:
    found = re.search(rf"^## {re.escape(heading)}\n(?:(?!## |\|).*\n)*((?:\|.*\n)*)", text, re.M)
    assert found is not None, f"the page has no heading {heading}"
    return found
