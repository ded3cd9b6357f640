"""Media types of files and images, and ``data:`` URLs."""

import base64
import binascii
import mimetypes
import re
from typing import Final

from providers.neutral.request import MediaSource
from streams.errors import GatewayError, invalid

DOCUMENT = "application/pdf"  # nearly all files of clients

_VAGUE: Final = frozenset(("", "application/octet-stream", "binary/octet-stream", "application/x-binary"))
"""The labels of browsers and programs for unknown types."""

_PDF: Final = "JVBERi"  # the beginning of a PDF in base64
_ENDINGS: Final = {"md": "text/markdown", "markdown": "text/markdown", "csv": "text/csv", "txt": "text/plain"}
"""Endings that are missing in some machines' tables of media types."""


def file_type(filename: str | None, label: str | None = None, data: str = "") -> str:
    """Return the media type of a file: its ``label``, or the type of its name if the label is vague.

    ``data`` is the content in base64. Without a label and a name the type is PDF.
    """
    kind = (label or "").lower().partition(";")[0].strip()
    if kind not in _VAGUE:
        return kind
    named = _ENDINGS.get((filename or "").rpartition(".")[2].lower()) or _type_of_name(filename or "")
    return named or (DOCUMENT if not kind or data.startswith(_PDF) else kind)


def type_of_url(url: str) -> str | None:
    """Return the media type that the end of the path of ``url`` names. The URL may be invalid."""
    return _type_of_name(url.partition("#")[0].partition("?")[0])


def _type_of_name(path: str) -> str | None:
    # Some versions of Python parse the path as a URL, and raise for one such as ``https://[x/a.mp4``.
    return mimetypes.guess_type(path.rpartition("/")[2])[0]


_YOUTUBE: Final = re.compile(r"https?://(?:(?:www\.|m\.)?youtube\.com/|youtu\.be/)", re.IGNORECASE)
"""Matches addresses of videos without a file name, which Google's APIs accept."""


def is_video(source: MediaSource) -> bool:
    """Return whether a file is a video: by its label, or for a link without one by its address."""
    if source.media_type or source.kind != "url":
        return (source.media_type or "").startswith("video/")
    return _YOUTUBE.match(source.value) is not None or (type_of_url(source.value) or "").startswith("video/")


def video_type(source: MediaSource) -> str:
    """Return the media type of a video: its label, else the type of its URL's path, else MP4."""
    if source.media_type is not None and source.media_type.startswith("video/"):
        return source.media_type
    named = type_of_url(source.value) if source.kind == "url" else None
    return named if named is not None and named.startswith("video/") else "video/mp4"


def is_audio(source: MediaSource) -> bool:
    return (source.media_type or "").startswith("audio/")


_AUDIO_FORMATS: Final = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav"}
"""The formats of sounds in the words of most APIs, by subtypes that differ from them."""
_WAV: Final = "UklG"  # the beginning of a WAV file in base64


def audio_type(source: MediaSource) -> str:
    """Return the media type of a sound: its label, else the type of its URL's path, else WAV or MP3 by its bytes."""
    if is_audio(source):
        return str(source.media_type)
    named = type_of_url(source.value) if source.kind == "url" else None
    if named is not None and named.startswith("audio/"):
        return named
    return "audio/wav" if source.kind == "base64" and source.value.startswith(_WAV) else "audio/mpeg"


def audio_format(media_type: str) -> str:
    """Return the format of a sound of the type ``media_type``, such as ``mp3``."""
    subtype = media_type.rpartition("/")[2]
    return _AUDIO_FORMATS.get(subtype, subtype)


def type_of_format(format: str) -> str:
    """Return the media type of a sound in ``format``, such as ``audio/mpeg``."""
    return "audio/mpeg" if format == "mp3" else f"audio/{format}"


_IMAGE_BEGINNINGS: Final = {"iVBOR": "image/png", "/9j/": "image/jpeg", "R0lG": "image/gif", "UklG": "image/webp"}
"""The first characters of images in base64, by type."""
_IMAGE_NAMES: Final = {"image/jpg": "image/jpeg"}  # a name that only OpenAI accepts, and the standard one


def image_beginning(data: str) -> str | None:
    """Return the media type of an image by its first bytes in base64, or ``None``."""
    return next((kind for start, kind in _IMAGE_BEGINNINGS.items() if data.startswith(start)), None)


def standard_base64(text: str) -> str:
    """Return ``text`` in the alphabet that all APIs accept; google-genai uses the URL-safe one, sometimes without
    padding."""
    text = text.replace("-", "+").replace("_", "/")
    return text + "=" * (-len(text) % 4)


def actual_type(source: MediaSource, image: bool) -> str:
    """Return the media type of an image or document.

    An image's bytes override its label, because APIs refuse contradictions (home-assistant/core#167208).
    """
    label = (source.media_type or ("image/png" if image else DOCUMENT)).lower()
    return (image and image_beginning(source.value)) or _IMAGE_NAMES.get(label, label)


def url_source(url: str, at: str, label: str | None = None) -> MediaSource:
    """Return the source of a URL, or of the content of a ``data:`` URL (RFC 2397). Raises a 400 for an invalid one.

    ``label`` is the media type that the client states next to the URL; the type in a ``data:`` URL overrides it.
    """
    if not is_data_url(url):
        return MediaSource("url", url, label)
    if (comma := url.find(",", 0, _LONGEST_HEAD)) == -1:
        raise _invalid_data_url(at)
    media_type, *parameters = url[len(_SCHEME) : comma].lower().replace(" ", "").split(";")
    data = url[comma + 1 :]
    if "base64" not in parameters:
        data = base64.b64encode(_percent_decoded(data, at)).decode("ascii")
    elif "%" in data:
        data = _percent_decoded(data, at).decode("utf-8", "replace")
    return MediaSource("base64", data, media_type or label)


_SCHEME: Final = "data:"
_LONGEST_HEAD: Final = 1000
"""The most characters up to the content, for the scheme, the media type and its parameters."""

_NO_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_PIECE: Final = 2**16
"""Bytes that are decoded in one step, so that other threads can run between two."""


def _percent_decoded(text: str, at: str) -> bytearray:
    """Return the bytes of percent-encoded ``text``. Raises a 400 for text that no URL has.

    The standard library's ``unquote_to_bytes`` takes 1.3 GB of memory for 16 MB of escapes. Its decoder of
    quoted-printable text, whose escapes differ only in their first character, works in place.
    """
    try:
        encoded = text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise _invalid_data_url(at) from None
    decoded, start = bytearray(), 0
    while start < len(encoded):
        end = start + _PIECE
        if (escape := encoded.rfind(b"%", end - 2, end)) != -1:  # do not cut an escape
            end = escape
        escapes = _NO_ESCAPE.sub(b"%25", encoded[start:end])
        decoded += binascii.a2b_qp(escapes.replace(b"=", b"%3D").replace(b"%", b"="))
        start = end
    return decoded


def _invalid_data_url(at: str) -> GatewayError:
    return invalid(f"{at} is not a valid data: URL", at)


def is_data_url(url: str) -> bool:
    return url[: len(_SCHEME)].lower() == _SCHEME
