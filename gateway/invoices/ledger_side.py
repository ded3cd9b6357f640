"""The ledger's side of a comparison: its usage by UTC day, model and account, and the days with lost
lines."""

import operator
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Final, TypeAlias

import attrs

from gateway.config.model_entry import ModelEntry
from gateway.invoices.line import ZERO, TokenKind, Tokens
from gateway.invoices.model_names import family_of, fold_model
from gateway.kept_ledger.columns import LOST_COUNT
from gateway.kept_ledger.line import UNPRICED
from gateway.kept_ledger.table import LedgerSum, LedgerTable
from gateway.kept_ledger.usage import SILENT
from gateway.kept_ledger.usage_periods import days_between, microseconds
from providers.catalog.prices import GRADES, SUBSCRIPTION_RANK, Price, price_of

_ESTIMATED: Final = GRADES.index("estimated")

Place: TypeAlias = tuple[str, date, str, str | None]
"""A family of providers, a day, a folded model and an account."""


@attrs.frozen(eq=False, repr=False)
class OwnUsage:
    """Our usage in one place. ``estimated`` is the part of ``usd`` whose tokens or prices are estimates; ``unpriced``
    are the tokens that ``usd`` does not include. ``doubled`` is the cost of requests that the ledger has twice."""

    usd: Decimal = ZERO
    tokens: Tokens = attrs.field(factory=Tokens)
    requests: Decimal = ZERO
    estimated: Decimal = ZERO
    unpriced: Tokens = attrs.field(factory=Tokens)
    unpriced_requests: Decimal = ZERO
    doubled: Decimal = ZERO
    doubled_tokens: Tokens = attrs.field(factory=Tokens)

    def __add__(self, other: "OwnUsage") -> "OwnUsage":
        return OwnUsage(*map(operator.add, attrs.astuple(self, recurse=False), attrs.astuple(other, recurse=False)))


MOST_REQUESTS: Final = 500_000
"""The most single requests to match with those of an invoice; about 200 MB."""


@attrs.frozen(eq=False, repr=False)
class OwnRequest:
    """A request of ours that a provider bills: its place and its cost."""

    place: Place
    usd: Decimal
    is_estimated: bool
    is_unpriced: bool


@attrs.frozen(eq=False, repr=False, slots=False)  # for its cached property
class OwnSide:
    """Our usage by place. ``names`` has the model names in the ledger by family and folded name, ``prices`` the dollars
    for a token of each kind, ``gap_days`` the days with lines that are known to be missing.

    ``requests`` are single requests by the provider's id, if the invoice lists them, with those of the day before and
    after the period."""

    usage: Mapping[Place, OwnUsage]
    names: Mapping[tuple[str, str], str]
    prices: Mapping[tuple[str, str], Mapping[TokenKind, Decimal]]
    gap_days: frozenset[date]
    accounts: Mapping[str, frozenset[str]]
    requests: Mapping[str, OwnRequest] = attrs.field(factory=dict)

    @cached_property
    def families(self) -> frozenset[str]:
        """The families that we used."""
        return frozenset(family for family, _ in self.names)

    def models_of(self, family: str) -> list[str]:
        """Return the folded names of the models in a family."""
        return [model for one, model in self.names if one == family]


async def read_own_side(
    table: LedgerTable,
    since: date,
    until: date,
    entries: Sequence[ModelEntry],
    kept_from: datetime,
    *,
    single: bool = False,
) -> OwnSide:
    """Read our usage from day ``since`` to before ``until``; if ``single``, also its requests. Raises
    ``Unavailable``."""
    begin, end = (datetime(one.year, one.month, one.day, tzinfo=UTC) for one in (since, until))
    days = list(days_between(begin, end, UTC))
    found = await table.sums(("model", "target", "grade"), [period for _, period in days])
    billed_as = BilledAs(entries)
    usage: dict[Place, OwnUsage] = defaultdict(OwnUsage)
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
            if key not in prices and (price := billed_as.price_of(target, provider, name)) is not None:
                prices[key] = token_prices(price)
            place = key[0], date.fromisoformat(day), key[1], billed_as.account_of(target, provider)
            usage[place] += _own_usage(one, int(grade))
    for (day, _), doubled in zip(days, await table.repeated_lines([period for _, period in days]), strict=True):
        for one in doubled:
            provider, _, name = (one.by[0] or "").partition("/")
            account = billed_as.account_of(one.by[1], provider)
            repeated = _own_usage(one, 0)
            place = family_of(provider), date.fromisoformat(day), fold_model(name), account
            usage[place] += OwnUsage(doubled=repeated.usd, doubled_tokens=repeated.tokens)
    gaps = await _gap_days(table, (microseconds(begin), microseconds(end)), since, kept_from)
    requests = await _read_requests(table, (begin, end), billed_as) if single else {}
    return OwnSide(dict(usage), names, prices, gaps, billed_as.accounts, requests)


async def _read_requests(
    table: LedgerTable, period: tuple[datetime, datetime], billed_as: "BilledAs"
) -> dict[str, OwnRequest]:
    """Return our requests by the provider's id, with those of a day before and after, ``{}`` for too many."""
    since, until = microseconds(period[0] - timedelta(days=1)), microseconds(period[1] + timedelta(days=1))
    rows = await table.billed_requests((since, until), MOST_REQUESTS + 1)
    if len(rows) > MOST_REQUESTS:
        return {}
    found: dict[str, OwnRequest] = {}
    for id, began, model, target, nanos, grade in rows:
        provider, _, name = model.partition("/")
        place = family_of(provider), _day(began), fold_model(name), billed_as.account_of(target, provider)
        found.setdefault(id, OwnRequest(place, _dollars(nanos), grade == _ESTIMATED, grade == UNPRICED))
    return found


def _own_usage(found: LedgerSum, grade: int) -> OwnUsage:
    usage, requests = found.usage, Decimal(found.requests)
    counts = (usage.input, usage.cache_read, usage.cache_write, usage.output)
    tokens = Tokens(*[Decimal(one) for one in counts])
    if grade == UNPRICED:
        return OwnUsage(_dollars(found.nanos), tokens, requests, unpriced=tokens, unpriced_requests=requests)
    usd = _dollars(found.nanos)
    return OwnUsage(usd, tokens, requests, estimated=usd if grade >= _ESTIMATED else ZERO)


def _dollars(nanos: int) -> Decimal:
    return Decimal(nanos).scaleb(-9)


async def _gap_days(table: LedgerTable, period: tuple[int, int], since: date, kept_from: datetime) -> frozenset[date]:
    """Return the days with lines that are known to be missing from the ledger."""
    days: set[date] = set()
    for start in await table.gap_starts(period, microseconds(datetime.now(UTC)) - SILENT):
        days |= {_day(start), _day(start + SILENT)}
    for part in await table.folded_parts(period):
        if part.level == LOST_COUNT:
            days |= _days_from(_day(part.first), _day(part.last))
    first_kept = kept_from.astimezone(UTC).date()
    return frozenset(days | (_days_from(since, first_kept) if since < first_kept else set()))


def _days_from(first: date, last: date) -> set[date]:
    return {first + timedelta(days=at) for at in range((last - first).days + 1)}


def _day(micro: int) -> date:
    return datetime.fromtimestamp(micro / 1e6, UTC).date()


def token_prices(price: Price) -> Mapping[TokenKind, Decimal]:
    """Return the dollars for a token of each kind."""
    kinds: Mapping[TokenKind, int] = {
        "input": price.input,
        "cached": price.input if price.cached is None else price.cached,
        "cache_write": price.input if price.cache_write is None else price.cache_write,
        "output": price.output,
    }
    return {kind: Decimal(nanos).scaleb(-15) for kind, nanos in kinds.items()}


class BilledAs:
    """The entries of a configuration by their names in the ledger: their accounts on invoices, and their prices."""

    def __init__(self, entries: Sequence[ModelEntry]) -> None:
        self._named = {one.name: one for one in entries if not one.wildcard}
        self._wild = {one.provider.id: one for one in entries if one.wildcard}
        accounts: dict[str, set[str]] = defaultdict(set)
        for one in entries:
            if one.billed_as is not None:
                accounts[family_of(one.provider.id)].add(one.billed_as)
        self.accounts = {family: frozenset(found) for family, found in accounts.items()}

    def _entry(self, target: str | None, provider: str) -> ModelEntry | None:
        return self._named.get(target or "") or self._wild.get(provider)

    def account_of(self, target: str | None, provider: str) -> str | None:
        """Return ``billed_as`` of the entry of ``target``."""
        entry = self._entry(target, provider)
        return None if entry is None else entry.billed_as

    def price_of(self, target: str | None, provider: str, model: str) -> Price | None:
        """Return the present price of a model, from the configuration or the price list."""
        entry = self._entry(target, provider)
        return (None if entry is None else entry.price) or price_of(provider, model)
