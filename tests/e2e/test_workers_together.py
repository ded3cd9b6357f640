"""``serve --workers``: what one worker learns of a target holds for all of them, and vanishes with none."""

import contextlib
import http.client
import json
import os
import random
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import pytest

from gateway.shared.layout import AMOUNT, FINGERPRINT, GROUP, JOURNAL, KEYS, Layout, seats_of
from tests.support.harness import PATIENCE, START_SECONDS, Gateway, config, eventually, free_port, provider, running
from tests.support.processes import holder, workers
from tests.support.upstreams import STREAM, Raw, Script, Seen, Upstream, render, serve_upstream

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in Linux's /proc"),
]

WORKERS = 3
TESTS = ("broken", "counted", "told", "replaced", "reloaded", "due", "pinned", "open", "ends")
"""Each has targets of its own: ``one-NAME`` and ``two-NAME``."""
BROKEN = Raw(500, (("content-type", "application/json"),), (b'{"error": {"message": "broken"}}',))
JSON = {"content-type": "application/json"}
LATER = (b'{"error": {"message": "later"}}',)
BUSY = Raw(429, (("content-type", "application/json"), ("retry-after", "40")), LATER)
BUSY_FOR_NOW = Raw(429, (("content-type", "application/json"), ("retry-after", "2")), LATER)
CUT = Raw(200, STREAM, (b"data: {",), "cut")
EMPTY = Raw(200, (("content-type", "application/json"),), (b"{}",))
WELL = Script("Hello")


class Provider(Upstream):
    """Answers all requests alike, as it is told."""

    now: Script | Raw | None = WELL
    """``None`` begins an answer and does not end it."""

    def take(self, seen: Seen) -> Script | Raw:
        self.seen.append(seen)
        return self.now or attrs.evolve(whole := render(WELL, "chat", seen.json), pieces=whole.pieces[:-2], end="hang")

    @property
    def asked(self) -> int:
        return len(self.seen)


def body(model: str, **more: Any) -> str:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}], **more})


@attrs.frozen
class Client:
    """A connection that one worker holds."""

    worker: int
    connection: http.client.HTTPConnection

    def get(self, path: str) -> Any:
        return self._ask("GET", path)

    def ask(self, model: str, session: str = "") -> Any:
        return self._ask(
            "POST", "/v1/chat/completions", body(model), {"x-session-affinity": session} if session else {}
        )

    def hold(self, model: str) -> None:
        """Begin a stream that does not end."""
        self.connection.request("POST", "/v1/chat/completions", body(model, stream=True), JSON)
        assert self.connection.getresponse().read1()

    def states(self, name: str) -> list[str]:
        """Where the two targets of a test stand, as this worker knows it."""
        found = {one["target"]: one["state"] for one in self.get("/readyz?verbose")[1]["targets"]}
        return [found[f"one-{name}"], found[f"two-{name}"]]

    def _ask(self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None) -> Any:
        self.connection.request(method, path, body, {**JSON, **(headers or {})})
        with self.connection.getresponse() as response:
            return response.status, json.loads(response.read())


@attrs.frozen
class Crew:
    """A supervisor with its workers, and the providers of its targets."""

    gateway: Gateway
    one: Provider
    two: Provider
    connections: contextlib.ExitStack

    def workers(self) -> set[int]:
        return workers(self.gateway.pid)

    def open_answers(self) -> int:
        """All that workers have counted and not counted down, as it stands in their memory."""
        folder = Path(f"/proc/{self.gateway.pid}/fd")
        sizes = {path: path.stat().st_size for path in folder.iterdir() if "memfd" in os.readlink(path)}
        memory = max(sizes, key=lambda path: sizes[path]).read_bytes()
        layout = Layout(seats_of(memory[:FINGERPRINT]))
        row, held = layout.amount_words, 0
        for group in range(sum(layout.amount_rows.values()) // GROUP):
            first = layout.amounts + JOURNAL + group * layout.amount_group + KEYS
            words = memoryview(memory[first : first + GROUP * row * 8]).cast("Q")
            held += sum(sum(words[start + AMOUNT : start + row]) for start in range(0, len(words), row))
        return held

    def clients(self) -> list[Client]:
        """A connection to each worker."""
        found: dict[int, Client] = {}

        def all_met() -> bool:
            client = self.connect()
            if client is not None:
                found.setdefault(client.worker, client)
            return len(found) == WORKERS and set(found) == self.workers()

        eventually(all_met, START_SECONDS, "a connection to each worker")
        return list(found.values())

    def another(self, client: Client) -> Client:
        """One more connection to the same worker."""

        def to_the_same() -> Client | None:
            found = self.connect()
            return found if found is not None and found.worker == client.worker else None

        found: Client = eventually(to_the_same, what="a connection to that worker")
        return found

    def connect(self) -> Client | None:
        """A connection to any of them that is there."""
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=PATIENCE)
        self.connections.callback(connection.close)
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        near = connection.sock.getsockname()[1]
        worker = holder(self.workers(), self.gateway.port, near)
        return None if worker is None else Client(worker, connection)


@pytest.fixture(scope="module")
def started() -> Iterator[Crew]:
    port = free_port()
    with contextlib.ExitStack() as stack:
        one, two = (stack.enter_context(serve_upstream(Provider)) for _ in range(2))
        entries, aliases = [], {}
        for name in TESTS:
            entries.append(provider(f"x/{name}", one.url, name=f"one-{name}"))
            entries.append(provider(f"x/{name}", two.url, name=f"two-{name}"))
            aliases[name] = {"targets": [f"one-{name}", f"two-{name}"], "retries": {"attempts": 2}}
        aliases["pinned"] = {"targets": [["one-pinned", "two-pinned"]]}
        aliases["open"] = {"targets": [["one-open", "two-open"]], "sticky": False}
        more = {"model_aliases": aliases, "circuit": {"failures": 5, "cooldown": "5m", "longest": "5m"}}
        gateway = stack.enter_context(running(config(entries, port, **more), port, "--workers", str(WORKERS)))
        yield Crew(gateway, one, two, stack)
    assert "Traceback" not in "\n".join(gateway.log)


@pytest.fixture
def crew(started) -> Iterator[Crew]:
    """The supervisor, while both providers are well and have not been asked."""
    for one in (started.one, started.two):
        one.now = WELL
        one.seen.clear()
    with contextlib.ExitStack() as connections:
        yield attrs.evolve(started, connections=connections)


@pytest.mark.soak
def test_a_target_that_broke_for_one_worker_is_out_for_all(crew):
    """Counters of several processes each let through as much as one was to (BerriAI/litellm#16011)."""
    clients = crew.clients()
    crew.one.now = BROKEN
    for _ in range(5):
        assert clients[0].ask("broken")[0] == 200
    assert (crew.one.asked, crew.two.asked) == (5, 5)
    for client in clients:
        assert client.ask("broken")[0] == 200
        assert client.states("broken") == ["out", "in"]
    assert (crew.one.asked, crew.two.asked) == (5, 8)


def test_failures_in_a_row_are_counted_over_all_workers(crew):
    clients = crew.clients()
    crew.one.now = BROKEN
    for number in range(5):
        clients[number % WORKERS].ask("counted")
    assert [client.states("counted")[0] for client in clients] == ["out"] * WORKERS


def test_a_stated_wait_applies_to_all_requests(crew):
    clients = crew.clients()
    crew.one.now = BUSY
    for client in (clients[0], *clients):
        assert client.ask("told")[0] == 200
    assert (crew.one.asked, crew.two.asked) == (1, 4)


@pytest.mark.soak
def test_a_worker_that_replaces_a_dead_one_knows_what_is_out(crew):
    crew.one.now = BUSY
    clients = crew.clients()
    clients[0].ask("replaced")
    os.kill(clients[0].worker, signal.SIGKILL)
    eventually(lambda: clients[0].worker not in crew.workers(), what="the end of a worker")
    again = crew.clients()
    assert {client.worker for client in clients} != {client.worker for client in again}
    for client in again:
        assert client.ask("replaced")[0] == 200
    assert crew.one.asked == 1


@pytest.mark.soak
def test_a_reload_keeps_what_is_out(crew):
    crew.one.now = BUSY
    clients = crew.clients()
    clients[0].ask("reloaded")
    os.kill(crew.gateway.pid, signal.SIGHUP)
    eventually(lambda: any("the configuration was reloaded" in line for line in crew.gateway.log), what="the reload")
    for client in clients:
        assert client.ask("reloaded")[0] == 200
        assert client.states("reloaded") == ["out", "in"]
    assert crew.one.asked == 1


def test_only_one_request_of_all_workers_waits_for_a_due_target(crew):
    """While all targets are out, further requests would only make the outage longer (BerriAI/litellm#3646)."""
    clients = crew.clients()
    several = [crew.another(client) for client in clients * 2]
    crew.one.now = crew.two.now = BUSY_FOR_NOW
    assert clients[0].ask("due")[0] == 429
    crew.one.now = crew.two.now = WELL
    with ThreadPoolExecutor(len(several)) as threads:
        statuses = sorted(status for status, _ in threads.map(lambda client: client.ask("due"), several))
    assert statuses == [200, 429, 429, 429, 429, 429]
    assert crew.one.asked + crew.two.asked == 3
    assert [client.states("due")[0] for client in clients] == ["in"] * WORKERS


def test_a_conversation_stays_with_its_member_whichever_worker_has_its_turns(crew):
    """A third of the turns found their prompt in the cache otherwise (agentgateway/agentgateway#2572)."""
    clients, seen = crew.clients(), set()
    for number in range(64):
        if number >= 8 and len(seen) == 2:  # which of the two is left to chance for each
            break
        before = crew.one.asked, crew.two.asked
        for client in clients * 2:
            assert client.ask("pinned", session=f"session {number}")[0] == 200
        seen.add((crew.one.asked - before[0], crew.two.asked - before[1]))
    assert seen == {(6, 0), (0, 6)}


def test_open_answers_are_those_of_all_workers_and_go_with_the_one_that_is_killed(crew):
    """Slots of processes that were killed stayed taken until the store was flushed (BerriAI/litellm#20256)."""
    crew.one.now = crew.two.now = None
    killed, other, third = crew.clients()
    for _ in range(4):
        crew.another(killed).hold("two-open")
    for client in (other, third) * 2:
        crew.another(client).hold("open")
    assert (crew.one.asked, crew.two.asked) == (4, 4)
    os.kill(killed.worker, signal.SIGKILL)
    eventually(lambda: killed.worker not in crew.workers(), what="the end of a worker")
    eventually(lambda: crew.open_answers() == 4, what="the end of its open answers")
    for client in (other, third) * 2:
        crew.another(client).hold("open")
    assert (crew.one.asked, crew.two.asked) == (4, 8)


@pytest.mark.soak
def test_after_answers_that_ended_in_every_way_none_is_counted(crew):
    """Keys stayed locked after time-outs and aborted streams (BerriAI/litellm#20256, #1477)."""
    ways, chance = (WELL, BROKEN, CUT, EMPTY, None), random.Random(5)

    def ask(number: int) -> None:
        crew.one.now = chance.choice(ways)
        connection = http.client.HTTPConnection("127.0.0.1", crew.gateway.port, timeout=0.2)
        with contextlib.closing(connection), contextlib.suppress(http.client.HTTPException, OSError):
            connection.request("POST", "/v1/chat/completions", body("one-ends", stream=number % 2 == 0), JSON)
            connection.getresponse().read(number % 500)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(100)))
    assert crew.one.asked > 50
    eventually(lambda: crew.open_answers() == 0, what="the end of all answers")
