"""The stand-in's audio and pictures: a tone as long as its text, and a square of one colour."""

import binascii
import math
import struct
import zlib
from typing import Final

RATE: Final = 8000  # samples per second
SPEED: Final = 15  # characters spoken per second
MOST_SECONDS: Final = 30
_TONE: Final = 440  # Hz
_SIDE: Final = 16  # pixels of a picture


def tone(text: str) -> bytes:
    """Return a tone as 16-bit samples, about as long as ``text`` is when spoken."""
    count = RATE * max(1, min(MOST_SECONDS, len(text) // SPEED))
    period = [int(8000 * math.sin(2 * math.pi * _TONE * at / RATE)) for at in range(RATE // 20)]
    return (struct.pack(f"<{len(period)}h", *period) * (count // len(period) + 1))[: 2 * count]


def wav(samples: bytes) -> bytes:
    """Return a mono WAV file of ``samples``."""
    format = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
    return b"".join((
        b"RIFF", struct.pack("<I", 36 + len(samples)), b"WAVEfmt ", struct.pack("<I", 16), format,
        b"data", struct.pack("<I", len(samples)), samples,
    ))  # fmt: skip


def color_of(prompt: str) -> bytes:
    """Return the red, green and blue of the picture for ``prompt``."""
    return zlib.crc32(prompt.encode(errors="replace")).to_bytes(4, "big")[:3]


def picture(color: bytes) -> bytes:
    """Return a PNG in one colour."""
    rows = (b"\0" + color * _SIDE) * _SIDE
    head = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(name, data) for name, data in ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", binascii.crc32(name + data))
