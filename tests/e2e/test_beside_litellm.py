"""The gateway next to LiteLLM's own proxy, with one stand-in provider for both: ``trigate compare`` proves the move."""

import json
from pathlib import Path

import pytest
import yaml

from tests.support.command_line import invoke
from tests.support.gateway_thread import gateway_thread, mock_thread
from tests.support.litellm_proxy import litellm_proxy, program_or_skip

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
