"""The turns of a client's request, read.

Programs that collect a stream send each of its pieces back as a content of its own: neighbours of the model's are one
turn here, and its plain texts one text. Of thoughts that came in front of a signed part only the seal there is sure to
come back, because Gemini CLI sends no thoughts.

Source: ``Content`` and ``Part`` in the API's reference, and the histories that google-genai and Gemini CLI send.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from providers.gemini.parts import Calls, kind_of_part, native_part, read_call, read_media, read_result
from providers.gemini.spellings import GeminiFields
from providers.neutral.fields import Drops
from providers.neutral.request import Message, Part, ReasoningPart, Role, TextPart
from providers.neutral.seal import Seal, is_sealed, unseal
from streams.errors import invalid

_ROLES: Final[Mapping[str, Role]] = {
    "user": "user", "model": "assistant", "function": "user", "tool": "user", "system": "system",
}  # fmt: skip

UNSIGNED: Final = frozenset(("skip_thought_signature_validator", "context_engineering_is_the_way_to_go"))
"""What stands in place of a signature that was lost: Gemini CLI puts it there by itself."""


def read_contents(fields: GeminiFields, drops: Drops) -> Iterator[Message]:
    """The turns of ``contents``, which may be a bare text. Raises a 400 for none."""
    value, at = fields.any("contents"), fields.path("contents")
    if isinstance(value, str):
        yield Message("user", (TextPart(value, at),), at)
        return
    if not value:
        raise invalid("contents is required: it holds the conversation", at)
    calls = Calls()
    turn: _ModelTurn | None = None
    for content in fields.each("contents"):
        role = _role(content)
        if role == "assistant":
            turn = turn or _ModelTurn(content.at)
            turn.read(content, calls, drops)
            continue
        if turn is not None:
            yield from turn.messages()
            turn = None
        if parts := tuple(_client_parts(content, calls, drops)):
            yield Message(role, parts, content.at)
    if turn is not None:
        yield from turn.messages()


def read_instruction(fields: GeminiFields, drops: Drops) -> tuple[Message, ...]:
    """``systemInstruction``: texts alone, in a content, or as a bare text."""
    value, at = fields.any("systemInstruction"), fields.path("systemInstruction")
    if value is None:
        return ()
    if isinstance(value, str):
        return (Message("system", (TextPart(value, at),), at),) if value else ()
    content = GeminiFields.of(value, at)
    content.ignore("role")
    texts = []
    for part in content.each("parts"):
        if text := part.string("text"):
            texts.append(TextPart(text, part.at))
        drops.rest(part)
    drops.rest(content)
    return (Message("system", tuple(texts), at),) if texts else ()


def _role(content: GeminiFields) -> Role:
    word = content.string("role") or "user"
    if word not in _ROLES:
        at = content.path("role")
        raise invalid(f'{at} must be user or model, not "{word}"', at)
    return _ROLES[word]


def _client_parts(content: GeminiFields, calls: Calls, drops: Drops) -> Iterator[Part]:
    """The parts of a turn that is not the model's."""
    for part in content.each("parts"):
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
        drops.rest(part)
    drops.rest(content)


class _ModelTurn:
    """One turn of the model while its contents are read."""

    def __init__(self, at: str) -> None:
        self._at = at
        self._parts: list[Part] = []
        self._thoughts: list[str] = []  # unsigned, of which a seal may follow
        self._pieces: list[str] = []  # of the last part, a plain text that may go on

    def messages(self) -> Iterator[Message]:
        """The turn, unless nothing is in it."""
        self._flush(self._at)
        self._settle()
        if self._parts:
            yield Message("assistant", tuple(self._parts), self._at)

    def read(self, content: GeminiFields, calls: Calls, drops: Drops) -> None:
        for part in content.each("parts"):
            self._read(part, calls, drops)
            drops.rest(part)
        drops.rest(content)

    def _read(self, part: GeminiFields, calls: Calls, drops: Drops) -> None:
        kind, thought = kind_of_part(part), part.boolean("thought")
        if kind not in ("text", "functionCall"):  # whole, its signature with it
            self._flush(part.at)
            self._add(native_part(part, kind))
            return
        mark = _signature(part, drops)
        if kind == "functionCall":
            call = read_call(part, calls, drops)
            self._sign(mark, {"part": kind, "id": call.id}, part.at)
            self._add(call)
        elif thought:
            self._think(part.string("text") or "", mark, part.at)
        else:
            self._say(part.string("text") or "", mark, part.at)

    def _add(self, part: Part) -> None:
        self._settle()
        self._parts.append(part)

    def _settle(self) -> None:
        """The end of a text in pieces."""
        if len(self._pieces) > 1 and isinstance(last := self._parts[-1], TextPart):
            self._parts[-1] = attrs.evolve(last, text="".join(self._pieces))
        self._pieces = []

    def _think(self, text: str, mark: "Seal | str | None", at: str) -> None:
        if mark is None:
            self._thoughts.append(text)
        elif isinstance(mark, str):
            self._flush(at)
            self._add(ReasoningPart(text, native={"part": "thought", "signature": mark}, at=at))
        else:
            self._thoughts.append(text)
            self._sign(mark, {}, at)

    def _say(self, text: str, mark: "Seal | str | None", at: str) -> None:
        """A text. One that is signed is never joined with its neighbours; an empty one says nothing unless it is."""
        if mark is not None:
            self._sign(mark, {"part": "text", **({} if text else {"empty": True})}, at)
            if text:
                self._add(TextPart(text, at))
        elif text:
            self._flush(at)
            if not self._pieces:
                self._add(TextPart(text, at))
            self._pieces.append(text)

    def _sign(self, mark: "Seal | str | None", item: dict[str, Any], at: str) -> None:
        """The reasoning in front of a part that bears ``mark``."""
        if not isinstance(mark, Seal):
            self._flush(at)
            if mark is not None:
                self._add(ReasoningPart("", native={**item, "signature": mark}, at=at))
            return
        seal, text = _opened(mark)
        told = "".join(self._thoughts)
        self._thoughts.clear()
        self._add(ReasoningPart(told or text, seal, at=at))

    def _flush(self, at: str) -> None:
        """Thoughts that nothing signs."""
        if any(self._thoughts):
            self._add(ReasoningPart("".join(self._thoughts), native={"part": "thought"}, at=at))
        self._thoughts.clear()


def _signature(part: GeminiFields, drops: Drops) -> Seal | str | None:
    """What signs a part: our seal, Gemini's own signature, or nothing. A seal that was cut or changed on its way is
    nobody's."""
    text = part.string("thoughtSignature")
    if not text or text in UNSIGNED:
        return None
    if not is_sealed(text):
        return text
    if (seal := unseal(text)) is None:
        drops.add(part.path("thoughtSignature"))
    return seal


def _opened(seal: Seal) -> tuple[Seal, str]:
    """``seal``, and the reasoning's text that ``sealed_item`` has put into it."""
    item = seal.item
    if seal.api != "chat" or not isinstance(item, dict) or not isinstance(item.get("text"), str):
        return seal, ""
    return attrs.evolve(seal, item={name: value for name, value in item.items() if name != "text"}), item["text"]
