"""The SQL statements that select sums of the kept ledger, for both databases."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

from gateway.features.kept_ledger.columns import (
    AMOUNTS,
    ATTEMPT_FAILURES,
    ATTEMPTS,
    EXCHANGES,
    FAILURES,
    LAST,
    LOST_COUNT,
    MARK,
    PROMPT_CACHE_AMOUNTS,
)
from gateway.features.kept_ledger.line import CAUSE_COLUMNS

Dimension: TypeAlias = Literal[
    "key", "group", "model", "target", "run", "project", "endpoint", "request_id", "upstream_request_id", "grade"
]  # fmt: skip
"""The name of a property by which lines can be grouped into sums."""

DIMENSION_COLUMNS: Final[Mapping[Dimension, str]] = {
    "key": "client", "group": "client_group", "model": "model", "target": "target", "run": "run",
    "project": "project", "endpoint": "endpoint", "request_id": "NULLIF(request, '')",
    "upstream_request_id": "upstream_request_id", "grade": "CAST(grade AS text)",
}  # fmt: skip
DIMENSIONS: Final = tuple(name for name in DIMENSION_COLUMNS if name != "grade")
"""The dimensions that reports offer. The worst ``grade`` of a sum is a part of it."""

ATTEMPT_DIMENSIONS: Final[frozenset[Dimension]] = frozenset(("model", "target", "upstream_request_id"))
"""Dimensions in which attempts of one exchange may differ; with them, sums count attempts, not exchanges."""

Filters: TypeAlias = Mapping[Dimension, tuple[str | None, ...]]
"""The wanted values of some dimensions; ``None`` is the value of lines without one."""

NO_FILTERS: Final[Filters] = {}

EXCHANGE_SUMS: Final = f"CAST(COALESCE(SUM({EXCHANGES}), 0) AS BIGINT), CAST(COALESCE(SUM({FAILURES}), 0) AS BIGINT)"
ATTEMPT_SUMS: Final = (
    f"CAST(COALESCE(SUM({ATTEMPTS}), 0) AS BIGINT), CAST(COALESCE(SUM({ATTEMPT_FAILURES}), 0) AS BIGINT)"
)
AMOUNT_SUMS: Final = ", ".join(
    f"CAST(COALESCE(SUM({name}), 0) AS BIGINT)" for name in (*PROMPT_CACHE_AMOUNTS, *AMOUNTS)
)
GRADES_OF_SUM: Final = "MAX(prompt_cache_grade), MAX(grade)"

LONGEST_SUM: Final = 25 * 3600 * 10**6
"""The longest time in microseconds between the first and the last exchange of a sum."""

NO_MARK: Final = f"(level IS NULL OR level <> {MARK})"
PERIOD: Final = (
    "line NOT BETWEEN :first AND :end AND began >= :early AND began < :until "
    "AND (last IS NULL AND began >= :since OR last >= :since AND last < :until) "
    f"AND {NO_MARK}"
)
"""The condition of rows in a period. A sum belongs to the time of its last exchange, so that no budget forgets it too
early. It compares plain columns: PostgreSQL has statistics only of these, and without them it sorts all rows."""


def period_values(period: tuple[int, int], left_out: tuple[int, int] = (1, 0)) -> dict[str, int]:
    """Return the parameters of ``PERIOD``; ``left_out`` are the first and the last number of lines that it excludes."""
    since, until = period
    return {"early": since - LONGEST_SUM, "since": since, "until": until, "first": left_out[0], "end": left_out[1]}


def filter_conditions(only: Filters) -> list[str]:
    """Return the conditions of ``only``, whose parameters ``filter_values`` returns."""
    conditions = []
    for name, values in only.items():
        column = DIMENSION_COLUMNS[name]
        some = ", ".join(f":{name}{place}" for place, value in enumerate(values) if value is not None)
        alternatives = [
            *([f"{column} IN ({some})"] if some else []),
            *([f"{column} IS NULL"] if None in values else []),
        ]
        conditions.append(f"({' OR '.join(alternatives) or '1 = 0'})")
    return conditions


def filter_values(only: Filters) -> dict[str, str]:
    """Return the parameters of ``filter_conditions``."""
    return {
        f"{name}{place}": value
        for name, values in only.items()
        for place, value in enumerate(values)
        if value is not None
    }


def sums_statement(by: Sequence[Dimension], delivered_only: bool, only: Filters, *, most: int | None = None) -> str:
    """Return the statement that selects the sums of each group of rows in a period."""
    columns = [DIMENSION_COLUMNS[name] for name in by]
    attempts = bool(ATTEMPT_DIMENSIONS.intersection((*by, *only)))
    conditions = [
        PERIOD,
        *filter_conditions(only),
        *([f"(target IS NOT NULL OR level = {LOST_COUNT})"] if attempts else []),
        *(["delivered = 1"] if delivered_only else []),
    ]
    fields = ", ".join((*columns, ATTEMPT_SUMS if attempts else EXCHANGE_SUMS, AMOUNT_SUMS, GRADES_OF_SUM))
    grouped = f" GROUP BY {', '.join(columns)}" if columns else ""
    limit = "" if most is None else f" LIMIT {most + 1}"
    return f"SELECT {fields} FROM {_source(by, only)} WHERE {' AND '.join(conditions)}{grouped}{limit}"


def _source(by: Sequence[Dimension], only: Filters) -> str:
    """Return the table of lines, with the providers' request ids if they are needed."""
    if "upstream_request_id" not in (*by, *only):
        return "{ledger}"
    return "{ledger} LEFT JOIN {ledger_ids} USING (began, line, attempt)"


def causes_statement(by: Sequence[Dimension], only: Filters) -> str:
    """Return the statement that selects the missed tokens and losses of each cause, in each group of rows."""
    columns = [DIMENSION_COLUMNS[name] for name in by]
    grouped = ", ".join((*columns, "name"))
    where = " AND ".join((PERIOD, *filter_conditions(only)))
    source = _source(by, only)
    parts = [
        f"SELECT lines.*, {name} AS name, {tokens} AS tokens, {nanos} AS lost FROM "
        f"(SELECT * FROM {source} WHERE {where} AND {name} IS NOT NULL) AS lines"
        for name, tokens, nanos in CAUSE_COLUMNS
    ]
    return (
        f"SELECT {grouped}, CAST(COALESCE(SUM(tokens), 0) AS BIGINT), CAST(COALESCE(SUM(lost), 0) AS BIGINT), "
        f"MAX(prompt_cache_grade) FROM ({' UNION ALL '.join(parts)}) AS caused GROUP BY {grouped}"
    )


_IN_AN_HOUR: Final = "prompt_cache_idle <= 3600"
_EXPIRED_NANOS: Final = (
    "CASE WHEN cause = 'expired' THEN cause_nanos WHEN second_cause = 'expired' THEN second_nanos ELSE 0 END"
)
EXPIRIES: Final = f"""
    SELECT client, model, CAST(COALESCE(SUM(cache_write), 0) AS BIGINT), CAST(COUNT(prompt_cache_idle) AS BIGINT),
        CAST(COALESCE(SUM(CASE WHEN {_IN_AN_HOUR} THEN 1 ELSE 0 END), 0) AS BIGINT),
        CAST(COALESCE(SUM(CASE WHEN {_IN_AN_HOUR} THEN {_EXPIRED_NANOS} ELSE 0 END), 0) AS BIGINT)
    FROM {{ledger}} WHERE {PERIOD} AND level IS NULL AND model IS NOT NULL
    GROUP BY client, model HAVING COUNT(prompt_cache_idle) > 0
"""
"""The statement that selects, by client and model, the written tokens, the expired entries of the prompt cache, those
that an hour's lifetime would have kept, and the loss of these."""


_UNCHANGED: Final = ("busy", "provider")
_UNCHANGED_NANOS: Final = " + ".join(
    f"CASE WHEN {name} IN ({', '.join(map(repr, _UNCHANGED))}) THEN {nanos} ELSE 0 END"
    for name, _, nanos in CAUSE_COLUMNS
)
UNKEYED: Final = f"""
    SELECT client, model, CAST(COUNT(prompt_cache_could) AS BIGINT),
        CAST(COALESCE(SUM(prompt_cache_unkeyed), 0) AS BIGINT),
        CAST(COALESCE(SUM(CASE WHEN prompt_cache_unkeyed = 1 THEN {_UNCHANGED_NANOS} ELSE 0 END), 0) AS BIGINT)
    FROM {{ledger}} WHERE {PERIOD} AND level IS NULL AND model IS NOT NULL
    GROUP BY client, model HAVING SUM(prompt_cache_unkeyed) > 0
"""
"""The statement that selects, by client and model, all verdicts, those without a cache key that the provider advises,
and the loss of these from causes that a key may avoid."""


def run_sums_statement(by: Dimension, delivered_only: bool) -> str:
    """Return the statement that selects the sums of each run in a period."""
    column, delivered = DIMENSION_COLUMNS[by], " AND delivered = 1" if delivered_only else ""
    return (
        f"SELECT {column}, run, {EXCHANGE_SUMS}, {AMOUNT_SUMS}, {GRADES_OF_SUM}, MIN(began), MAX({LAST}) "
        f"FROM {{ledger}} WHERE {PERIOD} AND run IS NOT NULL AND target IS NOT NULL{delivered} GROUP BY {column}, run"
    )
