"""``serve --workers``: what one worker learns of a target holds for all of them."""

import contextlib
import http.client
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.support.harness import PATIENCE, START_SECONDS, Gateway, config, eventually, free_port, provider, running
from tests.support.processes import holder, workers
from tests.support.upstreams import Raw, Script, Seen, Upstream, serve_upstream

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in Linux's /proc"),
]

WORKERS = 3
TESTS = ("counted", "told", "due", "pinned")
"""Each has targets of its own: ``one-NAME`` and ``two-NAME``."""
BROKEN = Raw(500, (("content-type", "application/json"),), (b'{"error": {"message": "broken"}}',))
JSON = {"content-type": "application/json"}
LATER = (b'{"error": {"message": "later"}}',)
BUSY = Raw(429, (("content-type", "application/json"), ("retry-after", "40")), LATER)
BUSY_FOR_NOW = Raw(429, (("content-type", "application/json"), ("retry-after", "2")), LATER)
WELL = Script("Hello")


class Provider(Upstream):
    """Answers all requests alike, as it is told."""

    now: Script | Raw = WELL

    def take(self, seen: Seen) -> Script | Raw:
        self.seen.append(seen)
        return self.now

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
