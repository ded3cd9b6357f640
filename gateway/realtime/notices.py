"""What is read in the frames of a session, in the words of no API: it is all that the meter and the checks see."""

from typing import Protocol, TypeAlias

import attrs

from gateway.upstream.websocket import Piece
from streams.events import ErrorInfo, Usage


@attrs.frozen
class ResponseBegun:
    """The model begins to answer."""

    id: str | None = None


@attrs.frozen
class Spoken:
    """A piece of an answer, as if it had so many characters of text."""

    characters: int


@attrs.frozen
class ResponseEnded:
    """The model has answered, well or not. ``usage`` is ``None`` where the provider does not say what it took;
    ``status`` is its word for how it ended."""

    id: str | None = None
    usage: Usage | None = None
    status: str | None = None


@attrs.frozen
class TranscriptBilled:
    """What was heard has been written down, by a model of its own, which is billed apart."""

    usage: Usage | None
    model: str | None = None


@attrs.frozen
class Complaint:
    """The provider has not done what a frame asked for."""

    event_id: str | None = None
    message: str = ""
    log_message: str | None = attrs.field(default=None, eq=False)  # replaces ``message`` in the log


@attrs.frozen
class Resumable:
    """Another session can go on from this one by ``handle``, once it has ended."""

    handle: str


Notice: TypeAlias = ResponseBegun | Spoken | ResponseEnded | TranscriptBilled | Complaint | Resumable


@attrs.frozen
class ClientFrame:
    """A client's frame as it goes to the provider. ``asks``: the model is to answer; ``characters`` is its size as
    text, about. ``event_id`` is what an error about it names."""

    message: Piece
    asks: bool = False
    characters: int = 0
    event_id: str | None = None


class ModelRule(Protocol):
    """Which models the frames of a session may name."""

    def own(self, at: str, name: str) -> str:
        """The provider's name for the session's model, which a client calls ``name``. Raises ``GatewayError``."""
        ...

    def further(self, at: str, name: str) -> None:
        """Check that the provider may be asked for the model ``name`` beside the session's own. Raises
        ``GatewayError``."""
        ...


class FrameReader:
    """The reader of the frames of one session in one API. Pure; used by one task a direction. This one is for a
    protocol that nobody here reads, on a path that is passed through."""

    is_metered = False
    """Whether the frames say what a session uses."""

    def from_client(self, message: Piece, models: ModelRule) -> ClientFrame:
        """Read a client's frame. Raises ``GatewayError`` for one that may not be passed on."""
        return ClientFrame(message, characters=len(message))

    def from_provider(self, message: Piece) -> tuple[Notice, ...]:
        """Read a provider's frame."""
        return ()

    def rest(self) -> tuple[Notice, ...]:
        """Return what is known of an answer that has not ended by the end of the session."""
        return ()

    def cancelling(self, id: str | None) -> Piece | None:
        """Return the frame that stops the answer ``id``; ``None`` where the API has none."""
        return None

    def error(self, failed: ErrorInfo, event_id: str | None) -> Piece | None:
        """Return the frame that reports an error to a client; ``None`` where the API has none."""
        return None
