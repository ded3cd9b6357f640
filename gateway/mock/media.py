"""The sounds and pictures of the stand-in: a tone as long as its text, and one square of a color."""

import binascii
import math
import struct
import zlib
from typing import Final

RATE: Final = 8000  # samples of a second
SPEED: Final = 15  # characters that are spoken in a second
MOST_SECONDS: Final = 30
_TONE: Final = 440  # Hz


def tone(text: str) -> bytes:
    """Samples of 16 bits for ``text``."""
    count = RATE * max(1, min(MOST_SECONDS, len(text) // SPEED))
    period = [int(8000 * math.sin(2 * math.pi * _TONE * at / RATE)) for at in range(RATE // 20)]
    return (struct.pack(f"<{len(period)}h", *period) * (count // len(period) + 1))[: 2 * count]


def wav(samples: bytes) -> bytes:
    """A WAV file of ``samples``, in one channel."""
    format = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
    return b"".join((
        b"RIFF", struct.pack("<I", 36 + len(samples)), b"WAVEfmt ", struct.pack("<I", 16), format,
        b"data", struct.pack("<I", len(samples)), samples,
    ))  # fmt: skip


def picture(prompt: str, side: int = 16) -> bytes:
    """A PNG in the color that ``prompt`` has."""
    color = zlib.crc32(prompt.encode(errors="replace")).to_bytes(4, "big")[:3]
    rows = (b"\0" + color * side) * side
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(name, data) for name, data in ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", binascii.crc32(name + data))
