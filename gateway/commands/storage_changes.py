"""Commands that change the state storage: what they share."""

import functools
import getpass
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import click
import trio

from configfile.document import ConfigError, sentence
from gateway.commands.check import load_or_explain
from gateway.commands.tables import TableColumn, print_table
from gateway.commands.terminal import say
from gateway.config.settings import Config
from gateway.stores.errors import ChangeRejected, StoreFull, Unavailable
from gateway.stores.store import check_name

T = TypeVar("T")
P = ParamSpec("P")


class CommandFailed(Exception):
    """An error: the command cannot continue. The message is for the user."""


def on_storage(
    open_part: Callable[[Config], AbstractAsyncContextManager[T]],
) -> Callable[[Callable[Concatenate[T, P], Awaitable[None]]], Callable[..., int]]:
    """Return a decorator of commands that work with the part of a configuration's storage that ``open_part`` opens.

    They return the exit status. Mistakes, and the failures of a command on a storage, are printed."""

    def decorate(work: Callable[Concatenate[T, P], Awaitable[None]]) -> Callable[..., int]:
        @functools.wraps(work)
        def command(path: Path | None, *args: P.args, **options: P.kwargs) -> int:
            loaded = load_or_explain(path, within=("state_storage", "secret_stores"), with_stored_secrets=True)
            if loaded is None:
                return 1
            _report_new_file(loaded)

            async def run() -> None:
                async with open_part(loaded) as opened:
                    await work(opened, *args, **options)

            try:
                trio.run(run)
            except ConfigError as error:
                say(error.list_mistakes("mistakes"))
            except Unavailable as error:
                say(sentence(f"{loaded.path}: state_storage: {error.with_cause()}"))
            except (CommandFailed, ChangeRejected, StoreFull) as error:
                say(sentence(str(error)))
            else:
                return 0
            return 1

        return command

    return decorate


def _report_new_file(config: Config) -> None:
    """Report that the command creates the database: it is not the gateway's if that runs in another directory."""
    path = None if config.state_storage is None else config.state_storage.path
    if path is not None and not path.exists():
        say(f"{path.absolute()} does not exist, so this command creates it.")
        if not path.is_absolute():
            say("Its path is relative: to use a gateway's file, run the command in the directory of the gateway.")


def made_by(by: str | None = None) -> str:
    """Return the author of a change: the user before sudo and the machine.

    A program acts for the person ``by``; the user remains in the text, because ``by`` is not verified."""
    if by is not None:
        check_name(by, "--by")
        return f"{by} via {made_by()}"
    try:
        user = getpass.getuser() if os.name != "posix" else _posix_user()
    except (KeyError, OSError):  # a container may run with a uid without a name
        user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _posix_user() -> str:
    import pwd

    uid = os.getuid()
    name = pwd.getpwuid(uid).pw_name
    before = os.environ.get("SUDO_USER") if uid == 0 else None
    return f"{before} (sudo)" if before else name


def print_changes(rows: list[dict[str, Any]], columns: Sequence[TableColumn], as_json: bool) -> None:
    """Print changes, in a table with their differences."""
    for row in rows if not as_json else ():
        row["change"] = describe_difference(row["before"], row["after"])
    print_rows(rows, columns, as_json)


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[TableColumn], as_json: bool) -> None:
    """Print rows as JSON, or as a table of the members that the columns name."""
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        print_table(columns, [[value_text(row[column.title] or None) for column in columns] for row in rows])


def describe_difference(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    """Return each setting that differs with its value before and after, such as ``budgets 5 usd/day → 9 usd/day``.

    ``None`` is no record. A setting that is missing has the value ``-``."""
    old, new = before or {}, after or {}
    names = [name for name in dict.fromkeys((*old, *new)) if old.get(name) != new.get(name)]
    return "; ".join(f"{name} {value_text(old.get(name))} → {value_text(new.get(name))}" for name in names)


def value_text(value: Any) -> str:
    """Return a setting's value on one line."""
    if isinstance(value, Mapping):
        return " ".join(f"{name}={value_text(amount)}" for name, amount in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value))
    return "-" if value in (None, "") else str(value)
