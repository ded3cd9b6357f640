"""Assembly of tool calls from streamed fragments.

OpenAI numbers its calls and sends each name once. Other servers omit the number (Mistral), give every call the same one
(Ollama: huggingface/smolagents#1569), send an empty id (Google's and Alibaba's endpoints), or repeat id and name on
every fragment (langchain-ai/langchain#35281).
"""

from collections.abc import Mapping
from typing import Any

from providers.neutral.bounds import PLACE, Budget
from providers.neutral.codec import new_id
from providers.neutral.values import arguments_text, as_string
from streams.events import ToolKind
from streams.structure import PIECE

_NO_MARKS = bytes(set(range(256)) - set(b'"{[]}'))


class Nesting:
    """The nesting depth of a JSON object that arrives in pieces, without storing them."""

    __slots__ = ("_depth", "_has_text", "_in_string", "_is_escaped")

    def __init__(self) -> None:
        self._has_text = False
        self._depth = 0
        self._in_string = False
        self._is_escaped = False  # the last piece ended with a backslash

    def add(self, text: str) -> None:
        self._has_text = self._has_text or not text.isspace()
        at = 0
        while at < len(text):
            at += self._is_escaped
            self._count_marks(text[at : at + PIECE])
            at += PIECE

    def _count_marks(self, piece: str) -> None:
        """Count the marks of a piece with a few calls into C: a provider may send megabytes of quotes and brackets."""
        bare = piece.replace("\\\\", "")
        self._is_escaped = bare.endswith("\\")
        marks = bare.replace('\\"', "").encode(errors="replace").translate(None, _NO_MARKS)
        parts = marks.replace(b'""', b"").split(b'"')  # an empty string has no marks
        open_marks = b"".join(parts[self._in_string :: 2])
        self._depth += len(open_marks) - 2 * len(open_marks.translate(None, b"{["))
        self._in_string ^= len(parts) % 2 == 0

    @property
    def is_incomplete(self) -> bool:
        """True while a string or bracket is open."""
        return self._depth > 0 or self._in_string

    @property
    def is_complete(self) -> bool:
        """True once something has arrived and nothing is open."""
        return self._has_text and not self.is_incomplete


class ToolCall:
    """A tool call whose fragments are still arriving. ``block`` is None until its name is known."""

    __slots__ = ("arguments", "block", "id", "kind", "name", "pieces", "provider_id")

    def __init__(self, provider_id: str, id: str) -> None:
        self.provider_id = provider_id  # the provider's id, or ""
        self.id = id
        self.name = ""
        self.kind: ToolKind = "function"
        self.block: int | None = None
        self.pieces: list[str] = []  # arguments that wait for the name
        self.arguments = Nesting()

    @property
    def is_incomplete(self) -> bool:
        """True if the arguments so far are incomplete."""
        return self.kind == "function" and self.arguments.is_incomplete


class Calls:
    """The tool calls of one answer."""

    def __init__(self, places: Budget) -> None:
        self._places = places
        self._by_index: dict[int, ToolCall] = {}
        self._by_id: dict[str, ToolCall] = {}
        self._last: ToolCall | None = None

    @property
    def is_incomplete(self) -> bool:
        return any(call.is_incomplete for call in self._by_id.values())

    def find(self, fragment: Mapping[str, Any], name: str, text: str) -> ToolCall:
        """Return the call that ``fragment`` continues, or a new one."""
        index, provider_id = fragment.get("index"), as_string(fragment.get("id"))
        found = self._find_known(index, provider_id, name)
        if found is None or _starts_new_call(found, provider_id, name, text):
            found = ToolCall(
                provider_id, provider_id if provider_id and provider_id not in self._by_id else new_id("call_")
            )
            self._places.spend(PLACE + len(found.id) + len(name), "tool calls")
            self._by_id[found.id] = found
        if isinstance(index, int):
            self._by_index[index] = found
        self._last = found
        return found

    def _find_known(self, index: Any, provider_id: str, name: str) -> ToolCall | None:
        if isinstance(index, int):
            return self._by_index.get(index)
        if provider_id:
            return self._by_id.get(provider_id)
        return None if name else self._last


def _starts_new_call(found: ToolCall, provider_id: str, name: str, text: str) -> bool:
    """Return whether a fragment with a known number starts another call."""
    if provider_id and found.provider_id:
        return provider_id != found.provider_id
    return bool(name and text and found.name and not found.provider_id and found.arguments.is_complete)


def parse_fragment(fragment: Mapping[str, Any]) -> tuple[ToolKind, str, str]:
    """Return a fragment's kind, name (or "") and piece of the arguments."""
    custom = fragment.get("custom")
    if isinstance(custom, dict) and (fragment.get("type") == "custom" or "function" not in fragment):
        return "custom", as_string(custom.get("name")), arguments_text(custom.get("input"))
    function = fragment.get("function")
    if not isinstance(function, dict):
        return "function", "", ""
    return "function", as_string(function.get("name")), arguments_text(function.get("arguments"))
