"""The frames that an HTTP/2 client may send beside its requests, which cost it next to nothing. Pure.

A stream that is reset makes room for the next one at once, so that what the gateway began for it goes on without
counting among the open ones (CVE-2023-44487); a client that makes the server reset its streams does the same
(CVE-2025-8671). Frames of control are answered, or walk through all streams (https://kb.cert.org/vuls/id/605641).
"""

from collections import Counter
from enum import IntEnum
from typing import Final

import attrs

SECONDS: Final = 10.0
"""The time over which frames are counted."""

PREFACE: Final = 24
"""Bytes before a client's first frame (RFC 9113, section 3.4)."""


@attrs.frozen(eq=False, repr=False)
class FrameBound:
    """The most frames of a kind in ``SECONDS``, far above what a client sends that means well."""

    name: str
    most: int


class FrameType(IntEnum):
    """The kinds of frames (RFC 9113, section 11.2) that are looked at."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    WINDOW_UPDATE = 8
    CONTINUATION = 9
    UNKNOWN = 256
    """Any other; the real ones have a byte."""


BOUNDS: Final = {
    FrameType.DATA: FrameBound("empty DATA", 100),  # the one that ends a body is not counted
    # As many as one client sends at its most diligent: some for each stream, of which 100 may be open.
    FrameType.PRIORITY: FrameBound("PRIORITY", 500),
    # All streams that may be open, three times over: an agent that is interrupted, or a proxy with many users, cancels
    # whatever it has asked for.
    FrameType.RST_STREAM: FrameBound("RST_STREAM", 300),
    FrameType.SETTINGS: FrameBound("SETTINGS", 100),  # one and one that acknowledges ours; some change their windows
    FrameType.PING: FrameBound("PING", 1000),  # some measure the round trip with every read
    FrameType.WINDOW_UPDATE: FrameBound("WINDOW_UPDATE", 1000),  # beside those that are earned
    FrameType.CONTINUATION: FrameBound("CONTINUATION", 1000),  # a head of 64 KiB takes four
    FrameType.UNKNOWN: FrameBound("unknown", 1000),  # to be ignored (section 5.5), such as PRIORITY_UPDATE
}

PER_UPDATE: Final = 2048
"""Bytes of an answer that earn a WINDOW_UPDATE: the most diligent clients send two for 4 KiB."""

_HEAD: Final = 9
_END_STREAM: Final = 0x1
_TYPES: Final = {int(kind): kind for kind in FrameType}


class FrameCounter:
    """Counts what comes on one connection. Times are in seconds, from any clock."""

    def __init__(self) -> None:
        self._part = b""  # of a frame's head
        self._skip = PREFACE  # bytes to the next frame
        self._counts: Counter[FrameType] = Counter()
        self._until = 0.0
        self._earned = 0
        self._reset: set[bytes] = set()  # streams, by their numbers as they are written

    def receive(self, data: bytes, now: float) -> FrameBound | None:
        """Count the frames in ``data``, which is cut anywhere; the bound that is overstepped by now."""
        self._turn(now)
        data, self._part = self._part + data, b""
        place = self._skip
        while place + _HEAD <= len(data):
            length = int.from_bytes(data[place : place + 3])
            self._count(data[place + 3], data[place + 4], length, data[place + 5 : place + _HEAD])
            place += _HEAD + length
        self._part = data[place:]
        self._skip = max(0, place - len(data))
        return self._overstepped()

    def provoked_reset(self, now: float) -> FrameBound | None:
        """Count a stream that the client has made us reset; the bound that is overstepped by now."""
        self._turn(now)
        self._counts[FrameType.RST_STREAM] += 1
        return self._overstepped()

    def sent(self, size: int) -> None:
        """Let the client acknowledge ``size`` bytes of an answer."""
        self._earned += 2 + size // PER_UPDATE

    def _turn(self, now: float) -> None:
        if now >= self._until:
            self._until = now + SECONDS
            self._counts.clear()
            self._reset.clear()

    def _count(self, number: int, flags: int, length: int, stream: bytes) -> None:
        kind = _TYPES.get(number, FrameType.UNKNOWN)
        if kind is FrameType.HEADERS or (kind is FrameType.DATA and (length or flags & _END_STREAM)):
            return
        # Some clients (h2's of Python) reset a stream anew for each frame that was on its way when they cancelled it.
        answers = kind is FrameType.WINDOW_UPDATE or (kind is FrameType.RST_STREAM and stream in self._reset)
        if answers and self._earned:
            self._earned -= 1
            return
        if kind is FrameType.RST_STREAM:
            self._reset.add(stream)
        self._counts[kind] += 1

    def _overstepped(self) -> FrameBound | None:
        return next((BOUNDS[kind] for kind, count in self._counts.items() if count > BOUNDS[kind].most), None)
