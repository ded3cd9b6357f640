"""Images, documents and sounds as parts of a Gemini request."""

import binascii
import mimetypes
import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_to_bytes, urlsplit

from providers.neutral.media import DOCUMENT
from providers.neutral.request import AudioPart, FilePart, ImagePart, MediaSource
from streams.errors import invalid

GeminiPart: TypeAlias = dict[str, Any]

_SOUNDS: Final[Mapping[str, str]] = {"mp3": "audio/mpeg", "wav": "audio/wav"}
_TYPES: Final[Mapping[str, str]] = {"image/jpg": "image/jpeg"}
_BEGINNINGS: Final = {"iVBOR": "image/png", "/9j/": "image/jpeg", "R0lG": "image/gif", "UklG": "image/webp"}
_DATA_URL: Final = re.compile(r"data:([^;,]*)((?:;[^,]*)?),(.*)", re.IGNORECASE | re.DOTALL)
# What Google fetches itself: its storage, files that were sent to it, and videos.
_FETCHED: Final = re.compile(
    r"gs://|https://generativelanguage\.googleapis\.com/[^ ]*files/|https://(?:www\.|m\.)?youtube\.com/|https://youtu\.be/"
)


def media_part(part: ImagePart | FilePart | AudioPart, native: bool) -> GeminiPart:
    """The part. ``native``: the client speaks this API, and names files as it does. Raises a 400 for what this API's
    providers cannot have."""
    if isinstance(part, AudioPart):
        return _inline(_SOUNDS.get(part.format, f"audio/{part.format}"), part.data)
    name = part.filename if native and isinstance(part, FilePart) else None
    source = part.source
    if source.kind == "url" and source.value[:5].lower() == "data:":
        source = _data_url(source.value, part.at)
    image = isinstance(part, ImagePart)
    match source.kind:
        case "base64":
            return _inline(_media_type(source, image), source.value, name)
        case "text":
            return {"text": source.value}
        case "url":
            if native or _FETCHED.match(source.value):
                return _file(source, name)
            message = f"{part.at} is a link, which this model's provider does not follow: send the content instead"
            raise invalid(message, part.at)
        case "file_id":
            if native:
                return _file(source, name)
            message = f"{part.at} names a file that this model's provider does not have: send its content instead"
            raise invalid(message, part.at)


def _inline(media_type: str, data: str, name: str | None = None) -> GeminiPart:
    return {"inlineData": {"mimeType": media_type, "data": data} | _named(name)}


def _file(source: MediaSource, name: str | None) -> GeminiPart:
    guess = source.media_type or mimetypes.guess_type(urlsplit(source.value).path)[0]
    return {"fileData": ({"mimeType": guess} if guess else {}) | {"fileUri": source.value} | _named(name)}


def _named(name: str | None) -> GeminiPart:
    return {"displayName": name} if name else {}


def _media_type(source: MediaSource, image: bool) -> str:
    """What the data is: by its first bytes where it is an image, whatever its client calls it."""
    label = (source.media_type or ("image/png" if image else DOCUMENT)).lower()
    found = (kind for start, kind in _BEGINNINGS.items() if image and source.value.startswith(start))
    return next(found, _TYPES.get(label, label))


def _data_url(url: str, at: str) -> MediaSource:
    found = _DATA_URL.fullmatch(url)
    if found is None:
        raise invalid(f"{at} is not a valid data: URL", at)
    media_type, parameters, data = found.groups()
    if not parameters.lower().endswith(";base64"):
        text = unquote_to_bytes(data).decode("utf-8", "replace")
        return MediaSource("text", text, media_type or None)
    try:
        b64decode(data[:64])
    except (binascii.Error, ValueError):
        raise invalid(f"{at} must be a data: URL with base64 data", at) from None
    return MediaSource("base64", data, media_type or None)
