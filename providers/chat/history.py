"""Reader of the messages of a Chat Completions request, including seals in their reasoning."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import attrs

from providers.neutral.fields import Drops, Fields, join_path
from providers.neutral.media import audio_format, audio_type, file_type, is_data_url, url_source, video_type
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
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from providers.neutral.seal import PREFIX, unseal
from streams.errors import invalid
from streams.events import ToolKind

MARKS = ("cache_control", "prompt_cache_breakpoint")
_REASONING: Final = ("reasoning_content", "reasoning", "reasoning_details")


def read_marks(fields: Fields) -> dict[str, Any]:
    """Return the client's cache marks on a part or a tool."""
    return {name: value for name in MARKS if (value := fields.value(name)) is not None}


@attrs.define(repr=False)
class _History:
    """Facts from earlier messages that later messages need."""

    drops: Drops
    kinds: dict[str, ToolKind] = attrs.field(factory=dict)  # by call id
    functions: dict[str, str] = attrs.field(factory=dict)  # legacy calls: by name, the id assigned to the last one
    legacy_calls: int = 0


def read_messages(fields: Fields, drops: Drops) -> tuple[Message, ...]:
    """Return the messages. Raises a 400 if the list is empty or a message is malformed."""
    if not fields.need("messages", list):
        raise invalid("messages must not be empty", "messages")
    history = _History(drops)
    return tuple(_read_message(message, history) for message in fields.objects("messages"))


def _read_message(message: Fields, history: _History) -> Message:
    role = message.need("role", str)
    if role not in _READERS:
        at = message.path("role")
        raise invalid(f"{at} must be one of {', '.join(_READERS)}, not {role!r}", at)
    neutral_role, read = _READERS[role]
    name = None if role in ("function", "tool") else message.string("name")
    parts = _move_marks_to_last(tuple(read(message, history)), read_marks(message), message.at)
    history.drops.add_unread(message)
    return Message(neutral_role, parts, at=message.at, name=name)


def _move_marks_to_last(parts: tuple[Part, ...], marks: Mapping[str, Any], at: str) -> tuple[Part, ...]:
    """Return ``parts`` with a mark next to ``role`` (as OpenCode sends it) moved to the last part.

    If dropped, the mark is reported at the message, or at the part if the part itself cannot be translated.
    """
    last = parts[-1] if parts else None
    if not marks or not isinstance(last, TextPart | ImagePart | FilePart | AudioPart | ToolCallPart | ToolResultPart):
        return parts
    place = at if isinstance(last, TextPart | ToolCallPart | ToolResultPart) else last.at
    return (*parts[:-1], attrs.evolve(last, at=place, marks={**last.marks, **marks}))


def _read_instruction(message: Fields, history: _History) -> Iterator[Part]:
    yield from _read_content(message, history, {"text": _read_text})


def _read_user(message: Fields, history: _History) -> Iterator[Part]:
    yield from _read_content(message, history, _PARTS)


def _read_assistant(message: Fields, history: _History) -> Iterator[Part]:
    message.ignore("annotations")  # clients send them back with an earlier answer
    yield from _read_reasoning(_reasoning_holder(message), history.drops)
    if message.data.get("content") is not None:
        yield from _read_content(message, history, _ASSISTANT_PARTS)
    message.ignore("content")
    if refusal := message.string("refusal"):
        yield RefusalPart(refusal, message.path("refusal"))
    yield from _read_made_images(message)
    for call in message.objects("tool_calls"):
        yield _read_call(call, history)
    if (function := message.object("function_call")) is not None:
        name = function.need("name", str)
        history.legacy_calls += 1  # counted, not random, so that prompt caches see the same prefix
        id = history.functions[name] = f"call_function_{history.legacy_calls}"
        yield ToolCallPart(id, name, function.string("arguments") or "", at=function.at)
        history.drops.add_unread(function)


def _read_made_images(message: Fields) -> Iterator[NativePart]:
    """Yield the images of an earlier answer, in OpenRouter's form. A malformed list is left unread."""
    images = message.data.get("images")
    if isinstance(images, list) and all(isinstance(image, dict) for image in images):
        message.ignore("images")
        yield from (NativePart("chat", "image_url", image, message.path("images")) for image in images)


def _read_call(call: Fields, history: _History) -> ToolCallPart:
    kind = call.string("type") or ("custom" if "custom" in call.data else "function")
    if kind not in ("function", "custom"):
        raise invalid(f"{call.path('type')} must be function or custom, not {kind!r}", call.path("type"))
    id = call.need("id", str)
    inner = Fields.of(call.need(kind, dict), call.path(kind))
    name = inner.need("name", str)
    call.ignore("index")  # left over by clients that assemble streamed fragments
    own: ToolKind = "custom" if kind == "custom" else "function"
    history.kinds[id] = own
    text = inner.string("input" if own == "custom" else "arguments") or ""
    part = ToolCallPart(id, name, text, own, at=call.at, marks=read_marks(call))
    history.drops.add_unread(call)
    history.drops.add_unread(inner)
    return part


def _read_tool(message: Fields, history: _History) -> Iterator[Part]:
    id = message.need("tool_call_id", str)
    message.ignore("name")  # the function's, in older examples; calls and results match by id
    yield ToolResultPart(id, _read_result(message, history), kind=history.kinds.get(id, "function"), at=message.at)


def _read_function(message: Fields, history: _History) -> Iterator[Part]:
    """Yield the result of a legacy call, which is matched by name."""
    name = message.need("name", str)
    yield ToolResultPart(history.functions.get(name, f"call_{name}"), _read_result(message, history), at=message.at)


def _read_result(message: Fields, history: _History) -> tuple[TextPart | ImagePart | FilePart, ...]:
    if message.data.get("content") is None:
        message.ignore("content")
        return ()
    parts = tuple(_read_content(message, history, _RESULT_PARTS))
    return tuple(part for part in parts if isinstance(part, TextPart | ImagePart | FilePart))


_READERS: Mapping[str, tuple[Role, Callable[[Fields, _History], Iterator[Part]]]] = {
    "system": ("system", _read_instruction),
    "developer": ("developer", _read_instruction),
    "user": ("user", _read_user),
    "assistant": ("assistant", _read_assistant),
    "tool": ("user", _read_tool),
    "function": ("user", _read_function),
}


def _read_content(message: Fields, history: _History, readers: "_PartReaders") -> Iterator[Part]:
    """Yield the parts of ``content``, a string or an array. Raises a 400 for a part that the role cannot have."""
    content, at = message.value("content"), message.path("content")
    if isinstance(content, str):
        yield TextPart(content, at)
        return
    if not isinstance(content, list):
        raise invalid(f"{at} must be a string or an array", at)
    for i, value in enumerate(content):
        part = Fields.of(value, join_path(at, i))
        kind = part.need("type", str)
        if kind not in readers:
            known = ", ".join(readers)
            raise invalid(f"{part.at} is a {kind!r} part; only {known} can be translated here", part.at)
        yield readers[kind](part, history.drops)
        history.drops.add_unread(part)


def _read_text(part: Fields, drops: Drops) -> TextPart:
    return TextPart(part.need("text", str), part.at, read_marks(part))


def _read_answer_text(part: Fields, drops: Drops) -> TextPart:
    part.ignore("annotations", "role", "tool_calls", *_REASONING)
    return _read_text(part, drops)


def _read_refusal(part: Fields, drops: Drops) -> RefusalPart:
    return RefusalPart(part.need("refusal", str), part.at)


def _read_thinking(part: Fields, drops: Drops) -> ReasoningPart:
    """Return Mistral's reasoning, which is a content part."""
    pieces = part.value("thinking")
    texts = [piece.get("text") for piece in pieces if isinstance(piece, dict)] if isinstance(pieces, list) else [pieces]
    part.ignore("closed")
    text = "".join(text for text in texts if isinstance(text, str))
    return ReasoningPart(text, native={"content": [part.data]}, at=part.at)


def _read_image(part: Fields, drops: Drops) -> ImagePart:
    if isinstance(part.data.get("image_url"), str):  # several servers accept a string
        return ImagePart(
            url_source(part.need("image_url", str), part.path("image_url")), None, part.at, read_marks(part)
        )
    inner = Fields.of(part.need("image_url", dict), part.path("image_url"))
    source, detail = url_source(inner.need("url", str), inner.path("url")), inner.string("detail")
    drops.add_unread(inner)
    return ImagePart(source, detail, part.at, read_marks(part))


def _read_audio(part: Fields, drops: Drops) -> AudioPart:
    inner = Fields.of(part.need("input_audio", dict), part.path("input_audio"))
    data, sort = inner.need("data", str), inner.need("format", str)
    drops.add_unread(inner)
    return AudioPart(data, sort, part.at, read_marks(part))


def _read_video(part: Fields, drops: Drops) -> FilePart:
    """Return a video, a part that vLLM and OpenRouter have, and that the Vercel AI SDK sends."""
    inner = Fields.of(part.need("video_url", dict), part.path("video_url"))
    source = url_source(inner.need("url", str), inner.path("url"))
    drops.add_unread(inner)
    return FilePart(attrs.evolve(source, media_type=video_type(source)), None, part.at, read_marks(part))


def _read_audio_url(part: Fields, drops: Drops) -> AudioPart | FilePart:
    """Return a sound, as data or as a link, a part that vLLM has."""
    inner = Fields.of(part.need("audio_url", dict), part.path("audio_url"))
    source = url_source(inner.need("url", str), inner.path("url"))
    drops.add_unread(inner)
    media_type = audio_type(source)
    if source.kind == "base64":
        return AudioPart(source.value, audio_format(media_type), part.at, read_marks(part))
    return FilePart(attrs.evolve(source, media_type=media_type), None, part.at, read_marks(part))


def _read_file(part: Fields, drops: Drops) -> FilePart:
    inner = Fields.of(part.need("file", dict), part.path("file"))
    name, data, id = inner.string("filename"), inner.string("file_data"), inner.string("file_id")
    if data is not None:
        source = _file_source(data, name, inner.path("file_data"))
    elif id is not None:
        source = MediaSource("file_id", id)
    else:
        raise invalid(f"{inner.at} needs file_data or file_id", inner.at)
    drops.add_unread(inner)
    return FilePart(source, name, part.at, read_marks(part))


_PartReaders: TypeAlias = Mapping[str, Callable[[Fields, Drops], Part]]
_RESULT_PARTS: _PartReaders = {"text": _read_text, "image_url": _read_image, "file": _read_file}
_PARTS: _PartReaders = {
    **_RESULT_PARTS, "input_audio": _read_audio, "audio_url": _read_audio_url, "video_url": _read_video,
}  # fmt: skip
_ASSISTANT_PARTS: _PartReaders = {"text": _read_answer_text, "refusal": _read_refusal, "thinking": _read_thinking}


def _file_source(data: str, name: str | None, at: str) -> MediaSource:
    """Return ``file_data`` as a source: a ``data:`` URL, or bare base64 whose type follows from its file name."""
    source = url_source(data, at) if is_data_url(data) else MediaSource("base64", data)
    return attrs.evolve(source, media_type=file_type(name, source.media_type, source.value))


def _reasoning_holder(message: Fields) -> Fields:
    """Return the object with the reasoning of ``message``: itself, or its first text part that has some.

    OpenAI's Agents SDK for JavaScript repeats the members of an answer in its text (openai/openai-agents-js#1064).
    """
    content, at = message.data.get("content"), message.path("content")
    if isinstance(content, list) and not any(message.data.get(name) for name in _REASONING):
        for i, part in enumerate(content):
            if isinstance(part, dict) and part.get("type") == "text" and any(part.get(name) for name in _REASONING):
                return Fields(part, join_path(at, i))
    return message


def _read_reasoning(message: Fields, drops: Drops) -> Iterator[ReasoningPart]:
    """Yield the reasoning that the client sends back: unsealed, or as native Chat members."""
    texts = {name: text for name in _REASONING[:2] if (text := message.string(name))}
    text = next(iter(texts.values()), "")
    details = message.array("reasoning_details") or []
    at = message.path("reasoning_details")
    sealed: list[ReasoningPart] = []
    native: list[Any] = []
    for i, detail in enumerate(details):
        data = detail.get("data") if isinstance(detail, dict) else None
        if not (isinstance(data, str) and data.startswith(PREFIX)):
            native.append(detail)
        elif (seal := unseal(data)) is None:
            drops.add(join_path(at, i))
        else:
            items = seal.item if isinstance(seal.item, list) else [seal.item]  # an answer's are sealed together
            sealed += (ReasoningPart("", attrs.evolve(seal, item=item), at=join_path(at, i)) for item in items)
    if sealed:  # the readable text belongs to the sealed item
        yield attrs.evolve(sealed[0], text=text)
        yield from sealed[1:]
    members: dict[str, Any] = {} if sealed else dict(texts)
    if native:
        members["reasoning_details"] = native
    if members:
        place, *beside = map(message.path, members)
        yield ReasoningPart("" if sealed else text, native=members, at=place, beside=tuple(beside))
