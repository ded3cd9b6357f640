"""The comparison of an invoice with the ledger: a row for each model and account of a period, with its causes."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Final

import attrs

from gateway.invoices.causes import Cause, Explained, explain
from gateway.invoices.cells import Cell, Invoice, compare_cells, other_families
from gateway.invoices.ledger_side import MOST_REQUESTS
from gateway.invoices.line import ZERO

CENT: Final = Decimal("0.01")


@attrs.frozen
class Tolerance:
    """The largest difference of a model that is within tolerance: ``share`` of the invoice or ``usd``, whichever is
    more."""

    share: Decimal = CENT
    usd: Decimal = CENT

    def allows(self, billed: Decimal, difference: Decimal) -> bool:
        """Return whether the difference from ``billed`` dollars is within tolerance."""
        return abs(difference) <= max(self.usd, abs(billed) * self.share)


@attrs.frozen(repr=False)
class DayDifference:
    """The difference of one day, ``None`` if the invoice has no days, and its causes."""

    day: date | None
    billed: Decimal
    own: Decimal
    causes: Mapping[Cause, Decimal]


@attrs.frozen(repr=False)
class ModelDifference:
    """A model of an invoice, and our usage of it. ``difference`` is the invoice less ours; the causes add up to it.

    ``is_inseparable``: without the provider's tokens, price and quantity cannot be separated."""

    family: str
    model: str | None
    account: str | None
    billed: Decimal
    own: Decimal
    causes: Mapping[Cause, Decimal]
    is_within: bool
    is_inseparable: bool = False
    days: tuple[DayDifference, ...] = ()

    @property
    def difference(self) -> Decimal:
        return self.billed - self.own


@attrs.frozen(repr=False)
class InvoiceComparison:
    """All rows of a period from ``since`` to before ``until``; ``notes`` report coarser grains, ignored lines and
    missing pages."""

    since: date
    until: date
    rows: tuple[ModelDifference, ...]
    notes: tuple[str, ...]
    is_complete: bool = True

    @property
    def is_within(self) -> bool:
        """Whether every row is within tolerance, and no page of the invoice is missing."""
        return self.is_complete and all(row.is_within for row in self.rows)

    @property
    def total(self) -> ModelDifference:
        """The total of all rows."""
        billed, own = sum((row.billed for row in self.rows), ZERO), sum((row.own for row in self.rows), ZERO)
        causes = _sum_causes([row.causes for row in self.rows])
        return ModelDifference("total", None, None, billed, own, causes, self.is_within)


def _sum_causes(parts: Sequence[Mapping[Cause, Decimal]]) -> dict[Cause, Decimal]:
    found: dict[Cause, Decimal] = defaultdict(Decimal)
    for part in parts:
        for cause, usd in part.items():
            found[cause] += usd
    return {cause: usd for cause, usd in found.items() if usd}


def compare(
    invoice: Invoice, tolerance: Tolerance, now: datetime, notes: Sequence[str], *, is_complete: bool = True
) -> InvoiceComparison:
    """Compare ``invoice`` with our usage."""
    found = list(notes)
    cells = compare_cells(invoice, found)
    explained = explain(cells, invoice.own, now, invoice.billed_ids)
    fees = _share_fees(invoice, explained)
    groups: dict[tuple[str, str | None, str | None], list[Explained]] = defaultdict(list)
    for one in explained:
        groups[one.cell.key.family, one.cell.key.model, one.cell.key.account].append(one)
    rows = [_row(invoice, group, tolerance) for group in groups.values()]
    rows += [_charge_row(family, name, usd, "past_gateway", tolerance) for (family, name), usd in fees.items() if usd]
    for (family, name), usd in invoice.credits.items():
        rows.append(_charge_row(family, name, usd, "credit", tolerance))
    rows = [row for row in rows if row.billed or row.own]
    rows.sort(key=lambda row: (-abs(row.difference), row.family, row.model or "", row.account or ""))
    if invoice.has_too_many_ids:
        found.append(f"more than {MOST_REQUESTS:,} single requests: they are compared by day and model")
    others = _other_notes(invoice, cells)
    if others and not rows:
        found.append("nothing was compared: the files have no costs of these days and providers")
        is_complete = False
    found += others
    return InvoiceComparison(invoice.since, invoice.until, tuple(rows), tuple(found), is_complete)


def _row(invoice: Invoice, group: Sequence[Explained], tolerance: Tolerance) -> ModelDifference:
    key = group[0].cell.key
    billed = sum((one.cell.billed.usd for one in group), ZERO)
    own = sum((one.cell.own.usd for one in group), ZERO)
    days = [
        DayDifference(one.cell.key.day, one.cell.billed.usd, one.cell.own.usd, _without_zeros(one.causes))
        for one in sorted(group, key=lambda one: one.cell.key.day or date.min)
        if one.cell.difference
    ]
    return ModelDifference(
        key.family,
        invoice.name_of(key),
        key.account,
        billed,
        own,
        _sum_causes([one.causes for one in group]),
        tolerance.allows(billed, billed - own),
        any(one.is_inseparable and one.cell.difference for one in group),
        tuple(days),
    )


def _without_zeros(causes: Mapping[Cause, Decimal]) -> dict[Cause, Decimal]:
    return {cause: usd for cause, usd in causes.items() if usd}


def _charge_row(family: str, name: str, usd: Decimal, cause: Cause, tolerance: Tolerance) -> ModelDifference:
    is_within = cause == "credit" or tolerance.allows(usd, usd)
    return ModelDifference(family, f"({name})", None, usd, ZERO, {cause: usd}, is_within)


def _share_fees(invoice: Invoice, explained: Sequence[Explained]) -> dict[tuple[str, str], Decimal]:
    """Move fees to the models whose costs of ours include them, and return the rest by family and name.

    Our cost of a request includes the fees of its provider tools, such as a web search; invoices list them
    separately."""
    rest: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for (family, day, name), usd in invoice.fees.items():
        left = usd
        for one in explained:
            if one.cell.key.family != family or (one.cell.key.day is not None and one.cell.key.day != day):
                continue
            for cause in ("price", "unknown"):
                surplus = -one.causes.get(cause, ZERO)
                moved = min(left, surplus)
                if moved > 0:
                    one.causes[cause] += moved
                    one.cell.billed.usd += moved
                    left -= moved
        rest[family, name] += left
    return rest


def _other_notes(invoice: Invoice, cells: Sequence[Cell]) -> list[str]:
    notes = []
    number, usd = invoice.outside
    if number:
        notes.append(f"ignored {number:,} {'line' if number == 1 else 'lines'} of other days, with {usd:,.4f} usd")
    for family, own in sorted(other_families(invoice, cells).items()):
        if own:
            notes.append(f"{family}: no costs of it are in these files; the ledger has {own:,.4f} usd")
    return notes
