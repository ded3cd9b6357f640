"""Reads of an answer which events carry content, how many tokens it had, and its error.

As tolerant as can be: whether a stream is well formed is for the grammar to say, afterwards and elsewhere. A whole
answer is read after its end, because that takes longer than reading the socket does.
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
from streams.surrogates import NOT_JSON

_OUTPUTS = ("content", "refusal", "tool_calls", "function_call", "audio")
_DELTAS = (*_OUTPUTS, "reasoning_content", "reasoning")
_BESIDE_TEXT = frozenset(("text", "thought", "thoughtSignature"))
_PIECES = ("text", "thinking", "partial_json")
_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")

UsageNames: TypeAlias = tuple[str, str, str, str]
"""Where a usage has what ``AnswerTokens`` has."""

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
_CONVERSE_USAGE: Final[UsageNames] = ("inputTokens", "outputTokens", "reasoningTokens", "cacheReadInputTokens")


@attrs.frozen
class EventContent:
    """What is in one event or a whole answer. ``content`` shows generation: text, reasoning, a refusal, the name or a
    piece of a tool call; ``reasoning`` if it is nothing but that. ``tokens``: those of the answer so far, if they are
    counted in it. ``finish`` is the reason for which the answer ends, ``last`` whether it is the API's end event.
    ``error`` is the name of the error in it, and ``message`` what that says."""

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
    """Read the event ``raw``."""
    wire = wire_of(api)
    found = wire.framing.parse(raw)
    if found is None:
        return NOTHING
    name, data = found
    if api in ("chat", "completions") and data == b"[DONE]":
        return ONLY_END
    if api == "converse" and name in wire.words.error_names:
        return EventContent(error=_exception_type(data) or name.removeprefix(":"), message=error_message(data))
    return read_whole(api, data)


def read_whole(api: LoadApi, data: bytes) -> EventContent:
    """Read the whole answer ``data``; nothing is found where it is no JSON."""
    try:
        value = msgspec.json.decode(data)
    except NOT_JSON:
        return NOTHING
    return _TELLERS.get(api, _endpoint)(value) if isinstance(value, dict) else NOTHING


def _exception_type(data: bytes) -> str:
    """Return the type of Bedrock's exception, such as ``throttlingException``: the framing adds it to the members."""
    try:
        return _text(_member(msgspec.json.decode(data), "type"))
    except NOT_JSON:
        return ""


def error_message(data: bytes) -> str:
    """The message in the body of an error, in one line; its first words if it is no JSON."""
    try:
        value = msgspec.json.decode(data)
    except NOT_JSON:
        value = None
    error = _member(value, "error")
    message = error if isinstance(error, str) else _member(error or value, "message")
    text = message if isinstance(message, str) else data[:300].decode("utf-8", "replace")
    return _line(text)


def _line(text: str) -> str:
    return " ".join(text.split())[:200]


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _failed(error: Any) -> EventContent:
    words = (_member(error, "code"), _member(error, "type"))
    name = next((word for word in words if isinstance(word, str) and word), "error")
    message = _member(error, "message")
    return EventContent(error=name, message=_line(message) if isinstance(message, str) else "")


def _number(value: Any) -> int | None:
    return value if is_count(value) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _counted(usage: Any, names: UsageNames) -> AnswerTokens | None:
    """The tokens that ``usage`` counts; ``None`` if it counts none of an answer."""
    if not isinstance(usage, dict):
        return None
    found = AnswerTokens(*(_number(_path(usage, path)) for path in names))
    return None if found == AnswerTokens() else found


def _path(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = _member(value, name)
    return value


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _chat(value: dict[str, Any]) -> EventContent:
    if value.get("error"):
        return _failed(value["error"])
    tokens = _counted(value.get("usage"), _CHAT_USAGE)
    choices = _objects(value.get("choices"))
    said = [_member(choice, "delta") or _member(choice, "message") for choice in choices]
    finish = next((reason for choice in choices if (reason := _text(choice.get("finish_reason")))), "")
    content = any(_has(delta, _DELTAS) for delta in said)
    return EventContent(content, content and not any(_has(delta, _OUTPUTS) for delta in said), tokens, finish)


def _has(delta: Any, names: Collection[str]) -> bool:
    return isinstance(delta, dict) and any(delta.get(name) for name in names)


def _messages(value: dict[str, Any]) -> EventContent:
    match value.get("type"):
        case "content_block_delta":
            return EventContent(_has(value.get("delta"), _PIECES), _has(value.get("delta"), ("thinking",)))
        case "content_block_start":
            return EventContent(_member(value.get("content_block"), "type") in _CALLS)
        case "message_start":
            return EventContent(tokens=_counted_by_messages(_path(value, "message.usage")))
        case "message_stop":
            return ONLY_END
        case "error":
            return _failed(value.get("error"))
    finish = _text(_path(value, "delta.stop_reason") or value.get("stop_reason"))
    return EventContent(bool(value.get("content")), tokens=_counted_by_messages(value.get("usage")), finish=finish)


def _counted_by_messages(usage: Any) -> AnswerTokens | None:
    """Its input is what no cache had anything to do with."""
    found = _counted(usage, _MESSAGES_USAGE)
    if found is None or found.input is None:
        return found
    beside = [_number(_member(usage, f"cache_{name}_input_tokens")) or 0 for name in ("read", "creation")]
    return attrs.evolve(found, input=found.input + sum(beside))


def _responses(value: dict[str, Any]) -> EventContent:
    kind = _text(value.get("type"))
    if kind.endswith(".delta"):
        return EventContent(bool(value.get("delta")), ".reasoning" in kind)
    if kind == "response.output_item.added":
        return EventContent(_text(_path(value, "item.type")).endswith("_call"))
    response = value if value.get("object") == "response" else value.get("response")
    if kind == "error":  # over a WebSocket what is wrong stands in a member of its own
        return _failed(value["error"] if isinstance(value.get("error"), dict) else value)
    if kind == "response.failed" or value.get("error"):
        return _failed(_member(response, "error") or value.get("error"))
    tokens = _counted(_member(response, "usage"), _RESPONSES_USAGE)
    last = kind in ("response.completed", "response.incomplete")
    whole = value is response
    finish = _path(response, "incomplete_details.reason") or _member(response, "status") if last or whole else ""
    return EventContent(whole and bool(value.get("output")), tokens=tokens, finish=_text(finish), last=last)


def _gemini(value: dict[str, Any]) -> EventContent:
    if value.get("error"):
        error = value["error"]
        return attrs.evolve(_failed(error), error=str(_member(error, "status") or "error"))
    candidates = _objects(value.get("candidates"))
    parts = [part for one in candidates for part in _objects(_path(one, "content.parts"))]
    said = [part for part in parts if part.get("text") or part.keys() - _BESIDE_TEXT]
    finish = next((reason for one in candidates if (reason := _text(one.get("finishReason")))), "")
    finish = finish or _text(_path(value, "promptFeedback.blockReason"))
    tokens = _counted(value.get("usageMetadata"), _GEMINI_USAGE)
    if tokens is not None and tokens.output is not None:
        tokens = attrs.evolve(tokens, output=tokens.output + (tokens.reasoning or 0))  # thoughts are counted beside
    return EventContent(bool(said), bool(said) and all(part.get("thought") for part in said), tokens, finish)


def _converse(value: dict[str, Any]) -> EventContent:
    """What an event is called stands outside of it: each has members of its own."""
    delta = value.get("delta")
    said = delta or _path(value, "start.toolUse") or _path(value, "output.message.content")
    tokens = _counted(value.get("usage"), _CONVERSE_USAGE)
    reasons = isinstance(delta, dict) and delta.keys() == {"reasoningContent"}
    return EventContent(bool(said), reasons, tokens, _text(value.get("stopReason")), last="metrics" in value)


def _completions(value: dict[str, Any]) -> EventContent:
    """As Chat's, but for where the text stands."""
    choices = _objects(value.get("choices"))
    return attrs.evolve(_chat(value), content=any(choice.get("text") for choice in choices), reasoning=False)


def _endpoint(value: dict[str, Any]) -> EventContent:
    if value.get("error"):
        return _failed(value["error"])
    return EventContent(tokens=endpoint_tokens(value))


def endpoint_tokens(value: Mapping[str, Any]) -> AnswerTokens | None:
    """The tokens that an answer counts, in OpenAI's older or newer words, or in Cohere's."""
    usage = value.get("usage")
    words = usage if isinstance(usage, Mapping) else {}
    output = next((one for name in ("completion_tokens", "output_tokens") if is_count(one := words.get(name))), None)
    taken = next((one for name in ("prompt_tokens", "input_tokens") if is_count(one := words.get(name))), None)
    taken = read_costs(value).tokens if taken is None else taken
    return None if taken is None and output is None else AnswerTokens(taken, output)


def is_count(value: Any) -> TypeGuard[int]:
    """Whether it is a number of tokens that an answer can have."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS


_TELLERS: Mapping[LoadApi, Callable[[dict[str, Any]], EventContent]] = {
    "chat": _chat,
    "messages": _messages,
    "responses": _responses,
    "gemini": _gemini,
    "converse": _converse,
    "completions": _completions,
}


LONGEST: Final = 16 * 2**20  # bytes of an event
PIECE: Final = 64 * 1024


@attrs.frozen
class AnswerContent:
    """What an answer says. Its events are known by their numbers in the order in which they came: ``first`` says
    anything at all, ``contents`` show generation, of which ``output`` is the first that is not reasoning, ``end`` is
    the API's own. ``says``: there was more than an end. ``error`` is the name of the error in it, ``message`` what that
    says."""

    first: int | None = None
    contents: tuple[int, ...] = ()
    output: int | None = None
    end: int | None = None
    says: bool = False
    tokens: AnswerTokens = attrs.field(factory=AnswerTokens)
    finish: str = ""
    error: str | None = None
    message: str = ""


def read_answer(api: LoadApi, body: bytes, *, streamed: bool) -> AnswerContent:
    """Read what has come of an answer. Raises nothing."""
    if not streamed:
        return _read((read_whole(api, body),))
    return _read(read_event(api, raw) for raw in _events(api, body))


def _events(api: LoadApi, body: bytes) -> Iterator[bytes]:
    splitter = wire_of(api).framing.splitter(LONGEST)
    with contextlib.suppress(FramingError):
        for start in range(0, len(body), PIECE):  # what a splitter refuses takes the events of its piece with it
            yield from splitter.feed(body[start : start + PIECE])


def _read(events: Iterable[EventContent]) -> AnswerContent:
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
            tokens = _later(tokens, said.tokens)
        finish = said.finish or finish
        failed = said if said.error else failed
    return AnswerContent(
        **found,
        contents=tuple(contents),
        says=says,
        tokens=tokens,
        finish=finish,
        error=failed.error,
        message=failed.message,
    )


def _later(before: AnswerTokens, after: AnswerTokens) -> AnswerTokens:
    """What the later usage counts, and what only the earlier one did."""
    mixed = zip(attrs.astuple(before), attrs.astuple(after), strict=True)
    return AnswerTokens(*(old if new is None else new for old, new in mixed))
