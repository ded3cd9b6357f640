"""Reads clients and the hashes of their keys from a CSV file, with the columns of trigate or of LiteLLM's database.

LiteLLM stores the SHA-256 of a key, as trigate does, so clients keep their keys."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import attrs

from configfile.users_files import read_file
from configfile.wording import nearest, spell_time
from gateway.commands.imports.litellm_budgets import limit_rejection
from gateway.commands.imports.litellm_keys import ALL, NONE, OF_THE_TEAM
from gateway.commands.imports.litellm_limits import read_limits
from gateway.commands.imports.litellm_rows import has_value, read_boolean, read_list, read_text, read_time
from gateway.stores.errors import ChangeRejected

_COLUMNS: Final[Mapping[str, str]] = {
    "name": "name",
    "key_alias": "name",
    "sha256": "sha256",
    "token": "sha256",
    "group": "group",
    "team_id": "group",
    "until": "until",
    "expires": "until",
    "models": "models",
    "budgets": "budgets",
}
"""The columns of both, and the setting of a client that each has."""

_OF_LIMITS: Final = (
    "max_budget", "budget_duration", "rpm_limit", "tpm_limit", "max_parallel_requests", "blocked",
)  # fmt: skip
"""More columns of LiteLLM that are read."""

_RESTRICTING: Final[Mapping[str, tuple[str, ...]]] = {
    "allowed_routes": ("{llm_api_routes}",),
    "permissions": (),
    "policies": (),
    "model_max_budget": (),
    "budget_limits": (),
    "tpd_limit": (),
    **dict.fromkeys(("aliases", "router_settings", "budget_id", "project_id", "organization_id"), ()),
    **dict.fromkeys(("object_permission_id", "access_group_ids", "agent_id"), ()),
}
"""Columns of LiteLLM that change a key in a way that a client of trigate cannot have, and values that do not."""

_RATES: Final = ("rpm_limit", "tpm_limit", "max_parallel_requests")

_SEPARATOR: Final = re.compile(r"\s*[;,]\s*")
_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")


@attrs.frozen
class FoundClients:
    """The clients of a file by name, in the form of stored items, the ``skipped`` names with the reason.

    ``places`` are the lines of clients in a table, ``unknown`` the columns that changed nothing."""

    items: Mapping[str, dict[str, Any]]
    skipped: Sequence[str]
    why_skipped: str
    places: Mapping[str, str] = {}
    unknown: Sequence[str] = ()


def read_key_table(file: Path) -> FoundClients:
    """Return the clients in the CSV ``file``. Raises ``ChangeRejected`` with the line of a row that cannot be read."""
    (columns, rows), now = _read_rows(file), datetime.now(UTC)
    items: dict[str, dict[str, Any]] = {}
    places: dict[str, str] = {}
    skipped: list[str] = []
    for line, row in rows:
        place = f"{file}, line {line}"
        is_closed = limit_rejection(row, _RATES, now, carried=False) is not None
        name, item = _client_of(place, row, {} if is_closed else _limits_in(place, row))
        if name in places:
            earlier = places[name].rpartition(", ")[2]
            raise ChangeRejected(f"{place}: {earlier} has the same name {name}: give each client its own name")
        places[name] = place
        if _is_rejected(place, row, now) or is_closed:
            skipped.append(name)
        else:
            items[name] = item
    unknown = [column for column in columns if column not in (*_COLUMNS, *_OF_LIMITS)]
    _refuse_misspelled(file, columns, unknown)
    if not items and not skipped:
        raise ChangeRejected(f"{file} has no row below its header line")
    why = "they are blocked, have expired, or have an exhausted budget or a limit of 0"
    return FoundClients(items, skipped, why, places, unknown)


def _refuse_misspelled(file: Path, columns: Sequence[str], unknown: Sequence[str]) -> None:
    """Raise ``ChangeRejected`` if an ``unknown`` column resembles a known one that is missing: its clients would be
    without the limit."""
    for column in unknown:
        near = nearest(column.lower(), {*_COLUMNS, *_OF_LIMITS} - set(columns)) if column not in _RESTRICTING else None
        if near is not None:
            raise ChangeRejected(f"{file}: unknown column `{column}`: did you mean `{near}`? Rename or remove it")


def _read_rows(file: Path) -> tuple[Sequence[str], list[tuple[int, dict[str, str]]]]:
    """Return the columns of ``file``, and its rows with their lines."""
    try:
        reader = csv.DictReader(io.StringIO(read_file(file).decode("utf-8-sig"), newline=""), strict=True)
        columns = [column.strip() for column in reader.fieldnames or ()]
        reader.fieldnames = columns
        rows = [(reader.line_num, row) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise ChangeRejected(
            f"cannot read {file} as CSV: {getattr(error, 'strerror', None) or str(error).splitlines()[0]}"
        ) from None
    settings = [_COLUMNS[column] for column in columns if column in _COLUMNS]
    if "sha256" not in settings:
        raise ChangeRejected(
            f"{file} has no header line with the column `sha256` or `token`: begin with a line such as name,sha256"
        )
    if doubled := next((one for one in settings if settings.count(one) > 1), None):
        names = " and ".join(column for column in columns if _COLUMNS.get(column) == doubled)
        raise ChangeRejected(f"{file}: the columns {names} mean the same: keep one of them")
    for line, row in rows:
        if None in row or None in row.values():
            raise ChangeRejected(f"{file}, line {line}: expected as many cells as in the header line, {len(columns)}")
    return columns, rows


def _client_of(place: str, row: Mapping[str, str], limits: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name and the stored item of a row. Raises ``ChangeRejected``."""
    cells = {_COLUMNS[column]: value.strip() for column, value in row.items() if column in _COLUMNS}
    digest = cells["sha256"].lower()
    if not _DIGEST.fullmatch(digest):
        raise ChangeRejected(f"{place}: the digest is not a SHA-256 of 64 hexadecimal digits")
    name = read_text(cells.get("name")) or f"key-{digest[:8]}"
    item: dict[str, Any] = {"keys": [{"sha256": digest}]}
    if group := cells.get("group"):
        item["group"] = group
    models = _models_in(cells.get("models", ""))
    if models is not None:
        item["models"] = models
    item.update(limits)
    if budgets := list(filter(None, _SEPARATOR.split(cells.get("budgets", "")))):
        item["budgets"] = [*item.get("budgets", ()), *budgets]
    if (until := _end_in(place, row)) is not None:
        item["until"] = until
    return name, item


def _models_in(cell: str) -> list[str] | None:
    """Return the models in a cell, ``None`` for all: a list with commas or semicolons, of PostgreSQL, or of JSON."""
    found = list(read_list(cell)) if cell[:1] in ("{", "[") else list(filter(None, _SEPARATOR.split(cell)))
    if not found or ALL & set(found) or OF_THE_TEAM in found:
        return None
    return [model for model in found if model != NONE]


def _limits_in(place: str, row: Mapping[str, str]) -> dict[str, Any]:
    """Return the limits in LiteLLM's columns. Raises ``ChangeRejected`` for one that a client cannot have."""
    limits, read = read_limits(row)
    for column in ("max_budget", "rpm_limit", "tpm_limit", "max_parallel_requests"):
        if has_value(row.get(column)) and column not in read:
            advice = "a budget needs a `budget_duration`, such as 30d or 1mo" if column == "max_budget" else "empty it"
            raise ChangeRejected(f"{place}: the limit in `{column}` cannot be read: {advice}")
    for column, harmless in _RESTRICTING.items():
        if has_value(row.get(column)) and row[column].strip() not in harmless and column not in read:
            raise ChangeRejected(
                f"{place}: trigate has no setting `{column}` of a key: empty the cell to import the key without it"
            )
    return limits


def _end_in(place: str, row: Mapping[str, str]) -> str | None:
    """Return the end of a key, ``None`` without one. Raises ``ChangeRejected`` for a time that cannot be read."""
    end, wrong = read_time(row.get("expires"))
    if wrong is not None:
        raise ChangeRejected(f"{place}: `expires` cannot be read: expected a time such as 2027-01-31T00:00:00Z")
    if end is not None:
        return spell_time(end)
    return row.get("until", "").strip() or None


def _is_rejected(place: str, row: Mapping[str, str], now: datetime) -> bool:
    """Return whether the key is blocked or has expired. Raises ``ChangeRejected``."""
    blocked, wrong = read_boolean(row.get("blocked"))
    if wrong is not None:
        raise ChangeRejected(f"{place}: {wrong}")
    end, _ = read_time(row.get("expires"))
    return blocked or (end is not None and end <= now)
