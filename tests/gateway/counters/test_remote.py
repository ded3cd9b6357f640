"""Counters of several gateways: their store is stopped, restarted empty, restored old, and they are killed."""

import contextlib
import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import TypeAlias
from urllib.parse import urlsplit

import psycopg
import pytest
import trio

from gateway.counters import remote
from gateway.counters.counter import Claim, Debit, Level, SlotCounter, SumCounter
from gateway.counters.counter_store import CounterStore, CounterStoreUnavailable, SendStep
from gateway.counters.postgres import PostgresCounters
from gateway.counters.redis import RedisCounters
from gateway.counters.remote import RemoteCounters
from gateway.counters.steps import CountingStep, StepReply, decode_reply, encode_step
from tests.support import postgres, redis
from tests.support.counters import budget, claim, key, rate, slots
from tests.support.harness import START_SECONDS
from tests.support.repository import ROOT

StoreServer: TypeAlias = redis.RedisServer | postgres.Server

pytestmark = [pytest.mark.server, *redis.LEFT_OPEN]


@pytest.fixture(scope="module")
def cluster(server) -> postgres.Server:
    server.save("empty")
    return server


@pytest.fixture
def postgres_server(cluster) -> Iterator[postgres.Server]:
    """Return a server without counters."""
    cluster.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres' AND pid <> pg_backend_pid()",
        "DROP TABLE IF EXISTS trigate_counters, trigate_counting, trigate_claims, trigate_notes",
    )
    yield cluster
    if cluster.process is None:
        cluster.start()


@pytest.fixture
def redis_server() -> Iterator[redis.RedisServer]:
    bin = redis.binary()
    if bin is None:
        pytest.skip(redis.MISSING)
    with redis.running_redis(bin) as running:
        running.save("empty")
        yield running


@pytest.fixture(params=["redis", "postgres"])
def store_server(request) -> StoreServer:
    found: StoreServer = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture
async def gateways(store_server, nursery) -> AsyncIterator[list[RemoteCounters]]:
    """Run the counters of two gateways, which know of each other."""
    made = [RemoteCounters(store(store_server), limit=1.0, lease=6.0) for _ in range(2)]
    for one in made:
        nursery.start_soon(one.run)
        assert not await one.reserve([claim((slots("hello", 100), 1))])
    for one in made:
        assert not await one.reserve([claim((slots("hello", 100), 1))])
    yield made
    for one in made:
        await one.finish()


def store(server: StoreServer) -> CounterStore:
    return RedisCounters(server.url) if isinstance(server, redis.RedisServer) else PostgresCounters(server.url)


async def until(true, what: str) -> None:
    with trio.move_on_after(START_SECONDS):
        while not true():  # noqa: ASYNC110 - what another process does sets no event
            await trio.sleep(0.005)
        return
    raise AssertionError(f"not in time: {what}")


async def spend(counters: RemoteCounters, of: SumCounter, amount: int) -> bool:
    taken = claim((of, amount))
    if await counters.reserve([taken]):
        return False
    counters.settle(taken, [amount])
    return True


async def stored_level(counters: RemoteCounters, of: SumCounter) -> Level:
    """Return the level in the store, after everything that was sent earlier has arrived."""
    await counters.reserve([claim((of, 10**9))])
    return counters.level(of)


async def test_a_burst_at_two_gateways_stays_within_one_budget(gateways):
    """Two replicas doubled the cap (BerriAI/litellm#39390, #33325): here 50 requests compete for room for 10."""
    spent, taken = budget("b", 100), []

    async def ask(counters: RemoteCounters) -> None:
        wanted = claim((spent, 10))
        if not await counters.reserve([wanted]):
            taken.append((counters, wanted))

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(ask, gateways[number % 2])
    assert len(taken) == 10
    for counters, wanted in taken:
        counters.settle(wanted, [12])
    for counters in gateways:
        await until(lambda counters=counters: counters.is_synced, "all is told")
    assert await stored_level(gateways[0], spent) == await stored_level(gateways[1], spent) == Level(120, 0), (
        "2 more than reserved, each"
    )


async def test_while_the_store_is_away_each_gateway_has_its_share(store_server, gateways):
    one, other = gateways
    spent, both = budget("b", 100), slots("s", 4)
    assert await spend(one, spent, 20)
    assert await spend(other, spent, 20)
    store_server.stop()
    for counters in gateways:
        assert [await spend(counters, spent, 10) for _ in range(4)].count(True) in (3, 4), "60 left, by two"
        assert [bool(await counters.reserve([claim((both, 1))])) for _ in range(3)] == [False, False, True]
        assert counters.is_away
        assert counters.state()["state"] == "away"
    store_server.start()
    for counters in gateways:
        await until(lambda counters=counters: not counters.is_away, "the store is back")
    assert (await stored_level(one, both)).held == 4


@pytest.mark.sample(2)
@pytest.mark.parametrize("comes_back", ["empty", "old"])
async def test_a_restored_store_neither_lowers_nor_doubles_counts(store_server, gateways, comes_back):
    """Reseeding multiplied spending by the number of pods; a restart brought old counters back (BerriAI/litellm#28247,
    #30684)."""
    one, other = gateways
    spent, both, tokens = budget("b", 10_000), slots("s", 4), rate("t", 36, 3600.0, 100)
    held = claim((both, 1), (spent, 50))
    assert await spend(one, spent, 100)
    assert not await other.reserve([held])
    assert (await stored_level(one, spent)).used == 100
    if comes_back == "old":
        store_server.save("old")
    for counters in gateways:
        assert await spend(counters, spent, 200)
    assert not await one.reserve([claim((tokens, 90))])
    for counters in gateways:
        await until(lambda counters=counters: counters.is_synced, "all is told")
    for counters in gateways:
        assert (await stored_level(counters, spent)).used == 500
    store_server.stop()
    for counters in gateways:
        assert await spend(counters, spent, 7)
    other.settle(held, [1, 40])
    store_server.put_back(comes_back)
    store_server.start()
    for counters in gateways:
        await until(lambda counters=counters: not counters.is_away, "the store is back")
        await until(lambda counters=counters: counters.is_synced, "all is told")
    for counters in gateways:
        assert await stored_level(counters, spent) == Level(554, 0)
        assert await stored_level(counters, both) == Level(0, 0)
    assert await other.reserve([claim((tokens, 30))]), "a rate has not been filled by that"


@pytest.mark.sample(2)
@pytest.mark.parametrize("times", [1, 3])
async def test_a_store_that_is_emptied_in_use_loses_no_charge(store_server, gateways, times):
    """The gateway that rejoined last raised the sum to what it knew, which included no charge since then."""
    one, other = gateways
    spent, total = budget("b", 10_000), 0
    for _ in range(times):
        assert await spend(one, spent, 20)
        await until(lambda: one.is_synced, "all is told")
        empty(store_server)
        assert await spend(other, spent, 7)
        assert await spend(one, spent, 5)
        total += 32
        for counters in gateways:
            await until(lambda counters=counters: counters.is_synced, "all is told")
        for counters in gateways:
            assert await stored_level(counters, spent) == Level(total, 0)


async def test_a_charge_after_the_loss_of_the_store_reserves_its_amount_until_all_have_rejoined(store_server, gateways):
    one, other = gateways
    spent = budget("b", 100)
    assert await spend(one, spent, 20)
    await until(lambda: one.is_synced, "all is told")
    empty(store_server)
    assert await spend(other, spent, 70)
    assert not await spend(one, spent, 11)
    assert await spend(one, spent, 10)
    level = await stored_level(other, spent)
    assert level.used + level.held == 100


def empty(store_server: StoreServer) -> None:
    """Remove everything from the store while it is in use."""
    if isinstance(store_server, redis.RedisServer):
        store_server.say("FLUSHALL")
    else:
        store_server.sql("TRUNCATE trigate_counters, trigate_counting, trigate_claims")


async def test_a_hanging_store_delays_one_request_once(store_server, nursery):
    counters = RemoteCounters(store(store_server))
    nursery.start_soon(counters.run)
    spent = budget("b", 10_000)
    assert await spend(counters, spent, 1)
    store_server.signal_all(signal.SIGSTOP)
    assert await spend(counters, spent, 10)
    assert counters.is_away, "the first request has waited"
    assert counters.take_outage_reservations() == 1
    assert await spend(counters, spent, 10)
    assert counters.take_outage_reservations() == 1, "the second one has not"
    store_server.signal_all(signal.SIGCONT)
    await until(lambda: not counters.is_away, "the store answers")
    await until(lambda: counters.is_synced, "all is told")
    assert await stored_level(counters, spent) == Level(21, 0), "what was sent and not answered counts once"
    await counters.finish()


async def test_amounts_held_during_an_outage_are_known(store_server, nursery):
    """The reported rest of a client's budget was too large, by the amount that its own request had reserved."""
    counters = RemoteCounters(store(store_server))
    nursery.start_soon(counters.run)
    spent = budget("b", 10_000)
    before, meanwhile = claim((spent, 50)), claim((spent, 30))
    assert not await counters.reserve([before])
    store_server.stop()
    assert not await counters.reserve([meanwhile])
    assert counters.level(spent) == Level(0, 80)
    counters.settle(meanwhile, [10])
    assert counters.level(spent) == Level(10, 50)
    counters.settle(before, [20])
    assert counters.level(spent) == Level(30, 0)
    await counters.finish()


async def test_a_refresh_shows_the_usage_of_other_gateways(gateways, monkeypatch):
    """Figures stayed as a process had last heard them: idle gateways showed slots that had long been free."""
    one, other = gateways
    spent, places, requests = budget("b", 1000, "earlier"), slots("s", 10), rate("r", 100)
    everything = (spent, places, requests)
    mine, theirs = claim((spent, 100), (places, 1), (requests, 1)), claim((spent, 300), (places, 1), (requests, 1))
    assert not await one.reserve([mine])
    assert not await other.reserve([theirs])
    one.settle(mine, [50, 0, 1])
    await until(lambda: one.is_synced, "one has told what it used")
    await one.refresh(everything)
    assert [one.level(counter) for counter in everything] == [Level(50, 300), Level(0, 1), Level(2)]
    other.settle(theirs, [200, 0, 1])
    await until(lambda: other.is_synced, "the other has, too")
    assert [other.level(counter) for counter in everything[:2]] == [Level(250), Level(0)], "without another request"
    monkeypatch.setattr(remote, "_FRESH", 0.0)  # else the gateway requests no level that it has just received
    await one.refresh(everything)
    assert [one.level(counter) for counter in everything] == [Level(250), Level(0), Level(2)]


async def test_an_idle_gateway_learns_the_usage_of_others(gateways, monkeypatch):
    """Its share depends on that usage while the store is unavailable."""
    monkeypatch.setattr(remote, "_REFRESH", 0.02)
    one, other = gateways
    spent = budget("b", 1000)
    assert await spend(one, spent, 100)
    assert await spend(other, spent, 700)
    await until(lambda: one.level(spent) == Level(800), "it is heard of")


async def test_a_refresh_from_a_silent_store_ends_in_time(store_server, nursery):
    counters = RemoteCounters(store(store_server), limit=0.1)
    nursery.start_soon(counters.run)
    spent = budget("b")
    assert await spend(counters, spent, 5)
    await until(lambda: counters.is_synced, "it is told")
    store_server.signal_all(signal.SIGSTOP)
    with trio.fail_after(START_SECONDS):
        await counters.refresh([spent, slots("s")])
        await counters.refresh([spent, slots("s")])
    assert counters.level(spent).used == 5
    store_server.signal_all(signal.SIGCONT)
    await until(lambda: not counters.is_away, "the store is back")
    await counters.refresh([spent])
    assert counters.level(spent).used == 5
    await counters.finish()


async def test_a_process_that_does_not_run_finds_its_store_available(store_server, nursery):
    """A deadline counted the process's own lateness: the store was unavailable for a moment, again and again."""
    counters = RemoteCounters(store(store_server), limit=0.3)
    nursery.start_soon(counters.run)
    assert await spend(counters, budget("b"), 5)
    await until(lambda: not counters.is_away, "a connection, which takes longer than the limit on a busy machine")
    counters.take_outage_reservations()

    async def hold_up_the_loop() -> None:
        while True:
            time.sleep(0.1)  # noqa: ASYNC251  # as long as other processes have the machine
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as busy:
        busy.start_soon(hold_up_the_loop)
        for _ in range(3):
            assert await spend(counters, budget("b"), 5)
        busy.cancel_scope.cancel()
    assert counters.take_outage_reservations() == 0
    await counters.finish()


async def test_a_refresh_of_many_counters_takes_several_steps(gateways):
    one, other = gateways
    many = [budget(f"b{number}") for number in range(1100)]
    for first in range(0, 1100, 275):
        taken = claim(*((counter, 7) for counter in many[first : first + 275]))
        assert not await other.reserve([taken])
        other.settle(taken, [7] * 275)
    await until(lambda: other.is_synced, "it is told")
    await one.refresh(many)
    assert {one.level(counter) for counter in many} == {Level(7)}


async def test_gateways_read_the_notes_of_others(gateways):
    """Each newest value is read once by all gateways but its writer, also by one that starts later."""
    one, other = gateways
    read = collected_notes(one), collected_notes(other)
    for number in range(1100):
        one.notes.write("pin", key(f"n{number}"), f'"{number}"', 600)
    one.notes.write("pin", key("n7"), "newest", 600)
    one.notes.write("elsewhere", key("unread"), "", 600)
    await until(lambda: one.is_synced, "all are written")
    await other.read_notes()
    await until(lambda: len(read[1]) == 1100, "all are read")
    assert read[1][key("n7")] == "newest"
    assert read[1][key("n1099")] == '"1099"'
    other.notes.write("pin", key("n7"), "the other's", 600)
    await other.read_notes()
    await one.read_notes()
    assert read[0] == {key("n7"): "the other's"}, "not its own"


async def test_a_store_that_lost_its_notes_reads_new_ones(store_server, gateways):
    one, other = gateways
    read = collected_notes(other)
    one.notes.write("pin", key("before"), "lost", 600)
    await one.read_notes()
    await other.read_notes()
    empty(store_server)
    one.notes.write("pin", key("after"), "new", 600)
    await until(lambda: not one.is_away and one.is_synced and not other.is_away, "the store is back")
    await until(lambda: key("after") in read, "the note is read")


def collected_notes(counters: RemoteCounters) -> dict[bytes, str]:
    """Return the notes that ``counters`` reads from now on."""
    read: dict[bytes, str] = {}
    counters.notes.add_reader("pin", lambda name, value, _: read.__setitem__(name, value))
    return read


async def test_limited_requests_are_refused_during_an_outage_if_configured(store_server, nursery):
    counters = RemoteCounters(store(store_server), "refuse", limit=0.5)
    nursery.start_soon(counters.run)
    assert await spend(counters, budget("b"), 1)
    store_server.stop()
    (short,) = await counters.reserve([claim((budget("b"), 1))])
    assert (short.wait, short.used, short.is_lasting, short.cause) == (1.0, 1, False, "store_away")
    store_server.start()
    await until(lambda: not counters.is_away, "the store is back")
    assert await spend(counters, budget("b"), 1)
    assert counters.take_outage_reservations() == 1
    await counters.finish()


async def test_a_request_cancelled_while_waiting_reserves_nothing(store_server, gateways):
    one, other = gateways
    both = slots("s", 1)
    store_server.signal_all(signal.SIGSTOP)
    with trio.move_on_after(0.05) as scope:
        await one.reserve([claim((both, 1))])
    assert scope.cancelled_caught
    store_server.signal_all(signal.SIGCONT)
    await until(lambda: one.is_synced, "it goes back")
    assert not await other.reserve([claim((both, 1))])


async def test_secrets_of_the_address_are_in_no_message(store_server, nursery, caplog):
    if isinstance(store_server, redis.RedisServer):
        store_server.say("CONFIG", "SET", "requirepass", "hunter22hunter22")
        where: CounterStore = RedisCounters(f"{store_server.url}?password=wrongwrongwrong")
    else:
        where = PostgresCounters(store_server.url.replace("someone:hunter2", "wrong:wrongwrongwrong"))
    counters = RemoteCounters(where, limit=0.2)
    nursery.start_soon(counters.run)
    assert await spend(counters, budget("b"), 1)
    await until(lambda: counters.is_away, "it is refused")
    assert "wrong" not in caplog.text
    assert "Traceback" not in caplog.text
    await counters.finish()


async def test_a_read_only_postgresql_is_called_read_only(postgres_server, nursery, caplog):
    """After a failover to a standby, the log advised to check tables and permissions."""
    url = postgres_server.new_database()
    postgres_server.sql(f"ALTER DATABASE {urlsplit(url).path[1:]} SET default_transaction_read_only = on")
    counters = RemoteCounters(PostgresCounters(url))
    nursery.start_soon(counters.run)
    await until(lambda: counters.is_away, "it is refused")
    assert "each limit: it is read-only" in caplog.text
    await counters.finish()


DYING = f"""
import sys, trio
sys.path[:0] = [{str(ROOT)!r}]
from gateway.counters.remote import RemoteCounters
from gateway.counters.counter import Claim, Debit, SlotCounter, SumCounter
from hashlib import blake2b

def claim(name):
    spent = SumCounter(blake2b(b"b", digest_size=16).digest(), "b", 10**9, 1e10)
    both = SlotCounter(blake2b(b"s", digest_size=16).digest(), "s", 10**6)
    return Claim(str(name), (Debit(spent, 10), Debit(both, 1)))

async def main(kind, url):
    if kind == "RedisServer":
        from gateway.counters.redis import RedisCounters as Store
    else:
        from gateway.counters.postgres import PostgresCounters as Store
    counters = RemoteCounters(Store(url), lease=0.4, limit=5.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(counters.run)
        told = 0
        while True:
            wanted = claim(told)
            assert not await counters.reserve([wanted])
            counters.settle(wanted, [7, 1])
            assert not await counters.reserve([claim(("held", told))])
            told += 7
            print(told, flush=True)

trio.run(main, *sys.argv[1:])
"""


@pytest.mark.sample(2)
@pytest.mark.process
async def test_a_gateway_that_is_killed_leaves_what_it_used_and_nothing_that_it_held(store_server, nursery):
    """Keys stayed locked for ever, and phantom spending was counted (BerriAI/litellm#1477, #27639). The response to a
    reservation confirms that the settlement before it, in the same step or an earlier one, has been done."""
    counters = RemoteCounters(store(store_server), lease=0.4, limit=5.0)
    nursery.start_soon(counters.run)
    spent, both = budget("b", 10**9), slots("s", 10**6)
    asked = [sys.executable, "-c", DYING, type(store_server).__name__, store_server.url]
    process = subprocess.Popen(asked, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
    lines = [await trio.to_thread.run_sync(process.stdout.readline) for _ in range(5)]
    process.kill()
    lines += (await trio.to_thread.run_sync(process.stdout.read)).splitlines()
    process.stdout.close()
    process.wait()
    least = int(next(line for line in reversed(lines) if line.strip()))
    level = Level(0, 1)
    with trio.move_on_after(START_SECONDS):
        while level.held:
            level = await stored_level(counters, both)
            await trio.sleep(0.02)
    assert level == Level(0, 0)
    total = await stored_level(counters, spent)
    assert total.held == 0
    assert least <= total.used <= least + 7, "but for what was told and not heard of any more"
    await counters.finish()


def test_json_of_a_step_has_amounts_as_text():
    """A number in JSON loses digits of nano-dollars in some readers."""
    wanted = Claim(
        "c", (Debit(SumCounter(key("b"), "b", 2**59 + 1, 0.0), 2**53 + 1), Debit(SlotCounter(key("s"), "s", 2), 1))
    )
    step = CountingStep("n", 1, 30.0, True, False, (), (), {}, {}, (), [[("1", wanted)]])
    said = json.loads(encode_step(step))["reserved"][0][0][1]
    assert [said[0][2], said[0][5]] == [str(2**59 + 1), str(2**53 + 1)]


async def test_a_first_step_that_is_sent_twice_simultaneously_is_done_once(postgres_server):
    """The step is sent again while the server still performs it: there is no row yet that would make it wait."""
    spent = budget("b", 100)
    step = encode_step(CountingStep("twice", 1, 30.0, True, False, (), (), {}, {}, [(spent, 5)], []))
    counting = PostgresCounters(postgres_server.url)
    said: list[StepReply] = []

    async def send(ask: SendStep) -> None:
        said.append(decode_reply(await ask(step, START_SECONDS)))

    async with counting.connect() as one, counting.connect() as other:
        for name, ask in (("one", one), ("other", other)):
            await ask(encode_step(CountingStep(name, 1, 30.0, True, False, (), (), {}, {}, (), [])), START_SECONDS)
        with psycopg.connect(postgres_server.url) as holding:
            holding.execute("LOCK TABLE trigate_counters IN SHARE MODE")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, one)
                nursery.start_soon(send, other)
                blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted"
                await until(lambda: holding.execute(blocked).fetchone() == (2,), "both wait")
                holding.commit()
    assert [reply.added for reply in said] == [[(5, 0, 0, 0)]] * 2


async def test_a_user_who_cannot_create_tables_counts_in_those_of_their_owner(postgres_server):
    """The roles of docs/backup.md."""
    url = postgres_server.new_schema()
    schema, other_url = url.rpartition("%3D")[2], url.replace("someone:", "counts_only:")
    rights = f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT"
    postgres_server.sql(
        "CREATE ROLE counts_only LOGIN",
        f"GRANT USAGE ON SCHEMA {schema} TO counts_only",
        f"{rights} SELECT, INSERT, UPDATE, DELETE ON TABLES TO counts_only",
        f"{rights} USAGE ON SEQUENCES TO counts_only",
    )

    async def total(user_url: str, name: str) -> int:
        step = CountingStep(
            name, 1, 30.0, True, False, (), (), {}, {}, [(budget("b", 100), 5)], [], noted=[("n", "v", 9)]
        )
        async with PostgresCounters(user_url).connect() as ask:
            return decode_reply(await ask(encode_step(step), START_SECONDS)).added[0][0]

    try:
        with pytest.raises(CounterStoreUnavailable, match="permission"):
            await total(other_url, "early")
        assert [await total(user_url, name) for user_url, name in ((url, "owner"), (other_url, "other"))] == [5, 10]
        older = "trigate_told(one jsonb) RETURNS text LANGUAGE sql AS $$ SELECT 'another version' $$"
        postgres_server.sql(f"CREATE OR REPLACE FUNCTION {schema}.{older}")
        assert await total(url, "newer") == 15
    finally:
        postgres_server.sql("DROP OWNED BY counts_only", "DROP ROLE counts_only")


async def test_a_gateway_stalled_within_a_step_does_not_block_others(postgres_server):
    counting = PostgresCounters(postgres_server.url)
    steps = [
        encode_step(CountingStep(name, 1, 30.0, True, False, (), (), {}, {}, [(budget("b", 100), 5)], []))
        for name in ("one", "other")
    ]
    async with counting.connect() as ask:
        await ask(steps[0], START_SECONDS)
    with psycopg.connect(postgres_server.url) as still:
        still.execute("LOCK TABLE trigate_counters IN ROW EXCLUSIVE MODE")  # as a step has it until its end
        async with counting.connect() as ask:
            assert decode_reply(await ask(steps[1], START_SECONDS)).added == [(10, 0, 0, 0)]


async def test_a_step_in_postgresql_is_one_round_trip(postgres_server, nursery):
    """It never waits for a stopped gateway while it holds locks."""
    relayed = postgres_server.directory / "relay"
    relayed.mkdir()
    turns: list[str] = []

    async def pump(source: trio.SocketStream, to: trio.SocketStream, mark: str, both: trio.CancelScope) -> None:
        with contextlib.suppress(trio.BrokenResourceError):  # one side has closed
            while data := await source.receive_some():
                turns.append(mark)
                await to.send_all(data)
        both.cancel()

    async def relay(client: trio.SocketStream) -> None:
        server = await trio.open_unix_socket(str(postgres_server.directory / ".s.PGSQL.5432"))
        async with client, server, trio.open_nursery() as both:
            both.start_soon(pump, client, server, "asks", both.cancel_scope)
            both.start_soon(pump, server, client, "answers", both.cancel_scope)

    with trio.socket.socket(trio.socket.AF_UNIX) as listening:
        await listening.bind(str(relayed / ".s.PGSQL.5432"))
        listening.listen()
        nursery.start_soon(trio.serve_listeners, relay, [trio.SocketListener(listening)])
        url = f"postgresql://someone@/postgres?host={relayed}"
        counters = RemoteCounters(PostgresCounters(url), limit=START_SECONDS)
        nursery.start_soon(counters.run)
        assert await spend(counters, budget("b", 100), 1)
        await until(lambda: counters.is_synced, "all is told")
        turns.clear()
        assert not await counters.reserve([claim((budget("b", 100), 10))])
        assert [mark for mark, _ in itertools.groupby(turns)] == ["asks", "answers"]
        await counters.finish()
