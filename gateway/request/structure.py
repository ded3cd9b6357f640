"""Checks the structure of a request's body before it is decoded.

A few bytes of JSON become objects of some hundred bytes, such as ``[],`` for a list, or
``{"role":"user","content":""},`` for a turn, which each codec processes for microseconds. So the number of elements is
limited like the number of bytes. One call of a decoder holds the interpreter lock and blocks all streams; within these
limits no call takes a tenth of a second."""

import codecs
from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from providers.neutral.fields import too_deep_error
from streams.errors import GatewayError, invalid
from streams.structure import PIECE, count_elements, has_more_elements

COUNTED: Final = 64 * 1024
"""Bytes from which a body is checked; a smaller one cannot have too many elements."""

UNFOLDED: Final = 50_000
"""Elements that any body may have: those of two thousand tool calls, or of three hundred tools with schemas, which
compress very well if they are similar. Beyond it, a body may have as many elements as bytes on the wire. Real requests
have a hundred bytes per element, and ten if compressed."""

RARE: Final = 24 * 2**20
"""Bytes in a body that decoders process slowly: white space, escapes (each counts four times) and non-ASCII text. They
make up tokens like other bytes, so no model's context has as many; base64 has none."""

_DEEP: Final = b"[" * 2000  # deeper than any decoder follows; the error is that of a small body

_PLAIN: Final = bytes(set(range(0x21, 0x7F)) - set(b"\\"))


def check_structure(body: bytes, wire: int, max_elements: int) -> int:
    """Return the approximate number of elements of ``body``, rounded up.

    Blocks for some milliseconds per MB. Raises ``GatewayError``: 413 for more than ``max_elements``, or too many for
    its ``wire`` bytes; 400 for nesting alone."""
    size = len(body)
    if size <= COUNTED:
        return size
    warranted = max(UNFOLDED, wire)
    elements = count_elements(body, min(max_elements, warranted), min(max_elements, UNFOLDED))
    if elements > min(max_elements, warranted):
        if _DEEP in body:
            raise too_deep_error()
        raise _too_many_elements(max_elements, warranted)
    if size > RARE and sum(map(_count_slow_bytes, _pieces(body))) > RARE:
        raise GatewayError(
            "too_large", f"the request body has more than {RARE} bytes of white space, escapes and text beyond ASCII"
        )
    return elements


def check_text(body: bytes) -> None:
    """Raise ``GatewayError`` (400) for invalid UTF-8, and for a byte order mark, which JSON excludes.

    Works in pieces, because a single call would block too long."""
    if body.startswith(codecs.BOM_UTF8):
        raise invalid("the request body begins with a byte order mark: send UTF-8 without one")
    start, size = 0, len(body)
    try:
        while start < size:
            end = start + PIECE
            if end < size:
                end = _end_of_character(body, end)
            body[start:end].decode()
            start = end
    except UnicodeDecodeError as error:
        raise invalid(f"the request body is not UTF-8 (byte {start + error.start}): send it as UTF-8") from None


@attrs.frozen(eq=False, repr=False)
class Bounds:
    """The limits of a conversation, new or stored: its bytes of JSON and its elements."""

    size: int
    elements: int

    def check_turns(self, turns: Iterable[bytes]) -> list[bytes]:
        """Return ``turns``, each JSON. Raises ``GatewayError`` (413) if they exceed the limits.

        Stops reading at the limit, and blocks as ``check_structure`` does."""
        kept, size = [], 0
        for turn in turns:
            size += len(turn)
            if size > self.size:
                raise _too_long(f"{self.size} bytes (limits.request_body of the gateway)")
            kept.append(turn)
        if size > COUNTED and has_more_elements(b"".join(kept), self.elements):
            raise _too_long(f"{self.elements} JSON elements (limits.elements of the gateway)")
        return kept


def _too_long(part: str) -> GatewayError:
    return GatewayError("too_large", f"the conversation is longer than {part}: start a new conversation")


def _too_many_elements(max_elements: int, warranted: int) -> GatewayError:
    why = "limits.elements in the gateway's configuration is the limit"
    if warranted < max_elements:
        why = "this is too much for its compressed size; send it uncompressed"
    elements = f"{min(max_elements, warranted)} JSON elements (objects, arrays and commas)"
    return GatewayError("too_large", f"the request body has more than {elements}: {why}")


def _pieces(body: bytes) -> Iterator[bytes]:
    return (body[start : start + PIECE] for start in range(0, len(body), PIECE))


def _count_slow_bytes(piece: bytes) -> int:
    return len(piece.translate(None, _PLAIN)) + 3 * piece.count(b"\\")


def _end_of_character(body: bytes, end: int) -> int:
    """Return ``end``, or up to three bytes before it at the start of a UTF-8 character."""
    return next((at for at in range(end, end - 4, -1) if body[at] & 0xC0 != 0x80), end)
