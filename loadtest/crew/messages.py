"""The messages between the process that commands a load and the processes that make it.

They are MessagePack, each behind its length. Times are those of the worker's own clock, in seconds; values and figures
are data as ``values`` and the figures' own ``dump`` give it. Keys and headers of a plan are in ``Prepare`` alone: they
are neither in the arguments nor in the environment of a process."""

import struct
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from loadtest.exchange.record import ExchangeRecord

LONGEST: Final = 512 * 2**20
"""Bytes of a message: the requests of a plan are in one."""

SHORT: Final = 4096
"""Bytes of a message of somebody who has not proved who it is."""

_LENGTH: Final = struct.Struct("<I")

Wanted: TypeAlias = Literal["figures", "records", "bodies"]
"""What a worker sends while it runs: its figures, each exchange's record as well, or that with the answer's body."""


class NotAMessage(Exception):
    """What came is none of the messages, or too long."""


class _CrewMessage(msgspec.Struct, frozen=True, tag=True):
    """One message; its tag is the name of its class."""


# From a worker that waits on a port, and to it


class Challenge(_CrewMessage, frozen=True):
    """The first word of a worker on a port. ``closed``: it works for those that know its secret."""

    version: str
    nonce: bytes
    closed: bool


class Introduction(_CrewMessage, frozen=True):
    """The commanding process's answer. All connections of one of them bear the same ``commander``."""

    version: str
    commander: str
    nonce: bytes
    proof: bytes


class Welcome(_CrewMessage, frozen=True):
    """The worker takes orders; ``proof`` is that of its own knowledge of the secret."""

    proof: bytes


class SentAway(_CrewMessage, frozen=True):
    """The worker does not take orders, and why."""

    reason: str


# To a process that makes load


class ClockQuestion(_CrewMessage, frozen=True):
    """What time is it? Also a sign of life."""

    number: int


class SentFile(_CrewMessage, frozen=True):
    """A file that the plan names, or one ``within`` a directory that it names."""

    named: str
    within: str
    content: bytes


class Prepare(_CrewMessage, frozen=True):
    """Get ready for a share of the load on one target. ``files`` are those that the plan names, for a machine
    that does not have them."""

    plan: Any
    target: str
    key: str | None
    index: int
    of: int
    wanted: Wanted
    self_test: bool
    files: list[SentFile] = []


class Begin(_CrewMessage, frozen=True):
    """Begin what is prepared at this time."""

    at: float


class Halt(_CrewMessage, frozen=True):
    """End the load at once; ``reason`` as a person reads it, "" for Ctrl-C."""

    reason: str


class BeginNoMore(_CrewMessage, frozen=True):
    """End the load, but what is under way may end by itself."""

    reason: str


Order: TypeAlias = ClockQuestion | Prepare | Begin | Halt | BeginNoMore
"""What the commanding process says."""


# From a process that makes load


class ClockAnswer(_CrewMessage, frozen=True):
    """The time at the worker when question ``number`` came."""

    number: int
    now: float


class ShareReady(_CrewMessage, frozen=True):
    """The share can begin. ``self_test``: what reading costs there, if that was asked."""

    self_test: Any = None


class Unable(_CrewMessage, frozen=True):
    """The load cannot be made there, or cannot go on."""

    reason: str


class Begun(_CrewMessage, frozen=True):
    """The share has begun, at this time."""

    at: float


class Progress(_CrewMessage, frozen=True):
    """How the load stands. ``figures`` are those since the last such message. Of answers under way: seconds to the
    first byte and to the first token, and how many events have come."""

    figures: Any
    in_flight: int
    judging: int
    ttfb: Sequence[float] = ()
    ttft: Sequence[float] = ()
    events: int = 0


class Finished(_CrewMessage, frozen=True):
    """The share is over. ``figures`` are those that no message had yet, ``cpu`` is the share of a core that it took,
    ``seconds`` those of arrivals that count."""

    figures: Any
    cpu: float
    seconds: float


class RecordRow(_CrewMessage, frozen=True):
    """An exchange that has ended: its record, the objectives that it missed, and what came of its answer, if wanted."""

    record: ExchangeRecord
    missed: list[str]
    body: bytes


class Records(_CrewMessage, frozen=True):
    """What ended since the last such message; ``dropped`` is how many had no room any more."""

    rows: list[RecordRow]
    dropped: int = 0


Report: TypeAlias = ClockAnswer | ShareReady | Unable | Begun | Progress | Records | Finished
"""What a process that makes load says."""


def packet(message: _CrewMessage) -> bytes:
    """The message as bytes. Raises ``NotAMessage`` where it is too long."""
    data = msgspec.msgpack.encode(message)
    if len(data) > LONGEST:
        raise NotAMessage(f"a plan of {len(data) // 2**20} MiB with its files is more than can be sent")
    return _LENGTH.pack(len(data)) + data


class PacketSplitter:
    """Cuts bytes into messages, which are not decoded yet. ``longest`` bounds each."""

    def __init__(self, longest: int = LONGEST) -> None:
        self.longest = longest
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Raises ``NotAMessage`` for what is too long: most likely it is not one of ours that speaks."""
        self._held += data
        found: list[bytes] = []
        while len(self._held) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._held)
            if length > self.longest:
                raise NotAMessage("this is not the protocol of trigate load worker")
            if len(self._held) < _LENGTH.size + length:
                break
            found.append(bytes(self._held[_LENGTH.size : _LENGTH.size + length]))
            del self._held[: _LENGTH.size + length]
        return found

    @property
    def rest(self) -> bytes:
        """The bytes of no whole message."""
        return bytes(self._held)
