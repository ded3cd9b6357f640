"""Models without a price under budgets of money."""

from collections.abc import Iterator
from typing import Final

import attrs

from gateway.config.clients import ClientGroup, ClientKey
from gateway.config.entry_price import entry_price
from gateway.config.model_entry import ModelEntry
from gateway.config.names import Found, Names
from gateway.config.patterns import matches_one
from gateway.config.settings import Config
from streams.errors import GatewayError


@attrs.frozen(repr=False)
class Unpriced:
    """A ``model`` of an ``entry`` without a price, under a budget of ``holder`` as the file writes it."""

    entry: ModelEntry
    model: str
    holder: str
    budget: str

    @property
    def found(self) -> str:
        return f"{self.entry.provider.id}/{self.model} has no price, but {self.holder} has a budget of {self.budget}"


ADVICE: Final = (
    "set `price: {input: DOLLARS, output: DOLLARS}` per million tokens, or `price: free`; with `unpriced: allow` "
    "at the root, it counts as free"
)


def unpriced(config: Config) -> Iterator[Unpriced]:
    """Yield models whose costs cannot be counted, so that no budget would stop them (BerriAI/litellm#10598).

    Of a wildcard, only models that the file names are known."""
    if config.unpriced == "refuse":
        yield from _find_unpriced(config)


_NAMED: Final = 5
"""Models listed in the warning."""


def uncounted(config: Config) -> Iterator[str]:
    """Yield a warning if the file allows models without a price and has budgets of money."""
    if config.unpriced != "allow" or not _has_money_budget(config):
        return
    models = list(dict.fromkeys(f"{one.entry.provider.id}/{one.model}" for one in _find_unpriced(config)))
    names = [*models[:_NAMED], *([f"{len(models) - _NAMED} more"] if len(models) > _NAMED else [])]
    names += [f"any model of {entry.name} without a price" for entry in config.entries if entry.wildcard]
    if names:
        yield (
            f"unpriced: budgets in dollars count {', '.join(names)} as free, so they never limit these models: set "
            "`price: {input: DOLLARS, output: DOLLARS}` per million tokens in each entry, or `price: free`"
        )


def _has_money_budget(config: Config) -> bool:
    clients = (*config.client_keys, *config.rule_clients)
    groups = [key.group for key in clients if key.group is not None]
    holders: list[Config | ModelEntry | ClientKey | ClientGroup] = [
        config, *config.entries, *clients, *groups,
    ]  # fmt: skip
    return any(map(_dollar_budgets, holders))


def _find_unpriced(config: Config) -> Iterator[Unpriced]:
    seen: set[tuple[str, str]] = set()
    for holder, budget, found in _models_under_budgets(config):
        key = (found.entry.name, found.model)
        if key not in seen and not _has_price(found):
            seen.add(key)
            yield Unpriced(found.entry, found.model, holder, budget)


def _has_price(found: Found) -> bool:
    return entry_price(found.entry, found.model) is not None


def _models_under_budgets(config: Config) -> Iterator[tuple[str, str, Found]]:
    """Yield the models that a budget of money limits, at the root, an entry, a client or its group."""
    names = Names(config.entries, config.aliases, config.routes, config.model_names)
    every = tuple(dict.fromkeys((*(entry.name for entry in config.entries), *config.aliases, *config.routes)))
    all_found = [found for name in every for found in _resolve_or_empty(names, name)]
    for text in _dollar_budgets(config):
        yield from (("the root of the file", text, one) for one in all_found)
    for entry in config.entries:
        for text in _dollar_budgets(entry):
            yield from ((f"model_providers.{entry.name}", text, one) for one in all_found if one.entry is entry)
    for client in (*config.client_keys, *config.rule_clients):
        mine = [found for name in _requestable_names(client, every) for found in _resolve_or_empty(names, name)]
        within = [one for one in mine if all(matches_one(one.entry.name, wall) for wall in client.walls)]
        for text in _dollar_budgets(client):
            where = "issuers" if client.source == "rule" else "client_keys"
            yield from ((f"{where}.{client.name}", text, one) for one in within)
        if (group := client.group) is not None:
            for text in _dollar_budgets(group):
                yield from ((f"client_groups.{group.name}", text, one) for one in within)


def _dollar_budgets(holder: Config | ModelEntry | ClientKey | ClientGroup) -> tuple[str, ...]:
    return tuple(budget.text for budget in holder.budgets if budget.currency == "usd")


def _requestable_names(client: ClientKey, every: tuple[str, ...]) -> tuple[str, ...]:
    lists = client.lists_of_models
    return every if not lists else lists[0]


def _resolve_or_empty(names: Names, name: str) -> tuple[Found, ...]:
    """Return the meaning of ``name``, empty for a wildcard, which no client requests."""
    try:
        return names.meaning(name).found
    except GatewayError:
        return ()
