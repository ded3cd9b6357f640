"""Pages of lists: ``{"data", "next"}``, selected by ``?limit=`` and ``?after=``; and times in bodies."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from configfile.wording import Wrong
from gateway.config.kinds import read_timestamp
from streams.errors import invalid

T = TypeVar("T")

DEFAULT: Final = 100
MOST: Final = 1000


def page_size(query: Mapping[str, str]) -> int:
    """Return the requested number of items. Raises ``GatewayError`` (400)."""
    text = query.get("limit")
    if text is None:
        return DEFAULT
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(MOST)) else 0
    if not 1 <= number <= MOST:
        raise invalid(f"limit must be a number from 1 to {MOST}, not {text[:20]!r}", "limit")
    return number


def page_of(items: Sequence[T], query: Mapping[str, str], key: Callable[[T], str]) -> tuple[Sequence[T], str | None]:
    """Return the requested page of ``items``, and the ``after`` of the next one.

    Pages are in the order of ``key``, so they are stable while items are added and removed."""
    size, after = page_size(query), query.get("after", "")
    rest = sorted((one for one in items if key(one) > after), key=key)
    page = rest[:size]
    return page, (key(page[-1]) if len(rest) > size else None)


def read_until(text: Any) -> datetime:
    """Return the time in ``until`` of a body. A date is its end. Raises ``GatewayError`` (400)."""
    try:
        until: datetime = read_timestamp(text)
    except Wrong as wrong:
        raise invalid(f"until: {wrong.found}; {wrong.expected}", "until") from None
    return until
