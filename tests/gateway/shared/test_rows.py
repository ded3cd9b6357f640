"""Rows of bytes under keys: the same behaviour in one process and in shared memory."""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.shared.layout import AMOUNT_ROWS, GROUP, Layout, TableSize
from gateway.shared.memory import SharedMemory
from gateway.shared.rows import LocalRows, Rows
from gateway.shared.shared_rows import SharedRows
from tests.support.set_clock import SetClock

LAYOUT = Layout(
    2,
    {"before": TableSize(GROUP, 8), "few": TableSize(2 * GROUP, 16), "behind": TableSize(GROUP, 8)},
    dict.fromkeys(AMOUNT_ROWS, GROUP),
)
HOUR = 3600.0


def key(name: object) -> bytes:
    return hashlib.blake2b(str(name).encode(), digest_size=16).digest()


def keys_of_one_group(memory: SharedMemory, rows: int) -> Iterator[bytes]:
    """Yield keys that all belong to one group of a table of so many rows."""
    number = 0
    while True:
        if not memory.hashes_of(key(number))[0] % (rows // GROUP):
            yield key(number)
        number += 1


def put(value: bytes | None) -> Callable[[bytes | None, float], bytes | None]:
    return lambda _old, _now: value


@pytest.fixture(params=["local", "shared"])
def rows(request, clock) -> Iterator[Rows]:
    if request.param == "local":
        yield LocalRows(2 * GROUP, clock)
    else:
        with SharedMemory.make(LAYOUT) as memory:
            yield SharedRows(memory, "few", clock)


def test_a_row_has_the_result_of_its_last_change(rows, clock):
    seen: list[tuple[bytes | None, float]] = []

    def more(old: bytes | None, now: float) -> bytes:
        seen.append((old, now))
        return (old or b"") + b"x"

    assert rows.read(key("a")) is None
    assert [rows.update(key("a"), more, HOUR) for _ in range(3)] == [b"x", b"xx", b"xxx"]
    assert seen == [(None, 1000.0), (b"x", 1000.0), (b"xx", 1000.0)]
    assert rows.read(key("a")) == b"xxx"
    assert rows.read(key("b")) is None


def test_a_change_that_fails_changes_nothing(rows):
    def fail(_old: object, _now: float) -> None:
        raise ZeroDivisionError

    rows.update(key("a"), put(b"here"), HOUR)
    with pytest.raises(ZeroDivisionError):
        rows.update(key("a"), fail, HOUR)
    assert rows.read(key("a")) == b"here"
    assert rows.update(key("a"), put(b"there"), HOUR) == b"there"


def test_the_number_of_rows_is_bounded(rows):
    for number in range(1000):
        rows.update(key(number), put(b"x"), HOUR)
        assert rows.read(key(number)) == b"x"
    assert sum(rows.read(key(number)) is not None for number in range(1000)) == 2 * GROUP


def test_one_owner_does_not_displace_the_rows_of_others(rows):
    """A client that begins any number of conversations must not make others pay for prompts that were cached.

    Even if all rows of the two others are in one group, theirs are at most half of it."""
    few = GROUP // 4

    def owned_key(owner: bytes, number: int) -> bytes:
        return owner + key(number)[:12]

    for number in range(few):
        rows.update(owned_key(b"anne", number), put(b"x"), HOUR)
    for number in range(1000):
        rows.update(owned_key(b"many", number), put(b"x"), HOUR)
    for number in range(few):
        rows.update(owned_key(b"bert", number), put(b"x"), HOUR)
    for number in range(1000, 2000):
        rows.update(owned_key(b"many", number), put(b"x"), HOUR)
    found = {
        owner: sum(rows.read(owned_key(owner, one)) is not None for one in range(2000)) for owner in (b"anne", b"bert")
    }
    assert found == {b"anne": few, b"bert": few}
    assert rows.read(owned_key(b"many", 1999)) == b"x"


# Features of shared rows only


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    with SharedMemory.make(LAYOUT) as made:
        yield made


@pytest.fixture
def shared(memory, clock) -> SharedRows:
    return SharedRows(memory, "few", clock)


def test_clients_cannot_choose_keys_that_fall_into_one_group():
    """A digest without a secret is computed anywhere: 16 names in one group would displace any row in it."""
    layout = Layout(2, {"some": TableSize(64 * GROUP, 8)}, dict.fromkeys(AMOUNT_ROWS, GROUP))
    with SharedMemory.make(layout) as one, SharedMemory.make(layout) as other:
        assert one.hashes_of(key("a")) == SharedMemory(one.fd, layout).hashes_of(key("a")), "workers agree"
        aimed = [name for name in range(40_000) if not int.from_bytes(key(name)[:8], "little") % 64]
        for memory in (one, other):
            groups = [memory.hashes_of(key(name))[0] % 64 for name in aimed]
            assert max(map(groups.count, range(64))) < len(aimed) / 8
        assert [one.hashes_of(key(name)) for name in aimed] != [other.hashes_of(key(name)) for name in aimed]


def test_the_first_to_expire_makes_room(memory, shared, clock):
    one_group = keys_of_one_group(memory, 2 * GROUP)
    full = [next(one_group) for _ in range(GROUP)]
    for number, one in enumerate(full):
        shared.update(one, put(b"x"), 100 - 5 * number)
    shared.update(next(one_group), put(b"new"), HOUR)
    assert [shared.read(one) for one in full] == [b"x"] * (GROUP - 1) + [None]


def test_an_expired_row_makes_room_first(memory, shared, clock):
    one_group = keys_of_one_group(memory, 2 * GROUP)
    full = [next(one_group) for _ in range(GROUP)]
    for number, one in enumerate(full):
        shared.update(one, put(b"x"), 5 if number == 7 else HOUR)
    clock.now += 6
    shared.update(next(one_group), put(b"new"), 1)
    assert [shared.read(one) for one in full].count(b"x") == GROUP - 1


def test_a_key_is_found_only_at_the_start_of_a_row(shared):
    """Two adjacent keys may read like a third one across both."""
    head, middle, tail = b"\2" * 8, b"\4" * 8, b"\6" * 8
    across = middle + middle
    for one in (head + middle, middle + tail):
        shared.update(one, put(b"x"), HOUR)
    assert shared.read(across) is None


def test_values_that_are_too_long_are_refused(shared):
    shared.update(key("a"), put(b"here"), HOUR)
    with pytest.raises(ValueError, match="17 bytes exceeds the maximum of 16"):
        shared.update(key("a"), put(b"x" * 17), HOUR)
    assert shared.read(key("a")) == b"here"


def test_a_worker_sees_the_changes_of_another_immediately(clock):
    with SharedMemory.make(LAYOUT) as memory:
        one_group = keys_of_one_group(memory, 2 * GROUP)
        one, other = (SharedRows(memory, "few", clock) for _ in range(2))
        first = next(one_group)
        for number in range(5):
            one.update(first, put(b"%d" % number), 5)
            assert [other.read(first) for _ in range(2)] == [b"%d" % number] * 2
        for _ in range(GROUP):
            one.update(next(one_group), put(b"x"), HOUR)
        assert [other.read(first) for _ in range(2)] == [None] * 2


def test_tables_do_not_write_over_one_another(clock):
    with SharedMemory.make(LAYOUT) as memory:
        tables = {name: SharedRows(memory, name, clock) for name in LAYOUT.sizes}
        for number in range(200):
            for name, table in tables.items():
                table.update(key(number), put(name.encode()), HOUR)
        values = {name: {table.read(key(number)) for number in range(200)} for name, table in tables.items()}
        assert values == {name: {name.encode(), None} for name in LAYOUT.sizes}


NAMES = st.integers(0, 5)
VALUES = st.none() | st.binary(max_size=16)
KEPT = st.sampled_from([1.0, 10.0, HOUR])
STEPS = st.lists(
    st.tuples(st.just("wait"), st.sampled_from([1.0, 5.0, 50.0]))
    | st.tuples(st.just("one"), st.tuples(NAMES, VALUES, KEPT)),
    max_size=30,
)


def replace(seen: list[bytes | None], new: bytes | None, old: bytes | None, _: float) -> bytes | None:
    seen.append(old)
    return new


@given(STEPS)
def test_local_and_shared_rows_behave_alike(steps):
    """Each change keeps a row for its own time; ``None`` removes it."""
    clock, kept = SetClock(), dict[int, tuple[bytes | None, float]]()

    def row(name: int) -> bytes | None:
        value, end = kept.get(name, (None, 0.0))
        return value if clock.now < end else None

    with SharedMemory.make(LAYOUT) as memory:
        twins: tuple[Rows, Rows] = (LocalRows(100, clock), SharedRows(memory, "few", clock))
        for kind, what in steps:
            match kind, what:
                case "wait", float(seconds):
                    clock.now += seconds
                case "one", (int(name), value, keep):
                    old: list[bytes | None] = []
                    change = partial(replace, old, value)
                    assert [twin.update(key(name), change, keep) for twin in twins] == [value] * 2
                    assert old == [row(name)] * 2
                    kept[name] = value, clock.now + keep
            assert [[twin.read(key(name)) for name in range(6)] for twin in twins] == [[*map(row, range(6))]] * 2


def test_a_value_may_take_the_place_of_several_rows():
    """An owner's values take at most its rows, and a new size of a value counts."""
    table: LocalRows[tuple[str, int]] = LocalRows(8, lambda: 0.0, most_of_owner=6, size_of=lambda value: value[1])

    def write(name: str, size: int) -> None:
        table.update(name.encode(), lambda _, __: (name, size), 1.0)

    def names() -> list[str]:
        return [name for name in ("anna1", "anna2", "anna3", "bob_1") if table.read(name.encode()) is not None]

    for name in ("anna1", "anna2", "anna3"):
        write(name, 2)
    assert names() == ["anna1", "anna2", "anna3"]
    write("anna3", 3)
    assert names() == ["anna2", "anna3"]
    write("bob_1", 4)
    assert names() == ["anna3", "bob_1"]
    write("anna3", 1)
    write("anna1", 3)
    assert names() == ["anna1", "anna3", "bob_1"]
