"""The gateway next to LiteLLM's own proxy, with one stand-in provider for both: ``trigate compare`` proves the move."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from openai import OpenAI

from tests.support.command_line import invoke
from tests.support.gateway_thread import gateway_thread, mock_thread
from tests.support.harness import Reply, request
from tests.support.litellm_proxy import litellm_proxy, program_or_skip
from tests.support.postgres import server_or_skip

pytestmark = [pytest.mark.soak, pytest.mark.process]

MASTER = "sk-master-1234567890"


def breaking_differences(compared: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (row["name"], one["part"], one["old"], one["new"])
        for row in compared["requests"]
        for one in row["differences"]
        if one["effect"] == "breaks"
    ]


@contextlib.contextmanager
def litellm_tables(url: str) -> Iterator["psycopg.Connection[Any]"]:
    """Yield a connection to a database with the tables of the installed LiteLLM, from its own migrations."""
    packages = Path(program_or_skip()).parent.parent / "lib"
    migrations = sorted(packages.glob("python*/site-packages/litellm_proxy_extras/migrations/*/migration.sql"))
    if not migrations:
        pytest.skip("the installed LiteLLM has no migrations: install litellm[proxy]")
    with psycopg.connect(url, autocommit=True) as database:
        for file in migrations:
            database.execute(file.read_text())  # type: ignore[arg-type]
        yield database


KEYS = {"shop": "sk-shop-1234567890", "spent": "sk-spent-1234567890", "team-key": "sk-team-1234567890"}
DIGESTS = {name: hashlib.sha256(key.encode()).hexdigest() for name, key in KEYS.items()}

AUTH = """
import hashlib, json, pathlib
from litellm.proxy._types import ProxyException, UserAPIKeyAuth

DIGESTS = json.loads(pathlib.Path(__file__).with_name("digests.json").read_text())

async def check(request, api_key):
    if hashlib.sha256(api_key.encode()).hexdigest() not in DIGESTS:
        raise ProxyException("unknown key", type="auth_error", param="key", code=401)
    return UserAPIKeyAuth(api_key=api_key)
"""
"""LiteLLM's check of keys in this test. Its client for PostgreSQL, Prisma, needs a program that no package has, so that
LiteLLM cannot read its own tables here."""


def _fill(database: "psycopg.Connection[Any]") -> None:
    """Add a team and three keys; the key `spent` has exhausted its budget until 2999."""
    database.execute(
        """INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, models, max_budget, budget_duration, budget_reset_at,
        spend) VALUES ('t', 'research', '{demo}', 50, '30d', '2999-01-01', 12.5)"""
    )
    for name, columns in {
        "shop": ("{}", None, 100, "30d", 7.25), "spent": ("{}", None, 5, "30d", 5.5),
        "team-key": ("{all-team-models}", "t", None, None, 0),
    }.items():  # fmt: skip
        models, team, budget, period, spend = columns
        database.execute(
            """INSERT INTO "LiteLLM_VerificationToken" (token, key_alias, models, team_id, max_budget, budget_duration,
            budget_reset_at, spend) VALUES (%s, %s, %s, %s, %s, %s, '2999-01-01', %s)""",
            (DIGESTS[name], name, models, team, budget, period, spend),
        )


def _model(name: str, model: str, base: str, **params: Any) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": model, "api_base": base, "api_key": "sk-up", **params}}


def test_a_whole_move(tmp_path: Path) -> None:
    """LiteLLM with a database and keys is imported, both run, ``compare`` finds nothing that breaks, and the clients'
    keys work: docs/migrating.md, "The move, step by step"."""
    program_or_skip()
    costs = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    with mock_thread() as mock, server_or_skip() as server:
        with litellm_tables(server.url) as database:
            _fill(database)
        settings: dict[str, Any] = {
            "model_list": [
                _model("demo", "openai/mock-small", f"{mock.url}/v1", **costs),
                _model("claude", "anthropic/claude-sonnet-4-5", mock.url),
                _model("balanced", "openai/mock-small", f"{mock.url}/v1", weight=2, **costs),
                _model("balanced", "openai/mock-small", f"{mock.url}/v1", weight=1, **costs),
            ],
            "router_settings": {"model_group_alias": {"gpt-4": "demo"}, "num_retries": 1},
            "litellm_settings": {"fallbacks": [{"demo": ["balanced"]}], "drop_params": True},
            "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
        }
        (tmp_path / "litellm_config.yaml").write_text(yaml.safe_dump(settings))
        args = ("import", "litellm_config.yaml", "--database", "DATABASE_URL", "--write", "trigate.yaml")
        done = invoke(*args, cwd=tmp_path, env={"DATABASE_URL": server.url})
        assert done.returncode == 0, done.stderr
        moved = yaml.safe_load((tmp_path / "trigate.yaml").read_text())
        moved["listeners"][0]["port"] = 0
        moved["compatibility"] = ["azure", "litellm"]
        env = {"LITELLM_MASTER_KEY": MASTER, **dict.fromkeys(_variables(moved), "sk-up")}
        auth = {"master_key": MASTER, "custom_auth": "move_auth.check"}
        files = {"move_auth.py": AUTH, "digests.json": json.dumps([*DIGESTS.values()])}
        old_settings = {**settings, "general_settings": auth}
        with litellm_proxy(old_settings, files=files) as old, gateway_thread(moved, env=env) as new:
            compared = ("compare", "--old", old, "--new", new.url, "--exact", "--json", "--model", "all")
            said = invoke(*compared, env={"TRIGATE_API_KEY": KEYS["shop"]})
            replies = {name: _ask(new.url, key) for name, key in KEYS.items()}
            sdk = OpenAI(base_url=f"{new.url}/v1", api_key=KEYS["team-key"], max_retries=0)
            answer = sdk.chat.completions.with_raw_response.create(model="demo", messages=HELLO)
            listed = {one.id for one in OpenAI(base_url=f"{old}/v1", api_key=KEYS["shop"]).models.list()}
            served = {one.id for one in OpenAI(base_url=f"{new.url}/v1", api_key=KEYS["shop"]).models.list()}
    found = json.loads(said.stdout)
    assert (breaking_differences(found), said.returncode) == ([], 0)
    assert found["good"]
    assert {name: reply.status for name, reply in replies.items()} == {"shop": 200, "spent": 402, "team-key": 200}
    assert "usd/30d=92.7" in dict(replies["shop"].headers)["x-trigate-budget-left"]
    assert answer.headers["x-litellm-model-group"] == "demo"
    assert listed <= served


HELLO: Any = [{"role": "user", "content": "Hello"}]


def _ask(url: str, key: str) -> Reply:
    body = {"model": "demo", "messages": HELLO}
    return request(url, "POST", "/v1/chat/completions", body, {"authorization": f"Bearer {key}"})


def _variables(content: Any) -> list[str]:
    """Return the names of the variables with the providers' keys."""
    return [one["access_key"].removeprefix("$") for one in content["model_providers"] if "access_key" in one]
