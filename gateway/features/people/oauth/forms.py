"""Forms that clients and browsers send, read strictly."""

from collections.abc import Mapping
from typing import Final, TypeAlias
from urllib.parse import parse_qsl

import trio

from gateway.serving.incoming_request import PiecesRequest, too_slow
from streams.errors import invalid

LARGEST: Final = 32 * 1024
"""Bytes of a form."""

SECONDS: Final = 10.0
"""Seconds for a whole form to arrive."""

_MOST_FIELDS: Final = 50
_KIND: Final = "application/x-www-form-urlencoded"

Form: TypeAlias = Mapping[str, str]


async def read_form(incoming: PiecesRequest) -> Form:
    """Return the fields of a request's form. Raises ``GatewayError`` (400, 408, 413)."""
    kind = next((value for name, value in incoming.headers if name == "content-type"), _KIND)
    if kind.partition(";")[0].strip().lower() != _KIND:
        raise invalid(f"expected the content type {_KIND}")
    with trio.move_on_after(SECONDS) as time:
        body = b"".join([piece async for piece in incoming.pieces(LARGEST)])
    if time.cancelled_caught:
        raise too_slow()
    return parse_form(body)


def parse_form(body: bytes) -> Form:
    """Return the fields in ``body``. Raises ``GatewayError`` (400) for a field that occurs twice (RFC 6749, section
    3.2), and for text that is not UTF-8."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS, separator="&"
        )
    except (ValueError, UnicodeDecodeError):
        raise invalid("the form is unreadable: send up to 50 fields in UTF-8, percent-encoded") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise invalid(f"the parameter {name[:50]!r} occurs twice")
        fields[name] = value
    return fields


def parse_query(query: str) -> Form:
    """Return the parameters of a URL. Raises as ``parse_form`` does."""
    return parse_form(query.encode("latin-1"))
