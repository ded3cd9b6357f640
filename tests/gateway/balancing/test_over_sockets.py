"""Groups as clients and providers meet them, on real sockets."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import trio

from tests.support.asgi_app import eventually
from tests.support.each_row import each_row
from tests.support.features import members_of
from tests.support.harness import PATIENCE
from tests.support.in_process import CountingProvider, InProcess, gateway, providers

APIS = ("chat", "messages", "responses")
SESSION = "f457fe7e-38a4-4a88-9ac9-d02b10e53e2e"
NAMED: dict[str, dict[str, Any]] = {
    "claude-code": {"headers": (("x-claude-code-session-id", SESSION),)},
    "codex": {"headers": (("session-id", SESSION),)},
    "cache-key": {"prompt_cache_key": SESSION},
    "configured": {"headers": (("x-tenant", "t"),)},
    "beginning": {},
}


def config(places: Sequence[CountingProvider], **route: Any) -> dict[str, Any]:
    """Return a configuration with a group of these places as the route r, without metrics, which would take counts."""
    names = [chr(ord("a") + number) for number in range(len(places))]
    entries = [
        {"model": f"vllm/{name}", "name": name, "base_url": f"{place.url}/v1", "access_key": "k", "speaks": list(APIS)}
        for name, place in zip(names, places, strict=True)
    ]
    alias = {"targets": [names], "sticky": "x-tenant", **route}
    off = members_of("metrics", metrics=False)
    return {"version": "v0.4.0", "model_providers": entries, "model_aliases": {"r": alias}, **off}


def open_answers(running: InProcess) -> list[int]:
    """Return the number of open answers of each member."""
    balancer = running.service.balancer
    return [balancer.loads.counts.count(one.identity.place) for one in running.service.router.plan("r", "chat").targets]


def landings(running: InProcess) -> dict[str, int]:
    return {landing: count for (_, landing), count in running.service.balancer.landings.items()}


def turn(number: int, api: str) -> dict[str, Any]:
    """Return a conversation with ``number`` earlier answers."""
    said = [{"role": "user", "content": "Hi"}]
    for past in range(number):
        said += [{"role": "assistant", "content": f"answer {past}"}, {"role": "user", "content": f"question {past}"}]
    return {"input" if api == "responses" else "messages": said}


@each_row("api", APIS)
@each_row("named", NAMED)
async def test_ten_turns_of_a_conversation_go_to_one_member_streamed_and_whole(named, api):
    """agentgateway/agentgateway#2572, BerriAI/litellm#41065"""
    async with providers(3) as places, gateway(config(places)) as running:
        for number in range(10):
            for how in ({**turn(number, api), **NAMED[named]}, {"headers": (("x-tenant", f"other {number}"),)}):
                assert (await running.ask("r", api, stream=number % 2 == 1, **how)).status_code == 200
        assert landings(running) == {"new": 11, "hit": 9}
        assert sum(place.take_count() for place in places) == 20
        assert open_answers(running) == [0, 0, 0]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_the_least_busy_member_gets_requests_while_answers_are_open(stream):
    async with providers(3) as places, gateway(config(places, sticky=False)) as running:
        with places[0].hold_answers(), places[1].hold_answers(), places[2].hold_answers():
            async with trio.open_nursery() as nursery:
                for number in range(1, 7):
                    nursery.start_soon(partial(running.ask, "r", stream=stream))
                    await eventually(lambda number=number: sum(open_answers(running)) == number)
                await eventually(lambda: sum(len(place.asked) for place in places) == 6)
                assert [place.take_count() for place in places] == open_answers(running) == [2, 2, 2]
                nursery.cancel_scope.cancel()
        await eventually(lambda: not any(open_answers(running)))


@each_row("stream", [False, True], ids=["whole", "streamed"])
@each_row("how", ["status", "cut", "client"])
async def test_no_answer_stays_open_however_it_ends(how, stream):
    async with providers(2) as places, gateway(config(places)) as running:
        for place in places:
            place.fails = 500 if how == "status" else None
            place.cuts = how == "cut"
        if how == "client":
            with places[0].hold_answers(), places[1].hold_answers(), trio.move_on_after(PATIENCE) as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(partial(running.ask, "r", stream=stream))
                    await eventually(lambda: sum(len(place.asked) for place in places) == 1)
                    assert sum(open_answers(running)) == 1
                    scope.cancel()
        else:
            await running.ask("r", stream=stream)
        await eventually(lambda: not any(open_answers(running)))
        assert sum(place.take_count() for place in places) >= 1


async def test_a_member_that_fails_is_left_and_the_other_keeps_the_conversation():
    async with providers(2) as places, gateway(config(places)) as running:
        await running.ask("r", **NAMED["codex"])
        first, second = sorted(places, key=lambda place: -len(place.asked))
        first.fails = 500
        for _ in range(3):
            assert (await running.ask("r", **NAMED["codex"])).status_code == 200
        first.fails = None
        running.clock.now += 100
        for _ in range(3):
            assert (await running.ask("r", **NAMED["codex"])).status_code == 200
        assert (first.take_count(), second.take_count()) == (2, 6)
        assert landings(running) == {"new": 1, "server_error": 1, "hit": 5}


async def test_an_overloaded_pinned_member_gets_one_immediate_retry():
    """Waiting for the end of a short outage costs less than a new cache (openclaw/openclaw#126843)."""
    async with providers(2) as places, gateway(config(places)) as running:
        await running.ask("r", **NAMED["codex"])
        first, second = sorted(places, key=lambda place: -len(place.asked))
        first.fails = 529
        assert (await running.ask("r", **NAMED["codex"])).status_code == 200
        assert (first.take_count(), second.take_count()) == (3, 1)
        assert landings(running) == {"new": 1, "overloaded": 1}


async def test_only_streams_are_measured_for_time_to_first_content():
    async with providers(2) as places, gateway(config(places, balance="lowest_latency")) as running:
        loads = running.service.balancer.loads
        targets = running.service.router.plan("r", "chat").targets

        def count_known() -> int:
            return sum(loads.percentile(target, 0.9, running.clock.now) is not None for target in targets)

        await running.ask("r", stream=False)
        assert count_known() == 0
        await running.ask("r", stream=True)
        assert count_known() == 1


async def test_a_member_abandoned_without_content_counts_with_that_time():
    async with providers(2) as places:
        settings = config(places, targets=[["a", {"target": "b", "weight": 0}]], first_content="50ms")
        async with gateway(settings) as running:
            with places[0].hold_answers():
                assert (await running.ask("r", stream=True)).status_code == 200
            first = running.service.router.plan("r", "chat").first
            seconds = running.service.balancer.loads.percentile(first, 0.9, running.clock.now)
            assert seconds is not None
            assert seconds >= 0.05


async def test_conversations_of_two_client_keys_are_distinct_even_with_one_name():
    async with providers(2) as places:
        keys = [{"name": name, "key": f"key-of-{name}"} for name in ("alice", "ben")]
        async with gateway({**config(places), "client_keys": keys}) as running:
            for name in ("alice", "ben", "alice", "ben"):
                headers = (("authorization", f"Bearer key-of-{name}"), *NAMED["codex"]["headers"])
                assert (await running.ask("r", headers=headers)).status_code == 200
            assert landings(running) == {"new": 2, "hit": 2}


async def test_a_reload_keeps_conversations_and_times():
    async with providers(2) as places, gateway(config(places, balance="lowest_latency")) as running:
        await running.ask("r", stream=True, **NAMED["codex"])
        running.reload(config(places, balance="weighted", first_content="9s"))
        await running.ask("r", stream=True, **NAMED["codex"])
        assert landings(running) == {"new": 1, "hit": 1}
