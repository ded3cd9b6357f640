"""The differences between two responses to one request, with their effect on clients."""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

from gateway.commands.compared_answers import ReadResponse, cost_of
from streams.fold import Answer, ReasoningBlock, RefusalBlock, TextBlock, ToolCallBlock
from streams.surrogates import decode_or

Effect: TypeAlias = Literal["breaks", "differs", "lacks", "better"]
"""``breaks``: clients of the old server fail or lose content. ``lacks``: the new server omits a header or JSON member.
``better``: only the old server fails."""

ABSENT: Final = "absent"
PRESENT: Final = "present"

_SHOWN: Final = 60  # characters of a value
_COST_SHARE: Final = Decimal("0.01")  # smaller relative differences are rounding

_RETRIED: Final = frozenset((408, 409, 429))
"""Statuses below 500 that the SDKs of OpenAI and Anthropic retry."""

READ_HEADERS: Final[Mapping[str, str]] = {
    "x-request-id": "OpenAI's SDK: _request_id",
    "request-id": "Anthropic's SDK: _request_id",
    "retry-after": "the wait before a retry, in every SDK",
    "retry-after-ms": "the wait before a retry, in the SDKs of OpenAI and Anthropic",
    "x-should-retry": "whether the SDKs of OpenAI and Anthropic retry",
    "x-ratelimit-limit-requests": "programs that pace themselves",
    "x-ratelimit-remaining-requests": "programs that pace themselves",
    "x-ratelimit-limit-tokens": "programs that pace themselves",
    "x-ratelimit-remaining-tokens": "programs that pace themselves",
    "anthropic-ratelimit-requests-remaining": "programs that pace themselves",
    "anthropic-ratelimit-tokens-remaining": "programs that pace themselves",
    "x-litellm-call-id": "programs of LiteLLM: the id of a request",
    "x-litellm-model-id": "programs of LiteLLM: the deployment",
    "x-litellm-model-group": "programs of LiteLLM: the requested name",
    "x-litellm-response-cost": "programs of LiteLLM: the cost in dollars",
    "x-litellm-key-spend": "programs of LiteLLM: the key's spend in dollars",
    "x-litellm-attempted-retries": "programs of LiteLLM: the number of retries",
    "x-litellm-attempted-fallbacks": "programs of LiteLLM: the number of fallbacks",
}
"""The headers that SDKs and programs read, with their readers.

Headers about a gateway itself, such as its version, its region or the address of its provider, are none of them."""


@attrs.frozen
class AnswerDifference:
    """A difference: the part of the response, and its ``old`` and ``new`` values."""

    effect: Effect
    part: str
    old: str
    new: str


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
        yield from _value_difference("differs", f"error.{member}", before.get(member), after.get(member))


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
        for facet in _FACETS:
            yield from facet(old.answer, new.answer, exact)
    yield from _name_differences(old, new)
    yield from _member_differences(old, new)
    yield from _cost_differences(old, new)


_TEXTS: Final[Mapping[str, type[TextBlock | RefusalBlock | ReasoningBlock]]] = {
    "text": TextBlock,
    "refusal": RefusalBlock,
    "thinking": ReasoningBlock,
}


def _compare_text(old: Answer, new: Answer, exact: bool) -> Iterator[AnswerDifference]:
    """Yield differences in texts, refusals and thinking. Models seldom repeat a text, so only ``exact`` compares it."""
    for name, kind in _TEXTS.items():
        before, after = (
            "".join(block.text for block in answer.blocks if isinstance(block, kind)) for answer in (old, new)
        )
        if before == after:
            continue
        lost, breaks = bool(before) and not after, kind is not ReasoningBlock
        if exact:
            yield AnswerDifference("breaks" if breaks or lost else "differs", name, *_around_difference(before, after))
        elif bool(before) != bool(after):
            effect: Effect = "breaks" if lost and breaks else "differs"
            yield AnswerDifference(effect, name, *(PRESENT if text else ABSENT for text in (before, after)))


def _around_difference(old: str, new: str) -> tuple[str, str]:
    """Return the parts of two texts where they begin to differ."""
    at = next((place for place, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), None)
    start = max(0, (min(len(old), len(new)) if at is None else at) - 20)
    return _shorten(old[start:] or "nothing"), _shorten(new[start:] or "nothing")


def _compare_tools(old: Answer, new: Answer, exact: bool) -> Iterator[AnswerDifference]:
    before, after = ([block for block in one.blocks if isinstance(block, ToolCallBlock)] for one in (old, new))
    names, new_names = (", ".join(block.name for block in calls) or "none" for calls in (before, after))
    if names != new_names:
        lost = bool(before) and not after
        yield AnswerDifference("breaks" if exact or lost else "differs", "tool calls", names, new_names)
        return
    for one, other in zip(before, after, strict=True):
        value, new_value = _arguments(one.input), _arguments(other.input)
        if value is not None and new_value is None:
            yield AnswerDifference("breaks", f"arguments of {one.name}", "JSON", "not JSON")
        elif exact and value != new_value:
            yield AnswerDifference("breaks", f"arguments of {one.name}", _shorten(one.input), _shorten(other.input))


def _arguments(text: str) -> Any:
    """Return the decoded arguments, ``None`` if they are not JSON. A call without arguments may have no text."""
    return decode_or(msgspec.json.decode, text or "{}", None)


def _compare_finish(old: Answer, new: Answer, exact: bool) -> Iterator[AnswerDifference]:
    before, after = (one.end.raw or one.end.reason for one in (old, new))
    yield from _value_difference("breaks" if exact else "differs", "finish", before, after)


def _compare_usage(old: Answer, new: Answer, exact: bool) -> Iterator[AnswerDifference]:
    """Yield differences in token counts. Missing ones break programs that add up usage."""
    if (before := old.usage) is None or (after := new.usage) is None:
        if old.usage is not new.usage:
            found = (ABSENT if usage is None else PRESENT for usage in (old.usage, new.usage))
            yield AnswerDifference("better" if old.usage is None else "breaks", "usage", *found)
        return
    if exact:
        total = (one.input + one.cache_read + one.cache_write for one in (before, after))
        yield from _value_difference("differs", "usage: input tokens", *total)
        yield from _value_difference("differs", "usage: output tokens", before.output, after.output)
        yield from _value_difference("differs", "usage: cached tokens", before.cache_read, after.cache_read)
        yield from _value_difference("differs", "usage: reasoning tokens", before.reasoning or 0, after.reasoning or 0)


def _compare_model(old: Answer, new: Answer, exact: bool) -> Iterator[AnswerDifference]:
    yield from _value_difference("differs", "model in the answer", old.start.model, new.start.model)


_FACETS: Final[tuple[Callable[[Answer, Answer, bool], Iterator[AnswerDifference]], ...]] = (
    _compare_text, _compare_tools, _compare_finish, _compare_usage, _compare_model,
)  # fmt: skip


# Members, names, headers, costs


def _name_differences(old: ReadResponse, new: ReadResponse) -> Iterator[AnswerDifference]:
    """Yield missing and new model names of a list, and kinds of events that a stream no longer has."""
    effect: Effect = "differs" if old.is_stream else "breaks"
    kind = "event" if old.is_stream else "model name"
    for name in sorted(old.names - new.names):
        yield AnswerDifference(effect, f"{kind} {_shorten(name)}", PRESENT, ABSENT)
    for name in () if old.is_stream else sorted(new.names - old.names):
        yield AnswerDifference("differs", f"{kind} {_shorten(name)}", ABSENT, PRESENT)


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
    for name in READ_HEADERS:
        if old.response.header(name) is not None and new.response.header(name) is None:
            yield AnswerDifference("lacks", f"header {name}", PRESENT, ABSENT)


def _cost_differences(old: ReadResponse, new: ReadResponse) -> Iterator[AnswerDifference]:
    before, after = cost_of(old.response), cost_of(new.response)
    if before is not None and after is not None and abs(before - after) > _COST_SHARE * max(abs(before), abs(after)):
        yield AnswerDifference("differs", "cost in dollars", f"{before:f}", f"{after:f}")


def _value_difference(effect: Effect, part: str, old: Any, new: Any) -> Iterator[AnswerDifference]:
    if old != new:
        yield AnswerDifference(
            effect, part, *(ABSENT if value is None else _shorten(str(value)) for value in (old, new))
        )


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
