"""``trigate connect --undo``: what ``--write`` has put into a file comes out again, and nothing else."""

import json
import os
import stat
import tomllib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.commands.client import KEY_VARIABLE
from gateway.commands.clients import CLAUDE_WAITS, CLIENTS
from gateway.commands.connect import run as connect
from gateway.commands.connect import undo
from gateway.commands.edits import FORMATS, merge, paths_of, revert, values_at
from gateway.commands.notation import MISSING, Unmergeable, with_members
from gateway.commands.running_gateways import ConnectOptions
from gateway.commands.undoing import notes_path
from tests.support.quick_yaml import load_yaml

ROOT = "http://127.0.0.1:12000"
FILES = {
    "claude": ".claude/settings.json",
    "codex": ".codex/config.toml",
    "opencode": ".config/opencode/opencode.json",
    "llm": ".config/io.datasette.llm/extra-openai-models.yaml",
    "aider": ".aider.conf.yml",
    "gemini-cli": ".gemini/.env",
}
BEFORE = {
    "claude": '{\n    "hooks": {"x": ["mine", 2]},\n    "env": {\n        "FOO": "1",\n'
    '        "ANTHROPIC_MODEL": "claude-opus-4-8"\n    }\n}\n',
    "codex": '# my settings\nmodel = "gpt-5.5" # mine\n\n[model_providers.other]\nname = "Other"\n\n[tui]\nx = "y"\n',
    "opencode": '{"model": "anthropic/claude-opus-5", "theme": "mine"}',
    "llm": "# mine\n- model_id: other\n  model_name: other\n",
    "aider": "# mine\nmodel: sonnet  # good\ndark-mode: true\n",
    "gemini-cli": "# mine\nexport GEMINI_API_KEY='sk-mine'\nX=1\n",
}


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write(name, model="m"):
    assert connect(name, ConnectOptions(url=ROOT, model=model, write=True)) == 0


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("writes", [1, 3])
@pytest.mark.parametrize("name", FILES)
def test_undo_restores_an_unchanged_file_byte_for_byte_again_and_again(home, capsys, name, writes, ends):
    path = home / FILES[name]
    data = BEFORE[name].replace("\n", ends).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o640)
    for _ in range(2):
        for number in range(writes):
            write(name, f"m{number}")
        assert path.read_bytes() != data
        assert undo(name) == 0
        said = capsys.readouterr().out
        assert "removed the settings of trigate connect from ~/" in said
        assert undo(name) == 0
        assert "nothing to undo" in capsys.readouterr().out
        assert path.read_bytes() == data
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert [one for one in home.rglob("*") if one.is_file()] == [path]  # and no copies are left


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_did_not_exist_before_is_deleted(home, capsys, name):
    write(name)
    write(name, "other")
    assert undo(name) == 0
    assert "removed" in capsys.readouterr().out
    assert [one for one in home.rglob("*") if one.is_file()] == []


ADDED = {
    "claude": lambda text: text.replace('"hooks": {', '"theme": "later", "hooks": {'),
    "codex": lambda text: text + '\n[mcp_servers.x]\ncommand = "y"  # later\n',
    "opencode": lambda text: text.replace('"theme": "mine"', '"theme": "mine, later"'),
    "llm": lambda text: text + "# later\n- model_id: third\n  model_name: third\n",
    "aider": lambda text: text + "auto-commits: false  # later\n",
    "gemini-cli": lambda text: text + "LATER=1 # later\n",
}


@pytest.mark.parametrize("name", FILES)
def test_undo_keeps_later_additions_and_restores_the_rest(home, name):
    """Comments remain as well, wherever they are. JSON has none."""
    form = CLIENTS[name].file.format
    put(home / FILES[name], BEFORE[name])
    write(name)
    put(home / FILES[name], ADDED[name]((home / FILES[name]).read_text()))
    assert undo(name) == 0
    found = (home / FILES[name]).read_text()
    for word in ("mine", "later"):
        assert word in found
    assert FORMATS[form].parse(found) == FORMATS[form].parse(ADDED[name](BEFORE[name]))


@pytest.mark.parametrize("text", ["", "a = 1\n", "# top\nmodel = 'm'  # mine\n\n[[a]]\n\n[[a]]\nb = {c = 1}\n"])
def test_toml_has_no_trace_of_reverted_settings(text):
    added = [(("model",), "x"), (("providers", "trigate", "url"), "y"), (("providers", "trigate", "name"), "z")]
    paths = [path for path, _ in added]
    before = {**dict.fromkeys(paths, MISSING), **values_at("toml", text, paths)}
    holders = [("providers",), ("providers", "trigate")]
    assert revert("toml", merge("toml", text, added), before, holders).replace('"m"', "'m'") == text


@pytest.mark.parametrize("name", FILES)
def test_undo_leaves_only_later_additions_in_a_created_file(home, capsys, name):
    form = CLIENTS[name].file.format
    write(name)
    before = (home / FILES[name]).read_text()
    only = {"json": '{\n  "mine": 1\n}\n', "toml": "mine = 1\n", "yaml": "mine: 1\n", "env": "mine=1\n",
            "yaml_list": "- mine: 1\n"}[form]  # fmt: skip
    mixed = before.replace("{", '{\n  "mine": 1,', 1) if form == "json" else only + before
    put(home / FILES[name], mixed)
    assert undo(name) == 0
    assert FORMATS[form].parse((home / FILES[name]).read_text()) == FORMATS[form].parse(only)


def test_undo_keeps_values_changed_since(home, capsys):
    put(home / ".claude/settings.json", '{"env": {"ANTHROPIC_MODEL": "first"}}')
    write("claude")
    path = home / ".claude/settings.json"
    text = path.read_text().replace('"ANTHROPIC_MODEL": "m"', '"ANTHROPIC_MODEL": "own"')
    put(path, text.replace('"ANTHROPIC_DEFAULT_HAIKU_MODEL": "m"', '"ANTHROPIC_DEFAULT_HAIKU_MODEL": "small"'))
    assert undo("claude") == 0
    assert json.loads(path.read_text()) == {"env": {"ANTHROPIC_MODEL": "own", "ANTHROPIC_DEFAULT_HAIKU_MODEL": "small"}}
    out = capsys.readouterr().out
    assert "kept env.ANTHROPIC_MODEL: its value was changed after --write" in out
    assert "env.ANTHROPIC_BASE_URL stays" not in out


def test_undo_restores_a_change_between_two_writes(home):
    path = home / ".codex/config.toml"
    put(path, 'model = "first"\n')
    write("codex", "one")
    put(path, path.read_text().replace('model = "one"', 'model = "between"'))
    write("codex", "two")
    assert undo("codex") == 0
    assert tomllib.loads(path.read_text()) == {"model": "between"}


def test_a_later_write_removes_settings_that_are_no_longer_needed(home):
    """Such as the models of the demo, once Anthropic's own are served."""
    path = home / ".claude/settings.json"
    put(path, '{"env": {"ANTHROPIC_DEFAULT_OPUS_MODEL": "mine"}}')
    write("claude", "demo")
    (home / "trigate.yaml").write_text(
        "version: v0.3.0\nlisteners: [{port: 1}]\n"
        "model_providers: [{model: anthropic/*, access_key: $NOT_SET, speaks: [messages]}]\n"
    )
    assert connect("claude", ConnectOptions(config=home / "trigate.yaml", write=True)) == 0
    assert json.loads(path.read_text())["env"] == {
        "ANTHROPIC_DEFAULT_OPUS_MODEL": "mine",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:1",
        "ANTHROPIC_AUTH_TOKEN": "any",
        **CLAUDE_WAITS,
    }
    assert undo("claude") == 0
    assert path.read_text() == '{"env": {"ANTHROPIC_DEFAULT_OPUS_MODEL": "mine"}}'


def test_each_item_of_llm_is_removed(home):
    path = home / FILES["llm"]
    put(path, BEFORE["llm"])
    for model in ("a", "b"):
        write("llm", model)
    put(path, path.read_text() + "- model_id: own\n")
    assert undo("llm") == 0
    assert [item["model_id"] for item in load_yaml(path.read_text())] == ["other", "own"]
    assert path.read_text().startswith("# mine\n")


def test_a_copy_that_is_gone_is_not_needed(home):
    path = home / FILES["codex"]
    put(path, BEFORE["codex"])
    write("codex")
    (home / ".codex/config.toml.before-trigate-1").unlink()
    assert undo("codex") == 0
    assert tomllib.loads(path.read_text()) == tomllib.loads(BEFORE["codex"])
    assert "# my settings" in path.read_text()


def test_a_file_that_is_gone_and_a_broken_one(home, capsys):
    path = home / FILES["claude"]
    write("claude")
    broken = path.read_text()[:-3]
    path.write_text(broken)
    assert undo("claude") == 1
    err = capsys.readouterr().err
    assert "is not changed" in err
    assert "remove env.ANTHROPIC_BASE_URL, env.ANTHROPIC_AUTH_TOKEN" in err
    assert path.read_text() == broken
    path.unlink()
    assert undo("claude") == 0
    assert "nothing to undo" in capsys.readouterr().out


def test_undo_reports_and_keeps_backups_of_older_versions(home, capsys):
    put(home / ".claude/settings.json", "{}")
    put(home / ".claude/settings.json.before-trigate-1", "{}")
    assert undo("claude") == 0
    assert "settings.json.before-trigate-1" in capsys.readouterr().out


def test_no_key_is_copied_or_shown(home, capsys, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "sk-very-secret")
    put(home / ".claude/settings.json", '{"env": {"ANTHROPIC_AUTH_TOKEN": "sk-mine"}}')
    write("claude")
    assert stat.S_IMODE(notes_path().stat().st_mode) == 0o600
    assert "sk-very-secret" not in notes_path().read_text()
    assert undo("claude") == 0
    out, err = capsys.readouterr()
    assert "sk-" not in out + err
    assert '"CLAUDE_CODE_MAX_CONTEXT_TOKENS": "128000"' in out  # is none


def test_a_book_that_cannot_be_written_or_read_is_reported_and_stops_nothing(home, capsys, monkeypatch):
    (home / "state").write_text("a file")
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    write("claude")
    assert "--undo will not work for this change" in capsys.readouterr().err
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "other"))
    put(notes_path(), "damaged")
    write("codex")
    assert undo("codex") == 0
    assert not os.path.exists(home / ".codex/config.toml")


@pytest.mark.parametrize(
    ("name", "says"), [("openai-compatible", "no settings file"), ("cluade", "did you mean claude?")]
)
def test_undo_reports_that_there_is_nothing_to_undo(home, capsys, name, says):
    assert undo(name) == 2
    assert says in capsys.readouterr().err


# Edits

SCALARS = st.one_of(st.text("ab\"'\\é", max_size=4), st.integers(2, 9), st.booleans())
NAMES = st.text("abxyz-_", min_size=1, max_size=3)
TREES = st.recursive(
    SCALARS, lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=2), max_leaves=8
)
PATHS = st.tuples(NAMES, NAMES) | st.tuples(NAMES) | st.tuples(NAMES, NAMES, NAMES)


def assert_undone(form, text, settings):
    """Assert that settings can be added and removed again, whatever else the file has. No setting is within another."""
    paths = paths_of(form, settings)
    assume(not any(path[:depth] in paths for path in paths for depth in range(1, len(path))))
    try:
        after = merge(form, text, settings)
    except Unmergeable:
        return
    assert merge(form, after, settings) == after
    parse = FORMATS[form].parse
    before = parse(text.replace("\r\n", "\n"))
    if form != "yaml_list":  # there, the settings are members of one item
        assert parse(after) == with_members(before, settings)
    stood = values_at(form, text, paths)
    holders = {path[:depth] for path in paths for depth in range(1, len(path))}
    new = holders - set(values_at(form, text, holders))
    back = revert(form, after, {path: stood.get(path, MISSING) for path in paths}, tuple(new))
    assert parse(back.replace("\r\n", "\n")) == before


@given(st.dictionaries(NAMES, TREES, max_size=4), st.dictionaries(PATHS, SCALARS, max_size=3),
       st.sampled_from([None, 2, "\t"]))  # fmt: skip
def test_json_gets_settings_and_is_restored(content, settings, indent):
    assert_undone("json", json.dumps(content, indent=indent), list(settings.items()))


@given(st.text("ab=[]\"#\n{}',.\\ 1", max_size=40), st.sampled_from(["toml", "yaml", "env", "json", "yaml_list"]))
def test_any_text_is_merged_and_restored_or_refused(text, form):
    settings = [(("a",), "new"), (("b",), "x")]
    if form in ("toml", "json"):
        settings = [(("a",), "new"), (("b", "a"), True), (("b", "c"), 1)]
    try:
        assert_undone(form, text, settings)
    except Unmergeable:
        return
