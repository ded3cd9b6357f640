"""``budgets`` and ``ratelimits`` at the root of the file: they apply to every request, with a client key or without.

The provider's responses cost 0.018 dollars each (11 tokens of input, 7 of output, a tenth of a cent each)."""

from typing import Any

import httpx2
import pytest

from gateway.allowances.allowances import Allowances
from gateway.config.loading import from_mapping
from gateway.endpoints.health import limits_seen
from tests.support.in_process import CountingProvider, gateway, providers

ALICE, BOB = ("alice-0123456789-0123456789-0123456789", "bob-0123456789-0123456789-0123456789-0")
CLIENTS = [{"name": "alice", "key": ALICE}, {"name": "bob", "key": BOB}]


def config(place: CountingProvider, **more: Any) -> dict[str, Any]:
    price = {"input": 1000, "output": 1000}
    entry = {"model": "vllm/a", "name": "a", "base_url": f"{place.url}/v1", "access_key": "k", "price": price}
    return {"version": "v0.4.0", "model_providers": [entry], "metrics": {"open": True}, **more}


def keyed(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", ["chat", "messages", "responses"])
async def test_a_budget_of_the_root_stops_requests_without_any_key(api, stream):
    async with providers(1) as [place], gateway(config(place, budgets=["0.035 usd/day"])) as running:
        first = await running.ask("a", api, stream=stream)
        await first.aread()
        refused = await running.ask("a", api, stream=stream)
        assert (first.status_code, refused.status_code, place.take_count()) == (200, 402, 1)
        assert refused.headers["x-trigate-limit"] == "everybody.budgets"
        assert refused.headers["x-trigate-budget-left"] == "usd/day=0.017"
        message = refused.json()["error"]["message"]
        assert "all clients together may spend 0.035 usd/day: 0.018 usd of 0.035 usd used" in message


async def test_clients_with_keys_share_a_budget_of_the_root():
    clients = [{**CLIENTS[0], "budgets": ["0.035 usd/day"]}, CLIENTS[1]]
    async with providers(1) as [place]:
        known = config(place, client_keys=clients, budgets=["0.07 usd/day"])
        async with gateway(known) as running:
            asked = [await running.ask("a", headers=keyed(key)) for key in (ALICE, ALICE, BOB, BOB, BOB)]
    assert [one.status_code for one in asked] == [200, 402, 200, 200, 402]
    assert asked[1].headers["x-trigate-limit"] == "client_keys.alice.budgets"
    assert asked[0].headers["x-trigate-budget-left"] == "usd/day=0.017", "its own, and not what the others left"
    assert "x-trigate-budget-left" not in asked[2].headers
    assert asked[4].headers["x-trigate-limit"] == "everybody.budgets"


async def test_a_budget_for_runs_at_the_root_gives_each_clients_run_its_own():
    async with providers(1) as [place]:
        known = config(place, client_keys=CLIENTS, budgets=["0.035 usd/run"])
        async with gateway(known) as running:
            run = (("x-trigate-run", "r"),)
            asked = [await running.ask("a", headers=(*keyed(key), *run)) for key in (ALICE, ALICE, BOB)]
            asked.append(await running.ask("a", headers=keyed(ALICE)))
    assert [one.status_code for one in asked] == [200, 402, 200, 200]


async def test_rates_of_the_root_are_one_for_all_clients():
    async with providers(1) as [place]:
        known = config(place, client_keys=CLIENTS, ratelimits={"requests": "2/h"})
        async with gateway(known) as running:
            asked = [await running.ask("a", headers=keyed(key)) for key in (ALICE, BOB, ALICE)]
            metrics = (await running.get("/metrics")).text
    assert [one.status_code for one in asked] == [200, 429, 429]  # a burst is a minute's amount, 1 at least
    assert asked[1].headers["x-trigate-limit"] == "everybody.requests"
    assert "all clients together: 2 requests/h" in asked[1].json()["error"]["message"]
    assert 'holder="everybody",holder_kind="everybody"' in metrics


async def test_limits_of_the_root_are_seen_by_the_operator_and_where_there_are_no_keys():
    """A client with a key would see what the others spend."""
    content = {
        "version": "v0.4.0", "model_providers": [{"model": "openai/gpt-4o", "access_key": "k"}],
        "client_keys": CLIENTS, "budgets": ["5 usd/day"], "ratelimits": {"concurrent": 4},
    }  # fmt: skip
    allowances = Allowances(from_mapping(content))
    seen = {(str(one.holder), one.text) for one in await limits_seen(allowances, None)}
    assert seen == {("everybody", "5 usd/day"), ("everybody", "4")}
    assert await limits_seen(allowances, "alice") == []


ENDPOINTS = {
    "/v1/messages": {"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]},
    "/v1/embeddings": {"input": "Hi"},
    "/v1/completions": {"prompt": "Hi"},
    "/v1/images/generations": {"prompt": "Hi"},
    "/v1/audio/speech": {"input": "Hi", "voice": "alloy"},
    "/v1/moderations": {"input": "Hi"},
}


async def test_rates_of_the_root_apply_at_every_endpoint():
    async with providers(1) as [place]:
        known = config(place, ratelimits={"requests": "2/h"})
        known["model_providers"][0]["model"] = "openai/a"
        async with gateway(known) as running, httpx2.AsyncClient(base_url=running.url, trust_env=False) as client:
            assert (await running.ask("a")).status_code == 200
            for path, members in ENDPOINTS.items():
                refused = await client.post(path, json={"model": "a", **members})
                limit = refused.headers.get("x-trigate-limit")
                assert (refused.status_code, limit) == (429, "everybody.requests"), path
    assert place.take_count() == 1
