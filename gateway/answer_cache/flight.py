"""One answer on its way, which several requests follow, each at its own pace."""

import enum
from collections import deque
from collections.abc import Sequence

import trio

from gateway.answer_cache.stored_answer import AnswerStamp
from gateway.upstream.response import UpstreamResponse
from streams.errors import GatewayError
from streams.events import ErrorInfo

LEFT_BEHIND = ErrorInfo("upstream", "the answer went on while this client was too slow to read it", reason=None)
ABANDONED = ErrorInfo("upstream", "the request that was answered first was given up", reason="connection")


class FlightStage(enum.Enum):
    """How far an answer has come."""

    WAITING = enum.auto()
    """It has no content yet: another request may be made in its place."""
    COMING = enum.auto()
    """It has content, which goes to all who follow it."""
    FAILED = enum.auto()


class Flight:
    """An answer on its way from a provider. Whoever asked for it first leads: its request is what the provider has been
    sent. ``most``: bytes that are held; of a longer answer the earlier ones go, once the leader has read them.
    ``stamp`` is what all writings of the answer have in common, ``content_type`` is known once it comes."""

    def __init__(self, most: int, stamp: AnswerStamp) -> None:
        self.stage = FlightStage.WAITING
        self.stamp = stamp
        self.content_type = ""
        self.failed = ABANDONED
        self.pauses: list[tuple[int, int]] = []
        self._most = most
        self._pieces: deque[bytes] = deque()
        self._first = 0  # the number of the first piece that is held
        self._held = 0
        self._ended = False  # all of it has come
        self._at = 0.0
        self._readers: set[FlightReader] = set()
        self._leader: FlightReader | None = None
        self._followers = 0
        self._changed = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope(shield=True)
        self.on_deserted: trio.Event | None = None
        """Is set as soon as nobody follows, where it is there: the leader's client has left."""

    # Those who read

    def lead(self) -> "FlightReader":
        """Return the leader's reader, which begins behind what has come."""
        self._leader = self._reader()
        self._leader.next = self._first + len(self._pieces)
        return self._leader

    def follow(self) -> "FlightReader":
        """Only as long as it ``may_be_joined``."""
        self._followers += 1
        return self._reader()

    @property
    def may_be_joined(self) -> bool:
        """Whether all that has come of it is still there."""
        return self._first == 0 and self._held <= self._most and self.stage is not FlightStage.FAILED

    @property
    def is_lost(self) -> bool:
        return self.stage is FlightStage.FAILED

    @property
    def followers(self) -> int:
        return self._followers

    async def begun(self) -> bool:
        """Wait until there is content; false where it fails before that."""
        while self.stage is FlightStage.WAITING:
            await self._changed.park()
        return self.stage is not FlightStage.FAILED

    # What becomes of it

    def begin(self, content_type: str, came: Sequence[tuple[float, bytes]], *, whole: bool) -> None:
        """Give the beginning of an answer that has content to those who follow. ``came`` are its pieces so far, with
        their moments, of which the first is that of its head. ``whole``: there are no more."""
        self.content_type = content_type
        self._at = came[0][0]
        for at, piece in came:
            if piece:
                self._add(piece, at)
        self._ended = whole
        if self.stage is FlightStage.WAITING:
            self.stage = FlightStage.COMING
            self._changed.unpark_all()

    async def run(self, response: UpstreamResponse) -> None:
        """Read the rest from ``response`` to its end, or until nobody wants it. Raises nothing of its own."""
        with self._scope:
            try:
                async for piece in response.chunks():
                    self._add(piece, trio.current_time())
                    while self._held > self._most and not self._let_go():
                        await self._changed.park()
                self._ended = True
                self._changed.unpark_all()
            except GatewayError as error:
                self.fail(error.failed)
            finally:
                if not self._ended:  # whatever ends it, nobody waits for more
                    self.abandon()
                await response.aclose()

    def fail(self, failed: ErrorInfo) -> None:
        """It breaks off, or the leader has no use for it; unless it is whole."""
        if self._ended and self.stage is not FlightStage.WAITING:
            return
        if self.stage is not FlightStage.FAILED:
            self.stage, self.failed = FlightStage.FAILED, failed
            self._changed.unpark_all()

    def abandon(self) -> None:
        """The leader is gone."""
        self.fail(ABANDONED)

    async def whole(self) -> bytes | None:
        """Wait for its end: all of it, ``None`` where it is not good, or was too long to be held."""
        while self.stage is FlightStage.WAITING or (self.stage is FlightStage.COMING and not self._ended):
            await self._changed.park()
        return b"".join(self._pieces) if self.may_be_joined else None

    # How

    def _add(self, piece: bytes, at: float) -> None:
        pause = round((at - self._at) * 1000)
        if pause or not self.pauses:
            self.pauses.append((pause, len(piece)))
            self._at = at
        else:  # it came along
            before, size = self.pauses[-1]
            self.pauses[-1] = (before, size + len(piece))
        self._pieces.append(piece)
        self._held += len(piece)
        self._changed.unpark_all()

    def _let_go(self) -> bool:
        """Let go of what the leader has read until the rest may be held; false if it has to read on first."""
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
        """``None`` if it has not come yet, ``b""`` at the end. Raises ``GatewayError``."""
        if number < self._first:
            raise GatewayError.of(LEFT_BEHIND)
        if number < self._first + len(self._pieces):
            return self._pieces[number - self._first]
        if self._ended:
            return b""
        if self.stage is FlightStage.FAILED:
            raise GatewayError.of(self.failed)
        return None

    def _read(self, reader: "FlightReader") -> None:
        if reader is self._leader and self._held > self._most:
            self._changed.unpark_all()

    def _closed(self, reader: "FlightReader") -> None:
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
    """The body of an answer for one of those who follow it. ``next`` is the number of the piece that comes next."""

    def __init__(self, flight: Flight) -> None:
        self.next = 0
        self._flight = flight

    async def read(self) -> bytes:
        """The next piece, ``b""`` at the end. Raises ``GatewayError``."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while (piece := self._flight._piece(self.next)) is None:
            await self._flight._changed.park()
        if piece:
            self.next += 1
            self._flight._read(self)
            await trio.lowlevel.cancel_shielded_checkpoint()
        return piece

    async def aclose(self) -> None:
        self._flight._closed(self)
