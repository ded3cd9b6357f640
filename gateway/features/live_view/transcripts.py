"""Both sides of running and ended streams, for viewers that open them later.

A transcript stores references to the bytes that passed, without a copy. The size of all transcripts is bounded: without
room, the client with the most bytes loses the transcript that has not grown for the longest time."""

import re
from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from providers.framings import events_in
from streams.framing import Framing, FramingError
from streams.sse import SSE

if TYPE_CHECKING:
    from gateway.shared.owned_entries import OwnedEntries

MOST: Final = 4 * 2**20
"""Bytes of all transcripts of a process."""
EACH: Final = 512 * 2**10
"""Bytes of one transcript, both sides together."""
PIECE: Final = 160
"""Estimated bytes of the objects of one piece, in addition to its content."""
STEP: Final = 4 * 2**10
"""Bytes of the room that a running stream takes at a time, so that most of its events take none."""
LAST: Final = 8 * 2**10
"""Bytes stored of the end of a stream that was too long."""

LONGEST_NOTE: Final = 1000
"""Characters stored of how a stream broke off: a provider may send a long message."""

Passage: TypeAlias = tuple[float, bytes, bytes]
"""The time (``time.perf_counter``), whole events of the provider, and the client's bytes for them."""

_END_OF_EVENT: Final = re.compile(rb"\n\r?\n")


class Transcript:
    """Both sides of one stream in the ``room`` that all transcripts of a process share.

    ``observe`` runs for every event, so it mostly only calls the clock and ``len``."""

    def __init__(self, room: "OwnedEntries[str | None, Transcript, Transcript]", client: str | None = None) -> None:
        self.client = client
        self.size = 0
        self.note = ""
        """How the provider's side broke off, "" if it did not."""
        self.left_out = 0
        """Bytes that passed but are not stored, both sides together."""
        self.cleared = False
        """True if it was dropped to make room for others."""
        self.source: Framing = SSE
        """The framing of the provider's bytes."""
        self._room = room
        self._taken = 0  # bytes of the room
        self._full = self.over = False
        self._pieces: list[float | bytes | None] = []  # three per piece; ``None``: sent unchanged
        self._last: tuple[float, bytes] = (0.0, b"")

    def observe(self, received: bytes, public: bytes, note: str = "") -> None:
        """Store what passes, as a ``StreamListener``."""
        if note:
            self.note = note[:LONGEST_NOTE]
            if not (received or public):
                return
        if received == public:
            size, kept = len(received), None
        else:
            size, kept = len(received) + len(public), public
        if self._full:
            self._leave_out(size, public)
            return
        if (after := self.size + size + PIECE) > EACH:
            self._full = True
            self._leave_out(size, public)
            return
        self.size = after
        self._pieces += perf_counter(), received, kept
        if after > self._taken:
            self._take(min(after + STEP, EACH))

    def _take(self, size: int) -> None:
        self._taken = size
        self._room.put(self.client, self, self, size)

    def _leave_out(self, size: int, sent: bytes) -> None:
        self.left_out += size
        if sent:
            self._last = perf_counter(), sent

    def close(self) -> None:
        """Note the end of the stream.

        The end of the client's bytes is cut where an event starts, because half a credential would not be
        recognized."""
        at, sent = self._last
        if len(sent) > LAST:
            found = _END_OF_EVENT.search(sent, len(sent) - LAST)
            sent = b"" if found is None else sent[found.end() :]
        self._last = at, sent
        self._full = self.over = True
        if self.size:
            self._take(self.size)

    def forget(self) -> None:
        """Drop everything, because it can no longer be opened."""
        self._room.remove(self.client, self)
        self.clear()

    def clear(self) -> None:
        """Drop everything, because others need the room."""
        self.size, self._pieces, self._last = 0, [], (0.0, b"")
        self.left_out, self._full, self.cleared = 0, True, True

    def passages(self) -> Iterator[Passage]:
        """Return the passages so far, event by event if both sides have the same number of events.

        An event with only one stored side is omitted. Where bytes were left out, both sides are empty."""
        return self._passages(tuple(self._pieces), self._last)

    def _passages(self, flat: tuple[Any, ...], last: tuple[float, bytes]) -> Iterator[Passage]:
        splitter = self.source.splitter(EACH)
        held: list[bytes] = []  # bytes that belong to an incomplete event
        pieces: list[tuple[float, bytes, bytes | None]] = list(zip(*[iter(flat)] * 3, strict=True))
        for number, (at, received, sent) in enumerate(pieces, 1):
            held.append(received)
            try:
                events = splitter.feed(received)
            except FramingError:  # the stream ended in an error because of this
                events, splitter = [b"".join(held)], self.source.splitter(EACH)
            if events:
                held = [b"".join(held)[sum(map(len, events)) :]]
            if self.over and number == len(pieces) and not self.left_out:
                events += filter(None, (splitter.close(),))  # the rest of this event will not arrive
            yield from _pair_events(at, events, received if sent is None else sent)
        if self.left_out:
            yield last[0], b"", b""
        if self.over and last[1]:
            yield last[0], b"", last[1]


def _pair_events(at: float, received: list[bytes], sent: bytes) -> Iterator[Passage]:
    sent_events = events_in(sent)
    if len(sent_events) == len(received):
        yield from ((at, *pair) for pair in zip(received, sent_events, strict=True))
    elif received or sent:
        yield at, b"".join(received), sent
