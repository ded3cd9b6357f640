"""Items that call a tool of the client's, while they are written."""

from typing import Any

from providers.neutral import custom_tools
from providers.responses.ids import own_id
from providers.responses.numbering import Deltas, EventSequence
from providers.responses.output import NO_ARGUMENTS, call_item
from providers.responses.tools import Declared
from providers.responses.values import load
from streams.events import ToolCallStart


class OpenCall:
    """A tool call. ``wrapped``: the client's tool takes free text and the provider calls it with JSON around it, which
    comes off only when it is whole (BerriAI/litellm#31571)."""

    def __init__(self, out: EventSequence, begin: ToolCallStart, tool: Declared, wrapped: bool) -> None:
        custom = tool.kind == "custom"
        self._out = out
        self.index = out.index()
        self._call_id = begin.id
        self._tool = tool
        self._wrapped = wrapped
        self._id = own_id("ctc_" if custom else "fc_")
        self._where = {"item_id": self._id, "output_index": self.index}
        self._name = "response.custom_tool_call_input" if custom else "response.function_call_arguments"
        self._deltas = Deltas(out, f"{self._name}.delta", self._where)
        self._held: list[str] = []

    def open(self) -> bytes:
        return self._out.added(self.index, call_item(self._id, self._call_id, self._tool, status="in_progress"))

    def write(self, text: str) -> bytes:
        if self._wrapped:
            self._held.append(text)
            return b""
        return self._deltas.write(text)

    def close(self) -> bytes:
        data = b""
        if self._wrapped and (text := custom_tools.unwrapped("".join(self._held))):
            data += self._deltas.write(text)
        if self._tool.kind == "function" and not self._deltas.text().strip():
            data += self._deltas.write(NO_ARGUMENTS)
        text = self._deltas.text()
        if self._tool.kind == "custom":
            return data + self._out.event(f"{self._name}.done", {**self._where, "input": text})
        members = {**self._where, "name": self._tool.name, "arguments": text}
        return data + self._out.event(f"{self._name}.done", members)

    def item(self, status: str) -> Any:
        return call_item(self._id, self._call_id, self._tool, self._deltas.text(), status)

    def cut(self) -> tuple[int, Any] | None:
        """Only JSON shows that it is whole; free text never does."""
        text = "".join(self._held) if self._wrapped else self._deltas.text()
        if not isinstance(load(text.encode()), dict) or (self._tool.kind == "custom" and not self._wrapped):
            return None
        text = custom_tools.unwrapped(text) if self._wrapped else text
        return self.index, call_item(self._id, self._call_id, self._tool, text, "incomplete")
