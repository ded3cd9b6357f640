"""Dollars as text."""

from decimal import Decimal


def dollars(nanos: int) -> Decimal:
    """Return nano-dollars as dollars with nine decimals."""
    return Decimal(nanos).scaleb(-9)


def dollar_text(nanos: int) -> str:
    """Return nano-dollars as the exact text of dollars, such as ``0.054399000``."""
    return f"{dollars(nanos):f}"


def short_dollar_text(usd: Decimal) -> str:
    """Return dollars for readers, to a hundredth of a cent."""
    shown = usd.quantize(Decimal("0.0001"))
    return "<0.0001" if usd and not shown else f"{shown:,f}"
