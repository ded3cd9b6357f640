"""The content of messages that are not the assistant's, and the text of all."""

from collections.abc import Iterator, Sequence
from typing import Any, assert_never

from providers.chat.parts import marks, media
from providers.chat.parts.target import PartsTarget
from providers.neutral.request import (
    AudioPart,
    FilePart,
    ImagePart,
    NativePart,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from streams.errors import invalid


def write(to: PartsTarget, part: Part, role: str) -> Iterator[dict[str, Any]]:
    """The content parts, none or one, for a part of a message that is not the assistant's."""
    match part:
        case ToolResultPart():
            pass  # already written
        case TextPart(text=text):
            if text:
                yield {"type": "text", "text": text, **marks.write(to, part)}
            else:
                marks.drop(to, part)
        case ImagePart() | FilePart() | AudioPart():
            if role != "user":
                raise invalid(f"{part.at}: only text can be an instruction for this model", part.at)
            yield media.write(to, part) | marks.write(to, part)
        case ReasoningPart():
            to.drops.add(*part.places)
        case NativePart() | RefusalPart() | ToolCallPart():
            to.drops.add(part.at)
        case _:
            assert_never(part)


def joined(pieces: Sequence[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """A plain string where it says the same, which every server takes; else the array."""
    if len(pieces) == 1 and pieces[0].keys() == {"type", "text"}:
        return str(pieces[0]["text"])
    return list(pieces)
