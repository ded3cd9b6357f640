"""Results of tools."""

from collections.abc import Iterator
from typing import Any

from providers.chat.parts import content, marks, media
from providers.chat.parts.target import PartsTarget
from providers.neutral.request import FilePart, ImagePart, TextPart, ToolResultPart

_ERROR = "Error: "


def write(to: PartsTarget, part: ToolResultPart) -> dict[str, Any]:
    """A tool's result. Only text can stand here; an error has no mark of its own and says so in words."""
    pieces: list[dict[str, Any]] = []
    for piece in part.parts:
        if isinstance(piece, TextPart):
            pieces.extend(content.write(to, piece, "tool"))
    if part.is_error:
        first = pieces[0] if pieces else {"type": "text", "text": ""}
        pieces[:1] = [{**first, "text": _ERROR + first["text"]}]
    if pieces:
        pieces[-1] |= marks.write(to, part)
    else:
        marks.drop(to, part)
    return {
        "role": "tool",
        "tool_call_id": to.call_id(part.call_id),
        "content": content.joined(pieces) if pieces else "",
    }


def write_media(to: PartsTarget, part: ToolResultPart) -> Iterator[dict[str, Any]]:
    """A result's images and files, for the user message after all results (Zoo-Code-Org/Zoo-Code#1705)."""
    for piece in part.parts:
        if isinstance(piece, ImagePart | FilePart):
            sort = "Image" if isinstance(piece, ImagePart) else "File"
            yield {"type": "text", "text": f"{sort} from tool {to.call_id(part.call_id)}:"}
            yield media.write(to, piece) | marks.write(to, piece)
