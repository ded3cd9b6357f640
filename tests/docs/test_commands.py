"""Commands on the pages: the commands, options, recipes, files and packages that they name exist."""

import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from typing import Any, Final

import click

from gateway.__main__ import main
from tests.support.cases import case
from tests.support.doc_blocks import commands
from tests.support.features import describes_all_features
from tests.support.repository import ROOT

FOUND: Final = commands()


def programs_in(text: str) -> Iterator[list[str]]:
    """Yield the words of each program that a line of a shell starts, without variables and redirections."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    is_file = False
    for token in [*lexer, ";"]:
        if set(token) <= set("();|&"):
            if words:
                yield words
            words = []
        elif set(token) <= set("<>"):
            is_file = True
        elif is_file:
            is_file = False
        elif words or not re.match(r"[A-Z_]+=", token):
            words.append(token)


def check_options(command: click.Command, words: list[str], parent: click.Context | None = None) -> None:
    """Raise ``click.UsageError`` if ``command``, or the command that ``words`` select of it, refuses an option."""
    context = click.Context(command, parent, info_name=command.name)
    if isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no command {words[0]}"
        return check_options(found, words[1:], context)
    try:
        values: dict[str, Any] = command.make_parser(context).parse_args(list(words))[0]
    except click.BadOptionUsage:  # the page names an option without its value
        values = command.make_parser(context).parse_args([*words, "1"])[0]
    for parameter in command.params:
        value = values.get(parameter.name or "")
        if isinstance(parameter.type, click.Choice) and isinstance(value, str) and not value.isupper():
            parameter.type.convert(value, parameter, context)
    return None


@describes_all_features
def test_trigate_has_the_commands_and_options():
    checked = 0
    for command in FOUND:
        if "trigate " not in command.text:
            continue
        with case(f"{command.text} ({command.places[0]})"):
            for program, *words in programs_in(command.text):
                if program == "trigate":
                    check_options(main, [word for word in words if word not in ("…", "...")])
                    checked += 1
    assert checked > 100


def test_recipes_modules_and_files_exist():
    recipes = set(re.findall(r"^([\w-]+)[^\n:]*:", (ROOT / "justfile").read_text(), re.M))
    for command in FOUND:
        with case(f"{command.text} ({command.places[0]})"):
            for program, *words in programs_in(command.text):
                if program == "just":
                    assert words[0] in recipes
                elif re.fullmatch(r"python3?", program) and words[0] == "-m":
                    assert importlib.util.find_spec(words[1])
                files = [word for word in words if re.match(r"(tests|docs|bench|deploy|\.ci)/", word)]
                assert [file for file in files if not (ROOT / file).exists() and not file.endswith(".svg")] == []


def test_packages_that_readers_install_are_tested_or_extras():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    files = [ROOT / "requirements-dev.txt", *(ROOT / "tests/clients").glob("*.in")]
    pinned = {name for file in files for name in re.findall(r"^([\w.-]+)(?:\[.*\])?(?:==|$)", file.read_text(), re.M)}
    pinned |= {*json.loads((ROOT / "tests/clients/package.json").read_text())["dependencies"], "aider-install"}
    for command in FOUND:
        program, action, *words = [*command.text.split(), "", ""]
        if program in ("pip", "npm") and action == "install" and "." not in words and "-r" not in words:
            with case(command.text):
                names = [word.strip("'") for word in words if word and not word.startswith("-")]
                unknown = [name for name in names if name.partition("[")[0] not in pinned]
                assert [name for name in unknown if name not in {f"trigate[{extra}]" for extra in extras}] == []
