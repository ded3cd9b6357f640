"""The days of invoices, in UTC."""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from gateway.invoices.line import UnreadableInvoice

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


def time_of(value: object, where: str) -> datetime:
    """Return a time in UTC from Unix seconds, RFC 3339 or a date. Raises ``UnreadableInvoice``."""
    try:
        if isinstance(value, (int, Decimal)) and not isinstance(value, bool) and -(10**12) < value < 10**12:
            return datetime.fromtimestamp(int(value), UTC)
        if isinstance(value, str) and len(value) <= 40:
            found = datetime.fromisoformat(value.strip().removesuffix(" UTC"))
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise UnreadableInvoice(f"{where}: expected a time such as 2026-10-01T00:00:00Z, found {str(value)[:40]!r}")


def day_of(since: datetime, until: datetime | None) -> date | None:
    """Return the day of a charge from ``since`` to before ``until``, ``None`` if it covers more than a day."""
    if until is not None and until - since > timedelta(days=1):
        return None
    return since.date()


def date_of(value: object, where: str) -> date:
    """Return a day such as ``2026-10-01``. Raises ``UnreadableInvoice``."""
    if isinstance(value, str) and _DATE.fullmatch(value.strip()[:10]):
        return time_of(value, where).date()
    raise UnreadableInvoice(f"{where}: expected a day such as 2026-10-01, found {str(value)[:40]!r}")
