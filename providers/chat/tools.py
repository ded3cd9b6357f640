"""Writer of tool calls for Chat clients, streamed and whole.

Two kinds of clients need a conversion. A client that declared a custom tool receives its free text, even if the
provider has no custom tools and wrapped the text in a JSON object. A client that uses ``functions`` instead of
``tools`` receives ``function_call``, which has space for a single call: the provider is restricted to one, and other
calls are dropped.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from providers.neutral.custom_tools import unwrapped
from providers.neutral.request import Request, Tool
from streams.events import ToolCallStart
from streams.fold import ToolCallBlock

_TEXT = {"function": "arguments", "custom": "input"}
_NO_ARGUMENTS = "{}"  # clients parse it, and "" is not valid JSON


def is_legacy(request: Request) -> bool:
    """Return whether the client sent ``functions``, the older form of ``tools``."""
    return request.api == "chat" and bool(request.source.get("functions")) and not request.source.get("tools")


class _Begun:
    """A tool call that is being written."""

    __slots__ = ("held", "index", "kind", "said")

    def __init__(self, index: int, kind: str, held: list[str] | None) -> None:
        self.index = index
        self.kind = kind
        self.held = held  # pieces of a wrapped text, which can only be unwrapped whole
        self.said = False  # whether any text but white space arrived


class ToolWriter:
    """A writer of calls as members of a chunk's ``delta``; an empty mapping means nothing to write."""

    def __init__(self, request: Request) -> None:
        self._custom = {tool.name for tool in request.tools if isinstance(tool, Tool) and tool.kind == "custom"}
        self._legacy = is_legacy(request)
        self._begun: dict[int, _Begun] = {}

    @property
    def called(self) -> bool:
        return bool(self._begun)

    @property
    def finish(self) -> str:
        """The finish reason of an answer that ends with calls."""
        return "function_call" if self._legacy else "tool_calls"

    def knows(self, block: int) -> bool:
        """Return whether ``block`` is a call."""
        return block in self._begun

    def begin(self, event: ToolCallStart) -> Mapping[str, Any]:
        """Return the first piece, the only one with id and name, because clients concatenate strings
        (langchain-ai/langchain#35281)."""
        unwrap = self._unwraps(event)
        kind = "custom" if unwrap else event.kind
        self._begun[event.block] = begun = _Begun(len(self._begun), kind, [] if unwrap else None)
        if not self._legacy:
            inner = {"name": event.name, _TEXT[kind]: ""}
            return _fragment({"index": begun.index, "id": event.id, "type": kind, kind: inner})
        return {} if begun.index else {"function_call": {"name": event.name, "arguments": ""}}

    def input(self, block: int, text: str) -> Mapping[str, Any]:
        begun = self._begun[block]
        begun.said = begun.said or bool(text.strip())
        if begun.held is None:
            return self._piece(begun, text)
        begun.held.append(text)
        return {}

    def end(self, block: int) -> Mapping[str, Any]:
        begun = self._begun.get(block)
        if begun is None:
            return {}
        if begun.held is not None:
            return self._piece(begun, unwrapped("".join(begun.held)))
        return self._piece(begun, "" if begun.said or begun.kind == "custom" else _NO_ARGUMENTS)

    def whole(self, blocks: Iterable[ToolCallBlock]) -> Mapping[str, Any]:
        """Return the call members of a whole message."""
        calls = [self._call(block) for block in blocks]
        if not calls:
            return {}
        return {"function_call": calls[0]["function"]} if self._legacy else {"tool_calls": calls}

    def _unwraps(self, tool: ToolCallStart | ToolCallBlock) -> bool:
        return tool.kind == "function" and tool.name in self._custom

    def _piece(self, begun: _Begun, text: str) -> Mapping[str, Any]:
        if not text:
            return {}
        if not self._legacy:
            return _fragment({"index": begun.index, begun.kind: {_TEXT[begun.kind]: text}})
        return {} if begun.index else {"function_call": {"arguments": text}}

    def _call(self, block: ToolCallBlock) -> dict[str, Any]:
        if self._unwraps(block):
            return {"id": block.id, "type": "custom", "custom": {"name": block.name, "input": unwrapped(block.input)}}
        text = block.input if block.input.strip() or block.kind == "custom" else _NO_ARGUMENTS
        inner = {"name": block.name, _TEXT[block.kind]: text}
        return {"id": block.id, "type": block.kind, block.kind: inner}


def _fragment(piece: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"tool_calls": [piece]}
