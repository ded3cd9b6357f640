"""A lane with another framing than its API's own, such as Gemini's JSON array."""

from gateway.streaming.lane import Lane
from streams.events import ErrorInfo
from streams.framing import EventWriter, Framing


class Reframed:
    """A lane that writes the stream of another ``lane`` in the framing of ``writer``.

    ``lane_framing`` is the framing of that lane's API. ``comment`` is the keep-alive, if the framing has one."""

    def __init__(self, lane: Lane, lane_framing: Framing, writer: EventWriter, comment: bytes) -> None:
        self.progress = lane.progress
        self.source = lane.source
        self._lane = lane
        self._parse = lane_framing.parse
        self._splitter = lane_framing.splitter(2**62)  # the inner lane enforces its own limits
        self._writer = writer
        self._comment = comment
        self._is_closed = False

    def feed(self, data: bytes) -> bytes:
        return self._reframe(self._lane.feed(data))

    def end(self, error: ErrorInfo | None = None) -> bytes:
        return self._reframe(self._lane.end(error)) + self._close()

    def trailing_bytes(self) -> bytes:
        return b""

    def ping(self) -> bytes:
        """Return the API's keep-alive as another event, otherwise the framing's comment."""
        if self.progress.over:
            return b""
        return self._comment or self._reframe(self._lane.ping())

    def _reframe(self, out: bytes) -> bytes:
        if self._is_closed:
            return b""
        parsed = map(self._parse, self._splitter.feed(out))
        again = b"".join([self._writer.event(*event) for event in parsed if event is not None])
        return again + self._close() if self.progress.over else again

    def _close(self) -> bytes:
        """Return the end of the stream, the first time."""
        if self._is_closed:
            return b""
        self._is_closed = True
        return self._writer.close()


def reframe_for_client(lane: Lane, lane_framing: Framing, client: Framing) -> Lane:
    """Return ``lane``, reframed if the client's framing differs from ``lane_framing``."""
    if client is lane_framing or client.writer is None:
        return lane
    return Reframed(lane, lane_framing, client.writer(), client.comment)
