"""Budgets as a file spells them, and the warnings about them."""

from collections.abc import Mapping
from typing import Any

import pytest

from configfile.document import ConfigError
from configfile.wording import Wrong
from gateway.config.allowances import Rolling, SpendingBudget
from gateway.config.amounts import dollars, read_amount, spelled_amount
from gateway.config_files.loading import Config, from_mapping
from gateway.config_reports.changes import changes
from gateway.config_reports.warnings import warnings_of
from tests.support.each_row import each_row
from tests.support.features import needs_feature

ENTRY = {"model": "openai/gpt-5", "name": "five", "access_key": "sk-of-somebody-0123456789"}
ALICE = {"name": "alice", "key": "alice-0123456789-0123456789-0123456789"}


def config(*budgets: Any, entry: Mapping[str, Any] = {}, group: Mapping[str, Any] = {}, **root: Any) -> Config:
    client = {**ALICE, "budgets": list(budgets), **({"group": "team"} if group else {})}
    groups = [{"name": "team", **group}] if group else []
    return from_mapping(
        {
            "version": "v0.4.0",
            "model_providers": [{**ENTRY, **entry}],
            "client_keys": [client],
            "client_groups": groups,
            **root,
        }
    )


def mistakes(*budgets: Any, **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as error:
        config(*budgets, **more)
    return [str(mistake) for mistake in error.value.mistakes]


@each_row(
    ("text", "most", "currency", "period"),
    [
        ("20 usd/day", 20 * 10**9, "usd", "day"),
        ("500 USD / month", 500 * 10**9, "usd", "month"),
        ("0.50 usd/hour", 5 * 10**8, "usd", "hour"),
        ("0.000000001 usd/week", 1, "usd", "week"),
        ("1.5k usd/week", 1500 * 10**9, "usd", "week"),
        ("5M tokens/day", 5 * 10**6, "tokens", "day"),
        ("1 token/run", 1, "tokens", "run"),
        ("5 usd/run", 5 * 10**9, "usd", "run"),
        ("100 usd/30d", 100 * 10**9, "usd", Rolling(30 * 86400.0)),
        ("1b tokens/12h", 10**9, "tokens", Rolling(12 * 3600.0)),
        ("1 usd/90m", 10**9, "usd", Rolling(5400.0)),
    ],
)
def test_an_amount_is_read_exactly(text, most, currency, period):
    # 0.1 + 0.2 of floating point has no place in a sum of money.
    assert config(text).client_keys[0].budgets == (SpendingBudget(most, currency, period, text),)


@each_row(
    ("written", "said"),
    [
        ("$5/day", "5 usd/day"),
        ("20 usd", "the period is missing"),
        ("20 usd/daily", "20 usd/day"),
        ("20 usd/mounth", "20 usd/month"),
        ("20 usd/400d", "at most 366d"),
        ("20 eur/day", "20 usd/day"),
        ("0 usd/day", "remove it for no limit"),
        ("0.5 tokens/day", "expected a whole number of tokens"),
        ("10000000 usd/day", "at most"),
        (20, "an amount for a period"),
    ],
)
def test_a_wrong_amount_is_reported_with_advice(written, said):
    (mistake,) = mistakes(written)
    assert "client_keys[0].budgets" in mistake
    assert said in mistake


def test_two_budgets_for_one_period_are_a_mistake():
    (mistake,) = mistakes("20 usd/day", "5M tokens/day", "30.0 usd/day")
    assert "30.0 usd/day has the same period as 20 usd/day" in mistake


@each_row(
    ("zone", "near"),
    [("Europe/Berlni", "Europe/Berlin"), ("europe/berlin", "Europe/Berlin"), ("../etc/passwd", None),
     ("Europe", None), ("+01:00", None)],
)  # fmt: skip
def test_an_unknown_time_zone_is_a_mistake_with_a_suggestion(zone, near):
    (mistake,) = mistakes(timezone=zone)
    assert "timezone" in mistake
    assert near is None or f"did you mean {near}?" in mistake


def test_unset_budget_settings_have_defaults():
    plain = config()
    assert (plain.timezone, plain.reserve, plain.charge_undelivered) == ("UTC", "expected", True)
    said = config(timezone="Europe/Berlin", reserve="max", charge_undelivered=False)
    assert (said.timezone, said.reserve, said.charge_undelivered) == ("Europe/Berlin", "max", False)


def forgotten(made: Config) -> list[str]:
    return [text for text in warnings_of(made) if "earlier spending is forgotten" in text]


def test_a_budget_that_outlives_its_counter_is_warned_of():
    # A budget of a month that starts anew with every release is none (BerriAI/litellm#30661).
    (warning,) = forgotten(config("1 usd/hour", "50 usd/month", entry={"budgets": ["1 usd/48h"]}))
    assert "50 usd/month of alice, 1 usd/48h of five" in warning
    assert "1 usd/hour" not in warning


@needs_feature("kept_ledger")
@each_row(
    ("budget", "ledger", "warned"),
    [
        *((budget, None, True) for budget in ("5 usd/day", "5 usd/24h", "5M tokens/day")),
        *((budget, None, False) for budget in ("1 usd/hour", "5 usd/run", "5 usd/23h")),
        ("5 usd/day", {"keep": "400d"}, False),
        ("5 usd/day", {"keep": "1d"}, False),
        ("50 usd/month", {}, False),
        ("50 usd/month", {"keep": "30d"}, True),
        ("50 usd/month", {"keep": "31d"}, False),
        ("50 usd/month", {"keep": "0"}, True),
    ],
)
def test_a_budget_is_warned_of_where_it_is_not_kept_until_its_end(budget, ledger, warned):
    storage = {"type": "sqlite", "path": "/tmp/a.sqlite", "ledger": ledger}
    root = {} if ledger is None else {"state_storage": storage}
    assert len(forgotten(config(budget, **root))) == warned
    found = forgotten(config(budgets=[budget], **root))
    assert len(found) == warned
    for text in found:
        assert f"{budget} of everybody" in text
        assert ledger is None or text.endswith(": raise `state_storage.ledger.keep`")


def test_a_reload_names_the_budgets_that_change():
    before = config("5 usd/day", group={"budgets": ["9 usd/day"]}, entry={"budgets": ["7 usd/day"]})
    root = {"budgets": ["8 usd/day"], "ratelimits": {"requests": "60/m"}}
    after = config("6 usd/day", "1 usd/run", group={}, timezone="Europe/Berlin", reserve="max", **root)
    told = [str(change) for change in changes(before, after)]
    assert "~ model five: budgets 7 usd/day → none" in told
    assert "~ client key alice: budgets 5 usd/day → 6 usd/day, 1 usd/run; group team → none" in told
    assert "~ timezone UTC → Europe/Berlin" in told
    assert "~ reserve expected → max" in told
    assert "~ budgets none → 8 usd/day" in told
    assert "~ ratelimits.requests none → 60/m" in told


@each_row(
    ("nanos", "text"),
    [(0, "0"), (10**9, "1"), (100 * 10**9, "100"), (19_998_412_345, "19.9984"), (1, "0.000000001"),
     (5 * 10**8, "0.5"), (-5 * 10**8, "-0.5")],
)  # fmt: skip
def test_dollars_are_plain_decimals(nanos, text):
    assert dollars(nanos) == text


def test_amounts_are_spelled_in_their_unit():
    assert spelled_amount(2 * 10**9, "usd") == "2 usd"
    assert spelled_amount(5 * 10**6, "tokens") == "5,000,000 tokens"


def test_a_budget_may_be_a_single_amount():
    assert read_amount(" 2 usd ") == (2 * 10**9, "usd")
    assert read_amount("500k tokens") == (500_000, "tokens")
    with pytest.raises(Wrong):
        read_amount("2")
