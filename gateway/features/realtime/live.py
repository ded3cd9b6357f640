"""OpenAI's Live sessions, read for metering and checks.

The first frame, ``session.start``, has the model. ``session.usage.updated`` reports the seconds of the whole session so
far. The gateway bills them in portions, so that an exhausted budget ends the session. Source: the types of the
openai package, 3.54 (``types/live``)."""

import contextlib
import math
from collections.abc import Callable
from typing import Any, Final

import msgspec

from gateway.features.realtime.events import INPUT_AUDIO_CHARACTERS, error_event
from gateway.features.realtime.notices import (
    AudioCounter,
    ClientFrame,
    FrameReader,
    ModelRule,
    Notice,
    TranscriptBilled,
)
from gateway.features.realtime.objects import ExaminedObject, Tree, decode_frame, read_object
from gateway.features.realtime.provider_websocket import Piece
from providers.endpoints.media_tokens import read_usage
from streams.errors import GatewayError, invalid
from streams.events import ErrorInfo, Usage
from streams.surrogates import tolerate_lone_surrogates

_MODEL: Final = "session.model"
_DELEGATED: Final[Tree] = {"responses": {"model": None}, "decisions": {"model": None}}
_TREE: Final[Tree] = {"type": None, "event_id": None, "session": {"model": None, "delegation": _DELEGATED}}
_ENDS: Final = frozenset(("response.completed", "response.incomplete", "response.failed"))

PORTION_SECONDS: Final = 30
"""The seconds of a session that are billed together while it runs. Each bill checks the client's limits."""

MOST_SECONDS: Final = 10**7
"""The largest number of seconds that a provider may report for a session."""


class _LiveSession(msgspec.Struct):
    id: str | None = None
    model: str | None = None


class _LiveUsage(msgspec.Struct):
    seconds: float | None = None


class _DelegatedResponse(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    usage: Any = None


class _NestedEvent(msgspec.Struct):
    type: str = ""
    response: _DelegatedResponse | None = None


class _LiveEvent(msgspec.Struct):
    type: str = ""
    session: _LiveSession | None = None
    usage: _LiveUsage | None = None
    event: _NestedEvent | None = None


_decode_event: Final = tolerate_lone_surrogates(msgspec.json.Decoder(_LiveEvent).decode)


def read_start(message: Piece) -> str:
    """Return the model in a client's first frame. Raises ``GatewayError`` (400) if it is no ``session.start``."""
    texts = ExaminedObject.of_frame(message, _TREE).texts
    if texts.get("type") != "session.start" or not (model := texts.get(_MODEL)):
        raise invalid("the first frame must be session.start with session.model", _MODEL)
    return model


class LiveFrames(FrameReader):
    """A reader of the frames of one Live session. ``client_id`` makes the client's id of a session from the provider's.

    Without ``bills``, another connection is billed for the session."""

    is_metered = True

    def __init__(self, client_id: Callable[[str], str], *, bills: bool = True) -> None:
        self._client_id = client_id
        self._bills = bills
        self._input = AudioCounter(INPUT_AUDIO_CHARACTERS)
        self._seconds = 0.0
        self._billed_seconds = 0
        self._model: str | None = None
        self._changed: Piece | None = None

    def read_client_frame(self, message: Piece, models: ModelRule) -> ClientFrame:
        event = ExaminedObject.of_frame(message, _TREE)
        for at, name in event.texts.items():
            if at == _MODEL:
                event.put(at, models.provider_name(at, name))
            elif at not in ("type", "event_id"):
                models.check_other(at, name)
        is_audio = event.texts.get("type") == "session.input_audio.append"
        if not is_audio:
            message = event.encode_as(message)  # once, because only one copy of a duplicate was checked
        characters = self._input.add(len(message)) if is_audio else len(message)
        return ClientFrame(message, characters=characters, event_id=event.texts.get("event_id"), is_audio=is_audio)

    def read_provider_frame(self, message: Piece) -> tuple[Notice, ...]:
        self._changed = None
        if (event := decode_frame(_decode_event, message)) is None:
            return ()  # unknown frames pass
        if event.session is not None and event.session.id is not None:
            self._model = event.session.model or self._model
            with contextlib.suppress(GatewayError):  # nothing can sign an id: the session has no other connections
                self._changed = _with_session_id(message, self._client_id(event.session.id))
        if event.usage is not None and event.usage.seconds is not None and event.type.startswith("session."):
            self._seconds = min(max(event.usage.seconds, self._seconds), MOST_SECONDS)
            if self._seconds - self._billed_seconds >= PORTION_SECONDS:
                return self._unbilled_notices(int(self._seconds), "running")
        if event.type == "response.event" and event.event is not None and event.event.type in _ENDS and self._bills:
            response = event.event.response or _DelegatedResponse()
            return (TranscriptBilled(read_usage(response.usage), response.model, response.id, "delegated"),)
        return ()

    def for_client(self, message: Piece) -> Piece:
        return message if self._changed is None else self._changed

    def unfinished_notices(self) -> tuple[Notice, ...]:
        return self._unbilled_notices(math.ceil(self._seconds), "complete")

    def _unbilled_notices(self, seconds: int, reason: str) -> tuple[Notice, ...]:
        """Return the event that bills the session up to ``seconds``."""
        unbilled, self._billed_seconds = seconds - self._billed_seconds, seconds
        if not self._bills or not unbilled:
            return ()
        return (TranscriptBilled(Usage(units=(("second", unbilled),)), self._model, None, reason),)

    def error_frame(self, error: ErrorInfo, event_id: str | None) -> Piece | None:
        return error_event(error, event_id)


def _with_session_id(message: Piece, id: str) -> Piece:
    """Return the frame with ``id`` as that of its session; all other members keep their bytes."""
    members = read_object(message.encode() if isinstance(message, str) else message) or {}
    session = read_object(members["session"]) or {}
    changed = msgspec.json.encode({**members, "session": {**session, "id": id}})
    return changed.decode() if isinstance(message, str) else changed
