"""The frames of OpenAI's realtime API in both generations, read for metering and checks.

Event names differ between generations (``response.audio.delta``, ``response.output_audio.delta``), and new ones appear:
unknown events pass. Source: https://platform.openai.com/docs/api-reference/realtime."""

import re
from typing import Any, Final

import msgspec

from gateway.features.realtime.notices import (
    AudioCounter,
    ClientFrame,
    FrameReader,
    FrameRejected,
    ModelRule,
    Notice,
    OutputPiece,
    ResponseEnded,
    ResponseStarted,
    TranscriptBilled,
    TranscriptFailed,
    TranscriptStarted,
)
from gateway.features.realtime.objects import ExaminedObject, Tree, has_too_many_elements
from gateway.features.realtime.provider_websocket import Piece
from providers.endpoints.media_tokens import read_usage
from providers.errors.reasons import log_message
from streams.events import ErrorInfo
from streams.surrogates import NOT_JSON, tolerate_lone_surrogates

_MODEL_PATHS: Final = ("model", "session.model", "response.model")
"""Paths of the session's own model; vLLM's ``session.update`` has it at the top."""

SESSION: Final[Tree] = {
    "model": None,
    "input_audio_transcription": {"model": None},
    "audio": {"input": {"transcription": {"model": None}}},
}
"""Session settings that contain models."""

_TREE: Final[Tree] = {
    "type": None,
    "event_id": None,
    "model": None,
    "response": {"model": None},
    "session": SESSION,
}
_MODEL_MEMBERS: Final = frozenset(_TREE) - {"type", "event_id"}

INPUT_AUDIO_CHARACTERS: Final = 1600
OUTPUT_AUDIO_CHARACTERS: Final = 800
"""Characters of base64 audio that count as one character of text, which is a quarter of a token.

A second of 24 kHz 16-bit audio has 64,000 characters: about 10 tokens of input and 20 of output."""

_EVENT_START: Final = re.compile(rb"[\x00\s\xef\xbb\xbf\xfe\xff]*+\{[\x00\s]*+[\"}]")
"""The start of a binary event, in any encoding that a provider may detect (RFC 4627, section 3), with or without a BOM.

Raw audio may also start with a brace: in 16-bit samples 123 is ``{`` and a zero."""

ERROR_TYPES: Final = {"internal": "server_error", "upstream": "server_error", "overloaded": "server_error"}

_AUDIO_INPUT: Final = frozenset(("input_audio_buffer.append", "session.input_audio_buffer.append"))
_AUDIO_DELTAS: Final = frozenset(("response.audio.delta", "response.output_audio.delta", "session.output_audio.delta"))
_DELTAS: Final = frozenset((
    "response.text.delta", "response.output_text.delta", "response.audio_transcript.delta",
    "response.output_audio_transcript.delta", "response.function_call_arguments.delta",
    "session.output_transcript.delta",
))  # fmt: skip
_TRANSLATED: Final = frozenset(("session.output_audio.delta", "session.output_transcript.delta"))
"""The output of a translation, which has no responses, and no usage."""

_TRANSCRIBED: Final = "conversation.item.input_audio_transcription.completed"
_NOT_TRANSCRIBED: Final = "conversation.item.input_audio_transcription.failed"
_SETTINGS: Final = frozenset(
    ("session.created", "session.updated", "transcription_session.created", "transcription_session.updated")
)
"""Events with the session's settings in force."""


class _NamedEvent(msgspec.Struct):
    type: str = ""


class _Response(msgspec.Struct):
    id: str | None = None
    status: str | None = None
    usage: Any = None


class _Transcription(msgspec.Struct):
    model: str | None = None


class _AudioInput(msgspec.Struct):
    transcription: _Transcription | msgspec.UnsetType | None = msgspec.UNSET


class _Audio(msgspec.Struct):
    input: _AudioInput | None = None


class _Settings(msgspec.Struct):
    """The session's settings that contain its transcriber, in both generations."""

    input_audio_transcription: _Transcription | msgspec.UnsetType | None = msgspec.UNSET
    audio: _Audio | None = None


class _EventParts(msgspec.Struct):
    """The members of a provider's event that metering needs."""

    response: _Response | None = None
    usage: Any = None
    delta: str | None = None
    error: Any = None
    item_id: str | None = None
    session: _Settings | None = None


_decode_type: Final = tolerate_lone_surrogates(msgspec.json.Decoder(_NamedEvent).decode)
_decode_parts: Final = tolerate_lone_surrogates(msgspec.json.Decoder(_EventParts).decode)


class OpenAiFrames(FrameReader):
    """A reader of the frames of one session in OpenAI's realtime API."""

    is_metered = True

    def __init__(self) -> None:
        self._input, self._output = AudioCounter(INPUT_AUDIO_CHARACTERS), AudioCounter(OUTPUT_AUDIO_CHARACTERS)
        self._transcriber: str | None = None
        self._translates = False  # whether a translation has output that is not billed yet

    def read_client_frame(self, message: Piece, models: ModelRule) -> ClientFrame:
        if isinstance(message, bytes) and not _EVENT_START.match(message):  # raw audio
            return ClientFrame(message, characters=self._input.add(len(message)), is_audio=True)
        event = ExaminedObject.of_frame(message, _TREE)
        kind, event_id = event.texts.get("type"), event.texts.get("event_id")
        is_audio = kind in _AUDIO_INPUT
        characters = self._input.add(len(event.members.get("audio", b""))) if is_audio else len(event.frame)
        for at, name in event.texts.items():
            if at in _MODEL_PATHS:
                event.put(at, models.provider_name(at, name))
            elif at not in ("type", "event_id"):
                models.check_other(at, name)
                self._transcriber = name
        if not _MODEL_MEMBERS.isdisjoint(event.members):
            message = event.encode_as(message)  # once even if it was duplicated: only one copy was checked
        return ClientFrame(message, kind == "response.create", characters, event_id, is_audio)

    def read_provider_frame(self, message: Piece) -> tuple[Notice, ...]:
        body = message.encode() if isinstance(message, str) else message
        if has_too_many_elements(body):
            return ()
        try:
            return self._notices(body, _decode_type(body).type)
        except NOT_JSON:
            return ()  # unknown events pass

    def _notices(self, message: bytes, kind: str) -> tuple[Notice, ...]:
        self._translates |= kind in _TRANSLATED
        if kind == "session.closed" and self._translates:
            self._translates = False
            return (ResponseEnded(),)
        if kind in _AUDIO_DELTAS:
            return (OutputPiece(self._output.add(len(_decode_parts(message).delta or ""))),)
        if kind in _DELTAS:
            return (OutputPiece(len(_decode_parts(message).delta or "")),)
        if kind == "response.created":
            response = _decode_parts(message).response
            return (ResponseStarted(None if response is None else response.id),)
        if kind == "response.done":
            response = _decode_parts(message).response or _Response()
            return (ResponseEnded(response.id, read_usage(response.usage), response.status),)
        if kind == "input_audio_buffer.committed" and self._transcriber is not None:
            return (TranscriptStarted(_decode_parts(message).item_id or "", self._transcriber),)
        if kind == _TRANSCRIBED:
            parts = _decode_parts(message)
            return (TranscriptBilled(read_usage(parts.usage), self._transcriber, parts.item_id),)
        if kind == _NOT_TRANSCRIBED:
            return (TranscriptFailed(_decode_parts(message).item_id or ""),)
        if kind in _SETTINGS:
            self._note_settings(_decode_parts(message).session or _Settings())
        if kind == "error":
            error = _decode_parts(message).error
            about = error if isinstance(error, dict) else {}
            event_id = about.get("event_id")
            id = event_id if isinstance(event_id, str) else None
            return (FrameRejected(id, str(about.get("message", "")), log_message(None, about)),)
        return ()

    def _note_settings(self, settings: _Settings) -> None:
        """Note the transcriber in force: a client secret may have set it, or the provider's default."""
        current = settings.audio and settings.audio.input
        found = current.transcription if current else settings.input_audio_transcription
        if found is not msgspec.UNSET:
            self._transcriber = None if found is None else found.model

    def cancel_frame(self, id: str | None) -> Piece | None:
        about = {} if id is None else {"response_id": id}
        return msgspec.json.encode({"type": "response.cancel", **about}).decode()

    def error_frame(self, error: ErrorInfo, event_id: str | None) -> Piece | None:
        return error_event(error, event_id)


def error_event(error: ErrorInfo, event_id: str | None = None) -> str:
    """Return an OpenAI ``error`` event for an error of the gateway, about the client's event ``event_id`` if set."""
    member = {
        "type": ERROR_TYPES.get(error.kind, "invalid_request_error"),
        "code": error.code or error.kind,
        "message": error.message,
        "param": error.param,
        "event_id": event_id,
    }
    return msgspec.json.encode({"type": "error", "event_id": "event_trigate", "error": member}).decode()
