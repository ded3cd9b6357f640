"""Writer of a ``Request``'s messages as ``systemInstruction`` and ``contents`` for a Gemini provider.

The API requires two roles, consecutive messages of a role in one content, all results of a turn in one content after
the calls (google-gemini/gemini-cli#5443), thought signatures on their original parts, and no empty text. Source:
Gemini's API reference; the rules cite public threads.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, takewhile
from typing import Any, Final, assert_never

import attrs

from providers.gemini.media import GeminiPart, media_of, media_part, result_media, result_part
from providers.gemini.turns import ModelTurn
from providers.neutral.codec import Recipient
from providers.neutral.fields import Drops, join_path
from providers.neutral.made_images import turn_images
from providers.neutral.request import (
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    NativePart,
    Part,
    ReasoningPart,
    RefusalPart,
    Request,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from streams.errors import invalid

_INSTRUCTIONS: Final = ("system", "developer")
_FILE_NAMES: Final[Mapping[str, str]] = {"chat": "file.filename", "messages": "title", "converse": "document.name"}


class Contents:
    """The written messages of one request; ``write`` fills ``system`` and ``contents``."""

    def __init__(self, request: Request, to: Recipient, drops: Drops) -> None:
        self.system: list[GeminiPart] = []
        self.contents: list[dict[str, Any]] = []
        self._request = request
        self._to = to
        self._drops = drops
        self._names: dict[str, str] = {}  # function names by the ids of their calls so far
        self._ids: dict[str, str] = {}  # call ids from the provider
        self._order: dict[str, int] = {}  # positions of the calls in the previous turn

    def write(self, messages: Sequence[Message]) -> None:
        """Write ``messages``. Raises ``GatewayError`` (400) with the path of a part that the API cannot express."""
        leading = list(takewhile(lambda message: message.role in _INSTRUCTIONS, messages))
        for message in leading:
            self.system.extend(self._instruction_parts(message))
        conversation = (one for message in messages[len(leading) :] for one in _split_by_role(message))
        for role, several in groupby(conversation, lambda one: "model" if one.role == "assistant" else "user"):
            turn = list(several)
            parts = self._model_parts(turn) if role == "model" else self._user_parts(turn)
            if parts:
                self._add_turn(role, parts)
        if self.system and not self.contents:  # the API requires a content besides the instructions
            self._add_turn("user", self.system)
            self.system = []

    def _add_turn(self, role: str, parts: list[GeminiPart]) -> None:
        if self.contents and self.contents[-1]["role"] == role:
            self.contents[-1]["parts"].extend(parts)
        else:
            self.contents.append({"role": role, "parts": parts})

    def _instruction_parts(self, message: Message) -> list[GeminiPart]:
        parts: list[GeminiPart] = []
        for part in message.parts:
            if isinstance(part, TextPart):
                parts += self._text_parts(part)
            elif isinstance(part, NativePart):
                self._drops.add(part.at)
            else:
                raise invalid(f"{part.at} must be text: this model's provider supports nothing else there", part.at)
        return parts

    # The client's turns

    def _user_parts(self, turn: Sequence[Message]) -> list[GeminiPart]:
        """Return a user's turn: results first, in the order of their calls."""
        results: list[ToolResultPart] = []
        parts: list[GeminiPart] = []
        for message in turn:
            self._drop_name(message)
            if message.role in _INSTRUCTIONS:
                # Stays in place: changing the system instruction would invalidate the whole cached prefix.
                parts += [{"text": f"<system>\n{one['text']}\n</system>"} for one in self._instruction_parts(message)]
                continue
            for part in message.parts:
                if isinstance(part, ToolResultPart):
                    results.append(part)
                else:
                    parts += self._client_parts(part)
        results.sort(key=lambda part: self._order.get(part.call_id, len(self._order)))
        written = list(map(self._result_part, results))
        if not self._to.quirks.media_in_results:
            native = self._request.api == "gemini"
            written += (one for result in results if media_of(result) for one in result_media(result, native))
        return written + parts

    def _result_part(self, part: ToolResultPart) -> GeminiPart:
        native = self._request.api == "gemini"
        for holder in (*part.parts, part):
            self._drop_marks(holder)
            if isinstance(holder, FilePart) and holder.filename and not native:
                self._drops.add(join_path(holder.at, _FILE_NAMES.get(self._request.api, "filename")))
        name = self._names.get(part.call_id, part.call_id)
        return result_part(part, name, self._ids.get(part.call_id), self._to.quirks, native)

    def _client_parts(self, part: Part) -> list[GeminiPart]:
        match part:
            case TextPart():
                return self._text_parts(part)
            case RefusalPart(text=text):
                return [{"text": text}] if text else []
            case ImagePart() | FilePart() | AudioPart():
                return self._medium_parts(part)
            case NativePart(api="gemini", item=item):
                return [dict(item)]
            case NativePart(at=at):
                self._drops.add(at)
                return []
            case ReasoningPart():
                self._drops.add(*part.places)
                return []
            case ToolCallPart() | ToolResultPart():
                return []
            case _:
                assert_never(part)

    def _drop_marks(self, part: TextPart | ImagePart | FilePart | AudioPart | ToolResultPart) -> None:
        """Report marks and details that this API cannot express."""
        self._drops.add(*(join_path(part.at, mark) for mark in part.marks))
        if isinstance(part, ImagePart) and part.detail not in (None, "auto"):
            self._drops.add(join_path(part.at, "detail"))

    def _text_parts(self, part: TextPart) -> list[GeminiPart]:
        self._drop_marks(part)
        return [{"text": part.text}] if part.text else []

    def _medium_parts(self, part: ImagePart | FilePart | AudioPart) -> list[GeminiPart]:
        """Return the part, preceded by a file's name as text, because the API has no member for it."""
        self._drop_marks(part)
        native = self._request.api == "gemini"
        name = part.filename if isinstance(part, FilePart) and not native else None
        return [*([{"text": f"File {name}:"}] if name else []), media_part(part, native)]

    def _drop_name(self, message: Message) -> None:
        if message.name is not None:
            self._drops.add(join_path(message.at, "name"))

    # The model's turns

    def _model_parts(self, turn: Sequence[Message]) -> list[GeminiPart]:
        for message in turn:
            self._drop_name(message)
        parts = [part for message in turn for part in message.parts]
        written = ModelTurn(parts, self._request, self._to, self._drops)
        for part in parts:
            match part:
                case ToolCallPart():
                    self._names[part.id] = part.name
                    written.call(part)
                case ReasoningPart():
                    written.reasoning(part)
                case _:
                    self._add_model_part(part, written)
        calls = [part.id for part in parts if isinstance(part, ToolCallPart)]
        self._order = {id: place for place, id in enumerate(calls)}
        self._ids.update(written.ids)
        return written.all_parts()

    def _add_model_part(self, part: Part, written: ModelTurn) -> None:
        is_native = isinstance(part, NativePart) and part.api == "gemini"
        images = [] if is_native else turn_images(part, self._drops)
        for image in images:
            self._drop_marks(image)
            written.image(image)
        if not images:
            written.add(self._client_parts(part))


def _split_by_role(message: Message) -> Iterator[Message]:
    """Yield ``message``, with results in a model's message, and calls in a user's, as separate messages.

    Messages' types allow both.
    """
    misplaced = ToolResultPart if message.role == "assistant" else ToolCallPart
    if not any(isinstance(part, misplaced) for part in message.parts):
        yield message
        return
    other: Role = "user" if message.role == "assistant" else "assistant"
    for wrong, several in groupby(message.parts, lambda part: isinstance(part, misplaced)):
        yield attrs.evolve(message, role=other if wrong else message.role, parts=tuple(several))
