"""The response body of a stream: runs its delivery, between the pump and the server.

``StreamBody`` is the only path of a stream's bytes to a client: the server iterates over it, and while it waits the
pump writes through it. ``BufferedBody`` adds a buffer for a stream that may outlive its client."""

from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum, auto
from functools import partial
from typing import Final, Literal, TypeAlias

import trio

from gateway.conversations.deadline import STORE_SECONDS
from gateway.conversations.recorder import UNRECORDED, TurnRecorder
from gateway.exchange.delivery import (
    Action,
    Actions,
    Delivery,
    DeliveryState,
    Ping,
    Refuse,
    SendWhole,
    Signal,
    StoreTurn,
)
from gateway.http.response import ResponseBody, Truncated, WriteNow
from gateway.ledger.record import Record
from streams.events import ErrorInfo
from streams.handoff import Handoff
from streams.pipe import WRITES_QUEUED, Chunk, receive_batch

WRITE: Final = 64 * 1024
"""Bytes of one write to the client. A larger event is split, so that a slow client does not make each stage hold a
copy."""

ERROR_PAUSE: Final = 0.2
"""Seconds between the parts of an error that a client must read one by one."""

Opening: TypeAlias = Literal[Signal.OPEN] | Refuse | SendWhole
"""The start of a response, or the error or complete body that replaces it."""


_OVER: Final = (DeliveryState.LINGERING, DeliveryState.ENDED)


class _Mark(Enum):
    TAKEN = auto()
    """The client has received all pieces."""


def _return_false(_: bytes) -> bool:
    return False


def _pieces(data: bytes) -> Iterator[bytes]:
    """Yield ``data`` in pieces, each copied when it is written: a copy of a long event would keep other tasks
    waiting."""
    return (data[start : start + WRITE] for start in range(0, len(data), WRITE))


class StreamBody(ResponseBody):
    """Takes chunks from the pump and returns whole events to the server.

    The server iterates over it, one write at a time, in the task that also translates. While it waits for more and the
    client's socket has room, which is the usual case, the pump translates and writes a chunk itself, without the
    channel. Switching between the two tasks would cost as much as all the rest."""

    def __init__(
        self,
        delivery: Delivery,
        chunks: Handoff[Chunk],
        record: Record,
        turn: TurnRecorder = UNRECORDED,
        on_last_bytes: Callable[[], object] | None = None,
    ) -> None:
        """Prepare the body.

        If ``turn`` records, a task has to run ``store_on_cancel``, too. ``on_last_bytes`` is called before the end of
        the response goes to the server."""
        self._delivery = delivery
        self._chunks = chunks
        self._record = record
        self._turn = turn
        self._write_now: WriteNow = _return_false
        self._on_last_bytes = on_last_bytes
        self._todo: deque[Action | _Mark | Iterator[bytes]] = deque()

    async def open(self) -> Opening:
        """Wait until the response may start, and return its start, its error or its complete body."""
        while (action := await self._next_action()) is not Signal.OPEN:
            if isinstance(action, Refuse | SendWhole):
                return action
        return Signal.OPEN

    async def store_on_cancel(self) -> None:
        """Sleep until cancelled; then store an unfinished turn as far as it has come. Raises only for cancellation."""
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(2 * STORE_SECONDS, shield=True):  # storing has its own limit
                await self._store_rest()

    async def _store_rest(self) -> None:
        progress = self._delivery.lane.progress
        if (due := next((action for action in self._todo if isinstance(action, StoreTurn)), None)) is not None:
            self._todo.clear()
            await self._turn.persist(due.data, progress)
        elif not progress.over:
            await self._turn.persist_partial(progress.start.id)

    # A response's body

    @property
    def error(self) -> ErrorInfo | None:
        """The error in the stream, ``None`` without one."""
        return self._delivery.lane.progress.error

    def set_writer(self, write_now: WriteNow) -> None:
        """Write through ``write_now`` from now on where possible."""
        self._write_now = write_now

    async def __anext__(self) -> bytes:
        while True:
            action = await self._next_action()
            if isinstance(action, bytes):
                return action
            if isinstance(action, Ping):
                return action.data

    # Actions

    def try_write_through(self, chunk: Chunk) -> bool:
        """Process a chunk in the pump's task. Return false if the server's task has to complete it."""
        actions = self._delivery.receive(chunk) if isinstance(chunk, bytes) else self._delivery.receive(b"", chunk)
        if not actions:
            return True
        data = actions[0]  # usually the only one
        if len(actions) == 1 and type(data) is bytes and len(data) <= WRITE and self._write_now(data):
            return True
        self._note_end()  # an end has more actions than one write
        self._enqueue(actions)
        return False

    async def _next_action(self) -> Action:
        """Perform actions until one is for the server, and return it. Raises ``StopAsyncIteration`` at the end."""
        while True:
            while not self._todo:
                if self._delivery.state is DeliveryState.ENDED:
                    raise StopAsyncIteration
                self._enqueue(await self._wait())
            action = self._todo.popleft()
            if isinstance(action, Iterator):
                if (piece := next(action, None)) is None:
                    continue
                self._todo.appendleft(action)
                action = piece
            if isinstance(action, SendWhole):  # its writer notes its end
                return action
            self._note_end()
            match action:
                case Signal.CUT:
                    raise Truncated
                case StoreTurn() as due:
                    data = await self._turn.persist(due.data, self._delivery.lane.progress)
                    self._enqueue(self._delivery.turn_stored(due, data))
                case _Mark.TAKEN:
                    self._record.mark_write_finished()
                case Signal.PAUSE:
                    await trio.sleep(ERROR_PAUSE)
                case Signal.LINGER:
                    self._delivery.linger()
                case _:
                    return action

    async def _wait(self) -> Actions:
        """Wait for the pump, or until the delivery's deadline."""
        delivery = self._delivery
        if self._chunks.has_ended:
            return delivery.upstream_ended()
        # Without a writer nothing can be written directly; queued chunks are at least sent together.
        take = None if self._write_now is _return_false else self.try_write_through
        with trio.CancelScope(deadline=delivery.deadline) as waiting:
            try:
                data, error = await receive_batch(self._chunks, take)
            except trio.EndOfChannel:
                return delivery.upstream_ended()
            return delivery.receive(data, error) if data or error is not None or delivery.has_queued_events else ()
        assert waiting.cancelled_caught, "else it has returned"
        return () if self._todo else delivery.time_up(has_more_data=not self._chunks.is_empty)

    def _note_end(self) -> None:
        if self._on_last_bytes is not None and self._delivery.state in _OVER:
            self._on_last_bytes()
            self._on_last_bytes = None

    def _enqueue(self, actions: Actions) -> None:
        for action in actions:
            if isinstance(action, bytes):
                if action:  # an empty piece would end the body
                    self._todo.append(action if len(action) <= WRITE else _pieces(action))
                self._todo.append(_Mark.TAKEN)
            else:
                self._todo.append(action)


def _try_send(to: trio.MemorySendChannel[bytes | Opening], data: bytes) -> bool:
    """Queue ``data``, and return whether there was space."""
    try:
        to.send_nowait(data)
    except trio.WouldBlock:
        return False
    return True


class BufferedBody(ResponseBody):
    """The body of a stream that continues after its client disconnects. ``run`` reads the stream into a small buffer,
    from which the server writes."""

    def __init__(self, stream: StreamBody) -> None:
        self._stream = stream
        self._to, self._buffer = trio.open_memory_channel[bytes | Opening](WRITES_QUEUED)
        self._cut = False

    async def run(self) -> None:
        """Read the stream to its end. Raises only for cancellation, because its nursery is the request's."""
        with self._to as buffer:
            await buffer.send(await self._stream.open())
            self._stream.set_writer(partial(_try_send, buffer))  # a method of this object would make a reference cycle
            try:
                async for data in self._stream:
                    await buffer.send(data)
            except Truncated:
                self._cut = True

    @property
    def error(self) -> ErrorInfo | None:
        """The error in the stream, ``None`` without one."""
        return self._stream.error

    async def open(self) -> Opening:
        """Wait until the response may start, and return its start, its error or its complete body."""
        opening = await self._buffer.receive()
        assert not isinstance(opening, bytes), "it comes before everything else"
        return opening

    async def __anext__(self) -> bytes:
        try:
            while not isinstance(data := await self._buffer.receive(), bytes):
                pass  # the start, which the client did not receive
        except trio.EndOfChannel:
            if self._cut:
                raise Truncated from None
            raise StopAsyncIteration from None
        return data
