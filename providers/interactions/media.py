"""Readers and writers of images, audio, documents and videos.

Source: ``ImageContent``, ``AudioContent``, ``DocumentContent`` and ``VideoContent`` of the google-genai package.
"""

from typing import Any, Final, TypeAlias

import attrs

from providers.gemini.media import link_source
from providers.neutral.fields import Drops, Fields
from providers.neutral.media import (
    actual_type,
    audio_format,
    audio_type,
    is_video,
    standard_base64,
    type_of_format,
    type_of_url,
    video_type,
)
from providers.neutral.request import AudioPart, FilePart, ImagePart, MediaSource
from streams.errors import invalid

Media: TypeAlias = ImagePart | FilePart | AudioPart

KINDS: Final = ("image", "audio", "document", "video")


def read_media(content: Fields, kind: str, drops: Drops) -> Media:
    """Return the medium in ``content``. Raises a 400 without data and link."""
    data, uri = content.string("data"), content.string("uri")
    media_type, name = (content.string("mime_type") or "").lower() or None, content.string("name")
    drops.add_unread(content)
    if data is None and uri is None:
        at = content.path("data")
        raise invalid(f"{at} is required: send the content in base64 there, or its link in uri", at)
    if data is None:
        source = link_source(uri or "", media_type, content.path("uri"))
    else:
        source = MediaSource("base64", standard_base64(data), media_type)
    if kind == "image":
        return ImagePart(source, at=content.at)
    if kind in _TYPES and source.kind in ("base64", "url"):
        source = attrs.evolve(source, media_type=_TYPES[kind](source))
    if kind == "audio" and source.kind == "base64":
        return AudioPart(source.value, audio_format(source.media_type or ""), content.at)
    return FilePart(source, name, content.at)


_TYPES: Final = {"audio": audio_type, "video": video_type}
"""Functions that return the media type of a content, which clients may leave out, by kind."""


# Writing


def write_media(part: Media, native: bool) -> dict[str, Any]:
    """Return the part as a content; ``native`` means that the client speaks this API and its file references work.

    Raises a 400 if this API's providers cannot receive it.
    """
    if isinstance(part, AudioPart):
        return {"type": "audio", "data": part.data, "mime_type": type_of_format(part.format)}
    source = part.source
    image = isinstance(part, ImagePart)
    if source.kind == "text":
        return {"type": "text", "text": source.value}
    if source.kind == "base64":
        media_type = actual_type(source, image)
        return {"type": _kind(image, media_type), "data": source.value, "mime_type": media_type}
    if source.kind == "file_id" and not native:
        message = f"{part.at} is a file id of another provider: send the file's content instead"
        raise invalid(message, part.at)
    guess = video_type(source) if is_video(source) else source.media_type or type_of_url(source.value)
    found = {"type": _kind(image, guess or ""), "uri": source.value}
    return found | ({"mime_type": guess} if guess else {})


def _kind(image: bool, media_type: str) -> str:
    """Return the type of a content. Everything but images, sounds and videos is a document."""
    family = media_type.partition("/")[0]
    return "image" if image else family if family in ("audio", "video", "image") else "document"
