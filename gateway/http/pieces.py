"""Lists of pieces whose memory is about their bytes, however small the pieces are."""

from collections.abc import MutableSequence
from typing import Final

SMALL: Final = 4096
"""Bytes below which a piece is joined with others. An object and its place in a list take about 50 bytes, a message
about 300: a body in pieces of two bytes would need a hundred times its size."""


def add_piece(pieces: MutableSequence[bytes | bytearray], piece: bytes) -> None:
    """Add ``piece`` to the end of ``pieces``, joined with the last one if both are small."""
    if len(piece) < SMALL and pieces:
        last = pieces[-1]
        if len(last) < SMALL:
            if isinstance(last, bytes):
                pieces[-1] = last = bytearray(last)
            last += piece
            return
    pieces.append(piece)
