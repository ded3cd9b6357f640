"""Tables of reports for terminals: their columns, numbers and dollars."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from gateway.kept_ledger.usage_formats import dollars
from providers.catalog.prices import Grade, grade_at

SIGNS: Final[Mapping[Grade, str]] = {"subscription": "", "exact": "", "estimated": "~", "at_least": "≥"}
"""The sign before an amount of money, by its grade."""

MEANINGS: Final[Mapping[Grade, str]] = {
    "estimated": "~ estimated: token counts or prices are estimates",
    "at_least": "≥ lower bound: token counts or prices of some requests are unknown",
}
"""Notes below a table with such signs."""

_GAP: Final = "  "

SHORTEST: Final = 8
"""The minimum length of shortened names."""


def money_cell(nanos: int, grade: int | None) -> str:
    """Return nano-dollars as dollars, with the sign of the grade of this rank."""
    return ("" if grade is None else SIGNS[grade_at(grade)]) + dollar_text(nanos)


def dollar_text(nanos: int) -> str:
    """Return dollars, to a hundredth of a cent."""
    shown = dollars(nanos).quantize(Decimal("0.0001"))
    return "<0.0001" if nanos and not shown else f"{shown:,f}"


def short_number(number: int) -> str:
    """Return a number in about four characters, such as ``12.3M``."""
    for size, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number >= size * 10 or (number >= size and size > 1000):
            return f"{number / size:.1f}{letter}" if number < 1000 * size else f"{number // size:,}{letter}"
    return str(number)


def drop_columns(left_out: Sequence[str], rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return ``rows`` without the columns in ``left_out``. The first row is the header."""
    kept = [place for place, name in enumerate(rows[0]) if name not in left_out]
    return [tuple(row[place] for place in kept) for row in rows]


def total_width(widths: Sequence[int]) -> int:
    """Return the width of a line with columns of ``widths``."""
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def column_widths(rows: Sequence[tuple[str, ...]], names: Sequence[int], width: int | None) -> list[int]:
    """Return the widths of all columns; on a terminal of ``width``, the columns ``names`` become narrower."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    while width is not None and names and total_width(widths) > width:
        widest = max(names, key=lambda place: widths[place])
        if widths[widest] <= SHORTEST:
            break
        widths[widest] -= 1
    return widths


def table_line(row: tuple[str, ...], widths: Sequence[int], names: int) -> str:
    """Return a line of a table. The first ``names`` columns are texts, the others numbers."""
    cells = [
        shorten_middle(text, width).ljust(width) if place < names else text.rjust(width)
        for place, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return _GAP.join(cells).rstrip()


def shorten_middle(text: str, width: int) -> str:
    """Shorten ``text`` in the middle, because model names differ at the end."""
    end = (width - 1) * 2 // 3
    return text if len(text) <= width else f"{text[: width - 1 - end]}…{text[-end:]}"
