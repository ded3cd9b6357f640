"""``trigate import --database``: keys, teams, users and budgets from LiteLLM's PostgreSQL."""

import hashlib

import psycopg
import pytest

from gateway.commands.imports.litellm import convert_litellm
from gateway.commands.imports.litellm_database import Tables, read_database
from gateway.commands.imports.losses import Group
from gateway.commands.imports.result import Result
from tests.support.command_line import invoke
from tests.support.features import needs_feature
from tests.support.litellm_files import item
from tests.support.quick_yaml import dump_yaml, load_yaml

SECRETS = {name: f"sk-{name}-1234567890" for name in ("team", "user", "budget", "plain", "blocked")}
DIGESTS = {name: hashlib.sha256(secret.encode()).hexdigest() for name, secret in SECRETS.items()}

# The columns of LiteLLM's schema.prisma that the import reads, with some that it does not.
SCHEMA = """
CREATE TABLE "LiteLLM_BudgetTable" (budget_id text PRIMARY KEY, max_budget float8, budget_duration text, tpm_limit int8,
    rpm_limit int8, max_parallel_requests int4, soft_budget float8, model_max_budget jsonb);
CREATE TABLE "LiteLLM_TeamTable" (team_id text PRIMARY KEY, team_alias text, models text[], max_budget float8,
    budget_duration text, blocked boolean NOT NULL DEFAULT false, spend float8 DEFAULT 0, metadata jsonb DEFAULT '{}');
CREATE TABLE "LiteLLM_UserTable" (user_id text PRIMARY KEY, user_alias text, user_email text, models text[],
    max_budget float8, budget_duration text, rpm_limit int8, spend float8 DEFAULT 0);
CREATE TABLE "LiteLLM_VerificationToken" (token text PRIMARY KEY, key_alias text, models text[], team_id text,
    user_id text, budget_id text, expires timestamp(3), blocked boolean, max_budget float8, budget_duration text,
    spend float8 DEFAULT 0, metadata jsonb DEFAULT '{}');
CREATE TABLE "LiteLLM_EndUserTable" (user_id text PRIMARY KEY, budget_id text, blocked boolean DEFAULT false,
    allowed_model_region text);
CREATE TABLE "LiteLLM_ProxyModelTable" (model_id text PRIMARY KEY, model_name text, litellm_params jsonb);
CREATE TABLE "LiteLLM_SpendLogs" (request_id text PRIMARY KEY, messages text);
INSERT INTO "LiteLLM_BudgetTable" VALUES ('b1', 5, '1d', NULL, 60);
INSERT INTO "LiteLLM_TeamTable" VALUES ('t1', E'the\tteam', '{demo}', 100, '30d');
INSERT INTO "LiteLLM_UserTable" VALUES ('u1', 'ada', 'ada@example.com', '{}', 7, '1d', 30);
INSERT INTO "LiteLLM_UserTable" VALUES ('u2', 'bob', NULL, '{}');
INSERT INTO "LiteLLM_EndUserTable" VALUES ('e1', 'b1', true, 'eu'), ('e2', 'b1', false, NULL);
INSERT INTO "LiteLLM_EndUserTable" VALUES ('e3');
INSERT INTO "LiteLLM_ProxyModelTable" VALUES ('m1', 'gpt-stored', '{"model": "encrypted"}');
INSERT INTO "LiteLLM_SpendLogs" VALUES ('r1', E'a prompt with\na line and \\. and a tab\t');
"""
ROWS = [
    ("team", "t1", "u1", None, False), ("user", None, "u1", None, None), ("budget", None, None, "b1", None),
    ("plain", None, "u2", None, None), ("blocked", None, None, None, True),
]  # fmt: skip
INSERT = """
INSERT INTO "LiteLLM_VerificationToken" (token, key_alias, models, team_id, user_id, budget_id, blocked, expires)
    VALUES (%s, %s, '{}', %s, %s, %s, %s, '2099-01-01')"""


@pytest.fixture(scope="module")
def stored(server):
    """Return the connection string of a database of LiteLLM."""
    url = server.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SCHEMA)
        for name, *rest in ROWS:
            connection.execute(INSERT, (DIGESTS[name], name, *rest))
    return url


@pytest.fixture
def folder(tmp_path):
    models = [{"model_name": "demo", "litellm_params": {"model": "openai/gpt-4o", "api_key": "os.environ/OPENAI_KEY"}}]
    (tmp_path / "litellm.yaml").write_text(dump_yaml({"model_list": models}))
    return tmp_path


def convert_model(tables: Tables) -> Result:
    """Return the result for a file with one model and a price, and these tables."""
    return convert_litellm({"model_list": [item("m", "openai/gpt-4o")]}, tables)


def import_from(folder, source, **env):
    said = invoke("import", "litellm.yaml", "--database", str(source), cwd=folder, env=env)
    assert "hunter2" not in said.stdout + said.stderr
    return said


EXPECTED_KEYS = [
    {"name": "team", "sha256": DIGESTS["team"], "group": "the team", "until": "2099-01-01T00:00:00Z"},
    {"name": "user", "sha256": DIGESTS["user"], "group": "ada", "until": "2099-01-01T00:00:00Z"},
    {
        "name": "budget", "sha256": DIGESTS["budget"], "until": "2099-01-01T00:00:00Z",
        "ratelimits": {"requests": "60/m"}, "budgets": ["5 usd/day"],
    },
    {"name": "plain", "sha256": DIGESTS["plain"], "until": "2099-01-01T00:00:00Z"},
]  # fmt: skip
EXPECTED_GROUPS = [
    {"name": "the team", "models": ["demo"], "budgets": ["100 usd/30d"]},
    {"name": "ada", "ratelimits": {"requests": "30/m"}, "budgets": ["7 usd/day"]},
]


@needs_feature("client_routing")
@pytest.mark.server
@pytest.mark.parametrize("is_prismas", [False, True])
def test_keys_keep_their_hashes_teams_users_and_budgets(stored, folder, is_prismas):
    prisma = stored.replace("postgresql://", "postgres://") + "&schema=public&connection_limit=5&pool_timeout=60"
    said = import_from(folder, "DATABASE_URL", DATABASE_URL=prisma if is_prismas else stored)
    found = load_yaml(said.stdout)
    assert found["client_keys"] == EXPECTED_KEYS
    assert found["client_groups"] == EXPECTED_GROUPS
    assert (found["blocked_end_users"], found["client_routing"]) == (["e1"], ["litellm"])
    assert said.returncode == 3  # what follows is lost
    for lost in (
        "the budgets of end users: 2 end users (e1, e2)",
        "the regions of end users: e1",
        "models that are only in the database: gpt-stored",
        "blocked (blocked)",
    ):
        assert lost in " ".join((said.stdout + said.stderr).split()), lost


@needs_feature("client_routing")
@pytest.mark.server
def test_a_user_with_read_access_is_sufficient(stored, folder):
    with psycopg.connect(stored, autocommit=True) as connection:
        connection.execute("CREATE ROLE reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    said = import_from(folder, "DATABASE_URL", DATABASE_URL=stored.replace("someone:", "reader:"))
    assert load_yaml(said.stdout)["client_keys"] == EXPECTED_KEYS


@pytest.mark.server
def test_tables_without_a_counterpart_are_listed(server, folder):
    url = server.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in (
            'CREATE TABLE "LiteLLM_VerificationToken" (token text, models text[]); '
            'CREATE TABLE "LiteLLM_GuardrailsTable" (guardrail_name text); '
            'CREATE TABLE "LiteLLM_NovelTable" (secret text); CREATE TABLE "LiteLLM_EmptyTable" (a text); '
            'CREATE TABLE "LiteLLM_AuditLog" (a text); '
            """INSERT INTO "LiteLLM_VerificationToken" VALUES ('sk-a', '{}'); """
            """INSERT INTO "LiteLLM_GuardrailsTable" VALUES ('no-cards'); """
            """INSERT INTO "LiteLLM_NovelTable" VALUES ('hunter2'), ('hunter3'); """
            """INSERT INTO "LiteLLM_AuditLog" VALUES ('b')""",
            "CREATE ROLE limited LOGIN",
            'GRANT SELECT ON "LiteLLM_VerificationToken" TO limited',
        ):
            connection.execute(statement)
    expected = {"the table LiteLLM_GuardrailsTable: no-cards", "the table LiteLLM_NovelTable"}
    assert {loss.what for loss in convert_model(read_database(url, {})).losses} == expected
    assert import_from(folder, url).returncode == 3
    limited = convert_model(read_database(url.replace("someone:", "limited:"), {})).losses
    unread = ("EmptyTable", "GuardrailsTable", "NovelTable")
    assert [(loss.group, loss.what) for loss in limited] == [
        (Group.UNKNOWN, f"the table LiteLLM_{name}") for name in unread
    ]
    assert "grant SELECT" in limited[0].why


@pytest.mark.parametrize(
    ("source", "env", "words"),
    [
        ("DATABASE_URL", {"DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:1/x"}, "the database in DATABASE_URL"),
        ("postgresql://u:hunter2@127.0.0.1:1/x", {}, "cannot be read"),
        ("DATABASE_URL", {"DATABASE_URL": "mysql://u:hunter2@h/x"}, "the database in DATABASE_URL"),
        ("MISSING", {}, "there is no environment variable MISSING"),
    ],
)
def test_an_unreadable_database_is_reported_without_its_password(folder, source, env, words):
    said = import_from(folder, source, **env)
    assert said.returncode == 1
    assert words in " ".join(said.stderr.split())


def test_a_dump_is_refused_in_one_line(folder):
    (folder / "litellm.sql").write_text('COPY public."LiteLLM_VerificationToken" (token) FROM stdin;\n')
    said = import_from(folder, "litellm.sql")
    assert (said.returncode, said.stdout) == (1, "")
    (line,) = said.stderr.splitlines()
    assert "connect to the database" in line


def test_a_users_limits_do_not_apply_to_the_keys_of_a_team():
    token = {"token": "a" * 64, "key_alias": "k", "user_id": "u", "team_id": "t", "models": None}
    user = {"user_id": "u", "max_budget": 1, "budget_duration": "1d"}
    teams = [{"team_id": "t", "models": []}]
    tables = {"LiteLLM_VerificationToken": [token], "LiteLLM_UserTable": [user], "LiteLLM_TeamTable": teams}
    result = convert_model(tables)
    assert result.client_keys == [{"name": "k", "sha256": "a" * 64, "group": "t"}]
    assert result.client_groups == [{"name": "t"}]


def test_a_keys_own_limits_precede_those_of_its_budget():
    token = {"token": "a" * 64, "key_alias": "k", "budget_id": "b", "max_budget": 3, "budget_duration": "1d"}
    budget = {"budget_id": "b", "max_budget": 9, "budget_duration": "30d", "rpm_limit": 5}
    result = convert_model({"LiteLLM_VerificationToken": [token], "LiteLLM_BudgetTable": [budget]})
    limits = {"ratelimits": {"requests": "5/m"}, "budgets": ["3 usd/day"]}
    assert result.client_keys == [{"name": "k", "sha256": "a" * 64, **limits}]
    assert result.losses == []
