"""The comparison of an invoice with the ledger: a row for each model of a period, with its causes.

The difference of a day has one cause: the ledger has tokens without a price, the tokens differ, or the price."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Final, Literal, TypeAlias

import attrs

from gateway.features.kept_ledger.invoices.line import ZERO
from gateway.features.kept_ledger.invoices.sums import NANO, Cell, Invoice, compare_cells, other_notes

Cause: TypeAlias = Literal["past_gateway", "price", "unpriced"]

MEANINGS: Final[Mapping[Cause, str]] = {
    "past_gateway": "the provider counts more requests or tokens: its key is used without the gateway, or the ledger "
                    "lost or estimated requests",
    "price": "the provider counts no more tokens, the price differs",
    "unpriced": "the ledger has tokens of models without a price",
}  # fmt: skip

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
class ModelDifference:
    """A model of an invoice, and our usage of it. ``difference`` is the invoice less ours; ``days`` are those that
    differ.

    ``is_inseparable``: without the provider's tokens, price and quantity cannot be separated."""

    family: str
    model: str | None
    billed: Decimal
    own: Decimal
    causes: Mapping[Cause, Decimal]
    is_within: bool
    is_inseparable: bool = False
    days: tuple[Cell, ...] = ()

    @property
    def difference(self) -> Decimal:
        return self.billed - self.own


@attrs.frozen(repr=False)
class InvoiceComparison:
    """All rows of a period from ``since`` to before ``until``; ``notes`` report ignored lines and missing pages."""

    since: date
    until: date
    rows: tuple[ModelDifference, ...]
    notes: tuple[str, ...]
    is_complete: bool = True

    @property
    def is_within(self) -> bool:
        """Whether every row is within tolerance, and no part of the invoice is missing."""
        return self.is_complete and all(row.is_within for row in self.rows)

    @property
    def total(self) -> ModelDifference:
        """The total of all rows."""
        billed, own = sum((row.billed for row in self.rows), ZERO), sum((row.own for row in self.rows), ZERO)
        causes = {cause: sum((row.causes.get(cause, ZERO) for row in self.rows), ZERO) for cause in MEANINGS}
        return ModelDifference("total", None, billed, own, _without_zeros(causes), self.is_within)


def _without_zeros(causes: Mapping[Cause, Decimal]) -> dict[Cause, Decimal]:
    return {cause: usd for cause, usd in causes.items() if usd}


def compare(
    invoice: Invoice, tolerance: Tolerance, notes: Iterable[str], *, is_complete: bool = True
) -> InvoiceComparison:
    """Compare ``invoice`` with our usage."""
    found = list(notes)
    cells = compare_cells(invoice)
    fees = _share_fees(invoice, cells)
    groups: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.key.family, cell.key.model].append(cell)
    rows = [_row(invoice, group, tolerance) for group in groups.values()]
    for (family, name), usd in fees.items():
        is_within = tolerance.allows(usd, usd)
        causes: dict[Cause, Decimal] = {"past_gateway": usd} if usd > 0 else {}
        rows.append(ModelDifference(family, f"({name})", usd, ZERO, causes, is_within))
    for (family, name), usd in invoice.credits.items():
        rows.append(ModelDifference(family, f"({name})", usd, ZERO, {}, is_within=True))
    rows = [row for row in rows if row.billed or row.own]
    rows.sort(key=lambda row: (-abs(row.difference), row.family, row.model or ""))
    others = tuple(other_notes(invoice, cells))
    is_complete = is_complete and not invoice.coarse[0]
    if others and not rows:
        found.append("nothing was compared: the files have no costs of these days and providers")
        is_complete = False
    return InvoiceComparison(invoice.since, invoice.until, tuple(rows), (*found, *others), is_complete)


def _parts(cell: Cell) -> Mapping[Cause, Decimal]:
    """Return the parts of a cell's difference. ``past_gateway`` is negative if the ledger counts more."""
    rest, own, billed = cell.real_difference, cell.own, cell.billed
    is_price = bool(own.requests) and cell.has_tokens and (billed.tokens - own.tokens) * rest <= 0
    unpriced = ZERO
    if rest > 0 and own.unpriced_requests:
        share = (billed.usd * own.unpriced_requests / own.requests).quantize(NANO)
        unpriced = rest if is_price else min(rest, share)
    return {"unpriced": unpriced, "price" if is_price else "past_gateway": rest - unpriced}


def _row(invoice: Invoice, group: Sequence[Cell], tolerance: Tolerance) -> ModelDifference:
    """Return the row of a model. Requests around midnight, which the provider counts on another day, cancel out."""
    key = group[0].key
    billed, own = sum((one.billed_usd for one in group), ZERO), sum((one.own.usd for one in group), ZERO)
    causes: dict[Cause, Decimal] = dict.fromkeys(MEANINGS, ZERO)
    for cell in group:
        for cause, usd in _parts(cell).items():
            causes[cause] += usd
    is_inseparable = any(one.real_difference and one.own.requests and not one.has_tokens for one in group)
    if causes["past_gateway"] < 0 or is_inseparable:
        causes["past_gateway"] = ZERO
    days = sorted((one for one in group if one.difference), key=lambda one: one.key.day)
    is_within = tolerance.allows(billed, billed - own)
    return ModelDifference(
        key.family, invoice.name_of(key), billed, own, _without_zeros(causes), is_within, is_inseparable, tuple(days)
    )


def _share_fees(invoice: Invoice, cells: Sequence[Cell]) -> dict[tuple[str, str], Decimal]:
    """Move fees to the models whose costs of ours include them, and return the rest by family and name.

    Our cost of a request includes the fees of its provider tools, such as a web search; invoices list them
    separately."""
    rest: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for (family, day, name), left in invoice.fees.items():
        for cell in cells:
            if cell.key.family == family and cell.key.day == day and (moved := min(left, -cell.real_difference)) > 0:
                cell.fees += moved
                left -= moved
        rest[family, name] += left
    return rest
