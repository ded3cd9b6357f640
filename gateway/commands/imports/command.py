"""The command ``trigate import``, which converts the configuration of another gateway.

The result contains no keys of providers, but a variable for each. Comments and a summary list the settings without a
counterpart.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import yaml

from configfile import document
from gateway.commands.imports.foreign_guards import ForeignGuards, read_foreign_guards
from gateway.commands.imports.litellm import Clients, imported
from gateway.commands.imports.litellm_keys import read_keys, read_teams
from gateway.commands.imports.losses import SERIOUS
from gateway.commands.imports.result import Result, lines, one_line, summary
from gateway.commands.terminal import say
from gateway.config.loading import ConfigError, from_mapping

GOOD: Final = 0
NOTHING: Final = 1
"""The exit status without a result: the file cannot be read, or models cannot be converted."""
WRONG: Final = 2
"""The exit status for an invalid command line."""
LOST: Final = 3
"""The exit status if settings on names, protection or money were lost."""


def run(
    file: Path, write: Path | None, keys: Path | None = None, teams: Path | None = None, partial: bool = False
) -> int:
    """Convert ``file``, with ``partial`` also if models cannot be converted. Return the exit status."""
    if teams is not None and keys is None:
        say("--teams needs an export of keys, too: add --keys FILE")
        return WRONG
    try:
        read = document.read(file.read_bytes(), str(file))
        if (guards := read_foreign_guards(read.content)) is not None:
            return _write_steps(guards, file, write)
        result = imported(read.content, None if keys is None else _read_clients(keys, teams))
        text = "\n".join(lines(result, file.name)) + "\n"
        from_mapping(yaml.safe_load(text))
        if result.missing and not partial:
            for line in _incomplete_lines(result, file):
                say(line)
            return NOTHING
        _write(text, write)
    except ConfigError as error:
        say(str(error))
        return NOTHING
    except OSError as error:
        click.echo(f"{error.filename}: {(error.strerror or 'unusable').lower()}", err=True)
        return NOTHING
    for line in summary(result):
        say(line)
    return LOST if any(loss.group in SERIOUS for loss in result.losses) else GOOD


def _write_steps(guards: ForeignGuards, file: Path, write: Path | None) -> int:
    """Write the steps for the guardrails of another gateway, and return the exit status.

    Raises ``ConfigError`` and ``OSError``."""
    guards.check()
    _write("\n".join(guards.lines(file.name)) + "\n", write)
    for line in guards.summary():
        say(line)
    return LOST


def _write(text: str, write: Path | None) -> None:
    """Write ``text`` into a new file, or to standard output. Raises ``OSError``."""
    if write is None:
        click.echo(text, nl=False)
    else:
        with write.open("x") as into:
            into.write(text)


def _read_clients(keys: Path, teams: Path | None) -> Clients:
    """Return the keys and teams in these files. Raises ``ConfigError`` and ``OSError``."""
    found = () if teams is None else read_teams(teams.read_bytes(), str(teams))
    return Clients(read_keys(keys.read_bytes(), str(keys)), found)


def _incomplete_lines(result: Result, file: Path) -> Iterator[str]:
    """Yield lines about models that cannot be converted: requests for them could reach another provider."""
    yield f"{file}: cannot convert {len(result.missing)} of {result.models} models, so nothing was written:"
    yield from (f"  {one_line(f'{loss.what}: {loss.why}')}" for loss in result.missing)
    for name, _, entry in result.still_served():
        yield f"  Requests for {one_line(name)} would go to {one_line(entry)}."
    yield "To convert all other models, and write these entries yourself: --partial"
