"""A feature for trigate: a header that names the budgets which a request counts for."""

import attrs

from trigate.features import (
    Addition,
    Config,
    ExchangeObserver,
    Feature,
    Headers,
    Hooks,
    Keys,
    Ports,
    Record,
    Running,
    part_of,
    setting,
)  # fmt: skip


@attrs.frozen
class BudgetHeaderKeys:
    """The keys of the root."""

    budget_header: str = setting("The header that names the budgets of a request.", "x-budgets")


class BudgetHeader(ExchangeObserver):
    """Adds the header to each response."""

    def __init__(self, name: str) -> None:
        self._name = name

    def headers(self, record: Record, *, is_whole: bool) -> Headers:
        texts = () if record.reservation is None else record.reservation.budget_texts(record)
        return ((self._name, ", ".join(texts)),) if texts else ()


def is_wanted(config: Config) -> bool:
    """Return whether anyone has a budget."""
    return bool(config.budgets) or any(one.budgets for one in (*config.client_keys, *config.client_groups))


def open_header(config: Config, ports: Ports, before: Running | None) -> Running:
    """Return the feature for one configuration. The observer keeps nothing, so one serves all exchanges."""
    observer = BudgetHeader(part_of(config, BudgetHeaderKeys).budget_header)
    return Addition(Hooks(observe=(lambda record, arrival: observer,)))


FEATURE = Feature(
    "budget_header",
    "budget_header:open_header",
    is_wanted,
    keys=(Keys(Config, BudgetHeaderKeys),),
    contract=1,
)
