"""The wait that a provider tells with a failure: in a header, in its error's details, or in a sentence that it is known
to say.

All are seconds from now, ``limits.LONGEST`` at most: a mistake of a provider's must not put it out of use for good. A
moment that has passed tells nothing.
"""

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from providers.errors.limits import Headers, bounded, plan_waits, resets, seconds
from providers.errors.reasons import details_of
from streams.events import FailureReason

# The sentences of providers that have no better place for it.
_SENTENCES: Final = tuple(
    re.compile(words)
    for words in (
        r"[^\n]{0,300}?Please try again in (?P<wait>[\d.hms]{1,20}?)\.?(?:\s|$)",  # OpenAI, Groq
        r"(?s:.{0,1000}?)Please retry in (?P<wait>[\d.hms]{1,30}?)\.?(?:\s|$)",  # Google
        r"usage limit exceeded, .{0,200}?resets at (?P<wait>[\d:TZ-]{1,30})",  # MiniMax
        r"You have reached your specified (?:workspace )?API usage limits\. You will regain access on "
        r"(?P<date>\d{4}-\d\d-\d\d) at (?P<hour>\d\d:\d\d) UTC",  # Anthropic
    )
)


_LIMITS: Final[frozenset[FailureReason]] = frozenset(("rate_limited", "quota"))
"""The reasons that are about limits: what is told of these beside another failure is no wait."""


def told_wait(
    reason: FailureReason, error: Mapping[str, Any], headers: Headers = (), now: float | None = None
) -> float | None:
    """The longest of the waits that a failure for ``reason`` tells, for a target is of use when all of them are over;
    ``None`` where it tells none. ``now`` are Unix seconds."""
    at = time.time() if now is None else now
    headers = (*headers, *_inner_headers(error))
    limits = reason in _LIMITS
    told = [
        *_in_headers(headers, at),
        *(_in_body(error, at) if limits else ()),
        *(plan_waits(headers, at) if limits else ()),
    ]
    told = [wait for wait in told if wait is not None and wait > 0]
    if not told and limits:
        told = list(resets(headers, at)) or list(_in_words(error.get("message"), at))
    return bounded(max(told)) if told else None


def _in_headers(headers: Headers, now: float) -> Iterator[float | None]:
    for name, value in headers:
        if name == "retry-after":
            yield seconds(value, now)
        elif name == "retry-after-ms":
            yield seconds(f"{value.strip()}ms", now)


def _in_body(error: Mapping[str, Any], now: float) -> Iterator[float | None]:
    for member in ("resets_in_seconds", "retry_after"):  # ChatGPT's plans; routers
        if type(number := error.get(member)) in (int, float):
            yield seconds(str(number), now)
    if (moment := error.get("resets_at")) is not None:
        yield seconds(str(moment), now)
    for detail in details_of(error):
        if isinstance(delay := detail.get("retryDelay"), str):  # Google
            yield seconds(delay, now)


def _inner_headers(error: Mapping[str, Any]) -> Headers:
    """The headers that OpenRouter repeats in its body."""
    metadata = error.get("metadata")
    inner = metadata.get("headers") if isinstance(metadata, dict) else None
    if not isinstance(inner, dict):
        return ()
    return tuple((str(name).lower(), value) for name, value in inner.items() if isinstance(value, str))


def _in_words(message: Any, now: float) -> Iterator[float]:
    if not isinstance(message, str):
        return
    for words in _SENTENCES:
        if (found := words.match(message)) is not None:
            given = found.groupdict()
            text = given.get("wait") or f"{given['date']}T{given['hour']}:00Z"
            if (wait := seconds(text, now)) is not None:
                yield wait
