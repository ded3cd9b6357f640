"""What a report of costs lacks, in sentences for the person who reads it."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from gateway.kept_ledger.columns import DAY_SUM, LOST
from gateway.kept_ledger.table import FoldedPart


def notes_of(
    parts: Sequence[FoldedPart],
    by: Sequence[str],
    since: datetime,
    until: datetime,
    kept_from: datetime,
    broken: Sequence[int] = (),
) -> tuple[str, ...]:
    """Return a sentence for each kind of missing data in the period; ``parts`` are its rows that are no lines,
    nothing from before ``kept_from`` is kept, and processes have written no lines since the times in ``broken``."""
    gaps = (
        f"≥ requests after {_moment(last, since)} may be missing: a gateway has not written its lines since, or ended "
        "before it could. Their costs are in the log"
        for last in broken
    )
    return (*_notes(parts, by, since, until, kept_from), *gaps)


def _notes(
    parts: Sequence[FoldedPart], by: Sequence[str], since: datetime, until: datetime, kept_from: datetime
) -> Iterator[str]:
    if since < kept_from:
        yield f"nothing from before {kept_from:%Y-%m-%d %H:%M} is kept (ledger.keep)"
    for part in parts:
        if part.level == LOST:
            yield (
                f"≥ {part.exchanges:,} requests from {_moment(part.first, since)} to {_moment(part.last, since)} are "
                "missing: the database was away. Their costs are in the log"
            )
        elif part.level == DAY_SUM and "run" in by:
            yield (
                f"- has {part.exchanges:,} requests up to {_moment(part.last, since)} whose runs are not kept any more "
                "(ledger.max_bytes)"
            )
    if any(_micro(since) > part.first or _micro(until) <= part.last for part in parts if part.level != LOST):
        yield (
            "some requests are kept only in sums (ledger.max_bytes): a sum that begins before this report or ends "
            "after it counts where it ends"
        )


def _micro(at: datetime) -> int:
    return round(at.timestamp() * 1e6)


def _moment(micro: int, like: datetime) -> str:
    return f"{datetime.fromtimestamp(micro / 1e6, like.tzinfo):%Y-%m-%d %H:%M}"
