"""Images, files and audio."""

import mimetypes
from typing import Any, assert_never

from providers.chat.parts.target import PartsTarget
from providers.neutral.request import AudioPart, FilePart, ImagePart, MediaSource
from streams.errors import invalid


def write(to: PartsTarget, part: ImagePart | FilePart | AudioPart) -> dict[str, Any]:
    """A content part for a medium. One that cannot be sent raises a 400."""
    match part:
        case ImagePart(source=source, detail=detail):
            image = {"url": _url(source, part.at)}
            return {"type": "image_url", "image_url": image | ({"detail": detail} if detail else {})}
        case FilePart(source=source):
            return _file(to, part, source)
        case AudioPart(data=data, format=format):
            return {"type": "input_audio", "input_audio": {"data": data, "format": format}}
        case _:
            assert_never(part)


def _file(to: PartsTarget, part: FilePart, source: MediaSource) -> dict[str, Any]:
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
            raise _foreign_id(part.at)
        case "url":
            raise invalid(f"{part.at}: this model takes files as data, not by URL; send the file itself", part.at)
        case _:
            assert_never(source.kind)


def _url(source: MediaSource, at: str) -> str:
    match source.kind:
        case "url":
            return source.value
        case "base64":
            return f"data:{source.media_type or 'image/png'};base64,{source.value}"
        case "file_id":
            raise _foreign_id(at)
        case "text":
            raise invalid(f"{at} is no image", at)
        case _:
            assert_never(source.kind)


def _foreign_id(at: str) -> Exception:
    return invalid(f"{at}: a file id is known only to the provider that gave it; send the file itself", at)
