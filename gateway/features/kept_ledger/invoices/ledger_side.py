"""The ledger's side of a comparison: its usage by UTC day and model."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property

import attrs

from gateway.config.model_entry import ModelEntry
from gateway.features.kept_ledger.invoices.line import ZERO, TokenKind, Tokens, add_fields
from gateway.features.kept_ledger.invoices.model_names import family_of, fold_model
from gateway.features.kept_ledger.line import UNPRICED
from gateway.features.kept_ledger.table import LedgerSum, LedgerTable
from gateway.ledger.periods import days_between
from providers.catalog.prices import SUBSCRIPTION_RANK, Price, price_of


@attrs.frozen
class CellKey:
    """A family of providers, a day and a folded model; ``None`` where the grain is coarser."""

    family: str
    day: date | None
    model: str | None


@attrs.frozen(eq=False, repr=False)
class OwnUsage:
    """Our usage in one cell. ``unpriced`` are the tokens that ``usd`` does not include."""

    usd: Decimal = ZERO
    tokens: Tokens = attrs.field(factory=Tokens)
    requests: Decimal = ZERO
    unpriced: Tokens = attrs.field(factory=Tokens)
    unpriced_requests: Decimal = ZERO

    def __add__(self, other: "OwnUsage") -> "OwnUsage":
        return add_fields(self, other)


@attrs.frozen(eq=False, repr=False, slots=False)  # for its cached property
class OwnSide:
    """Our usage by cell. ``names`` has the model names in the ledger by family and folded name, ``prices`` the dollars
    for a token of each kind."""

    usage: Mapping[CellKey, OwnUsage]
    names: Mapping[tuple[str, str], str]
    prices: Mapping[tuple[str, str], Mapping[TokenKind, Decimal]]

    @cached_property
    def models(self) -> Mapping[str, tuple[str, ...]]:
        """The folded names of the models by family."""
        found: dict[str, list[str]] = defaultdict(list)
        for family, model in self.names:
            found[family].append(model)
        return {family: tuple(models) for family, models in found.items()}


async def read_own_side(table: LedgerTable, since: date, until: date, entries: Sequence[ModelEntry]) -> OwnSide:
    """Read our usage from day ``since`` to before ``until``. Raises ``Unavailable``."""
    begin, end = (datetime(one.year, one.month, one.day, tzinfo=UTC) for one in (since, until))
    days = list(days_between(begin, end, UTC))
    found = await table.sums(("model", "target", "grade"), [period for _, period in days])
    usage: dict[CellKey, OwnUsage] = defaultdict(OwnUsage)
    names: dict[tuple[str, str], str] = {}
    prices: dict[tuple[str, str], Mapping[TokenKind, Decimal]] = {}
    for (day, _), sums in zip(days, found, strict=True):
        for one in sums:
            model, target, grade = one.by
            if model is None or grade is None or "/" not in model or int(grade) == SUBSCRIPTION_RANK:
                continue
            provider, _, name = model.partition("/")
            key = family_of(provider), fold_model(name)
            names.setdefault(key, name)
            if key not in prices and (price := _price_of(entries, target, provider, name)) is not None:
                prices[key] = token_prices(price)
            usage[CellKey(key[0], date.fromisoformat(day), key[1])] += _own_usage(one, int(grade))
    return OwnSide(dict(usage), names, prices)


def _own_usage(found: LedgerSum, grade: int) -> OwnUsage:
    usage, requests, usd = found.usage, Decimal(found.requests), Decimal(found.nanos).scaleb(-9)
    tokens = Tokens(*map(Decimal, (usage.input, usage.cache_read, usage.cache_write, usage.output)))
    if grade == UNPRICED:
        return OwnUsage(usd, tokens, requests, unpriced=tokens, unpriced_requests=requests)
    return OwnUsage(usd, tokens, requests)


def token_prices(price: Price) -> Mapping[TokenKind, Decimal]:
    """Return the dollars for a token of each kind."""
    kinds: Mapping[TokenKind, int] = {
        "input": price.input,
        "cached": price.input if price.cached is None else price.cached,
        "cache_write": price.input if price.cache_write is None else price.cache_write,
        "output": price.output,
    }
    return {kind: Decimal(nanos).scaleb(-15) for kind, nanos in kinds.items()}


def _price_of(entries: Sequence[ModelEntry], target: str | None, provider: str, model: str) -> Price | None:
    """Return the present price of a model, from the entry of ``target`` or the price list."""
    named = (one for one in entries if (one.provider.id == provider if one.wildcard else one.name == target))
    entry = min(named, key=lambda one: one.wildcard, default=None)
    return (None if entry is None else entry.price) or price_of(provider, model)
