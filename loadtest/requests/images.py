"""Images for prompts, made here: PNGs of noise at a stated size, each different, so that no cache has seen one.

Noise is not compressed: three bytes a pixel, about what a photograph in PNG takes. It is made once for each size, and
each image gets a first row of its own: to draw a megabyte of chance for each request would hold up the clock."""

import random
import struct
import zlib
from binascii import b2a_base64
from typing import Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_RGB: Final = 2  # the colour type
_CHANNELS: Final = 3


class NoiseImages:
    """Images of ``width`` by ``height`` pixels."""

    def __init__(self, width: int, height: int) -> None:
        self._first = width * _CHANNELS
        noise = random.Random("noise")
        # Each row begins with the number of its filter; 0 is none (https://www.w3.org/TR/png-3/#9Filters).
        self._rest = b"".join(b"\0" + noise.randbytes(self._first) for _ in range(height - 1))
        header = struct.pack(">IIBBBBB", width, height, 8, _RGB, 0, 0, 0)
        self._before = _SIGNATURE + _chunk(b"IHDR", header)
        self._after = _chunk(b"IEND", b"")

    def png(self, chance: random.Random) -> bytes:
        """The next image."""
        rows = b"".join((b"\0", chance.randbytes(self._first), self._rest))
        return b"".join((self._before, _chunk(b"IDAT", zlib.compress(rows, 0)), self._after))

    def base64(self, chance: random.Random) -> bytes:
        """The next image as the APIs carry it."""
        return b2a_base64(self.png(chance), newline=False)


def _chunk(name: bytes, data: bytes) -> bytes:
    return b"".join((struct.pack(">I", len(data)), name, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))))
