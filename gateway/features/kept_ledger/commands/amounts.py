"""Numbers and dollars in reports."""

from collections.abc import Mapping
from typing import Final

from gateway.ledger.money import dollars, short_dollar_text
from providers.catalog.prices import Grade, grade_at

SIGNS: Final[Mapping[Grade, str]] = {"subscription": "", "exact": "", "estimated": "~", "at_least": "≥"}
"""The sign before an amount of money, by its grade."""

MEANINGS: Final[Mapping[Grade, str]] = {
    "estimated": "~ estimated: token counts or prices are estimates",
    "at_least": "≥ lower bound: token counts or prices of some requests are unknown",
}
"""Notes below a table with such signs."""


def money_cell(nanos: int, grade: int | None) -> str:
    """Return nano-dollars as dollars, with the sign of the grade of this rank."""
    return ("" if grade is None else SIGNS[grade_at(grade)]) + dollar_text(nanos)


def dollar_text(nanos: int) -> str:
    """Return dollars, to a hundredth of a cent."""
    return short_dollar_text(dollars(nanos))


def short_number(number: int) -> str:
    """Return a number in about four characters, such as ``12.3M``."""
    for size, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number >= size * 10 or (number >= size and size > 1000):
            return f"{number / size:.1f}{letter}" if number < 1000 * size else f"{number // size:,}{letter}"
    return str(number)
