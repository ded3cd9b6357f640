"""The events of a stream, kept so that a client that has lost its connection gets those it has not seen.

A log is a row of blocks. Each is the length of what follows (4 bytes, most significant first) and about 64 KiB of whole
events, deflated at the fastest level (zlib, RFC 1950, whose checksum shows damage).
"""

import struct
import zlib
from collections.abc import Iterator

import msgspec

from streams import sse
from streams.surrogates import NOT_JSON

BLOCK = 2**16  # bytes of events, before they are compressed

_LENGTH = struct.Struct(">I")
_LEVEL = 1


class _Numbered(msgspec.Struct, gc=False):
    sequence_number: int | None = None


_number = msgspec.json.Decoder(_Numbered).decode


class EventLog:
    """A log of a stream's whole events as they go out, any number at once; keep-alives are none. It holds what it kept,
    which is a fraction of the answer, and of what is not yet compressed a block and the largest event at most."""

    def __init__(self) -> None:
        self._events: list[bytes] = []
        self._size = 0
        self._blocks: list[bytes] = []

    def add(self, events: bytes) -> None:
        self._events.append(events)
        self._size += len(events)
        if self._size >= BLOCK:
            self._blocks.append(_block(self._events))
            self._events, self._size = [], 0

    def close(self) -> bytes:
        """The log. More may be added, for a later ``close``."""
        rest = [_block(self._events)] if self._events else []
        return b"".join([*self._blocks, *rest])


def _block(events: list[bytes]) -> bytes:
    data = zlib.compress(b"".join(events), _LEVEL)
    return _LENGTH.pack(len(data)) + data


def after(log: bytes, starting_after: int = -1) -> bytes:
    """The events of ``log`` whose ``sequence_number`` is greater than ``starting_after``, byte for byte. One without a
    number goes with the one before it. ``log`` may also be a stream's events as they are. Raises ``ValueError`` for
    what is neither, or damaged."""
    found: list[bytes] = []
    passed = starting_after < 0
    for block in _blocks(log):
        if passed:
            found.append(block)
            continue
        splitter = sse.Splitter(limit=len(block) + 1)
        for raw in splitter.feed(block):
            passed = passed or _number_of(raw) > starting_after
            if passed:
                found.append(raw)
    return b"".join(found)


def _blocks(log: bytes) -> Iterator[bytes]:
    if log.startswith((b"event:", b":")):  # no block is so long that its length begins with these letters
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


def _number_of(raw: bytes) -> int:
    parsed = sse.parse(raw)
    try:
        number = None if parsed is None else _number(parsed[1]).sequence_number
    except NOT_JSON:
        number = None
    return -1 if number is None else number
