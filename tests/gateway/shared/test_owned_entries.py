"""A bounded mapping whose clients cannot remove each other's entries."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from gateway.shared.owned_entries import OwnedEntries
from tests.support.counted_calls import calls

MOST = 8


def test_the_client_with_the_most_entries_loses_its_oldest():
    entries: OwnedEntries[str, int, int] = OwnedEntries(MOST)
    for key in range(3):
        entries.put("bob", key, key)
    for key in range(100):
        entries.put("mallory", key, key)
    assert [entries.get("bob", key) for key in range(3)] == [0, 1, 2]
    assert [key for key in range(100) if entries.get("mallory", key) is not None] == [95, 96, 97, 98, 99]


def test_an_entry_that_is_put_again_is_the_newest():
    entries: OwnedEntries[str, str, int] = OwnedEntries(2)
    for key in ("a", "b", "a", "c"):
        entries.put("bob", key, 1)
    assert [entries.get("bob", key) for key in ("a", "b", "c")] == [1, None, 1]


def test_short_lived_entries_after_a_full_time_take_no_memory():
    entries: OwnedEntries[str, int, int] = OwnedEntries(2)

    def come_and_go(times: int) -> int:
        for key in range(times):
            entries.put("bob", key, key)
            entries.remove("bob", key)
        return tracemalloc.get_traced_memory()[0]

    for owner, key in ("greta", 0), ("bob", 0), ("bob", 1):
        entries.put(owner, key, key)
    entries.remove("bob", 1)
    tracemalloc.start()
    try:
        before = come_and_go(100)
        assert come_and_go(4000) < before + 16_000
    finally:
        tracemalloc.stop()


def test_owners_take_turns_with_their_oldest_entries():
    entries: OwnedEntries[str, int, tuple[str, int]] = OwnedEntries(MOST)
    for key in range(5):
        entries.put("mallory", key, ("mallory", key))
    for key in range(2):
        entries.put("bob", key, ("bob", key))
    taken = [entries.take_next() for _ in range(4)]
    entries.put("greta", 0, ("greta", 0))
    while entries:
        taken.append(entries.take_next())
    assert taken == [
        ("mallory", 0), ("bob", 0), ("mallory", 1), ("bob", 1), ("mallory", 2), ("greta", 0), ("mallory", 3),
        ("mallory", 4),
    ]  # fmt: skip
    for key in range(MOST):
        entries.put("bob", key, ("bob", key))
    assert entries.get("bob", 0), "the entries that were taken left their room"


def test_an_empty_mapping_is_false_and_frees_its_room():
    entries: OwnedEntries[str, str, int] = OwnedEntries(1)
    assert not entries
    entries.put("bob", "a", 1)
    assert entries
    entries.remove("bob", "a")
    entries.remove("bob", "a")
    entries.remove("nobody", "a")
    assert not entries
    entries.put("greta", "b", 2)
    assert entries.get("greta", "b") == 2


@given(st.lists(st.tuples(st.sampled_from(["put", "remove"]), st.sampled_from("abc"), st.integers(0, 9))))
def test_entries_stay_within_the_limit_and_clients_keep_their_share(steps):
    entries: OwnedEntries[str, int, int] = OwnedEntries(MOST)
    known: dict[str, set[int]] = {owner: set() for owner in "abc"}
    for step, owner, key in steps:
        before = {one: {k for k in range(10) if entries.get(one, k) is not None} for one in "abc"}
        if step == "put":
            entries.put(owner, key, key)
        else:
            entries.remove(owner, key)
        known = {one: {k for k in range(10) if entries.get(one, k) is not None} for one in "abc"}
        assert sum(map(len, known.values())) <= MOST
        for one in "abc":
            if one != owner and known[one] != before[one]:
                assert len(before[one]) >= MOST // 3


def test_room_is_found_as_fast_among_many_clients_as_among_few():
    """Requests pay for the room of new entries, so its cost must not grow with the number of people."""

    def cost(owners: int) -> int:
        entries: OwnedEntries[str, int, int] = OwnedEntries(owners * 2)
        for key in range(2):
            for owner in range(owners):
                entries.put(f"{owner}", key, key)
        entries.put("new", 0, 0)  # the first one without room

        def put() -> None:
            for key in range(2, 102):
                entries.put(f"{key % owners}", key, key)

        return calls(put)

    assert cost(1000) < 2 * cost(10)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(0, 7)), max_size=60))
def test_the_oldest_entries_of_the_largest_owner_make_room(puts):
    """Compared with a plain list of entries, the newest last."""
    dropped: list[int] = []
    entries: OwnedEntries[str, int, int] = OwnedEntries(20, most_of_owner=12, on_drop=dropped.append)
    plain: list[tuple[str, int, int, int]] = []

    def size_of(owner: str) -> int:
        return sum(size for name, _, _, size in plain if name == owner)

    for number, (owner, key, size) in enumerate(puts):
        entries.put(owner, key, number, size)
        plain = [one for one in plain if one[:2] != (owner, key)] + [(owner, key, number, size)]
        for value in dropped:
            gone = next(one for one in plain if one[2] == value)
            assert gone == next(one for one in plain if one[0] == gone[0]), "the oldest of its owner"
            full, most = size_of(gone[0]) > 12, max(map(size_of, "abc"))
            assert full or (size_of(gone[0]) == most and sum(map(size_of, "abc")) > 20)
            plain.remove(gone)
        dropped.clear()
        assert sum(map(size_of, "abc")) <= 20
        assert all(size_of(name) <= 12 for name in "abc")
        assert all(entries.get(name, key) == value for name, key, value, _ in plain)
    entries.clear()
    assert sorted(dropped) == sorted(one[2] for one in plain)
    assert not entries
