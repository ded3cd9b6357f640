"""Shared memory between real processes, which change the same rows simultaneously and are killed meanwhile."""

import json
import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest

from tests.support.repository import ROOT

pytestmark = pytest.mark.process

PROGRAM = f"""
import hashlib, json, os, random, signal, struct, sys, time
sys.path[:0] = [{str(ROOT)!r}]
from gateway.shared.amounts import SharedAmounts, SharedCounts
from gateway.shared.layout import AMOUNT_ROWS, GROUP, Layout, TableSize
from gateway.shared.memory import SharedMemory
from gateway.shared.shared_rows import SharedRows

HOUR = 3600.0
LAYOUT = Layout(5, {{"some": TableSize(2 * GROUP, 64)}}, dict.fromkeys(AMOUNT_ROWS, GROUP))
PLACES = [hashlib.blake2b(str(n).encode(), digest_size=16).digest() for n in range(12)]
VALUE = struct.Struct("=q48xq")

def put(number):
    return lambda *_: VALUE.pack(number, number)

def number(value):
    first, last = VALUE.unpack(value)
    assert first == last, "half of one value and half of another"
    return first

def add(some):
    return lambda old, now: put(number(old) + some)()

def child(work, *given):
    pid = os.fork()
    if not pid:
        try:
            seat = memory.take_seat()
            work(SharedRows(memory, "some"), seat, *given)
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    return pid

def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

with SharedMemory.make(LAYOUT) as memory:
    memory.take_seat()
    rows = SharedRows(memory, "some")
    for place in PLACES:
        rows.update(place, put(1000), HOUR)
"""

TOGETHER = """
    def count(rows, seat, times):
        for _ in range(times):
            rows.update(PLACES[0], add(1), HOUR)
            number(rows.read(PLACES[0]))
    children = [child(count, 200) for _ in range(4)]
    print(json.dumps([[ended(pid) for pid in children], number(rows.read(PLACES[0]))]))
"""

AT_EVERY_LINE = """
    def die_at(rows, seat, line, work):
        left = line
        def trace(frame, event, arg):
            nonlocal left
            if "gateway/shared" in frame.f_code.co_filename:
                left -= event == "line"
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
                return trace
        sys.settrace(trace)
        work(rows)
        sys.settrace(None)

    new = hashlib.blake2b(b"new", digest_size=16).digest()
    def known(rows):
        rows.update(PLACES[0], add(1), HOUR)
    def fresh(rows):
        rows.update(new, lambda old, now: (add(1) if old else put(1))(old, now), HOUR)

    deaths, seen = [0, 0], []
    for kind, work in enumerate((known, fresh)):
        for line in range(1, 1000, STEP):
            status = ended(child(die_at, line, work))
            if len(seen) % 2:
                memory.release_dead()  # as a supervisor does; else the next worker in that seat has to
            seen.append([number(rows.read(PLACES[0])), number(rows.read(new) or put(0)())])
            if not status:
                break
            assert status == -signal.SIGKILL, status
            deaths[kind] += 1
    print(json.dumps([deaths, seen]))
"""

AT_RANDOM = """
    def count(rows, seat, seed):
        random.seed(seed)
        while True:
            rows.update(random.choice(PLACES), add(1), HOUR)
            number(rows.read(random.choice(PLACES)))
    random.seed(7)
    seen, wrong = [], 0
    children = [child(count, n) for n in range(3)]
    for kill in range(ROUNDS):
        time.sleep(random.random() * 0.004)
        victim = random.randrange(3)
        os.kill(children[victim], signal.SIGKILL)
        wrong += ended(children[victim]) != -signal.SIGKILL
        seen.append([number(rows.read(place)) for place in PLACES])
        memory.release_dead()
        children[victim] = child(count, kill)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        ended(pid)
    print(json.dumps([wrong, seen]))
"""

COUNTED = """
    counts, out = SharedCounts(SharedAmounts(memory, 0)), os.pipe()
    def take(rows, seat, times):
        mine = SharedCounts(SharedAmounts(memory, seat))
        for _ in range(times):
            mine.begin(PLACES[0])
        mine.end(PLACES[0])
        os.write(out[1], b"x")
        signal.pause()
    children = [child(take, times) for times in (3, 5)]
    os.read(out[0], 1), os.read(out[0], 1)
    seen = [counts.count(PLACES[0])]
    os.kill(children[1], signal.SIGKILL)
    ended(children[1])
    memory.release_dead()
    seen.append(counts.count(PLACES[0]))
    children[1] = child(take, 2)  # in the dead one's seat
    os.read(out[0], 1)
    seen.append(counts.count(PLACES[0]))
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        ended(pid)
    memory.release_dead()
    print(json.dumps([*seen, counts.count(PLACES[0])]))
"""

SEATS = """
    out = os.pipe()
    def sit(rows, seat):
        os.write(out[1], b"%d" % seat)
        signal.pause()
    children = [child(sit) for _ in range(4)]
    numbers = sorted(int(os.read(out[0], 1)) for _ in children)
    too_many = ended(child(sit))
    os.kill(children[2], signal.SIGKILL)
    ended(children[2])
    children[2] = child(sit)
    again = int(os.read(out[0], 1))
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        ended(pid)
    print(json.dumps([numbers, too_many, again in numbers]))
"""


def run(program: str) -> Any:
    done = subprocess.run([sys.executable, "-c", PROGRAM + program], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_no_change_is_lost_between_processes():
    """Each of several processes permitted as much as one process was meant to (BerriAI/litellm#16011)."""
    assert run(TOGETHER) == [[0] * 4, 1800]


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.soak)])
def test_a_worker_may_be_killed_at_every_line_of_a_change(step):
    """A change happens wholly or not at all, and the next one works."""
    deaths, seen = run(AT_EVERY_LINE.replace("STEP", str(step)))
    assert min(deaths) > 20 // step
    for before, after in pairwise([[1000, 0], *seen]):
        assert [new - old in (0, 1) for old, new in zip(before, after, strict=True)] == [True, True]
    assert (seen[-1][0] > 1000, seen[-1][1] > 0) == (True, True)


@pytest.mark.parametrize("rounds", [15, pytest.param(100, marks=pytest.mark.soak)])
def test_no_change_is_lost_or_half_done_where_workers_are_killed_at_random(rounds):
    wrong, seen = run(AT_RANDOM.replace("ROUNDS", str(rounds)))
    assert wrong == 0
    assert all(old <= new for before, after in pairwise(seen) for old, new in zip(before, after, strict=True))
    assert sum(seen[-1]) > 12_000


def test_open_requests_of_a_killed_worker_do_not_count():
    """Slots of processes that were killed stayed taken until the store was flushed (BerriAI/litellm#20256)."""
    assert run(COUNTED) == [6, 2, 3, 0]


def test_a_seat_is_free_again_when_its_worker_is_dead():
    assert run(SEATS) == [[1, 2, 3, 4], 1, True]
