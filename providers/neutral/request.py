"""The neutral request, a frozen value without any API's words.

Codecs read their API's JSON into a ``Request`` and write it from one. ``at`` is the client's own path to a part
(``messages[2].content[1]``), for errors and the drop report. ``marks`` are hints on a part that only some APIs know
(``cache_control``, ``prompt_cache_breakpoint``, ``citations``, ``context``); writers report unsupported ones.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import attrs
import msgspec

from providers.neutral.seal import Seal
from streams.events import Api, ToolKind

Role: TypeAlias = Literal["system", "developer", "user", "assistant"]
NO_MARKS: Mapping[str, Any] = {}


@attrs.frozen
class MediaSource:
    """The source of an image or file; ``value`` is a URL, base64 data, a provider's file id or plain text.

    A URL is never a ``data:`` URL: readers of clients' requests decode these with ``url_source``.
    """

    kind: Literal["url", "base64", "file_id", "text"]
    value: str
    media_type: str | None = None


@attrs.frozen
class TextPart:
    """Text of a message.

    ``phase`` is the phase of an earlier answer's message. Only ``Request.api`` knows it, so that its reader also lists
    it as dropped.
    """

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
    """A document: PDF or plain text."""

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
    """The text of an earlier refusal, only in assistant turns."""

    text: str
    at: str = ""


@attrs.frozen
class ReasoningPart:
    """Reasoning of an earlier turn.

    It has a ``seal`` (by trigate) or a ``native`` item of the client's API. ``text`` is the readable part or "".
    ``beside`` are the places of other members with the same content.
    """

    text: str
    seal: Seal | None = None
    native: Any = None
    at: str = ""
    beside: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[str, ...]:
        """All losses if the part cannot be sent."""
        return self.at, *self.beside


@attrs.frozen
class ToolCallPart:
    """A tool call of an earlier turn.

    ``input`` is JSON text for a function, free text for a custom tool. ``namespace`` is that of a lone tool, whose name
    already includes it; only its own API needs it. ``native`` is the call in the form of ``Request.api``, if that has
    another.
    """

    id: str
    name: str
    input: str
    kind: ToolKind = "function"
    at: str = ""
    marks: Mapping[str, Any] = NO_MARKS
    namespace: str | None = None
    native: Mapping[str, Any] | None = None


@attrs.frozen
class ToolResultPart:
    """The result of a client's tool, in a ``user`` turn. ``parts`` may be empty; ``native`` is as in the call."""

    call_id: str
    parts: tuple["TextPart | ImagePart | FilePart", ...]
    is_error: bool = False
    kind: ToolKind = "function"
    at: str = ""
    marks: Mapping[str, Any] = NO_MARKS
    native: Mapping[str, Any] | None = None


@attrs.frozen
class NativePart:
    """A part that only ``api`` can express (a server tool's result, a hosted call); others drop it."""

    api: Api
    kind: str
    item: Any
    at: str = ""


MarkedPart: TypeAlias = TextPart | ImagePart | FilePart | AudioPart | ToolCallPart | ToolResultPart
Part: TypeAlias = MarkedPart | RefusalPart | ReasoningPart | NativePart


@attrs.frozen
class Tool:
    """One of the client's own tools. ``schema`` is its unchanged JSON Schema, or None.

    ``native`` is the tool in the form of ``Request.api``, if that has another; ``{}`` if an item already has the tool.
    """

    name: str
    description: str | None = None
    schema: Any = None
    kind: ToolKind = "function"
    strict: bool | None = None
    format: Any = None  # of a custom tool: text or a grammar, in OpenAI's words
    at: str = ""
    marks: Mapping[str, Any] = NO_MARKS
    native: Mapping[str, Any] | None = None


@attrs.frozen
class NativeTool:
    """A server-side or typed tool that only ``api`` knows."""

    api: Api
    kind: str
    item: Any
    at: str = ""

    @property
    def dropped_places(self) -> tuple[str, str]:
        """The paths in the report of a provider without the tool: the usual one, and one with the tool's name."""
        name = self.item.get("name") if isinstance(self.item, dict) else None
        return self.at, f"{self.at}: {name if isinstance(name, str) and name else self.kind}"


@attrs.frozen
class ToolChange:
    """A message's instruction to offer the tool ``name`` from there on, or to withdraw it.

    ``definition`` is a tool that the message itself defines.
    """

    name: str
    is_added: bool
    definition: Tool | NativeTool | None = None
    at: str = ""


@attrs.frozen
class Message:
    """One message; instructions are messages too, with the role ``system`` or ``developer``.

    Consecutive messages of one role stay separate; writers join them if necessary. ``Request.tools`` already takes
    ``tool_changes`` into account. ``native`` is the message in the form of ``Request.api``, if that has more than its
    parts; only its writer sends it, instead of the parts.
    """

    role: Role
    parts: tuple[Part, ...]
    at: str = ""
    name: str | None = None  # Chat's participant name
    tool_changes: tuple[ToolChange, ...] = ()
    native: Mapping[str, Any] | None = None


@attrs.frozen
class ToolChoice:
    """The choice of tools.

    ``hosted`` are chosen or allowed tools in the words of Responses. Only ``Request.api`` knows them, so that its
    reader also lists them as dropped. Without ``allowed``, the one tool in it is chosen.
    """

    mode: Literal["auto", "none", "required", "tool"]
    name: str | None = None  # for mode "tool"
    kind: ToolKind = "function"
    allowed: tuple[str, ...] | None = None  # allowed_tools: only these may be called
    at: str = ""
    hosted: tuple[Mapping[str, Any], ...] = ()


@attrs.frozen
class Parameter:
    """A scalar setting with the client's path to it (see ``providers/neutral/parameters.py``)."""

    value: Any
    at: str = ""


@attrs.frozen
class Reasoning:
    """The requested reasoning. ``effort`` is an OpenAI or Anthropic level, ``budget`` a number of tokens.

    ``effort_at`` is the path of an effort that a message sets for its turn.
    """

    mode: Literal["enabled", "adaptive", "disabled"] = "enabled"
    effort: str | None = None
    budget: int | None = None
    summary: Parameter | None = None  # auto, concise, detailed
    at: str = ""
    effort_at: str | None = None

    @property
    def places(self) -> tuple[str, ...]:
        """The losses if another effort or budget is requested."""
        return (self.at,) if self.effort_at is None else (self.at, self.effort_at)

    @property
    def all_places(self) -> tuple[str, ...]:
        """The losses if no reasoning is requested. ``at`` is often the object that has the summary's member."""
        if self.summary is None or f"{self.summary.at}.".startswith(f"{self.at}."):
            return self.places
        return *self.places, self.summary.at


@attrs.frozen
class Format:
    """The requested format of structured output."""

    kind: Literal["json_object", "json_schema"]
    name: str | None = None
    schema: Any = None
    strict: bool | None = None
    description: str | None = None
    at: str = ""


@attrs.frozen(slots=False)  # created for each request; cheaper to construct without slots
class Request:
    """One request.

    ``source`` is the client's decoded JSON, for answers that repeat it. ``dropped`` are the unsupported paths, and
    those that only the client's API supports, whose writer removes them again. ``deferred`` are tools that wait until
    the client's search finds them. ``declared`` are the tools without the changes in messages, if there are any.
    """

    api: Api
    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    include_usage: bool = False  # Chat: the client requested the usage chunk
    tools: tuple[Tool | NativeTool, ...] = ()
    deferred: tuple[Tool, ...] = ()
    declared: tuple[Tool | NativeTool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: Parameter | None = None
    reasoning: Reasoning | None = None
    format: Format | None = None
    parameters: Mapping[str, Parameter] = attrs.field(factory=dict)
    source: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    dropped: tuple[str, ...] = ()

    @property
    def has_tools(self) -> bool:
        """True if the client sent tools, even if none of them is offered now."""
        return bool(self.tools or self.declared or self.deferred)


def result_part(part: Part) -> TextPart | ImagePart | FilePart:
    """Return a part of a result; a block of one API only becomes its JSON, which the model can still read."""
    if isinstance(part, NativePart):
        return TextPart(msgspec.json.encode(part.item).decode(), part.at)
    assert isinstance(part, TextPart | ImagePart | FilePart), "no other kind of block is read inside a result"
    return part


def has_cache_marks(request: Request) -> bool:
    """Return whether a part of the conversation has a cache mark.

    Such a client moves its mark with every turn. So a text must not be a string without the mark and a list with it:
    caches compare the form, too.
    """
    return any(
        name in _CACHE_MARKS
        for message in request.messages
        for part in message.parts
        for name in getattr(part, "marks", NO_MARKS)
    )


_CACHE_MARKS = ("cache_control", "prompt_cache_breakpoint")


def cache_control(name: str, value: Any) -> Any:
    """Return the ``cache_control`` for the mark ``name``, or ``None``.

    OpenAI's explicit breakpoints are the same with other lifetimes.
    """
    if name == "cache_control" and isinstance(value, Mapping):
        return value
    if name == "prompt_cache_breakpoint" and isinstance(value, Mapping):
        return {"type": "ephemeral", "ttl": "1h"} if value.get("ttl") == "12h" else {"type": "ephemeral"}
    return None
