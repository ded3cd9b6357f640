"""What answers that are no conversation say that they have taken: tokens or seconds, in OpenAI's words."""

import math
from collections.abc import Mapping
from typing import Any, Final

import attrs

from providers.neutral.billing import MOST_TOKENS, is_count
from providers.neutral.token_usage import ALL_SENSES, NEWER, OLDER, read_tokens
from streams.events import Usage

TOKENS_A_SECOND: Final = 10
"""Tokens of a second of sound, as OpenAI's models that are billed by tokens hear it."""


def read_usage(usage: Any) -> Usage | None:
    """Return what the member ``usage`` of an answer counts: tokens, with those of sounds and pictures among them, or
    seconds; ``None`` where it counts nothing."""
    if not isinstance(usage, dict):
        return None
    if usage.get("type") == "duration":
        seconds: Any = usage.get("seconds")
        return Usage(units=(("second", math.ceil(min(seconds, _LONGEST))),)) if is_count(seconds) else None
    if not any(is_count(usage.get(name)) for name in _COUNTS):
        return None
    found = read_tokens(usage, NEWER, senses=ALL_SENSES)
    if not any(is_count(usage.get(name)) for name in _COUNTS[:-1]):  # Voyage's embeddings and pages say a total alone
        return attrs.evolve(found, input=found.output, output=0)
    return found


_LONGEST: Final = 7 * 86_400  # seconds of a recording: whoever says more is not believed

_COUNTS: Final = (NEWER.input, NEWER.output, OLDER.input, OLDER.output, "total_tokens")


def token_usage(usage: Any) -> Usage | None:
    """Return the tokens of a picture, of speech or of a transcript; ``None`` where there are none: it is billed by
    something else then."""
    found = read_usage(usage)
    return found if found is not None and (found.prompt or found.output) else None


def length_usage(milliseconds: int, *, by_tokens: bool) -> Usage:
    """Return what a recording of that length takes, where nobody has told it: seconds, or tokens of sound."""
    seconds = -(-milliseconds // 1000)
    if not by_tokens:
        return Usage(units=(("second", seconds),), estimated=True)
    tokens = seconds * TOKENS_A_SECOND
    return Usage(input=tokens, units=(("input_audio_token", tokens),), estimated=True)


def seconds_of(answer: Mapping[str, Any]) -> int | None:
    """Return the seconds that a whole transcript says it was made of: OpenAI's ``usage`` or ``duration``, Mistral's."""
    usage = answer.get("usage")
    told = [usage.get("seconds"), usage.get("prompt_audio_seconds")] if isinstance(usage, dict) else []
    for value in (*told, answer.get("duration")):
        try:
            found = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            continue
        if 0 < found < MOST_TOKENS:
            return -int(-found // 1)
    return None
