"""Pins: which member of a group holds a conversation's prompt in its cache, and until when."""

import struct
from collections import OrderedDict
from typing import Final, Protocol, Self

import attrs

MOST_PINS: Final = 100_000

_PACKED: Final = struct.Struct("<8sd")


@attrs.frozen
class Pin:
    """The ``member`` of a group (``loads.member_of``) that has a conversation, ``until`` a moment."""

    member: bytes
    until: float

    def pack(self) -> bytes:
        """16 bytes."""
        return _PACKED.pack(self.member, self.until)

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        return cls(*_PACKED.unpack(packed))


class Pins(Protocol):
    """A bounded table of pins, by keys of 16 bytes. What is forgotten costs a cache and nothing else."""

    def get(self, key: bytes, now: float) -> Pin | None:
        """The pin if it still holds."""
        ...

    def put(self, key: bytes, pin: Pin, now: float) -> None:
        """Keep ``pin`` in place of what was there."""
        ...


class LocalPins:
    """The pins of one process: the longest unused go first where there are more than ``most``."""

    def __init__(self, most: int = MOST_PINS) -> None:
        self._most = most
        self._pins: OrderedDict[bytes, Pin] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pins)

    def get(self, key: bytes, now: float) -> Pin | None:
        pin = self._pins.get(key)
        return None if pin is None or pin.until <= now else pin

    def put(self, key: bytes, pin: Pin, now: float) -> None:
        self._pins[key] = pin
        self._pins.move_to_end(key)
        for _ in range(2):  # more than come in, so that it shrinks again once there are fewer conversations
            oldest = next(iter(self._pins))
            if len(self._pins) > self._most or self._pins[oldest].until <= now:
                del self._pins[oldest]
