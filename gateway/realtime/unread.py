"""Frames of a protocol that nobody here reads, on a path that is passed through."""

from gateway.realtime.notices import ClientFrame, ModelRule, Notice
from gateway.upstream.websocket import Piece
from streams.events import ErrorInfo


class UnreadFrames:
    """The ``FrameReader`` of such a session: what it uses is unknown."""

    def from_client(self, message: Piece, models: ModelRule) -> ClientFrame:
        return ClientFrame(message, characters=len(message))

    def from_provider(self, message: Piece) -> tuple[Notice, ...]:
        return ()

    def rest(self) -> tuple[Notice, ...]:
        return ()

    def cancelling(self, id: str | None) -> Piece | None:
        return None

    def error(self, failed: ErrorInfo, event_id: str | None) -> Piece | None:
        return None
