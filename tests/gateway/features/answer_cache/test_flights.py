"""Identical simultaneous requests: the gateway makes one call and sends its answer to all clients."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from tests.support.asgi_app import eventually
from tests.support.bare_provider import listening
from tests.support.features import has_feature
from tests.support.flights import cache_of
from tests.support.harness import PATIENCE, Late, retried_when_late
from tests.support.in_process import InProcess, gateway
from tests.support.metrics_page import Numbers
from tests.support.stepped_streams import EVENTS, WORDS, SteppedClient, SteppedProvider, all_of, chunk
from tests.support.wire_clients import body_of


class Stage:
    def __init__(self, provider: SteppedProvider, gate: InProcess, nursery: trio.Nursery) -> None:
        self.provider = provider
        self.gate = gate
        self.nursery = nursery

    @property
    def follower_count(self) -> int:
        """The number of requests that wait for another request's call."""
        return sum(flight.followers for flight in cache_of(self.gate.service).flights.values())

    async def is_followed_by(self, number: int) -> None:
        await eventually(lambda: self.follower_count == number)

    def client(self, **options: Any) -> SteppedClient:
        """Send a request with the ``options`` of a ``SteppedClient``."""
        return SteppedClient(self.nursery, self.gate.url, **options)


@contextlib.asynccontextmanager
async def open_stage(**more: Any) -> AsyncIterator[Stage]:
    provider = SteppedProvider()
    async with listening(provider.serve) as url, trio.open_nursery() as nursery:
        entry = {"model": "openai/m", "access_key": "k", "base_url": f"{url}/v1", "speaks": ["chat"]}
        content = {
            "version": "v0.4.0",
            "model_providers": [entry],
            "model_aliases": {"cached": {"target": "openai/m", "cache": {"ttl": "1h"}, "retries": {"attempts": 1}}},
            **more,
        }
        async with gateway(content) as gate:
            yield Stage(provider, gate, nursery)
            nursery.cancel_scope.cancel()


async def test_many_identical_requests_make_one_call():
    """marketcalls/openalgo#1693; in both forms, and a later request gets the cached answer."""
    async with open_stage() as stage:
        clients = [stage.client(stream=number % 2 == 0) for number in range(40)]
        await eventually(lambda: stage.follower_count == 39)
        stage.provider.send(*EVENTS)
        await all_of(clients)
        assert stage.provider.calls == 1
        assert [client.status for client in clients] == [200] * 40
        streamed = {client.text for client in clients[::2]}
        assert len(streamed) == 1
        assert all(word in streamed.copy().pop() for word in WORDS)
        assert {json.loads(client.text)["choices"][0]["message"]["content"] for client in clients[1::2]} == {
            "".join(WORDS)
        }
        assert sorted(client.headers["x-trigate-cache"] for client in clients) == ["hit"] * 39 + ["miss"]
        await eventually(lambda: not cache_of(stage.gate.service).flights)
        later = stage.client()
        await all_of([later])
        assert (stage.provider.calls, later.headers["x-trigate-cache"]) == (1, "hit")


async def test_a_shared_answer_continues_if_its_first_client_leaves():
    """flyingsquirrel0419/layercache#59, ELares/IronTraffic#249"""
    for step in range(len(EVENTS)):
        async with open_stage() as stage:
            leader = stage.client()
            await eventually(lambda: stage.provider.calls == 1)
            follower = stage.client()
            await eventually(lambda: stage.follower_count == 1)
            stage.provider.send(*EVENTS[:step])
            if step > 1:
                await follower.has(WORDS[step - 2])
                await leader.has(WORDS[step - 2])
            leader.leave()
            await leader.over.wait()
            stage.provider.send(*EVENTS[step:])
            await all_of([follower])
            assert (stage.provider.calls, stage.provider.closed) == (1, 0), step
            assert "data: [DONE]" in follower.text, step
            assert all(word in follower.text for word in WORDS), step
            later = stage.client()
            await all_of([later])
            assert (stage.provider.calls, later.text) == (1, follower.text), step


async def test_the_provider_is_closed_when_the_last_follower_leaves():
    for step in range(len(EVENTS) - 1):
        async with open_stage() as stage:
            clients = [stage.client()]
            await eventually(lambda: stage.provider.calls == 1)
            clients += [stage.client(), stage.client()]
            await eventually(lambda: stage.follower_count == 2)
            stage.provider.send(*EVENTS[:step])
            for client in clients:
                assert stage.provider.closed == 0
                client.leave()
                await client.over.wait()
            await eventually(lambda: stage.provider.closed == 1)
            await eventually(lambda: not cache_of(stage.gate.service).flights)
            again = stage.client()
            await eventually(lambda: stage.provider.calls == 2)
            stage.provider.send(*EVENTS)
            await all_of([again])
            assert again.headers["x-trigate-cache"] == "miss", "nothing of it was kept"


async def test_a_follower_replaces_a_leader_that_failed_before_content():
    async with open_stage() as stage:
        clients = [stage.client() for _ in range(8)]
        await eventually(lambda: stage.follower_count == 7)
        stage.provider.send(EVENTS[0])
        stage.provider.cut()
        await eventually(lambda: stage.provider.calls == 2)
        await eventually(lambda: stage.follower_count == 6)
        stage.provider.send(*EVENTS)
        await all_of(clients)
        assert stage.provider.calls == 2
        assert sorted(client.status or 0 for client in clients) == [200] * 7 + [502]


async def test_the_own_deadlines_of_two_leaders_fail_no_follower():
    """The second leader followed the first one before; the deadline of each ends it."""
    async with open_stage() as stage:
        first = stage.client(**{"x-trigate-deadline": "0.5"})
        await eventually(lambda: stage.provider.calls == 1)
        second = stage.client(**{"x-trigate-deadline": "1.5"})
        await stage.is_followed_by(1)
        await all_of([first])
        await eventually(lambda: stage.provider.calls == 2)
        followers = [stage.client() for _ in range(8)]
        await stage.is_followed_by(8)
        await all_of([second])
        assert (first.status, second.status) == (504, 504)
        await eventually(lambda: stage.provider.calls == 3)
        await stage.is_followed_by(7)
        stage.provider.send(*EVENTS)
        await all_of(followers)
        assert {client.status for client in followers} == {200}
        assert (stage.provider.calls, stage.provider.closed) == (3, 2)


async def test_a_follower_waits_no_longer_than_its_own_deadline():
    async with open_stage() as stage:
        leader = stage.client()
        await eventually(lambda: stage.provider.calls == 1)
        follower = stage.client(**{"x-trigate-deadline": "0.3"})
        await all_of([follower])
        assert follower.status == 504
        stage.provider.send(*EVENTS)
        await all_of([leader])
        assert (leader.status, stage.provider.calls) == (200, 1)


@retried_when_late
async def test_a_leaders_own_limits_do_not_delay_others():
    """While a request waits for its own client's limits, another client's request goes to the provider."""
    keys = [
        {"name": name, "key": f"key-of-client-{name}", **more}
        for name, more in (("a", {"limits": {"upstream_connections": 1}}), ("b", {}))
    ]
    aliases = {
        "cached": {"target": "openai/m", "cache": {"ttl": "1h", "scope": "all"}, "retries": {"attempts": 1}},
        "plain": {"target": "openai/m"},
    }
    async with open_stage(client_keys=keys, model_aliases=aliases) as stage:
        first = stage.client(model="plain", authorization="Bearer key-of-client-a")
        await eventually(lambda: stage.provider.calls == 1)
        waiting = stage.client(authorization="Bearer key-of-client-a")
        await eventually(lambda: stage.gate.service.admission.shares.held["in_flight", "a"] == 2)
        other = stage.client(authorization="Bearer key-of-client-b")
        with trio.move_on_after(2) as waited:  # the first one would wait for five seconds
            await eventually(lambda: stage.provider.calls == 2)
        if waited.cancelled_caught:
            raise Late("the other request was not sent")
        stage.provider.send(*EVENTS)
        stage.provider.send(*EVENTS)
        await all_of([first, other])
        assert (first.status, other.status) == (200, 200)
        await eventually(lambda: stage.provider.calls == 3)
        stage.provider.send(*EVENTS)
        await all_of([waiting])
        assert waiting.status == 200


async def test_followers_do_not_query_a_failing_provider_one_by_one():
    async with open_stage() as stage:
        stage.provider.refused = 100
        clients = [stage.client() for _ in range(20)]
        for others in (19, 18):
            await stage.is_followed_by(others)
            stage.provider.send(b"refuse it")
        await all_of(clients)
        assert stage.provider.calls == 2
        assert {client.status for client in clients} == {503}
        if has_feature("metrics"):
            page = Numbers((await stage.gate.get("/metrics")).text)
            assert page("trigate_exchanges_total", ended="upstream_error") == 20, "followers are counted too"


async def test_a_failure_after_content_reaches_all_and_is_not_stored():
    async with open_stage() as stage:
        clients = [stage.client() for _ in range(3)]
        await eventually(lambda: stage.follower_count == 2)
        stage.provider.send(*EVENTS[:3])
        await eventually(lambda: all(WORDS[1] in client.text for client in clients))
        stage.provider.cut()
        await all_of(clients)
        assert stage.provider.calls == 1
        for client in clients:
            assert "[DONE]" not in client.text
            assert '"error"' in client.text
        if has_feature("metrics"):
            page = Numbers((await stage.gate.get("/metrics")).text)
            assert page("trigate_exchanges_total", ended="upstream_error") == 3, "the gateway refused none"
        later = stage.client()
        await eventually(lambda: stage.provider.calls == 2)
        stage.provider.send(*EVENTS)
        await all_of([later])


@pytest.mark.parametrize(
    ("first", "events"),  # 1.5 MB, and 6.4 MB, more than a cached answer may have
    [
        (True, 15),
        *(pytest.param(*row, marks=pytest.mark.soak) for row in ((False, 15), (True, 64), (False, 64))),
    ],
)  # fmt: skip
async def test_a_slow_client_does_not_slow_followers(first, events):
    """ELares/IronTraffic#249; the slow client is either the first one or a follower."""
    async with open_stage() as stage:
        clients = []
        if not first:
            clients.append(stage.client())
            await eventually(lambda: stage.provider.calls == 1)
        async with stage.gate.leaving(**body_of("chat", "cached", stream=True)):
            await eventually(lambda: stage.provider.calls == 1)
            clients += [stage.client(), stage.client()]
            await eventually(lambda: stage.follower_count == len(clients))
            stage.provider.send(EVENTS[0])
            word = "word " * 20_000
            for _ in range(events):  # more than all sockets take
                stage.provider.send(chunk(delta={"content": word}))
            stage.provider.send(EVENTS[-1])
            await all_of(clients, 4 * PATIENCE)
            assert all("[DONE]" in client.text for client in clients)
            assert stage.provider.calls == 1
