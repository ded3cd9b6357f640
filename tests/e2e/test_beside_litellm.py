"""The gateway next to LiteLLM's own proxy, with one stand-in provider for both: ``trigate compare`` proves the move."""

import hashlib
import json
from pathlib import Path

import psycopg
import pytest
import yaml

from tests.support.command_line import invoke
from tests.support.gateway_thread import gateway_thread, mock_thread
from tests.support.litellm_proxy import litellm_proxy, program_or_skip
from tests.support.postgres import server_or_skip

pytestmark = [pytest.mark.soak, pytest.mark.process]

MASTER = "sk-master-1234567890"


def test_an_imported_gateway_breaks_no_client(tmp_path: Path) -> None:
    program_or_skip()
    with mock_thread() as mock:
        settings = {
            "model_list": [
                {
                    "model_name": "demo",
                    "litellm_params": {"model": "openai/mock-small", "api_base": f"{mock.url}/v1", "api_key": "sk-a"},
                },
                {
                    "model_name": "claude",
                    "litellm_params": {"model": "anthropic/claude-sonnet-4-5", "api_base": mock.url, "api_key": "sk-b"},
                },
            ],
            "general_settings": {"master_key": MASTER},
        }
        (file := tmp_path / "litellm_config.yaml").write_text(yaml.safe_dump(settings))
        imported = invoke("import", "litellm_config.yaml", "--write", "trigate.yaml", cwd=tmp_path)
        assert imported.returncode == 0, imported.stderr
        moved = yaml.safe_load((tmp_path / "trigate.yaml").read_text())
        env = {"DEMO_API_KEY": "sk-a", "CLAUDE_API_KEY": "sk-b", "LITELLM_MASTER_API_KEY": MASTER}
        moved["listeners"][0]["port"] = 0
        with litellm_proxy(yaml.safe_load(file.read_text())) as old, gateway_thread(moved, env=env) as new:
            args = ("compare", "--old", old, "--new", new.url, "--model", "all", "--exact", "--json")
            said = invoke(*args, env={"TRIGATE_API_KEY": MASTER})
        found = json.loads(said.stdout)
        breaking = [
            (row["name"], one["part"], one["old"], one["new"])
            for row in found["requests"]
            for one in row["differences"]
            if one["effect"] == "breaks"
        ]
        assert breaking == []
        assert found["good"]
        assert said.returncode == 0


CLIENT = "sk-client-1234567890"


def test_a_gateway_accepts_the_keys_of_litellms_own_database(tmp_path: Path) -> None:
    """The schema is that of the installed LiteLLM, whose package has its migrations. Only the hash of the key moves."""
    packages = Path(program_or_skip()).parent.parent / "lib"
    migrations = sorted(packages.glob("python*/site-packages/litellm_proxy_extras/migrations/*/migration.sql"))
    if not migrations:
        pytest.skip("the installed LiteLLM has no migrations: install litellm[proxy]")
    with mock_thread() as mock, server_or_skip() as server:
        with psycopg.connect(server.url, autocommit=True) as database:
            for file in migrations:
                database.execute(file.read_text())  # type: ignore[arg-type]
            digest = hashlib.sha256(CLIENT.encode()).hexdigest()
            database.execute(
                """INSERT INTO "LiteLLM_BudgetTable" (budget_id, max_budget, budget_duration, created_by, updated_by)
                VALUES ('b', 5, '1d', 'test', 'test')"""
            )
            database.execute(
                """INSERT INTO "LiteLLM_VerificationToken" (token, key_alias, budget_id, models)
                VALUES (%s, 'client', 'b', '{}')""",
                (digest,),
            )
        model = {"model": "openai/mock-small", "api_base": f"{mock.url}/v1", "api_key": "sk-a"}
        settings = {"model_list": [{"model_name": "demo", "litellm_params": {**model, "input_cost_per_token": 1e-6}}]}
        (tmp_path / "litellm_config.yaml").write_text(yaml.safe_dump(settings))
        args = ("import", "litellm_config.yaml", "--database", "DATABASE_URL", "--write", "trigate.yaml")
        imported = invoke(*args, cwd=tmp_path, env={"DATABASE_URL": server.url})
        moved = yaml.safe_load((tmp_path / "trigate.yaml").read_text())
        assert moved["client_keys"] == [{"name": "client", "sha256": digest, "budgets": ["5 usd/day"]}], imported.stderr
        moved["listeners"][0]["port"] = 0
        with gateway_thread(moved, env={"DEMO_API_KEY": "sk-a"}) as gateway:
            sources = ("--model", "demo", "--exact", "--json", "--api", "chat")
            urls = ("--old", mock.url, "--new", gateway.url)
            said = invoke("compare", *urls, *sources, env={"TRIGATE_API_KEY": CLIENT})
            found = json.loads(said.stdout)
            answers = [row for row in found["requests"] if "(demo)" in row["name"]]
            assert [row["new"]["status"] for row in answers] == [200] * 6
            assert not [one for row in answers for one in row["differences"] if one["effect"] == "breaks"]
