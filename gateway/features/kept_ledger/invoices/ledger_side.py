"""The ledger's side of a comparison: its usage by UTC day and model."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property

import attrs

from gateway.features.kept_ledger.invoices.line import ZERO, add_fields
from gateway.features.kept_ledger.invoices.model_names import family_of, fold_model
from gateway.features.kept_ledger.line import UNPRICED
from gateway.features.kept_ledger.table import LedgerSum, LedgerTable
from gateway.viewing.periods import days_between
from providers.catalog.prices import SUBSCRIPTION_RANK


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
