"""The kept ledger in a database table, which also computes the sums for reports and budgets."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, tzinfo
from functools import partial
from typing import Any, Final

import attrs

from gateway.features.kept_ledger.columns import (
    COLUMN_TYPES,
    GAP,
    ID_COLUMN_TYPES,
    LAST,
    LEDGER_TABLES,
    MARK,
    UNITS,
    empty_sum,
)
from gateway.features.kept_ledger.folding import KEEP_RUNS, day_bounds, delete_old, fold_lines, fold_quarters
from gateway.features.kept_ledger.line import LedgerLine, id_rows_of, rows_of
from gateway.features.kept_ledger.statements import (
    EXCHANGE_SUMS,
    EXPIRIES,
    LONGEST_SUM,
    NO_FILTERS,
    NO_MARK,
    UNKEYED,
    Dimension,
    Filters,
    causes_statement,
    filter_values,
    period_values,
    run_sums_statement,
    sums_statement,
)
from gateway.stores.database import Database, Session
from streams.events import Usage

PEOPLE_TABLE: Final = "people"
"""The table of the people who signed in last, with their labels."""

LINES_OF_PROCESS: Final = 1 << 32
"""The numbers of lines and sums that each process has; the first is random."""

ROW_BYTES: Final = 256
"""Approximate size of a row with its index entries."""

SUM_SECONDS: Final = 30.0
"""The time for the sums of a report or of one kind of holder; a server adds up millions of lines more slowly than it
may answer."""

_MARK: Final = f"UPDATE {{ledger}} SET last = :last WHERE line = :line AND level = {MARK}"
_UNMARK: Final = f"DELETE FROM {{ledger}} WHERE line = :line AND level = {MARK}"
_CLOSE: Final = f"DELETE FROM {{ledger}} WHERE last = :last AND level = {MARK}"


class TooManySums(Exception):
    """More sums than ``most``."""

    def __init__(self, most: int) -> None:
        super().__init__(f"more than {most:,} rows; choose a shorter period or fewer columns")
        self.most = most


@attrs.frozen(repr=False)
class PromptCacheSum:
    """A sum over verdicts about providers' prompt caches, in tokens, and their loss in nano-dollars.

    ``grade`` is the worst grade of the losses, ``None`` without a loss. ``unread`` are the nano-dollars for written
    entries, less those for entries that a response read for the first time."""

    could: int = 0
    read: int = 0
    missed: int = 0
    nanos: int = 0
    grade: int | None = None
    unread: int = 0

    @property
    def unread_nanos(self) -> int:
        """The price of entries that were never read. Readings of entries from before the period do not reduce it below
        0."""
        return max(self.unread, 0)


NO_VERDICTS: Final = PromptCacheSum()


@attrs.frozen(repr=False)
class CauseSum:
    """The missed tokens and the loss of one cause; ``by`` has the values of the dimensions."""

    by: tuple[str | None, ...]
    cause: str
    tokens: int
    nanos: int
    grade: int | None


@attrs.frozen(repr=False)
class ExpirySum:
    """The entries of the prompt cache that expired for ``client`` at ``model``.

    ``written`` are all tokens that it wrote there. ``soon`` of the ``expired`` entries were used again within an hour,
    which cost ``nanos`` more than a lifetime of an hour."""

    client: str | None
    model: str
    written: int
    expired: int
    soon: int
    nanos: int


@attrs.frozen(repr=False)
class UnkeyedSum:
    """The requests of ``client`` to ``model`` without the cache key that the provider advises, of all ``requests``.

    ``nanos`` is what the provider's cache missed in them although nothing had changed."""

    client: str | None
    model: str
    requests: int
    unkeyed: int
    nanos: int


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
    prompt_cache: PromptCacheSum = NO_VERDICTS


@attrs.frozen(repr=False)
class RunSum:
    """The usage of one run of ``holder`` in a period.

    ``first`` and ``last`` are the times at which its first and last requests in the period began, in microseconds."""

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
        self.database: Final = database.part(LEDGER_TABLES)
        self._left_out = 1, 0

    def without_later_lines(self, number: int) -> "LedgerTable":
        """Return this table, whose sums leave out the lines that a process numbers after ``number``."""
        found = copy.copy(self)
        found._left_out = number + 1, number | LINES_OF_PROCESS - 1
        return found

    async def add(self, lines: Sequence[tuple[int, LedgerLine]], mask: Callable[[str], str] = str) -> None:
        """Write numbered ``lines``, all or none. Writing a line again changes nothing."""
        await self.database.write(self._line_insertion(lines, mask))

    def add_blocking(
        self,
        lines: Sequence[tuple[int, LedgerLine]],
        mask: Callable[[str], str] = str,
        rows: Sequence[Mapping[str, Any]] = (),
        mark: int = 0,
    ) -> None:
        """Write ``lines`` and ``rows``, and remove the ``mark``, in this thread because the process exits."""
        write = self._line_insertion(lines, mask, rows)

        def work(session: Session) -> None:
            write(session)
            session.rows(_UNMARK, line=mark)

        self.database.write_blocking(work)

    async def add_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write ``rows``, which are sums, all or none. Writing a row again changes nothing."""
        await self.database.write(lambda session: session.add_missing("ledger", COLUMN_TYPES, rows))

    def _line_insertion(
        self,
        lines: Sequence[tuple[int, LedgerLine]],
        mask: Callable[[str], str],
        more: Sequence[Mapping[str, Any]] = (),
    ) -> Callable[[Session], None]:
        """Return the insertion of ``lines`` with the providers' request ids, and of ``more`` rows."""

        def work(session: Session) -> None:
            rows = [row for number, line in lines for row in rows_of(line, number, mask)]
            session.add_missing("ledger", COLUMN_TYPES, [*rows, *more])
            if ids := [row for number, line in lines for row in id_rows_of(line, number, mask)]:
                session.add_missing("ledger_ids", ID_COLUMN_TYPES, ids)

        return work

    async def mark(self, number: int, began: int, last: int) -> None:
        """Set the mark ``number`` of a process: it started at ``began`` and has written all lines up to ``last``."""
        row = {**empty_sum(MARK, began, {}), "line": number, "ended": "mark", "last": last}

        def work(session: Session) -> None:
            session.add_missing("ledger", COLUMN_TYPES, [row])
            session.rows(_MARK, line=number, last=last)

        await self.database.write(work)

    async def unmark(self, number: int) -> None:
        """Remove the mark ``number`` of a process that has written all its lines and exits."""
        await self.database.write(lambda session: session.rows(_UNMARK, line=number))

    async def begins_of(self, requests: Sequence[str], period: tuple[int, int]) -> list[tuple[str, int]]:
        """Return the id and the start of each line in ``period`` whose id is in ``requests``."""
        statement = (
            "SELECT request, began FROM {ledger} WHERE began >= :since AND began < :until AND attempt = 0 "
            "AND level IS NULL AND request IN ({each requests text})"
        )
        since, until = period
        rows = await self._select(statement, since=since, until=until, requests=list(requests))
        return [(request, began) for request, began in rows]

    async def close_gap(self, start: int) -> None:
        """Remove the marks of processes whose gap starts at ``start``: their last lines are now in the table."""
        await self.database.write(lambda session: session.rows(_CLOSE, last=start))

    async def gap_starts(self, period: tuple[int, int], before: int, open_after: int = 2**62) -> list[int]:
        """Return the times at which gaps in ``period`` start: a process ended there without writing its last lines.

        A mark that was last updated before ``before`` belongs to such a process. Its gap lasts until its next mark was
        due; a gap after ``open_after`` has no end yet."""
        statement = (
            f"SELECT last FROM {{ledger}} WHERE level = {MARK} AND began < :until AND last < :until AND last < :before "
            "AND (last >= :since OR last >= :open_after) ORDER BY last"
        )
        since, until = period[0] - GAP, period[1]
        values = {"since": since, "until": until, "before": before, "open_after": open_after}
        return [last for (last,) in await self._select(statement, **values)]

    async def sums(
        self,
        by: Sequence[Dimension],
        periods: Sequence[tuple[int, int]],
        *,
        delivered_only: bool = False,
        only: Filters = NO_FILTERS,
        most: int | None = None,
        limit: float | None = None,
    ) -> list[list[LedgerSum]]:
        """Return the sums, grouped by ``by``, in each of ``periods`` (start, and exclusive end).

        They include only the lines that have one of the values in ``only`` for each of its dimensions. Raises
        ``TooManySums`` for more than ``most`` in all periods. ``limit`` are the seconds that a server may need."""
        wanted = filter_values(only)

        def work(session: Session) -> list[list[LedgerSum]]:
            if limit is not None:
                session.allow(limit)
            statement = sums_statement(by, delivered_only, only, most=most)
            found: list[list[LedgerSum]] = []
            for period in periods:
                rows = session.rows(statement, **period_values(period, self._left_out), **wanted)
                found.append([_read_sum(row, len(by)) for row in rows])
                if most is not None and sum(map(len, found)) > most:
                    raise TooManySums(most)
            return found

        return await self.database.read(work, bulk=True, limit=limit)

    async def causes(
        self, by: Sequence[Dimension], periods: Sequence[tuple[int, int]], *, only: Filters = NO_FILTERS
    ) -> list[list[CauseSum]]:
        """Return the sum of each cause of missed tokens, grouped by ``by``, in each of ``periods``, as ``sums``."""
        wanted = filter_values(only)

        def work(session: Session) -> list[list[CauseSum]]:
            statement = causes_statement(by, only)
            found = [session.rows(statement, **period_values(period), **wanted) for period in periods]
            return [[CauseSum(row[: len(by)], *row[len(by) :]) for row in rows] for rows in found]

        return await self.database.read(work, bulk=True)

    async def expiries(self, period: tuple[int, int]) -> list[ExpirySum]:
        """Return the expired entries of prompt caches in ``period``, without lines that became sums."""
        return [ExpirySum(*row) for row in await self._select(EXPIRIES, **period_values(period))]

    async def requests_without_key(self, period: tuple[int, int]) -> list[UnkeyedSum]:
        """Return the requests without an advised cache key in ``period``, without lines that became sums."""
        return [UnkeyedSum(*row) for row in await self._select(UNKEYED, **period_values(period))]

    async def labels(self, names: Sequence[str]) -> dict[str, str]:
        """Return the labels of the people among the clients ``names``, from their table in the same database."""
        statement = "SELECT name, label FROM {people} WHERE label <> '' AND name IN ({each names text})"

        def work(session: Session) -> dict[str, str]:
            if not names or not session.has_table(PEOPLE_TABLE):
                return {}
            return dict(session.rows(statement, names=list(names)))

        return await self.database.read(work, bulk=True)

    async def runs(self, by: Dimension, period: tuple[int, int], *, delivered_only: bool = False) -> list[RunSum]:
        """Return the sum of each run in ``period``, grouped by ``by``, over requests that were sent to a provider."""
        values = period_values(period, self._left_out)
        rows = await self._select(run_sums_statement(by, delivered_only), **values)
        return [RunSum(row[0], row[1], row[-2], row[-1], _read_sum(row[:-2], 2)) for row in rows]

    async def time_bounds(self) -> tuple[int, int] | None:
        """Return the times at which the first and the last exchange began, ``None`` without any."""
        statement = (
            f"SELECT (SELECT MIN(began) FROM {{ledger}} WHERE {NO_MARK}), MAX({LAST}) FROM {{ledger}} "
            f"WHERE began >= (SELECT MAX(began) FROM {{ledger}} WHERE {NO_MARK}) - :longest AND {NO_MARK}"
        )
        (row,) = await self._select(statement, longest=LONGEST_SUM)
        return None if row[0] is None else (row[0], row[1])

    async def folded_parts(self, period: tuple[int, int]) -> list[FoldedPart]:
        """Return the parts of ``period`` that have only sums, by level."""
        statement = (
            f"SELECT level, {EXCHANGE_SUMS.partition(', CAST')[0]}, MIN(began), MAX({LAST}) FROM {{ledger}} "
            f"WHERE level IS NOT NULL AND level <> {MARK} AND began >= :early AND began < :until AND {LAST} >= :since "
            "GROUP BY level ORDER BY level"
        )
        return [FoldedPart(*row) for row in await self._select(statement, **period_values(period))]

    async def shrink(self, before: int, most: int, zone: tzinfo = UTC) -> ShrinkResult:
        """Delete rows from before ``before``, and replace the oldest of more than ``most`` lines by sums.

        After some days, sums lose their runs and cover days of ``zone``."""
        newest = await self.time_bounds()
        with_runs = 0 if newest is None else day_bounds(newest[1] - KEEP_RUNS, zone)[0]
        removed = await self._repeat(partial(delete_old, before=before))
        folded = await self._repeat(partial(fold_lines, most=most))
        await self._repeat(partial(fold_quarters, before=with_runs, most=most, zone=zone))
        return ShrinkResult(removed, folded)

    async def _select(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a statement, however long it takes."""
        return await self.database.read(lambda session: session.rows(statement, **values), bulk=True)

    async def _repeat(self, work: Callable[[Session], int]) -> int:
        """Repeat ``work`` in separate transactions until it returns 0, and return the total."""
        done = 0
        while count := await self.database.write(work, bulk=True):
            done += count
        return done


def _read_sum(row: tuple[Any, ...], width: int) -> LedgerSum:
    requests, failed, could, read, missed, lost, unread, *amounts = row[width:]
    input, cache_read, cache_write, output, nanos, *amounts, lost_grade, grade = amounts
    units = tuple((unit, number) for unit, number in zip(UNITS, amounts, strict=True) if number)
    usage = Usage(input=input, cache_read=cache_read, cache_write=cache_write, output=output, units=units)
    prompt_cache = PromptCacheSum(could, read, missed, lost, lost_grade, unread)
    return LedgerSum(row[:width], requests, failed, usage, nanos, grade, prompt_cache)


def total(sums: Sequence[LedgerSum]) -> LedgerSum:
    """Return the total of ``sums``."""

    def of(kind: str) -> int:
        return sum([getattr(one.usage, kind) for one in sums])

    counted = {unit: sum([dict(one.usage.units).get(unit, 0) for one in sums]) for unit in UNITS}
    units = tuple((unit, number) for unit, number in counted.items() if number)
    usage = Usage(of("input"), of("cache_read"), of("cache_write"), output=of("output"), units=units)
    requests, failed = sum([one.requests for one in sums]), sum([one.failed for one in sums])
    prompt_cache = _total_prompt_cache([one.prompt_cache for one in sums])
    nanos, grade = sum([one.nanos for one in sums]), _worst_grade([one.grade for one in sums])
    return LedgerSum((), requests, failed, usage, nanos, grade, prompt_cache)


def _total_prompt_cache(sums: Sequence[PromptCacheSum]) -> PromptCacheSum:
    could, read, missed, nanos, unread = (
        sum([getattr(one, name) for one in sums]) for name in ("could", "read", "missed", "nanos", "unread")
    )
    return PromptCacheSum(could, read, missed, nanos, _worst_grade([one.grade for one in sums]), unread)


def _worst_grade(grades: Sequence[int | None]) -> int | None:
    """Return the worst of ``grades``, ``None`` without any."""
    return max([grade for grade in grades if grade is not None], default=None)


def sorted_by_cost(sums: Sequence[LedgerSum]) -> Iterator[LedgerSum]:
    """Yield ``sums`` in the order of descending cost."""
    yield from sorted(sums, key=lambda one: (-one.nanos, -one.requests, tuple(word or "" for word in one.by)))
