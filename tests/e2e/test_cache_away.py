"""Cached answers in Redis whose connections are lost under load: a miss, and never an error."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from tests.support import redis
from tests.support.harness import Reply, config, free_port, provider, running
from tests.support.upstreams import Raw, Script, Seen, Upstream, render, served

pytestmark = pytest.mark.process


class Answering(Upstream):
    def take(self, seen: Seen) -> Raw:
        return render(Script("Hello"), "chat", seen.json)


@pytest.mark.parametrize("stream", [False, True])
def test_every_request_is_answered_while_redis_connections_are_lost(stream):
    if (bin := redis.binary()) is None:
        pytest.skip(redis.MISSING)
    port, numbers = free_port(), count()
    with redis.running_redis(bin) as server, served(Answering) as upstream:
        cache = {"type": "redis", "url": server.url}
        given = config([provider("openai/gpt-4o-mini", upstream.url, ["chat"])], port, cache=cache)
        given["model_aliases"] = {"labels": {"target": "gpt-4o-mini", "cache": {"ttl": "1h"}}}
        with running(given, port) as gateway:

            def ask(number: int) -> Reply:
                if number % 20 == 10:
                    server.say("CLIENT", "KILL", "TYPE", "normal")
                body = {
                    "model": "labels", "stream": stream, "messages": [{"role": "user", "content": f"{next(numbers)}"}],
                }  # fmt: skip
                return gateway.request("POST", "/v1/chat/completions", body)

            with ThreadPoolExecutor(16) as clients:
                replies = list(clients.map(ask, range(200)))
        assert [reply.body for reply in replies if reply.status != 200 or b"error" in reply.body] == []
        assert all(b"[DONE]" in reply.body or b"Hello" in reply.body for reply in replies)
        lines = [json.loads(line) for line in gateway.log if '"event":"exchange"' in line]
        assert {line["ended"] for line in lines} == {"complete"}
