"""The structure of a request's body, measured before it is decoded.

A few bytes of JSON make objects of some hundred: ``[],`` a list, ``{"role":"user","content":""},`` a turn, which each
codec works on for microseconds. So the number of elements is bounded as the number of bytes is. One call of a decoder
holds Python's interpreter lock, and with it all streams, from its beginning to its end: within these bounds none takes
a tenth of a second.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from providers.neutral.fields import too_deep
from streams.errors import GatewayError, invalid
from streams.structure import PIECE, count, has_more_elements

COUNTED: Final = 64 * 1024
"""Bytes of a body that is looked at: a smaller one cannot hold enough elements to matter."""

UNFOLDED: Final = 50_000
"""Elements that any body may have: those of two thousand calls of tools, or of three hundred tools with their schemas,
which compress to next to nothing where they are alike. Beyond, it has no more of them than bytes that came over the
wire: what is compressed unfolds twice. Real requests come with a hundred bytes for each, and compressed with ten."""

RARE: Final = 24 * 2**20
"""Bytes, in the whole of a body, that decoders are slow with: white space, escapes (each counts four times) and what
is not ASCII. Tokens are made of these as of others, so that no model's context holds as many; files in base64 have
none."""

_DEEP: Final = b"[" * 2000  # more than any decoder follows: what is wrong with it is said as of a small one

_PLAIN: Final = bytes(set(range(0x21, 0x7F)) - set(b"\\"))


def check_structure(body: bytes, wire: int, most: int) -> int:
    """The number of elements that ``body`` unfolds to, or somewhat more. Raises ``GatewayError``: 413 where it is more
    than ``most``, or more than its ``wire`` bytes can have brought; 400 where they are but nested. Blocking: some
    milliseconds for each MB."""
    size = len(body)
    if size <= COUNTED:
        return size
    warranted = max(UNFOLDED, wire)
    elements = count(body, min(most, warranted), min(most, UNFOLDED))
    if elements > min(most, warranted):
        if _DEEP in body:
            raise too_deep()
        raise _too_many_elements(most, warranted)
    if size > RARE and sum(map(_rare, _pieces(body))) > RARE:
        raise GatewayError(
            "too_large", f"the request body has more than {RARE} bytes of white space, escapes and text beyond ASCII"
        )
    return elements


def check_text(body: bytes) -> None:
    """Raise ``GatewayError`` (400) for what is no UTF-8. Piece by piece, for one call would take its time."""
    start, size = 0, len(body)
    try:
        while start < size:
            end = start + PIECE
            if end < size:
                end = _end_of_character(body, end)
            body[start:end].decode()
            start = end
    except UnicodeDecodeError as error:
        raise invalid(f"the request body is not UTF-8 (byte {start + error.start})") from None


@attrs.frozen(eq=False, repr=False)
class Bounds:
    """The bounds of a conversation, whether it comes whole or was kept: bytes of JSON, and elements in it."""

    size: int
    elements: int

    def within(self, turns: Iterable[bytes]) -> list[bytes]:
        """``turns``, each JSON. Raises ``GatewayError`` (413) for more than there may be, before all are read.
        Blocking as ``check_structure`` is."""
        kept, size = [], 0
        for turn in turns:
            size += len(turn)
            if size > self.size:
                raise _too_long(f"{self.size} bytes: limits.request_body")
            kept.append(turn)
        if size > COUNTED and has_more_elements(b"".join(kept), self.elements):
            raise _too_long(f"{self.elements} JSON elements: limits.elements")
        return kept


def _too_long(what: str) -> GatewayError:
    message = f"the conversation has more than {what} in the gateway's configuration is the limit; start a new one"
    return GatewayError("too_large", message)


def _too_many_elements(most: int, warranted: int) -> GatewayError:
    why = "limits.elements in the gateway's configuration is the limit"
    if warranted < most:
        why = "this is too much for its compressed size; send it uncompressed"
    elements = f"{min(most, warranted)} JSON elements (objects, arrays and commas)"
    return GatewayError("too_large", f"the request body has more than {elements}: {why}")


def _pieces(body: bytes) -> Iterator[bytes]:
    return (body[start : start + PIECE] for start in range(0, len(body), PIECE))


def _rare(piece: bytes) -> int:
    return len(piece.translate(None, _PLAIN)) + 3 * piece.count(b"\\")


def _end_of_character(body: bytes, end: int) -> int:
    """``end``, or up to three bytes before it where a character of UTF-8 goes on there."""
    return next((at for at in range(end, end - 4, -1) if body[at] & 0xC0 != 0x80), end)
