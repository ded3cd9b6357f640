"""The memory of prompts: the same for all workers of a machine, bounded, and separate for each client."""

import threading
from collections.abc import Iterator

import pytest
from msgspec import structs

from gateway.features.prompt_caches.conversations import (
    Boundary,
    CacheScope,
    ExchangeEnd,
    KnownConversation,
    RememberedPrompts,
)
from gateway.features.prompt_caches.memory import KEEP, PromptMemory
from gateway.features.prompt_caches.prompts import PromptDigest
from gateway.shared.layout import AMOUNT_ROWS, GROUP, Layout, prompt_tables
from gateway.shared.memory import SharedMemory
from tests.support.counted_calls import calls
from tests.support.live_objects import live_objects
from tests.support.set_clock import SetClock

SIZE = 2**20
FEW = 25
"""Calls that write a conversation of any size in the memory of one process."""

SCOPE = CacheScope(b"s" * 16, "anthropic/claude")


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture(params=["one process", "workers"])
def memory(request, clock) -> Iterator[PromptMemory]:
    if request.param == "one process":
        yield PromptMemory.make_private(SIZE, clock)
        return
    with SharedMemory.make(Layout(3, prompt_tables(SIZE), dict.fromkeys(AMOUNT_ROWS, GROUP))) as shared:
        yield PromptMemory.open_shared(shared, SIZE, clock)


def conversation(sent: float = 1.0, position: int = 3) -> KnownConversation:
    return KnownConversation(SCOPE, (ExchangeEnd(b"anchor00", position, sent),))


def prompts_of(history: bytes, tools: bytes = b"", client: bytes | None = None) -> RememberedPrompts:
    own = None if client is None else PromptDigest("chat", history=client)
    return PromptDigest("messages", tools, history=history), own


def facts_of(prompts: RememberedPrompts) -> list[tuple[object, ...]]:
    return [structs.astuple(one) for one in prompts if one is not None]


def read_prompts(memory: PromptMemory, owner: bytes, id: bytes) -> list[tuple[object, ...]] | None:
    found = memory.conversations.read_whole(owner, id)
    return None if found is None else facts_of(found[1])


def remember(memory: PromptMemory, client: str, name: str, size: int = 3_000) -> bytes:
    """Remember a conversation of ``client`` under the anchor ``name``, and return its id."""
    owner, id = memory.owner_of(client), memory.digest(client, name)[:12]
    memory.conversations.write(owner, id, conversation(), prompts_of(name.encode().ljust(size, b".")))
    memory.add_anchor(owner, memory.digest(name), id)
    return id


def knows(memory: PromptMemory, client: str, name: str) -> bool:
    owner = memory.owner_of(client)
    ids = memory.conversations_at(owner, memory.digest(name))
    return bool(ids) and read_prompts(memory, owner, ids[0]) is not None


@pytest.mark.parametrize("size", [1, 991, 992, 993, 12 * 1024])
def test_a_conversation_is_read_as_it_was_written(memory, size):
    owner, prompts = memory.owner_of("ann"), prompts_of(b"a" * size, b"c", b"b" * 7)
    memory.conversations.write(owner, b"id" * 6, conversation(), prompts)
    found = memory.conversations.read_whole(owner, b"id" * 6)
    assert (found[0].ends[0].position, facts_of(found[1])) == (3, facts_of(prompts))


def test_workers_share_their_memory_of_prompts(clock):
    layout = Layout(3, prompt_tables(SIZE), dict.fromkeys(AMOUNT_ROWS, GROUP))
    with SharedMemory.make(layout) as shared:
        one = PromptMemory.open_shared(shared, SIZE, clock)
        other = PromptMemory.open_shared(SharedMemory(shared.fd, layout), SIZE, clock)
        assert one.key == other.key
        remember(one, "ann", "Hello")
        assert knows(other, "ann", "Hello")


def test_keys_differ_between_starts():
    """Otherwise digests of common texts could be recognized."""
    assert PromptMemory.make_private(SIZE).key != PromptMemory.make_private(SIZE).key


def test_no_client_finds_prompts_of_another(memory):
    id = remember(memory, "ann", "Hello")
    assert not knows(memory, "bob", "Hello")
    assert memory.conversations.read(memory.owner_of("bob"), id) is None
    memory.write_boundary(memory.owner_of("ann"), b"scope", b"prefix", Boundary(0, 9, 1.0, 1.0))
    assert memory.read_boundary(memory.owner_of("bob"), b"scope", b"prefix") is None


def test_a_conversation_is_forgotten_after_a_day(memory, clock):
    remember(memory, "ann", "Hello")
    clock.now += KEEP - 1
    assert knows(memory, "ann", "Hello")
    clock.now += 2
    assert not knows(memory, "ann", "Hello")


def test_many_conversations_of_one_client_displace_no_other_clients(memory, clock):
    names = [f"of bob {number}" for number in range(5)]
    for name in names:
        remember(memory, "bob", name)
    for number in range(1_000):  # within a second
        clock.now += 0.0001
        remember(memory, "ann", f"of ann {number}")
    assert all(knows(memory, "bob", name) for name in names)
    assert knows(memory, "ann", "of ann 999")
    assert not knows(memory, "ann", "of ann 0")


def test_no_client_uses_more_than_half(memory, clock):
    """What another client will need is free even while it has sent nothing."""
    room = prompt_tables(SIZE)["prompt_parts"].rows
    for number in range(room):
        clock.now += 0.0001
        remember(memory, "ann", f"of ann {number}", size=900)  # two rows
    found = sum(knows(memory, "ann", f"of ann {number}") for number in range(room))
    assert room / 8 < found <= room / 4 * 1.05


@pytest.mark.soak
def test_a_smaller_setting_uses_less_of_the_workers_memory(clock):
    layout = Layout(3, prompt_tables(4 * SIZE), dict.fromkeys(AMOUNT_ROWS, GROUP))
    with SharedMemory.make(layout) as shared:
        small = PromptMemory.open_shared(shared, SIZE, clock)
        for number in range(1_500):
            remember(small, f"client {number}", "Hello")
        found = sum(knows(small, f"client {number}", "Hello") for number in range(1_500))
        assert 0 < found < SIZE // 2_000


def test_an_update_keeps_the_prompts(memory):
    owner, id = memory.owner_of("ann"), remember(memory, "ann", "Hello")

    def change(found: KnownConversation) -> KnownConversation:
        return found.with_end(1.0, head=7.0)

    memory.conversations.update(owner, id, change)
    found = memory.conversations.read_whole(owner, id)
    assert found[0].ends[0].head == 7.0
    memory.conversations.update(owner, b"other id....", change)
    assert memory.conversations.read(owner, b"other id....") is None


def long_prompts(changed: bytes = b"") -> RememberedPrompts:
    """Return prompts of nine parts in the memory; the sixth one has ``changed``."""
    history = bytes(number % 251 for number in range(6_000))
    return prompts_of(history[:2_500] + changed + history[2_500 + len(changed) :], b"front" * 500)


def test_a_turn_writes_only_changed_parts(memory):
    """The cost of a turn does not grow with the size of the prompt in the memory."""
    owner, id = memory.owner_of("ann"), b"id" * 6
    first, second = long_prompts(), long_prompts(b"another block")
    all_parts = calls(lambda: memory.conversations.write(owner, id, conversation(), first))
    changed = calls(lambda: memory.conversations.write(owner, id, conversation(2.0), second))
    assert changed < max(all_parts / 3, FEW)
    assert read_prompts(memory, owner, id) == facts_of(second)


def test_unchanged_parts_are_written_again_before_they_expire(memory, clock):
    owner, id = memory.owner_of("ann"), b"id" * 6
    for _ in range(4):
        memory.conversations.write(owner, id, conversation(), long_prompts())
        clock.now += KEEP / 2
    assert read_prompts(memory, owner, id) == facts_of(long_prompts())


def test_a_conversation_in_use_stays_while_its_client_begins_many_others(memory, clock):
    """Its unchanged parts would be the oldest rows of the client, if only changes were written.

    The others are so few in ``_REFRESH`` seconds that they cannot fill the client's half of a group of rows."""
    owner, id = memory.owner_of("ann"), b"id" * 6
    for number in range(300):
        clock.now += 120
        memory.conversations.write(owner, id, conversation(), long_prompts(b"turn %d" % number))
        remember(memory, "ann", f"of ann {number}")
    assert read_prompts(memory, owner, id) == facts_of(long_prompts(b"turn 299"))


def test_workers_that_write_the_same_conversation_leave_a_whole_one(clock):
    layout = Layout(3, prompt_tables(SIZE), dict.fromkeys(AMOUNT_ROWS, GROUP))
    with SharedMemory.make(layout) as shared:
        workers = [PromptMemory.open_shared(SharedMemory(shared.fd, layout), SIZE, clock) for _ in range(2)]
        owner, id = workers[0].owner_of("ann"), b"id" * 6
        for number, worker in enumerate((0, 1, 1, 0, 1, 0, 0, 1)):
            prompts = long_prompts(b"turn %d" % number)
            workers[worker].conversations.write(owner, id, conversation(), prompts)
            assert [read_prompts(one, owner, id) for one in workers] == [facts_of(prompts)] * 2


def test_the_oldest_ends_of_a_long_conversation_are_dropped(memory):
    owner = memory.owner_of("ann")
    ends = tuple(ExchangeEnd(b"anchor00", number, float(number), 1.0, 9) for number in range(100))
    long = KnownConversation(SCOPE, ends)
    memory.conversations.write(owner, b"id" * 6, long, prompts_of(b"a"))
    found = memory.conversations.read(owner, b"id" * 6)
    assert 5 < len(found.ends) < 100
    assert found.ends[-1].position == 99


def test_a_boundary_keeps_its_exact_tokens_and_its_first_moment(memory):
    owner = memory.owner_of("ann")
    memory.write_boundary(owner, b"s", b"p", Boundary(0, 100, 1.0, 2.0, 300))
    memory.write_boundary(owner, b"s", b"p", Boundary(0, 90, 5.0, 6.0, is_exact=False))
    found = memory.read_boundary(owner, b"s", b"p")
    assert (found.tokens, found.used, found.readable_from, found.ttl, found.is_exact) == (100, 5.0, 2.0, 300, True)


def test_readers_see_whole_conversations_while_another_worker_writes(clock):
    layout = Layout(3, prompt_tables(SIZE), dict.fromkeys(AMOUNT_ROWS, GROUP))
    with SharedMemory.make(layout) as shared:
        writer, reader = (
            PromptMemory.open_shared(shared, SIZE, clock),
            PromptMemory.open_shared(SharedMemory(shared.fd, layout), SIZE, clock),
        )
        owner, ended = writer.owner_of("ann"), threading.Event()

        def write() -> None:
            for number in range(300):
                writer.conversations.write(owner, b"id" * 6, conversation(), prompts_of(bytes([number % 251]) * 5_000))
            ended.set()

        thread = threading.Thread(target=write)
        thread.start()
        while not ended.is_set():
            found = read_prompts(reader, owner, b"id" * 6)
            assert found is None or len(set(found[0][-2])) == 1
        thread.join()
        assert read_prompts(reader, owner, b"id" * 6) is not None


def test_the_memory_of_a_process_is_freed(clock):
    memory = PromptMemory.make_private(SIZE, clock)
    assert memory.owner_of("ann") == memory.owner_of("ann")
    del memory
    assert not [one for one in live_objects(PromptMemory) if one.clock is clock]
