"""What batches that go on are expected to cost, written down as they are made: every process reads it now and then, and
after a restart, and sets that much aside of the budgets that are to pay for them.

A batch is crossed out when it is paid for, or has ended and cost nothing; one of which nobody hears any more, when it
is past its time.
"""

import hashlib
import logging
import math
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

import msgspec
import trio

from gateway.kept_objects.inventory import PENDING, Inventory, KeptObject
from gateway.stores.store import Unavailable

log = logging.getLogger("trigate.state")

EVERY: Final = 5.0
"""Seconds after which a process knows of what others have written down."""

LONGEST: Final = 2 * 86_400.0
"""Seconds for which a batch is waited for: providers give up after one day, and its owner has another one to ask what
has become of it."""

_PATIENCE: Final = 10.0  # seconds for the database
_OWNER: Final = "set aside"  # of all of them: an owner's own are in no list


class PendingBatch(msgspec.Struct, frozen=True):
    """A batch that goes on: whose budgets are to pay for it (their holders' kinds and names), and how much about, in
    nano-dollars and in tokens."""

    holders: tuple[tuple[str, str], ...]
    usd: int
    tokens: int


class ReserveSink(Protocol):
    """Whoever sets aside what is written down. ``is_wanted``: it matters to anybody."""

    @property
    def is_wanted(self) -> bool: ...

    def read_with(self, read: Callable[[float], Awaitable[None]]) -> None:
        """Know how to be told: what is older than so many seconds is read anew."""
        ...

    def replace(self, sums: Mapping[tuple[str, str], tuple[int, int]]) -> None:
        """Know what is set aside for each holder, in nano-dollars and in tokens."""
        ...


class PendingBatches:
    """The record in ``inventory``; without one nothing is set aside. Nothing of it raises: what cannot be written down
    or read is said in the log."""

    def __init__(
        self, inventory: Inventory | None, reserves: ReserveSink, clock: Callable[[], float] = time.time
    ) -> None:
        self._inventory = inventory
        self._reserves = reserves
        self._clock = clock
        self._reading = trio.Lock()
        self._is_away = False
        self._read_at = -math.inf
        reserves.read_with(self.read)

    async def add(self, owner: str, batch: str, pending: PendingBatch) -> None:
        """Write down the ``batch`` that its ``owner`` has made."""
        until = self._clock() + LONGEST
        row = KeptObject(_OWNER, PENDING, _id_of(owner, batch), msgspec.json.encode(pending), until)
        await self._write(lambda inventory: inventory.put(row))

    async def cross_out(self, owner: str, batch: str) -> None:
        """It is paid for, or costs nothing."""
        await self._write(lambda inventory: inventory.remove(_OWNER, PENDING, _id_of(owner, batch)))

    async def run(self) -> None:
        """Read now and then what others have written down, until cancelled."""
        while True:
            await trio.sleep(EVERY)
            await self.read()

    async def read(self, fresh: float = 0.0) -> None:
        """Set aside what is written down, where that matters to anybody, and was read more than ``fresh`` seconds
        ago."""
        if self._inventory is not None and self._reserves.is_wanted:
            async with self._reading:
                if (now := trio.current_time()) - self._read_at >= fresh:
                    await self._guarded(self._read, self._inventory, shield=False)
                    self._read_at = now

    async def _write(self, step: Callable[[Inventory], Awaitable[None]]) -> None:
        if self._inventory is not None:
            await self._guarded(step, self._inventory, shield=True)  # though its client leaves
            await self.read()

    async def _guarded(
        self, step: Callable[[Inventory], Awaitable[None]], inventory: Inventory, *, shield: bool
    ) -> None:
        try:
            with trio.fail_after(_PATIENCE, shield=shield):
                await step(inventory)
        except (Unavailable, trio.TooSlowError) as error:
            if not self._is_away:
                log.warning("what is set aside of budgets for batches is not known: %s", error or "no answer in time")
            self._is_away = True
        else:
            self._is_away = False

    async def _read(self, inventory: Inventory) -> None:
        sums: defaultdict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
        now, behind = self._clock(), None
        while True:
            rows = await inventory.some(_OWNER, PENDING, behind, "asc")
            for one in rows:
                behind = one.number
                if one.kept.until <= now:
                    await inventory.remove(_OWNER, PENDING, one.kept.id)
                    continue
                try:
                    pending = _ROW.decode(one.kept.body)
                except msgspec.MsgspecError:  # of another version, which knows it
                    continue
                for holder in pending.holders:
                    usd, tokens = sums[holder]
                    sums[holder] = usd + pending.usd, tokens + pending.tokens
            if len(rows) < inventory.at_once:
                break
        self._reserves.replace(sums)


_ROW: Final = msgspec.json.Decoder(PendingBatch)


def _id_of(owner: str, batch: str) -> str:
    """Its name there, of any length and letters of both."""
    return hashlib.blake2b(f"{owner}\0{batch}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
