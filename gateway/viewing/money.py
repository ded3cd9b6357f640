"""Dollars and numbers as text."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from providers.catalog.prices import Grade

SIGNS: Final[Mapping[Grade, str]] = {"subscription": "", "exact": "", "estimated": "~", "at_least": "≥"}
"""The sign before an amount of money, by its grade."""


def dollars(nanos: int) -> Decimal:
    """Return nano-dollars as dollars with nine decimals."""
    return Decimal(nanos).scaleb(-9)


def dollar_text(nanos: int) -> str:
    """Return nano-dollars as the exact text of dollars, such as ``0.054399000``."""
    return f"{dollars(nanos):f}"


def short_dollar_text(usd: Decimal) -> str:
    """Return dollars for readers: cents if there are none or at least $1, otherwise hundredths of a cent."""
    shown, sign = abs(usd.quantize(Decimal("0.0001"))), "-" if usd < 0 else ""
    if usd and not shown:
        return "<$0.0001"
    return f"{sign}${abs(usd):,.2f}" if not usd or shown >= 1 else f"{sign}${shown:f}"


def short_number(number: int) -> str:
    """Return a number in about four characters, such as ``12.3M``."""
    for size, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number >= size * 10 or (number >= size and size > 1000):
            return f"{number / size:.1f}{letter}" if number < 1000 * size else f"{number // size:,}{letter}"
    return str(number)
