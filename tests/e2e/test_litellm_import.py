"""Tests of an imported LiteLLM file with twelve models and its keys: ``check``, ``serve``, and clients' requests."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gateway.commands.imports.result import Result, summary
from tests.support.command_line import invoke
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread, mock_thread
from tests.support.harness import ROOT, Gateway, free_port, refusing_port, request
from tests.support.litellm_files import file_text, import_with_tables
from tests.support.redis import LEFT_OPEN, collect_left_open

ENV = {
    "OPENAI_API_KEY": "sk-upstream-openai", "OPENAI_ORG": "org-1", "OPENAI_RESEARCH_KEY": "sk-upstream-research",
    "ANTHROPIC_API_KEY": "sk-upstream-anthropic", "GROQ_API_KEY": "sk-upstream-groq", "FAST_API_KEY": "sk-upstream-go",
    "LITELLM_MASTER_KEY": "sk-the-master", "AZURE_EU_KEY": "sk-upstream-azure",
}  # fmt: skip
pytestmark = LEFT_OPEN
DATA = ROOT / "tests/data/litellm"
HELLO = {"messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("litellm")


@pytest.fixture(scope="module")
def result() -> Result:
    return import_with_tables(DATA / "config.yaml", json.loads((DATA / "tables.json").read_text()))


@pytest.fixture(scope="module")
def gateway(folder: Path, result: Result) -> Iterator[Gateway]:
    """Serve the imported file with the stand-in as its providers; one provider is unreachable."""
    (folder / "trigate.yaml").write_text(file_text(result))
    with mock_thread() as mock, refusing_port() as refused:
        env = {**ENV, **dict.fromkeys(("OPENAI_BASE", "ANTHROPIC_BASE", "LOCAL_BASE"), mock.url)}
        env["AZURE_BASE"] = f"http://127.0.0.1:{refused}"
        checked = invoke("check", "trigate.yaml", cwd=folder, env=env)
        assert checked.returncode == 0, checked.stderr
        strict = invoke("check", "--strict", "trigate.yaml", cwd=folder, env=env)
        assert strict.returncode == 0, strict.stderr
        settings, port = yaml.safe_load((folder / "trigate.yaml").read_text()), free_port()
        with gateway_thread({**settings, "listeners": [{"port": port}]}, port, env=env) as process:
            yield process
    collect_left_open()


@needs_feature("request_members")
def test_the_summary_states_the_consequence_of_each_loss(result):
    lines = [*summary(result)]
    assert lines[0] == (
        "Converted: 11 of 12 models, 1 alias, 2 names with several targets (groups and fallbacks), 1 group and 6 "
        "client keys."
    )
    assert lines[1].endswith("invalid already: blocked-one (blocked), expired-one (expired 2025-03-01).")
    assert [line.split(" (")[0].strip() for line in lines[3:]] == [
        "model names and behaviour",
        "protection",
        "money",
        "logs",
        "less important",
        "unknown to trigate import",
    ]
    for lost in ("titan-on-sagemaker", "the key sagemaker-only"):
        assert lost in lines[3]
    for secret in ("AIza", "pk-written"):
        assert secret not in file_text(result) + "".join(lines)


@needs_feature("request_members")
@each_row(
    ("key", "model", "status"),
    [
        ("sk-the-master", "gpt-4o", 200),
        ("sk-team-a", "gpt-4o", 200),
        ("sk-team-a", "claude-sonnet", 200),
        ("sk-team-a", "local", 403),
        ("sk-team-b", "claude-sonnet", 200),
        ("sk-everything", "local", 200),
        ("sk-everything", "thinker", 200),
        ("sk-everything", "gpt-4", 200),
        ("sk-everything", "claude-haiku-4-5", 200),
        ("sk-everything", "titan-on-sagemaker", 404),
        ("sk-coding", "claude-sonnet", 200),
        ("sk-in-a-team", "gpt-4o", 200),
        ("sk-in-a-team", "local", 403),
        ("sk-blocked", "gpt-4o", 401),
        ("sk-expired", "gpt-4o", 401),
        ("sk-sagemaker", "gpt-4o", 401),
        ("sk-visit", "gpt-4o", 401),
        ("sk-nobodys", "gpt-4o", 401),
    ],
)
def test_clients_are_admitted_with_their_existing_keys(gateway, key, model, status):
    body = {"model": model, **HELLO}
    reply = request(gateway.url, "POST", "/v1/chat/completions", body, {"authorization": f"Bearer {key}"})
    assert reply.status == status, reply.body
    if status == 200:
        assert reply.json["choices"][0]["message"]["content"]


@needs_feature("request_members")
@needs_feature("model_lists")
def test_each_key_sees_its_own_models(gateway):
    named = {"gpt-4o", "claude-sonnet", "local", "thinker", "assistant", "fast", "gpt-4", "haiku"}

    def models(key: str) -> set[str]:
        reply = request(gateway.url, "GET", "/v1/models", headers={"x-api-key": key})
        return {model["id"] for model in reply.json["data"]} & named

    assert models("sk-team-a") == {"gpt-4o", "gpt-4", "claude-sonnet"}
    assert models("sk-coding") == {"claude-sonnet"}
    assert models("sk-in-a-team") == {"gpt-4o", "gpt-4", "claude-sonnet"}
    assert models("sk-everything") == named
