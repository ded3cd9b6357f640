"""Readers of the content blocks of a client's Messages request, in tables by block type."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from providers.messages.adapting import reference_text, without_own_citations
from providers.neutral.fields import Drops, Fields, expect, join_path
from providers.neutral.media import url_source
from providers.neutral.request import (
    NO_MARKS,
    FilePart,
    ImagePart,
    MediaSource,
    NativePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    result_part,
)
from providers.neutral.seal import PREFIX, unseal
from providers.neutral.tool_names import original_id
from streams.errors import GatewayError, invalid

# The marks of each kind of block: a Messages provider receives them back, other APIs have none.
TOOL_MARKS = ("cache_control", "defer_loading", "allowed_callers", "input_examples", "eager_input_streaming")
CALL_MARKS = ("cache_control", "caller", "toolset_name")
RESULT_MARKS = ("cache_control", "toolset_name")
DOCUMENT_MARKS = ("cache_control", "citations", "context")
IMAGE_MARKS = ("cache_control", "transformations")
TEXT_MARKS = ("cache_control", "citations")
DIRECT_CALLER = {"type": "direct"}  # the caller of nearly all calls: the model itself, the same as no caller


def read_blocks(value: Any, at: str, known: "Mapping[str, _ReadBlock]", drops: Drops) -> list[Part]:
    parts: list[Part] = []
    for i, item in enumerate(expect(value, list, at)):
        fields = Fields.of(item, join_path(at, i))
        kind = fields.need("type", str)
        read = known.get(kind)
        if read is None:  # server tools, container uploads, unknown types: whole, for a Messages provider
            parts.append(NativePart("messages", kind, item, fields.at))
            continue
        parts.extend(read(fields, drops))
        drops.add_unread(fields)
    return parts


def read_marks(fields: Fields, names: tuple[str, ...]) -> Mapping[str, Any]:
    found = {name: value for name in names if (value := fields.value(name)) is not None}
    return found or NO_MARKS


def _read_text(fields: Fields, drops: Drops) -> Iterator[Part]:
    fields.ignore("citations")
    cited = without_own_citations(fields.value("citations"))  # an earlier answer may have an empty list
    marks = {**read_marks(fields, TEXT_MARKS[:1]), **({"citations": cited} if cited else {})} or NO_MARKS
    yield TextPart(fields.need("text", str), fields.at, marks)


def _read_image(fields: Fields, drops: Drops) -> Iterator[Part]:
    source = Fields.of(fields.need("source", dict), fields.path("source"))
    found = _read_media(source, drops)
    if found is None:
        raise _unknown_source_error(source)
    yield ImagePart(found, at=fields.at, marks=read_marks(fields, IMAGE_MARKS))


def _read_document(fields: Fields, drops: Drops) -> Iterator[Part]:
    source = Fields.of(fields.need("source", dict), fields.path("source"))
    title, marks = fields.string("title"), read_marks(fields, DOCUMENT_MARKS)
    if (found := _read_media(source, drops)) is not None:
        yield FilePart(found, title, fields.at, marks)
        return
    if source.string("type") != "content":
        raise _unknown_source_error(source)
    parts = _read_content(source, drops)
    drops.add_unread(source)
    text = "\n\n".join(_texts(parts, drops))
    yield FilePart(MediaSource("text", text, "text/plain"), title, fields.at, marks)
    yield from (part for part in parts if not isinstance(part, TextPart))


def _read_media(source: Fields, drops: Drops) -> MediaSource | None:
    """Return the source of an image or document, or ``None`` for an unknown type."""
    match source.need("type", str):
        case "base64" | "text" as kind:
            found = MediaSource(kind, source.need("data", str), source.string("media_type"))
        case "url":
            found = url_source(source.need("url", str), source.path("url"))
        case "file":
            found = MediaSource("file_id", source.need("file_id", str))
        case _:
            return None
    drops.add_unread(source)
    return found


def _unknown_source_error(source: Fields) -> GatewayError:
    at = source.path("type")
    return invalid(f'{at} "{source.data["type"]}" is not known: use base64, url or file', at)


def _read_search_result(fields: Fields, drops: Drops) -> Iterator[Part]:
    title, source = fields.need("title", str), fields.need("source", str)
    texts = _texts(_read_content(fields, drops), drops)
    yield TextPart("\n\n".join([f"{title}\n{source}", *texts]), fields.at, read_marks(fields, ("cache_control",)))


def _texts(parts: Iterable[Part], drops: Drops) -> list[str]:
    """Return the texts among ``parts``. They become one text, so their own marks are dropped."""
    texts = [part for part in parts if isinstance(part, TextPart)]
    drops.add(*(join_path(text.at, mark) for text in texts for mark in text.marks))
    return [text.text for text in texts]


def _read_tool_reference(fields: Fields, drops: Drops) -> Iterator[Part]:
    yield TextPart(reference_text(fields.need("tool_name", str)), fields.at, read_marks(fields, ("cache_control",)))


def _read_content(fields: Fields, drops: Drops) -> list[TextPart | ImagePart | FilePart]:
    """Return the ``content`` of a block: a string, a list of blocks or nothing."""
    value, at = fields.value("content"), fields.path("content")
    if value is None:
        return []
    if isinstance(value, str):
        return [TextPart(value, at)]
    return [result_part(part) for part in read_blocks(value, at, INNER, drops)]


def _read_thinking(fields: Fields, drops: Drops) -> Iterator[Part]:
    fields.ignore(*fields.data)
    if fields.data["type"] == "redacted_thinking":
        text, opaque = "", fields.need("data", str)
    else:
        text, opaque = fields.string("thinking") or "", fields.string("signature") or ""
    if not opaque.startswith(PREFIX):
        yield ReasoningPart(text, native=fields.data, at=fields.at)
    elif (found := unseal(opaque)) is not None:
        yield ReasoningPart(text, found, at=fields.at)
    else:  # a truncated or changed seal is useless
        drops.add(fields.at)


def _read_tool_use(fields: Fields, drops: Drops) -> Iterator[Part]:
    value = fields.value("input")
    text = msgspec.json.encode({} if value is None else value).decode()
    fields.ignore("caller")
    known = (mark for mark in CALL_MARKS if fields.data.get(mark) != DIRECT_CALLER)
    name, marks = fields.need("name", str), read_marks(fields, tuple(known))
    yield ToolCallPart(original_id(fields.need("id", str)), name, text, at=fields.at, marks=marks)


def _read_tool_result(fields: Fields, drops: Drops) -> Iterator[Part]:
    id, failed = original_id(fields.need("tool_use_id", str)), fields.boolean("is_error") or False
    parts = tuple(_read_content(fields, drops))
    yield ToolResultPart(id, parts, failed, at=fields.at, marks=read_marks(fields, RESULT_MARKS))


_ReadBlock: TypeAlias = Callable[[Fields, Drops], Iterator[Part]]
INNER: Mapping[str, _ReadBlock] = {
    "text": _read_text,
    "image": _read_image,
    "document": _read_document,
    "search_result": _read_search_result,
    "tool_reference": _read_tool_reference,
}
BLOCKS: Mapping[str, _ReadBlock] = {
    **INNER,
    "thinking": _read_thinking,
    "redacted_thinking": _read_thinking,
    "tool_use": _read_tool_use,
    "tool_result": _read_tool_result,
}
