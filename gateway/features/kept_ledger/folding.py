"""Statements that bound the kept ledger: they delete old lines, and replace those beyond its size by sums.

Each public function does one step in the transaction of ``session``, and returns the number of rows that it has
removed, 0 when nothing is left to do.

Lines become sums over quarters of an hour with their run, these become sums over days without it. Until a line is too
old to keep, its tokens and costs remain in a sum."""

import os
from datetime import datetime, timedelta, tzinfo
from typing import Final

from gateway.features.kept_ledger.columns import (
    AMOUNTS,
    ATTEMPT_FAILURES,
    ATTEMPTS,
    CAUSE_AMOUNTS,
    COUNTS,
    DAY,
    DAY_SUM,
    DELETE_IDS,
    EXCHANGES,
    FAILURES,
    GROUP_BY,
    LAST,
    OTHER_NAME,
    PROMPT_CACHE_AMOUNTS,
    QUARTER,
    QUARTER_SUM,
)
from gateway.stores.database import Session
from gateway.viewing.periods import microseconds, midnight

DELETED_PER_STEP: Final = 10_000
"""The most rows deleted in a transaction, because other writers wait for it."""

FOLDED_PER_STEP: Final = 2_500
"""The most rows replaced by sums in a transaction, which is slower than deletion."""

KEEP_RUNS: Final = 7 * DAY
"""Microseconds after which sums lose their runs."""

LINES_PER_SUM: Final = 4
"""For every so many lines, one sum with a run may be kept."""

MIN_SUMS: Final = 10_000
"""The number of sums with runs that are kept in any case."""

MOST_NAMES: Final = 1_000
"""The most different targets, models and projects of a day in its sums, those with the most requests."""

_ADDED_UP: Final = (*AMOUNTS, *PROMPT_CACHE_AMOUNTS, *CAUSE_AMOUNTS)
_GREATEST: Final = ("grade", "estimated", "prompt_cache_grade")
_COLUMNS: Final = (
    "began", "line", "attempt", "request", "status", "ended", *GROUP_BY, *_ADDED_UP, *_GREATEST, "last", "level",
    *COUNTS,
)  # fmt: skip


def delete_old(session: Session, before: int) -> int:
    """Delete some of the rows that ended before ``before``."""
    old = f"began < :before AND {LAST} < :before"
    oldest = f"SELECT began FROM {{ledger}} WHERE {old} ORDER BY began LIMIT :some"
    ((count, last),) = session.rows(
        f"SELECT COUNT(*), MAX(began) FROM ({oldest}) AS gone", before=before, some=DELETED_PER_STEP
    )
    if count:
        session.rows(f"DELETE FROM {{ledger}} WHERE began <= :last AND {old}", last=last, before=before)
        session.rows(DELETE_IDS, last=last)
    return int(count)


def fold_lines(session: Session, most: int) -> int:
    """Replace some of the oldest lines by sums over quarters of an hour if there are more than ``most``."""
    until = _newest_row_to_fold(session, "level IS NULL", most)
    if until is None:
        return 0
    session.lock("ledger")
    count, first, last = _select_oldest(session, "level IS NULL", until)
    if count:
        rows = f"began >= :since AND began <= :last AND (level IS NULL OR level = {QUARTER_SUM})"
        values = {"since": first - first % QUARTER, "last": last}
        _replace(session, QUARTER_SUM, rows, {"bucket": f"began / {QUARTER}"}, **values)
        session.rows(DELETE_IDS, last=last)
    return count


def fold_quarters(session: Session, before: int, most: int, zone: tzinfo) -> int:
    """Replace some sums over quarters of an hour by sums over days of ``zone``.

    These are sums from before ``before``, and the oldest of too many for a table with ``most`` lines."""
    condition = f"level = {QUARTER_SUM}"
    beyond = _newest_row_to_fold(session, condition, max(most // LINES_PER_SUM, MIN_SUMS))
    until = max(before - 1, beyond or 0)
    if not _select_oldest(session, condition, until)[0]:
        return 0
    session.lock("ledger")
    count, first, last = _select_oldest(session, condition, until)
    if count:
        since, end = day_bounds(first, zone)
        billed = (
            "SELECT {0} FROM {{ledger}} WHERE began >= :since AND began < :end AND grade IS NOT NULL "
            f"AND {{0}} IS NOT NULL GROUP BY {{0}} ORDER BY SUM({EXCHANGES}) DESC, {{0}} LIMIT {MOST_NAMES}"
        )
        # Otherwise each request for a nonexistent name, or with a project of its own, would make a row.
        expressions = {
            name: f"CASE WHEN {name} IS NULL OR {name} IN ({billed.format(name)}) THEN {name} ELSE '{OTHER_NAME}' END"
            for name in ("target", "model", "project")
        }
        rows = f"began >= :since AND began <= :last AND level IN ({QUARTER_SUM}, {DAY_SUM})"
        values = {"since": since, "end": end, "last": min(last, end - 1)}
        _replace(session, DAY_SUM, rows, {**expressions, "run": "CAST(NULL AS text)", "bucket": "0"}, **values)
    return count


def _replace(
    session: Session,
    level: int,
    rows: str,
    expressions: dict[str, str],
    *,
    since: int,
    last: int,
    **more: int,
) -> None:
    """Replace ``rows`` by their sums; ``expressions`` has expressions that replace columns, and the one for
    ``bucket``."""
    inner = ", ".join(
        f"{expressions[name]} AS {name}" if name in expressions else name
        for name in (
            "began",
            "last",
            "attempt",
            "ended",
            "reason",
            *COUNTS,
            *GROUP_BY,
            *_ADDED_UP,
            *_GREATEST,
        )
    )
    fields = ", ".join((
        "MIN(began)", ":number + ROW_NUMBER() OVER (ORDER BY MIN(began))", "0", "''", "0", "'sum'", *GROUP_BY,
        *(f"CAST(SUM({name}) AS BIGINT)" for name in _ADDED_UP), *(f"MAX({name})" for name in _GREATEST),
        f"MAX({LAST})", str(level),
        *(f"CAST(SUM({name}) AS BIGINT)" for name in (EXCHANGES, FAILURES, ATTEMPTS, ATTEMPT_FAILURES)),
    ))  # fmt: skip
    # The second statement does not delete the new rows: their interval differs.
    number = int.from_bytes(os.urandom(4)) >> 1 << 32
    session.rows(f"INSERT INTO {{ledger}} ({', '.join(_COLUMNS)}) SELECT {fields} FROM ("
        f"SELECT {inner}, {expressions['bucket']} AS bucket FROM {{ledger}} WHERE {rows}"
        f") AS folded GROUP BY {', '.join(GROUP_BY)}, bucket",
        since=since, last=last, number=number, **more,
    )  # fmt: skip
    session.rows(f"DELETE FROM {{ledger}} WHERE {rows} AND (line <= :number OR line > :end_of_new)",
        since=since, last=last, number=number, end_of_new=number + (1 << 32) - 1,
    )  # fmt: skip


def _newest_row_to_fold(session: Session, condition: str, most: int) -> int | None:
    """Return the time of the newest row to fold, ``None`` if at most ``most`` rows meet ``condition``."""
    found = session.rows(
        f"SELECT began FROM {{ledger}} WHERE {condition} ORDER BY began DESC LIMIT 1 OFFSET :most",
        most=most,
    )
    return found[0][0] if found else None


def _select_oldest(session: Session, condition: str, until: int) -> tuple[int, int, int]:
    """Return the number of rows to fold in one step, and the times of the first and the last."""
    oldest = f"SELECT began FROM {{ledger}} WHERE {condition} AND began <= :until ORDER BY began LIMIT :some"
    (found,) = session.rows(
        f"SELECT COUNT(*), MIN(began), MAX(began) FROM ({oldest}) AS oldest",
        until=until,
        some=FOLDED_PER_STEP,
    )
    return found[0], found[1], found[2]


def day_bounds(at: int, zone: tzinfo) -> tuple[int, int]:
    """Return the start of the day in ``zone`` that contains ``at``, and of the next day, in microseconds."""
    day = datetime.fromtimestamp(at / 1e6, zone).date()
    return microseconds(midnight(day, zone)), microseconds(midnight(day + timedelta(days=1), zone))
