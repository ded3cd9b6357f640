"""The limits of verdicts, and their forms in headers and log lines."""

from typing import Any, Final

from gateway.features.prompt_caches.interface import CacheLoss, CacheVerdict, CauseName, CauseShare
from providers.catalog.prices import NANOS

NO_LOSS: Final[frozenset[CauseName]] = frozenset({"compacted", "small", "early", "unknown"})
"""Causes whose missed tokens are shown and are no loss."""

LONGEST_HEADER: Final = 300
"""Bytes of a header that describes a verdict."""

LEAST_MISSED: Final = 2000
"""The least missed tokens that get a cause, if they are also ``LEAST_SHARE`` of the tokens that the cache could serve.

Claude Code applies the same rule (https://code.claude.com/docs/en/statusline)."""

LEAST_SHARE: Final = 0.05


def header_of(verdict: CacheVerdict) -> str | None:
    """Return the verdict for the client, ``None`` for a first turn, an unknown cause or nothing to report.

    Before the response ends, it is a prediction, with ``readable`` instead of ``read``."""
    if not verdict.could or any(cause.name == "unknown" for cause in verdict.causes):
        return None
    if verdict.read is None:
        return _header({"could": verdict.could, "readable": verdict.readable}, verdict.causes)
    return _header({"could": verdict.could, "read": verdict.read, "missed": verdict.missed}, verdict.causes)


def fields_of(verdict: CacheVerdict, lost: CacheLoss | None) -> dict[str, Any]:
    """Return the fields of the log line for a verdict and its loss.

    ``prompt_cache_cause`` is the larger cause. If there are two, ``prompt_cache_causes`` lists both."""
    if not verdict.could and not verdict.causes:
        return {} if verdict.provider is None else {"prompt_cache_provider": verdict.provider}
    found: dict[str, Any] = {"prompt_cache_could": verdict.could, "prompt_cache_missed": verdict.missed}
    if (cause := verdict.cause) is not None:
        found["prompt_cache_cause"] = cause.word
        if cause.at is not None and cause.name != "unknown":
            found["prompt_cache_at"] = cause.at
    if len(verdict.causes) > 1:
        dollars = (None,) * len(verdict.causes) if lost is None else lost.dollars
        found["prompt_cache_causes"] = [*map(_cause_fields, verdict.causes, dollars)]
    if verdict.idle is not None:
        found["prompt_cache_idle_s"] = round(verdict.idle)
    if verdict.provider is not None:
        found["prompt_cache_provider"] = verdict.provider
    if lost is not None:  # its grade is the worst of tokens and prices
        found["prompt_cache_usd"] = lost.nanos / NANOS
    found["prompt_cache_grade"] = verdict.grade if lost is None else lost.grade
    return found


def _cause_fields(cause: CauseShare, dollars: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {"cause": cause.word, "tokens": cause.tokens}
    if cause.at is not None and cause.name != "unknown":
        found["at"] = cause.at
    if dollars is not None:
        found["usd"] = float(dollars)
    return found


def _header(numbers: dict[str, int], causes: tuple[CauseShare, ...]) -> str:
    """Return ``numbers`` and ``causes`` as a header's value, in printable ASCII."""
    pairs = [f"{name}={number}" for name, number in numbers.items()]
    if causes:
        pairs.append("cause=" + ",".join(cause.word for cause in causes))
        if places := [cause.at for cause in causes if cause.at is not None]:
            pairs.append("at=" + ",".join(places))
    text = ", ".join(pairs)
    if not (text.isascii() and text.isprintable()):
        text = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return text if len(text) <= LONGEST_HEADER else text[: LONGEST_HEADER - 3] + "..."
