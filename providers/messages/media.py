"""Sources of images and documents for a Messages provider."""

import base64
import binascii
from typing import Any, TypeAlias

from providers.neutral.request import MediaSource
from streams.errors import invalid

Block: TypeAlias = dict[str, Any]

# How the base64 of an image begins: what it is, whatever its client calls it.
_IMAGE_BEGINNINGS = {"iVBOR": "image/png", "/9j/": "image/jpeg", "R0lG": "image/gif", "UklG": "image/webp"}
_IMAGE_NAMES = {"image/jpg": "image/jpeg"}  # what clients say, and OpenAI takes, for what the API takes


def media_source(source: MediaSource, image: bool, at: str, native: bool) -> Block:
    """The ``source`` of an image or a document. Raises a 400 for one that the provider cannot have."""
    if source.kind == "url" and source.value.startswith("data:"):
        source = _data_url(source.value, at)
    match source.kind:
        case "base64":
            return _base64_source(source, image, at)
        case "url":
            return {"type": "url", "url": source.value}
        case "text":
            return {"type": "text", "media_type": "text/plain", "data": source.value}
        case "file_id":
            if native:
                return {"type": "file", "file_id": source.value}
            message = f"{at} names a file that this model's provider does not have: send its content instead"
            raise invalid(message, at)


def _data_url(url: str, at: str) -> MediaSource:
    head, comma, data = url[len("data:") :].partition(",")
    media_type, _, encoding = head.partition(";")
    if not comma or not encoding.endswith("base64"):
        raise invalid(f"{at} must be a data URL with base64 content", at)
    return MediaSource("base64", data, media_type or None)


def _base64_source(source: MediaSource, image: bool, at: str) -> Block:
    media_type = source.media_type
    if image:
        return {"type": "base64", "media_type": _image_type(source), "data": source.value}
    if media_type is None or not media_type.startswith("text/"):
        return {"type": "base64", "media_type": media_type or "application/pdf", "data": source.value}
    try:
        text = base64.b64decode(source.value, validate=True).decode()
    except (binascii.Error, ValueError):
        raise invalid(f"{at} must hold base64 of UTF-8 text, as its media type says", at) from None
    return {"type": "text", "media_type": "text/plain", "data": text}


def _image_type(source: MediaSource) -> str:
    """The media type of an image. The bytes come before the label, because the API refuses one that does not fit them
    (home-assistant/core#167208)."""
    label = (source.media_type or "image/png").lower()
    found = (kind for start, kind in _IMAGE_BEGINNINGS.items() if source.value.startswith(start))
    return next(found, _IMAGE_NAMES.get(label, label))
