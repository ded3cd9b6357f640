"""The messages of Gemini Live (https://ai.google.dev/api/live), read for metering and checks.

The first message, ``setup``, contains the model; all messages may be binary. ``usageMetadata`` may occur several times
in a turn: the last one counts."""

from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.features.realtime.notices import (
    AudioCounter,
    ClientFrame,
    FrameReader,
    ModelRule,
    Notice,
    OutputPiece,
    ResponseEnded,
    Resumable,
)
from gateway.features.realtime.objects import ExaminedObject, Tree, decode_frame
from gateway.features.realtime.provider_websocket import Piece
from providers.gemini.usage import read_live_usage
from streams.errors import invalid
from streams.surrogates import decode_or, tolerate_lone_surrogates

if TYPE_CHECKING:
    from streams.events import Usage

PREFIX: Final = "models/"

_TREE: Final[Tree] = {"setup": {"model": None, "sessionResumption": {"handle": None}}}
_INPUT_NAMES: Final = ("realtimeInput", "realtime_input")  # Google's Python SDK sends the second
_INPUT_AUDIO_CHARACTERS: Final = 400
_OUTPUT_AUDIO_CHARACTERS: Final = 640
"""Characters of base64 audio that count as one character of text, which is a quarter of a token.

A second of audio is 25 tokens. It has 43,000 characters as input (16 kHz, 16 bit) and 64,000 as output (24 kHz)."""


class _RealtimeInput(msgspec.Struct):
    text: str = ""


class _Blob(msgspec.Struct):
    data: str = ""


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    inline_data: _Blob | None = None


class _LiveTurn(msgspec.Struct):
    parts: list[_Part] = []


class _Content(msgspec.Struct, rename="camel"):
    turn_complete: bool = False
    interrupted: bool = False
    model_turn: msgspec.Raw = msgspec.Raw(b"")


class _Resumption(msgspec.Struct, rename="camel"):
    new_handle: str = ""


class _ServerMessage(msgspec.Struct, rename="camel"):
    session_resumption_update: _Resumption | None = None
    server_content: _Content | None = None
    tool_call: msgspec.Raw = msgspec.Raw(b"")  # ``Raw | None`` would accept only ``null``
    usage_metadata: Any = None


_ABSENT: Final = (b"", b"null")

_decode_server_message: Final = tolerate_lone_surrogates(msgspec.json.Decoder(_ServerMessage).decode)
_decode_turn: Final = tolerate_lone_surrogates(msgspec.json.Decoder(_LiveTurn).decode)
_decode_input: Final = tolerate_lone_surrogates(msgspec.json.Decoder(_RealtimeInput).decode)


def read_setup(message: Piece) -> tuple[str, str | None]:
    """Return the model in a client's first message, and the handle of the session to resume.

    Raises ``GatewayError`` (400) if it is no ``setup``."""
    texts = ExaminedObject.of_frame(message, _TREE).texts
    model = texts.get("setup.model", "").removeprefix(PREFIX)
    if not model:
        raise invalid("the first message must be a setup with a model", "setup.model")
    return model, texts.get("setup.sessionResumption.handle")


class GeminiFrames(FrameReader):
    """A reader of the messages of one Gemini Live session."""

    is_metered = True

    def __init__(self) -> None:
        self._input, self._output = AudioCounter(_INPUT_AUDIO_CHARACTERS), AudioCounter(_OUTPUT_AUDIO_CHARACTERS)
        self._usage: Usage | None = None

    def read_client_frame(self, message: Piece, models: ModelRule) -> ClientFrame:
        event = ExaminedObject.of_frame(message, _TREE)
        characters = self._characters_of(event)
        if (name := event.texts.get("setup.model")) is None:
            return ClientFrame(message, characters=characters)
        event.put("setup.model", PREFIX + models.provider_name("setup.model", name.removeprefix(PREFIX)))
        return ClientFrame(event.encode_as(message), characters=characters)

    def _characters_of(self, event: ExaminedObject) -> int:
        """Return the length of a client's frame as text."""
        inputs = [event.members[name] for name in _INPUT_NAMES if name in event.members]
        if not inputs:
            return len(event.frame)
        texts = sum(len(decode_or(_decode_input, bytes(each), _RealtimeInput()).text) for each in inputs)
        return texts + self._input.add(max(0, len(event.frame) - texts))

    def read_provider_frame(self, message: Piece) -> tuple[Notice, ...]:
        if (received := decode_frame(_decode_server_message, message)) is None:
            return ()
        self._usage = read_live_usage(received.usage_metadata) or self._usage
        content, resumption = received.server_content, received.session_resumption_update
        if resumption is not None and resumption.new_handle:
            return (Resumable(resumption.new_handle),)
        if content is None:
            if bytes(received.tool_call) in _ABSENT:
                return ()
            return (OutputPiece(len(received.tool_call)),) if self._usage is None else self._response_ended("tool_call")
        if content.turn_complete:
            return self._response_ended("complete")
        return (OutputPiece(self._output_characters(content.model_turn)),)

    def _output_characters(self, turn: msgspec.Raw) -> int:
        """Return the length of a piece of the model's turn as text."""
        if (found := decode_or(_decode_turn, bytes(turn), None)) is None:
            return self._output.add(len(turn))
        texts = sum(len(part.text or "") for part in found.parts)
        return texts + self._output.add(sum(len(part.inline_data.data) for part in found.parts if part.inline_data))

    def _response_ended(self, status: str) -> tuple[Notice, ...]:
        usage, self._usage = self._usage, None
        return (ResponseEnded(None, usage, status),)

    def unfinished_notices(self) -> tuple[Notice, ...]:
        return self._response_ended("cut") if self._usage is not None else ()
