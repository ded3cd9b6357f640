"""Parts of a client's contents, read: calls, results, media, and what only Gemini knows.

What Gemini's clients leave out and others need is made up for: the id of a call, and of the call that a result is of.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from providers.gemini.spellings import GeminiFields, spelled
from providers.neutral.fields import Drops
from providers.neutral.request import (
    AudioPart,
    FilePart,
    ImagePart,
    MediaSource,
    NativePart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

_KINDS: Final = (
    "functionCall", "functionResponse", "inlineData", "fileData", "executableCode", "codeExecutionResult", "toolCall",
    "toolResponse", "text",
)  # fmt: skip
_ABOUT: Final = frozenset(
    ("thought", "thoughtSignature", "thought_signature", "partMetadata", "part_metadata", "videoMetadata",
     "video_metadata", "mediaResolution", "media_resolution")
)  # fmt: skip
"""What is said of a part beside what it is."""

_FILES: Final = "https://generativelanguage.googleapis.com/"
_RESULTS: Final = ("result", "output")
"""The member of a function's response that holds what it gave back, where it is the only one."""

_AUDIO: Final[Mapping[str, str]] = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav"}

Media: TypeAlias = ImagePart | FilePart | AudioPart


@attrs.define
class Calls:
    """The calls of a conversation as far as it has been read, and those of them that wait for their result."""

    names: dict[str, str] = attrs.field(factory=dict)
    waiting: dict[str, list[str]] = attrs.field(factory=dict)
    """Their ids by the name of the function, in order."""
    done: set[str] = attrs.field(factory=set)
    """Those whose result the client has said by their ids."""

    def begin(self, id: str, name: str) -> None:
        self.names[id] = name
        self.waiting.setdefault(name, []).append(id)

    def answered(self, id: str | None, name: str, at: str) -> str | None:
        """The id of the call whose result has come: as the client gives it, else of the first that waits by that
        name. ``None`` where that call has its result: Gemini CLI sends those of a session that it resumes twice."""
        ids = self.waiting.get(name) or []
        if id in self.done:
            return None
        if id is not None and id in self.names:
            self.done.add(id)
        if id is None or id not in self.names:
            id = (ids[0] if ids else id) or made_id(at)
        if id in ids:
            ids.remove(id)
        return id


def made_id(at: str) -> str:
    """An id for the call at that place of the conversation: the same whenever it is sent again, for prompt caches."""
    return "call_" + hashlib.sha256(at.encode()).hexdigest()[:24]


def kind_of_part(part: GeminiFields) -> str:
    """The member that says what a part is."""
    data = part.data
    known = next((kind for kind in _KINDS if data.get(spelled(data, kind)) is not None), None)
    return known or next((name for name in data if name not in _ABOUT), "text")


def native_part(part: GeminiFields, kind: str) -> NativePart:
    """A part that only Gemini knows, whole."""
    part.ignore(*part.data)
    return NativePart("gemini", kind, part.data, part.at)


def read_call(part: GeminiFields, calls: Calls, drops: Drops) -> ToolCallPart:
    """A ``functionCall``."""
    call = GeminiFields.of(part.any("functionCall"), part.path("functionCall"))
    name, id, args = call.need("name", str), call.string("id") or made_id(part.at), call.any("args")
    drops.rest(call)
    calls.begin(id, name)
    return ToolCallPart(id, name, msgspec.json.encode({} if args is None else args).decode(), at=call.at)


def read_result(part: GeminiFields, calls: Calls, drops: Drops) -> ToolResultPart | None:
    """A ``functionResponse``, which is of the call with its id, or of one that waits by its name; ``None`` for one that
    says again what was said."""
    result = GeminiFields.of(part.any("functionResponse"), part.path("functionResponse"))
    name, id = result.need("name", str), result.string("id")
    text, failed = _told(result.any("response"))
    parts: list[TextPart | ImagePart | FilePart] = [TextPart(text, result.path("response"))] if text else []
    for inner in result.each("parts"):
        kind = kind_of_part(inner)
        media = read_media(inner, kind, drops) if kind in ("inlineData", "fileData") else None
        if isinstance(media, ImagePart | FilePart):
            parts.append(media)
        else:
            drops.add(inner.at)
    drops.rest(result)
    call_id = calls.answered(id, name, part.at)
    return None if call_id is None else ToolResultPart(call_id, tuple(parts), failed, at=result.at)


def _told(response: Any) -> tuple[str, bool]:
    """The text of a function's response, and whether it is an error."""
    failed = False
    if isinstance(response, dict) and len(response) == 1:
        (member,) = response
        failed = member == "error"
        if failed or member in _RESULTS:
            response = response[member]
    if response is None:
        return "", failed
    return response if isinstance(response, str) else msgspec.json.encode(response).decode(), failed


def read_media(part: GeminiFields, kind: str, drops: Drops) -> Media:
    """An ``inlineData`` or a ``fileData``."""
    data = GeminiFields.of(part.any(kind), part.path(kind))
    media_type, name = (data.string("mimeType") or "").lower() or None, data.string("displayName")
    if kind == "inlineData":
        source = MediaSource("base64", standard_base64(data.need("data", str)), media_type)
    else:
        source = _file(data.need("fileUri", str), media_type)
    drops.rest(data)
    family, _, format = (media_type or "").partition("/")
    if family == "image":
        return ImagePart(source, at=part.at)
    if family == "audio" and kind == "inlineData":
        return AudioPart(source.value, _AUDIO.get(format, format), part.at)
    return FilePart(source, name, part.at)


def _file(uri: str, media_type: str | None) -> MediaSource:
    """A file by its address: anybody may read what the web has, nobody but Google what its Files API or its storage
    has."""
    everywhere = uri.startswith(("https://", "http://", "data:")) and not uri.startswith(_FILES)
    return MediaSource("url" if everywhere else "file_id", uri, media_type)


def standard_base64(text: str) -> str:
    """``text`` in the alphabet that all APIs take: google-genai writes that of addresses, perhaps without padding."""
    text = text.replace("-", "+").replace("_", "/")
    return text + "=" * (-len(text) % 4)
