"""Limits on an HTTP/2 client's frames that cost it nearly nothing, without I/O.

A reset stream immediately makes room for the next one, while the gateway still works on it (CVE-2023-44487); a client
can also make the server reset its streams (CVE-2025-8671). Control frames need a response or a scan of all streams
(https://kb.cert.org/vuls/id/605641)."""

from collections import Counter
from enum import IntEnum
from typing import Final

import attrs

from gateway.http.turns import TINY, TURN

SECONDS: Final = 10.0
"""Seconds in which frames are counted."""

PREFACE: Final = 24
"""Bytes before a client's first frame (RFC 9113, section 3.4)."""


@attrs.frozen(eq=False, repr=False)
class FrameLimit:
    """The most frames of a type in ``SECONDS``, far more than legitimate clients send."""

    name: str
    max_frames: int


class FrameType(IntEnum):
    """The counted types of frames (RFC 9113, section 11.2)."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    WINDOW_UPDATE = 8
    CONTINUATION = 9
    UNKNOWN = 256
    """any other type; real types have one byte"""


BOUNDS: Final = {
    FrameType.DATA: FrameLimit("empty DATA", 100),  # without the one that ends a body
    # As many as the busiest client sends: some for each of up to 100 open streams.
    FrameType.PRIORITY: FrameLimit("PRIORITY", 500),
    # Three times the open streams: an interrupted agent, or a proxy with many users, cancels all of its requests.
    FrameType.RST_STREAM: FrameLimit("RST_STREAM", 300),
    FrameType.SETTINGS: FrameLimit("SETTINGS", 100),  # one, and one acknowledgement; some clients change their windows
    FrameType.PING: FrameLimit("PING", 1000),  # some clients measure the round trip with every read
    FrameType.WINDOW_UPDATE: FrameLimit("WINDOW_UPDATE", 1000),  # in addition to earned ones
    FrameType.CONTINUATION: FrameLimit("CONTINUATION", 1000),  # a head of 64 KiB takes four
    FrameType.UNKNOWN: FrameLimit("unknown", 1000),  # ignored (section 5.5), such as PRIORITY_UPDATE
}

PER_UPDATE: Final = 2048
"""Bytes of a response that earn a WINDOW_UPDATE: the busiest clients send two for 4 KiB."""

_HEAD: Final = 9
_END_STREAM: Final = 0x1
_FIELD_FRAMES: Final = (1, 9)  # HEADERS and CONTINUATION
FIELDS: Final = 16
"""Bytes of a head that may take as long as a tiny frame, because each may be a header field (RFC 7541, section 6.1)."""
_TYPES: Final = {int(kind): kind for kind in FrameType}


class FrameCounter:
    """Counts the frames of one connection. Times are in seconds of any clock."""

    def __init__(self) -> None:
        self._part = b""  # of a frame's head
        self._skip = PREFACE  # bytes to the next frame
        self._counts: Counter[FrameType] = Counter()
        self._until = 0.0
        self._earned = 0
        self._reset: set[bytes] = set()  # stream numbers in their encoded form
        self._work = 0  # in tiny frames
        self.cuts: list[int] = []
        """The positions in the last bytes after which other tasks should run: a read may contain thousands of tiny
        frames, or heads with thousands of fields."""

    def receive(self, data: bytes, now: float) -> FrameLimit | None:
        """Count the frames in ``data``, which may be cut anywhere, and return the exceeded limit, if any."""
        self._reset_counts_if_due(now)
        start = -len(self._part)
        data, self._part = self._part + data, b""
        if self.cuts:
            self.cuts = []
        position = self._skip
        while position + _HEAD <= len(data):
            length = int.from_bytes(data[position : position + 3])
            self._count(data[position + 3], data[position + 4], length, data[position + 5 : position + _HEAD])
            is_head = data[position + 3] in _FIELD_FRAMES
            position += _HEAD + length
            if length < TINY or is_head:
                self._work += 1 + length // FIELDS if is_head else 1
                if self._work >= TURN:
                    self._work = 0
                    self.cuts.append(start + position)
        self._part = data[position:]
        self._skip = max(0, position - len(data))
        return self._exceeded_limit()

    def count_provoked_reset(self, now: float) -> FrameLimit | None:
        """Count a stream that the client made the server reset, and return the exceeded limit, if any."""
        self._reset_counts_if_due(now)
        self._counts[FrameType.RST_STREAM] += 1
        return self._exceeded_limit()

    def count_sent(self, size: int) -> None:
        """Permit the client to acknowledge ``size`` bytes of a response."""
        self._earned += 2 + size // PER_UPDATE

    def _reset_counts_if_due(self, now: float) -> None:
        if now >= self._until:
            self._until = now + SECONDS
            self._counts.clear()
            self._reset.clear()

    def _count(self, number: int, flags: int, length: int, stream: bytes) -> None:
        kind = _TYPES.get(number, FrameType.UNKNOWN)
        if kind is FrameType.HEADERS or (kind is FrameType.DATA and (length or flags & _END_STREAM)):
            return
        # Some clients (Python's h2) reset a stream again for each frame that was on its way when they cancelled it.
        answers = kind is FrameType.WINDOW_UPDATE or (kind is FrameType.RST_STREAM and stream in self._reset)
        if answers and self._earned:
            self._earned -= 1
            return
        if kind is FrameType.RST_STREAM:
            self._reset.add(stream)
        self._counts[kind] += 1

    def _exceeded_limit(self) -> FrameLimit | None:
        return next((BOUNDS[kind] for kind, count in self._counts.items() if count > BOUNDS[kind].max_frames), None)
