"""The user's variables in ``~/.config/trigate/environment``, which every command reads like the user's service.

Programs that a command starts get only the gateway's own key: a coding agent has no use for the keys of providers."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import click

from gateway.commands.client import KEY_VARIABLE
from gateway.named_imports import import_named
from gateway.users_files import users_folder

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_added: set[str] = set()


def load_users_environment() -> None:
    """Set the variables of the user's file that the environment lacks, and report lines that set none."""
    _added.clear()
    folder = users_folder(os.environ)
    if folder is None or not (path := folder / "environment").is_file():
        return
    others_may_read = "gateway.config_files.readable_secrets:others_may_read"
    if path.stat().st_mode & stat.S_IROTH and import_named(others_may_read)(path):
        click.echo(f"every user of this machine can read {path}: run chmod o= {path}", err=True)
    for name, value in _variables_in(path):
        if name not in os.environ or name in _added:  # the last line counts, as for systemd
            os.environ[name] = value
            _added.add(name)


def _variables_in(path: Path) -> Iterator[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        click.echo(f"{path} is not used: {getattr(error, 'strerror', None) or 'not UTF-8 text'}", err=True)
        return
    for number, line in enumerate(map(str.strip, lines), 1):
        if match := _LINE.fullmatch(line):
            value = match[2].strip()
            yield match[1], value[1:-1] if re.fullmatch(r"'[^']*'|\"[^\"]*\"", value) else value
        elif line and not line.startswith(("#", ";")):
            click.echo(f"{path}:{number}: expected NAME=value", err=True)


def shell_environment() -> dict[str, str]:
    """Return the environment for the programs of others: without what only the user's file has, but the gateway's
    key."""
    return {name: value for name, value in os.environ.items() if name not in _added or name == KEY_VARIABLE}


def shell_lacks(name: str) -> bool:
    """Return whether no variable ``name`` is set, or only the user's file has it."""
    return name not in os.environ or name in _added
