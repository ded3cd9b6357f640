"""The answers in progress, or complete, whose clients have left."""

from collections import Counter
from typing import Final

import trio

from gateway.exchange.delivery import END_GRACE
from gateway.features.answer_cache.interface import Flight

MOST: Final = 32
"""Answers that are kept for one client at the same time."""


class KeptAnswers:
    """Keeps answers for ``seconds`` after their last client has left, ``most`` of all clients: a ``Keeper``.

    They take no places of their clients. An answer ends early once a repeated request has received it, if it fails, and
    when the process stops."""

    def __init__(self, seconds: float, most: int) -> None:
        self.seconds, self.most = seconds, most
        self._nursery: trio.Nursery | None = None
        self._waits: set[trio.CancelScope] = set()
        self._numbers: Counter[str] = Counter()

    def keep(self, flights: dict[bytes, Flight], key: bytes, flight: Flight, desertion: trio.Event) -> bool:
        if self._nursery is None or not flight.may_be_joined:
            return False
        if self._numbers[flight.holder] >= MOST or self._numbers.total() >= self.most:
            return False
        flight.is_kept = True
        flights[key] = flight
        self._numbers[flight.holder] += 1
        self._nursery.start_soon(self._keep, flights, key, flight, desertion)
        return True

    async def run(self, stopping: trio.Event, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the tasks of kept answers until ``ending``. From ``stopping`` on, none waits for its client."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            nursery.start_soon(self._stop_after, stopping)
            await ending.wait()
            self._nursery = None
            nursery.cancel_scope.cancel()

    async def _stop_after(self, stopping: trio.Event) -> None:
        await stopping.wait()
        self._nursery = None
        for wait in self._waits:
            wait.cancel()

    async def _keep(self, flights: dict[bytes, Flight], key: bytes, flight: Flight, desertion: trio.Event) -> None:
        try:
            await self._wait_for_repeat(flight)
        finally:
            desertion.set()
            if flights.get(key) is flight:
                del flights[key]
            flight.end_keeping()
            self._numbers[flight.holder] -= 1
            if not self._numbers[flight.holder]:
                del self._numbers[flight.holder]

    async def _wait_for_repeat(self, flight: Flight) -> None:
        """Wait until a repeated request has received the whole answer, the answer fails, or no client has come back in
        time."""
        while not _is_useless(flight):
            if flight.followers:
                await flight.wait_for_change()
                continue
            if self._nursery is None:  # the process stops
                return
            until = trio.current_time() + self.seconds
            with trio.move_on_at(until) as wait:
                self._waits.add(wait)
                try:
                    while not (flight.followers or _is_useless(flight)):
                        is_short = flight.is_at_end  # a provider might never end its body
                        wait.deadline = min(until, trio.current_time() + END_GRACE) if is_short else until
                        await flight.wait_for_change()
                finally:
                    self._waits.remove(wait)
            if wait.cancelled_caught:
                return


def _is_useless(flight: Flight) -> bool:
    """Return whether the answer is for no other request, also because memory was too short to keep its beginning."""
    return flight.was_repeated or not (flight.followers or flight.may_be_joined)
