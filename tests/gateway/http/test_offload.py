"""Work on large bodies beside the loop."""

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


async def test_the_event_loop_runs_during_offloaded_work():
    """It turns many times while one work in Python keeps the interpreter busy."""
    turns, over = 0, trio.Event()

    async def turn() -> None:
        nonlocal turns
        while not over.is_set():
            await trio.sleep(0.001)
            turns += 1

    def work() -> int:
        end, count = time.monotonic() + 0.3, 0
        while time.monotonic() < end:
            count += 1
        return count

    async with trio.open_nursery() as nursery:
        nursery.start_soon(turn)
        assert await offload(LARGE + 1, work) > 0
        over.set()
    assert turns >= 10


async def test_large_work_is_done_one_after_the_other():
    active = most = 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        time.sleep(0.005)
        with lock:
            active -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(offload, LARGE + 1, work)
    assert most == 1


async def test_work_of_others_does_not_wait_for_the_end_of_long_work():
    """335 kB of JSON once took nine seconds of the only thread, for which all larger requests waited (CWE-400)."""
    may_end, waits = threading.Event(), []

    async def hold(client: str) -> None:
        CLIENT.set(client)
        await offload(LARGE + 1, may_end.wait, 30)

    async with trio.open_nursery() as nursery:
        for number in range(THREADS - 1):
            nursery.start_soon(hold, f"busy-{number}")
            nursery.start_soon(hold, f"busy-{number}")  # waits for its own client's turn
        await trio.sleep(2 * SLICE * THREADS)  # all of them have begun
        for number in range(5):
            CLIENT.set(f"other-{number}")
            began = trio.current_time()
            await offload(LARGE + 1, time.monotonic)
            waits.append(trio.current_time() - began)
        may_end.set()
    assert statistics.median(waits) < 0.25, waits


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
    assert statistics.median(waits) < 0.25, waits
    assert len(running) == THREADS + 2


async def test_the_client_that_has_used_the_thread_least_is_next():
    """Whoever has much large work does not keep another's waiting for all of it (CWE-770)."""
    may_end, begun = threading.Event(), list[str]()

    def work(client: str) -> None:
        begun.append(client)
        may_end.wait(10)

    async def ask(client: str, times: int) -> None:
        CLIENT.set(client)
        for _ in range(times):
            await offload(LARGE + 1, work, client)

    async with trio.open_nursery() as nursery:
        for number in range(THREADS):
            nursery.start_soon(ask, f"many-{number}", 3)
        await eventually(lambda: len(begun) == THREADS)
        for client in ("one", "another"):
            nursery.start_soon(ask, client, 1)
        await trio.testing.wait_all_tasks_blocked(SLICE / 10)
        may_end.set()
    assert set(begun[THREADS : THREADS + 3]) >= {"one", "another"}
    assert len(begun) == 3 * THREADS + 2


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
    """What has begun is waited for: it would go on in any case."""
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
