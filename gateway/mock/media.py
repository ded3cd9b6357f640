"""The stand-in's audio and its picture: a tone as long as its text, and a green square."""

import base64
import math
import struct
import wave
from io import BytesIO
from typing import Final

RATE: Final = 8000  # samples per second
SPEED: Final = 15  # characters spoken per second
MOST_SECONDS: Final = 30
_TONE: Final = 440  # Hz

PICTURE: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAFUlEQVR42mNg+M9AGhrVMKph+GoAAJHq/wGVf9hPAAAAAElFTkSuQmCC"
)
"""A PNG of 16 times 16 pixels."""


def tone(text: str) -> bytes:
    """Return a tone as 16-bit samples, about as long as ``text`` is when spoken."""
    count = RATE * max(1, min(MOST_SECONDS, len(text) // SPEED))
    period = [int(8000 * math.sin(2 * math.pi * _TONE * at / RATE)) for at in range(RATE // 20)]
    return (struct.pack(f"<{len(period)}h", *period) * (count // len(period) + 1))[: 2 * count]


def wav(samples: bytes) -> bytes:
    """Return a mono WAV file of ``samples``."""
    file = BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, RATE, 0, "NONE", ""))
        writer.writeframes(samples)
    return file.getvalue()
