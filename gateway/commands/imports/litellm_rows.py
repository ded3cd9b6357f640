"""Reads exported rows of LiteLLM's tables, and the values in them."""

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import attrs
import msgspec

from configfile.document import ConfigError, Mistake
from streams.surrogates import NOT_JSON, decode_or


@attrs.frozen
class Table:
    """A table of LiteLLM: its ``key`` column, and the members ``lists`` in which its API returns rows."""

    name: str
    key: str
    lists: Sequence[str]
    file: str
    """A file name for the export, for messages."""


KEYS: Final = Table("LiteLLM_VerificationToken", "token", ("keys", "data", "tokens"), "keys.csv")
TEAMS: Final = Table("LiteLLM_TeamTable", "team_id", ("teams", "data"), "teams.csv")


def read_rows(table: Table, data: bytes, file: str) -> tuple[dict[str, Any], ...]:
    """Return the rows in an export. Raises ``ConfigError`` without content of the file."""
    try:
        rows = tuple(_decode_rows(table, data.decode("utf-8-sig").strip()))
    except (*NOT_JSON, csv.Error):
        raise _unreadable_error(table, file, "this is neither CSV nor JSON") from None
    if not rows:
        raise _unreadable_error(table, file, "the file has no rows")
    empty = [number for number, row in enumerate(rows, 1) if not _has_text(row.get(table.key))]
    if len(empty) == len(rows):
        raise _unreadable_error(table, file, f"the column `{table.key}` is missing")
    if empty:
        raise _unreadable_error(table, file, f"row {empty[0]} has no `{table.key}`")
    return rows


def _has_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _unreadable_error(table: Table, file: str, found: str) -> ConfigError:
    advice = f"export LiteLLM's table with psql: \\copy \"{table.name}\" TO '{table.file}' CSV HEADER"
    return ConfigError((Mistake(file, "", found, advice),))


def _decode_rows(table: Table, text: str) -> Iterator[dict[str, Any]]:
    """Yield the rows. Raises the exceptions of the decoders."""
    if text[:1] not in ("[", "{"):
        yield from csv.DictReader(io.StringIO(text, newline=""))
        return
    try:
        found = msgspec.json.decode(text)
    except NOT_JSON:  # one object per line
        found = [msgspec.json.decode(line) for line in text.splitlines() if line.strip()]
    if isinstance(found, dict):
        found = next((found[name] for name in table.lists if isinstance(found.get(name), list)), [found])
    yield from (row for row in found if isinstance(row, dict))


# Values


def read_text(value: Any) -> str:
    """Return ``value`` on one line, or "" if it is not a text."""
    return re.sub(r"[^\x20-\x7e\xa0-\ud7ff]+", " ", value).strip() if isinstance(value, str) else ""


def read_time(value: Any) -> tuple[datetime | None, str | None]:
    """Return the time, in UTC if it has no zone, or the reason why it cannot be read."""
    if value in (None, "", "null", "NULL"):
        return None, None
    try:
        found = datetime.fromisoformat(re.sub(r"([+-]\d\d)$", r"\1:00", str(value).strip()))
    except ValueError:
        return None, "its `expires` is not a time"
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC), None


def read_boolean(value: Any) -> tuple[bool, str | None]:
    """Return the boolean; for any other value, return True and the reason why it cannot be read."""
    word = str(value).strip().lower()
    if value in (None, "") or word in ("f", "false", "0", "null", "none"):
        return False, None
    return True, None if word in ("t", "true", "1") else "its `blocked` is neither true nor false"


def read_list(value: Any) -> tuple[str, ...]:
    """Return the texts of a list, in JSON or as a PostgreSQL array: ``{gpt-4o,"a b"}``."""
    if isinstance(value, str) and value.strip()[:1] == "[":
        value = decode_or(msgspec.json.decode, value, ())
    if isinstance(value, str):
        inner = value.strip().removeprefix("{").removesuffix("}")
        value = next(csv.reader([inner], escapechar="\\", doublequote=False), [])
    return tuple(text for one in value if (text := read_text(one))) if isinstance(value, list) else ()


def read_number(value: Any) -> float | None:
    """Return a number in JSON or CSV, ``None`` for other values."""
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def has_value(value: Any) -> bool:
    """Return whether a column has a value."""
    return value not in (None, "", "{}", "[]", "null", "NULL", 0, False) and value != [] and value != {}


def is_set(value: Any) -> bool:
    """Return whether a column or member has a value other than the usual defaults: nothing, false, zero."""
    return has_value(value) and value not in ("f", "false", "0", "0.0", '""')


def read_mapping(value: Any) -> dict[str, Any]:
    """Return a mapping in JSON or as an object, empty for other values."""
    if isinstance(value, str):
        value = decode_or(msgspec.json.decode, value, {})
    return value if isinstance(value, dict) else {}


def name_list(names: Sequence[str], noun: str = "keys") -> str:
    """Return the first of ``names`` for a message, with their number."""
    shown = ", ".join(names[:5])
    if len(names) == 1:
        return shown
    return f"{len(names)} {noun} ({shown}{', …' if len(names) > 5 else ''})"


def read_objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list in JSON, empty for other values."""
    if isinstance(value, str):
        value = decode_or(msgspec.json.decode, value, [])
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
