"""The columns of the kept ledger's table."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.features.kept_ledger.line import UNIT_COLUMNS
from gateway.stores.database import AddedTables

UNITS: Final = {unit: column for unit, column in UNIT_COLUMNS.items() if unit != "query"}
"""The columns of billed units, by unit."""

AMOUNTS: Final = ("input", "cache_read", "cache_write", "output", "nanos", *UNITS.values())
PROMPT_CACHE_AMOUNTS: Final = (
    "prompt_cache_could", "prompt_cache_read", "prompt_cache_missed", "prompt_cache_nanos", "prompt_cache_unread",
)  # fmt: skip
"""The columns of a verdict about the provider's prompt cache; NULL without a verdict."""

CAUSE_AMOUNTS: Final = ("cause_tokens", "cause_nanos", "second_tokens", "second_nanos")
CAUSES: Final = ("cause", "second_cause")
"""The columns with the names of the at most two causes of missed tokens; ``CAUSE_AMOUNTS`` are their amounts."""

COUNTS: Final = ("exchanges", "failures", "attempts", "attempt_failures")
"""The columns with the counts of a sum; NULL in a line."""

GROUP_BY: Final = ("client", "client_group", "run", "project", "target", "model", "endpoint", "delivered", *CAUSES)
"""The columns whose values are equal for all lines of a sum."""

QUARTER_SUM: Final = 1
"""The ``level`` of a sum over a quarter of an hour. The ``level`` of a line is NULL."""

DAY_SUM: Final = 2
"""The ``level`` of a sum over a day, which has no ``run``."""

LOST_COUNT: Final = 3
"""The ``level`` of a row that counts exchanges with unknown tokens and costs."""

MARK: Final = 4
"""The ``level`` of a process's mark; until its time ``last``, the process has written all its lines."""

MARK_SECONDS: Final = 60.0
"""Seconds between marks of a process."""

GAP: Final = int(MARK_SECONDS * 1e6)
"""The longest time, in microseconds, for which a process that ends without its last lines has written none."""

QUARTER: Final = 900 * 10**6
"""A quarter of an hour in microseconds. In every time zone in use, hours and days begin with one."""

DAY: Final = 86_400 * 10**6
"""A day in microseconds."""

OTHER_NAME: Final = "(other)"
"""The name that replaces targets and models in a sum to bound the number of sums."""

COLUMN_TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("began", "line"), "bigint"),
    "attempt": "integer",
    **dict.fromkeys(
        ("request", "client", "client_group", "run", "asked", "route", "target", "model", "reason", "ended"), "text"
    ),
    **dict.fromkeys(("input", "cache_read", "cache_write", "output", "nanos"), "bigint"),
    **dict.fromkeys(("grade", "estimated", "delivered", "status"), "integer"),
    "endpoint": "text",
    **dict.fromkeys(UNITS.values(), "bigint"),
    "last": "bigint",
    "level": "integer",
    **dict.fromkeys(COUNTS, "bigint"),
    **dict.fromkeys(PROMPT_CACHE_AMOUNTS, "bigint"),
    "prompt_cache_grade": "integer",
    **dict.fromkeys(("prompt_cache_idle", "prompt_cache_unkeyed"), "bigint"),
    **dict.fromkeys(CAUSES, "text"),
    **dict.fromkeys(CAUSE_AMOUNTS, "bigint"),
    "project": "text",
}
"""The types of all columns, by column."""

ID_COLUMN_TYPES: Final = {"began": "bigint", "line": "bigint", "attempt": "integer", "upstream_request_id": "text"}

LEDGER_TABLES: Final = AddedTables(
    "ledger_columns",
    (
        """
        ALTER TABLE {ledger} ADD COLUMN prompt_cache_could bigint;
        ALTER TABLE {ledger} ADD COLUMN prompt_cache_read bigint;
        ALTER TABLE {ledger} ADD COLUMN prompt_cache_missed bigint;
        ALTER TABLE {ledger} ADD COLUMN prompt_cache_nanos bigint;
        ALTER TABLE {ledger} ADD COLUMN prompt_cache_grade integer;
        ALTER TABLE {ledger} ADD COLUMN prompt_cache_idle bigint;
        ALTER TABLE {ledger} ADD COLUMN cause text;
        ALTER TABLE {ledger} ADD COLUMN cause_tokens bigint;
        ALTER TABLE {ledger} ADD COLUMN cause_nanos bigint;
        ALTER TABLE {ledger} ADD COLUMN second_cause text;
        ALTER TABLE {ledger} ADD COLUMN second_tokens bigint;
        ALTER TABLE {ledger} ADD COLUMN second_nanos bigint;
        """,
        """
        ALTER TABLE {ledger} ADD COLUMN prompt_cache_unread bigint;
        ALTER TABLE {ledger} ADD COLUMN prompt_cache_unkeyed bigint;
        """,
        """
        CREATE TABLE IF NOT EXISTS {ledger_ids} (
            began bigint NOT NULL, line bigint NOT NULL, attempt integer NOT NULL, upstream_request_id text NOT NULL,
            PRIMARY KEY (began, line, attempt)
        ) {clustered};
        """,
        "ALTER TABLE {ledger} ADD COLUMN project text;",
    ),
    is_optional=True,
)
"""The ledger's columns about prompt caches and projects, and the table with providers' request ids. An older version
leaves them empty, so they raise no schema version."""

DELETE_IDS: Final = "DELETE FROM {ledger_ids} WHERE began <= :last"
"""The statement that deletes the providers' request ids of all lines up to ``last``."""

EXCHANGES: Final = "COALESCE(exchanges, CASE WHEN attempt = 0 THEN 1 ELSE 0 END)"
FAILURES: Final = """COALESCE(failures, CASE
    WHEN attempt = 0 AND ended NOT IN ('complete', 'client_disconnected') THEN 1 ELSE 0 END)"""
ATTEMPTS: Final = "COALESCE(attempts, CASE WHEN target IS NULL THEN 0 ELSE 1 END)"
ATTEMPT_FAILURES: Final = """COALESCE(attempt_failures, CASE
    WHEN target IS NULL OR reason IN ('ok', 'hedge_lost', 'client_left', 'refused') THEN 0 ELSE 1 END)"""
LAST: Final = "COALESCE(last, began)"
"""The SQL expression for the time at which the last exchange of a row began."""


def empty_sum(level: int, began: int, names: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of ``level`` with zero counts and with those of ``GROUP_BY`` that ``names`` has."""
    return {
        **{name: names.get(name) for name in GROUP_BY}, "delivered": names.get("delivered", 0),
        **dict.fromkeys((*AMOUNTS, *COUNTS, "attempt", "status", "estimated"), 0), "began": began, "last": began,
        "request": "", "ended": "sum", "grade": None, "level": level, "prompt_cache_grade": None,
        "prompt_cache_idle": None, "prompt_cache_unkeyed": None,
        **dict.fromkeys((*PROMPT_CACHE_AMOUNTS, *CAUSE_AMOUNTS)),
    }  # fmt: skip
