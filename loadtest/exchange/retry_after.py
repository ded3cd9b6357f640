"""``Retry-After`` of an answer: how long a server asks its clients to wait (RFC 9110 §10.2.3)."""

import email.utils
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

STATUSES: Final = (429, 503)
LONGEST: Final = 60.0
"""Seconds that a client waits at most, whatever it is told: some servers say days (earendil-works/pi#4991)."""


def retry_after(status: int, headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds from ``now`` on; ``None`` where it is not said, or not in a way that can be understood."""
    said = headers.get("retry-after", "").strip()
    if status not in STATUSES or not said:
        return None
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", said):
        return float(said)
    try:
        date = email.utils.parsedate_to_datetime(said)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    date = date.replace(tzinfo=UTC) if date.tzinfo is None else date
    return max(0.0, math.ceil((date - (now or datetime.now(UTC))).total_seconds()))
