"""Exports of LiteLLM's tables, as psql, a JSON function or its API writes them: CSV with a head, a JSON list, or an
object on each line."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import attrs
import msgspec

from configfile.document import ConfigError, Mistake
from configfile.wording import Wrong
from gateway.commands.litellm import MOST_AT_ONCE
from gateway.config.amounts import read_budget
from streams.surrogates import NOT_JSON

RATES: Final = (
    ("rpm_limit", "requests", "/m"),
    ("tpm_limit", "tokens", "/m"),
    ("max_parallel_requests", "concurrent", ""),
)
"""The columns of a key and of a team with a limit that exists here, its name here, and its unit."""

_PERIODS: Final[Mapping[str, str]] = {"1h": "hour", "1d": "day", "24h": "day", "1mo": "month"}
_ROLLING: Final = re.compile(r"[1-9][0-9]{0,3}[mhd]")


@attrs.frozen
class Table:
    """One of LiteLLM's tables. Each row has a text in the column ``key``; its API puts rows into one of ``lists``."""

    name: str
    key: str
    lists: Sequence[str]
    file: str
    """The file of the export, in advice."""


KEYS: Final = Table("LiteLLM_VerificationToken", "token", ("keys", "data", "tokens"), "keys.csv")
TEAMS: Final = Table("LiteLLM_TeamTable", "team_id", ("teams", "data"), "teams.csv")


def read_rows(table: Table, data: bytes, file: str) -> tuple[dict[str, Any], ...]:
    """Return the rows in an export. Raises ``ConfigError``, which repeats nothing of the file."""
    try:
        rows = tuple(_rows(table, data.decode("utf-8-sig").strip()))
    except (*NOT_JSON, csv.Error):
        raise _unreadable(table, file, "neither CSV nor JSON") from None
    if not rows or not all(isinstance(row.get(table.key), str) and row[table.key].strip() for row in rows):
        raise _unreadable(table, file, f"no column `{table.key}`" if rows else "no rows")
    return rows


def _unreadable(table: Table, file: str, found: str) -> ConfigError:
    advice = f"export LiteLLM's table by psql: \\copy \"{table.name}\" TO '{table.file}' CSV HEADER"
    return ConfigError((Mistake(file, "", found, advice),))


def _rows(table: Table, text: str) -> Iterator[dict[str, Any]]:
    """Yield the rows. Raises what the decoders raise."""
    if text[:1] not in ("[", "{"):
        yield from csv.DictReader(io.StringIO(text, newline=""))
        return
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:  # an object on each line
        found = [msgspec.json.decode(line) for line in text.splitlines() if line.strip()]
    if isinstance(found, dict):
        found = next((found[name] for name in table.lists if isinstance(found.get(name), list)), [found])
    yield from (row for row in found if isinstance(row, dict))


# Values


def read_text(value: Any) -> str:
    """Return ``value`` in one line, an empty text if it is none."""
    return re.sub(r"[^\x20-\x7e\xa0-\ud7ff]+", " ", value).strip() if isinstance(value, str) else ""


def read_time(value: Any) -> tuple[datetime | None, str | None]:
    """Return the time, in UTC as in the database if it has no zone; or the reason why it cannot be read."""
    if value in (None, "", "null", "NULL"):
        return None, None
    try:
        found = datetime.fromisoformat(re.sub(r"([+-]\d\d)$", r"\1:00", str(value).strip()))
    except ValueError:
        return None, "its expires is not a time"
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC), None


def read_boolean(value: Any) -> tuple[bool, str | None]:
    """Return the boolean; of another value True, and the reason why it cannot be read."""
    word = str(value).strip().lower()
    if value in (None, "") or word in ("f", "false", "0", "null", "none"):
        return False, None
    return True, None if word in ("t", "true", "1") else "its blocked is neither true nor false"


def read_list(value: Any) -> tuple[str, ...]:
    """Return the texts of a list as JSON has it, or as PostgreSQL writes an array: ``{gpt-4o,"a b"}``."""
    if isinstance(value, str) and value.strip()[:1] == "[":
        try:
            value = msgspec.json.decode(value)
        except NOT_JSON:
            return ()
    if isinstance(value, str):
        inner = value.strip().removeprefix("{").removesuffix("}")
        value = next(csv.reader([inner], escapechar="\\", doublequote=False), [])
    return tuple(text for one in value if (text := read_text(one))) if isinstance(value, list) else ()


def has_value(value: Any) -> bool:
    """Return False for a column that says nothing."""
    return value not in (None, "", "{}", "[]", "null", "NULL", 0, False) and value != [] and value != {}


# Limits


def limits_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits of a key or of a team that have a counterpart, as members of ``client_keys`` and
    ``client_groups``."""
    found: dict[str, Any] = {}
    for column, limit, unit in RATES:
        number = _number(row.get(column))
        if number is not None and number == int(number):
            found.setdefault("ratelimits", {})[limit] = (
                f"{int(number)}{unit}" if unit else min(int(number), MOST_AT_ONCE)
            )
    budget, duration = _number(row.get("max_budget")), str(row.get("budget_duration") or "")
    period = _PERIODS.get(duration) or (duration if _ROLLING.fullmatch(duration) else None)
    if budget is not None and period is not None and _is_budget(text := f"{_plain(budget)} usd/{period}"):
        found["budgets"] = [text]
    return found


def limited_columns(item: Mapping[str, Any]) -> Iterator[str]:
    """Yield the columns whose limit is in ``item``."""
    yield from (column for column, limit, _ in RATES if limit in item.get("ratelimits", {}))
    if "budgets" in item:
        yield "max_budget"


def _is_budget(text: str) -> bool:
    try:
        read_budget(text)
    except Wrong:
        return False
    return True


def _plain(number: float) -> str:
    """Return ``number`` without an exponent, to the billionth."""
    return f"{number:.9f}".rstrip("0").rstrip(".")


def _number(value: Any) -> float | None:
    """Return a number above 0, of JSON or CSV."""
    try:
        number = float(value) if not isinstance(value, bool) else 0.0
    except (TypeError, ValueError):
        return None
    return number if 0 < number < 10**15 else None
