"""Tables of the documentation, each under a heading of its own: written from the code, or read by tests."""

import re
from collections.abc import Iterable, Mapping, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = ["| " + " | ".join(head).rstrip() + " |", "|" + "---|" * len(head)]
    lines += ("|" + "|".join(f" {_escape_pipes(cell)} " if cell else " " for cell in cells) + "|" for cells in rows)
    return "\n".join(lines) + "\n"


def _escape_pipes(cell: str) -> str:
    return cell.replace("|", "\\|")


def with_headed_tables(text: str, *tables: str) -> str:
    """Return ``text`` with ``tables`` in place of those with the same heads. Raises ``LookupError`` without one."""
    for made in tables:
        head = re.escape(made.partition("\n")[0])
        text, count = re.subn(rf"^{head}\n(?:^\|.*\n)*", lambda _, made=made: made, text, count=1, flags=re.M)
        if not count:
            raise LookupError("no table")
    return text


def with_tables(text: str, tables: Mapping[str, str]) -> str:
    """Return ``text`` with new first tables under its headings; ``tables`` are Markdown by heading."""
    for heading, made in tables.items():
        found = _table(text, heading)
        text = f"{text[: found.start(1)]}{made}\n{text[found.end(1) :]}"
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
