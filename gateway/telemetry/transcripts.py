"""Both sides of a stream as they passed, so that one that has begun or ended can still be looked at.

What passes is held by reference, without a copy, and what all streams hold together is bounded: the oldest of those
that have ended make room for what passes now.
"""

import re
from collections import deque
from collections.abc import Iterator
from time import perf_counter
from typing import Any, Final, TypeAlias

from gateway.telemetry.stream_text import events_in
from streams.framing import Framing, FramingError
from streams.sse import SSE

MOST: Final = 16 * 2**20
"""Bytes of all transcripts of a process together."""
EACH: Final = 512 * 2**10
"""Bytes of one, both sides together."""
PIECE: Final = 160
"""Bytes that a piece is reckoned to take beside what passed: the objects that hold it."""
LAST: Final = 8 * 2**10
"""Bytes that are kept of what the client got last, of a stream that was longer than there was room for."""

Passage: TypeAlias = tuple[float, bytes, bytes]
"""When (``time.perf_counter``), whole events of the provider, and what went to the client for them."""

_END_OF_EVENT: Final = re.compile(rb"\n\r?\n")


class Transcripts:
    """The room that all transcripts of a process share."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.held = 0
        self._ended: deque[Transcript] = deque()

    def ended(self, transcript: "Transcript") -> None:
        """Nothing more is added to ``transcript``: it may be let go when others need the room."""
        transcript.close()
        self._ended.append(transcript)

    def forget(self, transcript: "Transcript") -> None:
        """Let go of ``transcript``, for which nobody can ask any more. The oldest ended one comes first."""
        transcript.clear()
        if self._ended and self._ended[0] is transcript:
            self._ended.popleft()

    def make_room(self) -> bool:
        """Forget streams that have ended until no more than ``most`` is held; true if that was enough."""
        while self.held > self.most and self._ended:
            self._ended.popleft().clear()
        return self.held <= self.most


class Transcript:
    """Both sides of one stream. ``add`` stands in the way of every event, and calls nothing but the clock and for the
    sizes."""

    def __init__(self, room: Transcripts) -> None:
        self.note = ""
        """How the provider's side broke off, "" if it did not."""
        self.left_out = 0
        """Bytes that passed and are not here, both sides together."""
        self.cleared = False
        """Whether it was let go, for others' sake."""
        self.source: Framing = SSE
        """That of what comes."""
        self._room = room
        self._full = self.over = False
        self._size = 0
        self._pieces: list[float | bytes | None] = []  # flat, three for each; ``None``: it went as it came
        self._last: tuple[float, bytes] = (0.0, b"")

    def add(self, came: bytes, went: bytes) -> None:
        same = came == went
        size = len(came) if same else len(came) + len(went)
        if self._full:
            self._leave_out(size, went)
            return
        size += PIECE
        self._size += size
        self._room.held += size
        if self._size > EACH or self._room.held > self._room.most:
            self._make_room(size, went)
        if not self._full:
            self._pieces += (perf_counter(), came, None if same else went)

    def _make_room(self, size: int, went: bytes) -> None:
        """Make room for a piece that has been counted already; where there is none it is left out, and all that
        follow."""
        if self._size <= EACH and self._room.make_room():
            return
        self._full = True
        self._size -= size
        self._room.held -= size
        self._leave_out(size - PIECE, went)

    def _leave_out(self, size: int, went: bytes) -> None:
        self.left_out += size
        if went:
            self._last = perf_counter(), went

    def close(self) -> None:
        """Take note that the stream has ended. What the client got last is cut where an event begins: half of one might
        begin with half of a credential, which nobody could find."""
        at, went = self._last
        if len(went) > LAST:
            found = _END_OF_EVENT.search(went, len(went) - LAST)
            went = b"" if found is None else went[found.end() :]
        self._last = at, went
        self._full = self.over = True

    def clear(self) -> None:
        """Let everything go."""
        self._room.held -= self._size
        self._size, self._pieces, self._last = 0, [], (0.0, b"")
        self.left_out, self._full, self.cleared = 0, True, True

    def passages(self) -> Iterator[Passage]:
        """The passages until now, event by event where as many went as came. What is left of an event whose other
        half is not here is not told, and where something was left out neither side has anything."""
        return self._passages(tuple(self._pieces), self._last)

    def _passages(self, flat: tuple[Any, ...], last: tuple[float, bytes]) -> Iterator[Passage]:
        splitter = self.source.splitter(EACH)
        held: list[bytes] = []  # what came and is in no event yet
        pieces: list[tuple[float, bytes, bytes | None]] = list(zip(*[iter(flat)] * 3, strict=True))
        for number, (at, came, went) in enumerate(pieces, 1):
            held.append(came)
            try:
                events = splitter.feed(came)
            except FramingError:  # the stream has ended in an error because of that
                events, splitter = [b"".join(held)], self.source.splitter(EACH)
            if events:
                held = [b"".join(held)[sum(map(len, events)) :]]
            if self.over and number == len(pieces) and not self.left_out:
                events += filter(None, (splitter.close(),))  # what an event lacks will not come any more
            yield from _paired(at, events, came if went is None else went)
        if self.left_out:
            yield last[0], b"", b""
        if self.over and last[1]:
            yield last[0], b"", last[1]


def _paired(at: float, came: list[bytes], went: bytes) -> Iterator[Passage]:
    sent = events_in(went)
    if len(sent) == len(came):
        yield from ((at, *pair) for pair in zip(came, sent, strict=True))
    elif came or went:
        yield at, b"".join(came), went
