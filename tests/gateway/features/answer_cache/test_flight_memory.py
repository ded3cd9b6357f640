"""The memory of responses that several requests read: counted for the slowest reader's client."""

import contextlib
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from gateway.access.held_bytes import HeldBytes
from gateway.features.answer_cache.flight import PIECE, UNCOUNTED, Flight, FlightReader
from gateway.features.answer_cache.stored_answer import local_response
from gateway.upstream.response import UpstreamResponse
from streams.errors import GatewayError
from tests.support.flights import Body, begin_flight, new_budget, new_flight
from tests.support.task_steps import count_task_steps

KIB, MIB = 2**10, 2**20


def response(size: int, piece: int = 16 * KIB) -> UpstreamResponse:
    return local_response(Body(*[(0.0, bytes(piece))] * (size // piece)), ())


@contextlib.asynccontextmanager
async def reading(flight: Flight, size: int, piece: int = 16 * KIB) -> AsyncIterator[None]:
    """Read a response of ``size`` bytes, which arrives immediately. The block must close the readers."""
    begin_flight(flight)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flight.run, response(size, piece))
        yield
    flight.finish()


async def read_all(reader: FlightReader) -> int:
    size = 0
    while piece := await reader.read():
        size += len(piece)
    return size


async def test_unread_responses_count_as_their_clients_memory(autojump_clock):
    """Fifty clients that do not read took 4 MiB each (OWASP API4:2023)."""
    memory = HeldBytes()
    budget = new_budget(memory, "slow", "other", bodies="8MiB")
    async with trio.open_nursery() as nursery:
        leaders: list[FlightReader] = []
        for _ in range(50):
            flight = new_flight(4 * MIB, budget, "slow")
            leaders.append(flight.lead())
            begin_flight(flight)
            nursery.start_soon(flight.run, response(4 * MIB))
        await trio.sleep(1)
        assert memory.held["slow"] < 2 * MIB + 50 * (UNCOUNTED + 32 * KIB), "half of its share, and what each may have"
        assert memory.total == memory.held["slow"]
        flight = new_flight(4 * MIB, budget, "other")
        leader = flight.lead()
        async with reading(flight, MIB):
            assert await read_all(leader) == MIB
            assert await flight.wait_for_body() == bytes(MIB), "another client's response is cached"
            await leader.aclose()
        for leader in leaders:
            await leader.aclose()


async def test_small_pieces_count_with_their_overhead(autojump_clock):
    memory = HeldBytes()
    flight = new_flight(4 * MIB, new_budget(memory))
    leader = flight.lead()
    async with reading(flight, 1000, piece=1):
        await trio.sleep(1)
        assert memory.total == 1000 + PIECE * 1000
        await leader.aclose()
    assert memory.total == 0


async def test_the_memory_is_free_when_the_last_reader_has_ended(autojump_clock):
    memory = HeldBytes()
    flight = new_flight(4 * MIB, new_budget(memory, "a", "b"), "a")
    leader, follower = flight.lead(), flight.follow("b")
    async with reading(flight, MIB):
        await read_all(leader)
        await leader.aclose()
    assert memory.total > MIB, "the follower may still read it"
    assert await read_all(follower) == MIB
    await follower.aclose()
    assert (memory.total, dict(memory.held)) == (0, {})


@pytest.mark.parametrize("slow_leads", [True, False])
@pytest.mark.parametrize("limits", [{}, {"bodies": "8MiB"}], ids=["enough", "too little"])
async def test_no_reader_waits_for_one_that_fails_alone_if_its_clients_memory_is_too_little(
    autojump_clock, slow_leads, limits
):
    """The slow one gets everything, too, as far as its client pays for the memory."""
    memory = HeldBytes()
    budget = new_budget(memory, "slow", "fast", **limits)
    flight = new_flight(MIB, budget, "slow" if slow_leads else "fast")
    leader, follower = flight.lead(), flight.follow("fast" if slow_leads else "slow")
    slow, fast = (leader, follower) if slow_leads else (follower, leader)
    async with reading(flight, 8 * MIB):
        with trio.fail_after(1):
            assert await read_all(fast) == 8 * MIB
        assert not flight.may_be_joined
        assert await flight.wait_for_body() is None, "it is not kept"
        assert "fast" not in memory.held
        if limits:
            assert memory.held.get("slow", 0) < 3 * MIB
            with pytest.raises(GatewayError, match="too slowly"):
                await read_all(slow)
        else:
            assert memory.held["slow"] > 6 * MIB
            assert await read_all(slow) == 8 * MIB
        await leader.aclose()
        await follower.aclose()
    assert memory.total == 0


async def test_a_lone_slow_reader_gets_everything_at_its_pace(autojump_clock):
    memory = HeldBytes()
    flight = new_flight(4 * MIB, new_budget(memory, bodies="1MiB"))
    leader = flight.lead()
    async with reading(flight, 8 * MIB):
        await trio.sleep(1)
        assert memory.total < 600 * KIB
        assert await read_all(leader) == 8 * MIB
        await leader.aclose()
    assert memory.total == 0


async def test_a_follower_that_leaves_wakes_no_other(autojump_clock):
    """A client with a thousand identical requests could otherwise occupy the process by leaving one by one."""
    flight = new_flight(4 * MIB, new_budget(HeldBytes(), "a", "b"), "a")
    leader = flight.lead()
    followers = [flight.follow("b") for _ in range(100)]
    async with trio.open_nursery() as nursery:
        for follower in followers:
            nursery.start_soon(follower.read)
        await trio.testing.wait_all_tasks_blocked()
        with count_task_steps() as steps:
            for follower in followers[1:]:
                await follower.aclose()
                await trio.lowlevel.checkpoint()
        assert steps.count < 2 * len(followers)
        nursery.cancel_scope.cancel()
    await leader.aclose()
