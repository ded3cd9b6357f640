"""Reads content, token counts and errors from an answer and its events.

The reading is tolerant: the grammar judges later whether a stream is well formed. A whole answer is read after its end,
because reading it takes longer than reading the socket.
"""

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias, TypeGuard

import attrs
import msgspec

from loadtest.exchange.record import AnswerTokens
from loadtest.plan.load_endpoints import LoadApi, wire_of
from providers.endpoints.rerank import read_costs
from providers.neutral.billing import MOST_TOKENS
from streams.framing import FramingError
from streams.surrogates import NOT_JSON, decode_or

_OUTPUTS = ("content", "refusal", "tool_calls", "function_call", "audio")
_DELTAS = (*_OUTPUTS, "reasoning_content", "reasoning")
_TEXT_MEMBERS = frozenset(("text", "thought", "thoughtSignature"))
_PIECES = ("text", "thinking", "partial_json")
_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")

UsageNames: TypeAlias = tuple[str, str, str, str]
"""The paths of the fields of ``AnswerTokens`` in a usage object."""

_CHAT_USAGE: Final[UsageNames] = (
    "prompt_tokens", "completion_tokens", "completion_tokens_details.reasoning_tokens",
    "prompt_tokens_details.cached_tokens",
)  # fmt: skip
_MESSAGES_USAGE: Final[UsageNames] = (
    "input_tokens", "output_tokens", "output_tokens_details.thinking_tokens", "cache_read_input_tokens",
)  # fmt: skip
_RESPONSES_USAGE: Final[UsageNames] = (
    "input_tokens", "output_tokens", "output_tokens_details.reasoning_tokens", "input_tokens_details.cached_tokens",
)  # fmt: skip
_GEMINI_USAGE: Final[UsageNames] = (
    "promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "cachedContentTokenCount",
)  # fmt: skip
_INTERACTIONS_USAGE: Final[UsageNames] = (
    "total_input_tokens", "total_output_tokens", "total_thought_tokens", "total_cached_tokens",
)  # fmt: skip
_CONVERSE_USAGE: Final[UsageNames] = ("inputTokens", "outputTokens", "reasoningTokens", "cacheReadInputTokens")


@attrs.frozen
class EventContent:
    """The content of one event or of a whole answer.

    ``content`` is True for generated content: text, reasoning, a refusal, or a part of a tool call. ``reasoning`` is
    True if it is only reasoning. ``tokens`` counts the answer so far, if the event has a usage. ``finish`` is the
    finish reason, ``last`` marks the end event of the API, ``error`` is the name of an error, and ``message`` its text.
    """

    content: bool = False
    reasoning: bool = False
    tokens: AnswerTokens | None = None
    finish: str = ""
    last: bool = False
    error: str | None = None
    message: str = ""


NOTHING = EventContent()
ONLY_END = EventContent(last=True)


def read_event(api: LoadApi, raw: bytes) -> EventContent:
    wire = wire_of(api)
    found = wire.framing.parse(raw)
    if found is None:
        return NOTHING
    name, data = found
    if api in ("chat", "completions") and data == b"[DONE]":
        return ONLY_END
    if api == "converse" and name in wire.words.error_names:
        return EventContent(error=_exception_type(data) or name.removeprefix(":"), message=error_message(data))
    return read_whole_answer(api, data)


def read_whole_answer(api: LoadApi, data: bytes) -> EventContent:
    """Return the content of the whole answer ``data``, or ``NOTHING`` if it is not JSON."""
    value = decode_or(msgspec.json.decode, data, None)
    return _READERS.get(api, _read_endpoint)(value) if isinstance(value, dict) else NOTHING


def _exception_type(data: bytes) -> str:
    """Return the type of a Bedrock exception, such as ``throttlingException``, which the framing adds."""
    try:
        return _text_or_empty(_member(msgspec.json.decode(data), "type"))
    except NOT_JSON:
        return ""


def error_message(data: bytes) -> str:
    """Return the message of an error body in one line, or the first words of the body if it is not JSON."""
    value = decode_or(msgspec.json.decode, data, None)
    error = _member(value, "error")
    message = error if isinstance(error, str) else _member(error or value, "message")
    text = message if isinstance(message, str) else data[:300].decode("utf-8", "replace")
    return _in_one_line(text)


def _in_one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _error_content(error: Any) -> EventContent:
    words = (_member(error, "code"), _member(error, "type"))
    name = next((word for word in words if isinstance(word, str) and word), "error")
    message = _member(error, "message")
    return EventContent(error=name, message=_in_one_line(message) if isinstance(message, str) else "")


def _count_or_none(value: Any) -> int | None:
    return value if is_count(value) else None


def _text_or_empty(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _usage_tokens(usage: Any, names: UsageNames) -> AnswerTokens | None:
    """Return the token counts in ``usage``, or ``None`` if it has none."""
    if not isinstance(usage, dict):
        return None
    found = AnswerTokens(*(_count_or_none(_member_at(usage, path)) for path in names))
    return None if found == AnswerTokens() else found


def _member_at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = _member(value, name)
    return value


def _objects_in(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _read_chat(value: dict[str, Any]) -> EventContent:
    if value.get("error"):
        return _error_content(value["error"])
    tokens = _usage_tokens(value.get("usage"), _CHAT_USAGE)
    choices = _objects_in(value.get("choices"))
    said = [_member(choice, "delta") or _member(choice, "message") for choice in choices]
    finish = next((reason for choice in choices if (reason := _text_or_empty(choice.get("finish_reason")))), "")
    content = any(_has_any(delta, _DELTAS) for delta in said)
    return EventContent(content, content and not any(_has_any(delta, _OUTPUTS) for delta in said), tokens, finish)


def _has_any(delta: Any, names: Collection[str]) -> bool:
    return isinstance(delta, dict) and any(delta.get(name) for name in names)


def _read_messages(value: dict[str, Any]) -> EventContent:
    match value.get("type"):
        case "content_block_delta":
            return EventContent(_has_any(value.get("delta"), _PIECES), _has_any(value.get("delta"), ("thinking",)))
        case "content_block_start":
            return EventContent(_member(value.get("content_block"), "type") in _CALLS)
        case "message_start":
            return EventContent(tokens=_messages_tokens(_member_at(value, "message.usage")))
        case "message_stop":
            return ONLY_END
        case "error":
            return _error_content(value.get("error"))
    finish = _text_or_empty(_member_at(value, "delta.stop_reason") or value.get("stop_reason"))
    return EventContent(bool(value.get("content")), tokens=_messages_tokens(value.get("usage")), finish=finish)


def _messages_tokens(usage: Any) -> AnswerTokens | None:
    """Return the token counts with cached input, which the Messages API counts separately."""
    found = _usage_tokens(usage, _MESSAGES_USAGE)
    if found is None or found.input is None:
        return found
    beside = [_count_or_none(_member(usage, f"cache_{name}_input_tokens")) or 0 for name in ("read", "creation")]
    return attrs.evolve(found, input=found.input + sum(beside))


def _read_responses(value: dict[str, Any]) -> EventContent:
    kind = _text_or_empty(value.get("type"))
    if kind.endswith(".delta"):
        return EventContent(bool(value.get("delta")), ".reasoning" in kind)
    if kind == "response.output_item.added":
        return EventContent(_text_or_empty(_member_at(value, "item.type")).endswith("_call"))
    response = value if value.get("object") == "response" else value.get("response")
    if kind == "error":  # over a WebSocket the error is in a member of its own
        return _error_content(value["error"] if isinstance(value.get("error"), dict) else value)
    if kind == "response.failed" or value.get("error"):
        return _error_content(_member(response, "error") or value.get("error"))
    tokens = _usage_tokens(_member(response, "usage"), _RESPONSES_USAGE)
    last = kind in ("response.completed", "response.incomplete")
    whole = value is response
    finish = _member_at(response, "incomplete_details.reason") or _member(response, "status") if last or whole else ""
    return EventContent(whole and bool(value.get("output")), tokens=tokens, finish=_text_or_empty(finish), last=last)


def _read_gemini(value: dict[str, Any]) -> EventContent:
    if value.get("error"):
        error = value["error"]
        return attrs.evolve(_error_content(error), error=str(_member(error, "status") or "error"))
    candidates = _objects_in(value.get("candidates"))
    parts = [part for one in candidates for part in _objects_in(_member_at(one, "content.parts"))]
    said = [part for part in parts if part.get("text") or part.keys() - _TEXT_MEMBERS]
    finish = next((reason for one in candidates if (reason := _text_or_empty(one.get("finishReason")))), "")
    finish = finish or _text_or_empty(_member_at(value, "promptFeedback.blockReason"))
    tokens = _usage_tokens(value.get("usageMetadata"), _GEMINI_USAGE)
    if tokens is not None and tokens.output is not None:
        # Gemini counts thoughts separately.
        tokens = attrs.evolve(tokens, output=tokens.output + (tokens.reasoning or 0))
    return EventContent(bool(said), bool(said) and all(part.get("thought") for part in said), tokens, finish)


def _read_converse(value: dict[str, Any]) -> EventContent:
    """Read an event by its members, because the event's name is outside of its JSON."""
    delta = value.get("delta")
    said = delta or _member_at(value, "start.toolUse") or _member_at(value, "output.message.content")
    tokens = _usage_tokens(value.get("usage"), _CONVERSE_USAGE)
    reasons = isinstance(delta, dict) and delta.keys() == {"reasoningContent"}
    return EventContent(bool(said), reasons, tokens, _text_or_empty(value.get("stopReason")), last="metrics" in value)


def _read_interactions(value: dict[str, Any]) -> EventContent:
    kind = _text_or_empty(value.get("event_type"))
    if kind == "error" or value.get("error"):
        return _error_content(value.get("error"))
    if kind == "step.delta":
        delta = value.get("delta")
        content = _has_any(delta, ("text", "content", "arguments", "data"))
        return EventContent(content, content and _member(delta, "type") == "thought_summary")
    if kind == "step.start":
        step = value.get("step")
        started = _has_any(step, ("content", "summary")) or _text_or_empty(_member(step, "type")).endswith("_call")
        return EventContent(started, started and _member(step, "type") == "thought")
    interaction = value.get("interaction") if kind else value
    tokens = _usage_tokens(_member(interaction, "usage"), _INTERACTIONS_USAGE)
    if tokens is not None and tokens.output is not None:  # thoughts are counted separately
        tokens = attrs.evolve(tokens, output=tokens.output + (tokens.reasoning or 0))
    last = kind == "interaction.completed"
    status = _text_or_empty(_member(interaction, "status")) if last or not kind else ""
    return EventContent(not kind and bool(value.get("steps")), tokens=tokens, finish=status, last=last)


def _read_completion(value: dict[str, Any]) -> EventContent:
    """Read a completion like a Chat answer with its text elsewhere."""
    choices = _objects_in(value.get("choices"))
    return attrs.evolve(_read_chat(value), content=any(choice.get("text") for choice in choices), reasoning=False)


def _read_endpoint(value: dict[str, Any]) -> EventContent:
    if value.get("error"):
        return _error_content(value["error"])
    return EventContent(tokens=endpoint_tokens(value))


def endpoint_tokens(value: Mapping[str, Any]) -> AnswerTokens | None:
    """Return the token counts of an answer in OpenAI's older or newer format, or in Cohere's."""
    usage = value.get("usage")
    words = usage if isinstance(usage, Mapping) else {}
    output = next((one for name in ("completion_tokens", "output_tokens") if is_count(one := words.get(name))), None)
    taken = next((one for name in ("prompt_tokens", "input_tokens") if is_count(one := words.get(name))), None)
    taken = read_costs(value).tokens if taken is None else taken
    return None if taken is None and output is None else AnswerTokens(taken, output)


def is_count(value: Any) -> TypeGuard[int]:
    """Return whether ``value`` is a plausible number of tokens."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS


_READERS: Mapping[LoadApi, Callable[[dict[str, Any]], EventContent]] = {
    "chat": _read_chat,
    "messages": _read_messages,
    "responses": _read_responses,
    "gemini": _read_gemini,
    "converse": _read_converse,
    "interactions": _read_interactions,
    "completions": _read_completion,
}


LONGEST: Final = 16 * 2**20  # bytes of an event
PIECE: Final = 64 * 1024


@attrs.frozen
class AnswerContent:
    """The content of an answer. Events are numbered in the order of their arrival.

    ``first`` is the first event that is not empty, ``contents`` are the events with generated content, ``output`` is
    the first of them that is not reasoning, and ``end`` is the end event of the API. ``has_content`` is True if the
    answer has more than an end. ``error`` is the name of an error in it, and ``message`` its text.
    """

    first: int | None = None
    contents: tuple[int, ...] = ()
    output: int | None = None
    end: int | None = None
    has_content: bool = False
    tokens: AnswerTokens = attrs.field(factory=AnswerTokens)
    finish: str = ""
    error: str | None = None
    message: str = ""


def read_answer(api: LoadApi, body: bytes, *, streamed: bool) -> AnswerContent:
    """Read the received part of an answer. Raises nothing."""
    if not streamed:
        return _combine_events((read_whole_answer(api, body),))
    return _combine_events(read_event(api, raw) for raw in _events(api, body))


def _events(api: LoadApi, body: bytes) -> Iterator[bytes]:
    splitter = wire_of(api).framing.splitter(LONGEST)
    with contextlib.suppress(FramingError):
        for start in range(0, len(body), PIECE):  # an event that is refused takes only its own piece along
            yield from splitter.feed(body[start : start + PIECE])


def _combine_events(events: Iterable[EventContent]) -> AnswerContent:
    found: dict[str, int] = {}
    contents: list[int] = []
    tokens, finish, failed, says = AnswerTokens(), "", NOTHING, False
    for number, said in enumerate(events):
        if said is NOTHING:
            continue
        says = says or said is not ONLY_END
        found.setdefault("first", number)
        if said.last:
            found.setdefault("end", number)
        if said.content:
            contents.append(number)
        if said.content and not said.reasoning:
            found.setdefault("output", number)
        if said.tokens is not None:
            tokens = _merge_tokens(tokens, said.tokens)
        finish = said.finish or finish
        failed = said if said.error else failed
    return AnswerContent(
        **found,
        contents=tuple(contents),
        has_content=says,
        tokens=tokens,
        finish=finish,
        error=failed.error,
        message=failed.message,
    )


def _merge_tokens(before: AnswerTokens, after: AnswerTokens) -> AnswerTokens:
    """Return the counts of ``after``, completed with those of ``before``."""
    mixed = zip(attrs.astuple(before), attrs.astuple(after), strict=True)
    return AnswerTokens(*(old if new is None else new for old, new in mixed))
