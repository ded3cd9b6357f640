"""No request waits for an observer: its queue is bounded, and lost records are counted.

Callbacks delayed or blocked responses: https://github.com/BerriAI/litellm/issues/7930."""

import contextlib
import json
import re
import sqlite3
import statistics
import time
from typing import Any

import attrs
import pytest
import trio
import trio.testing
import yaml

from gateway.config_files.loading import load
from gateway.features.steps.loaded import LoadedStep
from gateway.features.steps.loading import load_steps
from gateway.features.steps.observers import BATCH, RECORDS, ObserverQueue, ObserverQueues, PendingRecord
from gateway.ledger.figures import Figures
from gateway.ledger.ledger import Ledger
from gateway.ledger.record import Record
from gateway.open_service import open_service
from gateway.reload import ReloadableApp
from gateway.seams.observed_texts import TextRoom
from gateway.serving.lifecycle import Lifecycle
from tests.support.features import needs_feature
from tests.support.gateway_thread import app_thread, gateway_thread
from tests.support.harness import ROOT, Gateway, Wire, eventually, exchanges, free_port, post
from tests.support.metrics_page import numbers
from tests.support.observed_steps import CODE, ask, observer, records_in, settings_for, short_batches
from tests.support.step_files import step_config
from tests.support.upstreams import Raw, Script, render
from trigate.steps import Finished

KEY = {"authorization": "Bearer key-of-plain-0123456789"}


def record(number: int) -> PendingRecord:
    facts: dict[str, Any] = dict.fromkeys(("client", "group", "endpoint", "model", "target", "provider_model", "run"))
    times: dict[str, Any] = {"started": 0.0, "duration": 0.0, "first_content": None}
    tokens: dict[str, Any] = {"input_tokens": 0, "cached_tokens": 0, "output_tokens": 0, "cost": None}
    finished = Finished(f"req_{number}", api="chat", status=200, ended="complete", steps={}, **facts, **times, **tokens)
    return PendingRecord(finished, None, ())


async def complete(one: PendingRecord) -> Finished:
    return one.finished


def load_step(folder, name: str, **more: Any) -> LoadedStep:
    (step,) = load_steps(step_config(folder, yaml.safe_dump([observer(name, **more)]), CODE)).steps
    return step


async def test_batches_have_at_most_100_records_and_wait_at_most_a_second(tmp_path, autojump_clock):
    lost, released = [], []

    queue = ObserverQueue(
        load_step(tmp_path, "save_async"), complete, lambda *count: lost.append(count), lambda: released.append(1)
    )
    added = [queue.add(record(number)) for number in range(RECORDS + 5)]
    assert added == [True] * RECORDS + [False] * 5
    assert lost == [("save_async", "full", 1)] * 5
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        await trio.testing.wait_all_tasks_blocked()
        found = records_in(tmp_path, "save_async")
        assert [one["request_id"] for one in found] == [f"req_{number}" for number in range(RECORDS)]
        assert {one["batch"] for one in found} == {BATCH}
        assert trio.current_time() == began
        queue.add(record(-1))
        await trio.sleep(0.9)
        assert len(records_in(tmp_path, "save_async")) == RECORDS
        queue.add(record(-2))
        await trio.sleep(0.2)
        assert [one["batch"] for one in records_in(tmp_path, "save_async")[RECORDS:]] == [2, 2]
        nursery.cancel_scope.cancel()
    assert len(released) == RECORDS + 2


async def test_a_client_that_fills_the_queue_makes_room_for_others(tmp_path):
    lost = []
    queue = ObserverQueue(
        load_step(tmp_path, "save_async"), complete, lambda *count: lost.append(count), lambda: lost.append("released")
    )
    mallory, bob = (
        attrs.evolve(record(1), finished=attrs.evolve(record(1).finished, client=name)) for name in ("m", "b")
    )
    for _ in range(RECORDS):
        queue.add(mallory)
    assert queue.add(bob)
    assert lost == [("save_async", "full", 1), "released"]
    assert not queue.add(mallory)


async def test_a_call_beyond_its_deadline_ends_and_its_records_are_counted(tmp_path, autojump_clock, caplog):
    lost = []

    step = load_step(tmp_path, "sleep_long", deadline="2s")
    queue = ObserverQueue(step, complete, lambda *counted: lost.append(counted), lambda: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        queue.add(record(1))
        await trio.sleep(1.5)
        queue.add(record(2))
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert lost == [("sleep_long", "deadline", 1), ("sleep_long", "deadline", 1)]
    assert len([line for line in caplog.messages if "no result within 2 s" in line]) == 1


@needs_feature("metrics")
@pytest.mark.soak
def test_a_slow_observer_delays_no_request_and_its_lost_records_are_counted(tmp_path, upstream):
    port = free_port()
    slow = observer("slow", deadline="60s", **{"with": {"content": True}})
    file = settings_for(tmp_path, upstream.url, port, [slow, observer("facts")], metrics=True)
    with short_batches(), gateway_thread(file, port) as gateway:
        upstream.script(*(Script(text="fine") for _ in range(30)))
        assert ask(gateway, "plain", "chat", "chat", "first", stream=False)[0] == 200
        eventually(lambda: records_in(tmp_path, "slow"))
        large = "x" * 2**20
        for _ in range(20):
            began = time.perf_counter()
            assert ask(gateway, "plain", "chat", "chat", large, stream=True)[0] == 200
            assert time.perf_counter() - began < 5  # the observer is blocked for much longer
        eventually(lambda: len(records_in(tmp_path, "facts")) == 21)
        lost = numbers(gateway, **KEY)("trigate_step_records_lost_total", step="slow", reason="full")
        assert 3 <= lost <= 7, lost  # about 15 of 1 MiB fit
        (tmp_path / "go").touch()
        eventually(lambda: len(records_in(tmp_path, "slow")) == 21 - lost)


def test_the_drain_sends_all_records_including_those_of_cut_streams(tmp_path, upstream):
    port = free_port()
    steps = [observer("save", **{"with": {"content": True}})]
    file = settings_for(tmp_path, upstream.url, port, steps, drain="0.5s")
    whole = render(Script(text="one two three four"), "chat", {"model": "on-chat", "stream": True})
    upstream.script(Script(text="fine"), Raw(200, whole.headers, whole.pieces[:3], "hang"))
    body = {"model": "on-chat", "stream": True, "messages": [{"role": "user", "content": "cut"}]}
    with contextlib.ExitStack() as stack:
        with gateway_thread(file, port) as gateway:
            assert ask(gateway, "plain", "chat", "chat", "first", stream=False)[0] == 200
            wire = stack.enter_context(Wire.connect(gateway.port))
            wire.send(post("/v1/chat/completions", body, KEY))
            wire.read_until(b"one")
        found = records_in(tmp_path, "save")
        assert [one["ended"] for one in found] == ["complete", "shutdown"]
        assert json.loads(found[1]["request"])["messages"][0]["content"] == "cut"
        assert len(exchanges(gateway.log)) == 2


def test_the_end_waits_five_seconds_for_a_blocked_observer(tmp_path, upstream):
    port = free_port()
    file = settings_for(tmp_path, upstream.url, port, [observer("sleep_long", deadline="60s")])
    upstream.script(Script(text="fine"))
    with gateway_thread(file, port) as gateway:
        assert ask(gateway, "plain", "chat", "chat", "first", stream=False)[0] == 200
        eventually(lambda: records_in(tmp_path, "sleep_long"))
        began = time.perf_counter()
    assert 4 < time.perf_counter() - began < 15


def test_a_reload_keeps_the_observers_of_running_requests(tmp_path, upstream):
    old = settings_for(tmp_path, upstream.url, free_port(), [observer("facts")])
    first = load(old, {})
    second = load(
        settings_for(tmp_path, upstream.url, free_port(), [observer("save", **{"with": {"content": True}})]), {}
    )
    third = load(settings_for(tmp_path, upstream.url, free_port(), []), {})
    lifecycle = Lifecycle()
    app = ReloadableApp(first, open_service(first, lifecycle, None, check_streams=False))
    whole = render(Script(text="one two three four"), "chat", {"model": "on-chat", "stream": True})
    upstream.script(Raw(200, whole.headers, whole.pieces[:3], "hang"), Script(text="fine"), Script(text="fine"))
    body = {"model": "on-chat", "stream": True, "messages": [{"role": "user", "content": "old"}]}
    token: list[trio.lowlevel.TrioToken] = []
    with short_batches(), app_thread(_with_token(app, token), lifecycle) as port:
        gateway = Gateway(port, None, [])
        with Wire.connect(port) as wire:
            wire.send(post("/v1/chat/completions", body, KEY))
            wire.read_until(b"one")
            trio.from_thread.run_sync(app.change, second, trio_token=token[0])
            assert ask(gateway, "plain", "chat", "chat", "new", stream=False)[0] == 200
            eventually(lambda: records_in(tmp_path, "save"))
            assert records_in(tmp_path, "facts") == []
        eventually(lambda: records_in(tmp_path, "facts"))
        trio.from_thread.run_sync(app.change, third, trio_token=token[0])
        assert ask(gateway, "plain", "chat", "chat", "unobserved", stream=False)[0] == 200
    assert [one["ended"] for one in records_in(tmp_path, "facts")] == ["client_disconnected"]
    (saved,) = records_in(tmp_path, "save")
    assert "new" in saved["request"]


def _with_token(app: Any, token: list[trio.lowlevel.TrioToken]) -> Any:
    """Return ``app``, which also stores the token of its event loop."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if not token:
            token.append(trio.lowlevel.current_trio_token())
        await app(scope, receive, send)

    return serve


def test_the_writer_on_the_page_of_steps_stores_requests_in_sqlite(tmp_path, upstream):
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "steps-reference.md").read_text(), re.M | re.S)
    (code,) = [one for one in blocks if "sqlite3" in one]
    port = free_port()
    file = settings_for(tmp_path, upstream.url, port, [observer("save", **{"with": {"content": True}})])
    (tmp_path / "steps.py").write_text(code)
    upstream.script(Script(text="to be stored"))
    with gateway_thread(file, port) as gateway:
        _, request_id, _ = ask(gateway, "plain", "messages", "chat", "a question", stream=True)
    with contextlib.closing(sqlite3.connect(tmp_path / "requests.db")) as db:
        (row,) = db.execute("select id, client, model, request, response from requests").fetchall()
    assert row[:3] == (request_id, "plain", "on-chat")
    assert "a question" in row[3]
    assert "to be stored" in row[4]


async def test_an_observer_adds_less_than_50_microseconds_to_an_exchange(tmp_path):
    (step,) = (steps := load_steps(step_config(tmp_path, yaml.safe_dump([observer("facts")]), CODE))).steps
    assert step.is_observer
    queues, ledger = ObserverQueues(steps, Figures(), [], TextRoom()), Ledger()
    times = []
    for number in range(500):
        one = Record(f"req_{number}", "chat", status=200)
        line = ledger.line(one, disconnected=True)
        began = time.perf_counter()
        queues.observe(one).note_end(one, line)
        times.append(time.perf_counter() - began)
    assert statistics.median(times) < 50e-6


async def test_the_observers_of_several_configurations_have_one_limit_at_the_end(autojump_clock):
    ledger, began = Ledger(), trio.current_time()
    ledger.finishers += [trio.sleep, trio.sleep]
    await ledger.finish(5)
    assert trio.current_time() - began == 5
