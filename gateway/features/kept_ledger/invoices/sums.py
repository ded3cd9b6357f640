"""Both sides of a comparison, added up in cells: a family of providers, a UTC day and a model."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Final

import attrs

from gateway.features.kept_ledger.invoices.line import ZERO, InvoiceLine, add_fields
from gateway.features.kept_ledger.invoices.model_names import family_of, find_model, fold_model
from gateway.features.kept_ledger.line import UNPRICED
from gateway.features.kept_ledger.table import LedgerSum, LedgerTable
from gateway.viewing.periods import days_between
from providers.catalog.prices import SUBSCRIPTION_RANK

NANO: Final = Decimal("1e-9")


# Ours


@attrs.frozen
class CellKey:
    """A family of providers, a day and a folded model."""

    family: str
    day: date
    model: str


@attrs.frozen(eq=False, repr=False)
class OwnUsage:
    """Our usage in one cell. ``usd`` does not include ``unpriced_requests``."""

    usd: Decimal = ZERO
    tokens: Decimal = ZERO
    requests: Decimal = ZERO
    unpriced_requests: Decimal = ZERO

    def __add__(self, other: "OwnUsage") -> "OwnUsage":
        return add_fields(self, other)


@attrs.frozen(eq=False, repr=False, slots=False)  # for its cached property
class OwnSide:
    """Our usage by cell. ``names`` has the model names in the ledger by family and folded name."""

    usage: Mapping[CellKey, OwnUsage]
    names: Mapping[tuple[str, str], str]

    @cached_property
    def models(self) -> Mapping[str, tuple[str, ...]]:
        """The folded names of the models by family."""
        found: dict[str, list[str]] = defaultdict(list)
        for family, model in self.names:
            found[family].append(model)
        return {family: tuple(models) for family, models in found.items()}


async def read_own_side(table: LedgerTable, since: date, until: date) -> OwnSide:
    """Read our usage from day ``since`` to before ``until``. Raises ``Unavailable``."""
    begin, end = (datetime(one.year, one.month, one.day, tzinfo=UTC) for one in (since, until))
    days = list(days_between(begin, end, UTC))
    found = await table.sums(("model", "grade"), [period for _, period in days])
    usage: dict[CellKey, OwnUsage] = defaultdict(OwnUsage)
    names: dict[tuple[str, str], str] = {}
    for (day, _), sums in zip(days, found, strict=True):
        for one in sums:
            model, grade = one.by
            if model is None or grade is None or "/" not in model or int(grade) == SUBSCRIPTION_RANK:
                continue
            provider, _, name = model.partition("/")
            key = family_of(provider), fold_model(name)
            names.setdefault(key, name)
            usage[CellKey(key[0], date.fromisoformat(day), key[1])] += _own_usage(one, int(grade))
    return OwnSide(dict(usage), names)


def _own_usage(found: LedgerSum, grade: int) -> OwnUsage:
    usage, requests, usd = found.usage, Decimal(found.requests), Decimal(found.nanos).scaleb(-9)
    tokens = Decimal(usage.input + usage.cache_read + usage.cache_write + usage.output)
    return OwnUsage(usd, tokens, requests, requests if grade == UNPRICED else ZERO)


# The invoice's


@attrs.frozen(eq=False, repr=False)
class Billed:
    """The invoice's side of a cell, and the numbers of its lines.

    ``rounding`` is the largest error of ``usd``. ``counted`` lines have tokens, ``joint`` ones also dollars, ``bare``
    ones only dollars."""

    usd: Decimal = ZERO
    rounding: Decimal = ZERO
    tokens: Decimal = ZERO
    counted: int = 0
    joint: int = 0
    bare: int = 0

    def __add__(self, other: "Billed") -> "Billed":
        return add_fields(self, other)


def _billed_of(line: InvoiceLine) -> Billed:
    is_counted = line.tokens is not None
    return Billed(
        line.usd or ZERO, line.rounding, line.tokens or ZERO, counted=int(is_counted),
        joint=int(line.usd is not None and is_counted), bare=int(bool(line.usd) and not is_counted),
    )  # fmt: skip


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

    ``coarse`` and ``outside`` have the number and the dollars of lines without a day or model, and outside of the
    period."""

    own: OwnSide
    since: date
    until: date
    cells: dict[CellKey, Billed] = attrs.field(factory=lambda: defaultdict(Billed))
    credits: dict[tuple[str, str], Decimal] = attrs.field(factory=lambda: defaultdict(Decimal))
    fees: dict[tuple[str, date, str], Decimal] = attrs.field(factory=lambda: defaultdict(Decimal))
    coarse: tuple[int, Decimal] = (0, ZERO)
    outside: tuple[int, Decimal] = (0, ZERO)
    names: dict[tuple[str, str], str] = attrs.field(factory=dict)

    def add(self, line: InvoiceLine) -> None:
        """Add ``line`` to its cell."""
        usd, day = line.usd or ZERO, line.day or line.since
        if not self.since <= day < self.until:
            self.outside = self.outside[0] + 1, self.outside[1] + usd
        elif line.is_credit:
            self.credits[line.provider, line.fee or "credit"] += usd
        elif line.fee is not None:
            self.fees[line.provider, day, line.fee[:60]] += usd
        elif line.day is None or (line.model is None and line.text is None):
            self.coarse = self.coarse[0] + 1, self.coarse[1] + usd
        else:
            family, model = self._model_of(line)
            self.cells[CellKey(family, day, model)] += _billed_of(line)

    def _model_of(self, line: InvoiceLine) -> tuple[str, str]:
        """Return the family and the folded model of a line."""
        family = line.provider
        if line.model is None and (found := find_model(line.text or "", self.own.models.get(family, ()))):
            return family, found
        name = line.model or (line.text or "")[:60]
        model = fold_model(name)
        if line.model is not None and family not in self.own.models:
            family = next((one for one, other in self.own.names if other == model), family)
        self.names.setdefault((family, model), name)
        return family, model

    def name_of(self, key: CellKey) -> str:
        """Return the name of a cell's model: as in the ledger, else as in the invoice."""
        place = key.family, key.model
        return self.own.names.get(place) or self.names.get(place) or key.model


def compare_cells(invoice: Invoice) -> list[Cell]:
    """Return the cells of an invoice and of our usage in the same families."""
    families = {*(key.family for key in invoice.cells), *(family for family, _, _ in invoice.fees)}
    cells = {key: Cell(key, billed) for key, billed in invoice.cells.items()}
    for key, own in invoice.own.usage.items():
        if key.family in families:
            cells.setdefault(key, Cell(key)).own += own
    return list(cells.values())


def other_notes(invoice: Invoice, cells: Iterable[Cell]) -> Iterator[str]:
    """Yield notes about ignored lines, and about our dollars in families without an invoice."""
    for (number, usd), words in (
        (invoice.outside, "of other days"),
        (invoice.coarse, "without a model or a single day: request the report by day and model"),
    ):
        if number:
            yield f"ignored {number:,} {'line' if number == 1 else 'lines'}, with {usd:,.4f} usd, {words}"
    present, others = {cell.key.family for cell in cells}, defaultdict[str, Decimal](Decimal)
    for key, own in invoice.own.usage.items():
        if key.family not in present:
            others[key.family] += own.usd
    for family, usd in sorted(others.items()):
        if usd:
            yield f"{family}: no costs of it are in these files; the ledger has {usd:,.4f} usd"
