"""Outages as clients and providers meet them, on real sockets."""

from collections import Counter
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from gateway.health.reported_limits import MOST_REPORTED, ReportedLimits
from gateway.routing.target import Target
from tests.support.asgi_app import eventually
from tests.support.covering import covering_rows
from tests.support.each_row import each_row
from tests.support.features import rows_of
from tests.support.harness import refusing_port
from tests.support.in_process import CountingProvider, InProcess, gateway, providers

APIS = ("chat", "messages", "responses")


def config(*places: CountingProvider | str, **root: Any) -> dict[str, Any]:
    """Return a configuration with the entries a, b, …, and the route r with all of them."""
    urls = [place if isinstance(place, str) else place.url for place in places]
    names = [chr(ord("a") + number) for number in range(len(urls))]
    entries = [
        {"model": f"vllm/{name}", "name": name, "base_url": f"{url}/v1", "access_key": "k", "speaks": list(APIS)}
        for name, url in zip(names, urls, strict=True)
    ]
    return {"version": "v0.4.0", "model_providers": entries, "model_aliases": {"r": {"targets": names}}, **root}


def target(running: InProcess) -> Target:
    return running.service.router.resolve("a", "chat")


async def ask_often(running: InProcess, number: int, model: str = "r", **how: Any) -> Counter[int]:
    """Send so many requests one after the other, and return the number of each status."""
    return Counter([(await running.ask(model, **how)).status_code for _ in range(number)])


async def ask_at_once(running: InProcess, number: int, model: str = "r", **how: Any) -> Counter[int]:
    found: Counter[int] = Counter()

    async def ask() -> None:
        found[(await running.ask(model, **how)).status_code] += 1

    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(ask)
    return found


@each_row("stream", [False, True], ids=["whole", "streamed"])
@each_row("api", APIS)
async def test_five_failures_stop_requests_until_a_trial(api, stream):
    """25 answers of 500 in a row left a deployment in rotation (BerriAI/litellm#34836)."""
    async with providers(2) as (a, b), gateway(config(a, b)) as running:
        a.fails = 500
        assert await ask_often(running, 20, api=api, stream=stream) == {200: 20}
        assert (a.take_count(), b.take_count()) == (5, 20)
        running.clock.now += 5
        a.fails = None
        assert await ask_often(running, 3, api=api, stream=stream) == {200: 3}
        assert (a.take_count(), b.take_count()) == (3, 0)


@each_row("stream", [False, True], ids=["whole", "streamed"])
@each_row("api", APIS)
async def test_an_unreachable_provider_is_reported_with_its_entry_and_without_its_address(api, stream):
    with refusing_port() as port:
        async with gateway(config(f"http://127.0.0.1:{port}")) as running:
            answer = await running.ask("a", api=api, stream=stream)
            assert answer.status_code == 502
            assert "could not connect to the provider of a: it refused the connection" in answer.text
            assert str(port) not in answer.text


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_one_request_is_the_trial_and_the_others_use_other_targets(stream):
    """Requests that arrive at the same moment do, too."""
    async with providers(2) as (a, b), gateway(config(a, b)) as running:
        running.fail("a", "quota")
        running.clock.now += 600
        async with trio.open_nursery() as nursery:
            with a.hold_answers():
                nursery.start_soon(partial(ask_at_once, running, 20, stream=stream))
                await eventually(lambda: len(b.asked) == 19)
                assert len(a.asked) == 1
                a.fails = 500
        assert (len(a.asked), len(b.asked)) == (1, 20)  # the request that tried is not lost
        a.fails = None
        assert await ask_often(running, 1) == {200: 1}
        assert running.service.health.target_states()[0].state == "in"


async def test_a_trial_whose_client_disconnects_is_released():
    async with providers(2) as (a, b), gateway(config(a, b)) as running:
        running.fail("a", "quota")
        running.clock.now += 600
        with a.hold_answers():
            async with running.leaving("r"):
                await eventually(lambda: a.asked)
                assert running.service.health.target_states()[0].state == "tried"
            await eventually(lambda: running.service.health.target_states()[0].state == "due")


async def test_streams_that_break_off_after_the_first_content_count_as_failures():
    async with providers(2) as (a, b), gateway(config(a, b)) as running:
        a.cuts = True
        await ask_often(running, 5, stream=True)
        assert running.service.health.target_states()[0].state == "out"
        assert await ask_often(running, 1) == {200: 1}
        assert (len(a.asked), len(b.asked)) == (5, 1)


async def test_a_name_with_one_target_is_used_while_its_circuit_is_open():
    async with providers(1) as (a,), gateway(config(a)) as running:
        a.fails = 500
        assert await ask_often(running, 9, "a") == {500: 9}
        assert a.take_count() == 9


async def test_a_name_with_one_target_is_refused_during_the_stated_wait():
    async with providers(1) as (a,), gateway(config(a)) as running:
        a.fails, a.headers = 429, (("retry-after", "30"),)
        assert await ask_often(running, 3, "a") == {429: 3}
        assert a.take_count() == 1
        running.clock.now += 12.4
        assert (await running.ask("a")).headers["retry-after"] == "18"


async def test_a_refused_credential_is_sent_every_ten_seconds():
    async with providers(1) as (a,), gateway(config(a)) as running:
        a.fails = 401
        assert await ask_often(running, 3, "a") == {502: 1, 503: 2}
        assert (
            "a is in cooldown (credential, for 10 s because the request has no other target; check its credential): "
            "try again in 10 s"
        ) in (await running.ask("a")).text
        running.clock.now += 10
        assert await ask_often(running, 3, "a") == {502: 1, 503: 2}
        assert a.take_count() == 2


async def test_if_all_targets_are_unavailable_the_503_states_the_remaining_time():
    """Clients got no more than "No deployments available" (BerriAI/litellm#24678)."""
    async with providers(2) as (a, b), gateway(config(a, b)) as running:
        running.fail("a", "gone")
        running.fail("b", "quota", 100.0)
        answer = await running.ask("r")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "100")
        assert answer.headers["x-trigate-attempts"] == "0"
        assert "a is in cooldown (gone, for 600 s), b is in cooldown (quota, for 100 s)" in answer.text
        assert (a.asked, b.asked) == ([], [])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_if_all_targets_are_unavailable_one_request_tries_the_first_due_one(stream):
    async with providers(2) as (a, b), gateway(config(a, b)) as running:
        running.fail("a", "gone")
        running.fail("b", "quota", 900.0)
        running.clock.now += 600
        async with trio.open_nursery() as nursery:
            with a.hold_answers():
                nursery.start_soon(partial(ask_at_once, running, 10, stream=stream))
                await eventually(lambda: a.asked)
                assert await ask_at_once(running, 10, stream=stream) == {503: 10}
        assert (len(a.asked), len(b.asked)) == (1, 0)


async def test_the_gateway_sends_no_requests_of_its_own():
    """A health page cost 200 million tokens an hour (BerriAI/litellm#9584, #7000, huggingface/ml-intern#70)."""
    async with providers(2) as (a, b), gateway(config(a, b)) as running:
        a.fails = 500
        running.fail("b", "credential")
        running.clock.now += 3600
        for path in ("/readyz?verbose", *rows_of("model_lists", "/v1/models")):
            assert (await running.get(path)).status_code == 200
        await wait_all_tasks_blocked(0.2)
        assert (len(a.asked), len(b.asked)) == (0, 0)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_if_all_targets_are_unavailable_one_request_waits_and_others_get_the_wait(stream):
    """The gateway waits for the first available target, or refuses: BerriAI/litellm#3646."""
    async with providers(2) as (a, b), gateway(config(a, b), real=True) as running:
        mark_started = trio.current_time()
        running.fail("a", "rate_limited", 4.0)
        running.fail("b", "rate_limited", 60.0)
        assert await ask_at_once(running, 10, stream=stream) == {200: 1, 429: 9}
        assert trio.current_time() - mark_started >= 3.99
        assert (a.take_count(), b.take_count()) == (1, 0)
        assert await ask_often(running, 2, stream=stream) == {200: 2}


async def test_a_waiting_client_that_disconnects_lets_the_next_one_wait():
    async with providers(2) as (a, b), gateway(config(a, b), real=True) as running:
        running.fail("a", "rate_limited", 4.0)
        running.fail("b", "rate_limited", 60.0)
        async with running.leaving("r"):
            await eventually(lambda: running.service.health.outage(target(running), None).tried)
            assert (await running.ask("r")).status_code == 429
        await eventually(lambda: not running.service.health.outage(target(running), None).tried)
        assert (await running.ask("r")).status_code == 200
        assert a.take_count() == 1


@pytest.mark.parametrize(
    ("api", "stream", "failure"), covering_rows(APIS, (False, True), ((401, "credential"), (402, "quota")))
)
async def test_a_credential_failure_applies_to_all_entries_with_that_credential(api, stream, failure, caplog):
    """A subscription and a key shared one bucket, so the fallback was never tried (openclaw/openclaw#30030); and a
    revoked key must not affect clients (mnfst/llm-gateway#1180)."""
    status, reason = failure
    async with providers(2) as (a, b), gateway(config(a, a, b)) as running:
        a.fails = status
        first = await running.ask("r", api, stream=stream)
        assert first.status_code == 200
        assert first.headers["x-trigate-tried"] == f"a={reason}, c=ok"
        assert await ask_often(running, 5, api=api, stream=stream) == {200: 5}
        assert (a.take_count(), b.take_count()) == (1, 6)
    loud = [record.getMessage() for record in caplog.records if record.name == "trigate.health"]
    assert [line.partition(" for 600.0 s")[0] for line in loud] == ["a, b: in cooldown"]


@pytest.mark.parametrize("status", [404, 500, 503])
async def test_requests_without_a_model_response_open_no_circuit(status):
    """Some servers have no path that counts tokens, and a server without it may still answer."""
    async with providers(2) as (a, b), gateway(config(a, b)) as running:
        a.well = status
        for _ in range(6):
            await running.count_tokens("r")
        assert a.take_count() == 6
        assert running.service.health.target_states()[0].state == "in"
        assert await ask_often(running, 2) == {200: 2}
        assert (a.take_count(), b.take_count()) == (2, 0)


async def test_a_running_gateway_asks_the_probe_of_an_entry_and_nothing_else():
    async with providers(2) as (a, b):
        content = config(a, b)
        content["model_providers"][0]["probe"] = "/health"
        async with gateway(content):
            await eventually(lambda: a.asked)
        assert (a.asked, b.asked) == (["/health"], [])


async def test_a_reload_keeps_outages_and_a_new_key_is_not_out():
    async with providers(2) as (a, b), gateway(config(a, b)) as running:
        running.fail("a", "rate_limited", 60.0)
        changed = config(a, b, keep_alive=20)
        running.reload(changed)
        assert await ask_often(running, 1) == {200: 1}
        assert a.take_count() == 0
        changed["model_providers"][0]["access_key"] = "another"
        running.reload(changed)
        assert await ask_often(running, 1) == {200: 1}
        assert a.take_count() == 1


# The gateway obeys the limits in responses before the provider refuses a request (openai/codex#32341)


NOTHING_LEFT = (("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "30s"))
OF_ANTHROPIC = (
    ("anthropic-ratelimit-tokens-remaining", "0"), ("anthropic-ratelimit-tokens-reset", "2999-01-01T00:00:00Z"),
)  # fmt: skip
USED_UP = (("x-codex-primary-used-percent", "100"), ("x-codex-primary-reset-after-seconds", "60"))
QUOTA_ALONE = {"r": {"targets": ["a", {"target": "b", "when": ["quota"]}]}}


@each_row("stream", [True, False], ids=["stream", "whole"])
@each_row("told", [NOTHING_LEFT, OF_ANTHROPIC, USED_UP], ids=lambda told: told[0][0])
async def test_a_target_whose_limit_is_exhausted_is_skipped(told, stream):
    async with providers(2) as (first, second), gateway(config(first, second)) as running:
        first.told = told
        for _ in range(3):
            assert (await running.ask("r", stream=stream)).status_code == 200
        assert (first.take_count(), second.take_count()) == (1, 2)
        assert (await running.ask("a")).status_code == 200, "its own name goes there all the same"


async def test_a_target_is_used_again_when_its_limit_resets():
    async with providers(2) as (first, second), gateway(config(first, second)) as running:
        first.told = NOTHING_LEFT
        await running.ask("r")
        running.clock.now += 29
        await running.ask("r")
        first.told = ()
        running.clock.now += 2
        await running.ask("r")
        assert (first.take_count(), second.take_count()) == (2, 1)


async def test_a_target_near_its_limit_is_used_if_no_other_is_left():
    # The header has the time until a limit is full, which is later than the time from which one more request fits.
    async with providers(2) as (first, second), gateway(config(first, second)) as running:
        first.told = second.told = NOTHING_LEFT
        statuses = [(await running.ask("r")).status_code for _ in range(4)]
        assert statuses == [200] * 4
        assert (first.take_count(), second.take_count()) == (3, 1)
        second.told, second.fails = (), 500
        running.clock.now += 31
        await running.ask("r")
        assert (await running.ask("r")).status_code == 200, "the other fails, and this one would have answered"


async def test_a_short_limit_sends_no_requests_to_a_target_for_exhausted_quotas():
    # A short limit costs no money: ColeMurray/background-agents#1532
    async with providers(2) as (first, second), gateway(config(first, second, model_aliases=QUOTA_ALONE)) as running:
        first.told = NOTHING_LEFT
        assert [(await running.ask("r")).status_code for _ in range(2)] == [200, 200]
        assert second.take_count() == 0
        first.told = USED_UP
        assert [(await running.ask("r")).status_code for _ in range(2)] == [200, 200]
        assert second.take_count() == 1


def test_only_so_many_places_are_remembered():
    told = ReportedLimits(lambda: 0.0)
    for number in range(MOST_REPORTED + 10):
        told.record(number.to_bytes(4), ("rate_limited", 5.0))
    assert len(told.places) == MOST_REPORTED
    assert told.outage((0).to_bytes(4)) is None
    assert told.outage((MOST_REPORTED).to_bytes(4)) is not None
    told.record((MOST_REPORTED).to_bytes(4), None)
    assert told.outage((MOST_REPORTED).to_bytes(4)) is None
