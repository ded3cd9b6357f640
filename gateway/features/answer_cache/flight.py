"""A response in progress that several requests follow, each at its own speed."""

import enum
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

import trio

from gateway.features.answer_cache.stored_answer import AnswerStamp
from gateway.upstream.response import UpstreamResponse
from streams.errors import GatewayError
from streams.events import ErrorInfo

TOO_SLOW = ErrorInfo("upstream", "the client read the response too slowly", reason=None)
ABANDONED = ErrorInfo(
    "upstream",
    "this request waited for the answer to an identical one, which was cancelled: try again",
    reason="connection",
)

UNCOUNTED: Final = 64 * 1024
"""Bytes of a response in memory that do not count."""

PIECE: Final = 200
"""The overhead of a piece in bytes."""


class PieceMemory(Protocol):
    """The memory that a response occupies, counted for one client at a time."""

    @property
    def is_short(self) -> bool:
        """Whether the client, or all clients together, use more than they should for this."""

    def resize(self, size: int) -> None:
        """Set the memory to ``size`` bytes."""

    def charge(self, holder: str) -> None:
        """Count the memory for ``holder`` from now on."""


class FlightStage(enum.Enum):
    """The progress of a response."""

    PREPARING = enum.auto()
    """The first request waits for its client's limits or for the target."""
    WAITING = enum.auto()
    """No content yet: another attempt may replace this one."""
    STREAMING = enum.auto()
    """Content has arrived and goes to all followers."""
    FAILED = enum.auto()


class Flight:
    """A response in progress from a provider. The first request leads: it is the one that the provider received.

    Beyond ``most`` bytes, or if ``memory`` is short, the pieces that every reader has read are dropped. The client of
    ``holder`` leads. ``stamp`` is common to all translations of the response. ``content_type`` is set when content
    arrives. ``error`` is the provider's failure, which concerns all requests, or ``None``."""

    def __init__(self, most: int, stamp: AnswerStamp, memory: PieceMemory, holder: str) -> None:
        self.stage = FlightStage.PREPARING
        self.stamp = stamp
        self.content_type = ""
        self.holder = holder
        self.error: ErrorInfo | None = None
        self.pauses: list[tuple[int, int]] = []
        self._most = most
        self._memory = memory
        self._pieces: deque[bytes] = deque()
        self._first = 0  # the number of the first piece in memory
        self._held = 0
        self._is_complete = False
        self._has_led = False  # the leader reads, or has read
        self._needs_no_pieces = False  # the response and the cache add and need no piece
        self._at = 0.0
        self._readers: set[FlightReader] = set()
        self._leader: FlightReader | None = None
        self.followers = 0
        self._changed = trio.lowlevel.ParkingLot()
        self._audience_changed = trio.lowlevel.ParkingLot()
        self._full = trio.lowlevel.ParkingLot()  # the next piece waits for the readers
        self._scope = trio.CancelScope(shield=True)
        self.on_deserted: trio.Event | None = None
        """Set when the last reader leaves, if the leader's client has disconnected."""
        self.is_kept = False
        """The leader's client has disconnected, and a ``Keeper`` decides how long the response continues."""
        self._repeated = 0  # pieces that went to one follower whose client has not disconnected

    # Readers

    def lead(self) -> "FlightReader":
        """Return the leader's reader, which starts after the pieces that have arrived."""
        self._has_led = True
        self._leader = self._reader(self.holder)
        self._leader.next = self._first + len(self._pieces)
        return self._leader

    def follow(self, holder: str) -> "FlightReader":
        """Return a reader for a request of ``holder``; requires ``may_be_joined``."""
        self.followers += 1
        self._audience_changed.unpark_all()
        return self._reader(holder)

    @property
    def may_be_joined(self) -> bool:
        """Whether every piece so far is still in memory."""
        return self._first == 0 and self._held <= self._most and self.stage is not FlightStage.FAILED

    @property
    def has_failed(self) -> bool:
        return self.stage is FlightStage.FAILED

    async def wait_until_sent(self) -> None:
        """Wait until the provider's request is being sent, or the leader has given up."""
        while self.stage is FlightStage.PREPARING:
            await self._changed.park()

    async def wait_for_content(self) -> bool:
        """Wait for content; return false if the response fails first."""
        while self._has_no_content:
            await self._changed.park()
        return self.stage is not FlightStage.FAILED

    @property
    def was_sent(self) -> bool:
        """Whether the provider's request is being sent, or was sent."""
        return self.stage is not FlightStage.PREPARING

    @property
    def _has_no_content(self) -> bool:
        return self.stage in (FlightStage.PREPARING, FlightStage.WAITING)

    @property
    def was_repeated(self) -> bool:
        """Whether a follower has received the whole response."""
        return self._is_complete and self._repeated >= self._first + len(self._pieces)

    @property
    def is_at_end(self) -> bool:
        """Whether the leader has read the last event, or more than it wants, but the response has not ended."""
        return self._has_led and self._leader is None and not self._is_complete

    async def wait_for_change(self) -> None:
        """Wait until a reader comes or leaves, or the response ends or fails."""
        await self._audience_changed.park()

    # Progress

    def mark_sent(self) -> None:
        """Note that the provider's request is about to be sent."""
        if self.stage is FlightStage.PREPARING:
            self.stage = FlightStage.WAITING
            self._changed.unpark_all()

    def begin(self, content_type: str, pieces: Sequence[tuple[float, bytes]], *, whole: bool) -> None:
        """Start the response with content.

        ``pieces`` are those so far, with their arrival times; the first time is that of the head. If ``whole``, no more
        will arrive."""
        self.content_type = content_type
        self._at = pieces[0][0]
        for at, piece in pieces:
            if piece:
                self._add(piece, at)
        self._is_complete = whole
        if self._has_no_content:
            self.stage = FlightStage.STREAMING
            self._changed.unpark_all()

    async def run(self, response: UpstreamResponse) -> None:
        """Read the rest of ``response`` to its end, or until no reader is left. Errors go to the readers."""
        with self._scope:
            try:
                async for piece in response.chunks():
                    self._add(piece, trio.current_time())
                    while not self._make_room():
                        await self._full.park()
                self._is_complete = True
                self._changed.unpark_all()
                self._audience_changed.unpark_all()
            except GatewayError as error:
                self.fail(error.info)
            finally:
                if not self._is_complete:  # wake all waiting readers whatever the cause
                    self.abandon()
                await response.aclose()

    def fail(self, error: ErrorInfo | None) -> None:
        """Mark the response as failed, unless it is complete. ``None`` is a failure of the leader's own."""
        if self._is_complete and not self._has_no_content:
            return
        if self.stage is not FlightStage.FAILED:
            self.stage, self.error = FlightStage.FAILED, error
            self._changed.unpark_all()
            self._audience_changed.unpark_all()

    def abandon(self) -> None:
        """Fail the flight because its leader left or may not continue: that does not concern its followers."""
        self.fail(None)

    def finish(self) -> None:
        """Free the memory when the last reader has ended: no piece will be added, and the cache needs none."""
        self._needs_no_pieces = True
        self._count_memory()

    def end_keeping(self) -> None:
        """Stop reading unless a request follows, and free the memory, because the keeper keeps the response no
        longer."""
        self.is_kept = False
        self._cancel_unread()
        self.finish()

    async def wait_for_body(self) -> bytes | None:
        """Wait for the end of the response, and return its body.

        Return ``None`` if the response failed or exceeded the memory limit."""
        while self._has_no_content or (self.stage is FlightStage.STREAMING and not self._is_complete):
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
        self._count_memory()
        self._changed.unpark_all()

    def _make_room(self) -> bool:
        """Drop pieces if they exceed the memory; return false if a reader must read first.

        No reader waits for a slower one. The slowest reader's client pays for the memory, and the reader fails if the
        client has none left."""
        front = self._first + len(self._pieces)
        while self._is_over:
            readers = [reader for reader in self._readers if reader.next >= self._first]
            slowest = min(readers, key=lambda reader: reader.next, default=None)
            self._drop_before(front if slowest is None else slowest.next)
            if slowest is None or not self._is_over:
                return True
            if all(reader.next < front for reader in readers):
                return False
            self._memory.charge(slowest.holder)
            if not self._memory.is_short:
                return True
            self._drop_before(min(reader.next for reader in readers if reader.next > slowest.next))
        return True

    @property
    def _is_over(self) -> bool:
        return self._held > self._most or (self._held > UNCOUNTED and self._memory.is_short)

    def _drop_before(self, number: int) -> None:
        """Drop the pieces before the piece ``number``."""
        while self._first < number and self._pieces:
            self._held -= len(self._pieces.popleft())
            self._first += 1
            self.pauses.clear()
            self._audience_changed.unpark_all()
        self._count_memory()

    def _count_memory(self) -> None:
        used = 0 if self._needs_no_pieces and not self._readers else self._held + PIECE * len(self._pieces)
        self._memory.resize(used if used > UNCOUNTED else 0)

    def _reader(self, holder: str) -> "FlightReader":
        reader = FlightReader(self, holder)
        self._readers.add(reader)
        return reader

    def _piece(self, number: int) -> bytes | None:
        """Return a piece, ``None`` if it has not arrived, ``b""`` at the end. Raises ``GatewayError``."""
        if number < self._first:
            raise GatewayError.of(TOO_SLOW)
        if number < self._first + len(self._pieces):
            return self._pieces[number - self._first]
        if self._is_complete:
            return b""
        if self.stage is FlightStage.FAILED:
            raise GatewayError.of(self.error or ABANDONED)
        return None

    def _remove_reader(self, reader: "FlightReader") -> None:
        if reader not in self._readers:
            return
        self._readers.remove(reader)
        self._count_memory()
        self._full.unpark_all()
        if reader is self._leader:
            self._leader = None
        else:
            self.followers -= 1
            if not reader.has_left:
                self._repeated = max(self._repeated, reader.next)
        self._audience_changed.unpark_all()
        if not self.followers and self.on_deserted is not None:
            self.on_deserted.set()
        self._cancel_unread()

    def _cancel_unread(self) -> None:
        """Stop reading the response if no reader is left. A keeper also wants the end of one whose leader has read its
        last event."""
        if not self._readers and self._has_led and not self.is_kept:
            self._scope.cancel()


class FlightReader:
    """The response body for one reader, of a client's request; ``next`` is the number of its next piece. ``has_left``:
    the client has disconnected."""

    def __init__(self, flight: Flight, holder: str) -> None:
        self.next = 0
        self.has_left = False
        self.holder = holder
        self._flight = flight

    async def read(self) -> bytes:
        """Return the next piece, ``b""`` at the end. Raises ``GatewayError``."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while (piece := self._flight._piece(self.next)) is None:
            await self._flight._changed.park()
        if piece:
            self.next += 1
            if self._flight._full:
                self._flight._full.unpark_all()
            await trio.lowlevel.cancel_shielded_checkpoint()
        return piece

    async def aclose(self) -> None:
        self._flight._remove_reader(self)
