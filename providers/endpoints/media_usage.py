"""What pictures, speech and transcripts have taken, as their answers say it."""

from collections.abc import Mapping
from typing import Any

from providers.neutral.billing import MOST_TOKENS
from streams.events import Usage


def token_usage(usage: Any) -> Usage | None:
    """The ``usage`` of a picture, of speech or of a transcript in tokens; ``None`` where it counts none."""
    if not isinstance(usage, dict) or usage.get("type") == "duration":
        return None
    given, made = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    if not given and not made:
        given, made = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    details = usage.get("input_tokens_details")
    cached = min(given, count(details.get("cached_tokens"))) if isinstance(details, dict) else 0
    return Usage(input=given - cached, cache_read=cached, output=made) if given or made else None


def seconds_of(answer: Mapping[str, Any]) -> int | None:
    """The seconds that a whole transcript says it was made of: OpenAI's ``usage`` or ``duration``, Mistral's."""
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


def count(value: Any) -> int:
    """A count, 0 for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return 0
    return int(min(max(value, 0), MOST_TOKENS))
