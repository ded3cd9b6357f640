"""Keep-alives: the bytes that a client gets while its provider is silent, in the form that the client's timer counts.

Each API declares its forms (``WireApi``), and each framing its comment."""

from collections.abc import Callable, Iterable
from typing import Final

from gateway.streaming.lane import Lane, StreamProgress
from providers.neutral.wire_api import WireApi
from streams.events import ErrorInfo

COUNTING_CLIENTS: Final = (("originator", "codex"), ("user-agent", "codex"))
"""Headers of clients that count only events, and the starts of their values in lower case.

Codex ignores comments and pings. After 300 s it sends its request again (Menci/Floway#498, Soju06/codex-lb#727). Other
clients fail at events that they do not know (router-for-me/CLIProxyAPI#4691)."""


def keep_alive(wire: WireApi, progress: StreamProgress, *, may_comment: bool = True) -> bytes:
    """Return a keep-alive for use between two events of a stream of ``wire``, ``b""`` if there is none.

    It is no event before the first content, because most APIs prescribe the first event."""
    if progress.over:
        return b""
    if wire.ping and progress.committed:
        return wire.ping
    return wire.framing.comment if may_comment else b""


def counts_events(headers: Iterable[tuple[str, str]]) -> bool:
    """Return whether a client with ``headers`` counts only events."""
    values = dict(headers)
    return any(values.get(name, "").lower().startswith(start) for name, start in COUNTING_CLIENTS)


class CountedLane:
    """A lane whose keep-alives are events, for a client that counts only events.

    ``event_after`` is the ``counted_ping`` of its API."""

    def __init__(self, lane: Lane, event_after: Callable[[bytes], bytes]) -> None:
        self.progress = lane.progress
        self.source = lane.source
        self.lane = lane
        self._event_after = event_after
        self._last = b""

    def feed(self, data: bytes) -> bytes:
        out = self.lane.feed(data)
        self._last = out or self._last
        return out

    def end(self, error: ErrorInfo | None = None) -> bytes:
        return self.lane.end(error)

    def trailing_bytes(self) -> bytes:
        return self.lane.trailing_bytes()

    def ping(self) -> bytes:
        if self.progress.over:
            return b""
        return self._event_after(self._last if self.progress.committed else b"")  # earlier events are held back
