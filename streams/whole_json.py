"""The end of a JSON object that arrives in pieces."""

from collections.abc import Iterable
from typing import Final

import msgspec

from streams.surrogates import decode_or

MOST_WORK: Final = 2**24
"""Bytes that may be read in vain to find one end. A sender that ends each small piece with a brace would otherwise have
its whole body read again and again."""

_skim: Final = msgspec.json.Decoder(msgspec.Raw).decode  # checks the structure, and makes no values


class ObjectEnd:
    """The end of a JSON object whose sender may not announce it."""

    def __init__(self) -> None:
        self._ends_with_brace = False
        self._work = 0

    def feed(self, piece: bytes) -> None:
        """Note the next piece of the body."""
        if text := piece.rstrip():
            self._ends_with_brace = text.endswith(b"}")

    @property
    def is_likely(self) -> bool:
        """True if the pieces so far may be a whole object. Few incomplete ones end like it."""
        return self._ends_with_brace and self._work <= MOST_WORK

    def is_reached(self, pieces: Iterable[bytes | bytearray]) -> bool:
        """Return whether ``pieces``, all so far, are a whole object if that is likely. A megabyte takes a few
        milliseconds."""
        body = b"".join(pieces)
        self._work += len(body)
        return decode_or(_skim, body, None) is not None
