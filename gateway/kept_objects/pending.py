"""The expected cost of running batches, stored so that every process reserves it in the budgets that will pay.

A batch is removed once it is billed or has ended without cost, or when its time has passed."""

import hashlib
import logging
import math
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

import msgspec
import trio

from gateway.kept_objects.inventory import PENDING_BATCHES, Inventory, KeptObject
from gateway.stores.errors import Unavailable
from streams.surrogates import decode_or

log = logging.getLogger("trigate.state")

READ_SECONDS: Final = 5.0
"""Seconds between reads of other processes' batches."""

MAX_AGE_SECONDS: Final = 2 * 86_400.0
"""Seconds until a batch is dropped: providers give up after one day, and its owner has one more to query it."""

_DATABASE_SECONDS: Final = 10.0  # seconds for the database
_OWNER: Final = "set aside"  # the common owner: lists of clients never show these


class PendingBatch(msgspec.Struct, frozen=True):
    """The expected cost of a running batch, in nano-dollars (``usd``) and in ``tokens``.

    ``holders`` have the budgets that will pay for it, each as kind and name."""

    holders: tuple[tuple[str, str], ...]
    usd: int
    tokens: int


class ReserveSink(Protocol):
    """A receiver of the amounts to reserve in budgets; ``is_wanted`` is true if there are budgets."""

    @property
    def is_wanted(self) -> bool: ...

    def set_reader(self, read: Callable[[float], Awaitable[None]]) -> None:
        """Set the function that refreshes the amounts unless they are newer than the given seconds."""

    def replace(self, sums: Mapping[tuple[str, str], tuple[int, int]]) -> None:
        """Replace the amounts to reserve, by holder, in nano-dollars and in tokens."""


class PendingBatches:
    """The store of running batches, in ``inventory``; without one, nothing is reserved.

    Its methods raise nothing: failures are logged."""

    def __init__(
        self, inventory: Inventory | None, reserves: ReserveSink, clock: Callable[[], float] = time.time
    ) -> None:
        self._inventory = inventory
        self._reserves = reserves
        self._clock = clock
        self._reading = trio.Lock()
        self._is_unavailable = False
        self._read_at = -math.inf
        reserves.set_reader(self.read)

    async def add(self, owner: str, batch: str, pending: PendingBatch) -> None:
        """Store a new ``batch`` of ``owner``."""
        until = self._clock() + MAX_AGE_SECONDS
        row = KeptObject(_OWNER, PENDING_BATCHES, _id_of(owner, batch), msgspec.json.encode(pending), until)
        await self._write(lambda inventory: inventory.put(row))

    async def remove(self, owner: str, batch: str) -> None:
        """Remove a batch that is billed or costs nothing."""
        await self._write(lambda inventory: inventory.remove(_OWNER, PENDING_BATCHES, _id_of(owner, batch)))

    async def run(self) -> None:
        """Refresh the reserved amounts periodically, until cancelled."""
        while True:
            await trio.sleep(READ_SECONDS)
            await self.read()

    async def read(self, max_age: float = 0.0) -> None:
        """Read all running batches and reserve their cost, unless this was done in the last ``max_age`` seconds."""
        if self._inventory is not None and self._reserves.is_wanted:
            async with self._reading:
                if (now := trio.current_time()) - self._read_at >= max_age:
                    await self._run_guarded(self._read, self._inventory, shield=False)
                    self._read_at = now

    async def _write(self, step: Callable[[Inventory], Awaitable[None]]) -> None:
        if self._inventory is not None:
            await self._run_guarded(step, self._inventory, shield=True)  # even if its client leaves
            await self.read()

    async def _run_guarded(
        self, step: Callable[[Inventory], Awaitable[None]], inventory: Inventory, *, shield: bool
    ) -> None:
        try:
            with trio.fail_after(_DATABASE_SECONDS, shield=shield):
                await step(inventory)
        except (Unavailable, trio.TooSlowError) as error:
            if not self._is_unavailable:
                log.warning("the amounts reserved for batches are unknown: %s", error or "timeout")
            self._is_unavailable = True
        else:
            self._is_unavailable = False

    async def _read(self, inventory: Inventory) -> None:
        sums: defaultdict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
        now, after_number = self._clock(), None
        while True:
            rows = await inventory.read_some(_OWNER, PENDING_BATCHES, after_number, "asc")
            for one in rows:
                after_number = one.number
                if one.kept.until <= now:
                    await inventory.remove(_OWNER, PENDING_BATCHES, one.kept.id)
                    continue
                if (pending := decode_or(_PENDING_BATCH.decode, one.kept.body, None)) is None:
                    continue  # from another version, which handles it
                for holder in pending.holders:
                    usd, tokens = sums[holder]
                    sums[holder] = usd + pending.usd, tokens + pending.tokens
            if len(rows) < inventory.page_size:
                break
        self._reserves.replace(sums)


_PENDING_BATCH: Final = msgspec.json.Decoder(PendingBatch)


def _id_of(owner: str, batch: str) -> str:
    """Return the batch's key in the inventory, of fixed length and alphabet."""
    begins = f"{owner}\0" if "\0" not in owner else f"\0{len(owner)}:{owner}"  # no two owners' batches are equal
    return hashlib.blake2b(f"{begins}{batch}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
