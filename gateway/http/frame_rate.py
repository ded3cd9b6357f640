"""Limits on the frames of websockets that cost the sender nearly nothing (RFC 6455, section 5.2).

A read of 64 KiB may contain ten thousand frames of a client and thirty thousand of a provider, each a fragment of a
message, a ping or a pong. Fragments without content never reach the limit of a message."""

from typing import Final

import trio
from wsproto.events import Event, Message

from gateway.http.turns import take_turn

SMALL_FRAME: Final = 64
"""Bytes of content below which a frame counts, as do pings and pongs. Audio and events have more."""

MOST_SMALL_FRAMES: Final = 10_000
"""Small frames in ``FRAME_SECONDS``, twenty times as many as a stream of words or of audio has."""

FRAME_SECONDS: Final = 10.0

FRAMES_PER_TURN: Final = 16
"""Frames after which other tasks run: handling them takes a millisecond or two."""

TOO_MANY: Final = (
    f"more than {MOST_SMALL_FRAMES:,} frames of less than {SMALL_FRAME} bytes in {FRAME_SECONDS:.0f} seconds"
)
"""The reason of the close for a side that exceeds the limit."""


class FrameRate:
    """Counts the frames that one side of a websocket sends. Times are in seconds of any clock."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._small = 0
        self._frames = 0
        self._small_before = 0

    def count(self, frame: Event) -> bool:
        """Count a frame, and return whether other tasks should run now."""
        self._small += not isinstance(frame, Message) or len(frame.data) < SMALL_FRAME
        self._frames += 1
        return self._frames % FRAMES_PER_TURN == 0

    async def end_turn(self) -> None:
        """Let other tasks run. If most frames of the turn were small, other connections with small frames run first."""
        were_small, self._small_before = self._small - self._small_before > FRAMES_PER_TURN // 2, self._small
        if were_small:
            await take_turn()
        else:
            await trio.lowlevel.checkpoint()

    def is_exceeded(self, now: float) -> bool:
        """Return whether the side sends too many small frames. Call after each turn."""
        if self._small <= MOST_SMALL_FRAMES:
            return False
        exceeded = now < self._since + FRAME_SECONDS
        self._since, self._small, self._small_before = now, 0, 0
        return exceeded
