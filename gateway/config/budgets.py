"""Budgets of clients, of groups of them and of entries."""

from collections.abc import Iterator, Sequence
from typing import Final

from gateway.config.allowances import Rolling, SpendingBudget
from gateway.config.document import Path
from gateway.config.expanded import Unresolved
from gateway.config.findings import Findings
from gateway.config.settings import ClientGroup, ClientKey, Config, ModelEntry

_DAY: Final = 86400.0
_NAMED: Final = 3


def build_budgets(given: Sequence[SpendingBudget], path: Path, findings: Findings) -> tuple[SpendingBudget, ...]:
    """The budgets that the file gives at ``path``. Two for the same period are a mistake: they would be one sum."""
    budgets: dict[object, SpendingBudget] = {}
    for i, budget in enumerate(given):
        if isinstance(budget, Unresolved):
            continue
        known = budgets.setdefault((budget.currency, budget.period), budget)
        if known is not budget:
            found = f"{budget.text} is for the same period as {known.text}"
            findings.wrong((*path, "budgets", i), found, "keep the one that is meant")
    return tuple(budgets.values())


def doubtful_budgets(config: Config) -> Iterator[str]:
    """A warning of budgets that a restart makes new before their period has ended."""
    kept = config.state_storage is not None and config.state_storage.type in ("sqlite", "postgres")
    if kept or config.counters.type != "memory":
        return
    long = [f"{budget.text} of {holder}" for holder, budget in _held(config) if _is_long(budget)]
    if long:
        more = f" and {len(long) - _NAMED} more" if len(long) > _NAMED else ""
        yield (
            f"budgets: {', '.join(long[:_NAMED])}{more}: what has been spent is forgotten when the process ends, "
            "before the period does: give `state_storage` of sqlite or postgres, or `counters` of redis or postgres"
        )


def _held(config: Config) -> Iterator[tuple[str, SpendingBudget]]:
    """All budgets with the names of their holders; a group's once."""
    groups = {key.group.name: key.group for key in config.client_keys if key.group is not None}
    holders: tuple[ClientKey | ClientGroup | ModelEntry, ...] = (
        *config.client_keys,
        *groups.values(),
        *config.entries,
    )
    for holder in holders:
        for budget in holder.budgets:
            yield holder.name, budget


def _is_long(budget: SpendingBudget) -> bool:
    period = budget.period
    return period.seconds > _DAY if isinstance(period, Rolling) else period in ("week", "month")
