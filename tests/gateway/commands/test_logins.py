"""``trigate connect --login``: programs keep their own login and get the address alone."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from configfile.keys import keys_of
from gateway.commands import connect as command
from gateway.commands.client import KEY_VARIABLE
from gateway.commands.clients import CLAUDE_WAITS, CLIENTS
from gateway.commands.connect import run as connect
from gateway.commands.logins import LOGINS
from gateway.commands.running_gateways import ConnectOptions
from gateway.config.model_entry import ModelEntry
from tests.support.features import rows_of

ROOT = "http://gw.example"
PASSING = """\
version: v0.4.0
listeners: [{port: 4100}]
model_providers:
  - {model: anthropic/*, passthrough_auth: true}
  - {model: chatgpt/*, passthrough_auth: true}
"""


def with_login(**more) -> ConnectOptions:
    """Return options without a model: a program that keeps its login also keeps its models."""
    return ConnectOptions(login=True, **more)


def configured(home: Path, text: str = PASSING) -> None:
    (home / "trigate.yaml").write_text(text)


def test_claude_gets_the_address_and_nothing_in_place_of_its_login(home):
    configured(home)
    assert connect("claude", with_login(write=True)) == 0
    env = json.loads((home / ".claude/settings.json").read_text())["env"]
    blank = {"ANTHROPIC_API_KEY": "", "ANTHROPIC_AUTH_TOKEN": "", **CLAUDE_WAITS}
    assert env == {"ANTHROPIC_BASE_URL": "http://127.0.0.1:4100", **blank}
    assert command.undo("claude") == 0
    assert not (home / ".claude/settings.json").exists()


def test_a_login_replaces_the_gateways_key_and_models(home):
    configured(home)
    assert connect("claude", ConnectOptions(write=True, model="claude-opus-4-1")) == 0
    assert connect("claude", with_login(write=True)) == 0
    env = json.loads((home / ".claude/settings.json").read_text())["env"]
    assert {name: value for name, value in env.items() if value} == {
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:4100", **CLAUDE_WAITS,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "file", "holder", "says"),
    [
        ("claude", ".claude/settings.json", "env", {"ANTHROPIC_CUSTOM_HEADERS": "x-trigate-key: sk-gateway"}),
        ("gemini-cli", ".gemini/.env", None, "GEMINI_CLI_CUSTOM_HEADERS='x-trigate-key: sk-gateway'"),
    ],
)
def test_a_key_of_the_gateway_has_a_header_of_its_own(home, monkeypatch, name, file, holder, says):
    configured(home, PASSING + "client_keys: [{name: me, key: $NOT_SET}]\n")
    monkeypatch.setenv(KEY_VARIABLE, "sk-gateway")
    assert connect(name, with_login(write=True)) == 0
    text = (home / file).read_text()
    if holder is None:
        assert says in text.splitlines()
    else:
        assert says.items() <= json.loads(text)[holder].items()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "claude",
            "replace $TRIGATE_API_KEY above with one of the gateway's client_keys",
        ),  # its file names no variables
        ("codex", "set TRIGATE_API_KEY to one of the gateway's client_keys"),
    ],
)
def test_printed_settings_show_the_place_of_the_key(home, capsys, name, says):
    configured(home, PASSING + "client_keys: [{name: me, key: $NOT_SET}]\n")
    assert connect(name, with_login()) == 0
    assert f"\n{says}" in capsys.readouterr().out


@pytest.mark.parametrize("keyed", [False, True])
def test_codex_keeps_its_login_and_its_model(home, monkeypatch, keyed):
    configured(home, PASSING + ("client_keys: [{name: me, key: $NOT_SET}]\n" if keyed else ""))
    monkeypatch.setenv(KEY_VARIABLE, "sk-gateway") if keyed else None
    assert connect("codex", with_login(write=True)) == 0
    text = (home / ".codex/config.toml").read_text()
    provider = {
        "name": "trigate", "base_url": "http://127.0.0.1:4100/v1", "wire_api": "responses",
        "supports_websockets": True, "stream_idle_timeout_ms": 1_800_000, "requires_openai_auth": True,
        **({"env_http_headers": {"x-trigate-key": KEY_VARIABLE}} if keyed else {}),
    }  # fmt: skip
    assert tomllib.loads(text) == {"model_provider": "trigate", "model_providers": {"trigate": provider}}
    assert "sk-gateway" not in text


@pytest.mark.parametrize("name", ["claude", "codex", *rows_of("pass_through", "gemini-cli")])
def test_a_config_without_passthrough_auth_is_reported(home, capsys, name):
    keyed = "version: v0.4.0\nmodel_providers: [{model: openai/gpt-5, access_key: $NOT_SET}]\n"
    configured(home, keyed)
    assert connect(name, with_login()) == 0
    assert f"has no entry that forwards this login: add `- {LOGINS[name].entry}`" in capsys.readouterr().err
    configured(home, f"version: v0.4.0\nmodel_providers:\n  - {LOGINS[name].entry}\n")
    assert connect(name, with_login()) == 0
    assert "forwards this login" not in capsys.readouterr().err


@pytest.mark.parametrize("name", LOGINS)
def test_advice_on_an_entry_has_only_keys_of_this_installation(home, capsys, name):
    """A key of the entry may belong to a feature that the installation lacks."""
    configured(home, "version: v0.4.0\nmodel_providers: [{model: openai/gpt-5, access_key: $NOT_SET}]\n")
    assert connect(name, with_login()) == 0
    said = capsys.readouterr().err
    assert "no entry that forwards this login" in said
    assert {*re.findall(r"(\w+): ", said.partition("add `")[2])} <= {*keys_of(ModelEntry)}


@pytest.mark.parametrize("name", [name for name in CLIENTS if name not in LOGINS])
def test_other_clients_have_no_login(home, capsys, name):
    assert connect(name, with_login(url=ROOT, model="m")) == 2
    assert "it supports only claude, codex, gemini-cli" in (capsys.readouterr().err)


def test_claude_is_started_with_its_login(home, run_connect):
    configured(home)
    words = ("claude", "--login", "--config", "trigate.yaml", "--url", ROOT, "--")
    found = run_connect(*words, program="claude", ANTHROPIC_AUTH_TOKEN="any", ANTHROPIC_API_KEY="sk-mine")
    assert found.env["ANTHROPIC_BASE_URL"] == ROOT
    assert not any(found.env.get(name) for name in ("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"))
    assert json.loads(found.argv[2])["env"]["ANTHROPIC_AUTH_TOKEN"] == ""


# Gemini CLI's two files


def test_gemini_cli_gets_its_sign_in_with_its_address_and_both_are_undone(home):
    folder = home / ".gemini"
    folder.mkdir()
    (folder / "settings.json").write_text('{"ui": {"theme": "GitHub"}}')
    assert connect("gemini-cli", ConnectOptions(write=True, url=ROOT, model="m")) == 0
    settings = json.loads((folder / "settings.json").read_text())
    assert settings == {"ui": {"theme": "GitHub"}, "security": {"auth": {"selectedType": "gemini-api-key"}}}
    assert "GOOGLE_GEMINI_BASE_URL=http://gw.example" in (folder / ".env").read_text().splitlines()
    assert command.undo("gemini-cli") == 0
    assert (folder / "settings.json").read_text() == '{"ui": {"theme": "GitHub"}}'
    assert not (folder / ".env").exists()


def test_gemini_cli_with_its_login_loses_the_sign_in_by_key(home):
    configured(home)
    assert connect("gemini-cli", ConnectOptions(write=True, url=ROOT, model="m")) == 0
    assert connect("gemini-cli", with_login(write=True)) == 0
    assert not (home / ".gemini/settings.json").exists()
    assert (home / ".gemini/.env").read_text().splitlines() == [
        "CODE_ASSIST_ENDPOINT=http://127.0.0.1:4100/code-assist"
    ]


def test_gemini_cli_is_started_in_an_empty_home(home, run_connect):
    """Besides a base URL, Gemini CLI 0.61 takes only a sign-in with Vertex AI from its environment."""
    found = run_connect("gemini-cli", "--url", ROOT, "--model", "m", "--", program="gemini", GOOGLE_API_KEY="of-google")
    assert {
        "GOOGLE_GENAI_USE_VERTEXAI": "true",
        "GOOGLE_VERTEX_BASE_URL": "http://gw.example",
        "GOOGLE_API_KEY": "any",
        "GEMINI_MODEL": "m",
    }.items() <= found.env.items()
    assert not (home / ".gemini").exists()
