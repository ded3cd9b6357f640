"""Counts of running work in shared memory. ``test_workers_memory.py`` covers several processes."""

import hashlib
from collections.abc import Iterator

import pytest

from gateway.shared.amounts import SharedAmounts, SharedCounts
from gateway.shared.layout import AMOUNT_ROWS, GROUP, Layout
from gateway.shared.memory import SharedMemory

LAYOUT = Layout(3, {}, dict.fromkeys(AMOUNT_ROWS, 2 * GROUP))


def key(name: object) -> bytes:
    return hashlib.blake2b(str(name).encode(), digest_size=16).digest()


@pytest.fixture
def counts() -> Iterator[SharedCounts]:
    with SharedMemory.make(LAYOUT) as memory:
        yield SharedCounts(SharedAmounts(memory, memory.take_seat()))


def test_a_request_counts_until_its_end(counts):
    for name in "aab":
        counts.begin(key(name))
    assert [counts.count(key(name)) for name in "abc"] == [2, 1, 0]
    for name in "ab":
        counts.end(key(name))
    assert [counts.count(key(name)) for name in "abc"] == [1, 0, 0]
    counts.end(key("a"))
    assert counts.count(key("a")) == 0


def test_unused_keys_make_room_for_others(counts):
    """A process may come across any number of targets: wildcard entries take any name."""
    counts.begin(key("kept"))
    for number in range(1000):
        counts.begin(key(number))
        assert counts.count(key(number)) == 1
        counts.end(key(number))
    assert counts.count(key("kept")) == 1
    counts.end(key("kept"))
    assert [counts.count(key(name)) for name in ("kept", 0, 999)] == [0, 0, 0]


def test_without_room_a_key_is_not_counted(counts):
    for number in range(1000):
        counts.begin(key(number))
    assert sum(counts.count(key(number)) for number in range(1000)) == 2 * GROUP
    for number in range(1000):
        counts.end(key(number))
    assert sum(counts.count(key(number)) for number in range(1000)) == 0


def test_a_worker_detects_a_row_reassigned_by_another():
    with SharedMemory.make(LAYOUT) as memory:
        seat = memory.take_seat()
        one, other = (SharedCounts(SharedAmounts(memory, seat)) for _ in range(2))
        one.begin(key("a"))
        assert other.count(key("a")) == 1
        one.end(key("a"))
        for number in range(1000):
            one.begin(key(number))
        assert other.count(key("a")) == 0
        assert sum(other.count(key(number)) for number in range(1000)) == 2 * GROUP
