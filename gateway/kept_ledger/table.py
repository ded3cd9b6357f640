"""The kept ledger in a database: one table that only grows at one end and is cut at the other. Sums are made there, in
whole numbers: a month's lines never pass through this process."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

from gateway.kept_ledger.line import UNIT_COLUMNS, LedgerLine, rows_of
from gateway.stores.sql import Database, Session
from streams.events import Usage

Dimension: TypeAlias = Literal["key", "group", "model", "target", "run", "endpoint"]
"""What lines can be added up by."""

_COLUMNS: Final[Mapping[Dimension, str]] = {
    "key": "client", "group": "client_group", "model": "model", "target": "target", "run": "run",
    "endpoint": "endpoint",
}  # fmt: skip
OF_ATTEMPTS: Final[frozenset[Dimension]] = frozenset(("model", "target"))
"""Those in which the attempts of one exchange may differ: with these, attempts are counted in place of exchanges."""

BYTES: Final = 256
"""Bytes of a row, about, with its share of the index."""

AT_ONCE: Final = 10_000
"""Rows that one transaction removes: others wait for it."""

_EXCHANGES: Final = """
    COALESCE(SUM(CASE WHEN attempt = 0 THEN 1 ELSE 0 END), 0),
    COALESCE(SUM(CASE WHEN attempt = 0 AND ended NOT IN ('complete', 'client_disconnected') THEN 1 ELSE 0 END), 0)
"""
_ATTEMPTS: Final = """
    COUNT(*), COALESCE(SUM(CASE WHEN reason IN ('ok', 'hedge_lost', 'client_left') THEN 0 ELSE 1 END), 0)
"""
_UNITS: Final = {unit: column for unit, column in UNIT_COLUMNS.items() if unit != "query"}
"""The units of sums, by their columns."""

_AMOUNTS: Final = ", ".join(
    f"CAST(COALESCE(SUM({name}), 0) AS BIGINT)"
    for name in ("input", "cache_read", "cache_write", "output", "nanos", *_UNITS.values())
)
_FIELDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("began", "line"), "bigint"),
    "attempt": "integer",
    **dict.fromkeys(
        ("request", "client", "client_group", "run", "asked", "route", "target", "model", "reason", "ended"), "text"
    ),
    **dict.fromkeys(("input", "cache_read", "cache_write", "output", "nanos"), "bigint"),
    **dict.fromkeys(("grade", "estimated", "delivered", "status"), "integer"),
    "endpoint": "text",
    **dict.fromkeys(_UNITS.values(), "bigint"),
}
"""The columns with their types."""

_PERIOD: Final = "began >= :since AND began < :until"
_MARK: Final = re.compile(r":(\w+)")


@attrs.frozen
class LedgerSum:
    """A sum over lines: ``requests``, how many of them ``failed``, their tokens and nano-dollars. ``by`` are the values
    that they have in common, of the dimensions that were asked for; ``grade`` is the worst of their costs' (a place in
    ``GRADES``, or ``UNPRICED``), ``None`` where nothing was billed."""

    by: tuple[str | None, ...]
    requests: int
    failed: int
    usage: Usage
    nanos: int
    grade: int | None


@attrs.frozen
class RunSum:
    """What a run of ``holder`` has used in a time; ``first`` and ``last`` are when the first and the last of its
    requests in it began."""

    holder: str | None
    name: str
    first: int
    last: int
    sum: LedgerSum


@attrs.frozen
class SqlNotation:
    """How one database writes what all of them have: the table's name, a parameter's place, and the rows of a list of
    objects in JSON, which is one parameter for any number of lines."""

    table: str
    parameter: str
    rows: str

    def written(self, statement: str) -> str:
        """``statement`` with parameters as ``:name``, the table as ``{ledger}`` and ``:rows`` as ``{rows}``."""
        return _MARK.sub(self.parameter, statement.format(ledger=self.table, rows=self.rows))


SQLITE: Final = SqlNotation(
    "ledger", r":\1",
    "SELECT " + ", ".join(f"json_extract(value, '$.{name}')" for name in _FIELDS) + " FROM json_each(:rows) WHERE true",
)  # fmt: skip
POSTGRES: Final = SqlNotation(
    "trigate_ledger", r"%(\1)s",
    f"SELECT {', '.join(_FIELDS)} FROM json_to_recordset(CAST(:rows AS json)) "
    f"AS rows ({', '.join(f'{name} {kind}' for name, kind in _FIELDS.items())})",
)  # fmt: skip


class LedgerTable:
    """The lines in ``database``. Times are in microseconds since 1970. Every method may raise ``Unavailable``."""

    def __init__(self, database: Database, notation: SqlNotation) -> None:
        self._database = database
        self._sql = notation

    async def add(self, lines: Sequence[tuple[int, LedgerLine]], masked: Callable[[str], str] = str) -> None:
        """Write ``lines``, each with its number, all or none. One that is there already stays as it is: what may have
        been written can be written again."""
        await self._database.write(self._adding(lines, masked))

    def add_here(self, lines: Sequence[tuple[int, LedgerLine]], masked: Callable[[str], str] = str) -> None:
        """The same at once, in this thread: the process is about to exit."""
        self._database.write_here(self._adding(lines, masked))

    def _adding(
        self, lines: Sequence[tuple[int, LedgerLine]], masked: Callable[[str], str]
    ) -> Callable[[Session], None]:
        statement = self._sql.written(f"INSERT INTO {{ledger}} ({', '.join(_FIELDS)}) {{rows}} ON CONFLICT DO NOTHING")

        def work(session: Session) -> None:
            rows = [row for number, line in lines for row in rows_of(line, number, masked)]
            session.rows(statement, rows=msgspec.json.encode(rows).decode())

        return work

    async def sums(
        self, by: Sequence[Dimension], periods: Sequence[tuple[int, int]], *, delivered_only: bool = False
    ) -> list[list[LedgerSum]]:
        """The sums by ``by`` of each of ``periods`` (from the first moment on, to before the second one)."""
        statement = self._sql.written(_sums(by, delivered_only))

        def work(session: Session) -> list[list[LedgerSum]]:
            return [
                [_sum(row, len(by)) for row in session.rows(statement, since=since, until=until)]
                for since, until in periods
            ]

        return await self._database.read(work, limited=False)

    async def runs(self, by: Dimension, period: tuple[int, int], *, delivered_only: bool = False) -> list[RunSum]:
        """The sums of each run in ``period``, of requests that were sent to somebody, by what ``by`` says, too."""
        statement = self._sql.written(_run_sums(by, delivered_only))
        since, until = period

        def work(session: Session) -> list[RunSum]:
            rows = session.rows(statement, since=since, until=until)
            return [RunSum(row[0], row[1], row[-2], row[-1], _sum(row[:-2], 2)) for row in rows]

        return await self._database.read(work, limited=False)

    async def bounds(self) -> tuple[int, int] | None:
        """When the first line and the last one began; ``None`` where there is none."""
        statement = self._sql.written("SELECT MIN(began), MAX(began) FROM {ledger}")
        (row,) = await self._database.read(lambda session: session.rows(statement))
        return None if row[0] is None else (row[0], row[1])

    async def cut(self, before: int, most: int) -> int:
        """Remove lines that began ``before`` that, and the oldest of more than ``most``. Returns how many rows went."""
        gone = 0
        while count := await self._database.write(lambda session: self._cut(session, before, most), limited=False):
            gone += count
        return gone

    async def aclose(self) -> None:
        await self._database.aclose()

    def _cut(self, session: Session, before: int, most: int) -> int:
        """Remove some of what has to go, all that began at one moment together."""

        def run(statement: str, **values: Any) -> list[tuple[Any, ...]]:
            return session.rows(self._sql.written(statement), **values)

        beyond = run("SELECT began FROM {ledger} ORDER BY began DESC LIMIT 1 OFFSET :most", most=most)
        before = max(before, *(began + 1 for (began,) in beyond), before)
        oldest = "SELECT began FROM {ledger} WHERE began < :before ORDER BY began LIMIT :some"
        ((count, last),) = run(f"SELECT COUNT(*), MAX(began) FROM ({oldest}) AS gone", before=before, some=AT_ONCE)
        if count:
            run("DELETE FROM {ledger} WHERE began <= :last", last=last)
        return int(count)


def _sums(by: Sequence[Dimension], delivered_only: bool) -> str:
    columns = [_COLUMNS[name] for name in by]
    attempts = bool(OF_ATTEMPTS.intersection(by))
    conditions = [
        _PERIOD,
        *(["target IS NOT NULL"] if attempts else []),
        *(["delivered = 1"] if delivered_only else []),
    ]
    fields = ", ".join((*columns, _ATTEMPTS if attempts else _EXCHANGES, _AMOUNTS, "MAX(grade)"))
    grouped = f" GROUP BY {', '.join(columns)}" if columns else ""
    return f"SELECT {fields} FROM {{ledger}} WHERE {' AND '.join(conditions)}{grouped}"


def _run_sums(by: Dimension, delivered_only: bool) -> str:
    column, delivered = _COLUMNS[by], " AND delivered = 1" if delivered_only else ""
    return (
        f"SELECT {column}, run, {_EXCHANGES}, {_AMOUNTS}, MAX(grade), MIN(began), MAX(began) FROM {{ledger}} "
        f"WHERE {_PERIOD} AND run IS NOT NULL AND target IS NOT NULL{delivered} GROUP BY {column}, run"
    )


def _sum(row: tuple[Any, ...], width: int) -> LedgerSum:
    requests, failed, input, cache_read, cache_write, output, nanos, *amounts, grade = row[width:]
    units = tuple((unit, number) for unit, number in zip(_UNITS, amounts, strict=True) if number)
    usage = Usage(input=input, cache_read=cache_read, cache_write=cache_write, output=output, units=units)
    return LedgerSum(row[:width], requests, failed, usage, nanos, grade)


def total(sums: Sequence[LedgerSum]) -> LedgerSum:
    """All of ``sums`` in one."""

    def of(kind: str) -> int:
        return sum([getattr(one.usage, kind) for one in sums])

    counted = {unit: sum([dict(one.usage.units).get(unit, 0) for one in sums]) for unit in _UNITS}
    units = tuple((unit, number) for unit, number in counted.items() if number)
    usage = Usage(of("input"), of("cache_read"), of("cache_write"), output=of("output"), units=units)
    grades = [one.grade for one in sums if one.grade is not None]
    requests, failed = sum([one.requests for one in sums]), sum([one.failed for one in sums])
    return LedgerSum((), requests, failed, usage, sum([one.nanos for one in sums]), max(grades, default=None))


def in_order(sums: Sequence[LedgerSum]) -> Iterator[LedgerSum]:
    """``sums``, the dearest first."""
    yield from sorted(sums, key=lambda one: (-one.nanos, -one.requests, tuple(word or "" for word in one.by)))
