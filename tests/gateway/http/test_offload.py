"""Work on large bodies outside the event loop."""

import statistics
import threading
import time

import pytest
import trio
import trio.testing

from gateway.http.offload import CLIENT, LARGE, SLICE, THREADS, ThreadSlots, offload
from tests.support.asgi_app import eventually


async def test_only_large_work_runs_in_another_thread():
    assert await offload(LARGE, threading.get_ident) == threading.get_ident()
    assert await offload(LARGE + 1, threading.get_ident) != threading.get_ident()


async def test_arguments_and_errors_are_passed_on():
    assert await offload(LARGE + 1, divmod, 7, 2) == (3, 1)
    with pytest.raises(RecursionError, match="deep"):
        await offload(LARGE + 1, _raise, RecursionError("deep"))


def _raise(error: Exception) -> None:
    raise error


async def test_clients_with_long_work_leave_a_thread_to_others():
    """With as many keys as threads, an attacker could occupy all of them (CWE-400)."""
    may_end, running, waits = threading.Event(), list[str](), []

    async def hold(client: str) -> None:
        CLIENT.set(client)
        await offload(LARGE + 1, time.sleep, 2 * SLICE)
        await offload(LARGE + 1, lambda: (running.append(client), may_end.wait(30)))

    async with trio.open_nursery() as nursery:
        for number in range(THREADS + 2):
            nursery.start_soon(hold, f"busy-{number}")
        await eventually(lambda: len(running) == THREADS - 1)
        for number in range(5):
            CLIENT.set(f"other-{number}")
            began = trio.current_time()
            await offload(LARGE + 1, time.monotonic)
            waits.append(trio.current_time() - began)
        assert len(running) == THREADS - 1
        may_end.set()
    assert statistics.median(waits) < 10, waits
    assert len(running) == THREADS + 2


async def test_the_next_slot_is_for_the_client_that_used_the_threads_least(autojump_clock):
    """The order of arrival would favor the client with more work (CWE-770)."""
    slots, order = ThreadSlots(), list[str]()

    async def work(client: str) -> None:
        async with slots.slot(client):
            order.append(client)
            await trio.sleep(SLICE / 2)

    async with trio.open_nursery() as nursery:
        for client in ("much", "other"):
            nursery.start_soon(work, client)
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(SLICE * 3 / 4)  # the other's work runs
        for client in ("much", "little"):
            nursery.start_soon(work, client)
            await trio.testing.wait_all_tasks_blocked()
    assert order == ["much", "other", "little", "much"]


async def test_a_client_has_one_thread_at_a_time():
    """Several large requests of one client would occupy all threads (CWE-770)."""
    may_end, begun = threading.Event(), list[str]()

    def hold() -> None:
        begun.append("hold")
        may_end.wait(30)

    CLIENT.set("busy")
    async with trio.open_nursery() as nursery:
        for _ in range(THREADS):
            nursery.start_soon(offload, LARGE + 1, hold)
        await eventually(lambda: bool(begun))
        for number in range(THREADS):  # each gets a thread because the held one has exceeded its slice
            CLIENT.set(f"other-{number}")
            await offload(LARGE + 1, time.monotonic)
        assert len(begun) == 1
        may_end.set()


async def test_long_work_gets_another_thread_only_if_others_wait():
    threads = [await offload(LARGE + 1, threading.active_count) for _ in range(20)]
    assert threads == sorted(threads, reverse=True)  # an idle thread of an earlier test may end meanwhile


async def test_cancellation_ends_the_wait_and_not_the_work():
    """A cancelled caller still waits for work that has begun, because the work would continue in any case."""
    begun, may_end, done = threading.Event(), threading.Event(), []

    def first() -> None:
        begun.set()
        may_end.wait(10)
        done.append("first")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(offload, LARGE + 1, first)
        await trio.to_thread.run_sync(begun.wait)
        with trio.move_on_after(0.01) as waiting:
            await offload(LARGE + 1, done.append, "second")
        assert waiting.cancelled_caught
        nursery.cancel_scope.cancel()
        may_end.set()
    assert done == ["first"]
