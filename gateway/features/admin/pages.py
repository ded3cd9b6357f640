"""Pages of lists: ``{"data", "next"}``, selected by ``?limit=`` and ``?after=``; and times in bodies."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from operator import itemgetter
from typing import Any, Final, TypeVar

from configfile.wording import Wrong
from gateway.config.kinds import read_timestamp, zone_of
from gateway.config.settings import Config
from gateway.viewing.periods import read_time
from streams.errors import invalid

T = TypeVar("T")

DEFAULT: Final = 100
MOST: Final = 1000
_FOREVER: Final = 1e12


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
    return first_page(items_after(items, query, key), page_size(query), key)


def items_after(
    items: Iterable[T], query: Mapping[str, str], key: Callable[[T], str], *, newest: bool = False
) -> list[T]:
    """Return the items after the requested page's start in the order of ``key``, with ``newest`` in reverse."""
    keyed = [(key(one), one) for one in items]
    after = query.get("after", "")
    rest = [pair for pair in keyed if not after or (pair[0] < after if newest else pair[0] > after)]
    return [one for _, one in sorted(rest, key=itemgetter(0), reverse=newest)]


def first_page(items: Iterable[T], size: int, key: Callable[[T], str]) -> tuple[Sequence[T], str | None]:
    """Return the first ``size`` of ``items``, and the ``after`` of the next page. It reads only one more."""
    page = list(islice(items, size + 1))
    return page[:size], (key(page[size - 1]) if len(page) > size else None)


def is_newest_first(query: Mapping[str, str], other: str) -> bool:
    """Return whether ``order`` is ``newest`` instead of ``other``, the default. Raises ``GatewayError`` (400)."""
    order = query.get("order", other)
    if order not in (other, "newest"):
        raise invalid(f"order must be {other} or newest, not {order[:20]!r}", "order")
    return order == "newest"


def read_period(query: Mapping[str, str], config: Config) -> tuple[float, float]:
    """Return the Unix times of ``since`` and ``until``, from the first to the last without them. Raises
    ``GatewayError`` (400)."""
    now = datetime.now(zone_of(config.timezone))
    since = read_time(query["since"], now, "since").timestamp() if "since" in query else 0.0
    return since, read_time(query["until"], now, "until", end=True).timestamp() if "until" in query else _FOREVER


def read_until(text: Any) -> datetime:
    """Return the time in ``until`` of a body. A date is its end. Raises ``GatewayError`` (400)."""
    try:
        until: datetime = read_timestamp(text)
    except Wrong as wrong:
        raise invalid(f"until: {wrong.found}; {wrong.expected}", "until") from None
    return until
