"""The comparison of an invoice with the ledger: a row for each model of a period, with its causes.

If the invoice states its tokens, a difference has a part by quantity, at our prices, and a part by price."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Final, Literal, TypeAlias

import attrs

from gateway.features.kept_ledger.invoices.ledger_side import OwnSide
from gateway.features.kept_ledger.invoices.line import TOKEN_KINDS, ZERO, TokenKind, Tokens
from gateway.features.kept_ledger.invoices.sums import Cell, Invoice, compare_cells, other_notes

Cause: TypeAlias = Literal["past_gateway", "price", "unpriced"]

MEANINGS: Final[Mapping[Cause, str]] = {
    "past_gateway": "the provider counts more requests or tokens: its key is used without the gateway, or the ledger "
                    "lost or estimated requests",
    "price": "the tokens agree, the price differs",
    "unpriced": "the ledger has tokens of models without a price",
}  # fmt: skip

CENT: Final = Decimal("0.01")
NANO: Final = Decimal("1e-9")
_NEARLY: Final = Decimal("0.005")
"""Parts by price below this share of the part by quantity come from averaging prices."""


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
class DaySums:
    """Both sides of one day, ``None`` if the invoice has no days."""

    day: date | None
    billed: Decimal
    own: Decimal


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
    days: tuple[DaySums, ...] = ()

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
        causes = {cause: sum((row.causes.get(cause, ZERO) for row in self.rows), ZERO) for cause in MEANINGS}
        return ModelDifference("total", None, billed, own, _without_zeros(causes), self.is_within)


def _without_zeros(causes: Mapping[Cause, Decimal]) -> dict[Cause, Decimal]:
    return {cause: usd for cause, usd in causes.items() if usd}


def compare(
    invoice: Invoice, tolerance: Tolerance, notes: Iterable[str], *, is_complete: bool = True
) -> InvoiceComparison:
    """Compare ``invoice`` with our usage."""
    found = list(notes)
    cells = compare_cells(invoice, found)
    explained = [_explain(cell, invoice.own) for cell in cells]
    fees = _share_fees(invoice, explained)
    groups: dict[tuple[str, str | None], list[_Explained]] = defaultdict(list)
    for one in explained:
        groups[one.cell.key.family, one.cell.key.model].append(one)
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
    if others and not rows:
        found.append("nothing was compared: the files have no costs of these days and providers")
        is_complete = False
    return InvoiceComparison(invoice.since, invoice.until, tuple(rows), (*found, *others), is_complete)


@attrs.define(eq=False, repr=False)
class _Explained:
    """The parts of a cell's difference in dollars. ``more`` is the part by quantity: positive if the provider counts
    more. ``is_inseparable``: without tokens, ``more`` includes the part by price."""

    cell: Cell
    more: Decimal = ZERO
    price: Decimal = ZERO
    unpriced: Decimal = ZERO
    is_inseparable: bool = False


def _explain(cell: Cell, own: OwnSide) -> _Explained:
    found, rest, ours = _Explained(cell), cell.difference, cell.own
    rounding = cell.billed.rounding + ours.requests * NANO
    if abs(rest) <= rounding:
        return found
    if not ours.requests:
        found.more = rest
        return found
    if not cell.has_tokens:
        if rest > 0 and ours.unpriced_requests:
            share = ours.unpriced_requests / ours.requests
            found.unpriced = min(rest, (cell.billed.usd * share).quantize(NANO))
        found.more, found.is_inseparable = rest - found.unpriced, True
        return found
    prices = _effective_prices(cell, own)
    theirs, mine, unpriced = cell.billed.tokens, ours.tokens, ours.unpriced
    if cell.billed.unsplit:
        prices = _without_split(prices, mine)
        theirs, mine, unpriced = (Tokens(input=one.prompt, output=one.output) for one in (theirs, mine, unpriced))
    if rest > 0 and ours.unpriced_requests:
        value = _value(theirs, prices)
        factor = cell.billed.usd / value if value else Decimal(1)
        found.unpriced = min(rest, _value(unpriced, prices) * factor)
        rest -= found.unpriced
    if theirs.prompt != mine.prompt or theirs.output != mine.output:
        found.more = (_value(theirs, prices) - _value(mine, prices)).quantize(NANO)
    by_price = rest - found.more
    if abs(by_price) <= max(abs(found.more) * _NEARLY, rounding):
        found.more, by_price = (rest if found.more else ZERO), ZERO
    found.price = by_price
    return found


def _value(tokens: Tokens, prices: Mapping[TokenKind, Decimal]) -> Decimal:
    return sum((getattr(tokens, kind) * prices[kind] for kind in TOKEN_KINDS), start=ZERO)


def _effective_prices(cell: Cell, own: OwnSide) -> Mapping[TokenKind, Decimal]:
    """Return the dollars for a token of each kind that our costs of this cell had.

    The present prices give their proportions; without them, all kinds of tokens cost the average."""
    usd, unpriced = cell.own.usd, cell.own.unpriced
    counts = {kind: getattr(cell.own.tokens, kind) - getattr(unpriced, kind) for kind in TOKEN_KINDS}
    listed = None if cell.key.model is None else own.prices.get((cell.key.family, cell.key.model))
    if listed is not None:
        value = _value(Tokens(**counts), listed)
        return {kind: price * (usd / value) for kind, price in listed.items()} if value and usd else listed
    counted = sum(counts.values(), start=ZERO)
    if not (usd and counted):
        usd, counted = cell.billed.usd, cell.billed.tokens.prompt + cell.billed.tokens.output
    return dict.fromkeys(TOKEN_KINDS, usd / counted if counted else ZERO)


def _without_split(prices: Mapping[TokenKind, Decimal], tokens: Tokens) -> Mapping[TokenKind, Decimal]:
    """Return the prices with that of the average input."""
    inputs = attrs.evolve(tokens, output=ZERO)
    average = _value(inputs, prices) / tokens.prompt if tokens.prompt else prices["input"]
    return {**prices, "input": average}


def _row(invoice: Invoice, group: Sequence[_Explained], tolerance: Tolerance) -> ModelDifference:
    """Return the row of a model. Requests around midnight, which the provider counts on another day, cancel out."""
    key = group[0].cell.key
    billed, own, requests, more, price, unpriced = (
        sum(parts, start=ZERO)
        for parts in zip(
            *((one.cell.billed_usd, one.cell.own.usd, one.cell.own.requests, one.more, one.price, one.unpriced)
              for one in group), strict=True,
        )
    )  # fmt: skip
    is_inseparable = any(one.is_inseparable for one in group)
    is_past = more > 0 and not (is_inseparable and requests)
    causes: dict[Cause, Decimal] = {"past_gateway": more if is_past else ZERO, "price": price, "unpriced": unpriced}
    days = [
        DaySums(one.cell.key.day, one.cell.billed_usd, one.cell.own.usd)
        for one in sorted(group, key=lambda one: one.cell.key.day or date.min)
        if one.cell.difference
    ]
    is_within = tolerance.allows(billed, billed - own)
    return ModelDifference(
        key.family, invoice.name_of(key), billed, own, _without_zeros(causes), is_within, is_inseparable, tuple(days)
    )


def _share_fees(invoice: Invoice, explained: Sequence[_Explained]) -> dict[tuple[str, str], Decimal]:
    """Move fees to the models whose costs of ours include them, and return the rest by family and name.

    Our cost of a request includes the fees of its provider tools, such as a web search; invoices list them
    separately."""
    rest: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for (family, day, name), left in invoice.fees.items():
        for one in explained:
            if one.cell.key.family != family or one.cell.key.day not in (None, day):
                continue
            for part in ("price", "more"):
                moved = min(left, -getattr(one, part))
                if moved > 0:
                    setattr(one, part, getattr(one, part) + moved)
                    one.cell.fees += moved
                    left -= moved
        rest[family, name] += left
    return rest
