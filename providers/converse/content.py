"""Readers of the content blocks of a client's Converse request, in tables by the member that determines the kind."""

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from providers.converse.media import DOCUMENT_FORMATS
from providers.neutral.fields import Drops, Fields, expect, join_path
from providers.neutral.media import url_source
from providers.neutral.request import (
    NO_MARKS,
    AudioPart,
    FilePart,
    ImagePart,
    MediaSource,
    NativePart,
    Part,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
    result_part,
)
from providers.neutral.seal import is_sealed, unseal
from providers.neutral.tool_names import original_id
from streams.errors import invalid

CACHE_MARK: Final = "cache_control"
"""The mark on the last part of a cached prefix, under the name that most APIs use."""

_TYPES: Final = {format: type for type, format in DOCUMENT_FORMATS.items()} | {"three_gp": "video/3gpp"}
"""Media types by the API's format names; those of images and videos have the same names."""

_MARKABLE: Final = (TextPart, ImagePart, FilePart, AudioPart, ToolCallPart, ToolResultPart, Tool)

_ReadBlock: TypeAlias = Callable[[Any, str, Drops], Iterator[Part]]


def cache_mark(point: Fields) -> Mapping[str, Any]:
    """Return the mark that a ``cachePoint`` represents: a separate block after the cached content."""
    ttl = point.string("ttl")
    return {"type": "ephemeral", **({"ttl": ttl} if ttl else {})}


def read_blocks(value: Any, at: str, known: Mapping[str, _ReadBlock], drops: Drops) -> list[Part]:
    """Return the parts in the blocks of ``value``. Each block is an object with one member, whose name selects the
    reader in ``known``."""
    parts: list[Part] = []
    for i, item in enumerate(expect(value, list, at)):
        place = join_path(at, i)
        for kind, inner in expect(item, dict, place).items():
            if inner is None:
                continue
            if kind == "cachePoint":
                mark_last(parts, Fields.of(inner, join_path(place, kind)), drops)
            elif (read := known.get(kind)) is not None:
                parts.extend(read(inner, place, drops))
            else:  # unknown types: whole, for a Converse provider
                parts.append(NativePart("converse", kind, {kind: inner}, join_path(place, kind)))
    return parts


def mark_last(items: list[Any], point: Fields, drops: Drops) -> None:
    """Give the last of ``items``, parts or tools, the mark that a ``cachePoint`` represents, if it can have one."""
    last = items[-1] if items else None
    if isinstance(last, _MARKABLE):
        items[-1] = attrs.evolve(last, marks={**last.marks, CACHE_MARK: cache_mark(point)})
    else:
        drops.add(point.at)


def _read_text(value: Any, at: str, drops: Drops) -> Iterator[Part]:
    yield TextPart(expect(value, str, join_path(at, "text")), at)


# Media


def _read_image(value: Any, at: str, drops: Drops) -> Iterator[Part]:
    fields = Fields.of(value, join_path(at, "image"))
    format, source = fields.string("format"), _read_source(fields)
    fields.ignore("error")
    drops.add_unread(fields)
    yield ImagePart(_read_media(source, format and f"image/{format}", drops), at=at)


def _read_document(value: Any, at: str, drops: Drops) -> Iterator[Part]:
    fields = Fields.of(value, join_path(at, "document"))
    format, source = fields.string("format") or "", _read_source(fields)
    media_type = _TYPES.get(format, "application/pdf")
    name = fields.string("name")
    title = f"{name}.{format}" if name and format and not name.endswith("." + format) else name
    marks = {mark: found for mark in ("citations", "context") if (found := fields.value(mark)) is not None}
    drops.add_unread(fields)
    yield FilePart(_document_source(source, media_type, drops), title, at, marks or NO_MARKS)


def _document_source(source: Fields, media_type: str, drops: Drops) -> MediaSource:
    """Return the source of a document; text becomes plain text, because few APIs accept text files."""
    text = source.string("text")
    if text is None and source.data.get("content") is not None:
        text = "\n\n".join(_read_texts(source, drops))
    if text is not None:
        drops.add_unread(source)
        return MediaSource("text", text, media_type if media_type.startswith("text/") else "text/plain")
    found = _read_media(source, media_type, drops)
    if found.kind == "base64" and media_type.startswith("text/") and (read := _decode_text(found.value)) is not None:
        return MediaSource("text", read, media_type)
    return found


def _decode_text(data: str) -> str | None:
    try:
        return base64.b64decode(data, validate=True).decode()
    except ValueError:
        return None


def _read_video(value: Any, at: str, drops: Drops) -> Iterator[Part]:
    fields = Fields.of(value, join_path(at, "video"))
    format = fields.need("format", str)
    source = _read_media(_read_source(fields), _TYPES.get(format, f"video/{format}"), drops)
    drops.add_unread(fields)
    yield FilePart(source, f"video.{format}", at)


def _read_audio(value: Any, at: str, drops: Drops) -> Iterator[Part]:
    fields = Fields.of(value, join_path(at, "audio"))
    format, source = fields.need("format", str), _read_source(fields)
    data = source.need("bytes", str)
    fields.ignore("error")
    drops.add_unread(fields)
    drops.add_unread(source)
    yield AudioPart(data, format, at)


def _read_source(fields: Fields) -> Fields:
    return Fields.of(fields.need("source", dict), fields.path("source"))


def _read_media(source: Fields, media_type: str | None, drops: Drops) -> MediaSource:
    """Return the source of a medium: bytes, or an S3 address that only its owner's account can read."""
    data, place = source.string("bytes"), source.object("s3Location")
    drops.add_unread(source)
    if data is not None:
        return MediaSource("base64", data, media_type)
    if place is None:
        raise invalid(f"{source.at} must have bytes, text or s3Location", source.at)
    found = url_source(place.need("uri", str), place.path("uri"), media_type)
    drops.add_unread(place)
    return found


# Tools


def _read_tool_use(value: Any, at: str, drops: Drops) -> Iterator[Part]:
    fields = Fields.of(value, join_path(at, "toolUse"))
    if fields.string("type") == "server_tool_use":
        yield NativePart("converse", "toolUse", {"toolUse": value}, fields.at)
        return
    given = fields.value("input")
    text = msgspec.json.encode({} if given is None else given).decode()
    yield ToolCallPart(original_id(fields.need("toolUseId", str)), fields.need("name", str), text, at=at)
    fields.ignore("type")
    drops.add_unread(fields)


def _read_tool_result(value: Any, at: str, drops: Drops) -> Iterator[Part]:
    fields = Fields.of(value, join_path(at, "toolResult"))
    if str(fields.string("type") or "").endswith("_result") and fields.data["type"] != "tool_result":
        # The result of a tool that ran at Amazon:
        yield NativePart("converse", "toolResult", {"toolResult": value}, fields.at)
        return
    parts = tuple(map(result_part, read_blocks(fields.value("content") or [], fields.path("content"), RESULT, drops)))
    yield ToolResultPart(original_id(fields.need("toolUseId", str)), parts, fields.string("status") == "error", at=at)
    drops.add_unread(fields)


def _read_json(value: Any, at: str, drops: Drops) -> Iterator[Part]:
    yield TextPart(msgspec.json.encode(value).decode(), at)


def _read_search_result(value: Any, at: str, drops: Drops) -> Iterator[Part]:
    fields = Fields.of(value, join_path(at, "searchResult"))
    title, source = fields.need("title", str), fields.need("source", str)
    yield TextPart("\n\n".join([f"{title}\n{source}", *_read_texts(fields, drops)]), at)
    drops.add_unread(fields)


def _read_texts(fields: Fields, drops: Drops) -> Iterator[str]:
    """Yield the texts of a ``content``."""
    for block in fields.objects("content"):
        yield block.need("text", str)
        drops.add_unread(block)


# The rest


def _read_reasoning(value: Any, at: str, drops: Drops) -> Iterator[Part]:
    fields = Fields.of(value, join_path(at, "reasoningContent"))
    reasoning, redacted = fields.object("reasoningText"), fields.string("redactedContent")
    text = (reasoning.string("text") if reasoning is not None else None) or ""
    opaque = (reasoning.string("signature") if reasoning is not None else redacted) or ""
    if not is_sealed(opaque):
        yield ReasoningPart(text, native=value, at=at)
    elif (found := unseal(opaque)) is not None:
        yield ReasoningPart(text, found, at=at)
    else:  # a truncated or changed seal is useless
        drops.add(fields.at)


def _read_guarded_parts(value: Any, at: str, drops: Drops) -> Iterator[Part]:
    """Yield content that a guardrail checks; for the model it is ordinary content."""
    fields = Fields.of(value, join_path(at, "guardContent"))
    if (text := fields.object("text")) is not None:
        yield TextPart(text.need("text", str), at)
        drops.add_unread(text)
    if (image := fields.value("image")) is not None:
        yield from _read_image(image, at, drops)
    drops.add_unread(fields)


def _read_cited_text(value: Any, at: str, drops: Drops) -> Iterator[Part]:
    """Yield the text of an earlier answer without its citations, which are not news to the model."""
    fields = Fields.of(value, join_path(at, "citationsContent"))
    yield TextPart("".join(_read_texts(fields, drops)), at)
    drops.add_unread(fields)


SYSTEM: Final[Mapping[str, _ReadBlock]] = {"text": _read_text, "guardContent": _read_guarded_parts}
RESULT: Final[Mapping[str, _ReadBlock]] = {
    "text": _read_text,
    "json": _read_json,
    "image": _read_image,
    "document": _read_document,
    "video": _read_video,
    "searchResult": _read_search_result,
}
MESSAGE: Final[Mapping[str, _ReadBlock]] = {
    "text": _read_text,
    "image": _read_image,
    "document": _read_document,
    "video": _read_video,
    "audio": _read_audio,
    "searchResult": _read_search_result,
    "toolUse": _read_tool_use,
    "toolResult": _read_tool_result,
    "reasoningContent": _read_reasoning,
    "guardContent": _read_guarded_parts,
    "citationsContent": _read_cited_text,
}
