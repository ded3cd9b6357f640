"""Writers of message parts for Chat providers: texts, media, tool calls, results, reasoning and cache marks."""

import mimetypes
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, assert_never

import attrs

from providers.neutral.codec import Recipient
from providers.neutral.fields import Drops
from providers.neutral.made_images import turn_images
from providers.neutral.media import is_audio, is_video
from providers.neutral.quirks import Quirks
from providers.neutral.request import (
    AudioPart,
    FilePart,
    ImagePart,
    MediaSource,
    NativePart,
    Part,
    ReasoningPart,
    RefusalPart,
    Request,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    has_cache_marks,
)
from providers.neutral.seal import Issuer
from providers.neutral.texts import join_texts
from providers.neutral.tool_names import short_call_id, wrap_text
from streams.errors import invalid


@attrs.frozen(eq=False, repr=False, slots=False)  # created for each request; cheaper to construct without slots
class PartsTarget:
    """The facts that decide how parts are written; ``drops`` collects what Chat cannot express."""

    api: str
    """The client's API."""
    quirks: Quirks
    issuer: Issuer
    drops: Drops
    call_id: Callable[[str], str]
    """A function that returns the provider's form of a tool call's id."""
    keeps_lists: bool = False
    """True if texts stay in lists, because marks move from part to part."""

    @classmethod
    def of(cls, request: Request, to: Recipient, drops: Drops) -> "PartsTarget":
        call_id: Callable[[str], str] = short_call_id if to.quirks.short_call_ids else str
        keeps_lists = to.quirks.cache_breakpoints and has_cache_marks(request)
        return cls(request.api, to.quirks, to.issuer, drops, call_id, keeps_lists)


_BREAKPOINT = "prompt_cache_breakpoint"


def write_marks(to: PartsTarget, part: TextPart | ImagePart | FilePart | AudioPart | ToolResultPart) -> dict[str, Any]:
    """Return the mark for the end of a cached prefix, if the model accepts it; all other marks are dropped."""
    found: dict[str, Any] = {}
    for name, value in part.marks.items():
        breakpoint = _chat_breakpoint(name, value) if to.quirks.cache_breakpoints else None
        if breakpoint is None:
            to.drops.add(f"{part.at}.{name}")
        else:
            found = {_BREAKPOINT: breakpoint}
    return found


def drop_marks(to: PartsTarget, part: TextPart | ToolCallPart | ToolResultPart) -> None:
    """Report the marks of a part that cannot have any in Chat."""
    to.drops.add(*(f"{part.at}.{name}" for name in part.marks))


def _chat_breakpoint(name: str, value: Any) -> Any:
    """Return the mark ``name`` in Chat's form, or None.

    ``cache_control`` differs in its lifetimes only: 5 minutes become the default of 30, one hour becomes 12.
    """
    if not isinstance(value, Mapping):
        return None
    if name == "cache_control":
        return {"mode": "explicit", "ttl": "12h"} if value.get("ttl") == "1h" else {"mode": "explicit"}
    return value if name == _BREAKPOINT else None


def write_medium(to: PartsTarget, part: ImagePart | FilePart | AudioPart) -> dict[str, Any]:
    """Return the content part of a medium. Raises a 400 if it cannot be sent."""
    match part:
        case ImagePart(source=source, detail=detail):
            image = {"url": _media_url(source, part.at)}
            if detail == "original" and not to.quirks.original_images:
                to.drops.add(f"{part.at}.detail")
                detail = "high"
            return {"type": "image_url", "image_url": image | ({"detail": detail} if detail else {})}
        case FilePart(source=source):
            return _write_file(to, part, source)
        case AudioPart(data=data, format=format):
            return {"type": "input_audio", "input_audio": {"data": data, "format": format}}
        case _:
            assert_never(part)


def write_made_images(to: PartsTarget, part: NativePart | ImagePart) -> list[dict[str, Any]]:
    """Return the images that ``part`` of a model's turn has, if the provider accepts them. Drop any other part."""
    if to.quirks.message_images:
        if isinstance(part, NativePart) and part.api == "chat":  # may be a link
            return [{name: value for name, value in part.item.items() if name != "index"}]
        if images := [one for one in turn_images(part, to.drops) if one.source.kind in ("base64", "url")]:
            return [{"type": "image_url", "image_url": {"url": _media_url(one.source, one.at)}} for one in images]
    to.drops.add(part.at)
    return []


def numbered_images(images: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the member of a message with its ``images``, ``{}`` without any."""
    return {"images": [{"index": number, **image} for number, image in enumerate(images)]} if images else {}


def _write_file(to: PartsTarget, part: FilePart, source: MediaSource) -> dict[str, Any]:
    if source.kind in ("base64", "url") and is_video(source):
        return {"type": "video_url", "video_url": {"url": _media_url(source, part.at)}}
    if source.kind == "url" and is_audio(source):
        return {"type": "audio_url", "audio_url": {"url": source.value}}
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
            if to.api == "chat":
                return {"type": "file", "file": {"file_id": source.value}}
            raise _foreign_file_error(part.at)
        case "url":
            raise invalid(
                f"{part.at}: this model supports files only as data, not by URL; send the file itself", part.at
            )
        case _:
            assert_never(source.kind)


def _media_url(source: MediaSource, at: str) -> str:
    match source.kind:
        case "url":
            return source.value
        case "base64":
            return f"data:{source.media_type or 'image/png'};base64,{source.value}"
        case "file_id":
            raise _foreign_file_error(at)
        case "text":
            raise invalid(f"{at} is not an image", at)
        case _:
            assert_never(source.kind)


def _foreign_file_error(at: str) -> Exception:
    return invalid(f"{at}: a file id works only at the provider that issued it; send the file itself", at)


def write_content(to: PartsTarget, part: Part, role: str) -> Iterator[dict[str, Any]]:
    """Yield at most one content part for a part of a message that is not the assistant's."""
    match part:
        case ToolResultPart():
            pass  # already written
        case TextPart(text=text):
            if text:
                yield {"type": "text", "text": text, **write_marks(to, part)}
            else:
                drop_marks(to, part)
        case ImagePart() | FilePart() | AudioPart():
            if role != "user":
                raise invalid(f"{part.at}: only text can be an instruction for this model", part.at)
            yield write_medium(to, part) | write_marks(to, part)
        case ReasoningPart():
            to.drops.add(*part.places)
        case NativePart() | RefusalPart() | ToolCallPart():
            to.drops.add(part.at)
        case _:
            assert_never(part)


def simplify_content(to: PartsTarget, pieces: Sequence[dict[str, Any]], role: str) -> str | list[dict[str, Any]]:
    """Return the texts of a message as one if the server may reject a list, or always for one text.

    The results of tools are always one text, because templates lose a list without an error, and some servers reject it
    (vllm-project/vllm#39899, strands-agents/harness-sdk#1696, MoonshotAI/kimi-cli#1771)."""
    is_other = any(piece.keys() != {"type", "text"} for piece in pieces)
    if is_other or (to.keeps_lists and pieces) or (len(pieces) > 1 and to.quirks.text_lists and role != "tool"):
        return list(pieces)
    return join_texts(role, [piece["text"] for piece in pieces])


_NO_ARGUMENTS = "{}"


def sends_custom_tools(api: str) -> bool:
    """Return whether custom tools of a client of ``api`` are sent as such.

    A Chat client that declares one knows its provider. For other clients they become functions, as most servers accept
    nothing else.
    """
    return api == "chat"


def write_call(to: PartsTarget, part: ToolCallPart) -> dict[str, Any]:
    """Return a call of a function or custom tool, without marks."""
    drop_marks(to, part)
    id = to.call_id(part.id)
    if part.kind == "custom" and sends_custom_tools(to.api):
        return {"id": id, "type": "custom", "custom": {"name": part.name, "input": part.input}}
    if part.kind == "custom":
        function = {"name": part.name, "arguments": wrap_text(part.input)}
        return {"id": id, "type": "function", "function": function}
    arguments = part.input if part.input.strip() else _NO_ARGUMENTS  # servers parse it, and "" is not valid JSON
    return {"id": id, "type": "function", "function": {"name": part.name, "arguments": arguments}}


_ERROR = "Error: "


def write_result(to: PartsTarget, part: ToolResultPart) -> dict[str, Any]:
    """Return a tool's result. It holds only text; an error has no flag in Chat and is expressed in words."""
    pieces: list[dict[str, Any]] = []
    for piece in part.parts:
        if isinstance(piece, TextPart):
            pieces.extend(write_content(to, piece, "tool"))
    if part.is_error:
        first = pieces[0] if pieces else {"type": "text", "text": ""}
        pieces[:1] = [{**first, "text": _ERROR + first["text"]}]
    if pieces:
        pieces[-1] |= write_marks(to, part)
    else:
        drop_marks(to, part)
    return {
        "role": "tool",
        "tool_call_id": to.call_id(part.call_id),
        "content": simplify_content(to, pieces, "tool"),
    }


def write_result_media(to: PartsTarget, part: ToolResultPart) -> Iterator[dict[str, Any]]:
    """Yield a result's images and files, for a user message after all results (Zoo-Code-Org/Zoo-Code#1705)."""
    for piece in part.parts:
        if isinstance(piece, ImagePart | FilePart):
            sort = "Image" if isinstance(piece, ImagePart) else "File"
            yield {"type": "text", "text": f"{sort} from tool {to.call_id(part.call_id)}:"}
            yield write_medium(to, piece) | write_marks(to, piece)


USUAL_FIELD = "reasoning_content"
"""The member in which clients receive reasoning text, and most servers accept it back."""

REASONING_FIELDS = (USUAL_FIELD, "reasoning")
"""The members in which servers accept the text of earlier reasoning."""

TYPED_FIELD = "content"
"""The member in which reasoning is a part among the text (Mistral)."""


EXTRA = "extra_content"
"""The member of a tool call with its thought signature, which Gemini 3 requires back
(https://ai.google.dev/gemini-api/docs/thought-signatures, earendil-works/pi#8590)."""

CALL_EXTRA = "tool_call.extra_content"
"""The type of the one of the ``reasoning_details`` that has the ``EXTRA`` of a call, by the call's ``id``."""


def move_extras(to: PartsTarget, reasoning: dict[str, Any], calls: Iterable[dict[str, Any]]) -> None:
    """Move each ``EXTRA`` among the members ``reasoning`` of a message to its call."""
    details = reasoning.get("reasoning_details", ())
    extras = {to.call_id(one["id"]): one[EXTRA] for one in details if _is_extra(one)}
    if not extras:
        return
    reasoning["reasoning_details"] = [one for one in details if not _is_extra(one)]
    if not reasoning["reasoning_details"]:
        del reasoning["reasoning_details"]
    for call in calls:
        if call["id"] in extras:
            call[EXTRA] = extras[call["id"]]


def _is_extra(detail: Any) -> bool:
    """Return whether one of the ``reasoning_details`` is an ``EXTRA``. It came out of a seal and is not trusted."""
    return (
        isinstance(detail, dict)
        and detail.get("type") == CALL_EXTRA
        and isinstance(detail.get("id"), str)
        and isinstance(detail.get(EXTRA), dict)
    )


def write_reasoning(to: PartsTarget, parts: Iterable[ReasoningPart]) -> dict[str, Any]:
    """Return the members that send reasoning back; reasoning of other providers is dropped (anomalyco/opencode#24722,
    openclaw/openclaw#92201)."""
    members: dict[str, list[Any]] = {}
    for part in parts:
        native = _native_reasoning(to, part)
        if not native:
            to.drops.add(*part.places)
        for field, value in native.items():
            members.setdefault(field, []).append(value)
    return {field: _join_values(values) for field, values in members.items()}


def _join_values(values: Sequence[Any]) -> Any:
    """Return texts or lists as one, in linear time."""
    if len(values) == 1:
        return values[0]
    return "".join(values) if isinstance(values[0], str) else list(chain.from_iterable(values))


def _native_reasoning(to: PartsTarget, part: ReasoningPart) -> dict[str, Any]:
    """Return the reasoning as members of a Chat message, or ``{}`` if another provider issued it."""
    if part.seal is not None:
        seal = part.seal
        return native_members(seal.item, part.text) if seal.api == "chat" and to.issuer.is_maker_of(seal) else {}
    if to.api != "chat" or not isinstance(part.native, dict):
        return {}
    native, field = dict(part.native), to.quirks.reasoning_field
    if "reasoning_details" in native:  # they include the text, which the gateway added
        native.pop(USUAL_FIELD, None)
    elif USUAL_FIELD in native and field not in native:  # the gateway renamed it from the provider's name
        native[field] = native.pop(USUAL_FIELD)
    return native


def native_members(item: Any, text: str) -> dict[str, Any]:
    """Return the message members for ``item``, which came out of a seal and is not trusted.

    Only members that a Chat reader could have sealed are accepted. Lists precede those that the message already has.
    """
    if not isinstance(item, Mapping):
        return {}
    details, field = item.get("reasoning_details"), item.get("field")
    if isinstance(details, list):
        return {"reasoning_details": details}
    if field == TYPED_FIELD:
        return {TYPED_FIELD: [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}] if text else []}
    return {field: text} if field in REASONING_FIELDS else {}


def complete_reasoning(messages: Iterable[dict[str, Any]], field: str) -> None:
    """Add ``field`` to every assistant message after the first with reasoning, because DeepSeek requires it
    (anomalyco/opencode#24722, RooCodeInc/Roo-Code#12195)."""
    seen = False
    for message in messages:
        if message["role"] == "assistant":
            has = any(name in message for name in REASONING_FIELDS)
            seen = seen or has
            if seen and not has:
                message[field] = ""
