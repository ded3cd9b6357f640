"""The tokens that pictures and sound will take, out of what a request says of them: providers tell them afterwards.

Pictures of OpenAI's models are grids of squares whose size hangs on the quality
(https://platform.openai.com/docs/guides/image-generation#cost-and-latency); how those of GPT Image 2 grow with the
picture is at https://community.openai.com/t/1382699.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from providers.endpoints.usage import TOKENS_A_SECOND
from streams.events import Usage

MOST_IMAGES: Final = 128
"""Pictures that one request is taken to ask for, whatever it says."""

MOST_INPUTS: Final = 16
"""Pictures that one edit takes."""

_LARGEST: Final = 16_384  # pixels of an edge: no model draws more
_SIZE: Final = re.compile(r"(\d{1,5})x(\d{1,5})")
_USUAL_SIZES: Final = ((1024, 1024), (1024, 1536), (1536, 1024))
"""The sizes among which a model chooses where the request leaves it to it."""

_SQUARES: Final[Mapping[str, int]] = {"low": 64, "medium": 32, "high": 16}
_FACTORS: Final[Mapping[str, int]] = {"low": 16, "medium": 48, "high": 96}
_BEST: Final = "high"

_PARTIAL: Final = 100
"""Tokens of a picture that is shown before it is done."""
_MOST_PARTIALS: Final = 3
_INPUT: Final = 65 + 4 * 129 + 6240
"""The most tokens of a picture that is to be changed: its base, its tiles and what a high fidelity adds."""
_PLAIN_INPUT: Final = 65 + 4 * 129
"""The same where a low fidelity will do."""
_PROMPT: Final = 8_000
"""Tokens of the longest prompt, of 32,000 characters."""

_BYTES_A_SECOND: Final = 15
"""Of a text in UTF-8 that is spoken: 150 words a minute, or five Chinese characters a second."""
_SPOKEN: Final = 21
"""Tokens of a second of speech."""
_SLOWEST: Final = 0.25
_WRITTEN: Final = 5
"""Tokens of the words that are spoken in a second, by somebody who speaks fast."""


def _in_rows(width: int, height: int, quality: str) -> int:
    """Return the tokens of a picture of the first GPT Image models: one for each square, and one for the end of each
    row."""
    square = _SQUARES[quality]
    return math.ceil(height / square) * (math.ceil(width / square) + 1)


def _by_area(width: int, height: int, quality: str) -> int:
    """Return the same of GPT Image 2, whose squares grow with the picture."""
    factor, long, short = _FACTORS[quality], max(width, height), min(width, height)
    return math.ceil(factor * round(factor * short / long) * (2_000_000 + width * height) / 4_000_000)


_GRIDS: Final[tuple[tuple[re.Pattern[str], Callable[[int, int, str], int]], ...]] = (
    (re.compile(r"gpt-image-[2-9]"), _by_area),
    (re.compile(""), _in_rows),
)
"""How the pictures of a model are counted, by its name: the first that matches."""


def picture_tokens(model: str, size: str | None, quality: str | None) -> int:
    """Return the tokens of one picture of ``model``; of all that the request leaves open, the most."""
    grid = next(count for pattern, count in _GRIDS if pattern.match(model.rpartition("/")[2]))
    found = _SIZE.fullmatch(size or "")
    sizes = _USUAL_SIZES if found is None else ((_edge(found[1]), _edge(found[2])),)
    grade = quality if quality is not None and quality in _SQUARES else _BEST
    return max(grid(width, height, grade) for width, height in sizes)


def _edge(text: str) -> int:
    return min(max(int(text), 1), _LARGEST)


@attrs.frozen
class WantedPictures:
    """What a request says of the pictures that it wants: so many, of a ``size`` and a ``quality``. ``inputs`` are those
    that it brings, ``None`` where that is not known yet."""

    number: int = 1
    size: str | None = None
    quality: str | None = None
    partials: int = 0
    fidelity: str | None = None
    inputs: int | None = 0

    @classmethod
    def of(cls, fields: Mapping[str, str], inputs: int | None = 0) -> "WantedPictures":
        """Read the fields of a request; wrong ones are for the provider to refuse."""
        partials = min(_number(fields.get("partial_images"), 0), _MOST_PARTIALS)
        return cls(
            min(max(_number(fields.get("n"), 1), 1), MOST_IMAGES), fields.get("size"), fields.get("quality"), partials,
            fields.get("input_fidelity"), inputs if inputs is None else min(inputs, MOST_INPUTS),
        )  # fmt: skip

    def usage(self, model: str, *, most: bool) -> Usage:
        """Return the tokens that these pictures take of ``model``, about, or the ``most`` that they can take."""
        output = self.number * (picture_tokens(model, self.size, self.quality) + self.partials * _PARTIAL)
        inputs = self.inputs if self.inputs is not None else MOST_INPUTS + 1 if most else 1
        given = inputs * (_PLAIN_INPUT if self.fidelity == "low" else _INPUT)
        prompt = _PROMPT if most and self.inputs is None else 0  # it comes by while the request is on its way
        units = (("output_image_token", output), *((("input_image_token", given),) if given else ()))
        return Usage(input=given + prompt, output=output, units=units, estimated=True)


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 10 else otherwise


def speech_usage(text: str, speed: float, *, most: bool = False) -> Usage:
    """Return the tokens of ``text`` as sound, about, or the ``most`` that they can be: twice as many, because a voice
    can be told to speak slowly."""
    slowly = 1 / min(max(speed, _SLOWEST), 1.0)
    tokens = math.ceil(len(text.encode("utf-8", "replace")) / _BYTES_A_SECOND * _SPOKEN * slowly) * (2 if most else 1)
    return Usage(output=tokens, units=(("output_audio_token", tokens),), estimated=True)


def transcript_usage(seconds: int) -> Usage:
    """Return the tokens of a recording of so many seconds, and of the words in it."""
    tokens = seconds * TOKENS_A_SECOND
    units = (("input_audio_token", tokens),)
    return Usage(input=tokens, output=seconds * _WRITTEN, units=units, estimated=True)
