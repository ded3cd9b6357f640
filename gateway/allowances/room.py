"""Requests of clients that wait until other requests end and free room in a budget."""

from collections.abc import Sequence
from typing import Final

import trio

from gateway.allowances.queue import POLL, FairLine, Waiter
from gateway.counters.counter import Claim, Counter, Counters

FEW: Final = 8
"""Requests that check for room every ``POLL`` seconds. If more wait for one counter, each checks less often."""

WOKEN: Final = 8
"""Requests that are woken when an end frees room. Each that finds room wakes as many.

If all were woken, a client with hundreds of waiting requests would occupy the process at each end of a request."""


class Room:
    """The waiting requests of this process, in one line for each counter without room. Clients take turns."""

    def __init__(self, counters: Counters) -> None:
        self._lines: dict[bytes, FairLine] = {}
        counters.on_settled(self._wake_after)

    async def wait(self, counter: Counter, client: str | None, until: float) -> bool:
        """Wait until ``counter`` may have room; return false once ``until`` (trio's clock) has passed."""
        now = trio.current_time()
        if now >= until:
            return False
        line, waiter = self._lines.setdefault(counter.key, FairLine()), Waiter(client)
        line.join(waiter)
        try:
            with trio.move_on_at(min(until, now + POLL * max(1.0, len(line) / FEW))):
                await waiter.wake.wait()
        finally:
            if waiter in line:
                self._remove(counter.key, line, waiter)
        return True

    def wake(self, counter: Counter) -> None:
        """Wake the next requests that wait for ``counter``."""
        line = self._lines.get(counter.key, FairLine())
        for _ in range(WOKEN):
            if (waiter := line.first) is None:
                return
            waiter.wake.set()
            self._remove(counter.key, line, waiter)

    def _wake_after(self, claim: Claim, used: Sequence[int]) -> None:
        for debit in claim.debits:
            if debit.counter.key in self._lines:
                self.wake(debit.counter)

    def _remove(self, key: bytes, line: FairLine, waiter: Waiter) -> None:
        line.leave(waiter)
        if not line:
            del self._lines[key]
