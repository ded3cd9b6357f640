"""The names that users write or read, for the test that compares them with the last release.

``python -m tests.pages.interface`` writes them to ``tests/data/interface.json``: run it after a release.
"""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

import click

from gateway import __version__
from gateway.__main__ import main as trigate
from gateway.commands.schema import schema
from gateway.ledger.record import Ended
from gateway.named_imports import import_named
from streams.events import ErrorKind, FailureReason, Reason
from tests.pages.tables import rows_of
from tests.support.features import has_feature
from tests.support.repository import ROOT

FILE: Final = ROOT / "tests/data/interface.json"
ROOMS: Final = ("gateway", "providers", "streams")
HEADER: Final = re.compile(r'"(x-trigate-[a-z-]*[a-z])"')
PARTS: Final = ("anyOf", "oneOf", "allOf")
LOG_TABLES: Final = ("Exchanges", "Attempts", "Other lines", "Audit fields")
VALUES: Final = {"ended": Ended, "error": ErrorKind, "reason": Reason, "tried.reason": FailureReason}


def interface() -> dict[str, list[str]]:
    """Return the names of this version by kind, sorted. A metric has one name for each of its labels."""
    page = (ROOT / "docs/log.md").read_text()
    measures = import_named("gateway.features.metrics.rows:ROWS") if has_feature("metrics") else ()
    return {
        "configuration keys": sorted(_keys(_schema(), "", ())),
        "commands and options": sorted(_commands(trigate, "")),
        "metrics": sorted(
            f"{row.name} ({row.kind}) {label}".rstrip() for row in measures for label in ("", *row.labels)
        ),
        "log fields": sorted(f"{table}: {row[0]}" for table in LOG_TABLES for row in rows_of(page, table)),
        "log values": sorted(f"{field}: {word}" for field, words in VALUES.items() for word in get_args(words)),
        "headers": sorted(_headers()),
    }


_schema = functools.cache(schema)


def _keys(shape: Mapping[str, Any], path: str, inside: tuple[str, ...]) -> Iterator[str]:
    """Yield the path of each key that ``shape`` allows. ``inside`` are the definitions around it, which may recur."""
    if (name := shape.get("$ref", "").rpartition("/")[2]) and name not in inside:
        yield from _keys(_schema()["$defs"][name], path, (*inside, name))
    for key, value in shape.get("properties", {}).items():
        yield f"{path}{key}"
        yield from _keys(value, f"{path}{key}.", inside)
    if isinstance(of_any_name := shape.get("additionalProperties"), Mapping):
        yield from _keys(of_any_name, f"{path}*.", inside)
    if isinstance(items := shape.get("items"), Mapping):
        yield from _keys(items, f"{path.removesuffix('.')}[].", inside)
    for part in (part for kind in PARTS for part in shape.get(kind, ())):
        yield from _keys(part, path, inside)


def _commands(group: click.Group, path: str) -> Iterator[str]:
    """Yield each command below ``group``, alone and with each of its options."""
    for name, command in group.commands.items():
        yield f"{path}{name}"
        yield from (f"{path}{name} {option}" for option in _options(command))
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path}{name} ")


def _options(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        yield from (name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("-"))


def _headers() -> set[str]:
    files = (file for room in ROOMS for file in (ROOT / room).rglob("*.py"))
    return {name for file in files for name in HEADER.findall(file.read_text())}


if __name__ == "__main__":
    FILE.write_text(json.dumps({"version": __version__, **interface()}, indent=1) + "\n")
