"""Raises: larger amounts of budgets for a time, which the state storage has and ``raise_to`` of the file bounds."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Protocol

from configfile.wording import Wrong
from gateway.allowances.allowance import Holder
from gateway.config.allowances import Currency, SpendingBudget
from gateway.config.amounts import Period, read_budget


class RaiseRecord(Protocol):
    """More budget for a holder. Each of ``budgets``, such as ``40 usd/day``, replaces the amount of its period."""

    @property
    def budgets(self) -> tuple[str, ...]: ...


class RaiseSource(Protocol):
    """The raises, as last read."""

    def raise_of(self, holder: str) -> RaiseRecord | None:
        """Return the present raise of a client, or of ``group:NAME``."""
        ...


def _no_source() -> RaiseSource | None:
    return None


class Raises:
    """The raises of a process, across configurations. ``source`` returns ``None`` without a storage."""

    def __init__(self, source: Callable[[], RaiseSource | None] = _no_source) -> None:
        self._source = source

    def amount(self, holder: Holder, budget: SpendingBudget, raise_to: int) -> int:
        """Return the amount of ``budget`` with the present raise of ``holder``, which ``raise_to`` bounds."""
        source = self._source()
        found = None if source is None else source.raise_of(_name_in_raises(holder))
        if found is None:
            return budget.most
        raised = _amounts_in(found.budgets).get((budget.currency, budget.period), 0)
        return max(budget.most, min(raised, raise_to))


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
