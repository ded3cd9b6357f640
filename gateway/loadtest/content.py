"""Reads of an answer which events carry content, how many tokens it had, and its error. As tolerant as can
be: whether a stream is well formed is for the grammar to say, afterwards and elsewhere."""

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import msgspec

from providers.apis import CODECS
from streams.events import Api
from streams.surrogates import NOT_JSON

_DELTAS = ("content", "reasoning_content", "reasoning", "refusal", "tool_calls")
_BESIDE_TEXT = frozenset(("text", "thought", "thoughtSignature"))
_PIECES = ("text", "thinking", "partial_json")


@attrs.frozen
class EventContent:
    """The content, usage and error in one event or a whole answer. ``tokens``: those of the answer so far, if they are
    counted in it. ``error`` is the name of the error in it, and ``message`` what that says."""

    content: bool = False
    tokens: int | None = None
    error: str | None = None
    message: str = ""


NOTHING = EventContent()


def read_event(api: Api, raw: bytes) -> EventContent:
    """Read the event ``raw``."""
    found = CODECS[api].wire.framing.parse(raw)
    if found is None:
        return NOTHING
    name, data = found
    if api == "converse" and name in CODECS[api].wire.words.error_names:
        return EventContent(error=name, message=error_message(data))
    return read_whole(api, data)


def read_whole(api: Api, data: bytes) -> EventContent:
    """Read the whole answer ``data``; nothing is found where it is no JSON."""
    try:
        value = msgspec.json.decode(data)
    except NOT_JSON:
        return NOTHING
    return _TELLERS[api](value) if isinstance(value, dict) else NOTHING


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
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _chat(value: dict[str, Any]) -> EventContent:
    if value.get("error"):
        return _failed(value["error"])
    tokens = _number(_member(value.get("usage"), "completion_tokens"))
    choices = value.get("choices")
    content = isinstance(choices, list) and any(_says(_member(choice, "delta")) for choice in choices)
    return EventContent(content, tokens)


def _says(delta: Any) -> bool:
    return isinstance(delta, dict) and any(delta.get(name) for name in _DELTAS)


def _messages(value: dict[str, Any]) -> EventContent:
    match value.get("type"):
        case "content_block_delta":
            delta = value.get("delta")
            return EventContent(isinstance(delta, dict) and any(delta.get(name) for name in _PIECES))
        case "error":
            return _failed(value.get("error"))
    return EventContent(tokens=_number(_member(value.get("usage"), "output_tokens")))


def _responses(value: dict[str, Any]) -> EventContent:
    kind = value.get("type")
    if isinstance(kind, str) and kind.endswith(".delta"):
        return EventContent(bool(value.get("delta")))
    response = value if value.get("object") == "response" else value.get("response")
    if kind == "error":
        return _failed(value)
    if kind == "response.failed" or value.get("error"):
        return _failed(_member(response, "error") or value.get("error"))
    return EventContent(tokens=_number(_member(_member(response, "usage"), "output_tokens")))


def _gemini(value: dict[str, Any]) -> EventContent:
    if value.get("error"):
        error = value["error"]
        return attrs.evolve(_failed(error), error=str(_member(error, "status") or "error"))
    candidates = value.get("candidates")
    contents = [_member(one, "content") for one in candidates] if isinstance(candidates, list) else []
    tokens = _number(_member(value.get("usageMetadata"), "candidatesTokenCount"))
    parts = [part for content in contents for part in _member(content, "parts") or () if isinstance(part, dict)]
    return EventContent(any(part.get("text") or part.keys() - _BESIDE_TEXT for part in parts), tokens)


def _converse(value: dict[str, Any]) -> EventContent:
    """What an event is called stands outside of it: each has members of its own."""
    said = value.get("delta") or _member(value.get("start"), "toolUse")
    return EventContent(bool(said), _number(_member(value.get("usage"), "outputTokens")))


_TELLERS: Mapping[Api, Callable[[dict[str, Any]], EventContent]] = {
    "chat": _chat,
    "messages": _messages,
    "responses": _responses,
    "gemini": _gemini,
    "converse": _converse,
}
