"""The configurations of ``docs/examples`` at work: their budgets hold, with counting providers in the real ones'
place."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.allowances.budgets import BudgetAllowance
from gateway.counters.counter import SumCounter
from tests.support.features import members_of, needs_feature
from tests.support.in_process import CountingProvider, InProcess, gateway, providers
from tests.support.quick_yaml import load_yaml
from tests.support.repository import ROOT

KEYS = {"ben": "BEN_KEY", "nightly": "NIGHTLY_KEY", "bank": "BANK_KEY", "shop": "SHOP_KEY"}


def secret(variable: str) -> str:
    return f"sk-of-{variable.lower().replace('_', '-')}-0123456789"


def example(name: str, places: Mapping[str, CountingProvider]) -> dict[str, Any]:
    """Return the example file with the entries' addresses replaced by ``places``, and with counters in memory."""
    text = (ROOT / f"docs/examples/{name}.yaml").read_text()
    content: dict[str, Any] = load_yaml(re.sub(r"\$([A-Z_]+)", lambda match: secret(match[1]), text))
    content.pop("counters", None)
    content.pop("state_storage", None)
    for entry in content["model_providers"]:
        entry.pop("probe", None)
        place = places[entry.get("name", entry["model"].partition("/")[2])]
        entry["base_url"] = place.url if entry["model"].startswith("anthropic/") else f"{place.url}/v1"
    return {**content, **members_of("metrics", metrics=False)}


def use_up(running: InProcess, holder: str, text: str, run: str | None = None) -> None:
    """Exhaust a budget of ``holder``, such as ``client_keys.alice``."""
    allowances = running.service.allowances
    for one in allowances.list_all():
        if isinstance(one, BudgetAllowance) and (str(one.holder), one.text) == (holder, text):
            counter = one.counter(allowances.now(), run)
            assert isinstance(counter, SumCounter)
            allowances.counters.raise_to(counter, counter.most)
            return
    pytest.fail(f"{holder} has no budget of {text}")


def bearer(client: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {secret(KEYS[client])}"),)


async def test_a_subscription_is_followed_by_a_key_until_its_budget_is_exhausted():
    async with providers(3) as [plan, paid, small]:
        content = example("subscription", {"plan": plan, "paid": paid, "small": small})
        async with gateway(content) as running:
            assert (await running.ask("sonnet")).headers["x-trigate-target"] == "anthropic/claude-sonnet-4-6"
            plan.fails = 402
            assert (await running.ask("sonnet")).headers["x-trigate-tried"] == "plan=quota, paid=ok"
            use_up(running, "model_providers.paid", "10 usd/day")
            assert (await running.ask("sonnet")).headers["x-trigate-target"] == "openai/gpt-5-mini"
            assert paid.take_count() == 1


async def test_a_team_shares_its_groups_budgets_and_no_run_costs_more_than_it_may():
    async with providers(1) as [place]:
        names = ("claude-opus-4-7", "gpt-5", "gpt-5-mini")
        async with gateway(example("team", dict.fromkeys(names, place))) as running:
            run = {"headers": (*bearer("nightly"), ("x-trigate-run", "one"))}
            answer = await running.ask("best", "messages", **run)
            assert answer.status_code == 200
            assert re.fullmatch(r"4\.99\d* usd", answer.headers["x-trigate-run-left"])
            use_up(running, "client_groups.agents", "5 usd/run", "nightly/one")
            assert (await running.ask("best", "messages", **run)).status_code == 402
            other = {"headers": (*bearer("nightly"), ("x-trigate-run", "two"))}
            assert (await running.ask("best", "messages", **other)).status_code == 200
            use_up(running, "client_keys.alice", "20 usd/day")
            assert (await running.ask("cheap", headers=bearer("ben"))).status_code == 200
            use_up(running, "client_groups.search", "1500 usd/month")
            assert (await running.ask("cheap", headers=bearer("ben"))).status_code == 402


async def test_a_pool_spends_in_the_cloud_no_more_than_it_may():
    async with providers(3) as [gpus, cloud, long]:
        content = example("pool", {"gpu-1": gpus, "gpu-2": gpus, "cloud": cloud, "long": long})
        async with gateway(content) as running:
            gpus.fails = 503
            assert (await running.ask("qwen")).headers["x-trigate-target"] == "openrouter/qwen/qwen3-32b"
            use_up(running, "model_providers.cloud", "50 usd/day")
            assert (await running.ask("qwen")).status_code in (402, 503)
            assert (cloud.take_count(), long.take_count()) == (1, 0)


@needs_feature("client_routing")
async def test_a_region_with_an_exhausted_budget_has_no_fallback_elsewhere():
    async with providers(2) as [europe, america]:
        names = {"eu-azure-1": europe, "eu-azure-2": europe, "us-openai": america, "us-anthropic": america}
        async with gateway(example("regions", names)) as running:
            use_up(running, "client_groups.europe", "20000 usd/month")
            refused = await running.ask("gpt-5", headers=bearer("bank"))
            assert (refused.status_code, europe.take_count(), america.take_count()) == (402, 0, 0)
            assert "client group europe may spend 20000 usd/month" in refused.json()["error"]["message"]
