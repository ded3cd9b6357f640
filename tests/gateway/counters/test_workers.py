"""Counters that the workers of one machine share, in one process; several processes are at the end."""

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from gateway.counters.counter import Claim, Debit, Level, RateCounter, SumCounter
from gateway.counters.workers import WorkerCounters
from gateway.shared.amounts import SharedAmounts
from gateway.shared.layout import AMOUNT_ROWS, GROUP, Layout
from gateway.shared.memory import SharedMemory
from tests.support.counters import key, slots
from tests.support.repository import ROOT

LAYOUT = Layout(5, {}, dict.fromkeys(AMOUNT_ROWS, GROUP))


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    with SharedMemory.make(LAYOUT) as made:
        yield made


@pytest.fixture
def amounts(memory) -> SharedAmounts:
    return SharedAmounts(memory, memory.take_seat())


async def test_a_debit_of_years_fits_into_a_word(amounts):
    rate = RateCounter(key("slow"), "slow", 1, 86400.0, 1)
    counters = WorkerCounters(amounts)
    claim = Claim("1", (Debit(rate, 10**9),))
    assert not await counters.reserve([claim])
    (short,) = await counters.reserve([Claim("2", (Debit(rate, 1),))])
    assert short.wait is not None
    counters.settle(claim, [10**9])
    assert await counters.reserve([Claim("3", (Debit(rate, 1),))])


async def test_workers_count_together(memory):
    """Each worker applied the limits on its own (BerriAI/litellm#16011)."""
    seats = [memory.take_seat(), memory.take_seat()]
    one, two = (WorkerCounters(SharedAmounts(memory, seat)) for seat in seats)
    claims = [Claim(str(number), (Debit(slots("s", 3), 1),)) for number in range(4)]
    assert not await one.reserve([claims[0]])
    assert not await two.reserve([claims[1]])
    assert not await two.reserve([claims[2]])
    (short,) = await one.reserve([claims[3]])
    assert (short.held, short.wait) == (3, None)
    two.settle(claims[1], [1])
    assert not await one.reserve([claims[3]])


async def test_expired_rows_make_room_for_other_keys(amounts):
    """A rolling budget has a row for each of its slices, and a rate is as good as new once it has refilled."""
    counters = WorkerCounters(amounts)
    kept = Claim("kept", (Debit(slots("kept", 3), 1),))
    assert not await counters.reserve([kept])
    for number in range(20 * GROUP):
        rate = RateCounter(key(str(number)), "rate", 10**9, 1.0, 10)
        claim = Claim(str(number), (Debit(rate, 1),))
        assert not await counters.reserve([claim])
        counters.settle(claim, [1])
    assert counters.level(slots("kept", 3)) == Level(0, 1)


async def spend(counters: WorkerCounters, counter: SumCounter, amount: int = 5) -> str | None:
    """Spend ``amount``, and return the cause if it is refused."""
    claim = Claim(f"{next(NUMBERS)}", (Debit(counter, amount),))
    if short := await counters.reserve([claim]):
        return short[0].cause
    counters.settle(claim, [amount])
    return None


NUMBERS = itertools.count()


def run(name: object, client: str) -> SumCounter:
    return SumCounter(key(str(name)), "run", 10, time.time() + 86_400.0, chosen_by=client)


def day(name: str) -> SumCounter:
    return SumCounter(key(name), name, 10, time.time() + 86_400.0)


async def test_names_that_share_a_group_of_digests_displace_no_budget():
    """Sixteen simultaneous runs whose digests fall into a budget's group, computed offline, emptied that budget."""
    rows = 64 * GROUP
    with SharedMemory.make(Layout(3, {}, dict.fromkeys(AMOUNT_ROWS, rows))) as memory:
        counters = WorkerCounters(SharedAmounts(memory, memory.take_seat()))
        spent = day("alice")
        assert [await spend(counters, spent) for _ in range(3)] == [None, None, "no_room"]
        group = int.from_bytes(spent.key[:8], "little") % (rows // GROUP)
        names = (name for name in itertools.count() if int.from_bytes(key(str(name))[:8], "little") % 64 == group)
        for name in itertools.islice(names, 4 * GROUP):
            assert not await counters.reserve([Claim(f"held {name}", (Debit(run(name, "mallory"), 5),))])
        assert await spend(counters, spent) == "no_room"


async def test_a_configured_counter_without_a_row_is_refused(amounts):
    counters = WorkerCounters(amounts)
    found = [await spend(counters, day(f"d{number}")) for number in range(2 * GROUP)]
    assert found == [None] * GROUP + ["no_row"] * GROUP
    assert [counters.level(day(f"d{number}")).used for number in range(GROUP)] == [5] * GROUP


async def test_a_run_that_ended_begins_again(memory):
    """A run ends 24 hours after its last request, in whichever memory it is counted."""
    wall, clock = [time.time()], [time.monotonic()]
    counters = WorkerCounters(SharedAmounts(memory, memory.take_seat()), lambda: clock[0], lambda: wall[0])
    for _ in range(2):
        of_day = SumCounter(key("r"), "run", 10, wall[0] + 86_400.0, chosen_by="a")
        assert [await spend(counters, of_day) for _ in range(3)] == [None, None, "no_room"]
        wall[0] += 90_000.0
        clock[0] += 90_000.0


async def test_several_debits_are_one_step(amounts):
    counters = WorkerCounters(amounts)
    debits = tuple(Debit(RateCounter(key(f"r{number}"), "r", 10, 1.0, 10), 1) for number in range(12))
    assert not await counters.reserve([Claim("many", debits)])
    (short,) = await counters.reserve([Claim("over", (*debits, Debit(slots("none", 0), 1)))])
    assert short.debit.counter.name == "none"
    assert counters.level(debits[0].counter).used <= 1


PROGRAM = f"""
import hashlib, json, os, signal, sys
sys.path[:0] = [{str(ROOT)!r}]
from gateway.counters.counter import Claim, Debit, RateCounter, SlotCounter, SumCounter
from gateway.counters.workers import WorkerCounters
from gateway.shared.amounts import SharedAmounts
from gateway.shared.layout import AMOUNT_ROWS, GROUP, Layout
from gateway.shared.memory import SharedMemory

SLOTS = SlotCounter(hashlib.blake2b(b"s", digest_size=16).digest(), "s", 10**6)
SUMS = [SumCounter(hashlib.blake2b(b"%d" % n, digest_size=16).digest(), "b", 10**6, 1e12) for n in range(3)]
AMOUNTS = (1, 7, 7, 7)

def now(coroutine):
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value

def child(memory, work):
    pid = os.fork()
    if not pid:
        try:
            work(WorkerCounters(SharedAmounts(memory, memory.take_seat())))
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    return pid

def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def claim(id):
    return Claim(str(id), (Debit(SLOTS, 1), *(Debit(one, 7) for one in SUMS)))

def levels(counters):
    return [(level.used, level.held) for level in map(counters.level, (SLOTS, *SUMS))]

def lives(memory):
    counters = WorkerCounters(SharedAmounts(memory, memory.take_seat()))
    def dies(line):
        left = line
        def trace(frame, event, arg):
            nonlocal left
            if "gateway/shared" in frame.f_code.co_filename or "counters/workers" in frame.f_code.co_filename:
                left -= event == "line"
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
                return trace
        def work(counters):
            one, two = claim("one"), claim("two")
            assert not now(counters.reserve([one]))
            sys.settrace(trace)
            counters.settle(one, [1, 5, 5, 5])
            now(counters.reserve([two]))
            sys.settrace(None)
        return work
    seen = []
    for line in range(1, 2000, STEP):
        status = ended(child(memory, dies(line)))
        if len(seen) % 2:
            memory.release_dead()
        else:
            assert not ended(child(memory, lambda counters: None))
        seen.append(levels(counters))
        if not status:
            break
        assert status == -signal.SIGKILL, status
    return seen

with SharedMemory.make(Layout(4, {{}}, dict.fromkeys(AMOUNT_ROWS, 4 * GROUP))) as memory:
    print(json.dumps(lives(memory)))
"""


@pytest.mark.process
@pytest.mark.parametrize("step", [17, pytest.param(3, marks=pytest.mark.soak)])
def test_a_worker_killed_at_any_step_leaves_nothing_held_and_no_half_of_a_settlement(step):
    """Phantom reservations that refused paying users (BerriAI/litellm#27639)."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("STEP", str(step))], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert len(seen) > 120 // step
    before = 0
    for slots_level, *sums in seen:
        assert slots_level == [0, 0]
        assert {tuple(level) for level in sums} in ({(before, 0)}, {(before + 5, 0)}), "all of a settlement, or nothing"
        before = sums[0][0]
    assert before > 300 // step
