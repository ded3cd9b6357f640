"""The kept ledger in a database table, which also computes the sums for reports and budgets."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, tzinfo
from functools import partial
from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

from gateway.config.state_storage import StateStorage
from gateway.kept_ledger.columns import (
    AMOUNTS,
    ATTEMPT_FAILURES,
    ATTEMPTS,
    COLUMN_TYPES,
    EXCHANGES,
    FAILURES,
    ID_COLUMN_TYPES,
    IDS_SCRIPT,
    IDS_TABLE,
    LAST,
    LOST_COUNT,
    MARK,
    UNITS,
    empty_sum,
)
from gateway.kept_ledger.folding import KEEP_RUNS, LedgerFolding, day_bounds
from gateway.kept_ledger.line import LedgerLine, id_rows_of, rows_of
from gateway.stores.sql import Database, Session
from streams.events import Usage

Dimension: TypeAlias = Literal[
    "key", "group", "model", "target", "run", "endpoint", "request_id", "upstream_request_id", "grade"
]  # fmt: skip
"""The name of a property by which lines can be grouped into sums."""

_COLUMNS: Final[Mapping[Dimension, str]] = {
    "key": "client", "group": "client_group", "model": "model", "target": "target", "run": "run",
    "endpoint": "endpoint", "request_id": "NULLIF(request, '')", "upstream_request_id": "upstream_request_id",
    "grade": "CAST(grade AS text)",
}  # fmt: skip
DIMENSIONS: Final = tuple(name for name in _COLUMNS if name != "grade")
"""The dimensions that reports offer. The worst ``grade`` of a sum is a part of it."""

ATTEMPT_DIMENSIONS: Final[frozenset[Dimension]] = frozenset(("model", "target", "upstream_request_id"))
"""Dimensions in which attempts of one exchange may differ; with them, sums count attempts, not exchanges."""

Filters: TypeAlias = Mapping[Dimension, tuple[str | None, ...]]
"""The wanted values of some dimensions; ``None`` is the value of lines without one."""

NO_FILTERS: Final[Filters] = {}

PEOPLE_TABLE: Final = "people"
"""The table of the people who signed in last, with their labels."""

ROW_BYTES: Final = 256
"""Approximate size of a row with its index entries."""

_EXCHANGES: Final = f"CAST(COALESCE(SUM({EXCHANGES}), 0) AS BIGINT), CAST(COALESCE(SUM({FAILURES}), 0) AS BIGINT)"
_ATTEMPTS: Final = f"CAST(COALESCE(SUM({ATTEMPTS}), 0) AS BIGINT), CAST(COALESCE(SUM({ATTEMPT_FAILURES}), 0) AS BIGINT)"
_AMOUNTS: Final = ", ".join(f"CAST(COALESCE(SUM({name}), 0) AS BIGINT)" for name in AMOUNTS)

_MARK: Final = f"UPDATE {{ledger}} SET last = :last WHERE line = :line AND level = {MARK}"
_UNMARK: Final = f"DELETE FROM {{ledger}} WHERE line = :line AND level = {MARK}"

LONGEST_SUM: Final = 25 * 3600 * 10**6
"""The longest time in microseconds between the first and the last exchange of a sum."""

_NO_MARK: Final = f"(level IS NULL OR level <> {MARK})"
_PERIOD: Final = f"began >= :early AND began < :until AND {LAST} >= :since AND {LAST} < :until AND {_NO_MARK}"
"""The condition of rows in a period. A sum belongs to the time of its last exchange, so that no budget forgets it too
early."""


class TooManySums(Exception):
    """More sums than ``most``."""

    def __init__(self, most: int) -> None:
        super().__init__(f"more than {most:,} rows; choose a shorter period or fewer columns")
        self.most = most


@attrs.frozen(repr=False)
class LedgerSum:
    """A sum over lines: the number of ``requests``, and of ``failed`` ones, their usage and cost in nano-dollars.

    ``by`` has the values of the dimensions that the lines have in common. ``grade`` is the worst grade of the costs
    (an index into ``GRADES``, or ``UNPRICED``), ``None`` if nothing was billed."""

    by: tuple[str | None, ...]
    requests: int
    failed: int
    usage: Usage
    nanos: int
    grade: int | None


@attrs.frozen(repr=False)
class RunSum:
    """The usage of one run of ``holder`` in a period.

    ``first`` and ``last`` are the times at which its first and last requests in the period began."""

    holder: str | None
    name: str
    first: int
    last: int
    sum: LedgerSum


@attrs.frozen(repr=False)
class FoldedPart:
    """The part of a period's lines that sums of one ``level`` have replaced.

    ``exchanges`` counts them; ``first`` and ``last`` are the times at which the first and last of them began."""

    level: int
    exchanges: int
    first: int
    last: int


@attrs.frozen(repr=False)
class ShrinkResult:
    """The number of rows that ``shrink`` deleted because of their age, and that it replaced by sums."""

    removed: int
    folded: int


class LedgerTable:
    """The table of lines and sums in ``database``. Times are in microseconds since 1970.

    Every method may raise ``Unavailable``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = database.notation

    async def add(self, lines: Sequence[tuple[int, LedgerLine]], mask: Callable[[str], str] = str) -> None:
        """Write numbered ``lines``, all or none. Writing a line again changes nothing."""
        insert, insert_ids = self._insertion(lambda: _rows_of_lines(lines, mask)), self._id_insertion(lines, mask)

        def work(session: Session) -> None:
            insert(session)
            insert_ids(session)

        await self._database.write(work)

    def add_blocking(
        self,
        lines: Sequence[tuple[int, LedgerLine]],
        mask: Callable[[str], str] = str,
        rows: Sequence[Mapping[str, Any]] = (),
        mark: int = 0,
    ) -> None:
        """Write ``lines`` and ``rows``, and remove the ``mark``, in this thread because the process exits."""
        write = self._insertion(lambda: [*_rows_of_lines(lines, mask), *rows])
        write_ids = self._id_insertion(lines, mask)

        def work(session: Session) -> None:
            write(session)
            write_ids(session)
            session.rows(self._sql.render(_UNMARK), line=mark)

        self._database.write_blocking(work)

    async def add_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write ``rows``, which are sums, all or none. Writing a row again changes nothing."""
        await self._database.write(self._insertion(lambda: rows))

    def _insertion(self, rows: Callable[[], Sequence[Mapping[str, Any]]]) -> Callable[[Session], None]:
        rows_of = self._sql.json_rows(COLUMN_TYPES)
        statement = self._sql.render(
            f"INSERT INTO {{ledger}} ({', '.join(COLUMN_TYPES)}) {rows_of} ON CONFLICT DO NOTHING"
        )

        def work(session: Session) -> None:
            session.rows(statement, rows=msgspec.json.encode(rows()).decode())

        return work

    def _id_insertion(
        self, lines: Sequence[tuple[int, LedgerLine]], mask: Callable[[str], str]
    ) -> Callable[[Session], None]:
        """Return the insertion of the providers' request ids of ``lines``."""
        rows_of = self._sql.json_rows(ID_COLUMN_TYPES)
        statement = f"INSERT INTO {{ledger_ids}} ({', '.join(ID_COLUMN_TYPES)}) {rows_of} ON CONFLICT DO NOTHING"

        def work(session: Session) -> None:
            rows = [row for number, line in lines for row in id_rows_of(line, number, mask)]
            if not rows:
                return
            if not self._sql.has_table(session, IDS_TABLE):
                session.rows(f"{self._sql.render(IDS_SCRIPT)} {self._sql.clustered}")
            session.rows(self._sql.render(statement), rows=msgspec.json.encode(rows).decode())

        return work

    async def mark(self, number: int, began: int, last: int) -> None:
        """Set the mark ``number`` of a process: it started at ``began`` and has written all lines up to ``last``."""
        row = {**empty_sum(MARK, began, {}), "line": number, "ended": "mark", "last": last}
        insert = self._insertion(lambda: [row])

        def work(session: Session) -> None:
            insert(session)
            session.rows(self._sql.render(_MARK), line=number, last=last)

        await self._database.write(work)

    async def unmark(self, number: int) -> None:
        """Remove the mark ``number`` of a process that has written all its lines and exits."""
        await self._database.write(lambda session: session.rows(self._sql.render(_UNMARK), line=number))

    async def gap_starts(self, period: tuple[int, int], before: int) -> list[int]:
        """Return the times in ``period`` at which gaps start: a process ended there without writing its last lines.

        A mark that was last updated before ``before`` belongs to such a process."""
        statement = self._sql.render(
            f"SELECT last FROM {{ledger}} WHERE level = {MARK} AND began < :until AND last >= :since AND last < :until "
            "AND last < :before ORDER BY last"
        )
        since, until = period
        rows = await self._database.read(
            lambda session: session.rows(statement, since=since, until=until, before=before), limited=False
        )
        return [last for (last,) in rows]

    async def sums(
        self,
        by: Sequence[Dimension],
        periods: Sequence[tuple[int, int]],
        *,
        delivered_only: bool = False,
        only: Filters = NO_FILTERS,
        most: int | None = None,
    ) -> list[list[LedgerSum]]:
        """Return the sums, grouped by ``by``, in each of ``periods`` (start, and exclusive end).

        They include only the lines that have one of the values in ``only`` for each of its dimensions. Raises
        ``TooManySums`` for more than ``most`` in all periods."""
        wanted = _filter_values(only)

        def work(session: Session) -> list[list[LedgerSum]]:
            has_ids = "upstream_request_id" in (*by, *only) and self._sql.has_table(session, IDS_TABLE)
            statement = self._sql.render(_sums_statement(by, delivered_only, only, has_ids=has_ids, most=most))
            found: list[list[LedgerSum]] = []
            for period in periods:
                rows = session.rows(statement, **_period_values(period), **wanted)
                found.append([_read_sum(row, len(by)) for row in rows])
                if most is not None and sum(map(len, found)) > most:
                    raise TooManySums(most)
            return found

        return await self._database.read(work, limited=False)

    async def repeated_lines(self, periods: Sequence[tuple[int, int]]) -> list[list[LedgerSum]]:
        """Return the sums of the lines that repeat a request, by model and target, in each of ``periods``.

        Such lines have the provider's same request id, and the same tokens and cost. The first one does not count."""
        statement = self._sql.render(_REPEATED_LINES)

        def work(session: Session) -> list[list[LedgerSum]]:
            if not self._sql.has_table(session, IDS_TABLE):
                return [[] for _ in periods]
            found = [session.rows(statement, since=since, until=until) for since, until in periods]
            return [[_read_repeated(row) for row in rows] for rows in found]

        return await self._database.read(work, limited=False)

    async def billed_requests(self, period: tuple[int, int], most: int) -> list[tuple[Any, ...]]:
        """Return at most ``most`` billed attempts with the provider's request id in ``period``.

        Each has this id, its time, model, target, nano-dollars and grade."""
        statement = self._sql.render(_BILLED_REQUESTS)
        since, until = period

        def work(session: Session) -> list[tuple[Any, ...]]:
            if not self._sql.has_table(session, IDS_TABLE):
                return []
            return session.rows(statement, since=since, until=until, most=most)

        return await self._database.read(work, limited=False)

    async def labels(self, names: Sequence[str]) -> dict[str, str]:
        """Return the labels of the people among the clients ``names``, from their table in the same database."""
        people = self._sql.json_rows({"name": "text"})
        statement = self._sql.render(f"SELECT name, label FROM {{people}} WHERE label <> '' AND name IN ({people})")
        rows = msgspec.json.encode([{"name": name} for name in names]).decode()

        def work(session: Session) -> dict[str, str]:
            if not names or not self._sql.has_table(session, PEOPLE_TABLE):
                return {}
            return dict(session.rows(statement, rows=rows))

        return await self._database.read(work, limited=False)

    async def runs(self, by: Dimension, period: tuple[int, int], *, delivered_only: bool = False) -> list[RunSum]:
        """Return the sum of each run in ``period``, grouped by ``by``, over requests that were sent to a provider."""
        statement = self._sql.render(_run_sums_statement(by, delivered_only))

        def work(session: Session) -> list[RunSum]:
            rows = session.rows(statement, **_period_values(period))
            return [RunSum(row[0], row[1], row[-2], row[-1], _read_sum(row[:-2], 2)) for row in rows]

        return await self._database.read(work, limited=False)

    async def time_bounds(self) -> tuple[int, int] | None:
        """Return the times at which the first and the last exchange began, ``None`` without any."""
        statement = self._sql.render(
            f"SELECT (SELECT MIN(began) FROM {{ledger}} WHERE {_NO_MARK}), MAX({LAST}) FROM {{ledger}} "
            f"WHERE began >= (SELECT MAX(began) FROM {{ledger}} WHERE {_NO_MARK}) - :longest AND {_NO_MARK}"
        )
        (row,) = await self._database.read(lambda session: session.rows(statement, longest=LONGEST_SUM))
        return None if row[0] is None else (row[0], row[1])

    async def folded_parts(self, period: tuple[int, int]) -> list[FoldedPart]:
        """Return the parts of ``period`` of which only sums exist, by level."""
        statement = self._sql.render(
            f"SELECT level, {_EXCHANGES.partition(', CAST')[0]}, MIN(began), MAX({LAST}) FROM {{ledger}} "
            f"WHERE level IS NOT NULL AND level <> {MARK} AND began >= :early AND began < :until AND {LAST} >= :since "
            "GROUP BY level ORDER BY level"
        )
        rows = await self._database.read(
            lambda session: session.rows(statement, **_period_values(period)), limited=False
        )
        return [FoldedPart(*row) for row in rows]

    async def shrink(self, before: int, most: int, zone: tzinfo = UTC) -> ShrinkResult:
        """Delete rows from before ``before``, and replace the oldest of more than ``most`` lines by sums.

        After some days, sums lose their runs and cover days of ``zone``."""
        folding = LedgerFolding(self._sql)
        newest = await self.time_bounds()
        with_runs = 0 if newest is None else day_bounds(newest[1] - KEEP_RUNS, zone)[0]
        removed = await self._repeat(partial(folding.delete_old, before=before))
        folded = await self._repeat(partial(folding.fold_lines, most=most))
        await self._repeat(partial(folding.fold_quarters, before=with_runs, most=most, zone=zone))
        return ShrinkResult(removed, folded)

    async def _repeat(self, work: Callable[[Session], int]) -> int:
        """Repeat ``work`` in separate transactions until it returns 0, and return the total."""
        done = 0
        while count := await self._database.write(work, limited=False):
            done += count
        return done

    async def aclose(self) -> None:
        await self._database.aclose()


def _rows_of_lines(lines: Sequence[tuple[int, LedgerLine]], mask: Callable[[str], str]) -> list[Mapping[str, Any]]:
    return [row for number, line in lines for row in rows_of(line, number, mask)]


def _period_values(period: tuple[int, int]) -> dict[str, int]:
    """Return the parameters of ``_PERIOD``."""
    since, until = period
    return {"early": since - LONGEST_SUM, "since": since, "until": until}


def _filter_conditions(only: Filters) -> list[str]:
    """Return the conditions of ``only``, whose parameters ``_filter_values`` returns."""
    conditions = []
    for name, values in only.items():
        column = _COLUMNS[name]
        some = ", ".join(f":{name}{place}" for place, value in enumerate(values) if value is not None)
        alternatives = [
            *([f"{column} IN ({some})"] if some else []),
            *([f"{column} IS NULL"] if None in values else []),
        ]
        conditions.append(f"({' OR '.join(alternatives) or '1 = 0'})")
    return conditions


def _filter_values(only: Filters) -> dict[str, str]:
    return {
        f"{name}{place}": value
        for name, values in only.items()
        for place, value in enumerate(values)
        if value is not None
    }


_WITH_IDS: Final = "{ledger} LEFT JOIN {ledger_ids} USING (began, line, attempt)"
_WITHOUT_IDS: Final = "(SELECT *, CAST(NULL AS text) AS upstream_request_id FROM {ledger}) AS lines"


def _sums_statement(
    by: Sequence[Dimension], delivered_only: bool, only: Filters, *, has_ids: bool = False, most: int | None = None
) -> str:
    columns = [_COLUMNS[name] for name in by]
    attempts = bool(ATTEMPT_DIMENSIONS.intersection((*by, *only)))
    conditions = [
        _PERIOD,
        *_filter_conditions(only),
        *([f"(target IS NOT NULL OR level = {LOST_COUNT})"] if attempts else []),
        *(["delivered = 1"] if delivered_only else []),
    ]
    fields = ", ".join((*columns, _ATTEMPTS if attempts else _EXCHANGES, _AMOUNTS, "MAX(grade)"))
    grouped = f" GROUP BY {', '.join(columns)}" if columns else ""
    source = "{ledger}"
    if "upstream_request_id" in (*by, *only):
        source = _WITH_IDS if has_ids else _WITHOUT_IDS
    limit = "" if most is None else f" LIMIT {most + 1}"
    return f"SELECT {fields} FROM {source} WHERE {' AND '.join(conditions)}{grouped}{limit}"


def _run_sums_statement(by: Dimension, delivered_only: bool) -> str:
    column, delivered = _COLUMNS[by], " AND delivered = 1" if delivered_only else ""
    return (
        f"SELECT {column}, run, {_EXCHANGES}, {_AMOUNTS}, MAX(grade), MIN(began), MAX({LAST}) FROM {{ledger}} "
        f"WHERE {_PERIOD} AND run IS NOT NULL AND target IS NOT NULL{delivered} GROUP BY {column}, run"
    )


_SAME: Final = "upstream_request_id, model, target, input, cache_read, cache_write, output, nanos"
_BILLED_REQUESTS: Final = """
    SELECT upstream_request_id, began, model, target, nanos, grade FROM {ledger}
    JOIN {ledger_ids} USING (began, line, attempt)
    WHERE began >= :since AND began < :until AND grade IS NOT NULL AND model IS NOT NULL ORDER BY began LIMIT :most
"""
_REPEATED: Final = ", ".join(
    f"CAST(SUM({name} * (copies - 1)) AS BIGINT)" for name in ("input", "cache_read", "cache_write", "output", "nanos")
)
_REPEATED_LINES: Final = f"""
    SELECT model, target, CAST(SUM(copies - 1) AS BIGINT), {_REPEATED} FROM (
        SELECT {_SAME}, COUNT(*) AS copies FROM {_WITH_IDS}
        WHERE began >= :since AND began < :until AND nanos > 0 AND upstream_request_id IS NOT NULL GROUP BY {_SAME}
    ) AS equal WHERE copies > 1 AND model IS NOT NULL GROUP BY model, target
"""


def _read_repeated(row: tuple[Any, ...]) -> LedgerSum:
    model, target, requests, input, cache_read, cache_write, output, nanos = row
    usage = Usage(input=input, cache_read=cache_read, cache_write=cache_write, output=output)
    return LedgerSum((model, target), requests, 0, usage, nanos, None)


def _read_sum(row: tuple[Any, ...], width: int) -> LedgerSum:
    requests, failed, input, cache_read, cache_write, output, nanos, *amounts, grade = row[width:]
    units = tuple((unit, number) for unit, number in zip(UNITS, amounts, strict=True) if number)
    usage = Usage(input=input, cache_read=cache_read, cache_write=cache_write, output=output, units=units)
    return LedgerSum(row[:width], requests, failed, usage, nanos, grade)


def total(sums: Sequence[LedgerSum]) -> LedgerSum:
    """Return the total of ``sums``."""

    def of(kind: str) -> int:
        return sum([getattr(one.usage, kind) for one in sums])

    counted = {unit: sum([dict(one.usage.units).get(unit, 0) for one in sums]) for unit in UNITS}
    units = tuple((unit, number) for unit, number in counted.items() if number)
    usage = Usage(of("input"), of("cache_read"), of("cache_write"), output=of("output"), units=units)
    grades = [one.grade for one in sums if one.grade is not None]
    requests, failed = sum([one.requests for one in sums]), sum([one.failed for one in sums])
    return LedgerSum((), requests, failed, usage, sum([one.nanos for one in sums]), max(grades, default=None))


def sorted_by_cost(sums: Sequence[LedgerSum]) -> Iterator[LedgerSum]:
    """Yield ``sums`` in the order of descending cost."""
    yield from sorted(sums, key=lambda one: (-one.nanos, -one.requests, tuple(word or "" for word in one.by)))


CONNECTIONS: Final = 2
"""Connections to PostgreSQL: one for writing, one for sums."""


def open_table(storage: StateStorage | None, limit: float = 5.0) -> LedgerTable | None:
    """Return the ledger's table in the state storage's database, ``None`` without a database or if nothing is kept.

    It connects on first use; ``limit`` is the server's time limit in seconds. Raises ``ImportError`` for a missing
    driver."""
    if storage is None or not storage.ledger.keep:
        return None
    match storage.type:
        case "sqlite":
            from gateway.stores.sqlite import SqliteDatabase

            assert storage.path is not None
            return LedgerTable(SqliteDatabase(storage.path))
        case "postgres":
            from gateway.stores.postgres import PostgresDatabase

            assert storage.connection_string is not None
            return LedgerTable(PostgresDatabase(storage.connection_string, CONNECTIONS, limit))
        case "memory" | "none":
            return None
