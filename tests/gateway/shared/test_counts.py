"""OpenCounts of what is under way: in one process, and in the cells of shared memory."""

import hashlib
from collections.abc import Iterator

import pytest

from gateway.shared.counts import LocalCounts, OpenCounts, SharedCounts
from gateway.shared.layout import GROUP, Layout
from gateway.shared.memory import SharedMemory

LAYOUT = Layout(3, {}, 2 * GROUP)


def key(name: object) -> bytes:
    return hashlib.blake2b(str(name).encode(), digest_size=16).digest()


@pytest.fixture(params=["local", "shared"])
def counts(request) -> Iterator[OpenCounts]:
    if request.param == "local":
        yield LocalCounts()
    else:
        with SharedMemory.make(LAYOUT) as memory:
            yield SharedCounts(memory, memory.take_seat())


def test_what_is_taken_counts_until_it_is_given_back(counts):
    first, second = counts.take(key("a")), counts.take(key("a"))
    other = counts.take(key("b"))
    assert [counts.total(key(name)) for name in "abc"] == [2, 1, 0]
    first()
    other()
    assert [counts.total(key(name)) for name in "abc"] == [1, 0, 0]
    second()
    assert counts.total(key("a")) == 0


def test_keys_that_nothing_is_under_way_for_make_room_for_others(counts):
    """A process may come across any number of targets, with the credentials that clients bring."""
    kept = counts.take(key("kept"))
    for number in range(1000):
        give_back = counts.take(key(number))
        assert counts.total(key(number)) == 1
        give_back()
    assert counts.total(key("kept")) == 1
    kept()
    assert [counts.total(key(name)) for name in ("kept", 0, 999)] == [0, 0, 0]


def test_without_room_a_key_is_not_counted():
    with SharedMemory.make(LAYOUT) as memory:
        counts = SharedCounts(memory, memory.take_seat())
        given_back = [counts.take(key(number)) for number in range(1000)]
        totals = [counts.total(key(number)) for number in range(1000)]
        assert sum(totals) == 2 * GROUP
        for give_back in given_back:
            give_back()
        assert sum(counts.total(key(number)) for number in range(1000)) == 0
