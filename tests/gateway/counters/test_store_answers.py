"""Invalid replies of a shared store."""

import contextlib
from collections.abc import AsyncIterator

import trio

from gateway.counters.counter import Claim, Debit
from gateway.counters.counter_store import SendStep
from gateway.counters.remote import RemoteCounters
from tests.support.counters import budget
from tests.support.each_row import each_row


@each_row(
    "answer",
    [
        b"",
        b"null",
        b"{}",
        b'{"time": 1, "reserved": [[1, []], [1, []]]}',
        b'{"time": 1, "reserved": [[1, []]], "added": [[1, 0, 0, 0]]}',
        b'{"time": 1, "reserved": [[1, [[0, 0, 0]]]]}',
    ],
)
async def test_an_invalid_reply_is_an_outage(answer):
    # Otherwise anyone who can write to the store, or another version of the gateway, could have ended every gateway.
    class Store:
        title = "a store"

        @contextlib.asynccontextmanager
        async def connect(self) -> AsyncIterator[SendStep]:
            joined = False

            async def ask(text: bytes, limit: float) -> bytes:
                nonlocal joined
                first, joined = not joined, True
                return b'{"time": 1}' if first else answer

            yield ask

    async with trio.open_nursery() as nursery:
        counters = RemoteCounters(Store())
        nursery.start_soon(counters.run)
        await trio.testing.wait_all_tasks_blocked()
        assert not counters.is_away
        assert not await counters.reserve([Claim("1", (Debit(budget("k"), 1),))])
        assert counters.is_away
        nursery.cancel_scope.cancel()
