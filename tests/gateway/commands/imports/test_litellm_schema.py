"""No table and no column of LiteLLM's database is dropped in silence.

``tests/data/litellm/schema.txt`` has the tables of LiteLLM 1.108.7 with their columns, from its ``schema.prisma``."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.commands.imports.litellm import convert_litellm
from gateway.commands.imports.litellm_columns import LOST_TABLES, PREFIX, SILENT, is_record
from gateway.commands.imports.litellm_rows import SETTINGS, TABLES
from gateway.commands.imports.losses import Group
from gateway.commands.imports.result import Result
from gateway.config_files.loading import from_mapping
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.harness import ROOT
from tests.support.litellm_files import TOKEN_COSTS, file_text, item
from tests.support.quick_yaml import load_yaml

LINES = (ROOT / "tests/data/litellm/schema.txt").read_text().splitlines()
SCHEMA = {table: names for table, *names in map(str.split, LINES)}
KEYS, TEAMS, BUDGETS = "LiteLLM_VerificationToken", "LiteLLM_TeamTable", "LiteLLM_BudgetTable"
USERS, END_USERS, MODELS = "LiteLLM_UserTable", "LiteLLM_EndUserTable", "LiteLLM_ProxyModelTable"
PROJECTS = "LiteLLM_ProjectTable"
KEY = {"token": "a" * 64, "key_alias": "app", "models": [], "team_id": "t", "user_id": "u", "budget_id": "b"}
TEAM = {"team_id": "t", "team_alias": "red", "models": []}
ROWS: Mapping[str, dict[str, Any]] = {
    KEYS: KEY, TEAMS: TEAM, USERS: {"user_id": "u"}, END_USERS: {"user_id": "e"}, BUDGETS: {"budget_id": "b"},
}  # fmt: skip


def import_tables(tables: Mapping[str, Any], *models: Any, **sections: Any) -> Result:
    found = [item("m", "openai/m", **TOKEN_COSTS), *models]
    return convert_litellm({"model_list": found, **sections}, tables)


def with_row(table: str, **values: Any) -> Result:
    """Return the result for a key, a team and so on, with these columns in the row of a table."""
    tables = {name: [{**row, **(values if name == table else {})}] for name, row in ROWS.items()}
    if table == USERS:  # its budget and models do not apply to keys of teams
        tables[KEYS][0]["team_id"] = None
    return import_tables(tables)


LOST = {f"{PREFIX}{name}": table for name, table in LOST_TABLES.items()}


def test_no_table_of_another_database_is_listed():
    """A misspelt table would never be found."""
    assert {*TABLES, *LOST, SETTINGS} - set(SCHEMA) == set()
    assert [name for name in (*LOST, SETTINGS) if is_record(name)] == []


@each_row("table", {*SCHEMA} - {*TABLES, SETTINGS} - {*filter(is_record, SCHEMA)})
def test_a_table_with_settings_is_reported_if_it_has_rows(table):
    lost = LOST.get(table)
    (loss,) = import_tables({KEYS: [{"token": "a" * 64}], table: [dict.fromkeys(SCHEMA[table], "x")]}).losses
    assert table in loss.what
    assert lost is None or (loss.group is lost[0] and loss.why)
    rows = [dict.fromkeys(SCHEMA[table])] if lost is not None and lost[2] else []
    assert import_tables({KEYS: [{"token": "a" * 64}], table: rows}).losses == []


def test_tables_without_settings_are_no_loss():
    tables = {name: [{"id": "1"}] for name in filter(is_record, SCHEMA)}
    assert import_tables({KEYS: [{"token": "a" * 64}], **tables}).losses == []


# Columns

READ = {"expires", "models", "blocked", "key_alias", "team_alias"}
"""Silent columns that the import converts."""


@pytest.mark.parametrize("table", ROWS)
def test_no_column_is_silent(table):
    """Each column with a value changes the new file, or it is in the list of columns without settings."""
    plain = file_text(with_row(table))
    for column in [one for one in SCHEMA[table] if one not in ROWS[table]]:
        with case(column):
            value: Any = {"expires": "2999-01-01", "metadata": {"x": "y"}, "models": ["m"]}.get(column, 7)
            result = with_row(table, **{column: value})
            unknown = [loss for loss in result.losses if loss.group is Group.UNKNOWN]
            assert not unknown, "add the column to litellm_columns.py"
            if column not in SILENT - READ and table != BUDGETS:
                assert file_text(result) != plain


def test_lost_settings_of_a_cache_have_advice_on_caches():
    key = {"token": "a" * 64, "allowed_cache_controls": ["no-cache"], "metadata": {"cache": {"ttl": 5}}}
    tables = {KEYS: [key], "LiteLLM_CacheConfig": [{"id": "c", "cache_settings": {"type": "redis"}}]}
    settings = {"cache": True, "cache_params": {"type": "redis", "host": "cache", "password": "hush-hush"}}
    result = import_tables(tables, litellm_settings=settings)
    losses = {loss.what: loss.why for loss in result.losses}
    assert {why.partition(":")[0] for what, why in losses.items() if "cache" in what.lower()} == {"set `cache"}
    assert sum("cache" in what.lower() for what in losses) == 5
    assert "hush-hush" not in file_text(result)


@each_row("table", ROWS)
def test_an_unknown_column_is_reported(table):
    losses = [loss for loss in with_row(table, novel_setting=[1]).losses if loss.group is Group.UNKNOWN]
    assert ["novel_setting" in loss.what for loss in losses] == [True]


@each_row(
    ("table", "row", "what"),
    [
        (USERS, {"user_id": "u", "user_alias": "ada", "user_role": "proxy_admin"}, "the role proxy_admin of ada"),
        (TEAMS, {"team_id": "t", "team_alias": "red", "members_with_roles": [{"user_id": "u", "role": "admin"}]},
         "the admins of the team red: u"),
        ("LiteLLM_SSOConfig", {"id": "sso_config", "sso_settings": {"a": "b"}},
         "the table LiteLLM_SSOConfig"),
    ],
)  # fmt: skip
def test_rights_over_others_are_lost_protection(table, row, what):
    losses = import_tables({KEYS: [{"token": "a" * 64}], table: [row]}).losses
    assert [(loss.group, loss.what) for loss in losses] == [(Group.PROTECTION, what)]


@each_row(
    ("key", "role", "lost"),
    [
        ({"user_id": "u"}, "lead", []),
        ({"user_id": "u", "models": ["m"]}, "lead", []),
        ({"user_id": "u", "allowed_routes": ["*"]}, "lead", []),
        ({"user_id": "u", "allowed_routes": ["llm_api_routes"]}, None, ["the admins of the team red: u"]),
        ({"user_id": "u", "team_id": "other"}, None, ["the admins of the team red: u"]),
        ({"user_id": "v"}, None, ["the admins of the team red: u"]),
    ],
)
def test_a_key_with_which_an_admin_manages_a_team_becomes_a_leads(key, role, lost):
    team = {
        "team_id": "t",
        "team_alias": "red",
        "models": ["m"],
        "members_with_roles": [{"user_id": "u", "role": "admin"}],
    }
    row = {"token": "a" * 64, "key_alias": "app", "team_id": "t", **key}
    users = [{"user_id": "u"}, {"user_id": "v"}]
    result = import_tables({KEYS: [row], TEAMS: [team, {"team_id": "other", "models": ["m"]}], USERS: users})
    config = from_mapping(load_yaml(file_text(result)))
    (client,) = config.client_keys
    assert (client.role, client.models) == (role or "user", ("m",) if role or "models" in key else None)
    assert [loss.what for loss in result.losses if "admins" in loss.what] == lost
    assert any("`role: lead`): app" in remark for remark in result.remarks) is (role is not None)


@needs_feature("client_routing")
@each_row(
    ("row", "is_closed"),
    [({"blocked": True}, True), ({"spend": 6, "budget_id": "b"}, True), ({"spend": 4, "budget_id": "b"}, False)],
)
def test_an_end_user_whom_litellm_rejects_is_blocked(row, is_closed):
    tables = {KEYS: [{"token": "a" * 64}], BUDGETS: [{"budget_id": "b", "max_budget": 5}]}
    result = import_tables({**tables, END_USERS: [{"user_id": "eve", **row}]})
    assert load_yaml(file_text(result)).get("blocked_end_users") == (["eve"] if is_closed else None)
    assert from_mapping(load_yaml(file_text(result))).ineffective == ()


# Settings in the database


def settings_row(section: str, value: Any) -> dict[str, Any]:
    return {"param_name": section, "param_value": value}


@pytest.mark.parametrize("is_text", [True, False])
def test_settings_of_the_database_are_those_of_the_file(is_text):
    settings = {"fallbacks": [{"m": ["n"]}], "num_retries": 4}
    row = settings_row("router_settings", json.dumps(settings) if is_text else settings)
    result = import_tables({KEYS: [{"token": "a" * 64}], SETTINGS: [row]}, item("n", "openai/n", **TOKEN_COSTS))
    content = load_yaml(file_text(result))
    assert content["retries"] == {"attempts": 5}
    assert content["model_aliases"]["m"]["targets"] == ["m-openai", "n"]
    assert "router_settings.fallbacks" in file_text(result)


def test_the_file_has_precedence_and_the_other_value_is_reported():
    row = settings_row("router_settings", {"num_retries": 4, "timeout": 9})
    result = import_tables({KEYS: [{"token": "a" * 64}], SETTINGS: [row]}, router_settings={"num_retries": 1})
    assert load_yaml(file_text(result))["retries"] == {"attempts": 2}
    (loss,) = result.losses
    assert (loss.group, loss.what) == (Group.PROTECTION, "router_settings.num_retries in the database")


@each_row(
    ("section", "value", "group", "what"),
    [
        ("environment_variables", {"OPENAI_API_KEY": "zzz"}, Group.NAMES, "environment_variables (OPENAI_API_KEY)"),
        ("sso_config", {"x": 1}, Group.PROTECTION, "sso_config"),
        ("novel_settings", {"x": 1}, Group.UNKNOWN, "novel_settings"),
        ("litellm_settings", {"callbacks": ["s3"]}, Group.LOGS, "litellm_settings.callbacks (s3)"),
    ],
)
def test_other_settings_of_the_database_are_reported(section, value, group, what):
    result = import_tables({KEYS: [{"token": "a" * 64}], SETTINGS: [settings_row(section, value)]})
    (loss,) = result.losses
    assert loss.group is group
    assert loss.what.removesuffix(" in the database") == what
    assert "zzz" not in file_text(result)


def test_no_wildcard_serves_a_model_of_the_database():
    """Its provider, key and region are other ones: requests for it fail instead of going elsewhere."""
    tables = {KEYS: [{"token": "a" * 64}], MODELS: [{"model_name": "openai/gpt-4o"}, {"model_name": "m"}]}
    result = import_tables(
        tables, item("openai/*", "openai/*"), router_settings={"fallbacks": [{"m": ["openai/gpt-4o"]}]}
    )
    config = from_mapping(load_yaml(file_text(result)))
    assert config.model_names.refused == ("openai/gpt-4o",)
    assert any("fallbacks from m to openai/gpt-4o" in loss.what for loss in result.losses)


# Keys that other tables close

SPENT = {"budget_id": "b", "spend": 6}


@each_row(
    ("key", "tables", "reason"),
    [
        ({}, {USERS: [{"user_id": "u", "metadata": {"scim_active": False}}]}, "its user is deactivated"),
        ({}, {USERS: [{"user_id": "u", "metadata": '{"scim_active": false}'}]}, "its user is deactivated"),
        ({}, {USERS: [{"user_id": "u", "max_budget": 0}]}, "the budget of its team is exhausted for good"),
        ({}, {USERS: [{"user_id": "u", "rpm_limit": 0}]}, "the rpm_limit of its team is 0"),
        ({"project_id": "p"}, {PROJECTS: [{"project_id": "p", "blocked": True}]}, "its project is blocked"),
        ({"project_id": "p"}, {PROJECTS: [{"project_id": "p", **SPENT}]},
         "the budget of its project is exhausted for good"),
        ({"organization_id": "o"}, {"LiteLLM_OrganizationTable": [{"organization_id": "o", **SPENT}]},
         "the budget of its organization is exhausted for good"),
        ({"team_id": "t"}, {TEAMS: [{"team_id": "t", "organization_id": "o"}],
                            "LiteLLM_OrganizationTable": [{"organization_id": "o", **SPENT}]},
         "the budget of its organization is exhausted for good"),
        ({"team_id": "t"}, {TEAMS: [{"team_id": "t"}],
                            "LiteLLM_TeamMembership": [{"user_id": "u", "team_id": "t", **SPENT}]},
         "the budget of its user in its team is exhausted for good"),
        ({"budget_id": "b", "max_budget": 0}, {}, "its budget is exhausted for good"),
        ({"budget_id": "zero"}, {}, "its budget is exhausted for good"),
        ({"budget_id": "zero", "max_budget": 9}, {}, None),
    ],
)  # fmt: skip
def test_a_key_that_litellm_rejects_because_of_another_table_is_left_out(key, tables, reason):
    budgets = [{"budget_id": "b", "max_budget": 5}, {"budget_id": "zero", "max_budget": 0}]
    row = {"token": "a" * 64, "key_alias": "app", "user_id": "u", **key}
    result = import_tables({KEYS: [row], BUDGETS: budgets, **tables})
    assert result.no_longer_good == (() if reason is None else (f"app ({reason})",))
    assert [one["name"] for one in result.client_keys] == (["app"] if reason is None else [])


def test_aliases_of_a_team_are_in_another_table():
    tables = {
        KEYS: [{"token": "a" * 64, "key_alias": "app", "team_id": "t"}],
        TEAMS: [{"team_id": "t", "team_alias": "red", "model_id": 3}],
        "LiteLLM_ModelTable": [{"id": 3, "aliases": '{"m": "n"}'}],
    }
    result = import_tables(tables, item("n", "openai/n"))
    assert [one["models"] for one in result.client_keys] == [["n"]]
    assert [loss.what for loss in result.losses if loss.group is Group.NAMES] == [
        "aliases of the team red", "m for the key app",
    ]  # fmt: skip


def test_the_rates_of_a_user_are_reported_for_keys_of_teams():
    """LiteLLM enforces them for all keys of the user."""
    tables = {KEYS: [KEY], TEAMS: [TEAM], USERS: [{"user_id": "u", "user_alias": "ada", "rpm_limit": 9}]}
    assert "the rates of ada for keys of teams" in [loss.what for loss in import_tables(tables).losses]
