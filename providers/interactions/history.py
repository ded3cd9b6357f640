"""Writer of a ``Request``'s messages as ``system_instruction`` and steps for an Interactions provider.

A thought with a signature belongs before the steps that it led to. Google rejects a function call of Gemini 3 without
such a thought (earendil-works/pi#2172), so turns of other providers get Google's documented placeholder. Source:
``Step`` of the google-genai package, and the page "Interactions API".
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, Final, assert_never

import msgspec

from providers.interactions.incoming import PLACEHOLDER
from providers.interactions.media import write_media
from providers.neutral.arguments import call_input
from providers.neutral.codec import Recipient
from providers.neutral.fields import Drops, join_path
from providers.neutral.made_images import turn_images
from providers.neutral.request import (
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    NativePart,
    ReasoningPart,
    RefusalPart,
    Request,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from providers.neutral.texts import drop_marks, instruction_texts
from streams.surrogates import decode_or

Step = dict[str, Any]

_INSTRUCTIONS: Final = ("system", "developer")
_FILE_NAMES: Final[Mapping[str, str]] = {"chat": "file.filename", "messages": "title", "converse": "document.name"}
_REPLAYED: Final = ("_call", "_result")
"""The ends of the types of steps of Google's tools."""


class History:
    """The written messages of one request; ``write`` fills ``instructions`` and ``steps``."""

    def __init__(self, request: Request, to: Recipient, drops: Drops) -> None:
        self.instructions: list[str] = []
        self.steps: list[Step] = []
        self._request = request
        self._native = request.api == "interactions"
        self._to = to
        self._drops = drops
        self._growing: Step = {}  # the last step with contents
        self._names: dict[str, str] = {}  # function names by the ids of their calls so far

    def write(self, messages: Sequence[Message]) -> None:
        """Convert ``messages`` to instructions and steps.

        Raises ``GatewayError`` (400) with the path of a part that the API cannot express."""
        leading = list(takewhile(lambda message: message.role in _INSTRUCTIONS, messages))
        for message in leading:
            self.instructions += self._instruction_texts(message)
        for message in messages[len(leading) :]:
            if message.name is not None:
                self._drops.add(join_path(message.at, "name"))
            if message.role in _INSTRUCTIONS:
                # Stays in place: changing the system instruction would invalidate the whole cached prefix.
                texts = self._instruction_texts(message)
                self._add_content("user_input", [_text(f"<system>\n{text}\n</system>") for text in texts])
            else:
                self._write_message(message)
        if self.instructions and not self.steps:  # the API requires an input besides the instructions
            self._add_content("user_input", [_text(text) for text in self.instructions])
            self.instructions = []

    def _instruction_texts(self, message: Message) -> list[str]:
        parts = [*instruction_texts(message, self._drops)]
        for part in parts:
            drop_marks(part, self._drops)
        return [part.text for part in parts if part.text]

    def _write_message(self, message: Message) -> None:
        speaker = "model_output" if message.role == "assistant" else "user_input"
        for part in message.parts:
            match part:
                case TextPart(text=text):
                    drop_marks(part, self._drops)
                    self._add_content(speaker, [_text(text)] if text else [])
                case RefusalPart(text=text):
                    self._add_content(speaker, [_text(text)] if text else [])
                case ImagePart() | FilePart() | AudioPart():
                    self._add_content(speaker, self._media_contents(part))
                case ReasoningPart():
                    self._add_reasoning(part)
                case ToolCallPart():
                    self._add_call(part)
                case ToolResultPart():
                    self.steps.append(self._result_step(part))
                case NativePart():
                    self._add_native(part, speaker)
                case _:
                    assert_never(part)

    def _add_content(self, kind: str, contents: list[dict[str, Any]]) -> None:
        """Add contents to the last step if it is of the same ``kind``, otherwise as a new step."""
        if not contents:
            return
        if self.steps and self.steps[-1] is self._growing and self._growing["type"] == kind:
            self._growing["content"] += contents
        else:
            self._growing = {"type": kind, "content": contents}
            self.steps.append(self._growing)

    def _media_contents(self, part: ImagePart | FilePart | AudioPart) -> list[dict[str, Any]]:
        """Return the part, preceded by a file's name as text, because the API has no member for it."""
        drop_marks(part, self._drops)
        name = part.filename if isinstance(part, FilePart) and not self._native else None
        return [*([_text(f"File {name}:")] if name else []), write_media(part, self._native)]

    def _add_native(self, part: NativePart, speaker: str) -> None:
        if part.api != "interactions" or not isinstance(part.item, dict):
            images = [content for image in turn_images(part, self._drops) for content in self._media_contents(image)]
            self._add_content(speaker, images)
            self._drops.add(*([] if images else [part.at]))
        elif str(part.item.get("type")).endswith(_REPLAYED):
            self.steps.append(part.item)
        else:
            self._add_content(speaker, [part.item])

    # The model's steps

    def _add_reasoning(self, part: ReasoningPart) -> None:
        """Add the steps that an earlier answer's reasoning carries; those of other providers are dropped."""
        if part.seal is None:
            items = [part.native] if self._native else []
        elif self._to.issuer.is_maker_of(part.seal) and part.seal.api == "interactions":
            items = part.seal.item if isinstance(part.seal.item, list) else [part.seal.item]
        else:
            items = []
        found = [item for item in items if is_replayed(item)]
        self.steps += found
        if not found:
            self._drops.add(*part.places)

    def _add_call(self, part: ToolCallPart) -> None:
        drop_marks(part, self._drops)
        self._names[part.id] = part.name
        if self._to.quirks.signed_calls and not self._native and not self._is_signed():
            self.steps.append({"type": "thought", "signature": PLACEHOLDER})
            self._drops.add(join_path(part.at, "signature"))
        arguments = call_input(part.input, part.kind)
        self.steps.append({"type": "function_call", "id": part.id, "name": part.name, "arguments": arguments})

    def _is_signed(self) -> bool:
        """Return whether the model's open turn has a signature or a call."""
        turn = takewhile(lambda step: step["type"] not in ("user_input", "function_result"), reversed(self.steps))
        return any(step.get("signature") or step["type"] == "function_call" for step in turn)

    # Results

    def _result_step(self, part: ToolResultPart) -> Step:
        drop_marks(part, self._drops)
        step: Step = {"type": "function_result", "call_id": part.call_id}
        if name := self._names.get(part.call_id):
            step["name"] = name
        step["result"] = self._result(part)
        return step | ({"is_error": True} if part.is_error else {})

    def _result(self, part: ToolResultPart) -> Any:
        """Return a result as text, as the object that a client of this API sent, or as contents."""
        for one in part.parts:
            drop_marks(one, self._drops)
            if isinstance(one, FilePart) and one.filename and not self._native:
                self._drops.add(join_path(one.at, _FILE_NAMES.get(self._request.api, "filename")))
        if any(not isinstance(one, TextPart) for one in part.parts):
            return list(self._result_contents(part))
        text = "\n".join(one.text for one in part.parts if isinstance(one, TextPart))
        return _decode_object(text) if self._native else text

    def _result_contents(self, part: ToolResultPart) -> Iterator[dict[str, Any]]:
        for one in part.parts:
            if isinstance(one, TextPart):
                yield _text(one.text)
            else:
                yield write_media(one, self._native)


def is_replayed(item: Any) -> bool:
    """Return whether ``item`` is a step that our reader seals. Others are not accepted: anyone can make a seal."""
    if not isinstance(item, dict) or not isinstance(kind := item.get("type"), str):
        return False
    return kind == "thought" or (kind.endswith(_REPLAYED) and not kind.startswith("function"))


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _decode_object(text: str) -> Any:
    """Return ``text``, or the object that it contains."""
    if not text.startswith("{"):
        return text
    value = decode_or(msgspec.json.decode, text, None)
    return value if isinstance(value, dict) else text
