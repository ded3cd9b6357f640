"""Lists by the page: ``GET …/input_items`` and the items of a conversation."""

from collections.abc import Sequence
from typing import Any

from providers.responses.output import Object
from streams.errors import invalid

DEFAULT = 20
MOST = 100


def page(
    items: Sequence[Object],
    after: str | None = None,
    before: str | None = None,
    limit: str | int | None = None,
    order: str | None = None,
) -> Object:
    """A page of ``items``, which are in the order in which they came; the newest stands first unless ``order`` is
    ``asc``. ``after`` and ``before`` are ids; the arguments are as the query has them, ``None`` where it does not.
    Raises ``GatewayError`` (400, with ``param``) for what is no page."""
    if order not in (None, "asc", "desc"):
        raise invalid(f"order {order!r} is not known: use asc or desc", "order")
    size = _size(limit)
    listed = list(items) if order == "asc" else list(items)[::-1]
    if before is not None:
        listed = listed[: _place(listed, before, "before")]
    if after is not None:
        listed = listed[_place(listed, after, "after") + 1 :]
    # Without `after` it is the page right before `before`, and what it leaves out stands in front of it.
    found = listed[-size:] if before is not None and after is None else listed[:size]
    return {
        "object": "list",
        "data": found,
        "first_id": found[0].get("id") if found else None,
        "last_id": found[-1].get("id") if found else None,
        "has_more": len(found) < len(listed),
    }


def _size(limit: str | int | None) -> int:
    if limit is None:
        return DEFAULT
    text = str(limit)
    size = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
    if not 1 <= size <= MOST:
        raise invalid(f"limit must be a number from 1 to {MOST}", "limit")
    return size


def _place(listed: Sequence[Any], id: str, param: str) -> int:
    for i, item in enumerate(listed):
        if item.get("id") == id:
            return i
    raise invalid(f"{param}: there is no item {id!r} in this list", param)
