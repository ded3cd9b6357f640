"""Estimates of the tokens of images and audio from a request, because providers only report them afterwards.

Images of OpenAI's models are grids of squares whose size depends on the quality
(https://platform.openai.com/docs/guides/image-generation#cost-and-latency); for GPT Image 2 see
https://community.openai.com/t/1382699.

Readers of usage in these answers: tokens or seconds, in OpenAI's format.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from providers.neutral.token_usage import (
    ALL_MEDIA,
    COUNTS,
    MOST_TOKENS,
    NEWER,
    has_token_count,
    is_token_count,
    read_tokens,
)
from providers.neutral.values import as_count
from streams.events import Usage

TOKENS_A_SECOND: Final = 10
"""Tokens per second of audio input for OpenAI's models that are billed by tokens."""


def read_usage(usage: Any, most: int = MOST_TOKENS) -> Usage | None:
    """Return the usage in ``usage``: tokens, including audio and image tokens, each up to ``most``, or seconds;
    ``None`` if it has neither."""
    if not isinstance(usage, dict):
        return None
    if usage.get("type") == "duration":
        seconds: Any = usage.get("seconds")
        return Usage(units=(("second", math.ceil(min(seconds, _MAX_SECONDS))),)) if is_token_count(seconds) else None
    found = read_tokens(usage, NEWER, media=ALL_MEDIA, most=most)
    if found is not None and not has_token_count(usage, COUNTS[:-1]):  # Voyage's embeddings only report a total
        return attrs.evolve(found, input=found.output, output=0, estimated=False)
    return found


_MAX_SECONDS: Final = 7 * 86_400  # seconds of a recording; larger numbers are invalid


def token_usage(usage: Any) -> Usage | None:
    """Return the tokens of an image, speech or transcript, or its reported cost; ``None`` without either, because it is
    then billed otherwise."""
    found = read_usage(usage)
    is_billed = found is not None and (found.prompt or found.output or found.reported_nanos is not None)
    return found if is_billed else None


def length_usage(milliseconds: int, *, by_tokens: bool) -> Usage:
    """Return the estimated usage of a recording of that length: seconds, or audio tokens."""
    seconds = -(-milliseconds // 1000)
    if not by_tokens:
        return Usage(units=(("second", seconds),), estimated=True)
    tokens = seconds * TOKENS_A_SECOND
    return Usage(input=tokens, units=(("input_audio_token", tokens),), estimated=True)


def seconds_of(answer: Mapping[str, Any]) -> int | None:
    """Return the seconds that a whole transcript reports, in OpenAI's ``usage`` or ``duration`` or in
    Mistral's form."""
    usage = answer.get("usage")
    reported = [usage.get("seconds"), usage.get("prompt_audio_seconds")] if isinstance(usage, dict) else []
    for value in (*reported, answer.get("duration")):
        try:
            found = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            continue
        if 0 < found < MOST_TOKENS:
            return -int(-found // 1)
    return None


MAX_IMAGES: Final = 128
"""The most images that one request counts for."""

MAX_INPUTS: Final = 16
"""The most images that one edit accepts."""

_MAX_EDGE: Final = 16_384  # pixels of an edge, beyond any model's limit
_SIZE: Final = re.compile(r"(\d{1,5})x(\d{1,5})")
_USUAL_SIZES: Final = ((1024, 1024), (1024, 1536), (1536, 1024))
"""The sizes that a model chooses from if the request sets none."""

_SQUARES: Final[Mapping[str, int]] = {"low": 64, "medium": 32, "high": 16}
_FACTORS: Final[Mapping[str, int]] = {"low": 16, "medium": 48, "high": 96}
_BEST: Final = "high"

_PARTIAL: Final = 100
"""Tokens of a partial image."""
_MAX_PARTIALS: Final = 3
_INPUT: Final = 65 + 4 * 129 + 6240
"""The most tokens of an input image: base, tiles and the surcharge of high fidelity."""
_PLAIN_INPUT: Final = 65 + 4 * 129
"""The most tokens of an input image with low fidelity."""
_PROMPT: Final = 8_000
"""Tokens of the longest prompt, of 32,000 characters."""

_BYTES_A_SECOND: Final = 15
"""Bytes of UTF-8 text spoken per second: 150 words a minute, or five Chinese characters a second."""
_SPOKEN: Final = 21
"""Tokens per second of speech."""
_MIN_SPEED: Final = 0.25
_WRITTEN: Final = 5
"""Tokens of transcript per second, of a fast speaker."""


def _tokens_by_rows(width: int, height: int, quality: str) -> int:
    """Return the tokens of an image of the first GPT Image models: one per square, and one at the end of each row."""
    square = _SQUARES[quality]
    return math.ceil(height / square) * (math.ceil(width / square) + 1)


def _tokens_by_area(width: int, height: int, quality: str) -> int:
    """Return the tokens of an image of GPT Image 2, whose squares grow with the image."""
    factor, long, short = _FACTORS[quality], max(width, height), min(width, height)
    return math.ceil(factor * round(factor * short / long) * (2_000_000 + width * height) / 4_000_000)


_GRIDS: Final[tuple[tuple[re.Pattern[str], Callable[[int, int, str], int]], ...]] = (
    (re.compile(r"gpt-image-[2-9]"), _tokens_by_area),
    (re.compile(""), _tokens_by_rows),
)
"""Functions that count an image's tokens, by model name; the first match applies."""


def picture_tokens(model: str, size: str | None, quality: str | None) -> int:
    """Return the tokens of one image of ``model``, the most for settings that the request leaves open."""
    grid = next(count for pattern, count in _GRIDS if pattern.match(model.rpartition("/")[2]))
    found = _SIZE.fullmatch(size or "")
    sizes = _USUAL_SIZES if found is None else ((_limit_edge(found[1]), _limit_edge(found[2])),)
    grade = quality if quality is not None and quality in _SQUARES else _BEST
    return max(grid(width, height, grade) for width, height in sizes)


def _limit_edge(text: str) -> int:
    return min(max(int(text), 1), _MAX_EDGE)


@attrs.frozen
class WantedPictures:
    """The images that a request wants. ``inputs`` is the number of input images, ``None`` if not known yet."""

    number: int = 1
    size: str | None = None
    quality: str | None = None
    partials: int = 0
    fidelity: str | None = None
    inputs: int | None = 0

    @classmethod
    def of(cls, fields: Mapping[str, str], inputs: int | None = 0) -> "WantedPictures":
        """Return the images described by a request's fields; the provider rejects invalid ones."""
        partials = min(_number(fields.get("partial_images"), 0), _MAX_PARTIALS)
        return cls(
            min(max(_number(fields.get("n"), 1), 1), MAX_IMAGES), fields.get("size"), fields.get("quality"), partials,
            fields.get("input_fidelity"), inputs if inputs is None else min(inputs, MAX_INPUTS),
        )  # fmt: skip

    def usage(self, model: str, *, most: bool) -> Usage:
        """Return the estimated tokens of these images of ``model``, or with ``most`` the upper limit."""
        output = self.number * (picture_tokens(model, self.size, self.quality) + self.partials * _PARTIAL)
        inputs = self.inputs if self.inputs is not None else MAX_INPUTS + 1 if most else 1
        input_tokens = inputs * (_PLAIN_INPUT if self.fidelity == "low" else _INPUT)
        prompt = _PROMPT if most and self.inputs is None else 0  # it is not known before the request is forwarded
        units = (("output_image_token", output), *((("input_image_token", input_tokens),) if input_tokens else ()))
        return Usage(input=input_tokens + prompt, output=output, units=units, estimated=True)


def _number(text: str | None, otherwise: int) -> int:
    return as_count(text) or otherwise


def speech_usage(text: str, speed: float, *, most: bool = False) -> Usage:
    """Return the estimated tokens of ``text`` as speech, or with ``most`` the upper limit.

    The limit is twice as high, because instructions can make a voice speak slowly.
    """
    slowdown = 1 / min(max(_MIN_SPEED, speed), 1.0)  # in this order, NaN is the slowest
    tokens = math.ceil(len(text.encode("utf-8", "replace")) / _BYTES_A_SECOND * _SPOKEN * slowdown) * (2 if most else 1)
    return Usage(output=tokens, units=(("output_audio_token", tokens),), estimated=True)


def transcript_usage(seconds: int) -> Usage:
    """Return the estimated tokens of a recording of that length and of its words."""
    tokens = seconds * TOKENS_A_SECOND
    units = (("input_audio_token", tokens),)
    return Usage(input=tokens, output=seconds * _WRITTEN, units=units, estimated=True)
