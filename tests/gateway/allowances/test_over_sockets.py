"""Limits over real sockets: the refusals, the returned reservations, and the requests that do not count."""

from typing import Any

import pytest
import trio

from tests.support.asgi_app import eventually
from tests.support.features import members_of, rows_of
from tests.support.in_process import CountingProvider, InProcess, gateway, providers
from tests.support.levels import limit_level

APIS = ("chat", "messages", "responses")
ALICE = (("authorization", "Bearer alice-has-a-long-enough-key-0123"),)
BEN = (("authorization", "Bearer ben-has-a-long-enough-key-0123"),)
SPENT = 18
"""Tokens of each answer here: 11 of the request, 7 of the answer."""

each_api = pytest.mark.parametrize("api", APIS)
both_ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


def config(
    *places: CountingProvider, entry: dict[str, Any] | None = None, alice: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """Return the entries a, b, …, and the route r with all of them; ``entry`` updates a, ``alice`` updates her key."""
    names = [chr(ord("a") + number) for number in range(len(places))]
    entries: list[dict[str, Any]] = [
        {"model": f"vllm/{name}", "name": name, "base_url": f"{place.url}/v1", "access_key": "k", "speaks": list(APIS)}
        for name, place in zip(names, places, strict=True)
    ]
    entries[0] |= entry or {}
    keys: list[dict[str, Any]] = [
        {"name": name, "key": f"{name}-has-a-long-enough-key-0123"} for name in ("alice", "ben")
    ]
    keys[0] |= alice or {}
    return {
        "version": "v0.4.0",
        "model_providers": entries,
        "model_aliases": {"r": {"targets": names}},
        "client_keys": keys,
        **members_of("metrics", metrics={"open": True}),
    } | more


def level(running: InProcess, measure: str, holder: str = "client_keys.alice") -> int:
    """Return the amount of a limit that is used or reserved."""
    found = limit_level(running.service.allowances, measure, holder)
    return found.used + found.held


async def is_free(running: InProcess, holder: str = "client_keys.alice") -> None:
    await eventually(lambda: level(running, "concurrent", holder) == 0)


# One request too many


@both_ways
@each_api
async def test_one_request_too_many_gets_a_429_that_names_the_limit(api, stream):
    # Operators mistook a gateway's own 429 for the provider's for hours (api7/aisix#1079, BerriAI/litellm#4314).
    async with providers(1) as (place,), gateway(config(place, alice={"ratelimits": {"requests": "2/h"}})) as running:
        good = await running.ask("a", api, stream=stream, headers=ALICE)
        refused = await running.ask("a", api, stream=stream, headers=ALICE)
        assert (good.status_code, refused.status_code) == (200, 429), "2/h is one every half an hour"
        assert place.take_count() == 1, "nothing is asked of a provider for those that are refused"
        wait = int(refused.headers["retry-after"])
        assert 1790 <= wait <= 1800
        assert refused.headers["x-trigate-limit"] == "client_keys.alice.requests"
        error = refused.json()["error"]
        told = f"Rate limit of this gateway reached: client key alice: 2 requests/h. Try again in {wait}s."
        assert (error["type"], error["message"]) == ("rate_limit_error", told)
        code = error["details"]["code"] if api == "messages" else error["code"]
        assert code == "rate_limit_exceeded"
        assert (await running.ask("a", api, stream=stream, headers=BEN)).status_code == 200


async def test_a_rejected_request_consumes_nothing():
    # BerriAI/litellm#39309, maximhq/bifrost#3500
    limits = {"requests": "3/m", "tokens": "1M/m", "concurrent": 1}
    async with providers(1) as (place,), gateway(config(place, alice={"ratelimits": limits})) as running:
        async with trio.open_nursery() as nursery:
            with place.hold_answers():
                nursery.start_soon(lambda: running.ask("a", headers=ALICE))
                await eventually(lambda: place.asked)
                tokens = level(running, "tokens")
                for _ in range(5):
                    refused = await running.ask("a", headers=ALICE)
                    assert refused.headers["x-trigate-limit"] == "client_keys.alice.concurrent"
                    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
                assert level(running, "requests") == 1
                assert level(running, "tokens") <= tokens
        for _ in range(2):
            assert (await running.ask("a", headers=ALICE)).status_code == 200
        refused = await running.ask("a", headers=ALICE)
        assert refused.headers["x-trigate-limit"] == "client_keys.alice.requests"
        assert level(running, "concurrent") == 0


async def test_a_group_has_its_limits_together():
    group = {"name": "team", "ratelimits": {"requests": "2/m"}}
    async with providers(1) as (place,):
        content = config(place, alice={"group": "team"}, client_groups=[group])
        content["client_keys"][1]["group"] = "team"
        async with gateway(content) as running:
            statuses = [(await running.ask("a", headers=who)).status_code for who in (ALICE, BEN, ALICE, BEN)]
    assert statuses == [200, 200, 429, 429]


# Tokens


@both_ways
@each_api
async def test_tokens_are_reserved_then_corrected(api, stream):
    # Never counted for streams, one reserved and none booked for Responses (BerriAI/litellm#41610, #34728, #17664,
    # wso2/api-platform#2932).
    limits = {"tokens": "1000/d", "input_tokens": "1000/d", "output_tokens": "1000/d"}
    async with providers(1) as (place,), gateway(config(place, alice={"ratelimits": limits})) as running:
        async with trio.open_nursery() as nursery:
            with place.hold_answers():
                nursery.start_soon(lambda: running.ask("a", api, stream=stream, headers=ALICE))
                await eventually(lambda: place.asked)
                assert level(running, "tokens") > SPENT, "what is expected of it"
        await eventually(lambda: level(running, "tokens") == SPENT)
        assert (level(running, "input_tokens"), level(running, "output_tokens")) == (11, 7)


@each_api
async def test_without_a_limit_of_its_own_an_answer_is_no_reason_to_refuse(api):
    members = {} if api == "messages" else {"max_tokens": None}
    limits = {"tokens": "100k/m", "output_tokens": "100k/m"}
    async with providers(1) as (place,), gateway(config(place, alice={"ratelimits": limits})) as running:
        assert (await running.ask("a", api, headers=ALICE, **members)).status_code == 200


async def test_pages_and_checks_count_nowhere():
    # mostlygeek/llama-swap#860
    limits = {"requests": "1/h", "concurrent": 1}
    async with providers(1) as (place,), gateway(config(place, alice={"ratelimits": limits})) as running:
        pages = (*rows_of("model_lists", "/v1/models", "/v1/models/a"), *rows_of("live_view", "/ui"))
        for path in ("/healthz", "/readyz", *pages, *rows_of("metrics", "/metrics")) * 2:
            assert (await running.get(path, key="alice-has-a-long-enough-key-0123")).status_code == 200, path
        assert level(running, "requests") == 0
        assert (await running.ask("a", headers=ALICE)).status_code == 200


# Slots


def error(place: CountingProvider) -> None:
    place.fails = 500


def cut(place: CountingProvider) -> None:
    place.fails, place.cuts = None, True


def refuse_connections(place: CountingProvider) -> None:
    place.refuse()


@both_ways
@each_api
async def test_slots_are_released_however_a_request_ends(api, stream):
    # Keys locked for ever after time-outs and aborted streams: BerriAI/litellm#20256, #30020, #1477, #16011
    limits = {"concurrent": 1}
    async with providers(1) as (place,):
        content = config(place, entry={"ratelimits": limits}, alice={"ratelimits": limits})
        content["circuit"] = {"failures": 1000, "error_rate": "100%"}
        async with gateway(content) as running:

            async def ends(**members: Any) -> int:
                answer = await running.ask("a", api, stream=stream, headers=ALICE, **members)
                await is_free(running)
                await is_free(running, "model_providers.a")
                return answer.status_code

            assert await ends() == 200
            assert await ends(temperature="hot", tools=5, messages=7, input=7) in (200, 400)
            for change in (error, cut, refuse_connections):
                change(place)
                assert await ends() != 429


async def test_the_slot_of_a_client_that_leaves_is_released():
    async with providers(1) as (place,):
        content = config(place, entry={"ratelimits": {"concurrent": 1}})
        del content["client_keys"]
        async with gateway(content) as running:
            with place.hold_answers():
                async with running.leaving("a"):
                    await eventually(lambda: level(running, "concurrent", "model_providers.a"))
                await is_free(running, "model_providers.a")


# Entries


async def test_a_full_entry_is_skipped_and_alone_it_is_a_429():
    entry = {"ratelimits": {"requests": "1/h"}}
    async with providers(2) as (first, second), gateway(config(first, second, entry=entry)) as running:
        for _ in range(3):
            assert (await running.ask("r", headers=ALICE)).status_code == 200
        assert (first.take_count(), second.take_count()) == (1, 2)
        alone = await running.ask("a", headers=ALICE)
        assert alone.status_code == 429
        assert alone.headers["x-trigate-limit"] == "model_providers.a.requests"
        assert "entry a: 1 requests/h" in alone.json()["error"]["message"]


async def test_a_conversation_moves_on_while_its_target_is_full():
    # A pinned target at its rate limit gets no more requests than any other target.
    async with providers(2) as places:
        content = config(*places, model_aliases={"r": {"targets": [["a", "b"]], "sticky": "x-session"}})
        for entry in content["model_providers"]:
            entry["ratelimits"] = {"requests": "1/h"}
        async with gateway(content) as running:
            session = (*ALICE, ("x-session", "one"))
            answers = [await running.ask("r", headers=session) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert [place.take_count() for place in places] == [1, 1]
    told = answers[2].headers["x-trigate-limit"]
    assert told in ("model_providers.a.requests", "model_providers.b.requests")


# Queues


def queue(**more: Any) -> dict[str, Any]:
    return {"ratelimits": {"concurrent": 1}, "queue": {"size": 2, "wait": "10s"} | more}


def waiting(running: InProcess) -> int:
    return running.service.allowances.queues.waiting(running.service.router.resolve("a", "chat"))


@both_ways
@each_api
async def test_requests_wait_for_a_place_before_they_continue_to_the_next_target(api, stream):
    # deltawi/deltallm#210, trefeon/freebuff-proxy#100
    async with providers(2) as (first, second), gateway(config(first, second, entry=queue())) as running:
        found: list[str] = []

        async def ask() -> None:
            answer = await running.ask("r", api, stream=stream, headers=ALICE)
            assert answer.status_code == 200
            found.append(answer.headers["x-trigate-target"])

        async with trio.open_nursery() as nursery:
            with first.hold_answers():
                nursery.start_soon(ask)
                await eventually(lambda: first.asked)
                for number in range(2):
                    nursery.start_soon(ask)
                    await eventually(lambda number=number: waiting(running) == number + 1)
                await ask()
                assert found == ["vllm/b"], "the queue is full"
        assert found == ["vllm/b", "vllm/a", "vllm/a", "vllm/a"]
        assert second.take_count() == 1
        await is_free(running, "model_providers.a")


async def test_a_full_queue_of_the_only_target_is_a_429_until_a_client_leaves():
    content_of_queue = queue(size=1)
    async with providers(1) as (place,):
        content = config(place, entry=content_of_queue)
        del content["client_keys"]
        async with gateway(content) as running, trio.open_nursery() as nursery:
            with place.hold_answers():
                nursery.start_soon(running.ask, "a")
                await eventually(lambda: place.asked)
                async with running.leaving("a"):
                    await eventually(lambda: waiting(running) == 1)
                    refused = await running.ask("a")
                    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
                    assert refused.headers["x-trigate-limit"] == "model_providers.a.concurrent"
                await eventually(lambda: waiting(running) == 0)
                nursery.start_soon(running.ask, "a")
                await eventually(lambda: waiting(running) == 1)
        assert place.take_count() == 2


async def test_a_request_stops_waiting_at_the_queues_limit():
    async with providers(2) as (first, second):
        async with gateway(config(first, second, entry=queue(wait="50ms"))) as running, trio.open_nursery() as nursery:
            with first.hold_answers():
                nursery.start_soon(lambda: running.ask("r", headers=ALICE))
                await eventually(lambda: first.asked)
                answer = await running.ask("r", headers=ALICE)
                assert answer.headers["x-trigate-target"] == "vllm/b"
        assert second.take_count() == 1


async def test_keep_alives_run_while_a_stream_waits():
    async with providers(1) as (place,):
        content = config(place, entry=queue(), keep_alive="20ms")
        del content["client_keys"]
        async with gateway(content) as running, trio.open_nursery() as nursery:
            with place.hold_answers():
                nursery.start_soon(running.ask, "a")
                await eventually(lambda: place.asked)
                async with running.leaving("a", stream=True) as stream:
                    seen = b""
                    while seen.count(b": ping") < 3:
                        seen += await stream.receive_some()
                    assert waiting(running) == 1
                await eventually(lambda: waiting(running) == 0)
        assert place.take_count() == 1
