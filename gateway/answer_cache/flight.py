"""A response in progress that several requests follow, each at its own speed."""

import enum
from collections import deque
from collections.abc import Sequence

import trio

from gateway.answer_cache.stored_answer import AnswerStamp
from gateway.upstream.response import UpstreamResponse
from streams.errors import GatewayError
from streams.events import ErrorInfo

TOO_SLOW = ErrorInfo("upstream", "the client read the response too slowly", reason=None)
ABANDONED = ErrorInfo("upstream", "the first of these identical requests was cancelled", reason="connection")


class FlightStage(enum.Enum):
    """The progress of a response."""

    WAITING = enum.auto()
    """No content yet: another attempt may replace this one."""
    STREAMING = enum.auto()
    """Content has arrived and goes to all followers."""
    FAILED = enum.auto()


class Flight:
    """A response in progress from a provider. The first request leads: it is the one that the provider received.

    ``most`` limits the bytes in memory; beyond it, the pieces that the leader has read are dropped. ``stamp`` is common
    to all translations of the response. ``content_type`` is set when content arrives."""

    def __init__(self, most: int, stamp: AnswerStamp) -> None:
        self.stage = FlightStage.WAITING
        self.stamp = stamp
        self.content_type = ""
        self.failed = ABANDONED
        self.pauses: list[tuple[int, int]] = []
        self._most = most
        self._pieces: deque[bytes] = deque()
        self._first = 0  # the number of the first piece in memory
        self._held = 0
        self._ended = False  # the response is complete
        self._at = 0.0
        self._readers: set[FlightReader] = set()
        self._leader: FlightReader | None = None
        self._followers = 0
        self._changed = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope(shield=True)
        self.on_deserted: trio.Event | None = None
        """Set when the last reader leaves, if the leader's client has disconnected."""

    # Readers

    def lead(self) -> "FlightReader":
        """Return the leader's reader, which starts after the pieces that have arrived."""
        self._leader = self._reader()
        self._leader.next = self._first + len(self._pieces)
        return self._leader

    def follow(self) -> "FlightReader":
        """Return a follower's reader; requires ``may_be_joined``."""
        self._followers += 1
        return self._reader()

    @property
    def may_be_joined(self) -> bool:
        """Whether every piece so far is still in memory."""
        return self._first == 0 and self._held <= self._most and self.stage is not FlightStage.FAILED

    @property
    def has_failed(self) -> bool:
        return self.stage is FlightStage.FAILED

    @property
    def followers(self) -> int:
        return self._followers

    async def wait_for_content(self) -> bool:
        """Wait for content; return false if the response fails first."""
        while self.stage is FlightStage.WAITING:
            await self._changed.park()
        return self.stage is not FlightStage.FAILED

    # Progress

    def begin(self, content_type: str, pieces: Sequence[tuple[float, bytes]], *, whole: bool) -> None:
        """Start the response with content.

        ``pieces`` are those so far, with their arrival times; the first time is that of the head. If ``whole``, no more
        will arrive."""
        self.content_type = content_type
        self._at = pieces[0][0]
        for at, piece in pieces:
            if piece:
                self._add(piece, at)
        self._ended = whole
        if self.stage is FlightStage.WAITING:
            self.stage = FlightStage.STREAMING
            self._changed.unpark_all()

    async def run(self, response: UpstreamResponse) -> None:
        """Read the rest of ``response`` to its end, or until no reader is left. Errors go to the readers."""
        with self._scope:
            try:
                async for piece in response.chunks():
                    self._add(piece, trio.current_time())
                    while self._held > self._most and not self._drop_read_pieces():
                        await self._changed.park()
                self._ended = True
                self._changed.unpark_all()
            except GatewayError as error:
                self.fail(error.info)
            finally:
                if not self._ended:  # wake all waiting readers whatever the cause
                    self.abandon()
                await response.aclose()

    def fail(self, failed: ErrorInfo) -> None:
        """Mark the response as failed, unless it is complete."""
        if self._ended and self.stage is not FlightStage.WAITING:
            return
        if self.stage is not FlightStage.FAILED:
            self.stage, self.failed = FlightStage.FAILED, failed
            self._changed.unpark_all()

    def abandon(self) -> None:
        """Fail the flight because its leader left."""
        self.fail(ABANDONED)

    async def wait_for_body(self) -> bytes | None:
        """Wait for the end of the response, and return its body.

        Return ``None`` if the response failed or exceeded the memory limit."""
        while self.stage is FlightStage.WAITING or (self.stage is FlightStage.STREAMING and not self._ended):
            await self._changed.park()
        return b"".join(self._pieces) if self.may_be_joined else None

    # Internals

    def _add(self, piece: bytes, at: float) -> None:
        pause = round((at - self._at) * 1000)
        if pause or not self.pauses:
            self.pauses.append((pause, len(piece)))
            self._at = at
        else:  # arrived together with the previous piece
            before, size = self.pauses[-1]
            self.pauses[-1] = (before, size + len(piece))
        self._pieces.append(piece)
        self._held += len(piece)
        self._changed.unpark_all()

    def _drop_read_pieces(self) -> bool:
        """Drop pieces that the leader has read until the rest fits; return false if the leader must read first."""
        read = self._first + len(self._pieces) if self._leader is None else self._leader.next
        while self._held > self._most and self._first < read:
            self._held -= len(self._pieces.popleft())
            self._first += 1
            self.pauses.clear()
        return self._held <= self._most

    def _reader(self) -> "FlightReader":
        reader = FlightReader(self)
        self._readers.add(reader)
        return reader

    def _piece(self, number: int) -> bytes | None:
        """Return a piece, ``None`` if it has not arrived, ``b""`` at the end. Raises ``GatewayError``."""
        if number < self._first:
            raise GatewayError.of(TOO_SLOW)
        if number < self._first + len(self._pieces):
            return self._pieces[number - self._first]
        if self._ended:
            return b""
        if self.stage is FlightStage.FAILED:
            raise GatewayError.of(self.failed)
        return None

    def _wake_if_full(self, reader: "FlightReader") -> None:
        if reader is self._leader and self._held > self._most:
            self._changed.unpark_all()

    def _remove_reader(self, reader: "FlightReader") -> None:
        if reader not in self._readers:
            return
        self._readers.remove(reader)
        if reader is self._leader:
            self._leader = None
            self._changed.unpark_all()
        else:
            self._followers -= 1
        if not self._followers and self.on_deserted is not None:
            self.on_deserted.set()
        if not self._readers:
            self._scope.cancel()


class FlightReader:
    """The response body for one reader; ``next`` is the number of its next piece."""

    def __init__(self, flight: Flight) -> None:
        self.next = 0
        self._flight = flight

    async def read(self) -> bytes:
        """Return the next piece, ``b""`` at the end. Raises ``GatewayError``."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while (piece := self._flight._piece(self.next)) is None:
            await self._flight._changed.park()
        if piece:
            self.next += 1
            self._flight._wake_if_full(self)
            await trio.lowlevel.cancel_shielded_checkpoint()
        return piece

    async def aclose(self) -> None:
        self._flight._remove_reader(self)
