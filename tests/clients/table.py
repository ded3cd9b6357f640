"""The matrix as a table with versions, for ``docs/clients.md``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tests.clients import install
from tests.clients.rows import Row

APIS = {"chat": "Chat", "messages": "Messages", "responses": "Responses"}
SPOKEN = {**APIS, "gemini": "Gemini", "converse": "Converse"}


class Cell(Protocol):
    """A cell of the matrix; ``trouble`` is empty if it works."""

    client: str
    mode: str
    upstream: str
    trouble: str


BEGIN, END = "<!-- the matrix, written by tests/clients/run.py --table -->", "<!-- end of the matrix -->"


def write(page: Path, rows: Sequence[Row], cells: Sequence[Cell]) -> None:
    """Replace the table between its marks in ``page``."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{table(rows, cells)}\n{END}{after}")


def table(rows: Sequence[Row], cells: Sequence[Cell]) -> str:
    lines = [
        "| client | version | client API | answers |",
        "|---|---|---|---|",
    ]
    notes: list[str] = []
    for row in rows:
        versions = ", ".join(install.version(package, row.lives) for package in row.packages)
        told = _cell(row, [cell for cell in cells if cell.client == row.name], notes)
        lines.append(f"| {row.title} | {versions} | {SPOKEN[row.speaks]} | {told} |")
    return "\n".join([*lines, "", *notes]).rstrip("\n") + "\n"


def _cell(row: Row, cells: Sequence[Cell], notes: list[str]) -> str:
    """Describe what works with all providers, and number each reason why something does not."""
    words = dict.fromkeys(() if {cell.upstream for cell in cells} == APIS.keys() else ("not tried",))
    for cell in cells:
        name = {"stream": "streamed", "whole": "whole"}[cell.mode]
        if cell.trouble:
            provider = f"{APIS[cell.upstream]} provider"
            notes.append(f"{len(notes) + 1}. {row.title}, {name}, {provider}: {cell.trouble}")
            name = f"**{name}: no** ({len(notes)})"
        words[name] = None
    return ", ".join(words)
