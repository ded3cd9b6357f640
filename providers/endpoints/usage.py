"""Readers of usage in answers other than conversations: tokens or seconds, in OpenAI's format."""

import math
from collections.abc import Mapping
from typing import Any, Final

import attrs

from providers.neutral.billing import MOST_TOKENS, is_token_count
from providers.neutral.token_usage import ALL_MEDIA, NEWER, OLDER, read_tokens
from streams.events import Usage

TOKENS_A_SECOND: Final = 10
"""Tokens per second of audio input for OpenAI's models that are billed by tokens."""


def read_usage(usage: Any) -> Usage | None:
    """Return the usage in ``usage``: tokens, including audio and image tokens, or seconds; ``None`` if it
    has neither."""
    if not isinstance(usage, dict):
        return None
    if usage.get("type") == "duration":
        seconds: Any = usage.get("seconds")
        return Usage(units=(("second", math.ceil(min(seconds, _MAX_SECONDS))),)) if is_token_count(seconds) else None
    if not any(is_token_count(usage.get(name)) for name in _COUNTS):
        return None
    found = read_tokens(usage, NEWER, media=ALL_MEDIA)
    if not any(is_token_count(usage.get(name)) for name in _COUNTS[:-1]):  # Voyage's embeddings only report a total
        return attrs.evolve(found, input=found.output, output=0)
    return found


_MAX_SECONDS: Final = 7 * 86_400  # seconds of a recording; larger numbers are invalid

_COUNTS: Final = (NEWER.input, NEWER.output, OLDER.input, OLDER.output, "total_tokens")


def token_usage(usage: Any) -> Usage | None:
    """Return the tokens of an image, speech or transcript; ``None`` without tokens, because it is then billed
    otherwise."""
    found = read_usage(usage)
    return found if found is not None and (found.prompt or found.output) else None


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
