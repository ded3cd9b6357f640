"""The present amounts of budgets with the raises that the state storage has."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol

from configfile.keys import part_of
from configfile.wording import Wrong
from gateway.allowances.allowance import Holder
from gateway.config.allowances import Currency, SpendingBudget
from gateway.config.amounts import Period, read_budget
from gateway.config.clients import ClientGroup, ClientKey
from gateway.features.admin.feature import RaiseRights


class RaiseRecord(Protocol):
    """More budget for a holder. Each of ``budgets``, such as ``40 usd/day``, replaces the amount of its period."""

    @property
    def budgets(self) -> tuple[str, ...]: ...


class RaiseSource(Protocol):
    """The raises, as last read."""

    def raise_of(self, holder: str) -> RaiseRecord | None:
        """Return the present raise of a client, or of ``group:NAME``."""
        ...


def highest_amount(settings: ClientKey | ClientGroup, budget: SpendingBudget) -> int | None:
    """Return the amount to which a raise may lift ``budget``, ``None`` if it may not."""
    period = (budget.currency, budget.period)
    found = part_of(settings, RaiseRights).raise_to
    return next((one.most for one in found if (one.currency, one.period) == period), None)


def raised_amount(source: RaiseSource | None, holder: Holder, budget: SpendingBudget, most: int) -> int:
    """Return the amount of ``budget`` with the present raise of ``holder``, which ``most`` bounds."""
    found = None if source is None else source.raise_of(_name_in_raises(holder))
    if found is None:
        return budget.most
    raised = _amounts_in(found.budgets).get((budget.currency, budget.period), 0)
    return max(budget.most, min(raised, most))


def _name_in_raises(holder: Holder) -> str:
    return f"group:{holder.name}" if holder.kind == "client_groups" else holder.name


@lru_cache(1024)
def _amounts_in(budgets: tuple[str, ...]) -> Mapping[tuple[Currency, Period], int]:
    """Return the raised amounts by currency and period. Amounts that cannot be read raise nothing."""
    found: dict[tuple[Currency, Period], int] = {}
    for text in budgets:
        try:
            budget = read_budget(text)
        except Wrong:
            continue
        found[budget.currency, budget.period] = budget.most
    return found
