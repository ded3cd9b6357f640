"""``--config FILE``: every command that reads a configuration takes it, some also as ``FILE`` alone."""

import inspect
import os

import click
import pytest

from gateway.__main__ import main
from gateway.commands.help import Command, load_function
from tests.support.command_line import invoke
from tests.support.each_row import each_row
from tests.support.features import has_feature, needs_feature, rows_of

CONFIG = "version: v0.4.0\nmodel_providers: [{model: ollama/llama3.2}]\n"
EVERY = {
    "serve": ["serve"], "check": ["check"], "costs": ["costs"], "cache": ["cache"],
    "explain": ["explain", "ollama/llama3.2"],
    "doctor": ["doctor"], "connect": ["connect", "claude"], "keys add": ["keys", "add", "ann"],
    "keys list": ["keys", "list"], "keys revoke": ["keys", "revoke", "ann"], "keys rotate": ["keys", "rotate", "ann"],
    "keys history": ["keys", "history"], "keys set": ["keys", "set", "ann"],
    "keys import": ["keys", "import", "other.yaml"],
    "people list": ["people", "list"], "people block": ["people", "block", "okta:1"],
    "people unblock": ["people", "unblock", "okta:1"], "people sign-out": ["people", "sign-out", "okta:1"],
    "people revoke-key": ["people", "revoke-key", "okta:1", "laptop"],
    "people forget": ["people", "forget", "okta:1"], "people history": ["people", "history"],
    "people audit": ["people", "audit", "--verify"],
    "reconcile": ["reconcile", "other.yaml"], "ledger add": ["ledger", "add", "other.yaml"],
    "steps try": ["steps", "try", "other.yaml"],
}  # fmt: skip
OF_FEATURES = {
    "keys": "admin", "people": "people", "costs": "kept_ledger", "cache": "kept_ledger", "reconcile": "kept_ledger",
    "ledger": "kept_ledger", "steps": "steps",
}  # fmt: skip
READING = {
    name: line for name, line in EVERY.items() if line[0] not in OF_FEATURES or has_feature(OF_FEATURES[line[0]])
}
"""Command lines of the commands that read a configuration."""


def commands(group: click.Group = main, before: str = "") -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        within = commands(command, f"{before}{name} ") if isinstance(command, click.Group) else {}
        found |= within or {before + name: command}
    return found


def test_every_command_that_reads_a_configuration_is_known_here():
    options = {name: [option for one in command.params for option in one.opts] for name, command in commands().items()}
    assert {name for name, words in options.items() if "--config" in words} == set(READING)
    positional = {name for name, words in options.items() if "config" in words}
    assert positional == set(), "each of these takes it as --config, too"


def test_the_function_of_each_command_accepts_its_options():
    running = [one for one in commands().values() if isinstance(one, Command) and one.runs]
    assert len(running) >= 20
    for command in running:
        names = {one.name: one for one in command.params}
        if "path" in names and "file" in names and names["file"].metavar == "[FILE]":
            del names["file"]  # another spelling of --config
        found = inspect.signature(load_function(command.runs))
        if "opened" in found.parameters:  # the storage, which a decorator opens
            names["opened"] = names.pop("path")
        found.replace(parameters=_by_name(found)).bind(**names)


def _by_name(found: inspect.Signature) -> list[inspect.Parameter]:
    named = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [one.replace(kind=named) if one.kind == one.POSITIONAL_ONLY else one for one in found.parameters.values()]


@each_row("line", READING.values(), ids=READING)
def test_a_mistyped_path_is_one_short_sentence(line, tmp_path):
    (tmp_path / "other.yaml").write_text(CONFIG)
    found = invoke(*line, "--config", "trigat.yaml", cwd=tmp_path)
    assert found.returncode == (2 if "try" in line else 1)  # 1 means that a step refuses
    assert found.stderr == "trigat.yaml: no such file (path from the command line); give the path of a file.\n"


@needs_feature("kept_ledger")
@pytest.mark.parametrize("words", [["--config", "mine.yaml"], ["mine.yaml"]])
def test_both_spellings_read_the_same_file(words, tmp_path):
    (tmp_path / "mine.yaml").write_text(CONFIG)
    checked = invoke("check", *words, cwd=tmp_path)
    assert (checked.returncode, checked.stdout) == (0, "mine.yaml: valid (1 provider, 1 model name)\n")
    costs = invoke("costs", *words, cwd=tmp_path)
    assert (costs.returncode, costs.stderr.startswith("mine.yaml: state_storage: type memory")) == (2, True)


@pytest.mark.parametrize("command", ["serve", "check", *rows_of("kept_ledger", "costs")])
def test_two_files_are_a_wrong_command_line(command):
    found = invoke(command, "a.yaml", "--config", "b.yaml")
    assert found.returncode == 2
    assert "two configurations, a.yaml and b.yaml: give only one" in found.stderr


@each_row("line", [["log"], ["replay"], ["explain"], ["connect"], ["login"], ["doctor"]], ids=" ".join)
def test_a_value_that_is_not_utf_8_is_a_mistake(line, tmp_path):
    """Shells pass the bytes of any encoding, which no URL, JSON or table of the gateway can contain."""
    (tmp_path / "trigate.yaml").write_text(CONFIG)
    found = invoke(*line, os.fsdecode(b"caf\xe9"), cwd=tmp_path)
    assert found.returncode != 0
    assert "the value is not UTF-8 text" in found.stderr or "Found no request caf" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_path_may_have_any_bytes(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.yaml")
    path.write_text(CONFIG)
    found = invoke("check", path.name, cwd=tmp_path)
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize(("folder", "file"), [(b"caf\xe9", b"trigate.yaml"), (b"cafe", b"caf\xe9.yaml")])
def test_a_configuration_cannot_contain_a_path_that_is_not_utf_8(tmp_path, folder, file):
    place = tmp_path / os.fsdecode(folder)
    place.mkdir()
    found = invoke("init", os.fsdecode(file), cwd=place)
    assert found.returncode == 1
    assert "the configuration contains its path, which is not UTF-8: give another FILE" in found.stderr
    assert not list(place.iterdir())
