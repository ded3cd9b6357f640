"""Writer of messages as ``input`` items for a Responses provider.

Only the provider's own items have ids, because it rejects unknown ids (Kilo-Org/kilocode#10197) and accepts items
without one.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, assert_never

from providers.neutral.codec import Recipient
from providers.neutral.fields import Drops
from providers.neutral.media import is_audio, is_video
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
    has_cache_marks,
)
from providers.neutral.seal import Issuer, Seal
from providers.neutral.tool_names import short_call_id
from providers.responses.history import ANSWER_MARKS, ENCRYPTED_PART
from providers.responses.output import IMAGE_CALL
from providers.responses.tools import is_own_id
from streams.errors import invalid
from streams.events import ToolKind

Object: TypeAlias = dict[str, Any]

OUTPUT_TYPE: Mapping[ToolKind, str] = {"function": "function_call_output", "custom": "custom_tool_call_output"}

_NEED_FILENAME: Mapping[str | None, str] = {"application/pdf": "document.pdf", "text/plain": "document.txt"}
_BREAKPOINT = "prompt_cache_breakpoint"
_LIFETIME: Mapping[Any, Mapping[str, str]] = {"1h": {"ttl": "12h"}}  # Anthropic's 5 minutes become the default of 30


def unseal_items(seal: Seal, issuer: Issuer) -> list[Object]:
    """Return the reasoning items in ``seal``, none unless ``issuer`` made it for this API. A seal may hold several."""
    if not issuer.is_maker_of(seal) or seal.api != "responses":
        return []
    items = seal.item if isinstance(seal.item, list) else [seal.item]
    return [item for item in items if isinstance(item, dict)]


def count_instructions(request: Request, to: Recipient) -> int:
    """Return the number of leading messages that become ``instructions``.

    For a Chat or Messages client these are its leading instruction texts, for a Responses client only its own
    ``instructions``. A text with a cache mark must stay an item. The last message stays an item too, because OpenAI
    requires input besides instructions (pydantic/pydantic-ai#3470).
    """
    count = 0
    for turn in request.messages:
        plain = turn.role == "system" and all(isinstance(part, TextPart) for part in turn.parts)
        if not plain or (request.api == "responses" and turn.at != "instructions"):
            break
        if any(find_breakpoint(part.marks, to) for part in turn.parts if isinstance(part, TextPart)):
            return 0
        count += 1
    return count if request.api == "responses" else min(count, max(len(request.messages) - 1, 0))


def find_breakpoint(marks: Mapping[str, Any], to: Recipient) -> Mapping[str, Any] | None:
    """Return the ``prompt_cache_breakpoint`` for ``marks``, or ``None``.

    It is the client's own, or follows from Anthropic's ``cache_control`` if the model supports breakpoints
    (garrytan/gbrain#2442).
    """
    if (own := marks.get(_BREAKPOINT)) is not None:
        return own  # type: ignore[no-any-return]
    control = marks.get("cache_control")
    if not to.quirks.cache_breakpoints or not isinstance(control, dict):
        return None
    return {"mode": "explicit", **_LIFETIME.get(control.get("ttl"), {})}


def write_items(request: Request, turns: Iterable[Message], to: Recipient, drops: Drops) -> list[Object]:
    """Return messages as items.

    Adds the paths of parts that the API cannot express to ``drops``; raises a 400 for a part that must not be dropped.
    """
    writing = _InputWriter(request, to, drops)
    for turn in turns:
        writing.turn(turn)
    return writing.items()


class _InputWriter:
    """A writer of items, which records the path of each."""

    def __init__(self, request: Request, to: Recipient, drops: Drops) -> None:
        self._native = request.api == "responses"
        self._keeps_lists = to.quirks.cache_breakpoints and has_cache_marks(request)
        self._to = to
        self._drops = drops
        self._id: Callable[[str], str] = short_call_id if to.quirks.short_call_ids else str
        self._kinds = {
            part.id: part.kind
            for message in request.messages
            for part in message.parts
            if isinstance(part, ToolCallPart)
        }
        self._items: list[tuple[Object, str]] = []
        self._content: list[Object] = []  # the content of the message that is being written
        self._phase: Any = None

    def turn(self, message: Message) -> None:
        if message.name is not None:
            self._drops.add(f"{message.at}.name")
        if self._native and message.native is not None:
            self._add_item(without_own_id(dict(message.native)), message.at, message)
            return
        for part in message.parts:
            self._write_part(part, message)
        self._end_message(message)

    def items(self) -> list[Object]:
        """Return the items without reasoning that no item of the model follows: OpenAI rejects it
        (maximhq/bifrost#5892)."""
        kept: list[Object] = []
        for item, at in reversed(self._items):
            if item.get("type") == "reasoning" and not (kept and _is_model_item(kept[-1])):
                self._drops.add(at)
            else:
                kept.append(item)
        return kept[::-1]

    def _write_part(self, part: Part, message: Message) -> None:
        match part:
            case TextPart() | ImagePart() | FilePart() | AudioPart() | RefusalPart():
                self._add_content(part, message)
            case ToolCallPart(id=id, native=native) | ToolResultPart(call_id=id, native=native) if (
                self._native and native is not None
            ):
                self._add_item(without_own_id({**native, "call_id": self._id(id)}), part.at, message)
            case ToolCallPart():
                own = {"namespace": part.namespace} if self._native and part.namespace else {}
                own |= part.marks if self._native else {}
                self._add_item(_write_call(part, self._id(part.id)) | own, part.at, message)
                self._drops.add(*(f"{part.at}.{name}" for name in part.marks if name not in own))
            case ToolResultPart():
                self._add_item(self._result_item(part), part.at, message)
            case ReasoningPart():
                self._add_reasoning(part, message)
            case NativePart(api=api, kind=kind, item=item):
                if api == "responses" and self._native and kind == ENCRYPTED_PART:
                    self._content.append(dict(item))
                elif api == "responses" and self._native and not is_own_image(item):
                    self._add_item(without_own_id(item), part.at, message)
                else:
                    self._drops.add(part.at)
            case _:
                assert_never(part)

    def _add_item(self, item: Object, at: str, message: Message) -> None:
        self._end_message(message)
        self._items.append((item, at))

    def _end_message(self, turn: Message) -> None:
        if self._content:
            message: Object = {"type": "message", "role": turn.role, "content": self._content}
            if self._phase is not None:
                message["phase"] = self._phase
            self._items.append((message, turn.at))
        self._content, self._phase = [], None

    # Content

    def _add_content(self, part: TextPart | ImagePart | FilePart | AudioPart | RefusalPart, message: Message) -> None:
        if message.role != "assistant":
            self._content += self._user_content(part)
        elif isinstance(part, TextPart):
            self._add_text(part, message)
        elif isinstance(part, RefusalPart):
            self._content += [{"type": "refusal", "refusal": part.text}] if part.text else []
        elif isinstance(part, ImagePart):  # the API has images of a model only as calls that its provider knows by id
            self._drops.add(part.at)
        else:
            raise _unsupported_error(part.at)

    def _add_text(self, part: TextPart, message: Message) -> None:
        phase = part.phase if self._native else None
        known = ANSWER_MARKS if self._native else ()
        self._drops.add(*(f"{part.at}.{name}" for name in part.marks if name not in known))
        if not part.text:
            return
        if phase != self._phase:  # commentary and the final answer are separate messages
            self._end_message(message)
        self._phase = phase
        own = {name: part.marks[name] for name in ANSWER_MARKS if name in part.marks} if self._native else {}
        self._content.append({"type": "output_text", "text": part.text, "annotations": [], **own})

    def _user_content(self, part: TextPart | ImagePart | FilePart | AudioPart | RefusalPart) -> list[Object]:
        """Return a part of a user message or result as content parts, none for an empty text."""
        match part:
            case TextPart(text=text):
                marks = self._accepted_marks(part)
                return [{"type": "input_text", "text": text, **marks}] if text else []
            case FilePart(source=source) if not self._native and (is_audio(source) or is_video(source)):
                raise _unsupported_error(part.at)
            case ImagePart() | FilePart():
                return [{**self._media_part(part), **self._accepted_marks(part)}]
            case AudioPart() if self._native:
                audio = {"data": part.data, "format": part.format}
                return [{"type": "input_audio", "input_audio": audio, **self._accepted_marks(part)}]
            case _:
                raise _unsupported_error(part.at)

    def _accepted_marks(self, part: TextPart | ImagePart | FilePart | AudioPart) -> Object:
        """Return the marks that the API accepts on the part; report the others as dropped."""
        found: Object = {}
        breakpoint = find_breakpoint(part.marks, self._to)
        if breakpoint is not None:
            found[_BREAKPOINT] = breakpoint
        if self._native and "detail" in part.marks:
            found["detail"] = part.marks["detail"]
        kept = {_BREAKPOINT, *found, *(["cache_control"] if breakpoint is not None else [])}
        self._drops.add(*(f"{part.at}.{name}" for name in part.marks if name not in kept))
        return found

    def _media_part(self, part: ImagePart | FilePart) -> Object:
        source = part.source
        if source.kind == "file_id" and not self._native:
            raise invalid(f"{part.at} is a file id of another provider: send the data itself", part.at)
        if isinstance(part, ImagePart):
            return _write_image(source, part)
        return _write_file(source, part)

    # Results and reasoning

    def _result_item(self, part: ToolResultPart) -> Object:
        content = [each for piece in part.parts for each in self._user_content(piece)]
        if part.is_error:  # the API has no flag for errors
            if content and content[0]["type"] == "input_text":
                content = [{**content[0], "text": f"Error: {content[0]['text']}"}, *content[1:]]
            else:
                content = [{"type": "input_text", "text": "Error: "}, *content]
        breakpoint = find_breakpoint(part.marks, self._to) if content else None
        if breakpoint is not None:
            content[-1] = {**content[-1], _BREAKPOINT: breakpoint}
        kept = "cache_control" if breakpoint is not None else ""
        self._drops.add(*(f"{part.at}.{name}" for name in part.marks if name != kept))
        kind = self._kinds.get(part.call_id, part.kind)
        return {"type": OUTPUT_TYPE[kind], "call_id": self._id(part.call_id), "output": self._output_value(content)}

    def _output_value(self, content: list[Object]) -> str | list[Object]:
        """Return a string if all content is text, because some servers accept no list, unless the client
        sent a list or marks."""
        plain = not (content and self._keeps_lists) and all(part.keys() == {"type", "text"} for part in content)
        if plain and (len(content) < 2 or not self._native):
            return "\n".join(part["text"] for part in content)
        return content

    def _add_reasoning(self, part: ReasoningPart, message: Message) -> None:
        items = unseal_items(part.seal, self._to.issuer) if part.seal is not None else []
        native = part.native
        if part.seal is None and self._native and isinstance(native, dict):
            # No provider requires an unsealed item of the gateway's own.
            items = [] if is_own_id(native.get("id")) else [native]
        for item in items:
            self._add_item(item, part.at, message)
        if not items:
            self._drops.add(*part.places)


def without_own_id(item: Object) -> Object:
    """Return ``item`` without an id of the gateway, which providers reject (Kilo-Org/kilocode#10197)."""
    return {name: value for name, value in item.items() if name != "id"} if is_own_id(item.get("id")) else item


def is_own_image(item: Object) -> bool:
    """Return whether ``item`` is an image in a call that the gateway made up for another provider's answer.

    A provider knows only its own calls, by their ids.
    """
    return item.get("type") == IMAGE_CALL and is_own_id(item.get("id"))


def _unsupported_error(at: str) -> Exception:
    return invalid(f"{at} is not supported by this model's provider here: remove it", at)


def _is_model_item(item: Object) -> bool:
    if item.get("type") == "message":
        return item.get("role") == "assistant"
    return not str(item.get("type")).endswith("_output")


def _write_call(part: ToolCallPart, id: str) -> Object:
    if part.kind == "custom":
        return {"type": "custom_tool_call", "call_id": id, "name": part.name, "input": part.input}
    arguments = part.input if part.input.strip() else "{}"
    return {"type": "function_call", "call_id": id, "name": part.name, "arguments": arguments}


def _write_image(source: MediaSource, part: ImagePart) -> Object:
    item: Object = {"type": "input_image", "detail": part.detail or "auto"}
    match source.kind:
        case "url":
            item["image_url"] = source.value
        case "base64":
            item["image_url"] = _data_url(source, "image/png")
        case "file_id":
            item["file_id"] = source.value
        case "text":
            raise invalid(f"{part.at} must be an image", part.at)
        case _:
            assert_never(source.kind)
    return item


def _write_file(source: MediaSource, part: FilePart) -> Object:
    item: Object = {"type": "input_file"}
    match source.kind:
        case "text":
            head = f"{part.filename}:\n" if part.filename else ""
            return {"type": "input_text", "text": head + source.value}
        case "url":
            return item | {"file_url": source.value}
        case "file_id":
            return item | {"file_id": source.value}
        case "base64":
            name = part.filename or _NEED_FILENAME.get(source.media_type, "document.pdf")
            return item | {"filename": name, "file_data": _data_url(source, "application/pdf")}
        case _:
            assert_never(source.kind)


def _data_url(source: MediaSource, default: str) -> str:
    return f"data:{source.media_type or default};base64,{source.value}"
