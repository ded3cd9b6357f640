"""A charge of an invoice, in the terms that all formats share, and the row of a file that states it."""

import operator
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar

import attrs

MOST_DIGITS: Final = 60
"""The longest amount: invoices have fewer digits, and Python's integers take quadratic time for thousands."""

ZERO: Final = Decimal(0)

Sum = TypeVar("Sum")


class UnreadableInvoice(Exception):
    """A file that is no invoice in a known format, or a damaged one. The message names the place."""


def add_fields(first: Sum, second: Sum) -> Sum:
    """Return an object of the same class with the sum of each field."""
    parts = (attrs.astuple(one, recurse=False) for one in (first, second))  # type: ignore[arg-type]
    return type(first)(*map(operator.add, *parts))


@attrs.frozen(eq=False, repr=False, kw_only=True)
class InvoiceLine:
    """One charge.

    ``provider`` is a family of ``model_names.FAMILIES``, "" if only the model shows it. ``day`` is in UTC, ``None`` if
    the charge is for a longer time, which begins on ``since``. ``usd`` is ``None`` in reports of tokens, ``tokens``,
    the count of input and output, in reports of dollars. ``model`` is the name in the invoice, ``None`` for all models;
    ``text`` is a description that may contain it. ``fee`` names a charge that is not for a model's tokens.
    ``is_credit``: a credit, discount, refund, tax or correction, which no request of ours causes."""

    provider: str
    day: date | None
    since: date
    usd: Decimal | None = None
    model: str | None = None
    text: str | None = None
    tokens: Decimal | None = None
    fee: str | None = None
    is_credit: bool = False

    @property
    def rounding(self) -> Decimal:
        """The largest error of the amount by rounding: half a unit of its last decimal, at most half a cent."""
        if self.usd is None:
            return ZERO
        exponent = self.usd.as_tuple().exponent
        return Decimal("0.5").scaleb(min(exponent if isinstance(exponent, int) else 0, -2))


def _decimal(value: object) -> Decimal | None:
    """Return the decimal in text or of a number of JSON, ``None`` for anything else."""
    text = value.strip() if isinstance(value, str) else str(value) if _is_number(value) else ""
    if len(text) > MOST_DIGITS or not text.isascii() or "_" in text:  # Decimal accepts other digits, and underscores
        return None
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return found if found.is_finite() and -MOST_DIGITS < found.adjusted() < MOST_DIGITS else None


def check_currency(currency: object, where: str) -> None:
    """Raise ``UnreadableInvoice`` unless the currency is the dollar."""
    if currency is not None and str(currency).strip().upper() not in ("", "USD"):
        raise UnreadableInvoice(f"{where}: the amounts are in {str(currency)[:10]}: give a report in dollars")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)


MOST_TEXT: Final = 300
"""The longest text that is kept of an invoice."""


_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


def day_of(since: datetime, until: datetime) -> date | None:
    """Return the day of a charge from ``since`` to before ``until``, ``None`` if it covers more than a day."""
    return since.date() if until - since <= timedelta(days=1) else None


@attrs.frozen(eq=False, repr=False)
class InvoiceRow:
    """An object in JSON or a row of CSV, and its place in the file. Methods may raise ``UnreadableInvoice``.

    Names of members are in lower case, those of arguments in any case."""

    members: Mapping[str, Any]
    where: str
    separator: str = "."

    def value(self, name: str) -> Any:
        """Return a member of any type, ``None`` if it is missing."""
        return self.members.get(name.lower())

    def text(self, name: str) -> str | None:
        """Return a text without surrounding spaces, ``None`` for anything else and for empty text."""
        value = self.value(name)
        return value.strip()[:MOST_TEXT] or None if isinstance(value, str) else None

    def texts(self, *names: str) -> tuple[str, ...]:
        """Return the texts of those members that exist."""
        return tuple([text for name in names if (text := self.text(name))])

    def amount(self, name: str) -> Decimal:
        """Return a decimal from text or a number of JSON."""
        found = _decimal(self.value(name))
        if found is None:
            raise self._unreadable(name, "an amount such as 1234.56")
        return found

    def count(self, name: str) -> Decimal:
        """Return a count, which is not negative; 0 without one."""
        value = self.value(name)
        found = ZERO if value is None or value == "" else _decimal(value)
        if found is None or found < 0 or found != found.to_integral_value():
            raise self._unreadable(name, "a count such as 1234")
        return found

    def time(self, name: str) -> datetime:
        """Return a time in UTC from Unix seconds, RFC 3339 or a date."""
        value = self.value(name)
        try:
            if _is_number(value) and -(10**12) < value < 10**12:
                return datetime.fromtimestamp(int(value), UTC)
            if isinstance(value, str) and len(value) <= 40:
                found = datetime.fromisoformat(value.strip().removesuffix(" UTC"))
                return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except (ValueError, OverflowError, OSError):
            pass
        raise self._unreadable(name, "a time such as 2026-10-01T00:00:00Z")

    def date(self, name: str) -> date:
        """Return a day such as ``2026-10-01``."""
        value = self.value(name)
        if isinstance(value, str) and _DATE.fullmatch(value.strip()[:10]):
            return self.time(name).date()
        raise self._unreadable(name, "a day such as 2026-10-01")

    def row(self, name: str) -> "InvoiceRow":
        """Return the object in a member, which is empty without one."""
        value = self.value(name)
        return InvoiceRow(value if isinstance(value, dict) else {}, self._place(name))

    def rows(self, name: str) -> "list[InvoiceRow]":
        """Return the objects in a list."""
        found = self.value(name)
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise UnreadableInvoice(f"{self.where}: expected a list of objects in {name}")
        return [InvoiceRow(one, f"{self._place(name)}[{number}]") for number, one in enumerate(found)]

    def _place(self, name: str) -> str:
        return f"{self.where}{self.separator}{name}"

    def _unreadable(self, name: str, expected: str) -> UnreadableInvoice:
        return UnreadableInvoice(f"{self._place(name)}: expected {expected}, found {str(self.value(name))[:40]!r}")
