"""Both sides of a comparison, added up in cells: a family of providers, a day and a model.

The grain is that of the invoice: if it has no models or days, ours are added up as well."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal
from typing import Final

import attrs

from gateway.features.kept_ledger.invoices.ledger_side import CellKey, OwnSide, OwnUsage
from gateway.features.kept_ledger.invoices.line import ZERO, InvoiceLine, add_fields
from gateway.features.kept_ledger.invoices.model_names import find_model, fold_model

NANO: Final = Decimal("1e-9")


@attrs.frozen(eq=False, repr=False)
class Billed:
    """The invoice's side of a cell, and the numbers of its lines.

    ``rounding`` is the largest error of ``usd``. ``priced`` lines have dollars, ``counted`` ones tokens, ``joint`` ones
    both, ``bare`` ones only dollars."""

    usd: Decimal = ZERO
    rounding: Decimal = ZERO
    tokens: Decimal = ZERO
    priced: int = 0
    counted: int = 0
    joint: int = 0
    bare: int = 0

    def __add__(self, other: "Billed") -> "Billed":
        return add_fields(self, other)


def _billed_of(line: InvoiceLine) -> Billed:
    is_priced, is_counted = line.usd is not None, line.tokens is not None
    return Billed(
        line.usd or ZERO, line.rounding, line.tokens or ZERO, priced=int(is_priced), counted=int(is_counted),
        joint=int(is_priced and is_counted), bare=int(bool(line.usd) and not is_counted),
    )  # fmt: skip


@attrs.define(eq=False, repr=False)
class Grain:
    """The finest grain in which an invoice of a family states all its dollars."""

    has_day: bool = True
    has_model: bool = True

    def fold(self, key: CellKey) -> CellKey:
        """Return the cell of this grain that contains ``key``."""
        return CellKey(key.family, key.day if self.has_day else None, key.model if self.has_model else None)

    def is_stated_by(self, key: CellKey) -> bool:
        """Return whether ``key`` is as fine as this grain."""
        return (key.day is not None or not self.has_day) and (key.model is not None or not self.has_model)


@attrs.define(eq=False, repr=False)
class Cell:
    """One cell of a comparison: the sums of an invoice, and our usage. ``fees`` are the invoice's fees of provider
    tools that our costs include."""

    key: CellKey
    billed: Billed = attrs.field(factory=Billed)
    own: OwnUsage = attrs.field(factory=OwnUsage)
    fees: Decimal = ZERO

    @property
    def billed_usd(self) -> Decimal:
        """The dollars of the invoice, with the fees."""
        return self.billed.usd + self.fees

    @property
    def difference(self) -> Decimal:
        """The dollars of the invoice less ours."""
        return self.billed_usd - self.own.usd

    @property
    def real_difference(self) -> Decimal:
        """The difference, 0 if it comes from rounding."""
        rounding = self.billed.rounding + self.own.requests * NANO
        return self.difference if abs(self.difference) > rounding else ZERO

    @property
    def has_tokens(self) -> bool:
        """Whether the invoice states the tokens of all its dollars in this cell."""
        return self.billed.counted > 0 and not (self.billed.bare and self.billed.joint)


@attrs.define(eq=False, repr=False)
class Invoice:
    """The lines of an invoice, added up by ``add``. ``credits`` and ``fees`` are by family, day and name.

    ``outside`` has the number and the dollars of lines outside of the period."""

    own: OwnSide
    since: date
    until: date
    cells: dict[CellKey, Billed] = attrs.field(factory=lambda: defaultdict(Billed))
    grains: dict[str, Grain] = attrs.field(factory=lambda: defaultdict(Grain))
    credits: dict[tuple[str, str], Decimal] = attrs.field(factory=lambda: defaultdict(Decimal))
    fees: dict[tuple[str, date | None, str], Decimal] = attrs.field(factory=lambda: defaultdict(Decimal))
    outside: tuple[int, Decimal] = (0, ZERO)
    names: dict[tuple[str, str], str] = attrs.field(factory=dict)

    def add(self, line: InvoiceLine) -> None:
        """Add ``line`` to its cell."""
        usd = line.usd or ZERO
        if not self.since <= (line.day or line.since) < self.until:
            self.outside = self.outside[0] + 1, self.outside[1] + usd
        elif line.is_credit:
            self.credits[line.provider, line.fee or "credit"] += usd
        elif line.fee is not None:
            self.fees[line.provider, line.day, line.fee[:60]] += usd
        else:
            family, model = self._model_of(line)
            self.cells[CellKey(family, line.day, model)] += _billed_of(line)
            if line.usd is not None:
                grain = self.grains[family]
                grain.has_day &= line.day is not None
                grain.has_model &= model is not None

    def _model_of(self, line: InvoiceLine) -> tuple[str, str | None]:
        """Return the family and the folded model of a line."""
        family, name = line.provider, line.model
        if name is not None:
            model = fold_model(name)
            if family not in self.own.models:
                family = next((one for one, other in self.own.names if other == model), family)
        elif line.text is None:
            return family, None
        elif found := find_model(line.text, self.own.models.get(family, ())):
            return family, found
        else:
            name = _before_meter(line.text)
            model = fold_model(name)
        self.names.setdefault((family, model), name)
        return family, model

    def name_of(self, key: CellKey) -> str | None:
        """Return the name of a cell's model: as in the ledger, else as in the invoice."""
        if key.model is None:
            return None
        place = key.family, key.model
        return self.own.names.get(place) or self.names.get(place) or key.model


def _before_meter(text: str) -> str:
    """Return the part of a description before the words of its meter."""
    words = text.split()[0] if " " not in text[:200] or "-" in text.split()[0] else text
    for word in ("input", "output", "cache", "prompt", "inp", "outp", "tokens"):
        place = words.lower().find(word)
        if place > 0:
            words = words[:place]
    return words.strip(" -_,:") or text[:60]


def compare_cells(invoice: Invoice, notes: list[str]) -> list[Cell]:
    """Return the cells of an invoice and of our usage in the same families, in the invoice's grain."""
    cells: dict[CellKey, Cell] = {}
    for family in sorted({*invoice.grains, *(family for family, _, _ in invoice.fees)}):
        grain = invoice.grains[family]
        parts = [(key, billed) for key, billed in invoice.cells.items() if key.family == family]
        keeps_tokens = all(billed.priced or grain.is_stated_by(key) for key, billed in parts)
        notes += _grain_notes(family, grain, keeps_tokens)
        for key, billed in parts:
            if billed.priced or keeps_tokens:
                cells.setdefault(folded := grain.fold(key), Cell(folded)).billed += billed
        for key, own in invoice.own.usage.items():
            if key.family == family:
                cells.setdefault(folded := grain.fold(key), Cell(folded)).own += own
    return list(cells.values())


def _grain_notes(family: str, usd: Grain, keeps_tokens: bool) -> Iterator[str]:
    if not usd.has_day:
        yield f"{family}: the invoice has no days, so the ledger is added up for the whole period"
    if not usd.has_model:
        yield f"{family}: the invoice has no models, so the ledger is added up for all models"
    if not keeps_tokens:
        yield f"{family}: the usage report is coarser than the costs, so the command does not compare its tokens"


def other_notes(invoice: Invoice, cells: Iterable[Cell]) -> Iterator[str]:
    """Yield notes about lines outside of the period, and about our dollars in families without an invoice."""
    number, usd = invoice.outside
    if number:
        yield f"ignored {number:,} {'line' if number == 1 else 'lines'} of other days, with {usd:,.4f} usd"
    present, others = {cell.key.family for cell in cells}, defaultdict[str, Decimal](Decimal)
    for key, own in invoice.own.usage.items():
        if key.family not in present:
            others[key.family] += own.usd
    for family, usd in sorted(others.items()):
        if usd:
            yield f"{family}: no costs of it are in these files; the ledger has {usd:,.4f} usd"
