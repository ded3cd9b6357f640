"""Garbage collection: connections leave no cycles, and full collections run only without waiting requests."""

import contextlib
import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from gateway.serving.registry import ConnectionRegistry
from streams import garbage
from streams.garbage import CHECK_SECONDS, collect_when_idle
from tests.support.repository import ROOT


class Knot:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.self = self


def knot() -> "weakref.ref[Knot]":
    """Create a cycle that survived the first collection, so that only a full one finds it."""
    made = Knot()
    gc.collect(0)
    return weakref.ref(made)


@pytest.fixture(autouse=True)
def by_hand() -> Iterator[None]:
    """Disable automatic collection during a test."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@contextlib.asynccontextmanager
async def collecting(registry: ConnectionRegistry, spare: int = 0):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect_when_idle, registry, spare)
        await wait_all_tasks_blocked()
        yield
        nursery.cancel_scope.cancel()


async def test_a_full_collection_runs_when_no_request_is_in_flight(autojump_clock):
    registry = ConnectionRegistry()
    registry.in_flight = 1
    async with collecting(registry):
        left = knot()
        await trio.sleep(3 * CHECK_SECONDS)
        assert left() is not None
        registry.in_flight = 0
        await trio.sleep(CHECK_SECONDS + 1)
        assert left() is None


@pytest.mark.parametrize(("spare", "held"), [(0, 100), (300, 100)])
async def test_a_full_collection_runs_when_memory_has_doubled(spare, held, autojump_clock, monkeypatch):
    monkeypatch.setattr(garbage, "_peak_memory", lambda: held)
    registry = ConnectionRegistry()
    registry.in_flight = 1
    async with collecting(registry, spare):
        left = knot()
        held = 2 * max(spare, held)
        await trio.sleep(CHECK_SECONDS + 1)
        assert left() is not None
        held += 1
        await trio.sleep(CHECK_SECONDS)
        assert left() is None


async def test_an_idle_process_runs_no_garbage_collection(autojump_clock, monkeypatch):
    looked: list[str] = []
    gc.collect()
    async with collecting(ConnectionRegistry()):
        gc.callbacks.append(lambda phase, info: looked.append(phase))
        try:
            await trio.sleep(3 * CHECK_SECONDS)
        finally:
            gc.callbacks.pop()
    assert looked == []


START = """
import gc, trio, trio.testing, weakref
from gateway.serving.registry import ConnectionRegistry
from streams.garbage import CHECK_SECONDS, collect_startup_garbage, freeze_startup_objects

class Knot:
    pass

def knot():
    made = Knot()
    made.self = made
    return weakref.ref(made)

async def main():
    registry, left = ConnectionRegistry(), knot()
    registry.in_flight = 1
    freeze_startup_objects(collects=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect_startup_garbage, registry)
        await trio.sleep(3 * CHECK_SECONDS)
        assert left() is not None
        registry.in_flight = 0
    assert left() is None
    assert gc.get_freeze_count()

trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
"""


@pytest.mark.process
def test_garbage_of_the_start_is_freed_once_without_requests():
    """In a process of its own, because a full collection over all tests takes seconds."""
    subprocess.run([sys.executable, "-c", START], cwd=ROOT, check=True, timeout=60)


def test_the_settings_apply_until_the_end_of_the_block():
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    with garbage.frozen_startup_objects():
        assert gc.get_threshold() > before
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() >= frozen
