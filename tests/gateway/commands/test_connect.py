"""``trigate connect``: what it prints, what it does to files that are not ours, and how it starts a client."""

import errno
import json
import os
import stat
import tomllib
from pathlib import Path

import pytest

from gateway.commands import running_gateways
from gateway.commands.client import KEY_VARIABLE, GatewayAddress
from gateway.commands.clients import CLIENTS
from gateway.commands.connect import run as connect
from gateway.commands.connect import undo
from gateway.commands.edits import FORMATS, merge, settings_text
from gateway.commands.running_gateways import ConnectOptions, url_of
from gateway.config_files.loading import from_mapping
from tests.pages.clients import FOLDER, pages
from tests.support.command_line import invoke, run, script
from tests.support.each_row import each_row
from tests.support.harness import refusing_port
from tests.support.quick_yaml import load_yaml

ROOT = "http://127.0.0.1:12000"
MODELS = {
    **dict.fromkeys(("model", "pinned", "fable", "opus", "sonnet"), "m-large"),
    "small": "m-small",
    "haiku": "m-small",
}
PLACE = GatewayAddress(ROOT, MODELS)
CONFIG = """\
version: v0.3.0
listeners: [{address: 0.0.0.0, port: 4100}]
model_providers:
  - {model: openai/gpt-5-mini, access_key: $NOT_SET_HERE}
  - {model: openai/gpt-5.1, access_key: $NOT_SET_HERE, default: true}
"""
KEYS = "client_keys: [{name: me, key: $ALSO_NOT_SET}]\n"


# Printing


@pytest.mark.parametrize("name", CLIENTS)
def test_each_client_gets_the_address_and_the_model(home, capsys, name):
    assert connect(name, ConnectOptions(url=f"{ROOT}/v1/", model="m-large")) == 0
    printed = capsys.readouterr().out
    assert ROOT in printed
    assert "m-large" in printed


@each_row("name", CLIENTS)
def test_no_placeholder_is_left_over(name):
    for place in (PLACE, GatewayAddress(ROOT, MODELS, "k")):
        row = CLIENTS[name]
        texts = [place.fill(text) for text in (row.snippet, *row.then, *(row.environment or {}).values())]
        texts += [str(value) for _, value in place.settings(row.file.settings)] if row.file else []
        for text in texts:
            assert not any(word in text for word in ("{root}", "{base}", "{model}", "{small}", "{key}", "_key}"))


@each_row("name", [name for name, row in CLIENTS.items() if row.language == "python"])
@each_row("key", [None, "k"])
def test_the_programs_are_valid(name, key):
    compile(GatewayAddress(ROOT, MODELS, key).fill(CLIENTS[name].snippet), name, "exec")


def test_without_a_config_it_is_the_demo(home, capsys, monkeypatch):
    with refusing_port() as port:
        monkeypatch.setattr(running_gateways, "USUAL", root := f"http://127.0.0.1:{port}")
        for name, says in (("llm", "model_name: demo"), ("codex", 'model = "gpt-6.1-sol"'), ("claude", root)):
            assert connect(name, ConnectOptions()) == 0
            out, err = capsys.readouterr()
            assert says in out
            assert "trigate serve --demo" in err


def test_the_config_gives_address_and_model_without_keys_of_providers(home, capsys):
    (home / "trigate.yaml").write_text(CONFIG)
    assert connect("codex", ConnectOptions()) == 0
    out = capsys.readouterr().out
    assert 'base_url = "http://127.0.0.1:4100/v1"' in out
    assert 'model = "openai/gpt-5.1"' in out
    assert "env_key" not in out


def test_a_gateway_with_client_keys_is_shown_a_key(home, capsys, monkeypatch):
    (home / "trigate.yaml").write_text(CONFIG + KEYS)
    monkeypatch.setenv(KEY_VARIABLE, "sk-very-secret")
    for name in CLIENTS:
        assert connect(name, ConnectOptions()) == 0
    out, err = capsys.readouterr()
    assert 'env_key = "TRIGATE_API_KEY"' in out
    assert '"ANTHROPIC_AUTH_TOKEN": "$TRIGATE_API_KEY"' in out
    assert "sk-very-secret" not in out + err


@pytest.mark.parametrize(
    ("name", "options", "status", "says"),
    [
        ("cluade", ConnectOptions(), 2, "did you mean claude?"),
        ("claude", ConnectOptions(model="gpt-7"), 2, "'gpt-7' is not configured here"),
        ("claude", ConnectOptions(url="127.0.0.1:12000"), 2, "http://HOST:PORT"),
        ("openai-compatible", ConnectOptions(write=True), 2, "use the settings that trigate connect"),
        ("openai-compatible", ConnectOptions(arguments=("qwen",)), 2, "in the program's own form"),
        ("llm", ConnectOptions(arguments=()), 2, "--write"),
        ("openai-python", ConnectOptions(arguments=()), 2, "no program given"),
    ],
)
def test_connect_reports_impossible_options(home, capsys, name, options, status, says):
    (home / "trigate.yaml").write_text(CONFIG)
    assert connect(name, options) == status
    out, err = capsys.readouterr()
    assert says in err
    assert out == ""


def test_a_client_that_trigate_cannot_start_is_written_only_if_it_has_a_file(home, capsys):
    not_started = [client for client in CLIENTS.values() if client.environment is None]
    assert not_started
    for client in not_started:
        assert connect(client.name, ConnectOptions(arguments=("program",))) == 2
        assert ("--write" in capsys.readouterr().err) == (client.file is not None), client.name


def test_the_own_config_is_used_next_to_a_file_of_another_program(home, capsys):
    (home / "work").mkdir()
    (home / "work/config.yaml").write_text("site_name: docs\nnav: []\n")
    (home / ".config/trigate").mkdir(parents=True)
    (home / ".config/trigate/trigate.yaml").write_text(CONFIG)
    os.chdir(home / "work")
    assert connect("codex", ConnectOptions(write=True)) == 0
    text = (home / ".codex/config.toml").read_text()
    assert tomllib.loads(text)["model_providers"]["trigate"]["base_url"] == "http://127.0.0.1:4100/v1"
    assert "demo" not in capsys.readouterr().err


def test_a_bad_config_is_not_mistaken_for_none(home, capsys):
    (home / "trigate.yaml").write_text("version: v0.3.0\nmodel_providers: []\n")
    assert connect("claude", ConnectOptions()) == 1
    assert "model_providers: the list is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("listener", "url"), [("0.0.0.0", ROOT), ("::1", "http://[::1]:12000"), ("gw.example", "http://gw.example:12000")]
)
def test_a_wildcard_address_becomes_a_usable_one(listener, url):
    content = {
        "version": "v0.3.0",
        "listeners": [{"address": listener}],
        "model_providers": [{"model": "openai/x", "access_key": "k"}],
    }
    assert url_of(from_mapping(content)) == url


def test_the_pages_of_docs_are_the_rows():
    wanted = pages()
    found = {path.name: path.read_text() for path in FOLDER.glob("*.md")}
    assert found == wanted, "write them with: python -m tests.pages.clients"


# Writing


PARSERS = {"json": json.loads, "toml": tomllib.loads, "yaml": load_yaml, "yaml_list": load_yaml}


@pytest.mark.parametrize("name", [name for name, row in CLIENTS.items() if row.file])
def test_written_once_it_is_there_and_nothing_changes_again(home, capsys, name):
    assert connect(name, ConnectOptions(url=ROOT, model="a/b", write=True)) == 0
    assert "wrote ~/" in capsys.readouterr().out
    files = [path for path in home.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {file.name for file in CLIENTS[name].files}
    text = next(path.read_text() for path in files if path.name == CLIENTS[name].file.name)
    if (parse := PARSERS.get(CLIENTS[name].file.format)) is not None:
        assert parse(text)
    assert connect(name, ConnectOptions(url=ROOT, model="a/b", write=True)) == 0
    assert "already" in capsys.readouterr().out
    assert [path for path in home.rglob("*") if path.is_file()] == files
    assert files[0].read_text() == text


def test_connect_keeps_and_backs_up_existing_settings(home, capsys):
    folder = home / ".claude"
    folder.mkdir()
    before = '{\n    "hooks": {"x": [1, 2]},\n    "env": {\n        "FOO": "1"\n    }\n}\n'
    (folder / "settings.json").write_text(before)
    os.chmod(folder / "settings.json", 0o600)
    assert connect("claude", ConnectOptions(url=ROOT, model="m", write=True)) == 0
    after = (folder / "settings.json").read_text()
    assert '        "FOO": "1",\n        "ANTHROPIC_BASE_URL": "http://127.0.0.1:12000",\n' in after
    assert json.loads(after)["hooks"] == {"x": [1, 2]}
    assert (folder / "settings.json.before-trigate-1").read_text() == before
    assert stat.S_IMODE((folder / "settings.json").stat().st_mode) == 0o600
    out = capsys.readouterr().out
    assert '+        "ANTHROPIC_MODEL": "m",' in out
    assert connect("claude", ConnectOptions(url=ROOT, model="other", write=True)) == 0
    assert (folder / "settings.json.before-trigate-2").read_text() == after
    assert (folder / "settings.json").read_text().replace('"other"', '"m"') == after


@pytest.mark.parametrize("write", [True, False])
def test_a_key_of_the_environment_that_claude_would_send_too_is_hidden_from_it(home, capsys, monkeypatch, write):
    # Claude Code 2.1.329 sends both, as authorization and x-api-key; an empty text in its file hides the second.
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-mine")
    assert connect("claude", ConnectOptions(url=ROOT, model="m", write=write)) == 0
    out = capsys.readouterr().out
    assert '"ANTHROPIC_API_KEY": ""' in out
    assert "ANTHROPIC_API_KEY is set" in out
    assert "sk-ant-mine" not in out
    if write:
        file = home / ".claude" / "settings.json"
        assert json.loads(file.read_text())["env"]["ANTHROPIC_API_KEY"] == ""
        assert undo("claude") == 0
        assert not file.exists()


@pytest.mark.parametrize("exported", ["", None])
def test_connect_warns_of_no_variable_that_is_unset(home, capsys, monkeypatch, exported):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    if exported is not None:
        monkeypatch.setenv("ANTHROPIC_API_KEY", exported)
    assert connect("claude", ConnectOptions(url=ROOT, model="m", write=True)) == 0
    assert "ANTHROPIC_API_KEY" not in capsys.readouterr().out
    assert "ANTHROPIC_API_KEY" not in (home / ".claude" / "settings.json").read_text()


def test_codex_keeps_other_providers_and_comments(home):
    folder = home / ".codex"
    folder.mkdir()
    before = (
        '# my settings\nmodel = "gpt-5" # the old one\napproval_policy = "never"\n\n'
        '[model_providers.other]\nname = "Other" # keep\nbase_url = "http://other"\n\n'
        '[model_providers.trigate] # ours\nbase_url = "http://old/v1"\nquery_params = {a = "b"}\n\n[tui]\ntheme = "x"\n'
    )
    (folder / "config.toml").write_text(before)
    assert connect("codex", ConnectOptions(url=ROOT, model="m", write=True)) == 0
    after = (folder / "config.toml").read_text()
    assert after.startswith(
        '# my settings\nmodel = "m" # the old one\napproval_policy = "never"\nmodel_context_window = 128000\n'
        'model_provider = "trigate"\n'
    )
    assert 'name = "Other" # keep\n' in after
    assert "[model_providers.trigate] # ours\n" in after
    found = tomllib.loads(after)
    assert found["model_providers"]["trigate"]["query_params"] == {"a": "b"}
    assert found["model_providers"]["trigate"]["base_url"] == f"{ROOT}/v1"
    assert found["tui"] == {"theme": "x"}


@pytest.mark.parametrize(
    ("file", "text", "client", "says"),
    [
        (".claude/settings.json", "{not json", "claude", "syntax error"),
        (".config/opencode/opencode.jsonc", "{} // mine", "opencode", "syntax error"),
        (".claude/settings.json", "[]", "claude", "the file is not a mapping"),
        (".claude/settings.json", '{"env": "x"}', "claude", "env is not a mapping, but must be one"),
        (".claude/settings.json", b"\xff\xfe", "claude", "UTF-8"),
        (".codex/config.toml", "model = \n", "codex", "syntax error"),
        (".aider.conf.yml", "- a\n", "aider", "the file is not a mapping"),
        (".aider.conf.yml", "model: >\n  folded\n", "aider", "cannot edit its syntax safely"),
        (".aider.conf.yml", "{model: x}\n", "aider", "cannot edit its syntax safely"),
        (".config/io.datasette.llm/extra-openai-models.yaml", "a: 1\n", "llm", "the file is not a list"),
    ],
)  # fmt: skip
def test_connect_leaves_a_file_that_it_cannot_merge_unchanged(home, capsys, file, text, client, says):
    path = home / file
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(data)
    assert connect(client, ConnectOptions(url=ROOT, model="m", write=True)) == 1
    assert "is not changed" in (err := capsys.readouterr().err)
    assert says in err
    assert path.read_bytes() == data
    assert [one for one in path.parent.iterdir() if one.is_file()] == [path]


def test_a_key_is_written_to_a_private_file_and_never_shown(home, capsys, monkeypatch):
    (home / "trigate.yaml").write_text(CONFIG + KEYS)
    assert connect("claude", ConnectOptions(write=True)) == 2
    assert f"set {KEY_VARIABLE}" in capsys.readouterr().err
    monkeypatch.setenv(KEY_VARIABLE, "sk-very-secret")
    assert connect("claude", ConnectOptions(write=True)) == 0
    path = home / ".claude/settings.json"
    assert json.loads(path.read_text())["env"]["ANTHROPIC_AUTH_TOKEN"] == "sk-very-secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    out, err = capsys.readouterr()
    assert "sk-very-secret" not in out + err
    assert '"ANTHROPIC_AUTH_TOKEN": "***"' in out


def test_a_persons_own_secrets_are_not_shown_either(home, capsys):
    file = home / ".gemini/.env"
    file.parent.mkdir()
    file.write_text("export GEMINI_API_KEY='sk-old-secret'\nOTHER_TOKEN=sk-mine\nX=1\n")
    assert connect("gemini-cli", ConnectOptions(url=ROOT, model="m", write=True)) == 0
    assert file.read_text() == (
        f"export GEMINI_API_KEY=any\nOTHER_TOKEN=sk-mine\nX=1\nGOOGLE_GEMINI_BASE_URL={ROOT}\nGEMINI_MODEL=m\n"
    )
    out = capsys.readouterr().out
    assert "sk-" not in out
    assert "+export GEMINI_API_KEY=any" in out


def test_nothing_is_shown_as_written_if_the_file_cannot_be(home, capsys):
    (home / ".claude").symlink_to("/proc/self")  # also root can create nothing there
    assert connect("claude", ConnectOptions(url=ROOT, model="m", write=True)) == 1
    out, err = capsys.readouterr()
    assert "ANTHROPIC_BASE_URL" not in out
    assert "cannot write ~/.claude/settings.json: " in err


@pytest.mark.parametrize("is_new", [True, False], ids=["the file", "its backup"])
def test_a_file_that_undo_cannot_delete_is_named(home, capsys, monkeypatch, is_new):
    path = home / ".claude/settings.json"
    if not is_new:
        path.parent.mkdir()
        path.write_text("{}")
    assert connect("claude", ConnectOptions(url=ROOT, model="m", write=True)) == 0

    def refuse(path: Path, **_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(os, "unlink", refuse)
    assert undo("claude") == 1
    assert "cannot remove " in capsys.readouterr().err


def test_a_link_stays_a_link(home):
    (home / "dotfiles").mkdir()
    (home / "dotfiles/claude.json").write_text("{}")
    (home / ".claude").mkdir()
    (home / ".claude/settings.json").symlink_to(home / "dotfiles/claude.json")
    assert connect("claude", ConnectOptions(url=ROOT, model="m", write=True)) == 0
    assert (home / ".claude/settings.json").is_symlink()
    assert "env" in json.loads((home / "dotfiles/claude.json").read_text())


def test_llm_has_an_item_for_each_model(home):
    for model in ("a", "b", "a"):
        assert connect("llm", ConnectOptions(url=ROOT, model=model, write=True)) == 0
    path = home / ".config/io.datasette.llm/extra-openai-models.yaml"
    path.write_text("# mine\n" + path.read_text().replace("model_name: a\n", "model_name: a\n  headers: {x: y}\n"))
    assert connect("llm", ConnectOptions(url="http://127.0.0.1:1", model="a", write=True)) == 0
    assert path.read_text().startswith("# mine\n- model_id: trigate/a\n")
    first, second = load_yaml(path.read_text())
    assert first["api_base"] == "http://127.0.0.1:1/v1"
    assert first["headers"] == {"x": "y"}
    assert second["api_base"] == f"{ROOT}/v1"


@pytest.mark.parametrize("name", ["claude", "codex", "opencode"])
def test_the_clients_own_variable_sets_the_place_of_its_file(home, monkeypatch, name):
    variable, _, below = CLIENTS[name].file.variable.partition("/")
    monkeypatch.setenv(variable, str(home / "elsewhere"))
    assert connect(name, ConnectOptions(url=ROOT, model="m", write=True)) == 0
    assert (home / "elsewhere" / below / CLIENTS[name].file.name).is_file()


OWN_SETTINGS = '{\n  "theme": "mine",\n  "model": "anthropic/claude-sonnet-4-5"\n}\n'


def test_a_file_that_overrides_the_usual_one_gets_the_settings(home, capsys):
    """OpenCode creates ``opencode.jsonc`` at its first start, and prefers its settings."""
    folder = home / ".config/opencode"
    assert connect("opencode", ConnectOptions(url=ROOT, model="m", write=True)) == 0
    assert [one.name for one in folder.iterdir()] == ["opencode.json"]
    (folder / "opencode.jsonc").write_text(OWN_SETTINGS)
    assert connect("opencode", ConnectOptions(url=ROOT, model="m", write=True)) == 0
    written = (folder / "opencode.jsonc").read_text()
    assert written.startswith('{\n  "theme": "mine",\n  "model": "trigate/m",\n')
    assert '"baseURL"' in written
    assert not (folder / "opencode.json").exists(), "its settings of trigate are gone"
    assert "wrote ~/.config/opencode/opencode.jsonc" in capsys.readouterr().out
    assert undo("opencode") == 0
    assert (folder / "opencode.jsonc").read_text() == OWN_SETTINGS


def test_the_settings_in_a_file_that_is_overridden_since_can_be_undone(home):
    folder = home / ".config/opencode"
    assert connect("opencode", ConnectOptions(url=ROOT, model="m", write=True)) == 0
    (folder / "opencode.jsonc").write_text(OWN_SETTINGS)
    assert undo("opencode") == 0
    assert [one.name for one in folder.iterdir()] == ["opencode.jsonc"]
    assert (folder / "opencode.jsonc").read_text() == OWN_SETTINGS


# Edits


@each_row("form", FORMATS)
def test_line_ends_stay_those_of_the_file(form):
    text = settings_text(form, [(("a",), "1")]).replace("\n", "\r\n")
    after = merge(form, text, [(("a",), "2"), (("b",), "3")])
    assert after.count("\r\n") == after.count("\n")


# Starting


WHERE = ("--url", "http://gw.example", "--model", "m")


@pytest.mark.process
def test_the_client_is_started_and_its_status_passed_on(home):
    words = 'echo "$ANTHROPIC_BASE_URL $ANTHROPIC_AUTH_TOKEN [$ANTHROPIC_API_KEY]"; shift 2; echo "$*"; exit 7'
    script(home, "claude", words)
    env = {"HOME": str(home), "PATH": f"{home}:{os.environ['PATH']}", "ANTHROPIC_API_KEY": "sk-mine"}
    found = run("connect", "claude", *WHERE, "--", "-p", "--write hi", cwd=home, env=env)
    assert found.returncode == 7
    assert found.stdout == "http://gw.example any []\n-p --write hi\n"
    assert list(home.iterdir()) == [home / "claude"]


def test_claude_gets_flags_that_override_its_file_and_contain_no_key(run_connect):
    found = run_connect("claude", *WHERE, "--", program="claude", **{KEY_VARIABLE: "sk-secret"})
    assert found.env["ANTHROPIC_AUTH_TOKEN"] == "sk-secret"
    assert found.argv[:2] == ["claude", "--settings"]
    assert json.loads(found.argv[2])["env"]["ANTHROPIC_BASE_URL"] == "http://gw.example"
    assert "sk-secret" not in found.argv[2]


def test_dashes_alone_start_it_too(run_connect):
    found = run_connect("claude", *WHERE, "--", program="claude")
    assert len(found.argv) == len(("claude", "--settings", "..."))


def test_codex_is_reported_by_flags(run_connect):
    found = run_connect("codex", *WHERE, "--", "exec", "hi", program="codex", **{KEY_VARIABLE: "k"})
    words = found.argv[1:]
    assert words[-2:] == ["exec", "hi"]
    assert words[0::2][:-1] == ["-c"] * (len(words) // 2 - 1)
    assert {'model="m"', 'model_provider="trigate"', 'model_providers.trigate.env_key="TRIGATE_API_KEY"'} <= set(words)
    for word in words[1:-2:2]:
        tomllib.loads(word)


def test_opencode_gets_its_whole_file_in_a_variable(run_connect):
    found = run_connect("opencode", *WHERE[:3], "a/b", "--", "run", program="opencode")
    assert json.loads(found.env["OPENCODE_CONFIG_CONTENT"])["provider"]["trigate"]["models"] == {"a/b": {}}


@each_row(
    ("model", "sent"),
    [("m", "m"), ("a/b", "publishers/google/models/a/b"), ("a/b/c", "publishers/google/models/a/b/c")],
)
def test_gemini_cli_keeps_the_slashes_of_a_name(run_connect, model, sent):
    """With Vertex AI, it uses the part before the first slash as the publisher, and drops the part after the second:
    https://github.com/googleapis/js-genai, src/_transformers.ts, tModel"""
    found = run_connect("gemini-cli", *WHERE[:3], model, "--", program="gemini")
    assert found.env["GEMINI_MODEL"] == sent


@each_row(
    ("client", "program"),
    [("claude", "claude"), ("codex", "codex"), ("opencode", "opencode"), ("gemini-cli", "gemini")],
)
def test_a_started_client_names_the_repository_and_no_path(home, client, program):
    """https://code.claude.com/docs/en/settings and https://developers.openai.com/codex/config-reference"""
    script(home, program, "")
    (home / "my shop" / ".git").mkdir(parents=True, exist_ok=True)
    linked = home / "worktree" / "src"
    linked.mkdir(parents=True, exist_ok=True)
    (linked.parent / ".git").write_text(f"gitdir: {home}/my shop/.git/worktrees/one\n")
    env = {"HOME": str(home), "PATH": f"{home}:{os.environ['PATH']}"}
    for folder, has_name in ((home / "my shop", True), (linked, True), (home, False)):
        found = invoke("connect", client, *WHERE, "--", cwd=folder, env=env)
        sent = [*found.argv, *(value for name, value in found.env.items() if name.startswith(client[:4].upper())),
                found.env.get("ANTHROPIC_CUSTOM_HEADERS", "")]  # fmt: skip
        headers = [one for one in sent if "x-trigate-project" in one]
        assert len(headers) == has_name, (folder, sent)
        assert all("my%20shop" in one and str(home) not in one for one in headers)


def test_own_headers_of_the_user_stay(home):
    script(home, "claude", "")
    (home / "shop" / ".git").mkdir(parents=True)
    env = {"HOME": str(home), "PATH": f"{home}:{os.environ['PATH']}", "ANTHROPIC_CUSTOM_HEADERS": "x-team: one"}
    found = invoke("connect", "claude", *WHERE, "--", cwd=home / "shop", env=env)
    assert found.env["ANTHROPIC_CUSTOM_HEADERS"] == "x-team: one\nx-trigate-project: shop"


def test_any_program_is_started_with_the_variables_of_an_sdk(run_connect):
    found = run_connect("openai-python", *WHERE, "--", "sh", "-c", "echo $OPENAI_BASE_URL")
    assert found.argv == ["sh", "-c", "echo $OPENAI_BASE_URL"]
    assert found.env["OPENAI_BASE_URL"] == "http://gw.example/v1"


def test_a_program_that_is_not_there(home, run_connect):
    found = run_connect("opencode", "--url", ROOT, "--model", "m", "--", PATH=str(home))
    assert found.returncode == 127
    assert "opencode is not installed; install it with: npm install -g opencode-ai" in found.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [([], "--list"), (["claude", "--write", "--"], "give only one"), (["claude", "hi"], "unexpected extra argument")],
)
def test_a_wrong_command_line(run_connect, words, says):
    found = run_connect(*words)
    assert found.returncode == 2
    assert says in found.stderr


def test_the_list_has_every_client(run_connect):
    found = run_connect("--list")
    assert [line.split()[0] for line in found.stdout.splitlines()] == list(CLIENTS)
    assert max(map(len, found.stdout.splitlines())) <= 80
