"""A step that crashes, blocks, is slow or returns nonsense harms its own request only."""

import logging
import sys
import threading
import time

import attrs
import pytest
import trio
import trio.testing

from gateway.features.steps.breaker import FAILURES, FIRST_PAUSE, StepBreakers
from gateway.features.steps.loading import load_steps
from gateway.features.steps.runner import StepFailed, run_step
from gateway.features.steps.slots import StepSlots
from tests.support.step_files import step_config
from trigate.steps import Check, Passage

CODE = """
import asyncio, sys, threading, time
import trio
from trigate.steps import Finding, Passage, step

release, started = threading.Event(), threading.Event()
calls = []

def crash(check): raise ValueError(check.passages[0].text)
async def crash_async(check): raise ValueError(check.passages[0].text)
async def crash_in_nursery(check):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash_async, check)
def leave(check): sys.exit(3)
async def interrupt(check): raise KeyboardInterrupt(check.passages[0].text)
async def cancelled(check): raise asyncio.CancelledError
async def endless(check): await trio.sleep_forever()
def none(check): return None
def text(check): return "finding"
def tuples(check): return [("word", 0, 1)]
def outside(check): return [Finding("word", check.passages[0], 0, 10**6)]
def backwards(check): return [Finding("word", check.passages[0], 2, 1)]
def other_passage(check): return [Finding("word", Passage("user", "", "word"), 0, 1)]
def no_action(check): return [Finding("word", check.passages[0], 0, 1, action="delete")]
def half(check): return [Finding("word", check.passages[0], 0, 1, replacement="\\ud800")]
def half_label(check): return [Finding("\\ud800", check.passages[0], 0, 1)]
def no_label(check): return [Finding("", check.passages[0], 0, 1)]
def wait(check):
    started.set()
    release.wait(30)
    return []
def interval(check):
    calls.append(sys.getswitchinterval())
    return []
async def block(check):
    time.sleep(0.08)
    await trio.lowlevel.checkpoint()
    return []
async def sometimes(check):
    calls.append(1)
    if len(calls) <= 5: raise ValueError
    return []

@step(remember=True)
def words(check):
    calls.append([p.text for p in check.passages])
    return [Finding("bad", p, 0, 3) for p in check.passages if p.text.startswith("bad")]
"""


def load_step(folder, name, **more):
    members = "".join(f", {key}: {value}" for key, value in more.items())
    return load_steps(step_config(folder, f"  - {{use: './steps.py:{name}'{members}}}\n", CODE)).steps[0]


def check(*texts: str, client: str | None = None) -> Check:
    passages = tuple(Passage("user", f"messages[{i}].content", text) for i, text in enumerate(texts))
    return Check("request", passages, client=client)


def failure(step, *texts: str) -> StepFailed:
    with pytest.raises(StepFailed) as caught:
        trio.run(run_step, step, check(*texts or ("secret words",)))
    return caught.value


@pytest.mark.parametrize(
    ("name", "reason", "detail"),
    [
        ("crash", "error", "ValueError (steps.py, line"),
        ("crash_async", "error", "ValueError (steps.py, line"),
        ("crash_in_nursery", "error", "ValueError (steps.py, line"),
        ("leave", "error", "SystemExit (steps.py, line"),
        ("interrupt", "error", "KeyboardInterrupt (steps.py, line"),
        ("cancelled", "error", "CancelledError (steps.py, line"),
        ("none", "malformed", "it returned NoneType, not a list of findings"),
        ("text", "malformed", "it returned str, not a list of findings"),
        ("tuples", "malformed", "it returned a tuple among its findings"),
        ("outside", "malformed", "a finding has a span outside its passage"),
        ("backwards", "malformed", "a finding has a span outside its passage"),
        ("other_passage", "malformed", "a finding has a passage that is not in the check"),
        ("no_action", "malformed", "a finding has an action that does not exist"),
        ("no_label", "malformed", "a finding has no label"),
        ("half_label", "malformed", "a finding has a label with half of a surrogate pair"),
        ("half", "malformed", "a finding has a replacement with half of a surrogate pair"),
    ],
)
def test_every_fault_is_a_failure_of_the_step(tmp_path, caplog, name, reason, detail):
    failed = failure(load_step(tmp_path, name))
    assert failed.reason == reason
    assert detail in failed.detail
    assert name in caplog.text
    assert "secret words" not in failed.detail + caplog.text


@pytest.mark.parametrize("name", ["endless", "wait"])
def test_a_call_ends_with_its_deadline(tmp_path, name):
    step = load_step(tmp_path, name, deadline="50ms")
    assert failure(step).reason == "deadline"
    release_threads(step)


LONG = "a word and another, " * 50_000
SEARCHES = ("{use: secrets", "{use: pii", "{use: regex, with: {patterns: {code: '[A-Z]{3}-[0-9]{9}'}}")


@pytest.mark.parametrize("end", ["", " ABC-123456789 ada@example.com"])
@pytest.mark.parametrize("use", SEARCHES)
def test_the_deadline_binds_a_search_in_a_thread(tmp_path, use, end):
    """A search that found nothing, or little, counted as one in time."""
    for deadline, in_time in (("1ms", False), ("60s", True)):
        row = f"  - {use}, action: report, at: [request], deadline: {deadline}}}\n"
        step = load_steps(step_config(tmp_path, row, CODE)).steps[0]
        assert step.is_inline
        if in_time:
            trio.run(run_step, step, check(LONG + end))
        else:
            assert failure(step, LONG + end).reason == "deadline"


def release_threads(step) -> None:
    step.callable.__globals__["release"].set()


def test_the_deadline_includes_the_wait_for_a_slot_and_an_abandoned_thread_keeps_its_slot(tmp_path):
    step = load_step(tmp_path, "wait", deadline="100ms", concurrent=1)
    started, release = (step.callable.__globals__[name] for name in ("started", "release"))
    started.clear()
    release.clear()

    async def main() -> None:
        for _ in range(2):
            with pytest.raises(StepFailed):
                await run_step(step, check("a"))
            assert step.state.slots.all.borrowed_tokens == 1
        assert started.is_set()
        release.set()
        while step.state.slots.all.borrowed_tokens:  # noqa: ASYNC110  # trio has no event for it
            await trio.sleep(0.001)
        assert await run_step(step, check("a")) == []

    trio.run(main)


@pytest.mark.parametrize("name", ["endless", "wait"])
def test_a_cancellation_ends_a_call_immediately(tmp_path, name):
    step = load_step(tmp_path, name, deadline="30s")
    began = time.monotonic()

    async def main() -> None:
        with trio.move_on_after(0.05):
            await run_step(step, check("a"))

    trio.run(main)
    assert time.monotonic() - began < 10  # the deadline is 30 s, and the machine may be busy
    assert step.state.breaker.claim_call(None)
    release_threads(step)


def test_async_code_that_blocks_is_logged_by_name_once(tmp_path, caplog):
    step = load_step(tmp_path, "block")
    for _ in range(2):
        assert trio.run(run_step, step, check("a")) == []
    assert [record.message.partition(" for ")[0] for record in caplog.records] == [
        "the step block blocked every stream of this worker"
    ]


def test_a_built_in_kind_that_a_busy_machine_delays_is_not_logged(tmp_path, caplog):
    (kind,) = load_steps(step_config(tmp_path, "  - {use: http, with: {url: 'http://a'}}\n")).steps
    slow = load_step(tmp_path, "block").function
    delayed = attrs.evolve(kind, state=attrs.evolve(kind.state, resource=None), function=slow)
    assert trio.run(run_step, delayed, check("a")) == []
    assert caplog.records == []


def test_an_error_is_logged_once_a_minute(tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    step = load_step(tmp_path, "crash")
    for _ in range(3):
        failure(step)
    assert len(caplog.records) == 1


def test_five_failures_pause_the_step_and_one_call_tries_again(tmp_path):
    step = load_step(tmp_path, "sometimes")
    calls = step.callable.__globals__["calls"]
    calls.clear()
    now = [100.0]
    step.state.breaker.clock = lambda: now[0]
    for _ in range(5):
        assert failure(step).reason == "error"
    paused = failure(step)
    assert (paused.reason, paused.retry_after, len(calls)) == ("paused", 5.0, 5)
    now[0] += 5.0
    assert trio.run(run_step, step, check("a")) == []
    assert trio.run(run_step, step, check("a")) == []


def test_the_pause_doubles_up_to_twenty_seconds(tmp_path):
    step = load_step(tmp_path, "crash")
    now = [100.0]
    step.state.breaker.clock = lambda: now[0]
    pauses = []
    for _ in range(4):
        while failure(step).reason == "error":
            pass
        pauses.append(step.state.breaker.retry_after(None))
        now[0] += pauses[-1]
    assert pauses == [5.0, 10.0, 20.0, 20.0]


def test_clean_texts_are_not_checked_again_for_the_same_client(tmp_path):
    step = load_step(tmp_path, "words")
    calls = step.callable.__globals__["calls"]
    calls.clear()

    def labels(*texts: str, client: str = "a") -> list[str]:
        return [one.label for one in trio.run(run_step, step, check(*texts, client=client))]

    assert labels("good", "bad one") == ["bad"]
    assert labels("good", "bad one", "new") == ["bad"]
    assert labels("good", "new") == []
    assert labels("good", client="b") == []
    assert calls == [["good", "bad one"], ["bad one", "new"], ["good"]]


def test_a_plain_function_runs_in_a_thread(tmp_path):
    step = load_step(tmp_path, "words")
    names = []
    step.callable.__globals__["Finding"] = lambda *_: names.append(threading.current_thread().name)
    with pytest.raises(StepFailed):
        trio.run(run_step, step, check("bad"))
    assert names
    assert names != [threading.main_thread().name]


@pytest.fixture
def default_switches():
    """Set Python's own interval of switches between threads."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    yield
    sys.setswitchinterval(before)


def test_a_plain_function_that_computes_releases_the_interpreter_soon(tmp_path, default_switches):
    """Otherwise the streams wait 5 ms for each such function, some times for each event."""
    step = load_step(tmp_path, "interval")
    trio.run(run_step, step, check("bad"))
    (interval,) = step.callable.__globals__["calls"]
    assert interval < 0.001


# Shares of clients (``SECURITY.md``)


def test_the_failures_of_one_client_pause_the_step_for_no_other():
    breakers = StepBreakers(lambda: 0.0)
    for _ in range(FAILURES):
        assert breakers.claim_call("mallory")
        breakers.record_failure("mallory")
    assert not breakers.claim_call("mallory")
    assert breakers.retry_after("mallory") > 0
    assert breakers.claim_call("bob")
    breakers.record_success("bob")
    assert breakers.retry_after("bob") == 0


def test_the_failures_of_several_clients_pause_the_step_for_all():
    breakers = StepBreakers(lambda: 0.0)
    for client in ("a", "b", "c", "a", "b", "c"):
        assert breakers.claim_call(client)
        breakers.record_failure(client)
    assert not breakers.claim_call("d")
    breakers.clock = lambda: FIRST_PAUSE
    assert [breakers.claim_call(client) for client in "de"] == [True, False], "one call tries again"
    breakers.record_success("d")
    assert breakers.claim_call("e")


async def test_a_client_with_slow_calls_leaves_places_to_others(nursery):
    slots = StepSlots(4)

    async def hold(client: str) -> None:
        async with slots.of_client(client):
            await trio.sleep_forever()

    for _ in range(9):
        nursery.start_soon(hold, "mallory")
    await trio.testing.wait_all_tasks_blocked()
    with trio.fail_after(30):
        async with slots.of_client("bob"), slots.of_client("bob"):
            pass
    nursery.cancel_scope.cancel()


async def test_a_cancelled_wait_takes_no_place():
    slots = StepSlots(2)
    async with slots.of_client("a"):
        with trio.move_on_after(0.01):
            async with slots.of_client("a"):
                raise AssertionError("its share is one")
    with trio.fail_after(30):
        async with slots.of_client("a"), slots.of_client("b"):
            pass
