"""Removal of lines from the kept ledger: old ones are deleted, those beyond its size are replaced by sums.

Lines become sums over quarters of an hour with their run, these become sums over days without it. Until a line is too
old to keep, its tokens and costs remain in a sum."""

import os
from datetime import datetime, time, timedelta, tzinfo
from typing import Any, Final

from gateway.kept_ledger.columns import (
    AMOUNTS,
    ATTEMPT_FAILURES,
    ATTEMPTS,
    COUNTS,
    DAY,
    DAY_SUM,
    EXCHANGES,
    FAILURES,
    LAST,
    NAMES,
    OTHER,
    QUARTER,
    QUARTER_SUM,
)
from gateway.stores.sql import Session, SqlNotation

AT_ONCE: Final = 10_000
"""Rows deleted per transaction, few because other writers wait for it."""

FOLDED_AT_ONCE: Final = 2_500
"""Rows replaced by sums per transaction, which is slower than deletion."""

WITH_RUNS: Final = 7 * DAY
"""Microseconds for which sums keep their runs."""

SHARE_OF_SUMS: Final = 4
"""Sums with runs may be a quarter as many as lines."""

LEAST_SUMS: Final = 10_000
"""Sums with runs that are always kept."""

_COLUMNS: Final = (
    "began", "line", "attempt", "request", "status", "ended", *NAMES, *AMOUNTS, "grade", "estimated", "last", "level",
    *COUNTS,
)  # fmt: skip


class LedgerFolding:
    """The statements that shorten the table.

    Each method does part of its work in the transaction of ``session`` and returns the number of rows, 0 when
    finished."""

    def __init__(self, notation: SqlNotation) -> None:
        self._sql = notation

    def delete_old(self, session: Session, before: int) -> int:
        """Delete some of the rows that ended before ``before``."""
        old = f"began < :before AND {LAST} < :before"
        oldest = f"SELECT began FROM {{ledger}} WHERE {old} ORDER BY began LIMIT :some"
        ((count, last),) = self._rows(
            session, f"SELECT COUNT(*), MAX(began) FROM ({oldest}) AS gone", before=before, some=AT_ONCE
        )
        if count:
            self._rows(session, f"DELETE FROM {{ledger}} WHERE began <= :last AND {old}", last=last, before=before)
        return int(count)

    def fold_lines(self, session: Session, most: int) -> int:
        """Replace some of the oldest lines by sums over quarters of an hour if there are more than ``most``."""
        until = self._newest_beyond(session, "level IS NULL", most)
        if until is None:
            return 0
        session.rows(self._sql.lock_statement("ledger"))
        count, first, last = self._oldest(session, "level IS NULL", until)
        if count:
            rows = f"began >= :since AND began <= :last AND (level IS NULL OR level = {QUARTER_SUM})"
            values = {"since": first - first % QUARTER, "last": last}
            self._replace(session, QUARTER_SUM, rows, {"bucket": f"began / {QUARTER}"}, **values)
        return count

    def fold_quarters(self, session: Session, before: int, most: int, zone: tzinfo) -> int:
        """Replace some sums over quarters by sums over days of ``zone``: old ones, and those too many for ``most``
        lines."""
        condition = f"level = {QUARTER_SUM}"
        beyond = self._newest_beyond(session, condition, max(most // SHARE_OF_SUMS, LEAST_SUMS))
        until = max(before - 1, beyond or 0)
        if not self._oldest(session, condition, until)[0]:
            return 0
        session.rows(self._sql.lock_statement("ledger"))
        count, first, last = self._oldest(session, condition, until)
        if count:
            since, end = day_around(first, zone)
            billed = "SELECT {0} FROM {{ledger}} WHERE began >= :since AND began < :end AND grade IS NOT NULL"
            changed = {
                name: f"CASE WHEN {name} IS NULL OR {name} IN ({billed.format(name)}) THEN {name} ELSE '{OTHER}' END"
                for name in ("target", "model")
            }  # otherwise requests for nonexistent names would make a row each
            rows = f"began >= :since AND began <= :last AND level IN ({QUARTER_SUM}, {DAY_SUM})"
            values = {"since": since, "end": end, "last": min(last, end - 1)}
            self._replace(session, DAY_SUM, rows, {**changed, "run": "CAST(NULL AS text)", "bucket": "0"}, **values)
        return count

    def _replace(
        self, session: Session, level: int, rows: str, changed: dict[str, str], *, since: int, last: int, **more: int
    ) -> None:
        """Replace ``rows`` by their sums; ``changed`` has expressions that replace columns, and the one for
        ``bucket``."""
        inner = ", ".join(
            f"{changed[name]} AS {name}" if name in changed else name
            for name in ("began", "last", "attempt", "ended", "reason", "grade", "estimated", *COUNTS, *NAMES, *AMOUNTS)
        )
        fields = ", ".join((
            "MIN(began)", ":number + ROW_NUMBER() OVER (ORDER BY MIN(began))", "0", "''", "0", "'sum'", *NAMES,
            *(f"CAST(SUM({name}) AS BIGINT)" for name in AMOUNTS), "MAX(grade)", "MAX(estimated)", f"MAX({LAST})",
            str(level),
            *(f"CAST(SUM({name}) AS BIGINT)" for name in (EXCHANGES, FAILURES, ATTEMPTS, ATTEMPT_FAILURES)),
        ))  # fmt: skip
        # The second statement does not delete the new rows: their interval differs.
        number = int.from_bytes(os.urandom(4)) >> 1 << 32
        self._rows(
            session,
            f"INSERT INTO {{ledger}} ({', '.join(_COLUMNS)}) SELECT {fields} FROM ("
            f"SELECT {inner}, {changed['bucket']} AS bucket FROM {{ledger}} WHERE {rows}"
            f") AS folded GROUP BY {', '.join(NAMES)}, bucket",
            since=since, last=last, number=number, **more,
        )  # fmt: skip
        self._rows(
            session,
            f"DELETE FROM {{ledger}} WHERE {rows} AND (line <= :number OR line > :end_of_new)",
            since=since, last=last, number=number, end_of_new=number + (1 << 32) - 1,
        )  # fmt: skip

    def _newest_beyond(self, session: Session, condition: str, most: int) -> int | None:
        """Return the time of the newest row that meets ``condition``, apart from the newest ``most``."""
        found = self._rows(
            session,
            f"SELECT began FROM {{ledger}} WHERE {condition} ORDER BY began DESC LIMIT 1 OFFSET :most",
            most=most,
        )
        return found[0][0] if found else None

    def _oldest(self, session: Session, condition: str, until: int) -> tuple[int, int, int]:
        """Return how many rows to fold now, and the times of the first and the last."""
        oldest = f"SELECT began FROM {{ledger}} WHERE {condition} AND began <= :until ORDER BY began LIMIT :some"
        (found,) = self._rows(
            session,
            f"SELECT COUNT(*), MIN(began), MAX(began) FROM ({oldest}) AS oldest",
            until=until,
            some=FOLDED_AT_ONCE,
        )
        return found[0], found[1], found[2]

    def _rows(self, session: Session, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        return session.rows(self._sql.render(statement), **values)


def day_around(at: int, zone: tzinfo) -> tuple[int, int]:
    """Return the start of the day of ``zone`` that contains ``at``, and of the next day, in microseconds."""
    day = datetime.fromtimestamp(at / 1e6, zone).date()
    since, until = (datetime.combine(one, time(), zone) for one in (day, day + timedelta(days=1)))
    return round(since.timestamp() * 1e6), round(until.timestamp() * 1e6)
