"""The neutral request: what a client asked for, said in no API's words. Everything is a frozen value.

A codec reads its API's JSON into a ``Request`` and writes a ``Request`` as its API's JSON. Nothing here knows a
provider. ``at`` on every part is the client's own path to it (``messages[2].content[1]``), for errors and for the drop
report; ``marks`` are the client's hints on a part that only some APIs know (``cache_control``,
``prompt_cache_breakpoint``, ``citations``, ``context``), by their own names: a writer carries those that its API has
and reports the others.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import attrs

from providers.neutral.seal import Seal
from streams.events import Api, ToolKind

Role: TypeAlias = Literal["system", "developer", "user", "assistant"]
NO_MARKS: Mapping[str, Any] = {}


@attrs.frozen
class MediaSource:
    """The source of an image or a file. ``value`` is a URL, base64 data, a provider's file id or plain text."""

    kind: Literal["url", "base64", "file_id", "text"]
    value: str
    media_type: str | None = None


@attrs.frozen
class TextPart:
    """``phase`` is that of the earlier answer's message which holds the text: only ``Request.api`` knows it, and a
    reader that fills it has named it, by the message's path, among what it dropped."""

    text: str
    at: str = ""
    marks: Mapping[str, Any] = NO_MARKS
    phase: str | None = None


@attrs.frozen
class ImagePart:
    source: MediaSource
    detail: str | None = None
    at: str = ""
    marks: Mapping[str, Any] = NO_MARKS


@attrs.frozen
class FilePart:
    """A document: PDF, plain text."""

    source: MediaSource
    filename: str | None = None
    at: str = ""
    marks: Mapping[str, Any] = NO_MARKS


@attrs.frozen
class AudioPart:
    data: str  # base64
    format: str
    at: str = ""
    marks: Mapping[str, Any] = NO_MARKS


@attrs.frozen
class RefusalPart:
    """The words of an earlier refusal; only in assistant turns."""

    text: str
    at: str = ""


@attrs.frozen
class ReasoningPart:
    """Reasoning of an earlier turn. Either ``seal`` is set (trigate wrapped it), or ``native`` is the item as the
    client's own API (``Request.api``) knows it. ``text`` is the readable part, "" when there is none. ``beside`` are
    the places of other members that say the same."""

    text: str
    seal: Seal | None = None
    native: Any = None
    at: str = ""
    beside: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[str, ...]:
        """All that is lost where the part cannot be carried."""
        return self.at, *self.beside


@attrs.frozen
class ToolCallPart:
    """A tool call of an earlier turn. ``input`` is JSON text for a function, free text for a custom tool. ``namespace``
    is that of a lone tool, which its name says already: only its own API wants it back."""

    id: str
    name: str
    input: str
    kind: ToolKind = "function"
    at: str = ""
    marks: Mapping[str, Any] = NO_MARKS
    namespace: str | None = None


@attrs.frozen
class ToolResultPart:
    """The result of a client's tool. ``parts`` may be empty. Stands in a ``user`` turn."""

    call_id: str
    parts: tuple["TextPart | ImagePart | FilePart", ...]
    is_error: bool = False
    kind: ToolKind = "function"
    at: str = ""
    marks: Mapping[str, Any] = NO_MARKS


@attrs.frozen
class NativePart:
    """Something only ``api`` can express (a server tool's result, a hosted call): dropped elsewhere."""

    api: Api
    kind: str
    item: Any
    at: str = ""


Part: TypeAlias = (
    TextPart
    | ImagePart
    | FilePart
    | AudioPart
    | RefusalPart
    | ReasoningPart
    | ToolCallPart
    | ToolResultPart
    | NativePart
)


@attrs.frozen
class Message:
    """One message. Instructions are turns too, with role ``system`` or ``developer``, wherever the client put them.
    Consecutive turns of one role are kept apart as they were sent; a writer merges where its API wants that."""

    role: Role
    parts: tuple[Part, ...]
    at: str = ""
    name: str | None = None  # Chat's participant name


@attrs.frozen
class Tool:
    """One of the client's own tools. ``schema`` is its JSON Schema untouched (None when it gave none)."""

    name: str
    description: str | None = None
    schema: Any = None
    kind: ToolKind = "function"
    strict: bool | None = None
    format: Any = None  # of a custom tool: text or a grammar, in OpenAI's words
    at: str = ""
    marks: Mapping[str, Any] = NO_MARKS


@attrs.frozen
class NativeTool:
    """A server-side or typed tool that only ``api`` knows."""

    api: Api
    kind: str
    item: Any
    at: str = ""


@attrs.frozen
class ToolChoice:
    """``hosted`` are tools that are chosen or allowed too, in the words of Responses: only ``Request.api`` knows them,
    and a reader that fills it has named them among what it dropped. Without ``allowed`` it is the one that is
    chosen."""

    mode: Literal["auto", "none", "required", "tool"]
    name: str | None = None  # for mode "tool"
    kind: ToolKind = "function"
    allowed: tuple[str, ...] | None = None  # allowed_tools: only these may be called
    at: str = ""
    hosted: tuple[Mapping[str, Any], ...] = ()


@attrs.frozen
class Reasoning:
    """The wish for reasoning. ``effort`` is an OpenAI or Anthropic level, ``budget`` a number of tokens."""

    mode: Literal["enabled", "adaptive", "disabled"] = "enabled"
    effort: str | None = None
    budget: int | None = None
    summary: str | None = None  # auto, concise, detailed
    at: str = ""


@attrs.frozen
class Format:
    """Structured output."""

    kind: Literal["json_object", "json_schema"]
    name: str | None = None
    schema: Any = None
    strict: bool | None = None
    description: str | None = None
    at: str = ""


@attrs.frozen
class Parameter:
    """A scalar setting by its neutral name (see ``providers/neutral/parameters.py``) with the client's path to it."""

    value: Any
    at: str


@attrs.frozen
class Request:
    """One request. ``source`` is the client's JSON as decoded, for APIs whose answers echo it; ``dropped`` are the
    paths that reading found nobody to carry, or nobody but the API itself, whose writer takes them out again;
    ``deferred`` are tools that wait until the client's search finds them."""

    api: Api
    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    include_usage: bool = False  # Chat: the client asked for the usage chunk
    tools: tuple[Tool | NativeTool, ...] = ()
    deferred: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: Parameter | None = None
    reasoning: Reasoning | None = None
    format: Format | None = None
    parameters: Mapping[str, Parameter] = attrs.field(factory=dict)
    source: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    dropped: tuple[str, ...] = ()


def cache_control(name: str, value: Any) -> Any:
    """Return the ``cache_control`` that the mark ``name`` means, ``None`` if it means none.

    OpenAI's explicit breakpoints are the same with other lifetimes."""
    if name == "cache_control" and isinstance(value, Mapping):
        return value
    if name == "prompt_cache_breakpoint" and isinstance(value, Mapping):
        return {"type": "ephemeral", "ttl": "1h"} if value.get("ttl") == "12h" else {"type": "ephemeral"}
    return None
