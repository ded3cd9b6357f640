"""The messages of Gemini Live (https://ai.google.dev/api/live), read for metering and checks.

The first message, ``setup``, contains the model; all messages may be binary. ``usageMetadata`` may occur several times
in a turn: the last one counts."""

from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.realtime.notices import ClientFrame, FrameReader, ModelRule, Notice, OutputPiece, ResponseEnded, Resumable
from gateway.realtime.objects import ExaminedObject, Tree, decode_frame
from gateway.upstream.websocket import Piece
from providers.gemini.usage import read_live_usage
from streams.errors import invalid
from streams.surrogates import tolerate_lone_surrogates

if TYPE_CHECKING:
    from streams.events import Usage

PREFIX: Final = "models/"

_TREE: Final[Tree] = {"setup": {"model": None, "sessionResumption": {"handle": None}}}
_AUDIO_CHARACTERS: Final = 1600  # characters of base64 audio per character of text


class _Content(msgspec.Struct, rename="camel"):
    turn_complete: bool = False
    interrupted: bool = False


class _Resumption(msgspec.Struct, rename="camel"):
    new_handle: str = ""


class _ServerMessage(msgspec.Struct, rename="camel"):
    session_resumption_update: _Resumption | None = None
    server_content: _Content | None = None
    tool_call: msgspec.Raw | None = None
    usage_metadata: Any = None


_decode_server_message: Final = tolerate_lone_surrogates(msgspec.json.Decoder(_ServerMessage).decode)


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
        self._usage: Usage | None = None

    def read_client_frame(self, message: Piece, models: ModelRule) -> ClientFrame:
        event = ExaminedObject.of_frame(message, _TREE)
        body = event.frame
        characters = len(body) // _AUDIO_CHARACTERS if b"realtimeInput" in body[:200] else len(body)
        if (name := event.texts.get("setup.model")) is None:
            return ClientFrame(message, characters=characters)
        event.put("setup.model", PREFIX + models.provider_name("setup.model", name.removeprefix(PREFIX)))
        return ClientFrame(event.encode_as(message), characters=characters)

    def read_provider_frame(self, message: Piece) -> tuple[Notice, ...]:
        if (received := decode_frame(_decode_server_message, message)) is None:
            return ()
        self._usage = read_live_usage(received.usage_metadata) or self._usage
        content, resumption = received.server_content, received.session_resumption_update
        if resumption is not None and resumption.new_handle:
            return (Resumable(resumption.new_handle),)
        if content is None:
            return (
                self._response_ended("tool_call") if received.tool_call is not None and self._usage is not None else ()
            )
        if content.turn_complete:
            return self._response_ended("complete")
        return (OutputPiece(len(message) // _AUDIO_CHARACTERS),)

    def _response_ended(self, status: str) -> tuple[Notice, ...]:
        usage, self._usage = self._usage, None
        return (ResponseEnded(None, usage, status),)

    def unfinished_notices(self) -> tuple[Notice, ...]:
        return self._response_ended("cut") if self._usage is not None else ()
