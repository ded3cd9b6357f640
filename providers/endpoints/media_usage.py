"""What pictures, speech and transcripts have taken, as their answers say it."""

from collections.abc import Mapping
from typing import Any, Final

from providers.neutral.billing import MOST_TOKENS
from streams.events import Usage

TOKENS_A_SECOND: Final = 10
"""Tokens of a second of sound, as OpenAI's models that are billed by tokens hear it."""

_MODAL: Final = tuple(
    (f"{kind}_tokens_details", f"{sense}_tokens", f"{kind}_{sense}_token")
    for kind in ("input", "output")
    for sense in ("audio", "image")
)


def token_usage(usage: Any) -> Usage | None:
    """The ``usage`` of a picture, of speech or of a transcript in tokens; ``None`` where it counts none."""
    if not isinstance(usage, dict) or usage.get("type") == "duration":
        return None
    given, made = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    if not given and not made:
        given, made = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    cached = min(given, count(_detail(usage, "input_tokens_details", "cached_tokens")))
    found = ((unit, count(_detail(usage, *told))) for *told, unit in _MODAL)
    units = tuple((unit, min(number, given + made)) for unit, number in found if number)
    return Usage(input=given - cached, cache_read=cached, output=made, units=units) if given or made else None


def _detail(usage: Mapping[str, Any], details: str, name: str) -> Any:
    among = usage.get(details)
    return among.get(name) if isinstance(among, dict) else None


def length_usage(milliseconds: int, *, by_tokens: bool) -> Usage:
    """What a recording of that length takes, where nobody has told it: seconds, or tokens of sound."""
    seconds = -(-milliseconds // 1000)
    if not by_tokens:
        return Usage(units=(("second", seconds),), estimated=True)
    tokens = seconds * TOKENS_A_SECOND
    return Usage(input=tokens, units=(("input_audio_token", tokens),), estimated=True)


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
