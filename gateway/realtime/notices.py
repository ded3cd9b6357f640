"""API-independent events read from a session's frames, for the meter and the checks."""

from typing import Protocol, TypeAlias

import attrs

from gateway.upstream.websocket import Piece
from streams.events import ErrorInfo, Usage


@attrs.frozen
class ResponseStarted:
    """The model starts a response."""

    id: str | None = None


@attrs.frozen
class OutputPiece:
    """A piece of a response, equivalent to ``characters`` of text."""

    characters: int


@attrs.frozen
class ResponseEnded:
    """The end of a response, successful or not.

    ``usage`` is ``None`` if the provider does not report it; ``status`` is the provider's word."""

    id: str | None = None
    usage: Usage | None = None
    status: str | None = None


@attrs.frozen
class TranscriptBilled:
    """A transcript of the client's audio by a separate model, billed separately."""

    usage: Usage | None
    model: str | None = None


@attrs.frozen
class Complaint:
    """An error of the provider about a client's frame."""

    event_id: str | None = None
    message: str = ""
    log_message: str | None = attrs.field(default=None, eq=False)  # replaces ``message`` in the log


@attrs.frozen
class Resumable:
    """Another session can continue this one with ``handle`` after its end."""

    handle: str


Notice: TypeAlias = ResponseStarted | OutputPiece | ResponseEnded | TranscriptBilled | Complaint | Resumable


@attrs.frozen
class ClientFrame:
    """A client's frame for the provider.

    ``asks`` means that the model will respond; ``characters`` is its approximate size as text; errors about it contain
    ``event_id``."""

    message: Piece
    asks: bool = False
    characters: int = 0
    event_id: str | None = None


class ModelRule(Protocol):
    """The rule for models in a session's frames."""

    def own(self, at: str, name: str) -> str:
        """Return the provider's name for the session's model ``name``. Raises ``GatewayError``."""
        ...

    def further(self, at: str, name: str) -> None:
        """Check that the session may also use the model ``name``. Raises ``GatewayError``."""
        ...


class FrameReader:
    """The reader of one session's frames, pure, used by one task per direction.

    This base class is for a pass-through path with an unknown protocol."""

    is_metered = False
    """Whether the frames report the session's usage."""

    def from_client(self, message: Piece, models: ModelRule) -> ClientFrame:
        """Read a client's frame. Raises ``GatewayError`` if it may not be passed on."""
        return ClientFrame(message, characters=len(message))

    def from_provider(self, message: Piece) -> tuple[Notice, ...]:
        """Read a provider's frame."""
        return ()

    def rest(self) -> tuple[Notice, ...]:
        """Return the known events of a response that the end of the session interrupted."""
        return ()

    def cancel_frame(self, id: str | None) -> Piece | None:
        """Return the frame that stops response ``id``, ``None`` if the API has none."""
        return None

    def error(self, failed: ErrorInfo, event_id: str | None) -> Piece | None:
        """Return the frame that reports an error to a client, ``None`` if the API has none."""
        return None
