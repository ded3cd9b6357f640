"""Reports about providers' prompt caches from the kept ledger: the tokens that they could serve, and what broke them.

They use the query of usage reports, so the tokens and dollars are those of the log."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from gateway.features.kept_ledger.table import NO_VERDICTS, CauseSum, LedgerTable, PromptCacheSum
from gateway.features.kept_ledger.usage import UsageQuery, UsageReport, label_in, named_values, read_causes, read_usage
from gateway.features.kept_ledger.usage_formats import csv_cell, csv_text, head_of, json_text, usd_value
from gateway.viewing.money import dollar_text
from providers.catalog.prices import grade_at

CAUSE: Final = "cause"
"""The column that lists each cause in a row."""


@attrs.frozen(repr=False)
class CacheRow:
    """A row of a report: the values of its columns ``by``, ``input`` tokens, the sum of the verdicts and its causes.

    In a report by cause, ``causes`` has the row's cause alone, and ``sum`` only the tokens that it missed."""

    by: tuple[str | None, ...]
    input: int
    sum: PromptCacheSum
    causes: tuple[CauseSum, ...]

    @property
    def share(self) -> float | None:
        """The share of the tokens that the cache served, of those that it served or missed; ``None`` without any."""
        known = self.sum.read + self.sum.missed
        return self.sum.read / known if known else None

    @property
    def grade(self) -> str:
        """The least exact grade of the losses."""
        return "exact" if self.sum.grade is None else grade_at(self.sum.grade)


@attrs.frozen(repr=False)
class CacheReport:
    """The prompt caches in the period of ``usage``, in order of days and then of dollars lost.

    ``total`` has the ``input`` of the rows alone: names without any verdict are in no row."""

    usage: UsageReport
    by: tuple[str, ...]
    rows: tuple[CacheRow, ...]
    total: CacheRow

    @property
    def is_by_cause(self) -> bool:
        return CAUSE in self.by

    def label_of(self, row: CacheRow) -> str | None:
        """Return the label of the client in ``row``, ``None`` without one."""
        return label_in(self.by, row.by, self.usage.labels)


async def read_prompt_caches(table: LedgerTable, query: UsageQuery, by: Sequence[str]) -> CacheReport:
    """Return the report by the columns ``by``: those of ``query``, and perhaps ``CAUSE``. Raises ``Unavailable``."""
    usage = await read_usage(table, query)
    causes = await read_causes(table, query, usage.labels)
    plain = _rows(usage, causes)
    rows = _rows_by_cause(causes, by) if CAUSE in by else plain
    day = by.index("day") if "day" in by else None
    total = CacheRow((), sum([row.input for row in plain]), usage.total.sum.prompt_cache, _merge(causes))
    return CacheReport(usage, tuple(by), tuple(sorted(rows, key=lambda row: _order(row, day))), total)


def _rows(usage: UsageReport, causes: Sequence[CauseSum]) -> list[CacheRow]:
    found: dict[tuple[str | None, ...], list[CauseSum]] = {}
    for cause in causes:
        found.setdefault(cause.by, []).append(cause)
    return [
        CacheRow(row.by, row.sum.usage.prompt, row.sum.prompt_cache, _merge(found.get(row.by, ())))
        for row in usage.rows
        if row.sum.prompt_cache != NO_VERDICTS or row.by in found
    ]


def _rows_by_cause(causes: Sequence[CauseSum], by: Sequence[str]) -> list[CacheRow]:
    place = list(by).index(CAUSE)
    found: dict[tuple[str | None, ...], list[CauseSum]] = {}
    for one in causes:
        found.setdefault((*one.by[:place], one.cause, *one.by[place:]), []).append(one)
    rows = []
    for names, parts in found.items():
        (cause,) = _merge(parts)
        rows.append(CacheRow(names, 0, PromptCacheSum(0, 0, cause.tokens, cause.nanos, cause.grade), (cause,)))
    return rows


def _merge(causes: Sequence[CauseSum]) -> tuple[CauseSum, ...]:
    """Return one sum for each cause in ``causes``, the largest loss first."""
    found: dict[str, CauseSum] = {}
    for one in causes:
        known = found.get(one.cause, CauseSum((), one.cause, 0, 0, None))
        grades = [grade for grade in (known.grade, one.grade) if grade is not None]
        found[one.cause] = CauseSum(
            (), one.cause, known.tokens + one.tokens, known.nanos + one.nanos, max(grades, default=None)
        )
    return tuple(sorted(found.values(), key=lambda one: (-one.nanos, -one.tokens, one.cause)))


def _order(row: CacheRow, day: int | None) -> tuple[Any, ...]:
    """Return the key by which rows are sorted: by their day, if it is the column ``day``, and then by loss."""
    return (
        "" if day is None else row.by[day],
        -row.sum.nanos,
        -row.sum.missed,
        -row.sum.could,
        tuple(name or "" for name in row.by),
    )


# Formats


_FIGURES: Final = ("input", "could", "read", "missed")


def figures_of(row: CacheRow) -> tuple[int, int, int, int]:
    """Return the tokens of ``row``: the input, and those that the cache could serve, served and missed."""
    return row.input, row.sum.could, row.sum.read, row.sum.missed


def as_csv(found: CacheReport) -> str:
    """Return the report as CSV, without totals. ``because`` lists each cause with its tokens and dollars."""
    columns: tuple[str, ...] = (*_FIGURES, "share", "lost_usd", "grade", "because", "unread_usd")
    if found.is_by_cause:
        columns = ("missed", "lost_usd", "grade")
    return csv_text((*found.by, *columns), ((*map(csv_cell, row.by), *_cells(found, row)) for row in found.rows))


def _cells(found: CacheReport, row: CacheRow) -> tuple[object, ...]:
    lost = dollar_text(row.sum.nanos)
    if found.is_by_cause:
        return row.sum.missed, lost, row.grade
    share = "" if row.share is None else f"{row.share:.4f}"
    because = ";".join(f"{one.cause}={one.tokens}={dollar_text(one.nanos)}" for one in row.causes)
    return *figures_of(row), share, lost, row.grade, because, dollar_text(row.sum.unread_nanos)


def as_json(found: CacheReport, advice: Sequence[str] = ()) -> str:
    """Return the report as a JSON object, with totals and ``advice``."""
    content: dict[str, Any] = {
        **head_of(found.usage.query, found.by),
        "rows": [{**named_values(found.by, row.by, found.usage.labels), **_members(found, row)} for row in found.rows],
        "total": {
            **_tokens(found.total), **_money(found.total), **_unread_cost(found.total), "causes": _causes(found.total),
        },
        **({"advice": advice} if advice else {}),
        **({"notes": found.usage.notes} if found.usage.notes else {}),
    }  # fmt: skip
    return json_text(content)


def _members(found: CacheReport, row: CacheRow) -> Mapping[str, Any]:
    if found.is_by_cause:
        return {"missed_tokens": row.sum.missed, **_money(row)}
    return {**_tokens(row), **_money(row), **_unread_cost(row), "causes": _causes(row)}


def _tokens(row: CacheRow) -> dict[str, Any]:
    tokens = {f"{name}_tokens": number for name, number in zip(_FIGURES, figures_of(row), strict=True)}
    return {**tokens, "share": None if row.share is None else round(row.share, 4)}


def _money(row: CacheRow) -> dict[str, Any]:
    return {"lost_usd": usd_value(row.sum.nanos), "lost_nanos": row.sum.nanos, "lost_grade": row.grade}


def _unread_cost(row: CacheRow) -> dict[str, Any]:
    """Return the price of written entries that were never read."""
    nanos = row.sum.unread_nanos
    return {"unread_usd": usd_value(nanos), "unread_nanos": nanos}


def _causes(row: CacheRow) -> list[dict[str, Any]]:
    return [
        {"cause": one.cause, "missed_tokens": one.tokens, "lost_usd": usd_value(one.nanos), "lost_nanos": one.nanos}
        for one in row.causes
    ]  # fmt: skip
