"""``GET /metrics``: real gateways, also with several workers, count requests; all labels are from closed sets."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import attrs
import pytest
import trio
import trio.testing
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from gateway.allowances.allowance import Holder
from gateway.config_files.loading import Config, ConfigError, from_mapping
from gateway.features.metrics.metrics import MAX_MODELS, MOST_CLIENTS, ClientLabels, Metrics, open_metrics, resident
from gateway.features.metrics.opening import watch_lag, watch_store
from gateway.features.metrics.rows import (
    BUDGET_USED,
    LIMIT_USED,
    ROWS,
)
from gateway.features.metrics.shared_metrics import WorkersCollector, merge_dead_worker, whole
from gateway.ledger.bill import AttemptRecord
from gateway.ledger.ledger import Ledger
from gateway.seams.observers import observation_of
from gateway.stores.errors import Unavailable
from gateway.stores.memory import MemoryStore
from gateway.stores.store import Node, Size
from providers.catalog.prices import Price
from streams.events import ErrorKind, FailureReason, Usage
from tests.pages import metrics as metrics_table
from tests.pages.tables import rows_of
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import (
    ROOT,
    START_SECONDS,
    Gateway,
    Wire,
    config,
    eventually,
    free_port,
    post,
    provider,
    refusing_port,
    running,
)
from tests.support.metrics_page import HEAD, Numbers, chunk, numbers, page_of, reaching
from tests.support.processes import is_running, may_unshare, workers
from tests.support.stores import sqlite_store
from tests.support.upstreams import PATHS, Raw, Script, Tokens

CLIENT_KEY, PROVIDER_KEY = "alices-key-0123456789", "providers-key-0123456789"
ANSWER = Script(text="one two three", tokens=Tokens(prompt=20, cache_read=5, output=9, reasoning=4))
BUSY = Raw(429, (("content-type", "application/json"),), (b'{"error": {"message": "slow down"}}',))


def ask(gateway: Gateway, api: str, model: str, stream: bool = False, **more: Any) -> int:
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50, **more}
    return gateway.request("POST", PATHS[api], body).status


@pytest.fixture(scope="module")
def gateway(upstream, by_hand) -> Iterator[Gateway]:
    with refusing_port() as refused:
        entries = [
            provider("openai/on-chat", upstream.url, ["chat"]),
            provider("anthropic/on-messages", upstream.url, ["messages"]),
            provider("groq/*", f"{upstream.url}/v1", ["chat"]),
            provider("mistral/by-hand", by_hand.url, ["chat"]),
            provider("deepseek/gone", f"http://127.0.0.1:{refused}", ["chat"]),
        ]
        with gateway_thread(config(entries)) as process:
            yield process


# Counters of exchanges


@pytest.mark.parametrize(("model", "target", "lane"), [
    ("on-chat", ("openai", "on-chat"), "byte"), ("on-messages", ("anthropic", "on-messages"), "hub"),
])  # fmt: skip
def test_an_exchange_is_counted_once_with_its_tokens_in_either_lane(gateway, upstream, model, target, lane):
    upstream.script(ANSWER)
    before = numbers(gateway)
    assert ask(gateway, "chat", model, stream=True, stream_options={"include_usage": True}) == 200
    where = dict(zip(("provider", "model"), target, strict=True))
    row = {**where, "lane": lane, "api": "chat", "status": "2xx", "ended": "complete", "client": "none"}
    after = reaching(gateway, before("trigate_exchanges_total", **row) + 1, "trigate_exchanges_total", **row)

    def count_added(name: str, **labels: str) -> float:
        return after(name, **labels) - before(name, **labels)

    for kind, number in {"input": 15, "cache_read": 5, "output": 9}.items():
        assert count_added("trigate_tokens_total", kind=kind, **where) == number
    for name in ("first_byte", "first_token", "duration"):
        assert count_added(f"trigate_{name}_seconds_count", lane=lane, **where) == 1
    first, whole = (count_added(f"trigate_{name}_seconds_sum", **where) for name in ("first_token", "duration"))
    assert 0 < first <= whole
    assert count_added("trigate_upstream_attempts_total", provider=target[0]) == 1


def test_models_of_a_wildcard_have_their_own_label_after_their_first_answer(gateway, upstream):
    for name, answer in (("own-1", ANSWER), ("own-2", ANSWER), ("made-up", BUSY), ("own-1", ANSWER)):
        upstream.script(answer)
        ask(gateway, "chat", f"groq/{name}")
    ask(gateway, "chat", "nobody-has-this")
    reaching(gateway, 2, "trigate_exchanges_total", provider="groq", model="own-1", ended="complete")
    reaching(gateway, 1, "trigate_exchanges_total", provider="groq", model="own-2", ended="complete")
    reaching(gateway, 1, "trigate_exchanges_total", provider="groq", model="other", ended="upstream_error")
    reaching(gateway, 1, "trigate_exchanges_total", provider="none", model="none", ended="refused", status="4xx")
    assert not re.search("made-up|nobody-has", gateway.request("GET", "/metrics").body.decode())


def observed_metrics(settings: dict[str, Any]) -> tuple[Metrics, Ledger]:
    """Return the metrics of a gateway with ``settings``, and its ledger."""
    read, ledger = from_mapping(settings), Ledger()
    ledger.mask.apply_config(read)
    metrics = open_metrics(read, ledger.mask)
    assert isinstance(metrics, Metrics)
    observation_of(ledger).hooks += (metrics.observe_exchange,)
    return metrics, ledger


def settle_answer(ledger: Ledger, target: str, client: str | None = None) -> None:
    record = ledger.open("id", "chat")
    record.target, record.lane, record.attempts, record.bill.is_complete = target, "byte", 1, True
    record.client = client
    ledger.settle(record, disconnected=False)


def test_label_values_from_clients_are_limited_in_number():
    metrics, ledger = observed_metrics(config([provider("groq/*", "http://x")], 1))
    for target in ("nobody/m", "groq/" + "x" * 200, "groq/a\nb", *(f"groq/m{i}" for i in range(MAX_MODELS + 50))):
        settle_answer(ledger, target)
    assert metrics.target_labels("nobody/m") == ("other", "other")
    assert metrics.target_labels("groq/" + "x" * 200) == metrics.target_labels("groq/a\nb") == ("groq", "other")
    assert metrics.target_labels(f"groq/m{MAX_MODELS - 1}") == ("groq", f"m{MAX_MODELS - 1}")
    assert metrics.target_labels(f"groq/m{MAX_MODELS}") == ("groq", "other")


def test_no_client_fills_the_table_of_wildcard_models():
    """A series lasts until the restart, so a place that one client uses is lost for all others."""
    keys = [{"name": name, "key": f"tg-{name}-0123456789abcdef"} for name in ("alice", "bob", "cleo")]
    metrics, ledger = observed_metrics(config([provider("groq/*", "http://x")], 1, client_keys=keys))
    for client in ("alice", "bob", "cleo"):
        for number in range(MAX_MODELS):
            settle_answer(ledger, f"groq/{client}-{number}", client)
    places = {
        client: sum(metrics.target_labels(f"groq/{client}-{number}")[1] != "other" for number in range(MAX_MODELS))
        for client in ("alice", "bob", "cleo")
    }
    assert places == {"alice": 50, "bob": 25, "cleo": 13}


def test_the_group_of_each_client_is_a_metric_that_follows_the_configuration():
    def with_group(name: str | None) -> Config:
        key = {"name": "alice", "key": "tg-alice-0123456789abcdef"} | ({} if name is None else {"group": name})
        groups = {"client_groups": [{"name": name}]} if name is not None else {}
        return from_mapping(config([provider("openai/m", "http://x")], 1) | {"client_keys": [key]} | groups)

    metrics = open_metrics(with_group("red"))
    assert isinstance(metrics, Metrics)
    shown = [Numbers(page_of(metrics))("trigate_client_info", client="alice", group="red")]
    for group in ("blue", None):
        metrics.permit_names(with_group(group))
        page = Numbers(page_of(metrics))
        names = [name for name in ("red", "blue", "none") if page("trigate_client_info", client="alice", group=name)]
        shown.append(names)
    assert shown == [1, ["blue"], ["none"]]


@pytest.mark.parametrize("name", [CLIENT_KEY, PROVIDER_KEY, "sk-ant-somebodys-0123456789"])
def test_a_key_that_was_sent_as_a_model_is_no_label(name):
    keys = [{"name": "alice", "sha256": hashlib.sha256(CLIENT_KEY.encode()).hexdigest()}]
    metrics, ledger = observed_metrics(config([provider("groq/*", "http://x", key=PROVIDER_KEY)], 1, client_keys=keys))
    settle_answer(ledger, f"groq/{name}")
    page = page_of(metrics)
    assert name not in page
    assert 'model="other",provider="groq"' in page


def test_the_number_of_series_for_changing_clients_is_bounded():
    labels = ClientLabels()
    labels["filed"] = "filed"
    assert {labels[f"stored-{number}"] for number in range(MOST_CLIENTS)} == {
        f"stored-{number}" for number in range(MOST_CLIENTS)
    }
    found = [labels[client] for client in ("one more", "stored-0", "filed", None)]
    assert found == ["other", "stored-0", "filed", "none"]


def test_failures_are_counted_by_provider_and_kind(gateway, upstream):
    upstream.script(BUSY)
    assert ask(gateway, "chat", "on-chat") == 429
    assert ask(gateway, "chat", "gone") == 502
    now = reaching(gateway, 1, "trigate_exchanges_total", provider="deepseek", ended="upstream_error", status="5xx")
    assert now("trigate_upstream_errors_total", provider="openai", model="on-chat", error="rate_limited") == 1
    assert now("trigate_upstream_errors_total", provider="deepseek", model="gone", error="upstream") == 1


def test_a_request_that_loses_members_is_counted(gateway, upstream):
    upstream.script(ANSWER)
    before = numbers(gateway)("trigate_dropped_total", api="chat", provider="anthropic")
    assert ask(gateway, "chat", "on-messages", seed=1) == 200
    reaching(gateway, before + 1, "trigate_dropped_total", api="chat", provider="anthropic")


def test_a_stream_is_in_flight_until_its_client_leaves_and_each_gap_is_measured(gateway, by_hand):
    before = numbers(gateway)
    asked = {"model": "by-hand", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    with Wire.connect(gateway.port) as client:
        client.send(post("/v1/chat/completions", asked))
        with by_hand.accept() as peer:
            peer.read_request()
            peer.send(HEAD)
            assert numbers(gateway)("trigate_exchanges_in_flight", api="chat") == 1
            began = time.perf_counter()
            for word in (b"un", b"deux", b"trois"):
                peer.send(chunk(word.decode()))
                client.read_until(word)
            now = reaching(gateway, before("trigate_write_gap_seconds_count") + 2, "trigate_write_gap_seconds_count")
            took = time.perf_counter() - began
            assert 0 < now("trigate_write_gap_seconds_sum") - before("trigate_write_gap_seconds_sum") < took
            assert now("trigate_upstream_connections", state="active") == 1
            client.reset()
            after = reaching(gateway, 0, "trigate_exchanges_in_flight")
    left = "trigate_disconnects_total"
    assert after(left, api="chat", phase="answering") == before(left, api="chat", phase="answering") + 1
    assert after(left, phase="waiting") == before(left, phase="waiting")
    assert after("trigate_usage_estimated_total", provider="mistral") == 1
    assert after("trigate_tokens_total", provider="mistral", kind="output") > 0


def test_a_client_that_leaves_before_its_answer_is_counted_separately(gateway, by_hand):
    before = numbers(gateway)("trigate_disconnects_total", phase="waiting")
    with Wire.connect(gateway.port) as client:
        client.send(post("/v1/chat/completions", {"model": "by-hand", "messages": []}))
        with by_hand.accept() as peer:
            peer.read_request()
            client.reset()
            reaching(gateway, before + 1, "trigate_disconnects_total", phase="waiting")


def test_the_process_is_measured(gateway):
    now = eventually(lambda: (now := numbers(gateway))("trigate_event_loop_lag_seconds_count") >= 2 and now)
    assert resident() / 2 < now("trigate_memory_bytes") < 2 * resident()  # the gateway runs in the tests' process
    assert now("trigate_cpu_seconds_total") > 0.1
    assert now("trigate_workers") == now("trigate_build_info") == 1
    assert now("trigate_draining") == now("trigate_background_turns") == 0
    assert now("trigate_client_connections") >= 1


def test_all_labels_are_documented(gateway):
    now = numbers(gateway)
    for row in ROWS:
        name = row.name + ("_bucket" if row.kind == "histogram" else "")
        for labels in now.labels(name):
            assert set(labels) - {"le"} == set(row.labels), name


# Permitted readers


def test_if_there_are_keys_metrics_need_a_key_without_limits(upstream):
    keys = [{"name": "ops", "key": "key-ops"}, {"name": "team", "key": "key-team", "models": ["m"]}]
    with gateway_thread(config([provider("openai/m", upstream.url, ["chat"])], client_keys=keys)) as gateway:
        assert gateway.request("GET", "/metrics").status == 401
        limited = gateway.request("GET", "/metrics", headers={"x-api-key": "key-team"})
        assert limited.status == 403
        assert "models" in limited.json["error"]["message"]
        upstream.script(ANSWER)
        body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
        gateway.request("POST", "/v1/chat/completions", body, {"x-api-key": "key-team"})
        eventually(lambda: numbers(gateway, **{"x-api-key": "key-ops"})("trigate_tokens_total", client="team") > 0)
        now = numbers(gateway, **{"x-api-key": "key-ops"})
        assert now("trigate_exchanges_total", client="team", ended="complete") == 1
        assert now("trigate_tokens_total", client="team", kind="output") == 9


def test_metrics_can_be_open_to_all(upstream):
    keys = [{"name": "ops", "key": "key-ops"}]
    settings = config([provider("openai/m", upstream.url)], client_keys=keys, metrics={"open": True})
    with gateway_thread(settings) as gateway:
        assert numbers(gateway)("trigate_workers") == 1
        assert gateway.request("GET", "/nowhere").status == 401


def test_metrics_can_be_switched_off(upstream):
    with gateway_thread(config([provider("openai/m", upstream.url)], metrics=False)) as gateway:
        assert gateway.request("GET", "/metrics").status == 404


@pytest.mark.parametrize(("given", "said"), [("on", "true, false or a mapping"), ({"opn": True}, "did you mean open?")])
def test_a_mistake_in_the_settings_of_metrics_is_reported(given, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        from_mapping(config([provider("openai/m", "http://x")], 1, metrics=given))


def test_a_new_configuration_adds_labels(upstream):
    old, new = (config([provider(f"openai/{name}", upstream.url)], 1) for name in ("old", "new"))
    metrics = open_metrics(from_mapping(old))
    assert isinstance(metrics, Metrics)
    assert metrics.target_labels("openai/new") == ("openai", "other")
    metrics.permit_names(from_mapping(new))
    assert metrics.target_labels("openai/new") == ("openai", "new")
    assert metrics.target_labels("openai/old") == ("openai", "old")
    assert metrics.target_labels(None) == ("none", "none")


# Several workers


@pytest.mark.process
def test_numbers_of_workers_add_up_and_outlive_them(upstream):
    port = free_port()
    settings = config([provider("openai/m", upstream.url, ["chat"])], port)
    with running(settings, port, "--workers", "2") as gateway:
        crew = eventually(lambda: len(found := workers(gateway.pid)) == 2 and found)
        eventually(lambda: numbers(gateway)("trigate_workers") == 2)
        upstream.script(*[ANSWER] * 30)
        for _ in range(30):
            assert ask(gateway, "chat", "m") == 200
        reaching(gateway, 30, "trigate_exchanges_total", ended="complete")
        pages = [numbers(gateway) for _ in range(4)]
        assert {page("trigate_exchanges_total", ended="complete") for page in pages} == {30}
        assert pages[-1]("trigate_tokens_total", kind="output") == 30 * 9
        before = numbers(gateway).counters
        victim = min(crew)
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: not is_running(victim))
        eventually(lambda: len(workers(gateway.pid)) == 2 and numbers(gateway)("trigate_workers") == 2, START_SECONDS)
        after = numbers(gateway)
        assert {
            key: after.counters.get(key) for key, value in before.items() if (after.counters.get(key) or 0) < value
        } == {}
        assert after("trigate_exchanges_total", ended="complete") == 30
        assert after("trigate_exchanges_in_flight") == 0


@pytest.mark.process
@pytest.mark.soak
@pytest.mark.parametrize("count", ["1", "2"])
def test_one_store_is_measured_once_however_many_workers_share_it(upstream, tmp_path, count):
    file, port = tmp_path / "state.sqlite", free_port()
    size = trio.run(_fill, file)
    kept = {"type": "sqlite", "path": str(file), "max_bytes": 2_000_000}
    settings = config([provider("openai/m", upstream.url, ["chat"])], port, state_storage=kept)
    with running(settings, port, "--workers", count) as gateway:
        eventually(lambda: numbers(gateway)("trigate_workers") == int(count))
        now = reaching(gateway, 7, "trigate_store_entries")
        eventually(lambda: numbers(gateway)("trigate_event_loop_lag_seconds_count") >= 2 * int(count))
        assert numbers(gateway)("trigate_store_entries") == 7
        assert now("trigate_store_bytes") == size.bytes
        assert now("trigate_store_limit_bytes") == 2_000_000


async def _fill(file: Path) -> Size:
    store = sqlite_store(file, 3600, None)
    await store.put([Node(f"n{i}", "", "response", b"{}") for i in range(7)])
    size = await store.size()
    await store.aclose()
    return size


@pytest.mark.process
@pytest.mark.parametrize("count", ["1", pytest.param("2", marks=pytest.mark.soak)])
def test_reloads_are_counted_once_for_all_workers(upstream, tmp_path, count):
    port, file = free_port(), tmp_path / "trigate.yaml"
    settings = config([provider("openai/m", upstream.url, ["chat"])], port)
    file.write_text(yaml.safe_dump(settings))
    with running(file, port, "--workers", count) as gateway:
        assert numbers(gateway)("trigate_config_reloads_total") == 0
        os.kill(gateway.pid, signal.SIGHUP)
        reaching(gateway, 1, "trigate_config_reloads_total", result="accepted")
        file.write_text("version: 7")
        os.kill(gateway.pid, signal.SIGHUP)
        now = reaching(gateway, 1, "trigate_config_reloads_total", result="refused")
        assert now("trigate_config_reloads_total", result="accepted") == 1


WORKER = """
import os, sys
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
registry = CollectorRegistry()
Counter("c_total", "c", ["a"], registry=registry).labels("x").inc(int(sys.argv[1]))
Histogram("h", "h", registry=registry, buckets=(1, 2)).observe(float(sys.argv[1]))
Gauge("g", "g", registry=registry, multiprocess_mode="livesum").set(1)
print(os.getpid())
"""


@pytest.mark.process
def test_the_metrics_of_dead_workers_are_added_up_in_one_file_for_each_kind(tmp_path):
    def python(code: str, *args: str) -> str:
        env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        return subprocess.run(
            [sys.executable, "-c", code, *args], env=env, check=True, capture_output=True, text=True
        ).stdout

    for count in (1, 2, 3):
        merge_dead_worker(tmp_path, int(python(WORKER, str(count))))
    merge_dead_worker(tmp_path, 999_999_999)  # a worker that has counted nothing
    python(WORKER, "5")
    for kind in ("counter", "gauge_livesum", "histogram"):  # one worker was killed before it began, another one begins
        (tmp_path / f"{kind}_7.db").touch()
        (tmp_path / f"{kind}_8.db").touch()
    merge_dead_worker(tmp_path, 7)
    registry = CollectorRegistry()
    registry.register(WorkersCollector(tmp_path))
    now = Numbers(generate_latest(registry).decode())
    assert now("c_total", a="x") == 11
    assert (now("h_count"), now("h_sum")) == (4, 11)
    assert now("h_bucket", le="2.0") == 2
    assert now("g") == 1
    assert len(list(tmp_path.glob("*.db"))) == 8  # two files of dead workers, and three of each living one


ON_A_FULL_DISK = """
import os, pathlib, sys
from gateway.features.metrics import rows
from gateway.features.metrics.registry import Registry
from gateway.features.metrics.shared_metrics import SharedFolder

def fill():
    with open(folder / "filler", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass

folder = pathlib.Path(sys.argv[1])
if sys.argv[2] == "at the start":
    fill()
registry = Registry(folder)
reloads = registry.metrics[rows.RELOADS]
if sys.argv[2] == "later":
    fill()
for number in range(600):
    reloads.labels(str(number)).inc()
SharedFolder(folder).note_reload(True)
SharedFolder(folder).note_dead_worker(os.getpid() + 1)
(folder / "filler").unlink()
for number in range(600):
    reloads.labels(str(number)).inc()
print(registry.page().count(b"trigate_config_reloads_total{"))
"""


@pytest.mark.process
@pytest.mark.skipif(not may_unshare("--mount"), reason="needs unshare and the right to make a mount namespace")
@pytest.mark.skipif(shutil.which("mount") is None, reason="needs mount")
@pytest.mark.parametrize("when", ["at the start", "later"])
def test_a_full_disk_ends_no_worker(when, tmp_path):
    """The kernel killed the workers and their supervisor (SIGBUS), because their files had no space of their own."""
    mount = f'mount -t tmpfs -o size=500k tmpfs {tmp_path} && exec {sys.executable} -c "$0" {tmp_path} "$1"'
    found = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, ON_A_FULL_DISK, when],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert (found.returncode, found.stdout.split()) == (0, [str(600 * (when == "later"))]), found.stderr


@pytest.mark.soak
@pytest.mark.process
def test_no_dead_worker_is_merged_during_a_count(tmp_path):
    merging = "import sys, pathlib; from gateway.features.metrics.shared_metrics import merge_dead_worker; "
    merging += "print(flush=True); "
    merging += "merge_dead_worker(pathlib.Path(sys.argv[1]), 1)"
    (tmp_path / "gauge_livesum_1.db").write_bytes(b"")
    with whole(tmp_path):
        process = subprocess.Popen([sys.executable, "-c", merging, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
        process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        assert (tmp_path / "gauge_livesum_1.db").exists()
    assert process.wait(30) == 0
    process.stdout.close()
    assert not (tmp_path / "gauge_livesum_1.db").exists()


# Single parts


async def test_lag_is_the_delay_of_a_scheduled_task(mock_clock):
    seen: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_lag, seen.append)
        for jump in (0.5, 0.75, 2.0):
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(jump)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert seen == pytest.approx([0, 0.25, 1.5])


def test_without_state_no_store_metrics_appear(upstream):
    settings = config([provider("openai/m", upstream.url)], state_storage={"type": "none"})
    with gateway_thread(settings) as gateway:
        now = eventually(lambda: (now := numbers(gateway))("trigate_event_loop_lag_seconds_count") >= 1 and now)
        assert [now(f"trigate_store_{name}") for name in ("entries", "bytes", "limit_bytes")] == [0, 0, 0]


async def test_the_store_is_measured_regularly_and_its_last_size_stays_while_it_is_unavailable(mock_clock):
    class Away(MemoryStore):
        away = False

        async def size(self) -> Size:
            if self.away:
                raise Unavailable("the state storage does not respond")
            return await super().size()

    metrics, store = Metrics(), Away(3600, 10_000)
    seen = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_store, store, metrics, 10)
        for turn, away in enumerate((False, False, True, False)):
            await trio.testing.wait_all_tasks_blocked()
            seen.append(Numbers(page_of(metrics))("trigate_store_entries"))
            await store.put([Node(f"n{turn}", "", "response", b"{}")])
            store.away = away
            mock_clock.jump(10)
        await trio.testing.wait_all_tasks_blocked()
        seen.append(Numbers(page_of(metrics))("trigate_store_entries"))
        nursery.cancel_scope.cancel()
    assert seen == [0, 1, 2, 2, 4]


# Attempts


def routing_metrics() -> tuple[Metrics, Ledger]:
    """Return the metrics of a gateway with three entries, and its ledger."""
    named = [provider(f"{one}/m", "http://x", name=name) for one, name in (("openai", "a"), ("mistral", "b"))]
    entries = [*named, provider("groq/*", "http://x")]
    return observed_metrics(config(entries, 1, model_aliases={"best": {"targets": ["a", "b"]}}))


def attempt(target: str, reason: Any = "ok", cause: Any = "first", provider: str = "openai") -> AttemptRecord:
    return AttemptRecord(target, provider, "chat", "byte", reason, cause)


def settle(
    ledger: Ledger,
    *tried: AttemptRecord,
    attempts: int = 0,
    route: str | None = "best",
    waited: float = 0.0,
    usage: Usage | None = None,
) -> None:
    record = ledger.open("id", "chat")
    record.target, record.lane, record.attempts = f"{tried[-1].provider}/m", "byte", attempts or len(tried)
    record.bill.attempt_records, record.route, record.waited, record.bill.usage = tried, route, waited, usage
    ledger.settle(record, disconnected=False)


def test_attempts_are_counted_at_their_targets_and_providers():
    """Operators could not see fallbacks: BerriAI/litellm#25503, BerriAI/litellm#28241."""
    metrics, ledger = routing_metrics()
    second = attempt("b", cause="fallback", provider="mistral")
    settle(ledger, attempt("a", "overloaded"), second, waited=0.2)
    settle(ledger, attempt("a", "connection"), attempt("b", "quota", "fallback", "mistral"))
    settle(ledger, attempt("a"), attempts=2, route=None)  # the second attempt follows a closed connection
    now = Numbers(page_of(metrics))
    for target, reason in [("a", "overloaded"), ("a", "connection"), ("a", "ok"), ("b", "ok"), ("b", "quota")]:
        assert now("trigate_target_attempts_total", target=target, reason=reason) == 1
    assert now("trigate_upstream_attempts_total", provider="openai") == 4
    assert now("trigate_upstream_retries_total", provider="openai") == 1
    assert now("trigate_upstream_attempts_total", provider="mistral") == 2
    assert now("trigate_upstream_retries_total", provider="mistral") == 2
    assert now("trigate_fallbacks_total", route="best", answered="yes") == 1
    assert now("trigate_fallbacks_total", route="best", answered="no") == 1
    assert now("trigate_attempt_wait_seconds_sum", route="best") == pytest.approx(0.2)
    assert now("trigate_attempt_wait_seconds_count") == 1


@pytest.mark.parametrize(("first", "second", "won"), [("hedge_lost", "ok", "yes"), ("ok", "hedge_lost", "no")])
def test_a_hedge_is_won_or_lost_and_is_no_fallback(first, second, won):
    metrics, ledger = routing_metrics()
    settle(ledger, attempt("a", first), attempt("b", second, "hedge", "mistral"))
    now = Numbers(page_of(metrics))
    assert now("trigate_hedges_total", route="best", won=won) == 1
    assert now("trigate_hedges_total") == 1
    assert now("trigate_fallbacks_total") == 0


def test_unconfigured_targets_and_routes_are_no_labels():
    metrics, ledger = routing_metrics()
    settle(ledger, attempt("made-up", "gone"), attempt("groq/any", cause="fallback", provider="gone"), route="made-up")
    now = Numbers(page_of(metrics))
    assert now("trigate_target_attempts_total", target="other") == 2
    assert now("trigate_fallbacks_total", route="none", answered="yes") == 1
    assert now("trigate_upstream_attempts_total", provider="other") == 1
    assert "made-up" not in page_of(metrics)


def test_turns_of_conversations_are_counted_by_route_and_cache_result():
    """The metric has the reason if the cache was missed: tinfoilsh/confidential-model-router#403."""
    metrics, _ = routing_metrics()
    landings = Counter({("best", "hit"): 3, ("best", "overloaded"): 1, ("of-long-ago", "new"): 2})
    metrics.count_landings(landings)
    metrics.count_landings(landings)
    now = Numbers(page_of(metrics))
    assert now("trigate_sticky_turns_total", route="best", landed="hit") == 3
    assert now("trigate_sticky_turns_total", route="best", landed="overloaded") == 1
    assert now("trigate_sticky_turns_total", route="none", landed="new") == 2


def test_cost_is_counted_by_attempt_with_its_grade_and_tokens_without_a_price_apart():
    """A gateway reported 26.74 dollars, and the bill was 770 (BerriAI/litellm#12313)."""
    metrics, ledger = routing_metrics()
    priced = Price(input=10**9, output=10**10)
    usage = Usage(input=1_000_000, output=1_000)
    lost = attrs.evolve(attempt("b", "hedge_lost", provider="mistral"), usage=usage, model="mistral/m", price=priced)
    settle(ledger, attrs.evolve(attempt("a"), committed=True, model="openai/m", price=priced), lost, usage=usage)
    settle(ledger, attrs.evolve(attempt("a"), committed=True, model="openai/m"), usage=usage)
    now = Numbers(page_of(metrics))
    assert now("trigate_cost_dollars_total", target="a", grade="exact", client="none") == pytest.approx(1.01)
    assert now("trigate_cost_dollars_total", target="b", grade="estimated") == pytest.approx(1.01)
    assert now("trigate_cost_dollars_total") == pytest.approx(2.02)
    assert now("trigate_unpriced_total", provider="openai", target="a") == 1
    assert now("trigate_unpriced_total") == 1


async def test_limit_shares_are_current_and_removed_limits_are_zero():
    metrics, _ = routing_metrics()
    await metrics.report_limits({(BUDGET_USED, "client_keys", "alice", "20 usd/day"): 0.8})
    await metrics.report_limits({(LIMIT_USED, "model_providers", "a", "concurrent"): 0.5})
    now = Numbers(page_of(metrics))
    assert now("trigate_budget_used_ratio", holder_kind="client_keys", holder="alice", budget="20 usd/day") == 0
    assert now("trigate_limit_used_ratio", holder_kind="model_providers", holder="a", limit="concurrent") == 0.5


def test_requests_in_queues_are_counted_at_their_entry_while_they_wait():
    metrics, _ = routing_metrics()
    metrics.report_queues({"a": 3, "of-long-ago": 1})
    now = Numbers(page_of(metrics))
    assert now("trigate_limit_queued", entry="a") == now("trigate_limit_queued") == 3
    metrics.report_queues({})
    assert Numbers(page_of(metrics))("trigate_limit_queued", entry="a") == 0


def test_refusals_are_counted_by_their_holder():
    metrics, _ = routing_metrics()
    refusals = Counter({(Holder("client_keys", "alice"), "budgets"): 2, (Holder("model_providers", "a"), "tokens"): 1})
    metrics.count_refusals(refusals)
    metrics.count_refusals(refusals)
    now = Numbers(page_of(metrics))
    assert now("trigate_limit_refusals_total", holder_kind="client_keys", holder="alice", limit="budgets") == 2
    assert now("trigate_limit_refusals_total", holder_kind="model_providers", holder="a", limit="tokens") == 1


# Shipped dashboards and alerts


FILES = [ROOT / "deploy/grafana/trigate.json", ROOT / "deploy/prometheus/alerts.yaml"]
NAMES = {row.name: set(row.labels) for row in ROWS if row.kind != "histogram"}
for row in ROWS:
    if row.kind == "histogram":
        NAMES |= {f"{row.name}_{part}": {*row.labels, "le"} for part in ("bucket", "sum", "count")}


def queries(file: Path) -> list[str]:
    if file.suffix == ".json":
        live_view = json.loads(file.read_text())
        asked = [target["expr"] for panel in live_view["panels"] for target in panel.get("targets", [])]
        return [*asked, *(one["definition"] for one in live_view["templating"]["list"] if "definition" in one)]
    return [rule["expr"] for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_queries_use_existing_metrics_and_labels(file):
    assert len(queries(file)) > 5
    for query in queries(file):
        found = re.findall(r"(trigate_\w+)(?:\{([^}]*)\})?", query)
        assert found
        known: set[str] = set()
        for name, matchers in found:
            assert name in NAMES, query
            known |= NAMES[name]
            assert set(re.findall(r"(\w+)\s*[=!]~?", matchers)) <= NAMES[name], query
        grouped = {word.strip() for group in re.findall(r"\bby \(([^)]*)\)", query) for word in group.split(",")}
        assert grouped <= known, query


def test_every_alert_is_explained():
    page = (ROOT / "docs/operating.md").read_text()
    rules = [rule["alert"] for group in yaml.safe_load(FILES[1].read_text())["groups"] for rule in group["rules"]]
    assert re.findall(r"^\| `(Trigate\w+)` \|", page, re.M) == rules


def test_every_metric_is_on_the_dashboard():
    shown = " ".join(queries(FILES[0]))
    assert [row.name for row in ROWS if row.name not in shown and row.name != "trigate_build_info"] == []


def test_the_page_of_metrics_matches_the_code():
    text = metrics_table.PAGE.read_text()
    assert metrics_table.page(text) == text, "run: python -m tests.pages.metrics"
    labels = dict(rows_of(text, "Labels"))
    assert set(labels) == {label for row in ROWS for label in row.labels}
    for label, words in (("error", ErrorKind), ("reason", FailureReason)):
        assert [word for word in get_args(words) if f"`{word}`" not in labels[label]] == []
