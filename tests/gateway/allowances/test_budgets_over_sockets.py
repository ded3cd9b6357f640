"""Budgets as clients and providers meet them, on real sockets.

An answer of these providers has 11 tokens of input and 7 of output; each costs a tenth of a cent here, so that an
answer costs 0.018 dollars, and is expected to cost about 0.03."""

import contextlib
import json
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest
import trio
import trio.testing

from gateway.allowances import reservation
from gateway.request.routing_options import BUDGET
from tests.support.asgi_app import eventually
from tests.support.audio_files import wav
from tests.support.each_row import each_row
from tests.support.endpoint_provider import ReceivedRequest, ScriptedAnswer, endpoint_provider, json_answer
from tests.support.features import members_of, needs_feature
from tests.support.in_process import CountingProvider, InProcess, gateway, providers
from tests.support.levels import limit_level
from tests.support.metrics_page import Numbers
from tests.support.multipart import KIND, multipart, part
from tests.support.settled_lines import SettledLines
from tests.support.task_steps import count_task_steps
from tests.support.websocket_client import Client

APIS = ("chat", "messages", "responses")
KEY = "alice-0123456789-0123456789-0123456789"
OTHER = "bob-0123456789-0123456789-0123456789-0"
PRICE = {"input": 1000, "output": 1000}
DAY = 86400.0


def entry(place: CountingProvider, name: str = "a", **more: Any) -> dict[str, Any]:
    known = {"model": f"vllm/{name}", "name": name, "base_url": f"{place.url}/v1", "access_key": "k", "price": PRICE}
    return {**known, "speaks": list(APIS), **more}


def config(entries: Sequence[dict[str, Any]], *budgets: str, **more: Any) -> dict[str, Any]:
    """Return a configuration where alice's key has these ``budgets``, and the route ``r`` has several ``entries``."""
    clients = [{"name": "alice", "key": KEY, "budgets": list(budgets)}]
    content = {"version": "v0.4.0", "model_providers": list(entries), "client_keys": clients}
    if len(entries) > 1:
        content["model_aliases"] = {"r": {"targets": [one["name"] for one in entries]}}
    return {**content, **members_of("metrics", metrics=False), **more}


def key_headers(key: str = KEY, **headers: str) -> tuple[tuple[str, str], ...]:
    named = ((name.replace("_", "-"), value) for name, value in headers.items())
    return (("authorization", f"Bearer {key}"), *named)


async def ask(
    running: InProcess, model: str = "a", *, key: str = KEY, api: str = "chat", **more: Any
) -> httpx2.Response:
    headers = more.pop("headers", {})
    answer = await running.ask(model, api, headers=key_headers(key, **headers), **more)
    await answer.aread()
    return answer


@each_row("stream", [False, True])
@each_row("api", APIS)
async def test_an_exhausted_budget_stops_a_client_before_anything_is_sent(api, stream):
    async with providers(1) as [place], gateway(config([entry(place)], "0.041 usd/day")) as running:
        first = await ask(running, api=api, stream=stream)
        assert first.status_code == 200
        refused = await ask(running, api=api, stream=stream)
        assert refused.status_code == 402
        assert place.take_count() == 1
        assert refused.headers["x-should-retry"] == "false"
        assert refused.headers["x-trigate-limit"] == "client_keys.alice.budgets"
        assert refused.headers["x-trigate-budget-left"] == "usd/day=0.023"
        error = refused.json()["error"]
        assert error["type"] == "billing_error"
        assert error.get("code") == (None if api == "messages" else "insufficient_quota")
        assert "client key alice may spend 0.041 usd/day: 0.018 usd of 0.041 usd used" in error["message"]
        assert "It resets at" in error["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_states_the_rest_without_its_released_reservation(stream):
    async with providers(1) as [place], gateway(config([entry(place)], "1 usd/day", "1 usd/run")) as running:
        place.fails = 400
        failed = await ask(running, stream=stream, headers={"x-trigate-run": "r"})
        assert failed.status_code == 400
        assert failed.headers["x-trigate-budget-left"] == "usd/day=1"
        assert failed.headers["x-trigate-run-left"] == "1 usd"


@pytest.mark.parametrize(("charged", "left", "after"), [(True, "0.9", "0.9"), (False, "1", "0.98")])
async def test_undelivered_responses_are_charged_if_configured(charged, left, after):
    # The client gets an error, which is no word of an answer: QuantumNous/new-api#4168
    async with providers(1) as [place]:
        known = config([entry(place)], "1 usd/day", charge_undelivered=charged)
        async with gateway(known) as running:
            place.cuts = True
            failed = await ask(running)
            assert failed.status_code == 502
            assert failed.headers["x-trigate-cost"] != "0"
            assert failed.headers["x-trigate-budget-left"].startswith(f"usd/day={left}")
            place.cuts = False
            assert (await ask(running)).headers["x-trigate-budget-left"].startswith(f"usd/day={after}")


@pytest.mark.parametrize(("budget", "status"), [("0.041 usd/day", 502), ("0.1 usd/day", 200)])
async def test_an_attempt_after_one_that_is_charged_must_fit_as_well(budget, status):
    """With a reservation for one attempt, a request could still cost as much as all of its attempts."""
    async with providers(2) as [broken, good]:
        broken.cuts = True
        async with gateway(config([entry(broken), entry(good, "b")], budget, reserve="max")) as running:
            assert (await ask(running, "r")).status_code == status
            assert good.take_count() == (status == 200)
            level, (own,) = limit_level(running.service.allowances), running.service.allowances.list_all()
            assert 20_000_000 < level.used <= own.most
            assert level.held == 0


@pytest.mark.parametrize(("budget", "hedges"), [("0.041 usd/day", 0), ("0.1 usd/day", 1)])
async def test_a_hedge_must_fit_besides_the_attempt_that_runs(budget, hedges):
    """Providers may bill both."""
    async with providers(2) as [slow, quick]:
        route = {"targets": ["a", "b"], "hedge": {"after": "10ms", "at_most": "100%"}}
        entries = [entry(slow), entry(quick, "b")]
        async with gateway(config(entries, budget, reserve="max", model_aliases={"r": route})) as running:
            async with trio.open_nursery() as nursery:
                with slow.hold_answers():
                    nursery.start_soon(ask, running, "r")
                    await eventually(lambda: slow.asked)
                    refusals = running.service.allowances.refusals
                    await eventually(lambda: quick.asked or refusals)
            assert quick.take_count() == hedges
            level, (own,) = limit_level(running.service.allowances), running.service.allowances.list_all()
            assert 0 < level.used <= own.most
            assert level.held == 0


async def test_clients_of_a_group_share_its_budget_and_have_their_own():
    # agentgateway/agentgateway#2171: both budgets apply, and the response lists every exhausted one.
    clients = [
        {"name": "alice", "key": KEY, "group": "team", "budgets": ["0.035 usd/day"]},
        {"name": "bob", "key": OTHER, "group": "team"},
    ]
    groups = [{"name": "team", "budgets": ["0.09 usd/month"]}]
    more = {"client_keys": clients, "client_groups": groups}
    async with providers(1) as [place], gateway(config([entry(place)], **more)) as running:
        assert (await ask(running)).headers["x-trigate-budget-left"] == "usd/day=0.017, usd/month=0.072"
        assert (await ask(running)).status_code == 402  # her own
        answers = [await ask(running, key=OTHER) for _ in range(4)]
        assert [one.status_code for one in answers] == [200, 200, 200, 402]
        assert answers[-1].headers["x-trigate-limit"] == "client_groups.team.budgets"
        both = await ask(running)
        assert both.headers["x-trigate-limit"] == "client_keys.alice.budgets, client_groups.team.budgets"
        assert place.take_count() == 4


async def test_each_of_several_answers_is_paid_for_when_they_are_cut():
    # A client that leaves before the last chunk, with the counts, would pay for one of eight answers.
    async def spend_of(**members: Any) -> int:
        async with providers(1) as [place], gateway(config([entry(place)], "9 usd/day")) as running:
            place.cuts = True
            with contextlib.suppress(httpx2.RemoteProtocolError):
                await ask(running, stream=True, **members)
            allowances = running.service.allowances
            settled = trio.Event()
            allowances.counters.on_settled(lambda claim, used: settled.set())
            if limit_level(allowances).held:
                await settled.wait()
            return limit_level(allowances).used

    input = 10**6 * 20  # about, as long as the request
    one, eight = await spend_of(n=1), await spend_of(n=8)
    assert one > input
    assert eight - one >= 7 * 10**6


async def test_a_run_and_its_subagents_share_one_budget():
    # Children that each opened an allowance of their own: nodetool-ai/nodetool#5489.
    root = {"session_id": "root", "thread_id": "root"}
    child = {"session_id": "root", "thread_id": "child", "x_codex_parent_thread_id": "root"}
    async with providers(1) as [place], gateway(config([entry(place)], "0.06 usd/run")) as running:
        first = await ask(running, headers=root)
        second = await ask(running, headers=child)
        assert [first.headers["x-trigate-run-left"], second.headers["x-trigate-run-left"]] == ["0.042 usd", "0.024 usd"]
        refused = await ask(running, headers=child)
        assert refused.status_code == 402
        assert "a new run has its own budget" in refused.json()["error"]["message"]
        assert (await ask(running, headers={"x_trigate_run": "another"})).status_code == 200
        assert (await ask(running)).status_code == 200  # no run at all
        assert place.take_count() == 4
        assert all(b"x-trigate" not in head for head in place.heads)


@pytest.mark.parametrize("api", APIS)
async def test_a_targets_exhausted_budget_moves_on_to_the_next(api):
    async with providers(2) as [paid, small]:
        entries = [entry(paid, "paid", budgets=["0.035 usd/day"]), entry(small, "small", price="free")]
        async with gateway(config(entries)) as running:
            answers = [await ask(running, "r", api=api) for _ in range(3)]
            assert [one.status_code for one in answers] == [200] * 3
            assert [one.headers["x-trigate-target"] for one in answers] == ["vllm/paid", "vllm/small", "vllm/small"]
            assert (paid.take_count(), small.take_count()) == (1, 2)
            assert (await ask(running, "paid", api=api)).status_code == 402


CHECKED: dict[str, Any] = members_of("steps", steps=[{"use": "pii", "at": ["request", "response"], "action": "report"}])
CACHED = members_of("answer_cache", cache={"ttl": "1h"})
QUEUED = {"ratelimits": {"concurrent": 4}, "queue": {"size": 9, "wait": "10s"}}


def make_route_config(owner: str, entries: Sequence[dict[str, Any]], *budgets: str, **more: Any) -> dict[str, Any]:
    """Return a configuration in which ``owner`` has the budgets: the key, its group or the root."""
    content = config(entries, **more)
    (key,), group = content["client_keys"], {"name": "team"}
    content["client_keys"], content["client_groups"] = [{**key, "group": "team", "budgets": []}], [group]
    {"key": content["client_keys"][0], "group": group, "root": content}[owner]["budgets"] = list(budgets)
    return content


@pytest.mark.parametrize("api", APIS)
@each_row(
    ("owner", "stream", "paid", "settings", "route"),
    [
        ("key", False, {}, {}, {}),
        ("group", True, {}, {}, {}),
        ("root", True, QUEUED, {}, {}),
        ("key", True, {}, CHECKED, {}),
        ("root", False, QUEUED, CHECKED, {}),
        ("group", False, {}, {}, CACHED),
        ("key", True, QUEUED, CHECKED, CACHED),
    ],
)
async def test_an_exhausted_budget_of_a_client_leaves_the_targets_that_cost_nothing(
    api, owner, stream, paid, settings, route
):
    async with providers(4) as places:
        named = zip(("paid", "cheap", "plan", "last"), places, strict=True)
        entries = [entry(place, name, **(paid if name == "paid" else {})) for name, place in named]
        entries[2]["price"] = "subscription"
        aliases = {
            "r": {"targets": ["paid", "cheap", "plan", "last"], **route},
            "never": {"targets": ["paid", {"target": "plan", "when": ["overloaded"]}], **route},
            "costly": {"targets": [["paid", "cheap"], "last"], **route},
        }
        content = make_route_config(owner, entries, "0.045 usd/day", model_aliases=aliases, **settings)
        async with gateway(content) as running:
            more = {"api": api, "stream": stream}
            answers = [await ask(running, "r", temperature=number / 10, **more) for number in range(3)]
            assert [one.headers["x-trigate-target"] for one in answers] == ["vllm/paid", "vllm/plan", "vllm/plan"]
            assert [place.take_count() for place in places] == [1, 0, 2, 0]
            for name in ("never", "costly"):
                refused = await ask(running, name, temperature=0.4, **more)
                assert (refused.status_code, refused.headers["x-should-retry"]) == (402, "false")
                assert refused.headers["x-trigate-attempts"] == "0"
            assert [place.take_count() for place in places] == [0, 0, 0, 0]
            level = limit_level(running.service.allowances)
            assert (level.used, level.held) == (18_000_000, 0)


def answer_embedding(received: ReceivedRequest) -> ScriptedAnswer:
    usage = {"prompt_tokens": 20, "total_tokens": 20}
    return json_answer({"data": [{"index": 0, "embedding": [0.5]}], "text": "Hello.", "usage": usage})


@needs_feature("other_endpoints")
@pytest.mark.parametrize("settings", [{}, CHECKED], ids=["plain", "checked"])
async def test_requests_besides_conversations_also_use_the_targets_that_cost_nothing(settings):
    form = multipart([part("model", b"r"), part("file", wav(1), "a.wav")])
    sent = (
        ("/v1/embeddings", {"json": {"model": "r", "input": "Hello"}}),
        ("/v1/audio/transcriptions", {"content": form, "headers": {"content-type": KIND}}),
    )
    async with endpoint_provider(answer_embedding) as paid, endpoint_provider(answer_embedding) as own:
        shared = {"model": "vllm/m", "access_key": "k"}
        entries = [
            {**shared, "name": "paid", "base_url": f"{paid.url}/v1", "price": {"input": 1000, "output": 1000}},
            {**shared, "name": "own", "base_url": f"{own.url}/v1", "price": "free"},
        ]
        async with gateway(config(entries, "0.02 usd/day", **settings)) as running:
            for path, request in (sent[0], *sent):
                headers = {"authorization": f"Bearer {KEY}", **request.get("headers", {})}
                answered = await running.post(path, **{**request, "headers": headers})
                assert answered.status_code == 200, answered.text
        assert [one.path for one in paid.asked] == ["/v1/embeddings"]
        assert [one.path for one in own.asked] == [path for path, _ in sent]


async def test_other_limits_of_a_client_refuse_its_requests_at_every_target():
    async with providers(2) as places:
        entries = [entry(places[0], "paid"), entry(places[1], "plan", price="subscription")]
        content = config(entries, "0.03 usd/day", "30 tokens/day")
        async with gateway(content) as running:
            assert [(await ask(running, "r", max_tokens=1)).status_code for _ in range(2)] == [200, 402]
            content["client_keys"][0] |= {"budgets": ["0.001 usd/day"], "ratelimits": {"requests": "1/h"}}
            running.reload(content)
            assert [(await ask(running, "r")).status_code for _ in range(2)] == [200, 429]
            refused = await ask(running, "r")
            assert refused.headers["x-trigate-limit"] == "client_keys.alice.requests", "paid has no part in it"
            assert (await ask(running, "paid")).status_code == 402


async def test_a_request_waits_once_for_reservations_then_costs_nothing(monkeypatch):
    monkeypatch.setattr(reservation, "LONGEST_WAIT", 0.2)
    async with providers(3) as places:
        entries = [entry(place, f"paid{number}") for number, place in enumerate(places)]
        entries[2] |= {"price": "free", "name": "own"}
        content = config(entries, "0.041 usd/day")
        async with gateway(content) as running, trio.open_nursery() as nursery:
            with places[0].hold_answers():
                nursery.start_soon(ask, running, "paid0")
                await eventually(lambda: places[0].asked)
                answer = await ask(running, "r")
                assert (answer.status_code, answer.headers["x-trigate-target"]) == (200, "vllm/paid2")
                assert (await ask(running, "paid1")).status_code == 429
            assert [place.take_count() for place in places] == [1, 0, 1]


async def test_a_request_waits_for_reservations_until_its_deadline_at_the_latest(monkeypatch):
    monkeypatch.setattr(reservation, "LONGEST_WAIT", 40.0)
    async with providers(2) as places:
        entries = [entry(place, f"paid{number}") for number, place in enumerate(places)]
        async with gateway(config(entries, "0.041 usd/day")) as running, trio.open_nursery() as nursery:
            with places[0].hold_answers():
                nursery.start_soon(ask, running, "paid0")
                await eventually(lambda: places[0].asked)
                began, lines = trio.current_time(), SettledLines(running)
                answer = await ask(running, "paid1", headers={"x-trigate-deadline": "2s"})
                assert answer.status_code == 429
                assert trio.current_time() - began < reservation.LONGEST_WAIT / 2
                (line,) = await lines.next()
                assert 50 < line["waited_ms"] < 1000 * reservation.LONGEST_WAIT / 2
            assert [place.take_count() for place in places] == [1, 0]


@needs_feature("metrics")
@pytest.mark.parametrize("stream", [False, True])
async def test_the_metric_counts_tokens_of_failed_attempts_like_their_dollars(stream):
    async with providers(2) as [broken, good]:
        broken.cuts = True
        entries = [entry(broken), entry(good, "b", price={"input": 1000, "output": 1000, "cached": 1000})]
        async with gateway(config(entries, "1 usd/day", metrics={"open": True})) as running:
            assert (await ask(running, "r", stream=stream)).status_code == 200
            page = Numbers((await running.get("/metrics")).text)
            for target in ("a", "b"):
                tokens = sum(page("trigate_tokens_total", model=target, kind=kind) for kind in ("input", "output"))
                assert tokens == pytest.approx(1000 * page("trigate_cost_dollars_total", target=target)), target
            assert page("trigate_tokens_total", model="a") > 0


async def test_a_burst_spends_no_more_than_reservations_were_short_of():
    # 8 first requests of a new customer all passed: BerriAI/litellm#40095.
    async with providers(1) as [place], gateway(config([entry(place)], "0.2 usd/day")) as running:
        statuses: list[int] = []

        async def send() -> None:
            statuses.append((await ask(running)).status_code)

        async with trio.open_nursery() as nursery:
            with place.hold_answers():
                for _ in range(30):
                    nursery.start_soon(send)
                await eventually(lambda: len(place.asked) >= 4)
        assert set(statuses) == {200, 402}
        assert statuses.count(200) == place.take_count()
        assert 9 <= statuses.count(200) <= 11
        level = limit_level(running.service.allowances)
        assert level.used == statuses.count(200) * 18_000_000 <= 200_000_000
        assert level.held == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_also_waits_for_reservations_if_others_are_in_a_queue(stream):
    """It got a 429 immediately; without a queue it waited until the others had ended."""
    async with providers(1) as [place]:
        queued = entry(place, ratelimits={"concurrent": 1}, queue={"size": 9, "wait": "10s"})
        async with gateway(config([queued], "0.08 usd/day")) as running, trio.open_nursery() as nursery:
            waiting, target = running.service.allowances.queues.waiting, running.service.router.resolve("a", "chat")
            statuses: list[int] = []

            async def send_one() -> None:
                statuses.append((await ask(running, stream=stream)).status_code)

            with place.hold_answers():
                nursery.start_soon(send_one)
                await eventually(lambda: place.asked)
                nursery.start_soon(send_one)
                await eventually(lambda: waiting(target) == 1)
                nursery.start_soon(send_one)
                await eventually(lambda: statuses or len(running.service.ledger.open_records) == 3)
                await trio.testing.wait_all_tasks_blocked(0.05)
        assert statuses == [200, 200, 200]


async def test_an_answer_that_has_begun_is_never_cut():
    async with providers(1) as [place], gateway(config([entry(place)], "35 tokens/day")) as running:
        answer = await ask(running, stream=True, max_tokens=1)
        assert answer.status_code == 200
        assert "[DONE]" in answer.text
        assert (await ask(running)).status_code == 402


async def test_without_a_budget_no_request_is_refused_for_its_cost():
    # BerriAI/litellm#20615
    dear = {"input": 10**6, "output": 10**6}
    async with providers(1) as [place], gateway(config([entry(place, price=dear)])) as running:
        answers = [await ask(running) for _ in range(3)]
        assert [one.status_code for one in answers] == [200] * 3
        assert "x-trigate-budget-left" not in answers[0].headers


async def test_a_reload_keeps_the_used_amount_and_applies_new_prices():
    """They rewrite nothing (BerriAI/litellm#20615, #22726)."""
    async with providers(1) as [place], gateway(config([entry(place)], "0.035 usd/day")) as running:
        assert (await ask(running)).status_code == 200
        assert (await ask(running)).status_code == 402
        running.reload(config([entry(place)], "0.1 usd/day"))
        assert (await ask(running)).headers["x-trigate-budget-left"] == "usd/day=0.064"
        running.reload(config([entry(place, price={"input": 100, "output": 100})], "0.1 usd/day"))
        assert (await ask(running)).headers["x-trigate-budget-left"] == "usd/day=0.0622"


async def test_a_new_day_begins_automatically():
    async with providers(1) as [place], gateway(config([entry(place)], "0.035 usd/day")) as running:
        allowances = running.service.allowances
        now = allowances.now()
        allowances.now = lambda: now
        assert [(await ask(running)).status_code for _ in range(2)] == [200, 402]
        now += DAY
        assert [(await ask(running)).status_code for _ in range(2)] == [200, 402]


@pytest.mark.parametrize("api", APIS)
async def test_a_request_may_have_a_budget_of_its_own(api):
    async with providers(1) as [place], gateway(config([entry(place)])) as running:
        refused = await ask(running, api=api, headers={"x_trigate_budget": "0.01 usd"})
        assert refused.status_code == 402
        assert (
            "x-trigate-budget: the request may cost 0.01 usd, but could cost 0.0" in refused.json()["error"]["message"]
        )
        assert place.take_count() == 0
        assert (await ask(running, api=api, headers={"x_trigate_budget": "1 usd"})).status_code == 200
        assert (await ask(running, api=api, headers={"x_trigate_budget": "10 tokens"})).status_code == 402
        assert all(BUDGET.encode() not in head for head in place.heads)


async def test_the_budget_of_a_request_leads_it_to_a_cheaper_place():
    async with providers(2) as [dear, cheap]:
        entries = [entry(dear, "dear"), entry(cheap, "cheap", price="free")]
        async with gateway(config(entries)) as running:
            answer = await ask(running, "r", headers={"x_trigate_budget": "0.01 usd"})
            assert (answer.status_code, answer.headers["x-trigate-target"]) == (200, "vllm/cheap")
            assert dear.take_count() == 0


@pytest.mark.parametrize("value", ["2", "two usd", "$2", "0 usd", ""])
async def test_a_wrong_budget_of_a_request_is_refused_with_its_place(value):
    async with providers(1) as [place], gateway(config([entry(place)])) as running:
        answer = await ask(running, headers={"x_trigate_budget": value})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, BUDGET)
        assert place.take_count() == 0


async def test_the_maximum_answer_is_reserved_where_configured():
    members = {"max_tokens": 30_000}
    async with providers(1) as [place], gateway(config([entry(place)], "5 usd/day")) as running:
        assert (await ask(running, **members)).status_code == 200
        running.reload(config([entry(place)], "5 usd/day", reserve="max"))
        assert (await ask(running, **members)).status_code == 402


def turns(port: int, number: int) -> list[dict[str, Any]]:
    """Return the last event of each of ``number`` turns on one WebSocket."""
    client = Client.connect(port, {"authorization": f"Bearer {KEY}", "session-id": "root"})
    with contextlib.closing(client.wire.sock):
        return [client.ask("a", max_output_tokens=9, store=False)[-1] for _ in range(number)]


@needs_feature("responses_websocket")
async def test_turns_on_a_websocket_are_of_a_run_too():
    # Elsewhere, such requests bypassed all budgets: maximhq/bifrost#2873.
    async with providers(1) as [place], gateway(config([entry(place)], "0.035 usd/run")) as running:
        port = int(running.url.rpartition(":")[2])
        first, second = await trio.to_thread.run_sync(turns, port, 2)
        assert (first["type"], second["type"]) == ("response.completed", "error")
        assert "client key alice may spend 0.035 usd/run" in json.dumps(second)
        assert place.take_count() == 1


async def test_requests_that_wait_for_a_budget_take_no_work_for_those_of_other_clients(monkeypatch):
    """Each end of a request woke every request that waited for a budget (CWE-400)."""
    monkeypatch.setattr(reservation, "LONGEST_WAIT", 60.0)
    keys = {"alice": KEY, "bob": OTHER}
    clients = [{"name": name, "key": key, "budgets": ["0.06 usd/day"]} for name, key in keys.items()]

    async def count_steps(running: InProcess) -> int:
        with count_task_steps() as steps:
            for _ in range(10):
                assert (await ask(running, "b", key=OTHER)).status_code == 200
        return steps.count

    async with providers(2) as [held, free]:
        entries = [entry(held), entry(free, "b", price={"input": 1, "output": 1})]
        async with gateway(config(entries, client_keys=clients)) as running, trio.open_nursery() as nursery:
            alone = await count_steps(running)
            with held.hold_answers():
                for _ in range(50):
                    nursery.start_soon(ask, running)
                await eventually(lambda: running.service.lifecycle.in_flight == 50)
                await trio.testing.wait_all_tasks_blocked()
                beside = await count_steps(running)
                nursery.cancel_scope.cancel()
    assert beside < 1.5 * alone
