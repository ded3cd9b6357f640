"""Readers of the turns of a Gemini client's request and their parts.

Programs that collect a stream send each piece back as a separate content, so consecutive contents of the model become
one turn, and its plain texts one text. Gemini CLI sends no thoughts, so only the seal on a signed part is sure to come
back. Clients omit the ids of calls and results; the gateway makes them. Source: ``Content`` and ``Part`` in the API's
reference, and histories of google-genai and Gemini CLI.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from providers.gemini.media import link_source
from providers.gemini.spellings import GeminiFields, spelling_in
from providers.neutral.codec import derived_call_id
from providers.neutral.fields import Drops
from providers.neutral.media import audio_format, standard_base64
from providers.neutral.request import (
    AudioPart,
    FilePart,
    ImagePart,
    MediaSource,
    Message,
    NativePart,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from providers.neutral.seal import Seal, is_sealed, split_seal, unseal
from streams.errors import invalid

_KINDS: Final = (
    "functionCall", "functionResponse", "inlineData", "fileData", "executableCode", "codeExecutionResult", "toolCall",
    "toolResponse", "text",
)  # fmt: skip
_DESCRIPTIVE: Final = frozenset(
    ("thought", "thoughtSignature", "thought_signature", "partMetadata", "part_metadata", "videoMetadata",
     "video_metadata", "mediaResolution", "media_resolution")
)  # fmt: skip
"""Members that describe a part but do not determine its kind."""

_RESULTS: Final = ("result", "output")
"""The member of a function's response that contains the result, if it is the only member."""


Media: TypeAlias = ImagePart | FilePart | AudioPart


@attrs.define
class Calls:
    """The calls of the conversation so far, and those that wait for their result."""

    names: dict[str, str] = attrs.field(factory=dict)
    waiting: dict[str, OrderedDict[str, None]] = attrs.field(factory=dict)
    """By function name, the ids of calls without a result, in order. Results may arrive in any other."""
    matched_ids: set[str] = attrs.field(factory=set)
    """The ids of calls whose result referred to them by id."""

    def add(self, id: str, name: str) -> None:
        self.names[id] = name
        self.waiting.setdefault(name, OrderedDict())[id] = None

    def match_result(self, id: str | None, name: str, at: str) -> str | None:
        """Return the id of the call that a result belongs to: the client's id, else the first waiting call of that
        name.

        Returns ``None`` if that call already has its result, because Gemini CLI repeats results when it resumes a
        session.
        """
        ids = self.waiting.get(name) or OrderedDict()
        if id in self.matched_ids:
            return None
        if id is not None and id in self.names:
            self.matched_ids.add(id)
        if id is None or id not in self.names:
            id = next(iter(ids), id) or derived_call_id(at)
        ids.pop(id, None)
        return id


def kind_of_part(part: GeminiFields) -> str:
    """Return the member that determines the kind of a part."""
    data = part.data
    known = next((kind for kind in _KINDS if data.get(spelling_in(data, kind)) is not None), None)
    return known or next((name for name in data if name not in _DESCRIPTIVE), "text")


def native_part(part: GeminiFields, kind: str) -> NativePart:
    """Return a part that only Gemini can express, whole."""
    part.ignore(*part.data)
    return NativePart("gemini", kind, part.data, part.at)


def read_call(part: GeminiFields, calls: Calls, drops: Drops) -> ToolCallPart:
    """Return the call in a ``functionCall``."""
    call = GeminiFields.of(part.value("functionCall"), part.path("functionCall"))
    name, id, args = call.need("name", str), call.string("id") or derived_call_id(part.at), call.value("args")
    drops.add_unread(call)
    calls.add(id, name)
    return ToolCallPart(id, name, msgspec.json.encode({} if args is None else args).decode(), at=call.at)


def read_result(part: GeminiFields, calls: Calls, drops: Drops) -> ToolResultPart | None:
    """Return the result in a ``functionResponse``, matched to its call by id or name; ``None`` for a
    repeated result."""
    result = GeminiFields.of(part.value("functionResponse"), part.path("functionResponse"))
    name, id = result.need("name", str), result.string("id")
    text, failed = _result_text(result.value("response"))
    parts: list[TextPart | ImagePart | FilePart] = [TextPart(text, result.path("response"))] if text else []
    for inner in result.elements("parts"):
        kind = kind_of_part(inner)
        media = read_media(inner, kind, drops) if kind in ("inlineData", "fileData") else None
        if isinstance(media, ImagePart | FilePart):
            parts.append(media)
            drops.add_unread(inner)
        else:
            drops.add(inner.at)
    drops.add_unread(result)
    call_id = calls.match_result(id, name, part.at)
    return None if call_id is None else ToolResultPart(call_id, tuple(parts), failed, at=result.at)


def _result_text(response: Any) -> tuple[str, bool]:
    """Return the text of a function's response, and whether it is an error."""
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
    """Return the medium in an ``inlineData`` or ``fileData`` part."""
    data = GeminiFields.of(part.value(kind), part.path(kind))
    media_type, name = (data.string("mimeType") or "").lower() or None, data.string("displayName")
    if kind == "inlineData":
        source = MediaSource("base64", standard_base64(data.need("data", str)), media_type)
    else:
        source = link_source(data.need("fileUri", str), media_type, data.path("fileUri"))
    drops.add_unread(data)
    kind_of_media = source.media_type or ""
    if kind_of_media.startswith("image/"):
        return ImagePart(source, at=part.at)
    if kind_of_media.startswith("audio/") and source.kind == "base64":
        return AudioPart(source.value, audio_format(kind_of_media), part.at)
    return FilePart(source, name, part.at)


_ROLES: Final[Mapping[str, Role]] = {
    "user": "user", "model": "assistant", "function": "user", "tool": "user", "system": "system",
}  # fmt: skip

UNSIGNED: Final = frozenset(("skip_thought_signature_validator", "context_engineering_is_the_way_to_go"))
"""Placeholders for missing signatures; Gemini CLI adds them automatically."""


def read_contents(fields: GeminiFields, drops: Drops) -> Iterator[Message]:
    """Yield the turns of ``contents``, which may be a plain text. Raises a 400 if there are none."""
    value, at = fields.value("contents"), fields.path("contents")
    if isinstance(value, str):
        yield Message("user", (TextPart(value, at),), at)
        return
    if not value:
        raise invalid("contents is required: send the messages of the conversation in it", at)
    calls = Calls()
    turn: _ModelTurn | None = None
    for content in fields.elements("contents"):
        role = _read_role(content)
        if role == "assistant":
            turn = turn or _ModelTurn(content.at)
            turn.read(content, calls, drops)
            continue
        if turn is not None:
            yield from turn.messages()
            turn = None
        if parts := tuple(_read_client_parts(content, calls, drops)):
            yield Message(role, parts, content.at)
    if turn is not None:
        yield from turn.messages()


def read_instruction(fields: GeminiFields, drops: Drops) -> tuple[Message, ...]:
    """Return ``systemInstruction`` as messages: texts in a content, or a plain text."""
    value, at = fields.value("systemInstruction"), fields.path("systemInstruction")
    if value is None:
        return ()
    if isinstance(value, str):
        return (Message("system", (TextPart(value, at),), at),) if value else ()
    content = GeminiFields.of(value, at)
    content.ignore("role")
    texts = []
    for part in content.elements("parts"):
        if text := part.string("text"):
            texts.append(TextPart(text, part.at))
        drops.add_unread(part)
    drops.add_unread(content)
    return (Message("system", tuple(texts), at),) if texts else ()


def _read_role(content: GeminiFields) -> Role:
    word = content.string("role") or "user"
    if word not in _ROLES:
        at = content.path("role")
        raise invalid(f'{at} must be user or model, not "{word}"', at)
    return _ROLES[word]


def _read_client_parts(content: GeminiFields, calls: Calls, drops: Drops) -> Iterator[Part]:
    """Yield the parts of a turn that is not the model's."""
    for part in content.elements("parts"):
        part.ignore("thoughtSignature", "thought_signature", "thought")
        match kind_of_part(part):
            case "text":
                if text := part.string("text"):
                    yield TextPart(text, part.at)
            case "functionResponse":
                if (result := read_result(part, calls, drops)) is not None:
                    yield result
            case "functionCall":
                yield read_call(part, calls, drops)
            case "inlineData" | "fileData" as kind:
                yield read_media(part, kind, drops)
            case kind:
                yield native_part(part, kind)
        drops.add_unread(part)
    drops.add_unread(content)


class _ModelTurn:
    """A turn of the model while its contents are read."""

    def __init__(self, at: str) -> None:
        self._at = at
        self._parts: list[Part] = []
        self._thoughts: list[str] = []  # unsigned thoughts, whose seal may follow
        self._pieces: list[str] = []  # of the last part, a plain text that may continue

    def messages(self) -> Iterator[Message]:
        """Yield the turn unless it is empty."""
        self._add_unsigned_thoughts(self._at)
        self._join_pieces()
        if self._parts:
            yield Message("assistant", tuple(self._parts), self._at)

    def read(self, content: GeminiFields, calls: Calls, drops: Drops) -> None:
        for part in content.elements("parts"):
            self._read_part(part, calls, drops)
            drops.add_unread(part)
        drops.add_unread(content)

    def _read_part(self, part: GeminiFields, calls: Calls, drops: Drops) -> None:
        kind, thought = kind_of_part(part), part.boolean("thought")
        if kind not in ("text", "functionCall"):  # whole, including its signature
            self._add_unsigned_thoughts(part.at)
            self._add_part(native_part(part, kind))
            return
        mark = _read_signature(part, drops)
        if kind == "functionCall":
            call = read_call(part, calls, drops)
            self._add_signature(mark, {"part": kind, "id": call.id}, part.at)
            self._add_part(call)
        elif thought:
            self._add_thought(part.string("text") or "", mark, part.at)
        else:
            self._add_text(part.string("text") or "", mark, part.at)

    def _add_part(self, part: Part) -> None:
        self._join_pieces()
        self._parts.append(part)

    def _join_pieces(self) -> None:
        """Join the pieces of a text that has ended."""
        if len(self._pieces) > 1 and isinstance(last := self._parts[-1], TextPart):
            self._parts[-1] = attrs.evolve(last, text="".join(self._pieces))
        self._pieces = []

    def _add_thought(self, text: str, mark: "Seal | str | None", at: str) -> None:
        if mark is None:
            self._thoughts.append(text)
        elif isinstance(mark, str):
            self._add_unsigned_thoughts(at)
            self._add_part(ReasoningPart(text, native={"part": "thought", "signature": mark}, at=at))
        else:
            self._thoughts.append(text)
            self._add_signature(mark, {}, at)

    def _add_text(self, text: str, mark: "Seal | str | None", at: str) -> None:
        """Add a text. A signed text stays separate; an empty one only matters if signed."""
        if mark is not None:
            self._add_signature(mark, {"part": "text", **({} if text else {"empty": True})}, at)
            if text:
                self._add_part(TextPart(text, at))
        elif text:
            self._add_unsigned_thoughts(at)
            if not self._pieces:
                self._add_part(TextPart(text, at))
            self._pieces.append(text)

    def _add_signature(self, mark: "Seal | str | None", item: dict[str, Any], at: str) -> None:
        """Add the reasoning before a part that has ``mark``, its signature or seal."""
        if not isinstance(mark, Seal):
            self._add_unsigned_thoughts(at)
            if mark is not None:
                self._add_part(ReasoningPart("", native={**item, "signature": mark}, at=at))
            return
        seal, text = split_seal(mark)
        thoughts = "".join(self._thoughts)
        self._thoughts.clear()
        self._add_part(ReasoningPart(thoughts or text, seal, at=at))

    def _add_unsigned_thoughts(self, at: str) -> None:
        if any(self._thoughts):
            self._add_part(ReasoningPart("".join(self._thoughts), native={"part": "thought"}, at=at))
        self._thoughts.clear()


def _read_signature(part: GeminiFields, drops: Drops) -> Seal | str | None:
    """Return the signature of a part: our seal, Gemini's own, or ``None``. A damaged seal is dropped."""
    text = part.string("thoughtSignature")
    if not text or text in UNSIGNED:
        return None
    if not is_sealed(text):
        return text
    if (seal := unseal(text)) is None:
        drops.add(part.path("thoughtSignature"))
    return seal
