"""Messages written as those of a Chat Completions request."""

import mimetypes
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, assert_never

from providers.neutral.codec import Recipient
from providers.neutral.custom_tools import wrapped
from providers.neutral.fields import Drops
from providers.neutral.request import (
    AudioPart,
    FilePart,
    ImagePart,
    MediaSource,
    Message,
    NativePart,
    Part,
    ReasoningPart,
    RefusalPart,
    Request,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from providers.neutral.tool_names import short_call_id
from streams.errors import invalid

USUAL_FIELD = "reasoning_content"
"""The member in which clients get the text of reasoning, and most servers take it back."""

REASONING_FIELDS = (USUAL_FIELD, "reasoning")
"""The members in which servers take back the text of earlier reasoning."""

TYPED_FIELD = "content"
"""Where reasoning stands as a part of its own among the text (Mistral)."""

_BREAKPOINT = "prompt_cache_breakpoint"
_ERROR = "Error: "
_NO_ARGUMENTS = "{}"


def write_messages(request: Request, to: Recipient, drops: Drops) -> list[dict[str, Any]]:
    """The messages. What they cannot carry goes into ``drops``; a part that must not be lost raises a 400."""
    writing = _MessageWriter(request, to, drops)
    messages: list[dict[str, Any]] = []
    for assistant, others in _rounds(request.messages):
        messages.extend(writing.round(assistant, others))
    if to.quirks.reasoning_replay == "every_message":
        _complete_reasoning(messages, to.quirks.reasoning_field)
    return messages


def takes_custom_tools(request: Request) -> bool:
    """True if custom tools go out as such. A Chat client that declares some knows its provider; those of others go out
    as functions, which every server takes, most of them nothing else."""
    return request.api == "chat"


def _rounds(messages: Iterable[Message]) -> Iterator[tuple[list[Message], list[Message]]]:
    """Rounds: the assistant's messages in a row, and the others before it speaks again."""
    assistant: list[Message] = []
    others: list[Message] = []
    for message in messages:
        if message.role != "assistant":
            others.append(message)
        else:
            if others:
                yield assistant, others
                assistant, others = [], []
            assistant.append(message)
    yield assistant, others


def _complete_reasoning(messages: Iterable[dict[str, Any]], field: str) -> None:
    """Give every assistant message ``field`` from the first on that has reasoning: DeepSeek refuses the request without
    (anomalyco/opencode#24722, RooCodeInc/Roo-Code#12195)."""
    seen = False
    for message in messages:
        if message["role"] == "assistant":
            has = any(name in message for name in REASONING_FIELDS)
            seen = seen or has
            if seen and not has:
                message[field] = ""


class _MessageWriter:
    """One request being written."""

    def __init__(self, request: Request, to: Recipient, drops: Drops) -> None:
        self._request = request
        self._to = to
        self._drops = drops
        self._id: Callable[[str], str] = short_call_id if to.quirks.short_call_ids else str

    def round(self, assistant: Sequence[Message], others: Sequence[Message]) -> Iterator[dict[str, Any]]:
        """Results stand directly after the calls, in the calls' order, before anything else
        (diegosouzapw/OmniRoute#4882)."""
        parts = [part for message in assistant for part in message.parts]
        name = next((message.name for message in assistant if message.name), None)
        yield from self._assistant(parts, name)
        place = {part.id: i for i, part in enumerate(p for p in parts if isinstance(p, ToolCallPart))}
        results = [part for message in others for part in message.parts if isinstance(part, ToolResultPart)]
        results.sort(key=lambda part: place.get(part.call_id, len(place)))
        yield from map(self._result, results)
        if media := [piece for part in results for piece in self._media(part)]:
            yield {"role": "user", "content": media}
        for message in others:
            yield from self._message(message)

    def _message(self, message: Message) -> Iterator[dict[str, Any]]:
        """A message of the user or of instructions, without the results in it."""
        role: str = message.role
        if role == "developer" and not self._to.quirks.developer_role:
            role = "system"
        pieces = [piece for part in message.parts for piece in self._piece(part, message.role)]
        if pieces:
            yield {"role": role, "content": _content(pieces), **({"name": message.name} if message.name else {})}

    def _piece(self, part: Part, role: str) -> Iterator[dict[str, Any]]:
        """The content parts, none or one, for a part of a message that is not the assistant's."""
        match part:
            case ToolResultPart():
                pass  # already written
            case TextPart(text=text):
                if text:
                    yield {"type": "text", "text": text, **self._marks(part)}
                else:
                    self._lose_marks(part)
            case ImagePart() | FilePart() | AudioPart():
                if role != "user":
                    raise invalid(f"{part.at}: only text can be an instruction for this model", part.at)
                yield self._medium(part) | self._marks(part)
            case ReasoningPart():
                self._drops.add(*part.places)
            case NativePart() | RefusalPart() | ToolCallPart():
                self._drops.add(part.at)
            case _:
                assert_never(part)

    def _assistant(self, parts: Sequence[Part], name: str | None) -> Iterator[dict[str, Any]]:
        pieces: list[dict[str, Any]] = []
        refusals: list[str] = []
        calls: list[dict[str, Any]] = []
        reasoning_parts: list[ReasoningPart] = []
        for part in parts:
            match part:
                case TextPart():
                    pieces.extend(self._piece(part, "assistant"))
                case RefusalPart(text=text):
                    refusals.append(text)
                case ToolCallPart():
                    calls.append(_tool_call(part, self._id(part.id), takes_custom_tools(self._request)))
                    self._lose_marks(part)
                case ReasoningPart():
                    reasoning_parts.append(part)
                case NativePart():
                    self._drops.add(part.at)
                case ImagePart() | FilePart() | AudioPart() | ToolResultPart():
                    raise invalid(f"{part.at} cannot stand in an assistant message for this model", part.at)
                case _:
                    assert_never(part)
        if not (pieces or refusals or calls):
            places = (place for part in reasoning_parts for place in part.places)
            self._drops.add(*places)  # a message of nothing but reasoning is refused
            return
        message: dict[str, Any] = {"role": "assistant"}
        if name:
            message["name"] = name
        reasoning = self._reasoning(reasoning_parts)
        pieces = reasoning.pop("content", []) + pieces
        message |= {"content": _content(pieces) if pieces else None}
        if refusals:
            message["refusal"] = "".join(refusals)
        message |= reasoning
        if calls:
            message["tool_calls"] = calls
        yield message

    def _reasoning(self, parts: Iterable[ReasoningPart]) -> dict[str, Any]:
        """The members that give reasoning back; what this provider did not issue is left out
        (anomalyco/opencode#24722, openclaw/openclaw#92201)."""
        members: dict[str, Any] = {}
        for part in parts:
            native = self._native(part)
            if not native:
                self._drops.add(*part.places)
            for field, value in native.items():
                members[field] = members[field] + value if field in members else value
        return members

    def _native(self, part: ReasoningPart) -> dict[str, Any]:
        """The reasoning in the members of a Chat message; empty where it is not this provider's."""
        if part.seal is not None:
            seal = part.seal
            return native_members(seal.item, part.text) if seal.api == "chat" and seal.issuer == self._to.issuer else {}
        if self._request.api != "chat" or not isinstance(part.native, dict):
            return {}
        native, field = dict(part.native), self._to.quirks.reasoning_field
        if "reasoning_details" in native:  # they say all that the text beside them says, which we put there
            native.pop(USUAL_FIELD, None)
        elif USUAL_FIELD in native and field not in native:  # the name that we gave it, not the provider
            native[field] = native.pop(USUAL_FIELD)
        return native

    def _result(self, part: ToolResultPart) -> dict[str, Any]:
        """A tool's result. Only text can stand here; an error has no mark of its own and says so in words."""
        pieces: list[dict[str, Any]] = []
        for piece in part.parts:
            if isinstance(piece, TextPart):
                pieces.extend(self._piece(piece, "tool"))
        if part.is_error:
            first = pieces[0] if pieces else {"type": "text", "text": ""}
            pieces[:1] = [{**first, "text": _ERROR + first["text"]}]
        if pieces:
            pieces[-1] |= self._marks(part)
        else:
            self._lose_marks(part)
        return {
            "role": "tool",
            "tool_call_id": self._id(part.call_id),
            "content": _content(pieces) if pieces else "",
        }

    def _media(self, part: ToolResultPart) -> Iterator[dict[str, Any]]:
        """A result's images and files, for the user message after all results (Zoo-Code-Org/Zoo-Code#1705)."""
        for piece in part.parts:
            if isinstance(piece, ImagePart | FilePart):
                sort = "Image" if isinstance(piece, ImagePart) else "File"
                yield {"type": "text", "text": f"{sort} from tool {self._id(part.call_id)}:"}
                yield self._medium(piece) | self._marks(piece)

    def _medium(self, part: ImagePart | FilePart | AudioPart) -> dict[str, Any]:
        match part:
            case ImagePart(source=source, detail=detail):
                image = {"url": _url(source, part.at)}
                return {"type": "image_url", "image_url": image | ({"detail": detail} if detail else {})}
            case FilePart(source=source):
                return self._file(part, source)
            case AudioPart(data=data, format=format):
                return {"type": "input_audio", "input_audio": {"data": data, "format": format}}
            case _:
                assert_never(part)

    def _file(self, part: FilePart, source: MediaSource) -> dict[str, Any]:
        match source.kind:
            case "text":
                title = f"{part.filename}\n" if part.filename else ""
                return {"type": "text", "text": title + source.value}
            case "base64":
                media_type = source.media_type or "application/pdf"
                name = part.filename or "document" + (mimetypes.guess_extension(media_type) or "")
                return {
                    "type": "file",
                    "file": {"filename": name, "file_data": f"data:{media_type};base64,{source.value}"},
                }
            case "file_id":
                if self._request.api == "chat":
                    return {"type": "file", "file": {"file_id": source.value}}
                raise _foreign_id(part.at)
            case "url":
                raise invalid(f"{part.at}: this model takes files as data, not by URL; send the file itself", part.at)
            case _:
                assert_never(source.kind)

    def _marks(self, part: TextPart | ImagePart | FilePart | AudioPart | ToolResultPart) -> dict[str, Any]:
        """The end of a cached prefix, where the model lets it be marked; all other marks are reported."""
        found: dict[str, Any] = {}
        for name, value in part.marks.items():
            breakpoint = _breakpoint(name, value) if self._to.quirks.cache_breakpoints else None
            if breakpoint is None:
                self._drops.add(f"{part.at}.{name}")
            else:
                found = {_BREAKPOINT: breakpoint}
        return found

    def _lose_marks(self, part: TextPart | ToolCallPart | ToolResultPart) -> None:
        self._drops.add(*(f"{part.at}.{name}" for name in part.marks))


def _breakpoint(name: str, value: Any) -> Any:
    """The mark ``name`` in Chat's words, None if it has none. ``cache_control`` is the same thing with other lifetimes:
    its 5 minutes are the default of 30, its hour is 12."""
    if not isinstance(value, Mapping):
        return None
    if name == "cache_control":
        return {"mode": "explicit", "ttl": "12h"} if value.get("ttl") == "1h" else {"mode": "explicit"}
    return value if name == _BREAKPOINT else None


def native_members(item: Any, text: str) -> dict[str, Any]:
    """The members of a message that give ``item`` back, which came out of a seal and is not to be trusted: only what a
    reader of Chat could have put in is taken. Members that are lists come before those that the message has."""
    if not isinstance(item, Mapping):
        return {}
    details, field = item.get("reasoning_details"), item.get("field")
    if isinstance(details, list):
        return {"reasoning_details": details}
    if field == TYPED_FIELD:
        return {TYPED_FIELD: [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}] if text else []}
    return {field: text} if field in REASONING_FIELDS else {}


def _content(pieces: Sequence[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """A plain string where it says the same, which every server takes; else the array."""
    if len(pieces) == 1 and pieces[0].keys() == {"type", "text"}:
        return str(pieces[0]["text"])
    return list(pieces)


def _tool_call(part: ToolCallPart, id: str, custom: bool) -> dict[str, Any]:
    """``custom``: custom calls go out as such, not as functions."""
    if part.kind == "custom" and custom:
        return {"id": id, "type": "custom", "custom": {"name": part.name, "input": part.input}}
    if part.kind == "custom":
        function = {"name": part.name, "arguments": wrapped(part.input)}
        return {"id": id, "type": "function", "function": function}
    arguments = part.input if part.input.strip() else _NO_ARGUMENTS  # servers parse it, and "" is no JSON
    return {"id": id, "type": "function", "function": {"name": part.name, "arguments": arguments}}


def _url(source: MediaSource, at: str) -> str:
    match source.kind:
        case "url":
            return source.value
        case "base64":
            return f"data:{source.media_type or 'image/png'};base64,{source.value}"
        case "file_id":
            raise _foreign_id(at)
        case "text":
            raise invalid(f"{at} is no image", at)
        case _:
            assert_never(source.kind)


def _foreign_id(at: str) -> Exception:
    return invalid(f"{at}: a file id is known only to the provider that gave it; send the file itself", at)
