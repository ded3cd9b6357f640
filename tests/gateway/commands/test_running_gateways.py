"""Where ``trigate connect`` and the other commands find the gateway and its config, from whatever folder, and which
models a client gets."""

import json

import pytest

from gateway.commands import running_gateways as finding
from gateway.commands.choosing import (
    CODEX_KNOWS,
    ConfiguredOffer,
    RunningGateway,
    default_models,
    model_for_codex,
    models_for_claude,
)
from gateway.commands.client import KEY_VARIABLE
from gateway.commands.connect import run as connect
from gateway.commands.running_gateways import ConnectOptions
from gateway.config_files.loading import from_mapping
from tests.support.command_line import invoke as trigate
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, free_port, provider, refusing_port
from tests.support.quick_yaml import dump_yaml

NOWHERE = "http://127.0.0.1:9"
WILD = [
    provider("anthropic/*", NOWHERE, ["messages"]),
    provider("openai/*", NOWHERE, ["chat", "responses"]),
]
LOCAL = [provider("vllm/large", NOWHERE), provider("vllm/small", NOWHERE)]
ALIASES = {"smart": {"target": "vllm/large"}, "fast": {"target": "vllm/small"}}
CLAUDE = {"env": {"ANTHROPIC_AUTH_TOKEN": "any"}}


@pytest.fixture
def home(home, monkeypatch):
    """Return an empty home directory whose empty subdirectory ``project`` is the current one."""
    (home / "project").mkdir()
    monkeypatch.chdir(home / "project")
    return home


@pytest.fixture
def usual_port(monkeypatch):
    """Return a port without a listener that is the usual one of gateways in this process."""
    port = free_port()
    monkeypatch.setattr(finding, "USUAL", f"http://127.0.0.1:{port}")
    return port


def put(path, entries, port, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dump_yaml(config(entries, port, **more)))


def claude(capsys):
    """Return the printed settings for Claude Code, without the token, and standard error."""
    assert connect("claude", ConnectOptions()) == 0
    out, err = capsys.readouterr()
    environment = json.loads(out[out.index("{") : out.rindex("}") + 1])["env"]
    assert environment.pop("ANTHROPIC_AUTH_TOKEN") == "any"
    return environment, err


# Addresses


@needs_feature("model_lists")
def test_the_running_gateway_is_queried_from_a_folder_without_a_config(home, usual_port, capsys):
    with gateway_thread(config(LOCAL, usual_port, model_aliases=ALIASES), usual_port):
        found, err = claude(capsys)
    assert found["ANTHROPIC_BASE_URL"] == f"http://127.0.0.1:{usual_port}"
    assert found["ANTHROPIC_DEFAULT_OPUS_MODEL"] == "smart"
    assert f"The gateway on http://127.0.0.1:{usual_port} serves 4 models." in err
    assert "demo" not in err


def test_the_demo_is_spoken_of_only_when_nothing_answers(home, usual_port, capsys):
    found, err = claude(capsys)
    assert found["ANTHROPIC_BASE_URL"] == f"http://127.0.0.1:{usual_port}"
    assert "trigate serve --demo" in err


def test_connect_uses_the_running_gateway_rather_than_the_file(home, capsys):
    """The running gateway may have another file, and the client gets the settings of that one."""
    port = free_port()
    put(home / "project/trigate.yaml", LOCAL, port)
    with gateway_thread(config(WILD, port), port):
        found, err = claude(capsys)
    assert found["ANTHROPIC_BASE_URL"] == f"http://127.0.0.1:{port}"
    found, err = claude(capsys)  # now it is gone
    assert found["ANTHROPIC_MODEL"] == "vllm/large"
    assert f"No gateway is running on http://127.0.0.1:{port} (nothing is listening there); using the models in " in err
    assert "trigate.yaml" in err


@needs_feature("model_lists")
def test_the_config_of_another_gateway_is_not_held_against_the_one_that_is_named(home, capsys):
    port = free_port()
    put(home / ".config/trigate/trigate.yaml", LOCAL, free_port())
    with gateway_thread(config(WILD, port), port):
        assert connect("claude", ConnectOptions(url=f"http://127.0.0.1:{port}", login=True)) == 0
    err = capsys.readouterr().err
    assert f"The gateway on http://127.0.0.1:{port} serves" in err
    assert "trigate.yaml" not in err


def test_settings_come_from_a_config_on_the_command_line(home, capsys):
    port = free_port()
    put(home / "mine.yaml", LOCAL, port)
    with gateway_thread(config(WILD, port), port):
        assert connect("claude", ConnectOptions(config=home / "mine.yaml")) == 0
    assert '"ANTHROPIC_MODEL": "vllm/large"' in capsys.readouterr().out


@needs_feature("model_lists")
def test_a_persons_own_config_is_for_every_folder(home, usual_port, capsys):
    """The command looks for its gateway first, then for one at the usual address; if none runs, it uses the config."""
    port = free_port()
    put(home / ".config/trigate/trigate.yaml", LOCAL, port)
    assert claude(capsys)[0]["ANTHROPIC_BASE_URL"] == f"http://127.0.0.1:{port}"
    with gateway_thread(config(WILD, usual_port), usual_port):
        assert claude(capsys)[0]["ANTHROPIC_BASE_URL"] == f"http://127.0.0.1:{usual_port}"
        with gateway_thread(config(LOCAL, port), port):
            assert claude(capsys)[0]["ANTHROPIC_BASE_URL"] == f"http://127.0.0.1:{port}"


def test_a_config_yaml_of_another_program_is_no_config(home, usual_port, capsys):
    (home / "project/config.yaml").write_text("title: my site\ntheme: dark\n")
    assert "trigate serve --demo" in claude(capsys)[1]
    with gateway_thread(config(WILD, usual_port), usual_port):
        assert claude(capsys)[0]["ANTHROPIC_BASE_URL"] == f"http://127.0.0.1:{usual_port}"


@needs_feature("model_lists")
def test_a_remote_gateway_is_queried_too(home, usual_port, capsys):
    port = free_port()
    with gateway_thread(config(LOCAL, port), port):
        assert connect("llm", ConnectOptions(url=f"http://127.0.0.1:{port}/v1")) == 0
        assert "vllm/large" in capsys.readouterr().out
        assert connect("llm", ConnectOptions(url=f"http://127.0.0.1:{port}", small="none")) == 2
        assert "'none' is not configured here" in capsys.readouterr().err
    assert connect("llm", ConnectOptions(url=f"http://127.0.0.1:{port}")) == 2
    assert "nothing is listening there" in (err := capsys.readouterr().err)
    assert "--model MODEL" in err


def test_connect_uses_the_file_if_another_server_answers(home, capsys):
    with refusing_port() as port:
        put(home / "project/trigate.yaml", LOCAL, port)
        found, err = claude(capsys)
    assert found["ANTHROPIC_MODEL"] == "vllm/large"
    assert "No gateway is running" in err


@needs_feature("model_lists")
def test_a_gateway_that_requires_a_key_leads_to_advice_on_the_variable(home, usual_port, capsys, monkeypatch):
    keys = [{"name": "me", "key": "gw-key"}, {"name": "limited", "key": "gw-limited", "models": ["vllm/small"]}]
    with gateway_thread(config(LOCAL, usual_port, client_keys=keys), usual_port):
        assert connect("codex", ConnectOptions()) == 2
        assert f"requires a key: set {KEY_VARIABLE} to one of its client_keys" in capsys.readouterr().err
        monkeypatch.setenv(KEY_VARIABLE, "gw-wrong")
        assert connect("codex", ConnectOptions()) == 2
        assert f"rejects the key in {KEY_VARIABLE}" in (err := capsys.readouterr().err)
        assert "gw-wrong" not in err
        for key, model in (("gw-key", "vllm/large"), ("gw-limited", "vllm/small")):
            monkeypatch.setenv(KEY_VARIABLE, key)
            assert connect("codex", ConnectOptions()) == 0
            out = capsys.readouterr().out
            assert f'model = "{model}"' in out
            assert f'env_key = "{KEY_VARIABLE}"' in out


@pytest.mark.parametrize("file_has_keys", [True, False])
def test_a_config_in_the_folder_serves_where_the_key_is_not_at_hand(home, capsys, file_has_keys):
    """The running gateway may have another file, and only that one has keys."""
    port, keys = free_port(), [{"name": "me", "key": "gw-key"}]
    put(home / "project/trigate.yaml", LOCAL, port, **({"client_keys": keys} if file_has_keys else {}))
    with gateway_thread(config(LOCAL, port, client_keys=keys), port):
        assert connect("claude", ConnectOptions(write=True)) == 2
        assert connect("codex", ConnectOptions()) == 0
    out, err = capsys.readouterr()
    assert 'model = "vllm/large"' in out
    assert f'env_key = "{KEY_VARIABLE}"' in out
    assert f"requires a key ({KEY_VARIABLE}); using the models in " in err


@needs_feature("model_lists")
def test_the_key_is_not_shown_to_an_address_elsewhere_that_a_folder_names(home, capsys, monkeypatch):
    """A config comes with a clone. (The address 0 is this machine, and does not look like it.)"""
    port, keys = free_port(), [{"name": "me", "key": "gw-key"}]
    put(home / "project/trigate.yaml", LOCAL, port, client_keys=keys, listener={"address": "0"})
    monkeypatch.setenv(KEY_VARIABLE, "gw-key")
    with gateway_thread(config(WILD, port, client_keys=keys), port):
        assert connect("codex", ConnectOptions()) == 0
        out, err = capsys.readouterr()
        assert 'model = "vllm/large"' in out
        assert f"The gateway on http://0:{port} requires a key" in err
        assert connect("codex", ConnectOptions(url=f"http://0:{port}")) == 0
        assert 'model = "gpt-6.1-sol"' in capsys.readouterr().out


@pytest.mark.parametrize("others", [None, "baseURL: https://example.org/\n"])
@pytest.mark.parametrize("command", [("check",), ("explain", "vllm/large"), ("doctor", "--timeout", "1")])
def test_every_command_finds_a_persons_own_config_and_is_reported(home, command, others):
    put(home / "own/trigate/trigate.yaml", LOCAL, 1)
    reason = ""
    if others is not None:
        (home / "project/config.yaml").write_text(others)
        reason = " (config.yaml belongs to another program, without `version: v0.4.0` or `model_providers`)"
    variables = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "own")}
    found = trigate(*command, cwd=home / "project", env=variables)
    said = f"This directory has no configuration{reason}; using {home}/own/trigate/trigate.yaml"
    assert found.stderr.count("config.yaml") == (others is not None)
    assert said in found.stderr
    assert found.returncode == (1 if command[0] == "doctor" else 0)
    named = trigate("check", str(home / "own/trigate/trigate.yaml"), cwd=home / "project", env=variables)
    assert (named.returncode, named.stderr) == (0, "")


# Offered models


def offer(entries, **more):
    return ConfiguredOffer(from_mapping(config(entries, 1, **more)))


def test_claudes_own_names_stay_unchanged_where_they_are_served():
    assert models_for_claude(offer(WILD)) == {}
    assert models_for_claude(offer([*LOCAL, *WILD], model_aliases=ALIASES)) == {}


def test_smart_and_fast_are_for_the_large_and_the_small_if_no_claude_is_served():
    assert models_for_claude(offer([*LOCAL, WILD[1]], model_aliases=ALIASES)) == {
        "fable": "smart", "opus": "smart", "sonnet": "smart", "haiku": "fast", "pinned": "smart",
        "claude_window": "128000",
    }  # fmt: skip


def test_without_aliases_it_is_the_default():
    entries = [LOCAL[0], {**LOCAL[1], "default": True}]
    assert set(models_for_claude(offer(entries)).values()) == {"vllm/small", "128000"}
    assert set(models_for_claude(offer(LOCAL)).values()) == {"vllm/large", "128000"}


def test_single_claude_models_serve_their_nearest_tiers():
    entries = [*LOCAL, provider("anthropic/claude-sonnet-4-5", NOWHERE), provider("router/claude-haiku-4.5", NOWHERE)]
    assert models_for_claude(offer(entries, model_aliases=ALIASES)) == {
        "fable": "claude-sonnet-4-5", "opus": "claude-sonnet-4-5", "sonnet": "claude-sonnet-4-5",
        "haiku": "router/claude-haiku-4.5", "pinned": "claude-sonnet-4-5", "claude_window": "200000",
    }  # fmt: skip


def test_claude_code_gets_the_smallest_window_of_its_unknown_models():
    """It would take them for models of a million tokens."""
    entries = [provider("openai/gpt-5.1", NOWHERE), provider("openai/gpt-4o", NOWHERE)]
    aliases = {"smart": {"target": "openai/gpt-5.1"}, "fast": {"target": "openai/gpt-4o"}}
    assert models_for_claude(offer(entries, model_aliases=aliases))["claude_window"] == "128000"
    assert models_for_claude(offer(entries[:1]))["claude_window"] == "272000"
    assert "claude_window" not in models_for_claude(offer([provider("anthropic/claude-opus-4-8", NOWHERE)]))


def test_codex_gets_a_model_that_it_knows():
    assert model_for_codex(offer(WILD)) == {"model": CODEX_KNOWS[0]}
    assert model_for_codex(offer([*LOCAL, provider("azure/gpt-5.5", NOWHERE)], model_aliases=ALIASES)) == {
        "model": "gpt-5.5"
    }
    default = {**provider("openai/gpt-6-luna", NOWHERE), "default": True}
    assert model_for_codex(offer([default, *WILD])) == {"model": "openai/gpt-6-luna"}


@each_row(
    ("model", "tokens"),
    [("openai/gpt-5.1", 272_000), ("x/Claude-Sonnet-4.5", 200_000), ("openai/gpt-4o", 128_000), ("vllm/mine", 128_000)],
)
def test_codex_gets_the_window_of_an_unknown_model(model, tokens):
    assert model_for_codex(offer([provider(model, NOWHERE)])) == {"model": model, "window": tokens}
    named = offer([provider(model, NOWHERE)], model_aliases={"smart": {"target": model}})
    assert model_for_codex(named)["window"] == tokens


def test_other_clients_get_what_init_begins_with_and_fast_for_small_tasks():
    assert default_models(offer(WILD)) == {
        "model": "anthropic/claude-sonnet-5-5",
        "small": "anthropic/claude-haiku-5-5",
    }
    assert default_models(offer([*WILD, *LOCAL], model_aliases=ALIASES)) == {"model": "smart", "small": "fast"}
    default = {**LOCAL[1], "default": True}
    assert default_models(offer([*WILD, LOCAL[0], default])) == {"model": "vllm/small", "small": "vllm/small"}


@needs_feature("model_lists")
def test_the_gateway_and_its_config_offer_the_same():
    entries, port = [*WILD, *LOCAL], free_port()
    known = offer(entries, model_aliases=ALIASES)
    with gateway_thread(config(entries, port, model_aliases=ALIASES), port):
        asked = RunningGateway(f"http://127.0.0.1:{port}", None, known)
        assert asked.names == known.names
        for name in ("smart", "claude-opus-9", "anthropic/x y", "vllm/large", "none", "vllm"):
            assert asked.rejection_reason(name) == known.rejection_reason(name)
        assert model_for_codex(asked) == model_for_codex(known)
        assert models_for_claude(asked) == models_for_claude(known)
