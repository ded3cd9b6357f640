"""Lists and places in streams as a query asks for them: what stands behind the ``?``, mistakes named."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from quart import request

from providers.responses.kept import page
from streams.errors import invalid

Object: TypeAlias = dict[str, Any]

_TRUTHS: Mapping[str, bool] = {"true": True, "1": True, "false": False, "0": False}
_LAST = 2**53  # the largest whole number that every reader of JSON knows


def listed(items: Iterable[Object]) -> Object:
    """The page of ``items`` that the request which is being handled asks for. Raises ``GatewayError`` (400).

    An item that comes twice is listed once: a client may send again what is there already, and who asks for what is
    behind the second would be taken to the first and go round in circles. ``include`` is not looked at: nothing that
    is stored is left out."""
    distinct: dict[Any, Object] = {}
    for item in items:
        distinct.setdefault(item.get("id"), item)
    query = request.args
    return page(
        list(distinct.values()), query.get("after"), query.get("before"), query.get("limit"), query.get("order")
    )


def read_number(name: str) -> int | None:
    """A whole number, ``None`` if it is not there. Raises ``GatewayError`` (400)."""
    text = request.args.get(name)
    if text is None:
        return None
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(_LAST)) else -1
    if not 0 <= number <= _LAST:
        raise invalid(f"{name} must be a whole number, not {text[:20]!r}", name)
    return number


def read_flag(name: str) -> bool:
    """Raises ``GatewayError`` (400) for what is neither true nor false."""
    text = request.args.get(name, "false")
    if (truth := _TRUTHS.get(text.lower())) is None:
        raise invalid(f"{name} must be true or false, not {text[:20]!r}", name)
    return truth
