"""Reads the values in rows of LiteLLM's tables, as JSON or as text of an export."""

import csv
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from streams.surrogates import decode_or

KEYS: Final = "LiteLLM_VerificationToken"
TEAMS: Final = "LiteLLM_TeamTable"
ALIASES: Final = "LiteLLM_ModelTable"
BUDGETS: Final = "LiteLLM_BudgetTable"
CREDENTIALS: Final = "LiteLLM_CredentialsTable"
END_USERS: Final = "LiteLLM_EndUserTable"
MEMBERS: Final = "LiteLLM_TeamMembership"
MODELS: Final = "LiteLLM_ProxyModelTable"
ORGANIZATIONS: Final = "LiteLLM_OrganizationTable"
PROJECTS: Final = "LiteLLM_ProjectTable"
ROTATED: Final = "LiteLLM_DeprecatedVerificationToken"
SETTINGS: Final = "LiteLLM_Config"
SIGN_IN: Final = "LiteLLM_SSOConfig"
USERS: Final = "LiteLLM_UserTable"

TABLES: Final = (KEYS, TEAMS, BUDGETS, USERS, END_USERS, MODELS, CREDENTIALS, ROTATED, ALIASES)
"""The tables that are converted; older versions of LiteLLM lack some."""
UNREADABLE: Final = "tables that were not read"
"""The name for rows with the names of such tables."""


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
