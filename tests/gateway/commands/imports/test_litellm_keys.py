"""Clients of a LiteLLM proxy: the keys in its database, with their limits and teams."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.commands.imports.litellm import convert_litellm
from gateway.commands.imports.litellm_rows import KEYS, TEAMS
from gateway.commands.imports.losses import Group
from gateway.commands.imports.result import Result, summary
from gateway.config_files.loading import from_mapping
from tests.support.each_row import each_row
from tests.support.litellm_files import TOKEN_COSTS, file_text, item
from tests.support.quick_yaml import load_yaml

HASH = "0123456789abcdef" * 4


TEAM = {"team_id": "t-1", "team_alias": "red", "models": ["a"]}


def clients(*rows: Any, teams: Any = None) -> dict[str, Any]:
    """Return the tables of a database with these keys and teams."""
    return {KEYS: rows, TEAMS: teams or ()}


def convert_key(teams: Any = None, **columns: Any) -> Result:
    """Return the result for one key of the database that is otherwise good."""
    row = {"token": HASH, "key_alias": "team", "models": [], "blocked": None, "expires": None, **columns}
    models = [
        item("a", "openai/a", **TOKEN_COSTS) | {"model_info": {"access_groups": ["g"]}},
        item("b", "openai/b", **TOKEN_COSTS),
    ]
    content = {"model_list": models, "general_settings": {"database_url": "os.environ/DB"}}
    return convert_litellm(content, clients(row, teams=teams))


@each_row(
    ("columns", "item"),
    [
        ({}, {"name": "team", "sha256": HASH}),
        ({"key_alias": None, "key_name": "sk-...1234"}, {"name": "sk-...1234", "sha256": HASH}),
        ({"key_alias": None}, {"name": "key-01234567", "sha256": HASH}),
        ({"token": HASH.upper()}, {"name": "team", "sha256": HASH}),
        ({"token": "sk-plain"}, {"name": "team", "sha256": hashlib.sha256(b"sk-plain").hexdigest()}),
        ({"models": ["a"]}, {"name": "team", "sha256": HASH, "models": ["a"]}),
        ({"models": ["g", "b"]}, {"name": "team", "sha256": HASH, "models": ["a", "b"]}),
        ({"models": ["all-proxy-models"]}, {"name": "team", "sha256": HASH}),
        (
            {"expires": "2999-01-01T00:00:00Z"},
            {"name": "team", "sha256": HASH, "until": "2999-01-01T00:00:00Z"},
        ),
        ({"expires": "2999-01-01 18:30:00"}, {"name": "team", "sha256": HASH, "until": "2999-01-01T18:30:00Z"}),
        ({"blocked": False}, {"name": "team", "sha256": HASH}),
        ({"key_alias": "a$b\nc"}, {"name": "a$$b c", "sha256": HASH}),
    ],
)
def test_a_key_is_imported_by_its_hash(columns, item):
    result = convert_key(**columns)
    assert result.client_keys == [item]
    assert file_text(result).count("sk-plain") == 0
    assert result.losses == []


@each_row(
    ("columns", "reason"),
    [
        ({"blocked": True}, "blocked"),
        ({"blocked": "t"}, "blocked"),
        ({"expires": "2025-01-02 03:04:05"}, "expired 2025-01-02"),
        ({"expires": "2025-01-02 03:04:05+00"}, "expired 2025-01-02"),
        ({"expires": "2025-01-02T03:04:05.678Z"}, "expired 2025-01-02"),
        ({"team_id": "t-1", "teams": [{**TEAM, "blocked": True}]}, "its team is blocked"),
        # An exhausted budget, which does not start anew
        ({"max_budget": 20, "spend": 20.5}, "its budget is exhausted for good"),
        ({"max_budget": "20", "spend": "20", "budget_duration": "3y", "budget_reset_at": "2999-01-31 00:00:00"},
         "its budget is exhausted until 2999-01-31"),  # no budget has this period
        ({"team_id": "t-1", "teams": [{**TEAM, "max_budget": 5, "spend": 6}]},
         "the budget of its team is exhausted for good"),
        # A limit of 0
        ({"rpm_limit": 0}, "its rpm_limit is 0"),
        ({"tpm_limit": "0"}, "its tpm_limit is 0"),
        ({"max_parallel_requests": 0}, "its max_parallel_requests is 0"),
        ({"max_budget": 0}, "its budget is exhausted for good"),
        ({"max_budget": 0.0, "budget_duration": "1d", "budget_reset_at": "2020-01-01", "spend": 0},
         "its budget is exhausted for good"),
        ({"max_budget": "0", "budget_duration": "1d", "budget_reset_at": "2999-01-01"},
         "its budget is exhausted for good"),
        ({"budget_limits": [{"budget_duration": "1d", "max_budget": 0.0}]}, "its budget_limits is 0"),
        ({"team_id": "t-1", "teams": [{**TEAM, "rpm_limit": 0}]}, "the rpm_limit of its team is 0"),
        ({"team_id": "t-1", "teams": [{**TEAM, "tpm_limit": "0"}]}, "the tpm_limit of its team is 0"),
        ({"team_id": "t-1", "teams": [{**TEAM, "max_budget": 0, "budget_duration": "1d"}]},
         "the budget of its team is exhausted for good"),
    ],
)  # fmt: skip
def test_a_key_that_is_no_longer_good_is_named_and_left_out(columns, reason):
    """LiteLLM rejects each request with a limit of 0: `parallel_request_limiter_v3.py` and `auth_checks.py`."""
    result = convert_key(**columns)
    told = f"team ({reason})"
    assert (result.client_keys, result.client_groups) == ([], [])
    assert result.no_longer_good == (told,)
    assert [loss for loss in result.losses if "team_id" not in columns] == []
    assert f"omitted, because the key was invalid already: {told}" in result.remarks
    assert f"Omitted keys that were invalid already: {told}." in list(summary(result))


@each_row(
    ("columns", "group", "what"),
    [
        ({"expires": "some day"}, Group.PROTECTION, "the key team"),
        ({"blocked": "perhaps"}, Group.PROTECTION, "the key team"),
        ({"token": HASH[:-1]}, Group.PROTECTION, "the key team"),
        ({"models": ["gone"]}, Group.NAMES, "the key team"),
        ({"models": ["no-default-models"]}, Group.NAMES, "the key team"),
        ({"models": ["all-team-models"]}, Group.PROTECTION, "the key team"),
        ({"models": ["all-team-models"], "team_id": "t"}, Group.PROTECTION, "the key team"),
        ({"models": ["a", "all-team-models"], "team_id": "t"}, Group.PROTECTION, "the key team"),
        ({"team_id": "t"}, Group.PROTECTION, "the key team"),
        ({"team_id": "t-1", "teams": [{"team_id": "t-1", "models": ["gone"]}]}, Group.NAMES, "the key team"),
    ],
)
def test_an_unverifiable_key_is_lost(columns, group, what):
    result = convert_key(**columns)
    assert result.client_keys == []
    assert (group, what) in [(loss.group, loss.what) for loss in result.losses]


@each_row(
    ("columns", "limits"),
    [
        ({"max_budget": 20, "budget_duration": "1d"}, {"budgets": ["20 usd/day"]}),
        ({"max_budget": "2.5", "budget_duration": "30d"}, {"budgets": ["2.5 usd/30d"]}),
        ({"max_budget": "100", "budget_duration": "1mo"}, {"budgets": ["100 usd/month"]}),
        ({"max_budget": 1234567.5, "budget_duration": "1mo"}, {"budgets": ["1234567.5 usd/month"]}),
        ({"max_budget": 10**8, "budget_duration": "1mo"}, {}),
        ({"max_budget": 20, "budget_duration": "999d"}, {}),
        ({"max_budget": 20, "budget_duration": "1h"}, {"budgets": ["20 usd/hour"]}),
        ({"max_budget": 20, "budget_duration": "12h"}, {"budgets": ["20 usd/12h"]}),
        ({"max_budget": 20, "budget_duration": "30s"}, {}),
        ({"max_budget": 20, "budget_duration": "7200s"}, {"budgets": ["20 usd/120m"]}),
        ({"max_budget": 20, "budget_duration": "2w"}, {"budgets": ["20 usd/14d"]}),
        ({"max_budget": 20, "budget_duration": "monthly"}, {"budgets": ["20 usd/month"]}),
        ({"max_budget": 20, "budget_duration": "2mo"}, {}),
        ({"rpm_limit": "60", "tpm_limit": 1000.0}, {"ratelimits": {"requests": "60/m", "tokens": "1000/m"}}),
        ({"max_parallel_requests": 5, "rpm_limit": "many"}, {"ratelimits": {"concurrent": 5}}),
    ],
)
def test_the_limits_of_a_key_are_in_its_item(columns, limits):
    result = convert_key(**columns)
    assert [{name: one[name] for name in limits} for one in result.client_keys] == [limits]
    assert {"budgets", "ratelimits"} & set(result.client_keys[0]) == set(limits)
    lost = {name for name, value in columns.items() if (name == "max_budget" and not limits) or value == "many"}
    assert {loss.what.split()[0] for loss in result.losses} == lost
    from_mapping(load_yaml(file_text(result)))


DAY_AND_MONTH = [
    {"budget_duration": "1d", "max_budget": 10.0, "reset_at": "2026-01-02T00:00:00+00:00"},
    {"budget_duration": "30d", "max_budget": 100.0, "reset_at": "2026-02-01T00:00:00+00:00"},
]


@each_row(
    ("columns", "budgets"),
    [
        ({"budget_limits": DAY_AND_MONTH}, ["10 usd/day", "100 usd/30d"]),
        ({"budget_limits": json.dumps(DAY_AND_MONTH)}, ["10 usd/day", "100 usd/30d"]),
        ({"budget_limits": DAY_AND_MONTH, "max_budget": 50, "budget_duration": "7d"},
         ["50 usd/7d", "10 usd/day", "100 usd/30d"]),
        ({"budget_limits": DAY_AND_MONTH, "max_budget": 5, "budget_duration": "24h"}, ["5 usd/day", "100 usd/30d"]),
        ({"budget_limits": '[{"budget_duration": "1d", "max_budget": Infinity}]'}, None),
        ({"budget_limits": []}, None),
    ],
)  # fmt: skip
def test_budgets_with_their_own_periods_are_in_the_item_of_a_key(columns, budgets):
    result = convert_key(**columns)
    assert result.client_keys[0].get("budgets") == budgets
    lost = {"the spend so far in `budget_limits` of team"} if budgets else set()
    assert {loss.what for loss in result.losses} == lost
    from_mapping(load_yaml(file_text(result)))


@each_row("limits", [[*DAY_AND_MONTH, {"budget_duration": "2mo", "max_budget": 1.0}], ["x"], "[", 5])
def test_a_budget_without_a_counterpart_is_reported_with_the_others(limits):
    result = convert_key(budget_limits=limits)
    assert result.client_keys[0].get("budgets") == (["10 usd/day", "100 usd/30d"] if "2mo" in str(limits) else None)
    assert "budget_limits of team" in {loss.what for loss in result.losses}


def test_a_spend_counts_in_no_budget_for_another_period():
    """`opening_spend` counts in all budgets of a client."""
    later = (datetime.now(UTC) + timedelta(days=9)).isoformat()
    row = {"max_budget": 9, "budget_duration": "30d", "spend": 4, "budget_reset_at": later}
    assert convert_key(**row).opening_spend
    result = convert_key(**row, budget_limits=DAY_AND_MONTH)
    assert not result.opening_spend
    assert "the spend so far of team: 4.00 usd" in {loss.what for loss in result.losses}


@each_row(
    ("columns", "table"),
    [
        ({"max_budget": 9, "budget_duration": "1d", "spend": 4}, KEYS),
        (
            {"team_id": "t-1", "teams": [{**TEAM, "max_budget": 9, "budget_duration": "1d", "spend": 4}]},
            TEAMS,
        ),
    ],
)
def test_a_lost_spend_is_in_the_report_with_the_table_of_its_owner(columns, table):
    assert [loss.place for loss in convert_key(**columns).losses if "the spend so far" in loss.what] == [table]


def test_a_key_without_own_models_is_reported():
    (loss,) = convert_key(models=["no-default-models"]).losses
    assert loss.why == "it may use no model"


ROW = {"token": HASH, "key_alias": "team", "models": ["a"]}


def test_session_keys_and_duplicate_keys_are_omitted():
    rows = [ROW, ROW, {**ROW, "token": "e" * 64}, {**ROW, "token": "f" * 64, "team_id": "litellm-dashboard"}]
    content = {"model_list": [item("a", "openai/a")]}
    result = convert_litellm(content, clients(*rows))
    assert [one["name"] for one in result.client_keys] == ["team", "team-2"]


def test_models_without_a_price_are_asked_and_named_where_there_is_a_budget():
    row = {"token": HASH, "key_alias": "team", "models": [], "max_budget": 20, "budget_duration": "1d"}
    models = [item("a", "openai/a"), item("b", "openai/gpt-4o")]
    result = convert_litellm({"model_list": models}, clients(row))
    assert from_mapping(load_yaml(file_text(result))).unpriced == "allow"
    assert "models without a price (openai/a)" in [loss.what for loss in result.losses if loss.group is Group.MONEY]


def test_a_key_for_a_group_may_use_its_name():
    row = {"token": HASH, "key_alias": "team", "models": ["g"]}
    models = [item("m", f"openai/{name}") | {"model_info": {"access_groups": ["g"]}} for name in "ab"]
    (key,) = convert_litellm({"model_list": models}, clients(row)).client_keys
    assert key["models"] == ["m"]


# Teams


def test_a_team_is_the_group_of_its_keys():
    team = {**TEAM, "max_budget": 50, "budget_duration": "30d", "rpm_limit": 600, "max_parallel_requests": 4}
    result = convert_key(teams=[team], team_id="t-1", models=["all-team-models"])
    assert result.client_keys == [{"name": "team", "sha256": HASH, "group": "red"}]
    assert result.client_groups == [
        {"name": "red", "models": ["a"], "ratelimits": {"requests": "600/m", "concurrent": 4},
         "budgets": ["50 usd/30d"]}
    ]  # fmt: skip
    assert result.losses == []
    (client,) = from_mapping(load_yaml(file_text(result))).client_keys
    assert client.lists_of_models == (("a",),)


@each_row(
    ("key", "team", "lists"),
    [
        ([], ["a"], (("a",),)),
        (["all-team-models"], ["g", "b"], (("a", "b"),)),
        (["a"], ["a", "b"], (("a",), ("a", "b"))),
        (["all-proxy-models"], ["a"], (("a",),)),
        (["a"], [], (("a",),)),
        (["all-team-models"], [], ()),
        (["all-team-models"], ["all-proxy-models"], ()),
        (["a", "all-team-models"], ["a", "b"], (("a", "b"),)),
    ],
)
def test_a_key_may_use_the_models_of_its_team(key, team, lists):
    result = convert_key(teams=[{"team_id": "t", "models": team}], team_id="t", models=key)
    (client,) = from_mapping(load_yaml(file_text(result))).client_keys
    assert client.lists_of_models == lists
    assert result.losses == []


def test_teams_without_a_key_here_are_left_out():
    result = convert_key(teams=[TEAM, {"team_id": "t-2"}], team_id="t-1")
    assert [group["name"] for group in result.client_groups] == ["red"]
    assert from_mapping(load_yaml(file_text(result))).warnings == ()


def test_two_teams_of_one_name_are_two_groups():
    rows = [{"token": digit * 64, "team_id": team, "models": ["a"]} for digit, team in (("1", "x"), ("2", "y"))]
    teams = [{"team_id": team, "team_alias": "red$"} for team in "xy"]
    result = convert_litellm({"model_list": [item("a", "openai/a")]}, clients(*rows, teams=teams))
    assert [group["name"] for group in result.client_groups] == ["red$$", "red$$-2"]
    assert [key["group"] for key in result.client_keys] == ["red$$", "red$$-2"]


def test_a_team_without_its_row_is_a_group_by_its_id():
    result = convert_key(team_id="t-1", models=["a"])
    assert result.client_groups == [{"name": "t-1"}]
    assert result.client_keys[0]["group"] == "t-1"
    assert [(loss.group, loss.what) for loss in result.losses] == [(Group.PROTECTION, "the limits of the team t-1")]


@each_row(
    ("columns", "budgets"),
    [
        ({"max_budget": 20}, ["20 usd/366d"]),
        ({"max_budget": "20", "spend": "12.5"}, ["7.5 usd/366d"]),  # only the rest of a budget for good
        ({"max_budget": 20, "spend": 20, "budget_duration": "1d", "budget_reset_at": "2020-01-01"}, ["20 usd/day"]),
        ({"max_budget": 20, "spend": 10**400, "budget_duration": "1d"}, ["20 usd/day"]),
    ],
)
def test_spent_money_stays_spent_if_the_budget_has_no_period(columns, budgets):
    assert convert_key(**columns).client_keys[0]["budgets"] == budgets
    team = convert_key(team_id="t-1", teams=[{**TEAM, **columns}])
    assert team.client_groups[0]["budgets"] == budgets


SPENT = {"max_budget": "20", "spend": "12.3456789012", "budget_duration": "30d", "budget_reset_at": "2999-01-31 00:00"}
OPENING = {"spent": "12.345678901 usd", "until": "2999-01-31T00:00:00Z"}


def test_spending_in_a_period_counts_until_its_end():
    """A key that has exhausted its budget stays exhausted until LiteLLM would reset it."""
    result = convert_key(**SPENT)
    assert result.opening_spend == [{"client": "team", **OPENING}]
    assert result.client_keys[0]["budgets"] == ["20 usd/30d"]
    assert result.losses == []
    config = from_mapping(load_yaml(file_text(result)))
    assert [(one.client, one.spent.amount) for one in config.opening_spend] == [("team", 12_345_678_901)]
    assert convert_key(**{**SPENT, "spend": 20.5}).opening_spend[0]["spent"] == "20.5 usd"


def test_the_spending_of_a_team_counts_for_its_group():
    result = convert_key(team_id="t-1", teams=[{**TEAM, **SPENT}])
    assert result.opening_spend == [{"group": result.client_groups[0]["name"], **OPENING}]


@each_row("columns", [{"budget_reset_at": "2020-01-01"}, {"spend": 0}, {"budget_duration": None}, {"max_budget": None}])
def test_a_period_that_has_ended_leaves_no_opening_spend(columns):
    assert convert_key(**{**SPENT, **columns}).opening_spend == []


@each_row(
    ("routes", "is_kept", "lost"),
    [
        ('["llm_api_routes"]', True, []),
        ('["openai_routes"]', True, ["allowed_routes of app"]),
        ('["/v1/chat/completions", "/key/info"]', False, ["the key app"]),
        ('["/v1/embeddings"]', False, ["the key app"]),
        ('["/v1/*"]', True, ["allowed_routes of app"]),
        ('["management_routes"]', False, ["the key app"]),
        ("{info_routes}", False, ["the key app"]),
        ('["/key/generate", "/v1/models", "/scim/v2/*"]', False, ["the key app"]),
    ],
)
def test_a_key_for_some_paths_is_lost(routes: str, is_kept: bool, lost: list[str]):
    result = convert_key(key_alias="app", allowed_routes=routes)
    assert [one["name"] for one in result.client_keys] == ["app"] * is_kept
    assert [loss.what for loss in result.losses if loss.group is Group.PROTECTION] == lost


def test_free_models_of_an_exhausted_key_are_reported():
    """LiteLLM checks no budget of requests for them: `is_model_cost_zero` in its proxy."""
    models = [item("m", "ollama/m", input_cost_per_token=0, output_cost_per_token=0), item("n", "openai/n")]
    result = convert_litellm({"model_list": models}, clients({"token": HASH, "key_alias": "team", "max_budget": 0}))
    assert result.client_keys == []
    (loss,) = result.losses
    assert (loss.group, loss.what) == (Group.NAMES, "m for keys whose budget is exhausted")


def test_a_team_may_have_no_parallel_requests():
    """LiteLLM does not enforce this limit of teams."""
    assert len(convert_key(team_id="t-1", teams=[{**TEAM, "max_parallel_requests": 0}]).client_keys) == 1


# Columns without a counterpart


@each_row(
    ("columns", "group", "what"),
    [
        ({"rpm_limit": "many"}, Group.PROTECTION, "rpm_limit"),
        ({"max_budget": "2.5"}, Group.MONEY, "max_budget without budget_duration"),
        ({"max_budget": 9, "budget_duration": "1d", "spend": 4}, Group.MONEY, "the spend so far of team: 4.00 usd"),
        ({"user_id": "u"}, Group.MONEY, "user_id"),
        ({"aliases": {"x": "a"}}, Group.NAMES, "aliases"),
        ({"models": ["a", "gone"]}, Group.NAMES, "models of the key team: gone"),
        ({"router_settings": {"num_retries": 3}}, Group.NAMES, "router_settings"),
        ({"router_settings": '{"num_retries": 3}'}, Group.NAMES, "router_settings"),
        ({"tpd_limit": 0}, Group.PROTECTION, "tpd_limit"),
        ({"metadata": {"model_rpm_limit": {"a": 5}}}, Group.PROTECTION, "metadata.model_rpm_limit"),
        ({"metadata": '{"model_tpm_limit": {"a": 5}}'}, Group.PROTECTION, "metadata.model_tpm_limit"),
        ({"metadata": {"logging": [{"callback_name": "langfuse"}]}}, Group.LOGS, "metadata.logging"),
        ({"metadata": {"department": "sales"}}, Group.TRIFLES, "metadata.department"),
        ({"novel_limit": 7}, Group.UNKNOWN, "novel_limit"),
        ({"org_id": "o"}, Group.PROTECTION, "org_id"),  # organization_id in responses of the API
    ],
)
def test_columns_of_keys_without_a_counterpart_are_reported(columns, group, what):
    result = convert_key(**columns)
    assert [one["name"] for one in result.client_keys] == ["team"]
    assert [(loss.group, loss.what.removesuffix(" of team")) for loss in result.losses] == [(group, what)]


@each_row(
    ("columns", "group"),
    [
        ({"soft_budget": 40}, Group.MONEY),
        ({"model_max_budget": {"a": 1}}, Group.MONEY),
        ({"rpm_limit": 0.5}, Group.PROTECTION),
        ({"policies": "{strict}"}, Group.PROTECTION),
        ({"default_team_member_models": ["a"]}, Group.PROTECTION),
        ({"novel": {"x": 1}}, Group.UNKNOWN),
    ],
)
def test_columns_of_teams_without_a_counterpart_are_reported(columns, group):
    result = convert_key(teams=[{**TEAM, **columns}], team_id="t-1")
    assert [(loss.group, loss.what) for loss in result.losses] == [(group, f"{next(iter(columns))} of the team red")]


@pytest.mark.parametrize("column", ["auto_rotate", "novel"])
def test_columns_with_their_usual_value_are_no_loss(column):
    for value in (None, "", False, "f", 0, "0", [], "{}", {}):
        assert convert_key(**{column: value}).losses == []


# Aliases of one client


ALIASED = {"aliases": {"a": "b", "new": "b"}}


@each_row(
    ("columns", "models"),
    [
        ({}, ["b"]),
        ({"models": ["a", "b"]}, ["b"]),
        ({"team_id": "t-1", "teams": [{"team_id": "t-1", "models": ["a", "b"]}]}, ["b"]),
        ({"aliases": None, "team_id": "t-1", "teams": [{"team_id": "t-1", **ALIASED}]}, ["b"]),
        ({"models": ["a"]}, None),
    ],
)
def test_a_name_that_means_another_model_for_one_client_does_not_lead_elsewhere(columns, models):
    """In LiteLLM this client gets `b` for `a`; the gateway would send `a` to the model `a`."""
    result = convert_key(**{**ALIASED, **columns})
    assert [one["models"] for one in result.client_keys] == ([models] if models else [])
    assert Group.NAMES in {loss.group for loss in result.losses}


@pytest.mark.parametrize(("target", "is_kept"), [("a", False), ("b", True)])
def test_an_alias_of_one_client_and_of_the_file(target, is_kept):
    """All clients that may use a model may use its aliases in the file."""
    row = {"token": HASH, "key_alias": "team", "aliases": {"short": "b"}}
    settings = {"model_group_alias": {"short": target}}
    models = [item("a", "openai/a"), item("b", "openai/b")]
    result = convert_litellm({"model_list": models, "router_settings": settings}, clients(row))
    assert result.client_keys == [{"name": "team", "sha256": HASH}] * is_kept
    assert [loss.group for loss in result.losses] == [Group.NAMES]


def test_a_key_with_another_model_under_a_model_id_is_left_out():
    """The import adds `openai/b` as an alias of the model `b`; for this key it means `a`."""
    assert convert_key(aliases={"openai/b": "a"}).client_keys == []


def test_a_pattern_that_serves_an_alias_of_one_client_is_left_out():
    row = {"token": HASH, "key_alias": "team", "models": [], "aliases": {"groq/x": "m"}}
    result = convert_litellm({"model_list": [item("m", "openai/m"), item("groq/*", "groq/*")]}, clients(row))
    assert result.client_keys == [{"name": "team", "sha256": HASH, "models": ["m"]}]
