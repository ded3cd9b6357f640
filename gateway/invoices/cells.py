"""Both sides of a comparison, added up in cells: a family of providers, a day, a model and an account.

The grain is that of the invoice: if it has no models, days or accounts, ours are added up as well."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Final

import attrs

from gateway.invoices.ledger_side import MOST_REQUESTS, OwnRequest, OwnSide, OwnUsage
from gateway.invoices.line import ZERO, InvoiceLine, Tokens
from gateway.invoices.model_names import find_model, fold_model

MOST_NAMES: Final = 10_000
"""Model names of an invoice that are not in the ledger; others become ``(other)``."""


@attrs.frozen
class CellKey:
    """The place of a cell; ``None`` where the grain is coarser."""

    family: str
    day: date | None
    model: str | None
    account: str | None


_FLAGS: Final = ("has_bare_usd", "has_joint_lines", "has_lines_without_id")


@attrs.define(eq=False, repr=False)
class Billed:
    """The invoice's side of a cell. ``tier_usd`` and ``tier_tokens`` are of service tiers other than the standard one.

    ``has_bare_usd``: some dollars have no tokens in the same line; ``has_joint_lines``: some have. ``ids`` has the
    dollars of single requests, and the largest error of each by rounding."""

    usd: Decimal = ZERO
    rounding: Decimal = ZERO
    tokens: Tokens = attrs.field(factory=Tokens)
    requests: Decimal = ZERO
    tier_usd: Decimal = ZERO
    tier_tokens: Decimal = ZERO
    has_usd: bool = False
    has_tokens: bool = False
    splits_cache: bool = True
    has_bare_usd: bool = False
    has_joint_lines: bool = False
    ids: dict[str, tuple[Decimal, Decimal]] = attrs.field(factory=dict)
    has_lines_without_id: bool = False

    def add(self, line: InvoiceLine, *, keeps_id: bool) -> None:
        """Add the amounts of ``line``, and its id if ``keeps_id``."""
        if line.usd is not None:
            self.usd += line.usd
            self.rounding += line.rounding
            self.has_usd = True
            self.has_bare_usd |= bool(line.usd) and line.tokens is None
            self.has_joint_lines |= line.tokens is not None
            if keeps_id:
                self._add_id(line)
        if line.tokens is not None:
            self.tokens += line.tokens
            self.has_tokens, self.splits_cache = True, self.splits_cache and line.splits_cache
        if line.requests is not None:
            self.requests += line.requests
        if line.tier is not None:
            self.tier_usd += line.usd or ZERO
            self.tier_tokens += ZERO if line.tokens is None else line.tokens.prompt + line.tokens.output

    def _add_id(self, line: InvoiceLine) -> None:
        if line.request_id is None:
            self.has_lines_without_id = True
            return
        usd, rounding = self.ids.get(line.request_id, (ZERO, ZERO))
        self.ids[line.request_id] = usd + (line.usd or ZERO), rounding + line.rounding

    def merge(self, other: "Billed") -> None:
        """Add the amounts of ``other``."""
        for name in ("usd", "rounding", "tokens", "requests", "tier_usd", "tier_tokens"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("has_usd", "has_tokens", *_FLAGS):
            setattr(self, name, getattr(self, name) or getattr(other, name))
        self.splits_cache = self.splits_cache and other.splits_cache
        self.ids |= other.ids


@attrs.define(eq=False, repr=False)
class Grain:
    """The finest grain in which an invoice of a family states all its dollars, and its tokens."""

    has_day: bool = True
    has_model: bool = True
    has_account: bool = False

    def fold(self, key: CellKey) -> CellKey:
        """Return the cell of this grain that contains ``key``."""
        return CellKey(
            key.family,
            key.day if self.has_day else None,
            key.model if self.has_model else None,
            key.account if self.has_account else None,
        )


@attrs.define(eq=False, repr=False)
class Cell:
    """One cell of a comparison: the ``billed`` sums of an invoice, and our ``own`` usage, days and requests."""

    key: CellKey
    billed: Billed
    own: OwnUsage = attrs.field(factory=OwnUsage)
    own_days: frozenset[date] = frozenset()
    own_requests: dict[str, OwnRequest] = attrs.field(factory=dict)

    @property
    def difference(self) -> Decimal:
        """The dollars of the invoice less ours."""
        return self.billed.usd - self.own.usd

    @property
    def has_ids(self) -> bool:
        """Whether the invoice lists single requests with their ids in this cell, or none of ours."""
        return not self.billed.has_lines_without_id and self.key.day is not None

    @property
    def has_tokens(self) -> bool:
        """Whether the invoice states the tokens of all its dollars in this cell."""
        billed = self.billed
        return billed.has_tokens and not (billed.has_bare_usd and billed.has_joint_lines)


@attrs.define(eq=False, repr=False)
class Invoice:
    """The lines of an invoice, added up by ``add``. ``credits`` and ``fees`` are by family, day and name.

    ``outside`` has the number and the dollars of lines outside of the period. ``billed_ids`` are the ids of all
    requests; ``has_too_many_ids`` if they are more than ``MOST_REQUESTS``, which are compared by sums."""

    own: OwnSide
    since: date
    until: date
    cells: dict[CellKey, Billed] = attrs.field(factory=lambda: defaultdict(Billed))
    usd_grains: dict[str, Grain] = attrs.field(factory=lambda: defaultdict(Grain))
    token_grains: dict[str, Grain] = attrs.field(factory=lambda: defaultdict(Grain))
    credits: dict[tuple[str, str], Decimal] = attrs.field(factory=lambda: defaultdict(Decimal))
    fees: dict[tuple[str, date | None, str], Decimal] = attrs.field(factory=lambda: defaultdict(Decimal))
    outside: tuple[int, Decimal] = (0, ZERO)
    names: dict[tuple[str, str], str] = attrs.field(factory=dict)
    billed_ids: set[str] = attrs.field(factory=set)
    has_too_many_ids: bool = False
    _found: dict[tuple[str, str], str] = attrs.field(factory=dict)

    def add(self, line: InvoiceLine) -> None:
        """Add ``line`` to its cell."""
        self._note_id(line.request_id)
        if not self.since <= (line.day or line.since) < self.until:
            self.outside = self.outside[0] + 1, self.outside[1] + (line.usd or ZERO)
            return
        family = line.provider
        if line.kind == "credit":
            self.credits[family, line.fee or "credit"] += line.usd or ZERO
            return
        if line.fee is not None:
            self.fees[family, line.day, line.fee[:60]] += line.usd or ZERO
            return
        family, model = self._place_of(line)
        key = CellKey(family, line.day, model, self._account_of(line, family))
        self.cells[key].add(line, keeps_id=bool(self.own.requests) and not self.has_too_many_ids)
        grain = (self.usd_grains if line.usd is not None else self.token_grains)[family]
        grain.has_day &= line.day is not None
        grain.has_model &= model is not None
        grain.has_account |= bool(line.accounts)

    def _note_id(self, id: str | None) -> None:
        if id is None or not self.own.requests or self.has_too_many_ids:
            return
        self.billed_ids.add(id)
        if len(self.billed_ids) > MOST_REQUESTS:
            self.billed_ids.clear()
            self.has_too_many_ids = True

    def _place_of(self, line: InvoiceLine) -> tuple[str, str | None]:
        """Return the family and the folded model of a line."""
        family = line.provider
        if line.model is None:
            return family, None if line.text is None else self._model_in(line.text, family)
        model = fold_model(line.model)
        if family not in self.own.families:
            family = next((one for one, name in self.own.names if name == model), family)
        return family, self._note_name(family, model, line.model)

    def _model_in(self, text: str, family: str) -> str:
        """Return the folded model in a description. Most descriptions occur in many lines."""
        if (family, text) in self._found:
            return self._found[family, text]
        found = find_model(text, self.own.models_of(family))
        if found is None:
            name = _before_meter(text)
            found = self._note_name(family, fold_model(name), name)
        if len(self._found) < MOST_NAMES:
            self._found[family, text] = found
        return found

    def _note_name(self, family: str, model: str, name: str) -> str:
        if (family, model) not in self.own.names and (family, model) not in self.names:
            if len(self.names) >= MOST_NAMES:
                return "(other)"
            self.names[family, model] = name
        return model

    def _account_of(self, line: InvoiceLine, family: str) -> str | None:
        known = self.own.accounts.get(family, frozenset())
        return next((one for one in line.accounts if one in known), None)

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
    families = {*invoice.usd_grains, *(family for family, _, _ in invoice.fees)}
    found: list[Cell] = []
    for family in sorted(families):
        usd, tokens = invoice.usd_grains[family], invoice.token_grains[family]
        accounts = invoice.own.accounts.get(family)
        grain = Grain(usd.has_day, usd.has_model, usd.has_account and bool(accounts))
        keeps_tokens = _is_as_fine(tokens, grain)
        notes += _grain_notes(family, usd, grain, bool(accounts), keeps_tokens)
        cells: dict[CellKey, Cell] = {}
        for key, billed in invoice.cells.items():
            if key.family == family and (billed.has_usd or keeps_tokens):
                cell = cells.setdefault(folded := grain.fold(key), Cell(folded, Billed()))
                cell.billed.merge(billed)
        for place, own in invoice.own.usage.items():
            if place[0] == family:
                cell = cells.setdefault(folded := grain.fold(CellKey(*place)), Cell(folded, Billed()))
                cell.own += own
                cell.own_days |= {place[1]}
        for id, request in invoice.own.requests.items():
            if request.place[0] == family and invoice.since <= request.place[1] < invoice.until:
                folded = grain.fold(CellKey(*request.place))
                cells.setdefault(folded, Cell(folded, Billed())).own_requests[id] = request
        found += cells.values()
    return found


def _is_as_fine(tokens: Grain, grain: Grain) -> bool:
    return not any(
        (grain.has_day and not tokens.has_day, grain.has_model and not tokens.has_model,
         grain.has_account and not tokens.has_account)
    )  # fmt: skip


def _grain_notes(family: str, usd: Grain, grain: Grain, wants_accounts: bool, keeps_tokens: bool) -> Iterable[str]:
    if not grain.has_day:
        yield f"{family}: the invoice has no days, so the ledger is added up for the whole period"
    if not grain.has_model:
        yield f"{family}: the invoice has no models, so the ledger is added up for all models"
    if wants_accounts and not usd.has_account:
        yield f"{family}: the invoice has no accounts, so the ledger is added up for all values of billed_as"
    if not keeps_tokens:
        yield f"{family}: the usage report is coarser than the costs, so the command does not compare its tokens"


def other_families(invoice: Invoice, cells: Iterable[Cell]) -> Mapping[str, Decimal]:
    """Return our dollars in families without an invoice in the files."""
    present = {cell.key.family for cell in cells}
    found: dict[str, Decimal] = defaultdict(Decimal)
    for place, own in invoice.own.usage.items():
        if place[0] not in present:
            found[place[0]] += own.usd
    return found
