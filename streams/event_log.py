"""Logs of the server-sent events of an answer, and their repetition from one event on.

A log is a sequence of blocks. Each consists of its length (4 bytes, big-endian) and about 64 KiB of whole events,
deflated at the fastest level (zlib, RFC 1950, whose checksum reveals damage).
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator

from streams import sse

BLOCK = 2**16  # bytes of events before compression
LARGE_BLOCK = 4 * BLOCK  # bytes of events that take milliseconds to compress

_LENGTH = struct.Struct(">I")
_LEVEL = 1


class EventLog:
    """A log of the whole events of a stream, without keep-alives.

    Holds the compressed log, one uncompressed block, and large blocks, which ``close`` compresses.
    """

    def __init__(self) -> None:
        self._events: list[bytes] = []
        self._size = 0
        self._blocks: list[bytes | list[bytes]] = []
        self.size_of_work = 0
        """The bytes on which ``close`` works."""

    def add(self, events: bytes) -> None:
        self._events.append(events)
        self._size += len(events)
        self.size_of_work += len(events)
        if self._size >= BLOCK:
            if self._size <= LARGE_BLOCK:
                self.size_of_work -= self._size
                self._blocks.append(_join_events(self._events))
            else:
                self._blocks.append(self._events)
            self._events, self._size = [], 0

    def close(self) -> bytes:
        """Return the log. More events may be added for a later ``close``."""
        blocks = [one if isinstance(one, bytes) else _join_events(one) for one in self._blocks]
        self._blocks[:], self.size_of_work = blocks, self._size
        rest = [_join_events(self._events)] if self._events else []
        return b"".join([*blocks, *rest])


def _join_events(events: list[bytes]) -> bytes:
    data = zlib.compress(b"".join(events), _LEVEL)
    return _LENGTH.pack(len(data)) + data


class Resumption:
    """A filter of a stream's events that omits those before one event.

    ``is_start`` returns whether the rest of the stream begins at an event, or with ``excluding`` after it. Without
    ``is_start``, no event is omitted.
    """

    def __init__(self, is_start: Callable[[bytes], bool] | None = None, *, excluding: bool = False) -> None:
        self._is_start = is_start
        self._excluding = excluding
        self.has_started = is_start is None

    @property
    def must_start(self) -> bool:
        """Whether the event before the rest must exist."""
        return self._excluding

    def can_start(self, events: Iterable[bytes]) -> bool:
        """Return whether one of ``events`` is the one that must precede the rest. Without such an event: true."""
        return not self._excluding or self._is_start is None or any(map(self._is_start, events))

    def feed(self, events: bytes) -> bytes:
        """Return the remaining ones of the whole ``events``, byte for byte."""
        if self._is_start is None or self.has_started:
            return events
        found: list[bytes] = []
        for raw in sse.Splitter(limit=len(events) + 1).feed(events):
            if self.has_started:
                found.append(raw)
            elif self._is_start(raw):
                self.has_started = True
                if not self._excluding:
                    found.append(raw)
        return b"".join(found)

    def of_log(self, log: bytes) -> bytes:
        """Return the remaining events of ``log``, which may also be uncompressed events.

        Raises ``ValueError`` for anything else, or for a damaged log.
        """
        return b"".join(map(self.feed, _blocks(log)))


def skip_events(count: int) -> Resumption:
    """Return a filter that omits the first ``count`` events."""
    left = count

    def is_start(raw: bytes) -> bool:
        nonlocal left
        left -= 1
        return left < 0

    return Resumption(is_start if count > 0 else None)


def events_in(log: bytes) -> int:
    """Return the number of events in ``log``. Raises ``ValueError`` for a damaged one."""
    return sum(block.count(b"\n\n") for block in _blocks(log))


def _blocks(log: bytes) -> Iterator[bytes]:
    if log.startswith((b"event:", b":")):  # no block is long enough for its length to start with these letters
        yield log
        return
    at = 0
    while at < len(log):
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(log, at)[0] if start <= len(log) else start
        if at > len(log):
            raise ValueError("the log of a stream ends in the middle of a block")
        try:
            yield zlib.decompress(memoryview(log)[start:at])
        except zlib.error as error:
            raise ValueError(f"the log of a stream is damaged: {error}") from None
