"""Events that all realtime APIs have in common, and the protocols of readers that find them in frames."""

from typing import Protocol, TypeAlias

import attrs

from gateway.features.realtime.provider_websocket import Piece
from streams.events import ErrorInfo, Usage


@attrs.frozen
class ResponseStarted:
    """An event: the model starts a response."""

    id: str | None = None


@attrs.frozen
class OutputPiece:
    """An event: a piece of a response, which counts as ``characters`` of text."""

    characters: int


@attrs.frozen
class ResponseEnded:
    """An event: a response ends, successfully or not.

    ``usage`` is ``None`` if the provider does not report it; ``status`` is the provider's word."""

    id: str | None = None
    usage: Usage | None = None
    status: str | None = None


@attrs.frozen
class TranscriptStarted:
    """An event: a separate ``model`` starts to transcribe the client's audio, the conversation's ``item``."""

    item: str
    model: str


@attrs.frozen
class TranscriptBilled:
    """An event: a ``model`` has transcribed the client's audio, or done other work, which is billed separately.

    ``item`` is the conversation's item with the audio, if the provider reports it. ``reason`` is for the log."""

    usage: Usage | None
    model: str | None = None
    item: str | None = None
    reason: str = "transcribed"


@attrs.frozen
class TranscriptFailed:
    """An event: the audio of ``item`` could not be transcribed."""

    item: str


@attrs.frozen
class FrameRejected:
    """An event: the provider rejects a frame of the client."""

    event_id: str | None = None
    message: str = ""
    log_message: str | None = attrs.field(default=None, eq=False)  # replaces ``message`` in the log


@attrs.frozen
class Resumable:
    """An event: after the session's end, another one can resume it with ``handle``."""

    handle: str


Notice: TypeAlias = (
    ResponseStarted
    | OutputPiece
    | ResponseEnded
    | TranscriptStarted
    | TranscriptBilled
    | TranscriptFailed
    | FrameRejected
    | Resumable
)


@attrs.frozen
class ClientFrame:
    """A client's frame for the provider.

    ``requests_response`` means that the model will respond. ``characters`` is the frame's approximate size as text,
    and ``is_audio`` means that it is only audio. Errors about the frame contain ``event_id``."""

    message: Piece
    requests_response: bool = False
    characters: int = 0
    event_id: str | None = None
    is_audio: bool = False


class AudioCounter:
    """A count of the audio of one direction, in characters of text.

    A piece of 20 ms is often less than one character, so its rest counts with the next piece. ``size`` is the number of
    audio's characters for one of text."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rest = 0

    def add(self, length: int) -> int:
        """Return the characters of text that ``length`` more characters of audio complete."""
        characters, self._rest = divmod(self._rest + length, self._size)
        return characters


class ModelRule(Protocol):
    """A rule for the models in a session's frames; ``at`` is a model's path in the frame."""

    def provider_name(self, at: str, name: str) -> str:
        """Return the provider's name for ``name``, which a frame states as the session's model.

        Raises ``GatewayError`` if the session may not use it."""

    def check_other(self, at: str, name: str) -> None:
        """Check that the client may also use the model ``name``, such as a transcriber. Raises ``GatewayError``."""


class FrameReader:
    """A reader of one session's frames, without I/O.

    This base class understands no frame; pass-through paths with an unknown protocol use it."""

    is_metered = False
    """True if the frames report the session's usage."""

    def read_client_frame(self, message: Piece, models: ModelRule) -> ClientFrame:
        """Read a client's frame. Raises ``GatewayError`` if it may not be passed on."""
        return ClientFrame(message, characters=len(message))

    def read_provider_frame(self, message: Piece) -> tuple[Notice, ...]:
        """Return the events in a provider's frame."""
        return ()

    def for_client(self, message: Piece) -> Piece:
        """Return ``message``, the last frame read from the provider, in the client's form."""
        return message

    def unfinished_notices(self) -> tuple[Notice, ...]:
        """Return events for a response that the session's end has interrupted."""
        return ()

    def cancel_frame(self, id: str | None) -> Piece | None:
        """Return the frame that stops response ``id``, ``None`` if the API has none."""
        return None

    def error_frame(self, error: ErrorInfo, event_id: str | None) -> Piece | None:
        """Return the frame that reports an error to a client, ``None`` if the API has none."""
        return None
