"""Work in threads that fails: its arguments do not stay in memory, because they may be bodies of megabytes.

The garbage collector is off in these tests. In the gateway it runs after thousands of new objects, and a client needs a
few requests to fill the memory."""

import contextlib
import gc
import weakref
from functools import partial

import pytest
import trio

from gateway.http.offload import LARGE, offload, offload_always, run_in_thread
from gateway.http.threads import call_in_thread
from gateway.relay.spool import run_disk_work
from gateway.stores.pool import ConnectionPool
from streams.errors import GatewayError, invalid
from tests.support.each_row import each_row


class Body:
    """A large body that a test can watch."""

    def __init__(self) -> None:
        self.data = b"x" * (LARGE + 1)


class Connection:
    """A connection of a pool."""

    def prepare(self) -> None:
        """Prepare nothing."""

    def close(self) -> None:
        """Close nothing."""

    def interrupt(self) -> None:
        """Interrupt nothing."""


@pytest.fixture
def no_collection():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def reject(body, *_):
    copy = body.data.decode()
    raise invalid(f"{len(copy)} bytes are not JSON")


async def use_pool(body):
    pool = ConnectionPool(Connection, 1, 5.0)
    try:
        await pool.run(partial(reject, body))
    finally:
        await pool.aclose()


CALLS = {
    "offload": lambda body: offload(LARGE + 1, reject, body),
    "offload_always": lambda body: offload_always(lambda: reject(body)),
    "run_in_thread": lambda body: run_in_thread(reject, body),
    "call_in_thread": lambda body: call_in_thread(lambda: reject(body)),
    "disk": lambda body: run_disk_work(lambda: reject(body)),
    "pool": use_pool,
}


async def fail(call):
    """Let ``call`` fail with a new body, and return a reference to it."""
    body = Body()
    with contextlib.suppress(GatewayError):
        await call(body)
        pytest.fail("it was not rejected")
    return weakref.ref(body)


@each_row("name", CALLS)
@pytest.mark.usefixtures("no_collection")
async def test_rejected_work_leaves_nothing_in_memory(name):
    watched = await fail(CALLS[name])
    assert watched() is None


async def test_a_result_an_error_and_a_cancellation_are_passed_on():
    assert await call_in_thread(lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        await call_in_thread(lambda: 1 // 0)
    with trio.CancelScope() as scope:
        scope.cancel()
        await call_in_thread(trio.from_thread.check_cancelled)
    assert scope.cancelled_caught
