"""Lines and tables that fit a terminal of 80 columns."""

import re
from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap
from typing import Final

from loadtest.reports.tables import FigureTable, aligned

COLUMNS: Final = 80
_UNIT: Final = re.compile(r"(?<=\d) (?=(?:ms|s|µs|%)(?!\w))")
_KEPT: Final = "\N{NO-BREAK SPACE}"  # in place of it, so that a number stays with its unit
_APART: Final = 2  # spaces between columns


def fitted(line: str, most: int = 0) -> list[str]:
    """The line, wrapped with its own indent and two more; of ``most`` lines, if that is given, the last ends in …."""
    text = line.lstrip(" ")
    indent = " " * (len(line) - len(text))
    if len(line) <= COLUMNS:
        return [line]
    text = _UNIT.sub(_KEPT, text)
    said = wrap(text, COLUMNS, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False,
                max_lines=most or None, placeholder=" …")  # fmt: skip
    return [one.replace(_KEPT, " ") for one in said]


def cut(text: str, most: int) -> str:
    """The text, or as much of its begin as leaves room for a …."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def fitted_table(table: FigureTable) -> Sequence[str]:
    """As it is where it fits; else its last column, if that is of words, in lines of its own. Columns stay in pairs:
    a percentile beside the other one of its measure."""
    if fits(table):
        return table.lines
    without = FigureTable(table.title, table.head[:-1], [row[:-1] for row in table.rows])
    if table.head[-1] or not fits(without):
        return stacked([table.head, *table.rows], together=2)
    rows = without.lines
    return [rows[0], *(part for line, row in zip(rows[1:], table.rows, strict=True)
                       for part in (line, *fitted(f"    {row[-1]}")) if part.strip())]  # fmt: skip


def fits(table: FigureTable) -> bool:
    """Whether a terminal has room for its lines."""
    return all(len(line) <= COLUMNS for line in table.lines)


def stacked(rows: Sequence[Sequence[str]], together: int = 1) -> list[str]:
    """A table whose columns, but the first, are so many that it is too wide, as several tables one below the other, all
    with the first column. So many of its columns stay ``together``, counted from the end."""
    columns = range(len(rows[0]))
    widths = [max(len(row[i]) for row in rows) + _APART for i in columns]
    said: list[str] = []
    for taken in _parts(columns, widths, together):
        block = aligned([[row[i] for i in (0, *taken)] for row in rows])
        said += ["", *block] if said else block
    return said


def _parts(columns: Sequence[int], widths: Sequence[int], together: int) -> Iterator[list[int]]:
    taken: list[int] = []
    for group in _groups(columns, together):
        if taken and sum(widths[i] for i in (0, *taken, *group)) - _APART > COLUMNS:
            yield taken
            taken = []
        taken += group
    yield taken


def _groups(columns: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    rest = (len(columns) - 1) % size
    if rest:
        yield columns[1 : 1 + rest]
    for first in range(1 + rest, len(columns), size):
        yield columns[first : first + size]
