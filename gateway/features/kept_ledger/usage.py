"""The usage query: the one way in which the command, the HTTP API and the pages add up the kept ledger.

Its sums are exact to the nano-dollar, so equal queries have equal results everywhere."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from itertools import groupby
from typing import Any, Final, Literal, TypeAlias

import attrs
import trio

from gateway.config.kinds import zone_of
from gateway.config.settings import Config
from gateway.features.kept_ledger.columns import DAY_SUM, GAP, LOST_COUNT, MARK_SECONDS
from gateway.features.kept_ledger.line import UNPRICED
from gateway.features.kept_ledger.settings import ledger_in
from gateway.features.kept_ledger.statements import ATTEMPT_DIMENSIONS, NO_FILTERS, Dimension, Filters
from gateway.features.kept_ledger.table import (
    SUM_SECONDS,
    CauseSum,
    FoldedPart,
    LedgerSum,
    LedgerTable,
    sorted_by_cost,
    total,
)
from gateway.viewing.periods import Period, days_between, microseconds, months_between
from providers.catalog.prices import Grade, grade_at

By: TypeAlias = Literal[
    "key", "client", "label", "group", "model", "target", "run", "project", "endpoint", "day", "month",
    "request_id", "upstream_request_id",
]  # fmt: skip
"""A column by which a report groups lines. ``client`` is another word for ``key``; ``label`` is a person's label."""

_CLIENT_COLUMNS: Final = ("key", "client", "label")
_TIME_COLUMNS: Final = ("day", "month")

SILENT: Final = int(3 * MARK_SECONDS * 1e6)
"""After so many microseconds without a mark, a process is assumed not to write its lines."""

ENDED: Final = 3600 * 10**6
"""After so many microseconds without a mark, a process is assumed to have ended. A cut off one may write until then."""

ByValues: TypeAlias = tuple[str | None, ...]
"""The values of a row's columns."""

ListPrice: TypeAlias = tuple[int, bool]
"""Nano-dollars at list price, and whether all models have one."""

NO_LABELS: Final[Mapping[str, str]] = {}


@attrs.frozen(kw_only=True)
class UsageQuery:
    """A question to the ledger: the usage from ``since`` to before ``until``, grouped ``by`` columns.

    ``only`` selects lines by their values, such as ``{"group": ("research",)}``. ``timezone`` is the zone of days and
    months; the ledger keeps nothing from before ``kept_from``. A report may have at most ``most_rows``."""

    since: datetime
    until: datetime
    by: tuple[By, ...] = ()
    only: Filters = NO_FILTERS
    zone: tzinfo = UTC
    timezone: str = "UTC"
    kept_from: datetime | None = None
    most_rows: int | None = None

    @property
    def counts_attempts(self) -> bool:
        """Whether the sums count attempts: one request may have several, with different targets and models."""
        return bool(ATTEMPT_DIMENSIONS.intersection((*self.by, *self.only)))

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """The dimensions of the ledger that the columns need."""
        found: dict[Dimension, None] = {}
        for name in self.by:
            if name in _CLIENT_COLUMNS:
                found["key"] = None
            elif name not in _TIME_COLUMNS:
                found[name] = None  # type: ignore[index]
        return tuple(found)

    @property
    def period(self) -> Period:
        """The whole period in microseconds."""
        return microseconds(self.since), microseconds(self.until)


LONGEST_KEEP: Final = 36525 * 86400.0
"""The longest supported ``ledger.keep`` in seconds, so that dates cannot overflow."""


def query_in(config: Config, now: datetime, period: tuple[datetime, datetime], **more: Any) -> UsageQuery:
    """Return a query for a ``period``, with the zone of ``config`` and ``more`` of its members."""
    keep = timedelta(seconds=min(ledger_in(config.state_storage).keep, LONGEST_KEEP))
    since, until = period
    zone = zone_of(config.timezone)
    return UsageQuery(since=since, until=until, zone=zone, timezone=config.timezone, kept_from=now - keep, **more)


@attrs.frozen
class UsageRow:
    """A line of a report: the values of its columns ``by``, and their sum."""

    by: tuple[str | None, ...]
    sum: LedgerSum

    @property
    def cached_share(self) -> float | None:
        """The share of input tokens read from a cache, ``None`` without input."""
        usage = self.sum.usage
        return usage.cache_read / usage.prompt if usage.prompt else None

    @property
    def grade(self) -> Grade:
        """The least exact grade of the parts. Parts without a price are missing from the sum."""
        return "exact" if self.sum.grade is None else grade_at(self.sum.grade)


@attrs.frozen
class UsageReport:
    """The usage that ``query`` selects, in order of time and then of cost; ``notes`` report missing data.

    ``labels`` has the labels of the people in it, by client name. ``list_prices`` has what the use of plans would have
    cost, by the values of rows; ``None``: not wanted."""

    query: UsageQuery
    rows: tuple[UsageRow, ...]
    total: UsageRow
    notes: tuple[str, ...] = ()
    labels: Mapping[str, str] = NO_LABELS
    list_prices: Mapping[ByValues, ListPrice] | None = None

    def list_price_of(self, row: UsageRow) -> ListPrice | None:
        """Return what the use of plans in ``row`` would have cost, ``None`` if it is not wanted."""
        if self.list_prices is None:
            return None
        if row is not self.total:
            return self.list_prices.get(row.by, (0, True))
        parts = self.list_prices.values()
        return sum(nanos for nanos, _ in parts), all(is_whole for _, is_whole in parts)

    @property
    def by(self) -> tuple[By, ...]:
        return self.query.by

    @property
    def count_name(self) -> str:
        return "attempts" if self.query.counts_attempts else "requests"

    def label_of(self, row: UsageRow) -> str | None:
        """Return the label of the client in ``row``, ``None`` if the report is not by client or knows no label."""
        return label_in(self.by, row.by, self.labels)


def label_in(by: Sequence[str], values: Sequence[str | None], labels: Mapping[str, str]) -> str | None:
    """Return the label of the client among the ``values`` of the columns ``by``, ``None`` without one."""
    clients = [value for name, value in zip(by, values, strict=True) if name in ("key", "client") and value is not None]
    return labels.get(clients[0]) if clients else None


def named_values(by: Sequence[str], values: Sequence[str | None], labels: Mapping[str, str]) -> dict[str, str | None]:
    """Return the ``values`` of a row by their columns ``by``, with the label of its client if it has one."""
    label = label_in(by, values, labels)
    return {**dict(zip(by, values, strict=True)), **({} if label is None else {"label": label})}


async def read_usage(table: LedgerTable, query: UsageQuery, labels: Mapping[str, str] | None = None) -> UsageReport:
    """Return the usage that ``query`` selects in ``table``. Raises ``Unavailable`` and ``TooManySums``.

    ``labels`` has people's labels by client name; without it, they are read from the same database."""
    # Quick reads first: on a server that does not respond, they fail long before the sums would.
    parts = await table.folded_parts(query.period)
    now = microseconds(datetime.now(UTC))
    broken = await table.gap_starts(query.period, now - SILENT, now - ENDED)
    periods = await _periods(table, query)
    spans = [period for _, period in periods]
    found = await table.sums(query.dimensions, spans, only=query.only, most=query.most_rows, limit=SUM_SECONDS)
    if labels is None:
        labels = await table.labels(_client_names(query, found))
    add_up = partial(_rows_of, query, [when for when, _ in periods], found, labels)
    rows, whole = await trio.to_thread.run_sync(add_up)  # there may be thousands
    if broken:
        whole = attrs.evolve(whole, grade=UNPRICED)
    return UsageReport(query, rows, UsageRow((), whole), notes_of(parts, query, broken, now - ENDED), labels)


def _rows_of(
    query: UsageQuery, periods: Sequence[str], found: Sequence[Sequence[LedgerSum]], labels: Mapping[str, str]
) -> tuple[tuple[UsageRow, ...], LedgerSum]:
    """Return the rows of the report, and their total, for the sums of each of the periods."""
    rows = tuple(
        UsageRow(row.by, row)
        for when, sums in zip(periods, found, strict=True)
        for row in sorted_by_cost(_merge([attrs.evolve(one, by=_values(query, when, one.by, labels)) for one in sums]))
        if row.requests or row.nanos or not query.by or set(query.by) - set(_TIME_COLUMNS)
    )
    return rows, total([row.sum for row in rows])


async def read_causes(table: LedgerTable, query: UsageQuery, labels: Mapping[str, str] = NO_LABELS) -> list[CauseSum]:
    """Return the causes of missed tokens in the query's period; ``by`` has the values of the report's columns."""
    periods = await _periods(table, query)
    found = await table.causes(query.dimensions, [period for _, period in periods], only=query.only)
    return [
        attrs.evolve(one, by=_values(query, when, one.by, labels))
        for (when, _), causes in zip(periods, found, strict=True)
        for one in causes
    ]


def _client_names(query: UsageQuery, found: Sequence[Sequence[LedgerSum]]) -> list[str]:
    """Return the names of the clients in ``found``, if the report is by client."""
    if "key" not in query.dimensions:
        return []
    place = query.dimensions.index("key")
    return sorted({name for sums in found for one in sums if (name := one.by[place]) is not None})


async def _periods(table: LedgerTable, query: UsageQuery) -> list[tuple[str, Period]]:
    """Return the periods to add up separately, with their day or month.

    Days and months without lines are left out: a report may start in 1970."""
    if not set(query.by).intersection(_TIME_COLUMNS):
        return [("", query.period)]
    bounds = await table.time_bounds()
    if bounds is None:
        return []
    first, last = (datetime.fromtimestamp(at / 1e6, query.zone) for at in bounds)
    since, until = max(query.since, first - timedelta(seconds=1)), min(query.until, last + timedelta(seconds=1))
    divide = days_between if "day" in query.by else months_between
    return list(divide(since, until, query.zone))


def _values(
    query: UsageQuery, when: str, by: tuple[str | None, ...], labels: Mapping[str, str]
) -> tuple[str | None, ...]:
    """Return the values of the report's columns for a sum of the ledger with the dimensions ``by``."""
    known: dict[str, str | None] = dict(zip(query.dimensions, by, strict=True))
    client = known.get("key")
    known |= {"client": client, "label": client and labels.get(client), "day": when, "month": when[:7]}
    return tuple([known[name] for name in query.by])


def _merge(sums: Sequence[LedgerSum]) -> list[LedgerSum]:
    """Return ``sums`` with those of equal values added up: several people may have one label."""
    if len({one.by for one in sums}) == len(sums):
        return list(sums)

    def key(one: LedgerSum) -> tuple[str, ...]:
        return tuple(["" if value is None else f"={value}" for value in one.by])

    parted = [list(equal) for _, equal in groupby(sorted(sums, key=key), key)]
    return [attrs.evolve(total(equal), by=equal[0].by) for equal in parted]


def notes_of(
    parts: Sequence[FoldedPart], query: UsageQuery, broken: Sequence[int] = (), open_after: int = 2**62
) -> tuple[str, ...]:
    """Return a note for each kind of missing data in the query's period.

    ``parts`` are the summary rows in the period, ``broken`` are the times after which a process wrote no more
    lines. Those after ``open_after`` may still write."""
    gaps = (
        f"≥ requests after {_time_text(last, query)} may be missing: since then, one gateway has not written to the "
        "ledger. Their costs are in its log"
        if last >= open_after
        else f"≥ requests that ran from {_time_text(last, query)} to {_time_text(last + GAP, query)} may be missing: a "
        "gateway ended without writing its last lines. Add them from its log: trigate ledger add LOG"
        for last in broken
    )
    return (*_notes(parts, query), *gaps)


def _notes(parts: Sequence[FoldedPart], query: UsageQuery) -> Iterator[str]:
    since, until = query.period
    if query.kept_from is not None and query.since < query.kept_from:
        yield f"the ledger starts at {query.kept_from:%Y-%m-%d %H:%M} (ledger.keep)"
    for part in parts:
        if part.level == LOST_COUNT:
            yield (
                f"≥ {part.exchanges:,} requests from {_time_text(part.first, query)} to {_time_text(part.last, query)} "
                "are missing: the database was unavailable. Their costs are in the log"
            )
        elif part.level == DAY_SUM and "run" in query.by:
            yield (
                f"the row - includes {part.exchanges:,} requests up to {_time_text(part.last, query)} whose runs were "
                "deleted to save space (ledger.max_bytes)"
            )
    if any(since > part.first or until <= part.last for part in parts if part.level != LOST_COUNT):
        yield (
            "the ledger has only sums for some requests (ledger.max_bytes): a sum across the start or end of this "
            "report counts at its end time"
        )


def _time_text(micro: int, query: UsageQuery) -> str:
    return f"{datetime.fromtimestamp(micro / 1e6, query.since.tzinfo):%Y-%m-%d %H:%M}"
