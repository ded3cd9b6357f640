"""Readers of usage in answers other than conversations: tokens or seconds, in OpenAI's format."""

import math
from collections.abc import Mapping
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
    found = read_tokens(usage, NEWER, media=ALL_MEDIA)
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
