"""The tables of all commands. Rich measures and wraps their texts, and is imported only for a table.

Rich's own ``Table`` takes 0.2 ms a cell, which is ten seconds for a report of 5,000 rows."""

import sys
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Final, Literal, TypeAlias

import attrs
import click
from rich.cells import cell_len

from gateway.commands.terminal import echo_styled, real_columns
from gateway.logs.masking import escape

Kind: TypeAlias = Literal["name", "word", "figure", "text"]
"""The content of a column: names stay whole, words and figures are short, texts are wrapped."""

Cell: TypeAlias = str | tuple[str, str]
"""A text, or a text and its colour."""

_GAP: Final = "  "
_LEAST: Final = 12
"""The least width of a wrapped text."""


@attrs.frozen
class TableColumn:
    """A column with its title. If a terminal is too narrow, columns with a ``rank`` are left out, 1 first."""

    title: str
    kind: Kind = "text"
    rank: int = 0


@attrs.frozen
class _Grid:
    """Columns, the necessary width of each, and rows of escaped texts."""

    columns: Sequence[TableColumn]
    widths: Sequence[int]
    rows: Sequence[Sequence[Cell]]

    @classmethod
    def of(cls, columns: Sequence[TableColumn], rows: Sequence[Sequence[Cell]]) -> "_Grid":
        escaped = [[escape(one) if isinstance(one, str) else (escape(one[0]), one[1]) for one in row] for row in rows]
        texts = [[column.title for column in columns], *(map(_text_of, row) for row in escaped)]
        return cls(columns, [max(map(cell_len, column)) for column in zip(*texts, strict=True)], escaped)

    @property
    def least_width(self) -> int:
        """The width of a line whose texts are wrapped."""
        pairs = zip(self.columns, self.widths, strict=True)
        return _line_width([min(width, _LEAST) if column.kind == "text" else width for column, width in pairs])

    def select(self, columns: Sequence[TableColumn]) -> "_Grid":
        """Return the grid with only these ``columns``."""
        places = [place for place, column in enumerate(self.columns) if column in columns]
        rows = [[row[place] for place in places] for row in self.rows]
        return _Grid([self.columns[i] for i in places], [self.widths[i] for i in places], rows)

    def fit(self, width: int) -> "_Grid":
        """Return the grid without the columns that do not fit into ``width``."""
        grid = self
        for column in sorted((one for one in self.columns if one.rank), key=lambda one: one.rank):
            if grid.least_width > width:
                grid = grid.select([one for one in grid.columns if one != column])
        return grid

    def wrap(self, width: int) -> "_Grid":
        """Return the grid with narrower texts, so that a line has ``width``."""
        places = [place for place, column in enumerate(self.columns) if column.kind == "text"]
        widths = [*self.widths]
        while places and _line_width(widths) > width:
            widest = max(places, key=lambda place: widths[place])
            if widths[widest] == 1:
                break
            widths[widest] -= 1
        return attrs.evolve(self, widths=widths)

    def lines_of(self, row: Sequence[Cell]) -> Iterator[str]:
        """Yield the lines of a row."""
        cells = [_wrap(_text_of(cell), width) for cell, width in zip(row, self.widths, strict=True)]
        for parts in zip_longest(*cells, fillvalue=""):
            line = []
            for part, cell, width, column in zip(parts, row, self.widths, self.columns, strict=True):
                padding = " " * (width - cell_len(part))
                shown = part if isinstance(cell, str) else click.style(part, fg=cell[1])
                line.append(f"{padding}{shown}" if column.kind == "figure" else f"{shown}{padding}")
            yield _GAP.join(line).rstrip()


def print_table(columns: Sequence[TableColumn], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table on standard output."""
    echo_styled("\n".join(table_lines(columns, rows)))


def table_lines(
    columns: Sequence[TableColumn],
    rows: Sequence[Sequence[Cell]],
    totals: Sequence[Sequence[Cell]] = (),
    indent: str = "",
) -> list[str]:
    """Return the lines of a table for standard output, after ``indent``. The rows ``totals`` are below a line.

    On a terminal the table has its width. If that is too narrow even without the columns that have a rank, names are
    above their row, always whole. Files and pipes get all columns, and one line for each row.
    Columns without titles have no header."""
    grid = _Grid.of(columns, [*rows, *totals])
    titles = None
    if (width := real_columns(sys.stdout)) is not None:
        width -= len(indent)
        grid = grid.fit(width)
        others = [one for one in grid.columns if one.kind != "name"]
        if grid.least_width > width and 0 < len(others) < len(grid.columns):
            titles = grid.select([one for one in grid.columns if one.kind == "name"])
            grid, indent, width = grid.select(others), indent + _GAP, width - len(_GAP)
        grid = grid.wrap(width)
    lines = []
    if any(column.title for column in grid.columns):
        heads = grid.lines_of([column.title for column in grid.columns])
        lines += [indent + click.style(line, bold=True) for line in heads]
    for place, row in enumerate(grid.rows):
        if totals and place == len(rows):
            lines.append("─" * (len(indent) + _line_width(grid.widths)))
        if titles is not None:
            lines.append(_GAP.join(map(_text_of, titles.rows[place])).rstrip())
        lines += [indent + line for line in grid.lines_of(row)]
    return lines


def _line_width(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _text_of(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell[0]


def _wrap(text: str, width: int) -> list[str]:
    """Return the lines of ``text``; only words that are too long are broken."""
    if cell_len(text) <= width:
        return [text]
    from rich import console
    from rich import text as texts

    return [line.plain.rstrip() for line in texts.Text(text).wrap(console.Console(width=width), width, overflow="fold")]
