"""Reads the files of an invoice, whose format it recognizes by their content, in bounded memory."""

import csv
import hashlib
import io
import json
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn, TypeAlias

import attrs

from configfile.users_files import open_file
from gateway.features.kept_ledger.invoices import focus
from gateway.features.kept_ledger.invoices.line import InvoiceLine, InvoiceRow, UnreadableInvoice, day_of
from gateway.features.kept_ledger.invoices.pages import BucketPages, buckets_of
from gateway.features.kept_ledger.invoices.rows import ACTIVITY, KNOWN, PLAIN, read_activity, read_plain

MOST_BYTES: Final = 64 * 2**20
"""The largest file in JSON. Providers return pages, and a page of a month has less than a megabyte."""

_EXPECTED: Final = (
    "expected a page of OpenAI's costs or usage, of Anthropic's cost_report or usage_report, OpenRouter's activity, "
    "FOCUS in CSV, or CSV with the columns day, model and usd"
)
RowReader: TypeAlias = Callable[[InvoiceRow], InvoiceLine | None]


@attrs.define(eq=False, repr=False)
class ReadFiles:
    """The facts about the files besides their lines: ``formats`` by file, and ``notes``.

    ``is_complete``: no page is missing. ``other_rows`` counts rows of services without models."""

    formats: dict[str, str] = attrs.field(factory=dict)
    notes: list[str] = attrs.field(factory=list)
    is_complete: bool = True
    other_rows: int = 0


@attrs.frozen(eq=False, repr=False)
class Page:
    """A page of a report: its lines, the times of its first and after its last bucket, and whether others follow.

    ``report`` names the provider's report."""

    report: str
    lines: tuple[InvoiceLine, ...]
    since: datetime | None = None
    until: datetime | None = None
    has_more: bool = False


def read_files(paths: Sequence[Path], found: ReadFiles) -> Generator[InvoiceLine, None, None]:
    """Yield the charges in the files. Raises ``UnreadableInvoice``.

    A repeated file is read once. A page whose next page is missing makes the invoice incomplete."""
    pages: list[tuple[Path, Page]] = []
    known: dict[bytes, Path] = {}
    for path in paths:
        try:
            with open_file(path) as file:
                digest = hashlib.file_digest(file, "sha256").digest()
                if (before := known.setdefault(digest, path)) is not path:
                    found.notes.append(f"{path} has the content of {before}: it counts once")
                    continue
                file.seek(0)
                yield from _read_file(file, path, pages, found)
        except OSError as error:
            raise UnreadableInvoice(f"{path}: {error.strerror or error}") from None
    for path, page in pages:
        if page.has_more and not _has_next(page, [one for _, one in pages]):
            found.is_complete = False
            found.notes.append(f"{path}: has_more is true, and the next page is not among the files")


def _read_file(file: BinaryIO, path: Path, pages: list[tuple[Path, Page]], found: ReadFiles) -> Iterator[InvoiceLine]:
    start = file.read(512)
    file.seek(0)
    if start.removeprefix(BOM_UTF8).lstrip()[:1] in (b"{", b"["):
        values = _read_json(file, path)
        for number, value in enumerate(values):
            page = _read_page(InvoiceRow(value, f"{path}" if not number else f"{path}, page {number + 1}"))
            found.formats[str(path)] = page.report
            pages.append((path, attrs.evolve(page, lines=())))
            yield from page.lines
    else:
        with io.TextIOWrapper(file, "utf-8-sig", errors="replace", newline="") as text:
            yield from _read_rows(text, path, found)


# JSON


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _read_json(file: BinaryIO, path: Path) -> list[dict[str, Any]]:
    """Return the page in a file, or the list of pages. Raises ``UnreadableInvoice``."""
    data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise UnreadableInvoice(f"{path}: JSON of more than {MOST_BYTES // 2**20} MiB; give one page a file")
    try:
        value = json.loads(data, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # also of text that is not UTF-8
        raise UnreadableInvoice(f"{path}: not valid JSON: {str(error)[:100]}") from None
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, dict) for one in values):
        raise UnreadableInvoice(f"{path}: expected a page, an object with the member data")
    return values


def _read_buckets(page: InvoiceRow, kind: BucketPages) -> Page:
    """Return a page whose buckets of time have results. Raises ``UnreadableInvoice``."""
    lines: list[InvoiceLine] = []
    times: list[datetime] = []
    report = f"{kind.provider} costs"
    for bucket in page.rows("data"):
        since = bucket.time(kind.start)
        until = since if bucket.value(kind.end) is None else bucket.time(kind.end)
        times += [since, until]
        charge = InvoiceLine(provider=kind.provider, day=day_of(since, until), since=since.date())
        for result in bucket.rows("results"):
            report, line = kind.read(result, charge)
            lines += [] if line is None else [line]
    has_more = page.value("has_more") is True
    return Page(report, tuple(lines), min(times, default=None), max(times, default=None), has_more)


def _read_page(page: InvoiceRow) -> Page:
    if "data" not in page.members:
        raise UnreadableInvoice(f"{page.where}: {_EXPECTED}")
    items = page.rows("data")
    first = items[0] if items else InvoiceRow({}, page.where)
    if (kind := buckets_of(page, first)) is not None:
        return _read_buckets(page, kind)
    if first.members.keys() >= ACTIVITY:
        return Page("openrouter activity", tuple([read_activity(item) for item in items]))
    if not items:
        return Page("empty page", (), has_more=page.value("has_more") is True)
    raise UnreadableInvoice(f"{page.where}: {_EXPECTED}")


def _has_next(page: Page, pages: Iterable[Page]) -> bool:
    return any(
        one.report == page.report
        and one.since is not None
        and page.since is not None
        and page.until is not None
        and page.since < one.since <= page.until
        for one in pages
    )


# CSV


def _read_rows(lines: Iterable[str], path: Path, found: ReadFiles) -> Iterator[InvoiceLine]:
    """Yield the charges in the rows of a CSV file, whose separator is that of its first line."""
    number = 0
    try:
        head = next((line for line in lines if line.strip()), "")
        rows = csv.reader(chain((head,), lines), delimiter=max(",;\t", key=head.count))
        names = [name.strip().lower() for name in next(rows, [])]
        report, read = _reader_of(frozenset(names), path)
        found.formats[str(path)] = report
        for name, number_of in Counter(names).items():
            if number_of > 1 and name and (read is not read_plain or name in KNOWN):
                raise UnreadableInvoice(f"{path}: the column {name} appears twice: remove one")
        if read is read_plain and (unknown := [name for name in names if name not in KNOWN]):
            found.notes.append(f"{path}: unknown columns, which were ignored: {', '.join(unknown)}")
        for cells in rows:
            number = rows.line_num
            if not any(cells):
                continue
            if len(cells) != len(names):
                raise UnreadableInvoice(f"{path}, line {number}: {len(cells)} cells, expected {len(names)}")
            line = read(InvoiceRow(dict(zip(names, cells, strict=True)), f"{path}, line {number}", ", "))
            if line is None:
                found.other_rows += 1
            else:
                yield line
    except (csv.Error, UnicodeError) as error:
        raise UnreadableInvoice(f"{path}, line {number + 1}: {error}") from None


def _reader_of(names: frozenset[str], path: Path) -> tuple[str, RowReader]:
    if names >= focus.COLUMNS:
        return "FOCUS", focus.read_row
    if names >= ACTIVITY:
        return "openrouter activity", read_activity
    if names >= PLAIN:
        return "CSV", read_plain
    raise UnreadableInvoice(f"{path}: {_EXPECTED}")
