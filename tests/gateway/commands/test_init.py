"""``trigate init``: the file that it writes is valid, has no key, and replaces no other file."""

import json
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.commands.init import (
    SHARED_KEYS,
    STARTS,
    Local,
    configuration,
    providers_with_keys,
    query_local_ollama,
    start_of,
)
from gateway.commands.plans import plans_here
from gateway.config_files.loading import load
from gateway.config_reports.warnings import warnings_of
from gateway.routing.router import Router
from providers.catalog.providers import CATALOG
from tests.support.command_line import invoke
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.http_servers import QuietHandler, http_server

USABLE = [row for row in CATALOG.values() if row.key_env and row.base_url and row.speaks]
KEYED = {row.key_env: f"sk-secret-{row.id}" for row in CATALOG.values() if row.key_env}


@pytest.fixture(autouse=True)
def _no_logins(tmp_path_factory, monkeypatch):
    """Hide the logins of the person who runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    for name in ("CLAUDE_CONFIG_DIR", "CLAUDE_CODE_OAUTH_TOKEN", "CODEX_HOME"):
        monkeypatch.delenv(name, raising=False)


def load_text(tmp_path, text, env):
    path = tmp_path / "trigate.yaml"
    path.write_text(text)
    return load(path, env)


@each_row("row", USABLE)
def test_every_provider_of_the_catalogue_gives_a_good_file(tmp_path, row):
    start = start_of(row)
    text = configuration([row], row if start else None)
    config = load_text(tmp_path, text, {**KEYED, "TRIGATE_API_KEY": "a-key-that-is-long-enough"})
    assert not warnings_of(config)
    assert not config.notes
    assert not config.client_keys
    if start:
        router = Router(config)
        assert router.resolve(None, "chat").name == f"{row.id}/{start.large}"
        assert router.resolve("fast", "chat").name == f"{row.id}/{start.small}"
        assert router.resolve(start.small, "chat").name == f"{row.id}/{start.small}"
    assert Router(config).resolve(f"{row.id}/anything", "chat").model == "anything"


def test_keys_in_a_file_for_other_programs_come_with_the_command_that_loads_them(tmp_path):
    """A project's folder often has ``.env``, which no command of the gateway reads."""
    (tmp_path / ".env").write_text(
        '# keys\nOPENAI_API_KEY="sk-0123"\nexport  ANTHROPIC_API_KEY=sk-4567 # mine\nGROQ_API_KEY=\n'
    )
    one = {"HOME": str(tmp_path), "ANTHROPIC_API_KEY": "sk-4567"}
    found = invoke("init", cwd=tmp_path, env=one)
    command = "`set -a; . ./.env; set +a`"
    assert f"the file .env has OPENAI_API_KEY: run {command}, then trigate init --force\n" in found.stdout
    assert "sk-" not in found.stdout + found.stderr
    invoke("init", "--force", cwd=tmp_path, env={**one, "OPENAI_API_KEY": "k"})
    found = invoke("check", cwd=tmp_path, env=one)
    assert found.stderr.endswith(f"\nthe file .env has OPENAI_API_KEY: run {command}.\n")


@needs_feature("kept_ledger")
def test_the_comments_are_good_settings_too(tmp_path):
    """The settings that the file has as comments load once they are uncommented."""
    text = configuration([CATALOG["openai"]], CATALOG["openai"])
    head, keys, rest = text.partition("# client_keys:")
    sentences = [line for line in text.splitlines(True) if line.startswith("# ") and line[2].isupper()]
    bare = "".join(line.removeprefix("# ") for line in (keys + rest).splitlines(True) if line not in sentences)
    bare = bare.replace("responses and conversations", "# responses and").replace("of version", "# of version")
    config = load_text(tmp_path, head + bare, {**KEYED, "TRIGATE_API_KEY": "a-key-that-is-long-enough"})
    assert [key.name for key in config.client_keys] == ["me"]
    assert [budget.text for budget in config.budgets] == ["5 usd/day"]
    assert not warnings_of(config)


@needs_feature("kept_ledger")
@pytest.mark.parametrize("here", [None, Local(("qwen3:8b", "gpt-oss:20b"), "gpt-oss:20b", "qwen3:8b")])
def test_models_of_this_machine_go_with_a_budget_of_money(tmp_path, here):
    """A model without a price would be a mistake there."""
    text = configuration([], None, here=here).replace("# budgets:", "budgets:")
    config = load_text(tmp_path, text, {})
    assert [budget.text for budget in config.budgets] == ["5 usd/day"]
    assert not warnings_of(config)


@needs_feature("kept_ledger")
@each_row("folder", ["plain", "with space", "with $HOME", "with: colon"])
def test_the_state_is_in_a_file_next_to_the_configuration(tmp_path, folder):
    """`trigate costs` and budgets find it from every folder."""
    (tmp_path / folder).mkdir()
    found = invoke("init", f"{folder}/mine.yaml", cwd=tmp_path, env={"OPENAI_API_KEY": "k"})
    assert found.returncode == 0, found.stderr
    config = load(tmp_path / folder / "mine.yaml", {"OPENAI_API_KEY": "k"})
    assert config.state_storage.type == "sqlite"
    assert config.state_storage.path == tmp_path / folder / "mine.sqlite"
    told = invoke("costs", "--config", f"{folder}/mine.yaml", cwd=tmp_path)
    assert (told.returncode, "mine.sqlite" in told.stderr) == (2, True)  # nothing has been requested yet


def test_the_models_to_begin_with_are_known():
    for name, start in STARTS.items():
        assert start.small in CATALOG[name].models
        assert start.large in CATALOG[name].models
    assert {row.key_env for row in CATALOG.values()} >= SHARED_KEYS


def test_it_takes_the_keys_that_are_set_and_writes_none_down(tmp_path):
    env = {"OPENAI_API_KEY": "sk-1", "ANTHROPIC_API_KEY": "sk-2", "DASHSCOPE_API_KEY": "sk-3", "GITHUB_TOKEN": "sk-4"}
    found = invoke("init", cwd=tmp_path, env=env)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("wrote trigate.yaml with OpenAI, Anthropic\n")
    text = (tmp_path / "trigate.yaml").read_text()
    assert "sk-" not in text + found.stdout
    assert "  # - model: qwen/MODEL\n  #   base_url: " in text
    assert "  # - model: github/MODEL\n" in text
    config = load(tmp_path / "trigate.yaml", env)
    assert [entry.name for entry in config.entries] == ["openai/gpt-6.1-sol", "openai/*", "anthropic/*"]
    assert set(config.entries[2].speaks.values()) == {"messages"}
    targets = {name: [[one.target for one in group] for group in route.groups] for name, route in config.routes.items()}
    assert targets == {
        "smart": [["openai/gpt-6.1-sol"], ["anthropic/claude-sonnet-5-5"]],
        "fast": [["openai/gpt-6-luna"], ["anthropic/claude-haiku-5-5"]],
    }
    checked = invoke("check", cwd=tmp_path, env=env)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_without_any_key_it_is_a_model_of_this_machine(tmp_path):
    found = invoke("init", "mine.yaml", cwd=tmp_path, env={"GITHUB_TOKEN": ""})
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(
        "wrote mine.yaml with an example: there is no key of a provider in the environment, "
    )
    assert "set a key, such as OPENAI_API_KEY, and run trigate init --force\n" in found.stdout
    assert "trigate serve --config mine.yaml" in found.stdout
    checked = invoke("check", "mine.yaml", cwd=tmp_path)
    assert (checked.returncode, checked.stderr) == (0, "")


# Ollama


TAGS = {
    "models": [
        {"name": "qwen3:8b", "model": "qwen3:8b", "size": 5_200_000_000, "details": {"family": "qwen3"}},
        {"name": "gpt-oss:20b", "size": 13_000_000_000, "details": {"family": "gptoss"}},
        {"name": "nomic-embed-text:latest", "size": 274_000_000, "details": {"family": "nomic-bert"}},
        {"name": "llama3.2:3b", "size": 2_000_000_000},
    ]
}
PULLED = ("qwen3:8b", "gpt-oss:20b", "llama3.2:3b")


@contextmanager
def ollama(answer: bytes, status: int = 200) -> Iterator[str]:
    """Run a server that lists models as Ollama does, and yield its address."""

    class Tags(QuietHandler):
        def do_GET(self):
            self.respond(status if self.path == "/api/tags" else 404, answer)

    with http_server(Tags) as host:
        yield host


def test_init_adds_the_models_of_a_local_ollama(tmp_path):
    with ollama(json.dumps(TAGS).encode()) as address:
        found = invoke("init", cwd=tmp_path, env={"OLLAMA_HOST": address})
    assert found.returncode == 0, found.stderr
    assert "with Ollama on this machine (3 models); the environment has no key" in found.stdout
    config = load(tmp_path / "trigate.yaml", {})
    assert [(entry.name, entry.default) for entry in config.entries] == [
        ("ollama/qwen3:8b", True), ("ollama/gpt-oss:20b", False), ("ollama/llama3.2:3b", False),
    ]  # fmt: skip
    router = Router(config)
    assert router.resolve(None, "chat").url == f"http://{address}/v1/chat/completions"
    assert [router.resolve(name, "chat").model for name in ("smart", "fast")] == ["gpt-oss:20b", "llama3.2:3b"]


def test_with_a_key_and_a_local_server_the_keys_provider_is_the_default(tmp_path):
    env = {"ANTHROPIC_API_KEY": "k"}
    with ollama(json.dumps(TAGS).encode()) as address:
        found = invoke("init", cwd=tmp_path, env={**env, "OLLAMA_HOST": f"http://{address}"})
    assert found.stdout.startswith("wrote trigate.yaml with Anthropic, Ollama on this machine (3 models)\n")
    config = load(tmp_path / "trigate.yaml", env)
    names = [entry.name for entry in config.entries]
    assert names == ["anthropic/claude-sonnet-5-5", "anthropic/*", *(f"ollama/{name}" for name in PULLED)]
    assert Router(config).resolve("smart", "chat").name == "anthropic/claude-sonnet-5-5"


@each_row(
    ("answer", "status"),
    [(b"nonsense", 200), (b"[]", 200), (b'{"models": [{"name": 5}]}', 200), (b'{"models": []}', 200), (b"\xff", 200),
     (json.dumps(TAGS).encode(), 500), (b'{"models": [{"name": "a\\nb: {"}, {"name": "x-embed"}]}', 200)],
)  # fmt: skip
def test_an_ollama_that_lists_nothing_of_use_is_none(answer, status):
    with ollama(answer, status) as address:
        assert query_local_ollama({"OLLAMA_HOST": address}) is None


def test_a_silent_ollama_does_not_delay_init():
    with socket.create_server(("127.0.0.1", 0)) as server:
        before = time.monotonic()
        assert query_local_ollama({"OLLAMA_HOST": f"127.0.0.1:{server.getsockname()[1]}"}) is None
        assert time.monotonic() - before < 30


@each_row("host", ["ollama.example", "http://10.0.0.1:11434", "https://localhost", "a:b", "ftp://localhost"])
def test_init_queries_no_other_machine(host):
    assert query_local_ollama({"OLLAMA_HOST": host}) is None


def test_a_full_disk_leaves_the_former_file_or_none(tmp_path):
    (tmp_path / "trigate.yaml").write_text("mine")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, before[1]))
    try:
        found = [invoke("init", name, "--force", cwd=tmp_path) for name in ("trigate.yaml", "new.yaml")]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [(one.returncode, one.stderr) for one in found] == [
        (1, f"cannot write {name}: file too large\n") for name in ("trigate.yaml", "new.yaml")
    ]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"trigate.yaml": "mine"}


def test_an_existing_file_is_overwritten_only_with_force(tmp_path):
    (tmp_path / "trigate.yaml").write_text("mine")
    found = invoke("init", cwd=tmp_path, env={"OPENAI_API_KEY": "k"})
    assert (found.returncode, found.stdout) == (1, "")
    assert "--force" in found.stderr
    assert (tmp_path / "trigate.yaml").read_text() == "mine"
    assert invoke("init", "--force", cwd=tmp_path, env={"OPENAI_API_KEY": "k"}).returncode == 0
    assert "openai/*" in (tmp_path / "trigate.yaml").read_text()


def test_a_place_that_cannot_be_written(tmp_path):
    found = invoke("init", "none/trigate.yaml", cwd=tmp_path, env={"OPENAI_API_KEY": "k"})
    assert found.returncode == 1
    assert found.stderr == "cannot write none/trigate.yaml: no such file or directory\n"


# Plans

CLAUDE = ".claude/.credentials.json", '{"claudeAiOauth": {"accessToken": "sk-ant-oat01-x"}}'
CHATGPT = ".codex/auth.json", '{"OPENAI_API_KEY": null, "tokens": {"id_token": "x"}}'


@each_row(
    ("files", "env", "titles"),
    [
        ([], {}, []),
        ([CLAUDE], {}, ["Claude"]),
        ([CLAUDE, CHATGPT], {}, ["Claude", "ChatGPT"]),
        ([(".claude.json", '{"oauthAccount": {"accountUuid": "x"}}')], {}, ["Claude"]),
        ([(".claude.json", '{"oauthAccount": {}, "primaryApiKey": "sk-ant-api"}')], {}, []),
        ([(".codex/auth.json", '{"OPENAI_API_KEY": "sk-x"}')], {}, []),
        ([(".codex/auth.json", "no JSON")], {}, []),
        ([("own/.credentials.json", CLAUDE[1])], {"CLAUDE_CONFIG_DIR": "own"}, ["Claude"]),
        ([], {"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-x"}, ["Claude"]),
    ],
)
def test_the_logins_of_programs_are_found(tmp_path_factory, monkeypatch, files, env, titles):
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    for name, text in files:
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(text)
    assert [plan.title for plan in plans_here(env)] == titles


@each_row(
    ("keys", "aliases"),
    [
        (
            {"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k"},
            [
                "  'claude-*': {targets: [plan/*, {target: paid/*, when: [quota, rate_limited, overloaded]}]}",
                "  'gpt-*': {targets: [chatgpt/*, {target: openai/*, when: [quota, rate_limited, overloaded]}]}",
                "  smart: {targets: [openai/gpt-6.1-sol, paid/claude-sonnet-5-5]}",
                "  fast: {targets: [openai/gpt-6-luna, paid/claude-haiku-5-5]}",
            ],
        ),
        ({}, ["  'claude-*': {targets: [plan/*]}", "  'gpt-*': {targets: [chatgpt/*]}"]),
    ],
)
def test_a_plan_comes_before_the_key_for_each_model_of_its_family(tmp_path, keys, aliases):
    file = tmp_path / "trigate/trigate.yaml"
    for name, text in (CLAUDE, CHATGPT):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), **keys}
    made = invoke("init", "--force", str(file), cwd=tmp_path, env=env)
    assert made.returncode == 0, made.stderr
    assert "with your Claude plan, your ChatGPT plan" in made.stdout
    assert "then: trigate connect claude --login --  run Claude Code with your plan" in " ".join(made.stdout.split(" "))
    written = file.read_text().partition("model_aliases:\n")[2].partition("\n\n")[0].splitlines()
    assert written == aliases
    checked = invoke("check", cwd=tmp_path, env=env)
    assert checked.returncode == 0, checked.stderr
    assert "warning" not in checked.stderr
    shown = invoke("explain", "claude-opus-6", "--api", "messages", cwd=tmp_path, env=env).stdout
    assert "target   anthropic/claude-opus-6 (" in shown


# Clouds


def test_a_key_of_a_cloud_is_used_where_its_region_is_known_and_else_waits_in_a_comment(tmp_path):
    env = {"OPENAI_API_KEY": "sk-1", "AWS_BEARER_TOKEN_BEDROCK": "sk-2"}
    assert invoke("init", cwd=tmp_path, env=env).returncode == 0
    text = (tmp_path / "trigate.yaml").read_text()
    assert "  # - model: amazon_bedrock/MODEL\n  #   region: us-east-1   # yours\n  #   access_key: $AWS_" in text
    assert invoke("check", cwd=tmp_path, env=env).returncode == 0
    env["AWS_REGION"] = "eu-west-1"
    assert invoke("init", "--force", cwd=tmp_path, env=env).returncode == 0
    config = load(tmp_path / "trigate.yaml", env)
    assert [entry.name for entry in config.entries] == ["openai/gpt-6.1-sol", "openai/*", "amazon_bedrock/*"]
    assert "region: eu-west-1" in (tmp_path / "trigate.yaml").read_text()
    assert invoke("check", cwd=tmp_path, env=env).returncode == 0


def test_one_key_makes_one_entry():
    rows = providers_with_keys(dict.fromkeys({row.key_env or "" for row in CATALOG.values()} - {""}, "k"))
    names = [row.key_env for row in rows]
    assert len(names) == len(set(names))
