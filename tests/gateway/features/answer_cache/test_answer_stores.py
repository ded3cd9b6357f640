"""The stores of cached answers: all pass the same tests."""

import contextlib
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from gateway.features.answer_cache.cache import READ_TIMEOUT, AnswerCache
from gateway.features.answer_cache.encrypted import EncryptedAnswers
from gateway.features.answer_cache.opening import open_answers
from gateway.features.answer_cache.settings import AnswerCacheSettings
from gateway.features.answer_cache.store import AnswerStore, AnswerStoreUnavailable, MemoryAnswers
from gateway.features.answer_cache.stored_answer import AnswerStamp, StoredAnswer
from tests.support import redis
from tests.support.asgi_app import eventually
from tests.support.harness import PATIENCE
from tests.support.set_clock import SetClock

KINDS = ("memory", "sqlite", pytest.param("redis", marks=pytest.mark.server), "encrypted")


@pytest.fixture(scope="module", autouse=True)
def collect_connections() -> Iterator[None]:
    yield
    redis.collect_left_open()


@contextlib.asynccontextmanager
async def open_store(kind: str, folder: Path, clock: SetClock, request, most=10_000) -> AsyncIterator[AnswerStore]:
    if kind == "redis":
        from gateway.features.answer_cache.redis import RedisAnswers

        server = request.getfixturevalue("redis_server")
        server.say("FLUSHALL")
        store: AnswerStore = RedisAnswers(server.url, most, clock)
    elif kind == "memory":
        store = MemoryAnswers(most, clock)
    else:
        from gateway.features.answer_cache.sqlite import SqliteAnswers

        store = SqliteAnswers(folder / "answers.sqlite", most, clock)
        store = EncryptedAnswers(store, [bytes(32)]) if kind == "encrypted" else store
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        with trio.fail_after(PATIENCE):
            while True:  # until the server is reached
                with contextlib.suppress(AnswerStoreUnavailable):
                    await store.get(bytes(32))
                    break
                await trio.sleep(0.005)
        yield store
        await store.aclose()
        nursery.cancel_scope.cancel()


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("owner", ["alice", ""])
async def test_a_store_evicts_the_least_recently_used_and_limits_owners_to_half(kind, owner, tmp_path, request):
    """api7/aisix#87, diegosouzapw/OmniRoute#3740: the size is bounded, and one owner does not evict all others."""
    clock = SetClock()
    async with open_store(kind, tmp_path, clock, request) as store:
        await store.put(key(1), owner, b"1" * 1000, 60)
        assert (await store.get(key(1)), await store.get(key(2))) == (b"1" * 1000, None)
        await store.put(key(1), owner, b"one", 60)
        assert await store.get(key(1)) == b"one", "the later one replaces it"
        for number in range(10, 20):  # 1,300 bytes each: three fit into a half
            clock.now += 1
            await store.put(key(number), owner, b"a" * 1000, 3600)
        kept = [number for number in range(10, 20) if await store.get(key(number)) is not None]
        assert kept == [17, 18, 19], "the least recently used have gone"
        clock.now += 100
        await store.get(key(17))
        for number in range(20, 23):
            clock.now += 1
            await store.put(key(number), "ben", b"b" * 1000, 3600)
        for number in (30, 31):
            clock.now += 1
            await store.put(key(number), "carl", b"c" * 1000, 3600)
        there = [number for number in range(10, 40) if await store.get(key(number)) is not None]
        assert there == [17, 19, 20, 21, 22, 30, 31], "there is room for seven, and 18 was used least recently"
        await store.put(key(40), "carl", b"c" * 5000, 3600)
        assert await store.get(key(40)) is None, "more than a half"


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_an_expired_response_is_missing(kind, tmp_path, request):
    clock = SetClock()
    async with open_store(kind, tmp_path, clock, request) as store:
        await store.put(key(1), "alice", b"one", 10)
        clock.now += 9
        assert await store.get(key(1)) == b"one"
        clock.now += 1
        assert await store.get(key(1)) is None


@pytest.mark.server
async def test_redis_deletes_expired_responses(redis_server, tmp_path, request):
    async with open_store("redis", tmp_path, SetClock(), request) as store:
        await store.put(key(1), "alice", b"one", 0.001)
        with trio.fail_after(PATIENCE):
            while await store.get(key(1)) is not None:  # noqa: ASYNC110
                await trio.sleep(0.002)


async def test_encrypted_responses_need_their_key(tmp_path):
    settings = AnswerCacheSettings("sqlite", path=tmp_path / "a.sqlite")
    one, two = os.urandom(32), os.urandom(32)
    store = open_answers(settings, [one])
    await store.put(key(1), "alice", b"the plain words", 60)
    assert b"the plain words" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert (tmp_path / "a.sqlite").stat().st_mode & 0o777 == 0o600
    await store.put(key(2), "alice", b"of another key", 60)
    await store.aclose()
    for keys, found in (([two, one], b"the plain words"), ([two], None)):
        store = open_answers(settings, keys)
        assert await store.get(key(1)) == found
        await store.aclose()


class Slow(MemoryAnswers):
    async def get(self, key: bytes) -> bytes | None:
        await trio.sleep_forever()


class Down(MemoryAnswers):
    async def get(self, key: bytes) -> bytes | None:
        raise AnswerStoreUnavailable("down")

    async def put(self, key: bytes, owner: str, value: bytes, ttl: float) -> None:
        raise AnswerStoreUnavailable("down")


async def test_a_slow_or_unavailable_store_is_a_miss(autojump_clock):
    answer = StoredAnswer(0.0, "application/json", AnswerStamp(1), b"{}")
    for store in (Slow(1000), Down(1000)):
        failures: list[None] = []
        cache = AnswerCache(AnswerCacheSettings(), store, note_failure=partial(failures.append, None))
        begun = trio.current_time()
        assert await cache.find(key(1), 60) is None
        assert trio.current_time() - begun <= 0.05
        await cache.keep(key(1), "alice", answer, 60)
        assert len(failures) == (1 if isinstance(store, Slow) else 2)


async def test_a_delayed_process_still_finds_its_stored_answers():
    """A process's own delay counted against a lookup's time limit: a busy gateway paid for cached answers again."""

    async def hold_up_the_loop() -> None:
        while True:
            time.sleep(1.2 * READ_TIMEOUT)  # noqa: ASYNC251  # as if other processes used the processor
            await trio.lowlevel.checkpoint()

    cache = AnswerCache(AnswerCacheSettings(), MemoryAnswers(10_000))
    await cache.keep(key(1), "alice", StoredAnswer(0.0, "application/json", AnswerStamp(1), b"{}"), 60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold_up_the_loop)
        for _ in range(10):
            assert await cache.find(key(1), 60) is not None
        nursery.cancel_scope.cancel()


async def test_a_response_is_at_most_as_old_as_requested():
    clock = SetClock()
    cache = AnswerCache(AnswerCacheSettings(), MemoryAnswers(10_000, clock), clock)
    await cache.keep(key(1), "alice", StoredAnswer(0.0, "application/json", AnswerStamp(1), b"{}"), 60)
    clock.now += 5
    found = await cache.find(key(1), 5)
    assert (cache.age(found), found.body) == (5, b"{}")
    assert await cache.find(key(1), 4) is None


@pytest.mark.server
@pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning")  # coredis leaves the channels of a broken connection
async def test_a_lost_connection_is_a_miss_for_all_its_users(redis_server, tmp_path, request):
    """The task that notices the loss closes the client while other tasks wait for its connections."""
    outcomes: Counter[str] = Counter()
    recovered = trio.Event()

    async def use(store: AnswerStore, number: int) -> None:
        while not recovered.is_set():
            try:
                with trio.fail_after(PATIENCE):
                    await store.put(key(number), "alice", b"one" * 200, 60)
                    await store.get(key(number))
                    outcomes["found"] += 1
            except AnswerStoreUnavailable:
                outcomes["away"] += 1
                await trio.sleep(0.005)
            except Exception as error:
                outcomes[repr(error)] += 1

    async with open_store("redis", tmp_path, SetClock(), request) as store, trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(use, store, number)
        with trio.fail_after(PATIENCE):
            await eventually(lambda: outcomes["found"])
            while not outcomes["away"]:  # a connection that is killed between two commands is replaced unnoticed
                await trio.to_thread.run_sync(redis_server.say, "CLIENT", "KILL", "TYPE", "normal")
            found = outcomes["found"]
            await eventually(lambda: outcomes["found"] > found)
        recovered.set()
    redis.collect_left_open()
    assert set(outcomes) == {"found", "away"}
