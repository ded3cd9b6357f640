"""The variables in the user's own file, which all commands read."""

import tempfile
from pathlib import Path

import pytest

from gateway.commands.client import KEY_VARIABLE
from gateway.commands.clients import CLIENTS
from tests.support.command_line import invoke as trigate

FILE = """\
# keys
OPENAI_API_KEY="sk of the file"
export ANTHROPIC_API_KEY='sk-ant'
sk-secret
TRIGATE_API_KEY=mine
"""


@pytest.fixture
def variables(home):
    """Return the environment of a user with such a file, for a directory that is not the user's."""
    folder = home / ".config/trigate"
    folder.mkdir(parents=True)
    (folder / "environment").write_text(FILE)
    entries = "[{model: openai/gpt-6, access_key: $OPENAI_API_KEY}]"
    (folder / "trigate.yaml").write_text(f"version: v0.4.0\nmodel_providers: {entries}\n")
    (home / "project").mkdir()
    (home / "project/config.yaml").write_text("title: of another program\n")
    return {"HOME": str(home), "XDG_CONFIG_HOME": ""}


def test_commands_read_the_variables_and_the_file_of_the_user_in_every_directory(home, variables):
    found = trigate("check", cwd=home / "project", env=variables)
    assert (found.returncode, found.stdout) == (
        0,
        f"{home}/.config/trigate/trigate.yaml: valid (1 provider, 1 model name)\n",
    )
    assert found.stderr.splitlines() == [
        f"{home}/.config/trigate/environment:4: expected NAME=value",
        "This directory has no configuration (config.yaml belongs to another program, without `version: v0.4.0` or "
        f"`model_providers`); using {home}/.config/trigate/trigate.yaml.",
    ]


def test_a_file_that_every_user_can_read_is_reported():
    with tempfile.TemporaryDirectory() as name:  # tmp_path is private
        file = Path(name) / "trigate/environment"
        file.parent.mkdir()
        file.write_text("OPENAI_API_KEY=sk")
        file.chmod(0o644)
        warning = f"every user of this machine can read {file}: run chmod o= {file}\n"
        for mode, expected in ((0o700, ""), (0o755, warning)):
            Path(name).chmod(mode)
            assert trigate("connect", "--list", env={"XDG_CONFIG_HOME": name}).stderr == expected


@pytest.mark.parametrize(("shell", "key"), [({}, ""), ({"OPENAI_API_KEY": "sk-shell"}, "sk-shell")])
def test_started_programs_get_the_gateways_key_and_the_shells_variables(home, variables, shell, key):
    words = ("connect", "anthropic-python", "--url", "http://gw.example", "--model", "m", "--", "sh")
    found = trigate(*words, cwd=home, env={**variables, **shell})
    assert found.env.get("OPENAI_API_KEY", "") == key
    assert found.env[KEY_VARIABLE] == found.env["ANTHROPIC_API_KEY"] == "mine"


@pytest.mark.parametrize(
    ("client", "shell", "told"),
    [
        ("codex", {}, True),
        ("opencode", {}, True),
        ("codex", {KEY_VARIABLE: "k"}, False),
        ("claude", {}, False),  # its settings have the key
    ],
)
def test_a_client_that_reads_the_key_from_a_shell_without_it_is_reported(home, variables, client, shell, told):
    words = ("connect", client, "--url", "http://gw.example", "--model", "openai/gpt-6", "--write")
    found = trigate(*words, cwd=home, env={**variables, **shell})
    assert found.returncode == 0
    title = CLIENTS[client].title
    assert (f"first: set {KEY_VARIABLE} in your shell: {title} reads its key there\nthen: " in found.stdout) is told


def test_a_client_that_stores_the_key_itself_gets_the_command_for_that(home, variables):
    words = ("connect", "llm", "--url", "http://gw.example", "--model", "openai/gpt-6")
    shown, written = (trigate(*words, *more, cwd=home, env=variables).stdout for more in ((), ("--write",)))
    assert "run llm keys set trigate, and enter one of the gateway's client_keys\n" in shown
    assert "first: llm keys set trigate\nthen: llm " in written
