"""The lanes of a connection: frames with the same ``stream_id`` are answered in order, those of different lanes
simultaneously (https://developers.openai.com/api/docs/guides/websocket-mode). Frames without an id form one lane."""

import math
from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from gateway.features.responses_websocket.envelopes import LaneFrame
from streams.errors import GatewayError, invalid

MAX_RUNNING: Final = 16
"""Responses of a connection in progress at the same time. Frames of other lanes wait."""

MAX_OPEN: Final = 32
"""Open lanes of a connection."""

OPEN_SECONDS: Final = 300.0
"""Seconds for which a lane stays open after its last response."""

WAITING: Final = 32
"""Frames of a lane that may wait for its current response."""

LIMIT_REACHED: Final = "websocket_stream_limit_reached"


@attrs.define(eq=False)
class _Lane:
    """A lane: the channel of its waiting frames, the number of its frames without a complete response, and the time at
    which its last response ended."""

    waiting: trio.MemorySendChannel[LaneFrame]
    unanswered: int = 0
    ended_at: float = -math.inf


class Lanes:
    """The open lanes of a connection.

    Each has a task in ``nursery``, which calls ``answer`` for its frames in order."""

    def __init__(self, nursery: trio.Nursery, answer: Callable[[LaneFrame], Awaitable[object]]) -> None:
        self._nursery = nursery
        self._answer = answer
        self._running = trio.Semaphore(MAX_RUNNING)
        self._lanes: dict[str | None, _Lane] = {}
        self.idle_since = trio.current_time()
        """The end of the last response, while no frame waits for one."""

    @property
    def is_idle(self) -> bool:
        """Whether every frame has its response."""
        return not any(lane.unanswered for lane in self._lanes.values())

    def add(self, frame: LaneFrame) -> None:
        """Let ``frame`` wait in its lane, which is opened for its first frame.

        Raises ``GatewayError`` (400) if too many lanes are open, ``trio.WouldBlock`` if too many frames wait."""
        lane = self._lanes.get(frame.stream_id)
        if lane is None:
            lane = self._open(frame.stream_id)
        lane.waiting.send_nowait(frame)
        lane.unanswered += 1

    def close(self) -> None:
        """Accept no more frames. The tasks of the lanes end after their last responses."""
        for lane in self._lanes.values():
            lane.waiting.close()

    def _open(self, stream_id: str | None) -> _Lane:
        if len(self._lanes) >= MAX_OPEN:
            self._close_old()
        if len(self._lanes) >= MAX_OPEN:
            raise _too_many_lanes()
        sender, receiver = trio.open_memory_channel[LaneFrame](WAITING)
        lane = self._lanes[stream_id] = _Lane(sender)
        self._nursery.start_soon(self._serve, lane, receiver)
        return lane

    def _close_old(self) -> None:
        """Close the lanes whose last response ended long ago."""
        latest = trio.current_time() - OPEN_SECONDS
        for stream_id, lane in tuple(self._lanes.items()):
            if not lane.unanswered and lane.ended_at <= latest:
                lane.waiting.close()
                del self._lanes[stream_id]

    async def _serve(self, lane: _Lane, waiting: trio.MemoryReceiveChannel[LaneFrame]) -> None:
        async for frame in waiting:
            async with self._running:
                await self._answer(frame)
            del frame  # while the lane waits for the next one, its text would stay in memory, uncounted
            lane.unanswered -= 1
            lane.ended_at = self.idle_since = trio.current_time()


def _too_many_lanes() -> GatewayError:
    message = f"{MAX_OPEN} streams are open on this connection: use one of them, or another connection"
    return invalid(message, "stream_id", code=LIMIT_REACHED)
