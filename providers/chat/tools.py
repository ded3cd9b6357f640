"""Writer of tool calls for Chat clients, streamed and whole.

Two kinds of clients need a conversion. A client that declared a custom tool receives its free text, even if the
provider has no custom tools and wrapped the text in a JSON object. A client that uses ``functions`` instead of
``tools`` receives ``function_call``, which has space for a single call: the provider is restricted to one, and other
calls are dropped.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from providers.neutral.request import Request
from providers.neutral.tool_names import free_text_tools, unwrap_text
from streams.events import ToolCallStart
from streams.fold import ToolCallBlock

_TEXT = {"function": "arguments", "custom": "input"}
_NO_ARGUMENTS = "{}"  # clients parse it, and "" is not valid JSON


def is_legacy(request: Request) -> bool:
    """Return whether the client sent ``functions``, the older form of ``tools``."""
    return request.api == "chat" and bool(request.source.get("functions")) and not request.source.get("tools")


class _OpenCall:
    """A tool call that is being written."""

    __slots__ = ("has_text", "held", "index", "kind")

    def __init__(self, index: int, kind: str, held: list[str] | None) -> None:
        self.index = index
        self.kind = kind
        self.held = held  # pieces of a wrapped text, which can only be unwrapped whole
        self.has_text = False  # whether any text but white space arrived


class ToolWriter:
    """A writer of calls as members of a chunk's ``delta``; an empty mapping means nothing to write."""

    def __init__(self, request: Request) -> None:
        self._custom = free_text_tools(request)
        self._legacy = is_legacy(request)
        self._calls: dict[int, _OpenCall] = {}

    @property
    def has_calls(self) -> bool:
        return bool(self._calls)

    @property
    def finish_reason(self) -> str:
        """The finish reason of an answer that ends with calls."""
        return "function_call" if self._legacy else "tool_calls"

    def is_call(self, block: int) -> bool:
        return block in self._calls

    def start_call(self, event: ToolCallStart) -> Mapping[str, Any]:
        """Return the first piece, the only one with id and name, because clients concatenate strings
        (langchain-ai/langchain#35281)."""
        unwrap = self._must_unwrap(event)
        kind = "custom" if unwrap else event.kind
        self._calls[event.block] = call = _OpenCall(len(self._calls), kind, [] if unwrap else None)
        if not self._legacy:
            inner = {"name": event.name, _TEXT[kind]: ""}
            return _call_fragment({"index": call.index, "id": event.id, "type": kind, kind: inner})
        return {} if call.index else {"function_call": {"name": event.name, "arguments": ""}}

    def add_input(self, block: int, text: str) -> Mapping[str, Any]:
        call = self._calls[block]
        call.has_text = call.has_text or bool(text.strip())
        if call.held is None:
            return self._call_delta(call, text)
        call.held.append(text)
        return {}

    def end_call(self, block: int) -> Mapping[str, Any]:
        call = self._calls.get(block)
        if call is None:
            return {}
        if call.held is not None:
            return self._call_delta(call, unwrap_text("".join(call.held)))
        return self._call_delta(call, "" if call.has_text or call.kind == "custom" else _NO_ARGUMENTS)

    def message_members(self, blocks: Iterable[ToolCallBlock]) -> Mapping[str, Any]:
        calls = [self._message_call(block) for block in blocks]
        if not calls:
            return {}
        return {"function_call": calls[0]["function"]} if self._legacy else {"tool_calls": calls}

    def _must_unwrap(self, tool: ToolCallStart | ToolCallBlock) -> bool:
        return tool.kind == "function" and tool.name in self._custom

    def _call_delta(self, call: _OpenCall, text: str) -> Mapping[str, Any]:
        if not text:
            return {}
        if not self._legacy:
            return _call_fragment({"index": call.index, call.kind: {_TEXT[call.kind]: text}})
        return {} if call.index else {"function_call": {"arguments": text}}

    def _message_call(self, block: ToolCallBlock) -> dict[str, Any]:
        if self._must_unwrap(block):
            return {"id": block.id, "type": "custom", "custom": {"name": block.name, "input": unwrap_text(block.input)}}
        text = block.input if block.input.strip() or block.kind == "custom" else _NO_ARGUMENTS
        inner = {"name": block.name, _TEXT[block.kind]: text}
        return {"id": block.id, "type": block.kind, block.kind: inner}


def _call_fragment(piece: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"tool_calls": [piece]}
