"""``budgets`` and ``ratelimits`` at the root of the file: they apply to every request, with a client key or without.

The provider's responses cost 0.018 dollars each (11 tokens of input, 7 of output, a tenth of a cent each)."""

from typing import Any

import pytest

from gateway.allowances.allowances import Allowances
from gateway.allowances.rates import RootLimits
from gateway.config_files.loading import from_mapping
from gateway.counters.counter import RateCounter
from gateway.endpoints.health import visible_limits
from tests.support.features import has_feature, members_of, needs_feature
from tests.support.in_process import CountingProvider, gateway, providers

ALICE, BOB = ("alice-0123456789-0123456789-0123456789", "bob-0123456789-0123456789-0123456789-0")
CLIENTS = [{"name": "alice", "key": ALICE}, {"name": "bob", "key": BOB}]


def config(place: CountingProvider, **more: Any) -> dict[str, Any]:
    price = {"input": 1000, "output": 1000}
    entry = {"model": "vllm/a", "name": "a", "base_url": f"{place.url}/v1", "access_key": "k", "price": price}
    return {"version": "v0.4.0", "model_providers": [entry], **members_of("metrics", metrics={"open": True}), **more}


def key_headers(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


async def test_a_budget_of_the_root_stops_requests_without_any_key():
    async with providers(1) as [place], gateway(config(place, budgets=["0.041 usd/day"])) as running:
        first, refused = await running.ask("a"), await running.ask("a")
        assert (first.status_code, refused.status_code, place.take_count()) == (200, 402, 1)
        assert refused.headers["x-trigate-limit"] == "everybody.budgets"
        assert refused.headers["x-trigate-budget-left"] == "usd/day=0.023"
        message = refused.json()["error"]["message"]
        assert "all clients together may spend 0.041 usd/day: 0.018 usd of 0.041 usd used" in message


async def test_clients_with_keys_share_a_budget_of_the_root():
    clients = [{**CLIENTS[0], "budgets": ["0.035 usd/day"]}, CLIENTS[1]]
    async with providers(1) as [place]:
        known = config(place, client_keys=clients, budgets=["0.07 usd/day"])
        async with gateway(known) as running:
            asked = [await running.ask("a", headers=key_headers(key)) for key in (ALICE, ALICE, BOB, BOB, BOB)]
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
            asked = [await running.ask("a", headers=(*key_headers(key), *run)) for key in (ALICE, ALICE, BOB)]
            asked.append(await running.ask("a", headers=key_headers(ALICE)))
    assert [one.status_code for one in asked] == [200, 402, 200, 200]


async def test_rates_of_the_root_are_one_for_all_clients():
    async with providers(1) as [place]:
        known = config(place, client_keys=CLIENTS, ratelimits={"requests": "2/h"})
        async with gateway(known) as running:
            asked = [await running.ask("a", headers=key_headers(key)) for key in (ALICE, BOB, ALICE)]
            metrics = (await running.get("/metrics")).text
    assert [one.status_code for one in asked] == [200, 429, 429]  # a burst is a minute's amount, 1 at least
    assert asked[1].headers["x-trigate-limit"] == "everybody.requests"
    assert "all clients together: 2 requests/h" in asked[1].json()["error"]["message"]
    if has_feature("metrics"):
        assert 'holder="everybody",holder_kind="everybody"' in metrics


async def test_limits_of_the_root_are_seen_by_the_operator_and_where_there_are_no_keys():
    """A client with a key would see what the others spend."""
    content = {
        "version": "v0.4.0", "model_providers": [{"model": "openai/gpt-4o", "access_key": "k"}],
        "client_keys": CLIENTS, "budgets": ["5 usd/day"], "ratelimits": {"concurrent": 4},
    }  # fmt: skip
    allowances = Allowances(from_mapping(content))
    seen = {(str(one.holder), one.text) for one in await visible_limits(allowances, None)}
    assert seen == {("everybody", "5 usd/day"), ("everybody", "4")}
    assert await visible_limits(allowances, "alice") == []


ENDPOINTS = {
    "/v1/messages": {"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]},
    "/v1/embeddings": {"input": "Hi"},
    "/v1/completions": {"prompt": "Hi"},
    "/v1/images/generations": {"prompt": "Hi"},
    "/v1/audio/speech": {"input": "Hi", "voice": "alloy"},
    "/v1/moderations": {"input": "Hi"},
}


@needs_feature("other_endpoints")
async def test_rates_of_the_root_apply_at_every_endpoint():
    async with providers(1) as [place]:
        known = config(place, ratelimits={"requests": "2/h"})
        known["model_providers"][0]["model"] = "openai/a"
        async with gateway(known) as running:
            assert (await running.ask("a")).status_code == 200
            for path, members in ENDPOINTS.items():
                refused = await running.post(path, json={"model": "a", **members})
                limit = refused.headers.get("x-trigate-limit")
                assert (refused.status_code, limit) == (429, "everybody.requests"), path
    assert place.take_count() == 1


# Plano's ``ratelimits``: which requests they are for, and what each value has


NAMES = ("fast", "openai/gpt-4o", "gpt-4o")


def limits(*items: tuple[str, str, str | None]) -> RootLimits:
    content = {
        "version": "v0.4.0",
        "model_providers": [{"model": "openai/gpt-4o", "access_key": "k"}],
        "ratelimits": [
            {"model": model, "selector": {"key": key, "value": value}, "limit": {"tokens": 60, "unit": "minute"}}
            for model, key, value in items
        ],
    }
    return RootLimits(from_mapping(content).header_limits)


def keys(found: RootLimits, **headers: str) -> list[bytes]:
    sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return [one.counter(0, None).key for one in found.of(NAMES, sent)]


@pytest.mark.parametrize("model", ["openai/gpt-4o", "gpt-4o"])
def test_a_model_is_found_in_either_form(model):
    assert len(keys(limits((model, "x-user", "ann")), x_user="ann")) == 1


def test_others_are_not_matched():
    found = limits(("gpt-4o", "x-user", "ann"), ("gpt-5", "x-user", None))
    assert keys(found) == [], "a request without the header"
    assert keys(found, x_user="ben") == []
    assert keys(found, x_team="ann") == []


@pytest.mark.parametrize("value", ["*", None])
def test_without_a_value_each_has_its_own(value):
    found = limits(("gpt-4o", "x-user", value))
    (ann,), (ben,) = keys(found, x_user="ann"), keys(found, x_user="ben")
    assert ann != ben
    assert keys(found, x_user="ann") == [ann]
    (one,) = found.of(NAMES, [("x-user", "ann")])
    counter = one.counter(0, None)
    assert isinstance(counter, RateCounter)
    assert counter.chosen_by is not None, "clients can name any number of them"
    assert str(one.holder) == "ratelimits.gpt-4o by x-user", "no value of a client's is shown"


def test_one_of_a_value_is_known_beforehand():
    (one,) = limits(("gpt-4o", "x-user", "ann")).fixed_allowances
    assert str(one.holder) == "ratelimits.gpt-4o by x-user=ann"
    counter = one.counter(0, None)
    assert isinstance(counter, RateCounter)
    assert (counter.amount, counter.seconds, counter.chosen_by) == (60, 60.0, None)


@needs_feature("other_endpoints")
@pytest.mark.parametrize("stream", [True, False])
async def test_root_limits_apply_without_any_client_key(stream):
    async with providers(1) as (place,):
        content = {
            "version": "v0.4.0",
            "model_providers": [{"model": "vllm/m", "base_url": f"{place.url}/v1", "access_key": "k"}],
            "ratelimits": [{"model": "vllm/m", "selector": {"key": "x-user"}, "limit": {"tokens": 1, "unit": "hour"}}],
        }
        async with gateway(content) as running:
            statuses = [
                (await running.ask("m", stream=stream, headers=headers)).status_code
                for headers in ((("x-user", "ann"),), (("x-user", "ann"),), (("x-user", "ben"),), ())
            ]
    assert statuses == [200, 429, 200, 200]
