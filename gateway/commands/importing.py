"""The command ``trigate import``, which converts the configuration of a LiteLLM proxy or of claude-code-router.

The result contains no keys of providers, but a variable for each. Comments and a summary list the settings without a
counterpart.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import Any, Final

import click
import yaml

from configfile import document
from configfile.document import ConfigError
from gateway.commands.imports.claude_code_router import convert_claude_code_router, read_json5
from gateway.commands.imports.imported_secrets import environment_line, variables_in
from gateway.commands.imports.imported_values import list_of
from gateway.commands.imports.litellm import convert_litellm
from gateway.commands.imports.litellm_database import read_database
from gateway.commands.imports.litellm_secrets import Decryption, salt_key_of
from gateway.commands.imports.losses import SERIOUS, Group
from gateway.commands.imports.move_report import ENVIRONMENT, Move, json_text, markdown_text, report_of
from gateway.commands.imports.result import Result, lines, one_line, summary
from gateway.commands.terminal import say
from gateway.config_files.convertible import is_claude_code_router
from gateway.config_files.loading import from_mapping

GOOD: Final = 0
NOTHING: Final = 1
"""The exit status without a result: the file cannot be read, or models cannot be converted."""
_ENVIRONMENT_TITLE: Final = (
    "# Secrets of the old configuration, for the variables of the new one; set those without a value"
)
LOST: Final = 3
"""The exit status if settings on names, protection or money were lost."""


def run(
    file: Path, write: Path | None, partial: bool = False, database: str | None = None, report: Path | None = None
) -> int:
    """Convert ``file``, with ``partial`` also if models cannot be converted. Return the exit status."""
    try:
        content, duplicates = read_with_includes(file)
        result = _convert(content, database)
        for place in duplicates:
            why = "the key appears twice, and the last value applies, as in LiteLLM"
            result.lose(f"an earlier {place}", (Group.TRIFLES, why))
        text = "\n".join(lines(result, file.name)) + "\n"
        from_mapping(yaml.safe_load(text))
        status = NOTHING if result.missing and not partial else _status_of(result)
        move = Move(
            result,
            file.name,
            _name_of(database),
            variables_in(text, result.values),
            write if status != NOTHING else None,
            status,
        )
        _write_new(dict(_files(move, text, report)), report)
    except ConfigError as error:
        mistake = error.mistakes[0]
        is_of_file = not mistake.file and not mistake.path.startswith("--")
        say(f"{file}: {error}" if is_of_file else str(error))
        return NOTHING
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or error
        say(f"{file}: the result would be no YAML ({problem}): shorten the names of models and keys")
        return NOTHING
    except OSError as error:
        if error.filename is None:  # of the current folder
            raise
        say(f"{error.filename}: {(error.strerror or 'unusable').lower()}")
        return NOTHING
    if write is None and status != NOTHING:
        click.echo(text, nl=False)
    for line in _incomplete_lines(result, file) if status == NOTHING else summary(result):
        say(line)
    if move.known_variables and status != NOTHING:
        where = "with --write, a file next to it" if write is None else str(move.environment)
        load = "" if write is None else f" To set them, run `set -a; . {quote(os.path.join('.', where))}; set +a`."
        say(f"Secrets became variables: {where} has their values (mode 0600).{load}")
    if report is not None:
        say(f"{report} has all that changes, is lost or left to do.")
    return status


def _status_of(result: Result) -> int:
    return LOST if any(loss.group in SERIOUS for loss in result.losses) else GOOD


def _name_of(database: str | None) -> str:
    """Return the database for readers, without a connection string, which may have a password."""
    return "" if database is None else f"the database in {database}" if database in os.environ else "the database"


def _files(move: Move, text: str, report: Path | None) -> Iterator[tuple[Path, str]]:
    """Yield the files to write, with their content."""
    if move.write is not None:
        yield move.write, text
    if move.environment is not None:
        lines = [environment_line(name, move.result.values[name]) for name in move.known_variables]
        lines += [f"# {name}=" for name in move.variables if name not in move.known_variables]
        yield move.environment, "\n".join((_ENVIRONMENT_TITLE, *lines, ""))
    if report is not None:
        yield report, (json_text if report.suffix == ".json" else markdown_text)(report_of(move))


def _convert(content: Any, database: str | None) -> Result:
    """Convert the file of LiteLLM's proxy or of claude-code-router. Raises ``ConfigError``."""
    if is_claude_code_router(content):
        return convert_claude_code_router(content)
    tables = None if database is None else read_database(database, os.environ)
    return convert_litellm(content, tables, Decryption(salt_key_of(content, os.environ)))


def read_with_includes(file: Path) -> tuple[Any, list[str]]:
    """Return the content of ``file`` and of the files that its ``include`` lists, and the places of duplicate keys.

    Lists are joined, other values replaced, as in https://docs.litellm.ai/docs/proxy/config_management. Raises
    ``ConfigError`` and ``OSError``."""
    merged: Any = None
    places: list[str] = []
    waiting, seen = [file], {os.path.realpath(file)}
    while waiting:
        path = waiting.pop(0)
        read = document.read(read_json5(document.read_bytes(path)), str(path), last_wins=True)
        places += read.duplicates
        if not isinstance(read.content, dict):
            merged = read.content if merged is None else merged
            continue
        listed = read.content.get("include")
        merged = _merge(merged or {}, {name: value for name, value in read.content.items() if name != "include"})
        for name in list_of(listed):
            found = path.parent / str(name)
            if (place := os.path.realpath(found)) not in seen:
                seen.add(place)
                waiting.append(found)
    return merged, places


def _merge(merged: dict[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``merged`` with the members of an included file."""
    for name, value in content.items():
        lists = isinstance(merged.get(name), list) and isinstance(value, list)
        merged[name] = [*merged[name], *value] if lists else value
    return merged


def _write_new(files: Mapping[Path, str], report: Path | None) -> None:
    """Write new files, those with secrets for their owner only, or none at all. Raises ``OSError``."""
    written: list[Path] = []
    try:
        for path, text in files.items():
            mode = 0o600 if path.suffix == ENVIRONMENT else 0o666
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            written.append(path)
            with os.fdopen(descriptor, "w", encoding="utf-8") as into:
                into.write(text)
    except OSError as error:
        for one in written:
            one.unlink(missing_ok=True)
        error.filename = str(path)  # which the error of a full disk lacks
        if isinstance(error, FileExistsError):
            option = "--report" if path == report else "--write"
            error.strerror = f"file exists; give {option} the name of a new file"
        raise


def _incomplete_lines(result: Result, file: Path) -> Iterator[str]:
    """Yield lines about models that cannot be converted: requests for them would fail."""
    yield f"{file}: cannot convert {len(result.missing)} of {result.models} models, so nothing was written:"
    yield from (f"  {one_line(f'{loss.what}: {loss.why}')}" for loss in result.missing)
    yield "To convert all other models, and write these entries yourself: --partial"
