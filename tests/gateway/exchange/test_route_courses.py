"""The record of a route's requests: how many were sent, to which target, and their possible cost."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from gateway.exchange.whole_answer import WholeAnswer
from gateway.routing.target import Target
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.harness import PATIENCE
from tests.support.in_process import InProcess, gateway
from tests.support.played_provider import PlayedProvider, entry, played_provider
from tests.support.settled_lines import SettledLines
from tests.support.wire_clients import ALL, body_of, path_of

PRICE = {"input": 3, "cached": 0.3, "output": 15}


class Client:
    """Sends requests for one name, and reads their log lines."""

    def __init__(self, running: InProcess, http: httpx2.AsyncClient) -> None:
        self.running = running
        self._http = http
        self._lines = SettledLines(running)

    async def ask(self, model: str, api: str = "chat", *, stream: bool = False, **headers: str) -> httpx2.Response:
        body = body_of(api, model, stream=stream)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self._http.post(path_of(api, model, stream=stream), json=body, headers=named)

    def target(self, name: str) -> Target:
        return self.running.service.router.resolve(name, "chat")

    async def line(self) -> dict[str, Any]:
        """Return the next log line."""
        (line,) = await self._lines.next()
        return dict(line)


@contextlib.asynccontextmanager
async def serve_two_targets(**more: Any) -> AsyncIterator[tuple[PlayedProvider, Client]]:
    """Serve the route ``r`` with the targets ``first`` and ``second``."""
    route = more.pop("route", {})
    async with played_provider() as provider:
        entries = [entry(provider, "chat", name, price=PRICE) for name in ("first", "second")]
        content = {
            "version": "v0.4.0", "model_providers": entries,
            "model_aliases": {"r": {"targets": ["first", "second"], **route}},
            "circuit": {"failures": 1000, "error_rate": "100%"}, **more,
        }  # fmt: skip
        async with (
            gateway(content) as running,
            httpx2.AsyncClient(base_url=running.url, timeout=PATIENCE, verify=False, trust_env=False) as http,
        ):
            yield provider, Client(running, http)


async def test_a_mistake_of_our_own_is_recorded_as_one_and_leaves_nothing_open(monkeypatch):
    async def crash(_: WholeAnswer) -> None:
        raise ZeroDivisionError

    async with serve_two_targets() as (_, client):
        monkeypatch.setattr(WholeAnswer, "begin", crash)
        assert (await client.ask("r")).status_code == 500
        assert [one["reason"] for one in (await client.line())["tried"]] == ["internal"]
        assert client.running.service.balancer.loads.counts.count(client.target("first").identity.place) == 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_request_without_fallback_is_sent_once(stream):
    async with serve_two_targets() as (provider, client):
        for api in ALL:
            with case(api):
                provider.reset(first="busy")
                reply = await client.ask("r", api, stream=stream, x_trigate_fallback="off")
                assert reply.status_code in (503, 529)
                assert provider.asked == {"first": 1}


@each_row("stream", [False, True])
@each_row("model", ["r", "first"])
async def test_a_request_that_was_read_may_be_billed_though_no_head_came(model, stream):
    # bircex/llmr#48
    async with serve_two_targets() as (provider, client):
        provider.reset(first="no answer")
        reply = await client.ask(model, stream=stream)
        assert provider.asked["first"] == 1
        assert reply.status_code == (200 if model == "r" else 502)
        line = await client.line()
        (lost, *_) = line["tried"]
        assert (lost["reason"], lost["usage"]) == ("connection", "unknown")
        assert lost["input_tokens"] > 0
        assert line["cost_grade"] == "at_least"


async def test_a_request_that_no_provider_has_read_is_not_billed():
    async with serve_two_targets() as (provider, client):
        await provider.stop()
        await client.ask("r")
        line = await client.line()
        assert {(one["reason"], one.get("usage")) for one in line["tried"]} == {("connection", None)}
        assert "cost_grade" not in line


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_request_on_a_dead_connection_is_one_of_those_that_were_tried(stream):
    # envoyproxy/envoy#32580
    async with serve_two_targets() as (provider, client):
        await client.ask("first")
        provider.reset(first="no answer once")
        reply = await client.ask("r", stream=stream)
        assert reply.headers["x-trigate-tried"] == "first=connection, first=ok"
        assert reply.headers["x-trigate-attempts"] == "2"
        await client.line()
        line = await client.line()
        assert [one["cause"] for one in line["tried"]] == ["first", "retry"]
        assert line["cost_grade"] == "exact"


async def test_a_dead_connection_takes_no_attempt_from_an_untried_target():
    async with serve_two_targets(retries={"attempts": 2}) as (provider, client):
        await client.ask("first")
        provider.reset(first="no answer")
        reply = await client.ask("r")
        assert (reply.status_code, dict(provider.asked)) == (200, {"first": 1, "second": 1})
        await client.ask("second")
        provider.reset(second="no answer once")
        reply = await client.ask("second")
        assert (reply.status_code, dict(provider.asked)) == (200, {"second": 2})


@each_row("stream", [False, True])
@each_row("route", [{}, {"hedge": {"after": "10s", "at_most": "100%"}}])
async def test_an_empty_response_costs_the_usage_that_its_provider_counted(route, stream):
    async with serve_two_targets(route=route) as (provider, client):
        provider.reset(first="empty")
        reply = await client.ask("r", stream=stream)
        assert reply.headers["x-trigate-tried"] == "first=bad_answer, second=ok"
        line = await client.line()
        lost = line["tried"][0]
        assert (lost["input_tokens"], lost.get("output_tokens"), lost.get("usage")) == (111, 0, None)
        prompt = (71 * 3 + 40 * 0.3) / 1e6
        assert line["cost_usd"] == pytest.approx(2 * prompt + 17 * 15 / 1e6)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_unsteady_targets_get_requests_if_all_are_unavailable(stream):
    circuit = {"failures": 3, "error_rate": "30%"}
    more = {"circuit": circuit, "retries": {"attempts": 2, "budget": "100%"}, "route": {"sticky": False}}
    async with serve_two_targets(**more) as (provider, client):
        for _ in range(8):  # the first target fails one request of three, the second one of two that reach it
            provider.acts = {"first": "busy once"}
            for _ in range(3):
                assert (await client.ask("r", stream=stream)).status_code == 200
            provider.acts = {"first": "busy once", "second": "busy once"}
            await client.ask("r", stream=stream)

        def unsteady() -> list[bool]:
            health, names = client.running.service.health, ("first", "second")
            outages = [health.outage(client.target(name), None) for name in names]
            return [one is not None and one.unsteady for one in outages]

        assert unsteady() == [True, True]
        provider.reset()
        assert (await client.ask("r", stream=stream)).status_code == 200
        provider.reset(first="busy", second="busy")
        while any(unsteady()):
            assert provider.asked.total() < 12, "a target that failed six times in a row is gone"
            assert (await client.ask("r", stream=stream)).status_code == 503


async def test_a_target_with_the_conversation_gets_no_second_request_once_its_circuit_is_open():
    """Otherwise the request waits for the end of the cooldown while another target is available."""
    async with serve_two_targets(circuit={"failures": 1}, route={"targets": [["first", "second"]]}) as (
        provider,
        client,
    ):
        (warm,) = (await client.ask("r")).headers["x-trigate-tried"].split("=")[:1]
        (other,) = {"first", "second"} - {warm}
        provider.reset(**{warm: "busy"})
        reply = await client.ask("r")
        assert (reply.status_code, reply.headers["x-trigate-tried"]) == (200, f"{warm}=overloaded, {other}=ok")


async def test_a_retry_of_an_unsteady_target_does_not_wait_for_its_circuit():
    more = {"circuit": {"failures": 1, "cooldown": "20s"}, "retries": {"wait": "10s", "budget": "100%"}}
    async with serve_two_targets(**more) as (provider, client):
        for name in ("first", "second"):
            assert (await client.ask(name)).status_code == 200
        provider.reset(first="busy", second="busy")
        reply = await client.ask("r")
        assert (reply.status_code, dict(provider.asked)) == (503, {"first": 2, "second": 2})


async def test_retries_of_a_name_with_one_target_do_not_wait_for_its_circuit():
    more = {"circuit": {"failures": 1, "cooldown": "20s"}, "retries": {"attempts": 3, "wait": "10s"}}
    async with serve_two_targets(**more) as (provider, client):
        provider.reset(first="busy")
        reply = await client.ask("first")
        assert (reply.status_code, provider.asked["first"]) == (503, 3)


@each_row("retries", [{"attempts": 3}, None])
async def test_an_account_without_credit_gets_no_second_request(retries):
    """Not even if its target is the only one for this request, so that no circuit stops the attempt."""
    route = {"targets": ["first", {"target": "second", "when": ["background"]}]}
    async with serve_two_targets(route=route, **({"retries": retries} if retries else {})) as (provider, client):
        provider.reset(first="spent")
        for model in ("r", "first"):
            assert (await client.ask(model)).headers["x-trigate-tried"] == "first=quota"
            assert provider.asked.pop("first") == 1
