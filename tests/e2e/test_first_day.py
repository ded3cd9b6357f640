"""The first steps of a user on the command line, with the first config. ``test_litellm_import.py`` tests users of
LiteLLM."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from anthropic import Anthropic, DefaultHttpxClient
from openai import OpenAI

from tests.support.command_line import invoke
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import free_port, request
from tests.support.no_tls import NO_TLS
from tests.support.upstreams import Script, Upstream, fake_upstream

KEYS = {"OPENAI_API_KEY": "sk-openai-0123456789", "ANTHROPIC_API_KEY": "sk-anthropic-0123456789"}
CLAUDE = ("claude-opus-4-8", "claude-opus-4-8[1m]", "claude-sonnet-4-6", "claude-haiku-5-5")
OPENAI = ("gpt-5.4", "gpt-5.1-codex", "gpt-4o-2024-08-06", "o4-mini")


@pytest.fixture
def answering() -> Iterator[Upstream]:
    with fake_upstream(Script(text="fine")) as upstream:
        yield upstream


def point(file: Path, upstream: Upstream, **more: Any) -> int:
    """Replace the providers in ``file`` with the test's provider, add ``more`` and a free port, and return the port."""
    settings, port = yaml.safe_load(file.read_text()), free_port()
    settings["listeners"] = [{"type": "model", "name": "models", "port": port}]
    for entry in settings["model_providers"]:
        entry["base_url"] = upstream.url
    file.write_text(yaml.safe_dump({**settings, **more}, sort_keys=False))
    return port


def answers(url: str, model: str) -> str:
    """Return the answer of ``model`` that the SDK of the model's maker reads."""
    http = DefaultHttpxClient(verify=NO_TLS)
    if "claude" in model:
        with Anthropic(base_url=url, api_key="any", max_retries=0, http_client=http) as client:
            turns = [{"role": "user", "content": "Hi"}]
            return client.messages.create(model=model, max_tokens=100, messages=turns).content[0].text
    with OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, http_client=http) as client:
        chat = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hi"}])
        return chat.choices[0].message.content


def test_a_configuration_of_init_serves_the_model_names_of_programs(tmp_path, answering):
    assert invoke("init", cwd=tmp_path, env=KEYS).returncode == 0
    file = tmp_path / "trigate.yaml"
    assert invoke("check", cwd=tmp_path, env=KEYS).returncode == 0
    with gateway_thread(file, point(file, answering), env=KEYS) as served:
        for model in (*CLAUDE, *OPENAI, "smart", "fast"):
            assert answers(served.url, model) == "fine", model
        unknown = request(served.url, "POST", "/v1/messages", {"model": "opus", "max_tokens": 9, "messages": []})
        assert unknown.status == 404
        assert "did you mean claude-opus-" in unknown.json["error"]["message"]
    keys = {seen.header("authorization") or seen.header("x-api-key") for seen in answering.seen}
    assert keys == {f"Bearer {KEYS['OPENAI_API_KEY']}", KEYS["ANTHROPIC_API_KEY"]}


@needs_feature("kept_ledger")
def test_budgets_and_costs_work_from_the_first_day(tmp_path, answering):
    """`init` keeps costs, so that a budget survives a restart and `trigate costs` adds them up from any folder."""
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    project.mkdir()
    elsewhere.mkdir()
    assert invoke("init", cwd=project, env=KEYS).returncode == 0
    file = project / "trigate.yaml"
    port = point(file, answering, budgets=["40 tokens/day"])
    checked = invoke("check", str(file), cwd=elsewhere, env=KEYS)
    assert "forgotten" not in checked.stderr
    body = {"model": "gpt-5.4", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    with gateway_thread(file, port, env=KEYS) as served:
        assert request(served.url, "POST", "/v1/chat/completions", body).status == 200
    costs = invoke("costs", str(file), cwd=tmp_path)
    assert costs.returncode == 0, costs.stderr
    assert "openai/gpt-5.4" in costs.stdout
    with gateway_thread(file, port, env=KEYS) as served:
        assert request(served.url, "POST", "/v1/chat/completions", body).status == 402
