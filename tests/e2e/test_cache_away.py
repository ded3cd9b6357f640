"""Cached answers in Redis whose connections are lost under load: a miss, and never an error."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from tests.support import redis
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Reply, config, exchanges, provider
from tests.support.upstreams import Raw, Script, Seen, Upstream, render, serve_upstream

pytestmark = [
    pytest.mark.server,
    # coredis leaves the channels of a broken connection open
    pytest.mark.filterwarnings("ignore:.*MemoryObject:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning"),
]


@pytest.fixture(autouse=True)
def collect_channels() -> Iterator[None]:
    yield
    redis.collect_left_open()


class Answering(Upstream):
    def take(self, seen: Seen) -> Raw:
        return render(Script("Hello"), "chat", seen.json)


@pytest.mark.sample(2)
@pytest.mark.parametrize("stream", [False, True])
def test_every_request_is_answered_while_redis_connections_are_lost(stream):
    numbers = count()
    with redis.server_or_skip() as server, serve_upstream(Answering) as upstream:
        cache = {"type": "redis", "url": server.url}
        given = config([provider("openai/gpt-4o-mini", upstream.url, ["chat"])], cache=cache)
        given["model_aliases"] = {"labels": {"target": "gpt-4o-mini", "cache": {"ttl": "1h"}}}
        with gateway_thread(given) as gateway:

            def ask(number: int) -> Reply:
                if number % 20 == 10:
                    server.say("CLIENT", "KILL", "TYPE", "normal")
                body = {
                    "model": "labels", "stream": stream, "messages": [{"role": "user", "content": f"{next(numbers)}"}],
                }  # fmt: skip
                return gateway.request("POST", "/v1/chat/completions", body)

            with ThreadPoolExecutor(16) as clients:
                replies = list(clients.map(ask, range(100)))
        assert [reply.body for reply in replies if reply.status != 200 or b"error" in reply.body] == []
        assert all(b"[DONE]" in reply.body or b"Hello" in reply.body for reply in replies)
        assert {line["ended"] for line in exchanges(gateway.log)} == {"complete"}
