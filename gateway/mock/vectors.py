"""The vectors of the stand-in: the same text has the same one, and texts that share words are near one another, so that
a search in them finds something."""

import base64
import hashlib
import math
import re
import struct
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

WIDTH: Final = 64
MOST: Final = 4096  # numbers of a vector that somebody may ask for
_WORD: Final = re.compile(r"\w+")


def vector(text: str, width: int = WIDTH) -> list[float]:
    """The vector of ``text``, of length 1: the sum of those of its words."""
    counted = Counter(_WORD.findall(text.lower())) or Counter([text])
    total = [0.0] * width
    for word, times in counted.items():
        for place, value in enumerate(_of_word(word, width)):
            total[place] += times * value
    length = math.sqrt(sum(value * value for value in total)) or 1.0
    return [value / length for value in total]


def nearness(one: str, other: str) -> float:
    """How near two texts are to one another: 0 to 1."""
    return max(0.0, sum(a * b for a, b in zip(vector(one), vector(other), strict=True)))


def in_base64(values: Sequence[float]) -> str:
    """``values`` as OpenAI writes them: single floats, the lowest byte first."""
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


@lru_cache(maxsize=2048)
def _of_word(word: str, width: int) -> tuple[float, ...]:
    return tuple(byte / 127.5 - 1 for byte in hashlib.shake_128(word.encode(errors="replace")).digest(width))
