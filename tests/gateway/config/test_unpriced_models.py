"""Prices in a configuration, and the models without one under a budget of money."""

import re

import attrs
import pytest

from gateway.config.allowances import SpendingBudget
from gateway.config.clients import ClientGroup, ClientKey
from gateway.config.model_entry import entry_price
from gateway.config_files.allowance_checks import unpriced_models
from gateway.config_files.loading import Config, ConfigError, from_mapping, load
from gateway.config_reports.doubtful_budgets import uncounted_models
from providers.catalog.prices import FREE, Cost, cost_of
from streams.events import Usage
from tests.support.each_row import each_row

DAILY = (SpendingBudget(20 * 10**9, "usd", "day", "20 usd/day"),)
TOKENS = (SpendingBudget(10**6, "tokens", "day", "1M tokens/day"),)


def entry(model: str, **more: object) -> dict[str, object]:
    local = {"base_url": "http://gpu:8000/v1"} if model.startswith(("vllm/", "own/")) else {"access_key": "k"}
    return {"model": model, **local, **more}


def config(*entries: dict[str, object], **root: object) -> Config:
    return from_mapping({"version": "v0.4.0", "model_providers": list(entries), **root})


def test_a_price_is_dollars_for_a_million_tokens():
    price = config(entry("openai/gpt-5", price={"input": 1.4, "cached": "0.14", "output": 11})).entries[0].price
    assert cost_of(price, Usage(input=1000, cache_read=1000, output=100)) == Cost(2_640_000, "exact")
    assert (price.provider, price.model, price.origin) == ("openai", "gpt-5", "config")


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        (entry("openai/gpt-5", price="subscription"), "subscription"),
        (entry("chatgpt/gpt-5-codex", access_key=None, passthrough_auth=True), "subscription"),
        (entry("anthropic/claude-sonnet-4-5", access_key="sk-ant-oat01-x"), "subscription"),
        (
            entry("chatgpt/gpt-5-codex", access_key=None, passthrough_auth=True, price={"input": 1, "output": 1}),
            "config",
        ),
        (entry("anthropic/claude-sonnet-4-5", access_key="sk-ant-api03-x"), "catalogue"),
    ],
)
def test_a_subscription_is_known_by_its_provider_its_key_or_its_price(given, origin):
    (found,) = config(given, budgets=["1 usd/day"]).entries
    price = entry_price(found, found.model)
    assert price.origin == origin


def test_a_price_with_longer_prompts_tiers_and_fees():
    row = {
        "input": 3, "output": 15, "cached": 0.3, "above": {"200k": {"input": 6, "output": 22.5}},
        "tiers": {"Priority": {"input": 9, "above": {"200000": {"input": 12}}}}, "tools": {"web_search": 0.01},
    }  # fmt: skip
    price = config(entry("openai/gpt-5", price=row)).entries[0].price
    usages = (
        Usage(input=200_000), Usage(input=200_001, output=2), Usage(input=100, tier="priority"),
        Usage(input=200_001, output=2, tier="priority"), Usage(cache_read=1000, calls=(("web_search", 2),)),
    )  # fmt: skip
    nanos = [cost_of(price, usage).nanos for usage in usages]
    assert nanos == [600_000_000, 1_200_051_000, 900_000, 2_400_042_000, 20_300_000]


def test_free_is_a_price_and_without_one_it_is_the_catalogues():
    assert config(entry("vllm/qwen", price="free")).entries[0].price == FREE
    assert list(unpriced_models(with_budget(config(entry("vllm/qwen", price="free"))))) == []
    assert config(entry("openai/gpt-5")).entries[0].price is None


@each_row(
    ("price", "line"),
    [
        ("fre", "3:42: model_providers[0].price: 'fre'; did you mean free?"),
        (
            "1.25",
            "expected free, subscription, or a mapping such as {input: 1.25, output: 10}, in dollars per million "
            "tokens.",
        ),
        ("{input: 1}", "model_providers[0].price.output: missing; this is required."),
        ("{input: -1, output: 2}", "price.input: -1; expected a number of dollars, 0 or more, such as 1.25."),
        ("{input: 1, output: 2, cashed: 1}", "price.cashed: unknown key; did you mean cached?"),
        (
            "{input: 1, output: 2, above: {lots: {input: 1}}}",
            "above.lots: 'lots'; expected a number of tokens, such ",
        ),
        (
            "{input: 1, output: 2, above: {0: {input: 1}}}",
            "0 is not a limit for longer prompts; set the price of all",
        ),
        (
            "{input: 1, output: 2, tiers: {flex: {imput: 1}}}",
            "price.tiers.flex.imput: unknown key; did you mean input?",
        ),
        (
            "{input: 1, output: 2, tools: {web_search: a}}",
            "price.tools.web_search: 'a'; expected a number of dollars",
        ),
    ],
)
def test_a_wrong_price_is_reported_with_its_place_and_advice(tmp_path, price: str, line: str):
    path = tmp_path / "trigate.yaml"
    text = f"version: v0.4.0\nmodel_providers:\n  - {{model: openai/gpt-5, access_key: k, price: {price}}}\n"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(line)):
        load(path, {})


def test_a_wrong_price_is_one_mistake():
    alice = {"name": "alice", "key": "k", "budgets": ["20 usd/day"]}
    with pytest.raises(ConfigError) as caught:
        config(entry("vllm/qwen", price={"input": 1, "output": "x"}), client_keys=[alice])
    assert [mistake.path for mistake in caught.value.mistakes] == ["model_providers[0].price.output"]


def test_the_price_of_one_token_is_probably_not_meant():
    warned = config(entry("openai/gpt-5", price={"input": 0.00000125, "output": 10})).warnings
    assert any("if that is the price of one token, write 1.25" in warning for warning in warned)


@pytest.mark.parametrize(("key", "word"), [("unpriced", "allow"), ("unpriced", "refuse")])
def test_models_without_a_price_are_queried_or_skipped(key: str, word: str):
    assert getattr(config(entry("openai/gpt-5"), **{key: word}), key) == word


def with_budget(found: Config, *, models: tuple[str, ...] | None = None, only: tuple[str, ...] | None = None) -> Config:
    group = ClientGroup("search", budgets=DAILY)
    return attrs.evolve(found, client_keys=(ClientKey("alice", models=models, only=only, group=group),))


ENTRIES = (entry("openai/gpt-5"), entry("vllm/qwen"), entry("own/thing"), entry("groq/*"))
# BerriAI/litellm#10598, #12337, #21023


def test_a_model_without_a_price_under_a_clients_budget_is_reported():
    found = list(unpriced_models(with_budget(config(*ENTRIES))))
    assert [one.problem for one in found] == [
        "vllm/qwen has no price, but client_groups.search has a budget of 20 usd/day",
        "own/thing has no price, but client_groups.search has a budget of 20 usd/day",
    ]


@each_row(
    ("more", "limits", "found"),
    [
        ({}, {"models": ("openai/gpt-5",)}, []),  # models that a client may not use need no price
        ({}, {"only": ("own/*", "openai/*")}, ["own/thing: thing"]),
        ({"model_aliases": {"best": {"targets": ["openai/gpt-5", "groq/unheard-of", "vllm/qwen"]}}},
         {"models": ("best",)}, ["groq/*: unheard-of", "vllm/qwen: qwen"]),
        ({"unpriced": "allow"}, {}, []),
    ],
)  # fmt: skip
def test_only_targets_of_models_that_a_client_may_request_need_a_price(more, limits, found):
    unpriced = unpriced_models(with_budget(config(*ENTRIES, **more), **limits))
    assert [f"{one.entry.name}: {one.model}" for one in unpriced] == found


def test_an_entrys_own_budget_asks_for_its_price():
    made = config(*ENTRIES)
    entries = tuple(attrs.evolve(one, budgets=DAILY if one.model == "qwen" else ()) for one in made.entries)
    assert [one.model for one in unpriced_models(attrs.evolve(made, entries=entries))] == ["qwen"]


def test_budgets_of_tokens_and_no_budgets_need_no_prices():
    # BerriAI/litellm#20615
    made = config(*ENTRIES)
    assert list(unpriced_models(made)) == []
    limited = attrs.evolve(made, client_keys=(ClientKey("alice", budgets=TOKENS),))
    assert list(unpriced_models(limited)) == []


def test_money_that_a_budget_does_not_count_is_a_warning():
    """A budget of 50 dollars that never moves (BerriAI/litellm#10598)."""
    keys = [{"name": "alice", "key": "k" * 40, "budgets": ["20 usd/day"]}]
    (warning,) = uncounted_models(config(*ENTRIES, unpriced="allow", client_keys=keys))
    assert warning.startswith(
        "unpriced: budgets in dollars count vllm/qwen, own/thing, any model of groq/* without a price "
        "as free, so they never limit these models: set `price:"
    )
    for more in ({}, {"client_keys": [{**keys[0], "budgets": ["9 tokens/day"]}]}):
        assert not [*uncounted_models(config(*ENTRIES, unpriced="allow", **more))]
    priced = (entry("openai/gpt-5"), entry("vllm/qwen", price="free"))
    assert not [*uncounted_models(config(*priced, unpriced="allow", client_keys=keys))]
