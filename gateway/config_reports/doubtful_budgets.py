"""Warnings about budgets that a restart resets, and about models that no budget limits."""

from collections.abc import Iterator, Mapping
from typing import Final

from gateway.config.allowances import Rolling, SpendingBudget
from gateway.config.settings import Config
from gateway.config_files.allowance_checks import has_money_budget, uncountable_models

_DAY: Final = 86400.0
_NAMED: Final = 3
_LENGTHS: Final[Mapping[str, float]] = {"hour": _DAY / 24, "day": _DAY, "week": 7 * _DAY, "month": 31 * _DAY}


_KEEPING: Final = ("sqlite", "postgres")
_KEEP: Final = "set `state_storage` to sqlite or postgres, or `counters` to redis or postgres"
_KEEP_MORE: Final = "raise `state_storage.ledger.keep`"


def forgotten_budgets(config: Config) -> Iterator[str]:
    """Yield a warning about budgets of a day or longer that a restart resets."""
    if config.counters.type != "memory":
        return
    storage = config.state_storage
    long = [
        f"{budget.text} of {holder}"
        for holder, budget in _budgets_with_holders(config)
        if _is_reset_by_restart(budget, config.kept_spending)
    ]
    if long:
        more = f" and {len(long) - _NAMED} more" if len(long) > _NAMED else ""
        yield (
            f"budgets: {', '.join(long[:_NAMED])}{more}: if the process ends before the period does, earlier "
            f"spending is forgotten: {_KEEP if storage is None or storage.type not in _KEEPING else _KEEP_MORE}"
        )


def _is_reset_by_restart(budget: SpendingBudget, kept: float) -> bool:
    """Return whether a restart resets the budget if the ledger is kept for ``kept`` seconds.

    Budgets by the hour or run are too short for a warning."""
    if budget.period == "run":
        return False
    seconds = budget.period.seconds if isinstance(budget.period, Rolling) else _LENGTHS[budget.period]
    return seconds >= _DAY and seconds > kept


def _budgets_with_holders(config: Config) -> Iterator[tuple[str, SpendingBudget]]:
    """Yield each budget with the name of its holder, a group's once."""
    yield from (("everybody", budget) for budget in config.budgets)
    clients = (*config.client_keys, *config.rule_clients)
    groups = {key.group.name: key.group for key in clients if key.group is not None}
    for holders in (clients, groups.values(), config.entries):
        for holder in holders:
            yield from ((holder.name, budget) for budget in holder.budgets)


_LISTED: Final = 5
"""Models listed in the warning."""


def uncounted_models(config: Config) -> Iterator[str]:
    """Yield a warning if the file allows models without a price and has budgets of money."""
    if config.unpriced != "allow" or not has_money_budget(config):
        return
    models = list(dict.fromkeys(f"{one.entry.provider.id}/{one.model}" for one in uncountable_models(config)))
    names = [*models[:_LISTED], *([f"{len(models) - _LISTED} more"] if len(models) > _LISTED else [])]
    names += [f"any model of {entry.name} without a price" for entry in config.entries if entry.wildcard]
    if names:
        yield (
            f"unpriced: budgets in dollars count {', '.join(names)} as free, so they never limit these models: set "
            "`price: {input: DOLLARS, output: DOLLARS}` per million tokens in each entry, or `price: free`"
        )
