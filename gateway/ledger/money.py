"""Dollars as text."""

from decimal import Decimal


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
