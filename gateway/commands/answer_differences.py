"""The differences between two responses to one request, with their effect on clients."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from gateway.commands.compared_answers import ReadResponse, cost_of
from streams.answer_differences import (
    ABSENT,
    PRESENT,
    AnswerDifference,
    Effect,
    compare_answers,
    shorten,
    value_difference,
)

_COST_SHARE: Final = Decimal("0.01")  # smaller relative differences are rounding

_RETRIED: Final = frozenset((408, 409, 429))
"""Statuses below 500 that the SDKs of OpenAI and Anthropic retry."""

_READ_HEADERS: Final = (
    "x-request-id", "request-id", "retry-after", "retry-after-ms", "x-should-retry", "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests", "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens",
    "anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-tokens-remaining", "x-litellm-call-id",
    "x-litellm-model-id", "x-litellm-model-group", "x-litellm-response-cost", "x-litellm-key-spend",
    "x-litellm-attempted-retries", "x-litellm-attempted-fallbacks",
)  # fmt: skip
"""The headers that SDKs, programs that pace themselves, and those of LiteLLM read.

Headers about a gateway itself, such as its version, its region or the address of its provider, are none of them."""


def find_differences(old: ReadResponse, new: ReadResponse, exact: bool) -> tuple[AnswerDifference, ...]:
    """Return the differences between the responses.

    ``exact``: the same provider answers both with the same words, so texts, tool calls and ends must be equal."""
    found = [*_status_differences(old, new)]
    if not found or (old.response.is_success and new.response.is_success):
        compared = _compare_successes if old.response.is_success else _compare_errors
        found += compared(old, new, exact)
    return (*found, *_header_differences(old, new))


# Status


def _status_differences(old: ReadResponse, new: ReadResponse) -> Iterator[AnswerDifference]:
    """Yield a difference if the statuses differ, or if only one response is complete."""
    before, after = _status_text(old), _status_text(new)
    if before == after:
        return
    if new.response.is_success:
        yield AnswerDifference("differs" if old.response.is_success else "better", "status", before, after)
    elif old.response.is_success or _is_retried(old) != _is_retried(new):
        yield AnswerDifference("breaks", "status", before, after)
    else:
        yield AnswerDifference("differs", "status", before, after)
        yield from _compare_errors(old, new, False)


def _status_text(read: ReadResponse) -> str:
    return read.response.problem or str(read.response.status)


def _is_retried(read: ReadResponse) -> bool:
    status = read.response.status
    return bool(read.response.problem) or status in _RETRIED or status >= 500


# Errors


def _compare_errors(old: ReadResponse, new: ReadResponse, exact: bool) -> Iterator[AnswerDifference]:
    if old.response.problem or new.response.problem:
        return
    if old.error is not None and (new.error is None or not new.error.get("message")):
        yield AnswerDifference("breaks", "error message", PRESENT, ABSENT)
    before, after = old.error or {}, new.error or {}
    for member in ("type", "code", "param"):
        yield from value_difference("differs", f"error.{member}", before.get(member), after.get(member))


# Answers


def _compare_successes(old: ReadResponse, new: ReadResponse, exact: bool) -> Iterator[AnswerDifference]:
    if old.response.media_type != new.response.media_type:
        yield AnswerDifference(
            "breaks", "content-type", old.response.media_type or ABSENT, new.response.media_type or ABSENT
        )
    if old.broken_rule != new.broken_rule:
        effect: Effect = "better" if not new.broken_rule else "differs" if old.broken_rule else "breaks"
        rules = (one.broken_rule or "well formed" for one in (old, new))
        yield AnswerDifference(effect, "grammar of the API", *rules)
    elif not new.broken_rule:
        for rule in sorted(new.waived - old.waived):
            yield AnswerDifference("differs", "grammar of the API", "well formed", rule)
    if (old.error is None) != (new.error is None):
        ends = ("complete" if one.error is None else "the answer failed" for one in (old, new))
        yield AnswerDifference("better" if new.error is None else "breaks", "end", *ends)
    if old.answer is not None and new.answer is not None:
        yield from compare_answers(old.answer, new.answer, exact)
    yield from _name_differences(old, new)
    yield from _member_differences(old, new)
    yield from _cost_differences(old, new)


# Members, names, headers, costs


def _name_differences(old: ReadResponse, new: ReadResponse) -> Iterator[AnswerDifference]:
    """Yield missing and new model names of a list, and kinds of events that a stream no longer has."""
    effect: Effect = "differs" if old.is_stream else "breaks"
    kind = "event" if old.is_stream else "model name"
    for name in sorted(old.names - new.names):
        yield AnswerDifference(effect, f"{kind} {shorten(name)}", PRESENT, ABSENT)
    for name in () if old.is_stream else sorted(new.names - old.names):
        yield AnswerDifference("differs", f"{kind} {shorten(name)}", ABSENT, PRESENT)


def _member_differences(old: ReadResponse, new: ReadResponse) -> Iterator[AnswerDifference]:
    """Yield JSON members that are missing or have another type. Members of a missing one are not listed again.

    A member that several kinds of events lack is listed once."""
    missing: list[str] = []
    lacking: dict[str, str] = {}
    for path, kind in old.members.items():
        after = new.members.get(path)
        if after is not None and after != kind:
            yield AnswerDifference("breaks", f"member {path}", kind, after)
        elif after is None and not any(path.startswith((f"{parent}.", f"{parent}[")) for parent in missing):
            missing.append(path)
            if path.partition(":")[0] not in old.names - new.names:
                lacking.setdefault(path.rpartition(": ")[2], kind)
    for path, kind in lacking.items():
        yield AnswerDifference("lacks", f"member {path}", kind, ABSENT)


def _header_differences(old: ReadResponse, new: ReadResponse) -> Iterator[AnswerDifference]:
    for name in _READ_HEADERS:
        if old.response.header(name) is not None and new.response.header(name) is None:
            yield AnswerDifference("lacks", f"header {name}", PRESENT, ABSENT)


def _cost_differences(old: ReadResponse, new: ReadResponse) -> Iterator[AnswerDifference]:
    before, after = cost_of(old.response), cost_of(new.response)
    if before is not None and after is not None and abs(before - after) > _COST_SHARE * max(abs(before), abs(after)):
        yield AnswerDifference("differs", "cost in dollars", f"{before:f}", f"{after:f}")
