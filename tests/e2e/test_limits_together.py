"""Tests of limits that several processes share: the workers of one gateway, and two gateways with one store."""

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import redis
from tests.support.harness import Gateway, config, eventually, free_port, provider, running
from tests.support.processes import workers
from tests.support.upstreams import Raw, Script, Upstream, fake_upstream

pytestmark = pytest.mark.process

KEY = "sk-alice-0123456789abcdef"
BEARER = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
WELL = Script("Hello")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with fake_upstream(WELL) as answering:
        yield answering


def settings(upstream: Upstream, port: int = 0, **more: object) -> dict[str, object]:
    limits = {"ratelimits": {"requests": "10/m"}, "budgets": ["100000 tokens/month"]}
    return config(
        [provider("openai/gpt-4o", upstream.url)], port, client_keys=[{"name": "alice", "key": KEY, **limits}], **more
    )


def ask(gateway: Gateway) -> int:
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 100})
    return gateway.request("POST", "/v1/chat/completions", body.encode(), BEARER).status


def burst(gateways: list[Gateway], number: int) -> list[int]:
    with ThreadPoolExecutor(10) as pool:
        return list(pool.map(ask, [gateways[one % len(gateways)] for one in range(number)]))


@pytest.fixture
def server() -> Iterator[redis.RedisServer]:
    with redis.server_or_skip() as started:
        yield started


@pytest.fixture
def pair(upstream, server) -> Iterator[tuple[Gateway, Gateway]]:
    """Run two gateways that count in one Redis."""
    given = settings(upstream, counters={"type": "redis", "url": server.url})
    with running(given) as one, running(given) as other:
        yield one, other


def test_workers_enforce_a_limit_together(upstream):
    """Each worker allowed the whole limit (BerriAI/litellm#16011)."""
    port = free_port()
    with running(settings(upstream, port), port, "--workers", "2") as gateway:
        answers = burst([gateway], 16)
        assert (answers.count(200), answers.count(429)) == (10, 6)
        victim = min(workers(gateway.pid))
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: len(workers(gateway.pid) - {victim}) == 2)
        assert burst([gateway], 4) == [429] * 4, "what was used stays used"


def test_two_gateways_enforce_a_limit_together(pair, server):
    """Two replicas allowed twice the cap (BerriAI/litellm#39390)."""
    one, other = pair
    answers = burst([one, other], 16)
    assert (answers.count(200), answers.count(429)) == (10, 6)
    assert ask(one) == 429, "it sees what both have used"
    server.stop()
    assert ask(one) == 429, "the last numbers seen hold on"
    said = one.request("GET", "/readyz?verbose", None, BEARER).json
    assert said["counters"]["state"] == "away"
    assert one.request("GET", "/healthz").status == 200
    eventually(lambda: "is unavailable" in "".join(one.log))


BUSY = Raw(429, (("content-type", "application/json"), ("retry-after", "600")), (b'{"error": {"message": "later"}}',))


@pytest.fixture(params=["redis", "postgres"])
def sharing(request, upstream) -> Iterator[tuple[list[Gateway], list[Upstream]]]:
    """Run two gateways with one store, and a group of three providers."""
    if request.param == "redis":
        url = request.getfixturevalue("server").url
    else:
        url = request.getfixturevalue("database_server").new_database()
    with contextlib.ExitStack() as stack:
        upstreams = [stack.enter_context(fake_upstream(WELL)) for _ in range(3)]
        entries = [provider(f"made-{n}/up", one.url, ["chat"], name=f"m{n}") for n, one in enumerate(upstreams)]
        aliases = {"pool": {"targets": [["m0", "m1", "m2"]]}, "first": {"targets": ["m0", "m1"]}}
        given = config(entries, model_aliases=aliases, counters={"type": request.param, "url": url})
        yield [stack.enter_context(running(given)) for _ in range(2)], upstreams


def answer_to(gateway: Gateway, model: str, *texts: str) -> int:
    messages = [{"role": "user", "content": text} for text in texts]
    body = json.dumps({"model": model, "messages": messages})
    return gateway.request("POST", "/v1/chat/completions", body.encode(), BEARER).status


def targets_out(gateway: Gateway) -> float:
    """Return the number of unavailable targets in the metrics."""
    lines = gateway.request("GET", "/metrics", None, BEARER).body.decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("trigate_targets_out"))


def test_gateways_with_one_store_share_outages(sharing):
    """The second one sent several requests to a target that the first knew to be unavailable."""
    (one, other), (first, second, _) = sharing
    first.default = BUSY
    assert answer_to(one, "first", "Hello") == 200
    eventually(lambda: targets_out(other) == 1, what="the news of the outage")
    assert answer_to(other, "first", "Hello") == 200
    assert (len(first.seen), len(second.seen)) == (1, 2)


def test_a_conversation_between_two_gateways_stays_at_one_provider(sharing):
    """Otherwise each turn misses the provider's prompt cache."""
    gateways, upstreams = sharing
    for conversation in range(8):
        before = [len(upstream.seen) for upstream in upstreams]
        for turn in range(1, 5):
            texts = [f"Question {conversation}.{number}" for number in range(turn)]
            assert answer_to(gateways[turn % 2], "pool", *texts) == 200
        grown = [len(upstream.seen) - old for upstream, old in zip(upstreams, before, strict=True)]
        assert sorted(grown) == [0, 0, 4], conversation
