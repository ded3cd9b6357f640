"""An entry's queue over several workers: fair, in order, and nobody starves."""

import contextlib
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support import redis
from tests.support.harness import Gateway, config, free_port, provider, running
from tests.support.upstreams import Raw, Script, Seen, Upstream, render, serve_upstream

pytestmark = [pytest.mark.process, pytest.mark.soak]

CLIENTS = 12
ROUNDS = 6


class Slow(Upstream):
    """Answers in the time that a place is taken for."""

    def take(self, seen: Seen) -> Raw:
        time.sleep(0.01)
        return render(Script("Hello"), "chat", seen.json)


class Looping:
    """A client that sends its next request when it has its answer."""

    def __init__(self, number: int) -> None:
        self.headers = {"authorization": f"Bearer {_key(number)}", "content-type": "application/json"}
        self.statuses: Counter[int] = Counter()
        self.longest = 0.0

    def run(self, gateway: Gateway) -> None:
        body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]})
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)) as connection:
            for _ in range(ROUNDS):  # over one connection, and so at one worker
                began = time.monotonic()
                connection.request("POST", "/v1/chat/completions", body, self.headers)
                response = connection.getresponse()
                response.read()
                self.statuses[response.status] += 1
                self.longest = max(self.longest, time.monotonic() - began)


@pytest.fixture
def server() -> Iterator[redis.RedisServer]:
    with redis.server_or_skip() as started:
        yield started


def _key(number: int) -> str:
    return f"{number:02}" * 20


@pytest.mark.parametrize(("workers", "counters"), [(1, "memory"), (2, "memory"), (2, "redis")])
def test_looping_clients_are_all_served_in_turn(workers, counters, request):
    """With two workers 8 to 20 requests were refused and one waited for ten seconds; with one worker none."""
    port = free_port()
    limits = {"ratelimits": {"concurrent": 1}, "queue": {"size": 64, "wait": "5s"}}
    with serve_upstream(Slow) as upstream:
        entry = provider("openai/gpt-4o-mini", upstream.url, ["chat"], **limits)
        keys = [{"name": f"c{number}", "key": _key(number)} for number in range(CLIENTS)]
        counting = {"type": "redis", "url": request.getfixturevalue("server").url} if counters == "redis" else {}
        given = config([entry], port, client_keys=keys, **({"counters": counting} if counting else {}))
        with running(given, port, "--workers", str(workers)) as gateway:
            clients = [Looping(number) for number in range(CLIENTS)]
            began = time.monotonic()
            threads = [threading.Thread(target=client.run, args=(gateway,)) for client in clients]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            turn = (time.monotonic() - began) / ROUNDS
    assert [client.statuses for client in clients] == [Counter({200: ROUNDS})] * CLIENTS
    assert max(client.longest for client in clients) < 4 * turn, "about as long as each of the others has its turn"
