"""All targets of a model name fail under constant load: how many requests clients send, and how many reach targets."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest

from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Reply, config, eventually, provider
from tests.support.upstreams import JSON, PATHS, Raw, Script, Seen, Upstream, render, serve_upstream

BROKEN = Raw(500, JSON, (b'{"error": {"type": "api_error", "message": "broke"}}',))
OFFERED, AT_ONCE = 150, 12


class FailingUpstream(Upstream):
    """Providers that fail while ``away`` is set, except for every ``but_for``-th request.

    ``sent`` has the number of requests that each target received."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.away = True
        self.but_for = 0
        self.sent: Counter[str] = Counter()
        self._lock = threading.Lock()

    def answer(self, seen: Seen) -> Raw:
        with self._lock:
            self.sent[seen.json["model"]] += 1
            well = not self.away or (self.but_for and self.sent.total() % self.but_for == 0)
        return render(Script(text="ok"), "chat", seen.json) if well else BROKEN


@attrs.frozen
class Stage:
    gateway: Gateway
    upstream: FailingUpstream

    def ask(self, name: str = "best") -> Reply:
        body = {"model": name, "messages": [{"role": "user", "content": "Hello"}]}
        return self.gateway.request("POST", PATHS["chat"], body)

    def load(self, name: str) -> list[Reply]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda _: self.ask(name), range(OFFERED)))


@pytest.fixture
def stage() -> Iterator[Stage]:
    with serve_upstream(FailingUpstream) as upstream:
        url = f"{upstream.url}/v1"
        entries = [provider(f"openai/{one}", url, ["chat"], name=one, key=f"sk-{one}") for one in "abc"]
        never = {"failures": 1_000_000, "error_rate": "100%"}
        entries += [
            provider(f"groq/{one}", url, ["chat"], name=one, key=f"sk-{one}", circuit=never)
            for one in ("bare-a", "bare-b")
        ]
        aliases = {"best": {"targets": [["a", "b"], "c"]}, "bare": {"targets": ["bare-a", "bare-b"]}}
        circuit = {"cooldown": "500ms", "longest": "500ms"}
        with gateway_thread(config(entries, model_aliases=aliases, circuit=circuit)) as gateway:
            yield Stage(gateway, upstream)


def test_unavailable_targets_get_no_requests_and_clients_get_a_retry_after(stage):
    """The client's retries multiply with the gateway's: openai/codex#30471, bman654/clodex#81."""
    began = time.monotonic()
    replies = stage.load("best")
    took = time.monotonic() - began
    assert {reply.status for reply in replies} <= {500, 502, 503}
    refused = [reply for reply in replies if reply.headers["x-trigate-attempts"] == "0"]
    assert len(refused) > OFFERED / 2
    assert {(reply.status, int(reply.headers["retry-after"]) <= 1) for reply in refused} == {(503, True)}
    # 4 attempts each would be 600. Each of the 3 targets gets a few failures, then one trial every half second.
    assert sum(stage.upstream.sent.values()) < OFFERED / 2 + 3 * took / 0.5
    stage.upstream.away = False
    eventually(lambda: stage.ask().status == 200, 5)
    assert [stage.ask().status for _ in range(20)] == [200] * 20


def test_the_retry_budget_limits_retries_when_every_target_fails(stage):
    """Retries may be a fifth of the clients' requests, plus three a second: ray-project/ray#64399."""
    stage.upstream.but_for = 3
    replies = stage.load("bare")
    assert {reply.status for reply in replies} <= {200, 500, 502}
    sent = sum(stage.upstream.sent.values())
    assert OFFERED <= sent <= 1.2 * OFFERED + 30
    assert all(count <= 4 for count in Counter(map(attempts, replies)))


def attempts(reply: Reply) -> int:
    return int(reply.headers["x-trigate-attempts"])
