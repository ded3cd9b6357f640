"""Writers of images, documents and audio for Bedrock, as bytes or S3 addresses, with the names that documents need."""

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from providers.neutral.made_images import made_images
from providers.neutral.media import file_type, image_beginning, video_type
from providers.neutral.request import AudioPart, FilePart, ImagePart, MediaSource
from providers.neutral.values import as_object, as_string
from streams.errors import GatewayError, invalid
from streams.events import Api

Block: TypeAlias = dict[str, Any]

IMAGE_FORMATS: Final[Mapping[str, str]] = {
    "image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp",
}  # fmt: skip

DOCUMENT_FORMATS: Final[Mapping[str, str]] = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}

_VIDEO_FORMATS: Final[Mapping[str, str]] = {
    "video/mp4": "mp4", "video/webm": "webm", "video/mpeg": "mpeg", "video/mpg": "mpg", "video/quicktime": "mov",
    "video/mov": "mov", "video/x-matroska": "mkv", "video/mkv": "mkv", "video/x-flv": "flv", "video/flv": "flv",
    "video/x-ms-wmv": "wmv", "video/wmv": "wmv", "video/3gpp": "three_gp",
}  # fmt: skip

_ACCEPTED: Final = "PDF, Word, Excel, CSV, HTML, Markdown or plain text, with its media type or file name"

S3: Final = "s3://"

_IMAGE_PIECE: Final = 4 * 2**20
"""Characters of an image in one delta, a multiple of 4, so that each piece is valid base64. Amazon's SDKs accept
frames of up to 24 MiB."""

_SOUNDS: Final = frozenset(
    ("mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "mpeg", "mpga", "pcm", "webm")
)

_NAME: Final = re.compile(r"[^A-Za-z0-9 \-()\[\]]+")
_SPACES: Final = re.compile(r"\s+")
_MAX_NAME: Final = 190  # the limit is 200 characters
_NEUTRAL: Final = "Document {}"


def image_block(part: ImagePart) -> Block:
    """Return an image block. Raises a 400 if Bedrock cannot receive it."""
    source = part.source
    extension_format = _format_by_extension(source, IMAGE_FORMATS.values())
    label = (source.media_type or f"image/{extension_format or 'png'}").lower()
    format = IMAGE_FORMATS.get(image_beginning(source.value) or label) or extension_format
    if format is None:
        raise invalid(f"{part.at} is {label}, which this model's provider does not support: send PNG or JPEG", part.at)
    return {"image": {"format": format, "source": _source(source, part.at)}}


def made_image_blocks(api: Api, item: Any) -> list[Block]:
    """Return blocks for the images in a native item of another ``api``, except those in formats that the API lacks."""
    return [
        {"image": {"format": one.format, "source": {"bytes": one.data}}}
        for one in made_images(api, item)
        if one.format in IMAGE_FORMATS.values()
    ]


def image_deltas(image: Mapping[str, Any]) -> Iterator[Block]:
    """Yield the deltas of an image in a stream, whose frames are limited in size."""
    source = as_object(image.get("source"))
    data = as_string(source.get("bytes"))
    for at in range(0, len(data), _IMAGE_PIECE):
        yield {"source": {"bytes": data[at : at + _IMAGE_PIECE]}}
    if rest := {name: value for name, value in image.items() if name not in ("format", "source")}:
        yield rest
    if source and not data:
        yield {"source": source}


def sound_block(part: AudioPart) -> Block:
    """Return an audio block. Raises a 400 for an unknown format."""
    if part.format not in _SOUNDS:
        raise invalid(
            f"{part.at} is {part.format}, which this model's provider does not support: send WAV or MP3", part.at
        )
    return {"audio": {"format": part.format, "source": {"bytes": part.data}}}


def video_block(source: MediaSource, at: str) -> Block:
    """Return a video block. Raises a 400 if Bedrock cannot receive it."""
    type = video_type(source)
    format = _VIDEO_FORMATS.get(type)
    if format is None:
        raise invalid(f"{at} is {type}, which this model's provider does not support: send MP4 or WebM", at)
    return {"video": {"format": format, "source": _source(source, at)}}


class DocumentNames:
    """The names of a request's documents: unique, with allowed characters only, neutral if the client sent none.

    Bedrock always rejected two untitled documents (maximhq/bifrost#7003, archestra-ai/archestra#4220).
    """

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._numbers: dict[str, int] = {}

    def name(self, filename: str | None) -> str:
        stem = (filename or "").rpartition(".")[0] or filename or ""
        wanted = _SPACES.sub(" ", _NAME.sub(" ", stem)).strip()[:_MAX_NAME].strip()
        name = wanted or self._with_number(_NEUTRAL, 1)
        while name.lower() in self._used:
            name = self._with_number(f"{wanted} ({{}})", 2) if wanted else self._with_number(_NEUTRAL, 1)
        self._used.add(name.lower())
        return name

    def _with_number(self, form: str, first: int) -> str:
        number = self._numbers.get(form, first)
        self._numbers[form] = number + 1
        return form.format(number)


def document_block(part: FilePart, names: DocumentNames) -> Block:
    """Return a document block. Raises a 400 if Bedrock cannot receive it."""
    source = part.source
    type = file_type(part.filename, source.media_type, source.value)
    format = (
        "txt"
        if source.kind == "text"
        else DOCUMENT_FORMATS.get(type) or _format_by_extension(source, DOCUMENT_FORMATS.values())
    )
    if format is None and type.startswith("text/"):
        format = "txt"
    if format is None:
        message = f"{part.at} is {type}, which this model's provider does not support: send {_ACCEPTED}"
        raise invalid(message, part.at)
    return {"document": {"format": format, "name": names.name(part.filename), "source": _source(source, part.at)}}


def _format_by_extension(source: MediaSource, known: Any) -> str | None:
    """Return the format according to the extension of an S3 name, or ``None``."""
    end = source.value.rpartition(".")[2].lower() if source.kind in ("url", "file_id") else ""
    end = {"jpg": "jpeg", "htm": "html"}.get(end, end)
    return end if end in known else None


def _source(source: MediaSource, at: str) -> Block:
    match source.kind:
        case "base64" if source.value:
            return {"bytes": source.value}
        case "text" if source.value:
            return {"bytes": base64.b64encode(source.value.encode()).decode()}
        case "url" | "file_id" if source.value.startswith(S3):
            return {"s3Location": {"uri": source.value}}
    raise _unreachable_error(source, at)


def _unreachable_error(source: MediaSource, at: str) -> GatewayError:
    what = {"url": "is an address", "file_id": "names a file"}.get(source.kind)
    if what is None:
        return invalid(f"{at} is empty", at)
    return invalid(f"{at} {what} that this model's provider cannot fetch: send its content instead", at)
