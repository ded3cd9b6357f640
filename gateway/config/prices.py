"""Models without a price under budgets of money."""

from collections.abc import Iterator
from functools import cache
from typing import Final

import attrs

from gateway.config.clients import ClientGroup, ClientKey
from gateway.config.model_entry import ModelEntry, entry_price
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


def unpriced_models(config: Config) -> Iterator[Unpriced]:
    """Yield models whose costs cannot be counted, so that no budget would stop them (BerriAI/litellm#10598).

    The models of a wildcard are unknown, except those that the file names."""
    if config.unpriced == "refuse":
        yield from _find_unpriced(config)


_NAMED: Final = 5
"""Models listed in the warning."""


def uncounted_warnings(config: Config) -> Iterator[str]:
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
    for holder, budget, found in _unpriced_under_budgets(config):
        key = (found.entry.name, found.model)
        if key not in seen:
            seen.add(key)
            yield Unpriced(found.entry, found.model, holder, budget)


def _unpriced_under_budgets(config: Config) -> Iterator[tuple[str, str, Found]]:
    """Yield the models without a price that a budget of money limits, at the root, an entry, a client or its group.

    Examines only one of several clients with the same models: there may be thousands of clients and of models."""
    names = Names.of(config)

    @cache
    def find(name: str) -> tuple[Found, ...]:
        return tuple(one for one in _resolve_or_empty(names, name) if entry_price(one.entry, one.model) is None)

    every = tuple(dict.fromkeys((*(entry.name for entry in config.entries), *config.aliases, *config.routes)))
    all_found = [found for name in every for found in find(name)]
    for text in _dollar_budgets(config):
        yield from (("the root of the file", text, one) for one in all_found)
    for one in all_found:
        for text in _dollar_budgets(one.entry):
            yield f"model_providers.{one.entry.name}", text, one
    scopes: set[tuple[tuple[tuple[str, ...], ...], ...]] = set()
    for client in (*config.client_keys, *config.rule_clients):
        budget = next(_budgets_of(client), None)
        scope = (client.lists_of_models[:1], client.walls)
        if budget is None or scope in scopes:
            continue
        scopes.add(scope)
        for found in (found for name in _requestable_names(client, every) for found in find(name)):
            if all(matches_one(found.entry.name, wall) for wall in client.walls):
                yield (*budget, found)


def _budgets_of(client: ClientKey) -> Iterator[tuple[str, str]]:
    """Yield the budgets of money of a client and of its group, each with its holder."""
    where = "issuers" if client.source == "rule" else "client_keys"
    yield from ((f"{where}.{client.name}", text) for text in _dollar_budgets(client))
    if client.group is not None:
        yield from ((f"client_groups.{client.group.name}", text) for text in _dollar_budgets(client.group))


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
