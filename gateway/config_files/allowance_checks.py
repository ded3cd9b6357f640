"""Checks of the rates and budgets of clients, groups and entries, of Plano's header limits, and of models without a
price under budgets of money."""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Final

import attrs

from configfile.document import Path, spell
from configfile.expanded import Unresolved
from configfile.wording import describe
from gateway.config.allowances import (
    HeaderLimit,
    Rate,
    RateLimits,
    RatesOrHeaderLimits,
    RootLimit,
    SpendingBudget,
)
from gateway.config.clients import ClientGroup, ClientKey
from gateway.config.findings import Findings
from gateway.config.model_entry import ModelEntry, entry_price
from gateway.config.names import Found, Names
from gateway.config.patterns import matches_one
from gateway.config.settings import Config
from streams.errors import GatewayError

if TYPE_CHECKING:
    from gateway.config.amounts import OpeningSpend

_SLOW: Final = {"requests": 1, "tokens": 1000, "input_tokens": 1000, "output_tokens": 1000}
"""Rates below these numbers per minute are slower than ``50k/d`` suggests."""

_UNITS: Final = {"second": (1.0, "s"), "minute": (60.0, "m"), "hour": (3600.0, "h"), "day": (86400.0, "d")}

_COUNTING: Final = ("tokens", "input_tokens")
"""The measures for which cached tokens may count."""


def build_ratelimits(limits: RateLimits, path: Path, findings: Findings, *, counts_cached: bool = False) -> RateLimits:
    """Return a holder's ``limits``, and warn of those that are probably mistakes.

    ``counts_cached`` means that the provider counts cached tokens, too (BerriAI/litellm#18728)."""
    counting = any(getattr(limits, measure) is not None for measure in _COUNTING)
    if limits.count_cached and not counting:
        findings.warn(f"{spell(path)}: count_cached has no effect without a limit for tokens or input_tokens")
    for measure, least in _SLOW.items():
        rate: Rate | None = getattr(limits, measure)
        if rate is not None and rate.amount * 60 < least * rate.seconds:
            findings.warn(f"{spell((*path, measure))}: {rate.text} refills evenly, {_pace_text(rate, measure)}")
    follows = "count_cached" not in findings.given_attributes(path) and counts_cached and counting
    return attrs.evolve(limits, count_cached=True) if follows else limits


def build_header_limits(
    items: RatesOrHeaderLimits | None, aliases: Collection[str], names: Names, findings: Findings
) -> tuple[RootLimit, ...]:
    """Return Plano's header limits, a list at the root."""
    limits = items if isinstance(items, tuple) else ()
    found = (_build_root_limit(item, ("ratelimits", i), aliases, names, findings) for i, item in enumerate(limits))
    return tuple(limit for limit in found if limit is not None)


def _build_root_limit(
    item: HeaderLimit, path: Path, aliases: Collection[str], names: Names, findings: Findings
) -> RootLimit | None:
    seconds, unit = _UNITS[item.limit.unit]
    if not item.limit.tokens:
        findings.wrong((*path, "limit", "tokens"), "0", "this would reject every request: remove the item")
        return None
    if item.model not in aliases and not names.has(item.model):
        findings.warn(f"{spell(path)}: {describe(item.model)} is not a model of this file, so the limit has no effect")
    value = None if item.selector.value in (None, "", "*") else item.selector.value
    rate = Rate(item.limit.tokens, seconds, f"{item.limit.tokens}/{unit}")
    return RootLimit(item.model, item.selector.key, value, rate)


def _pace_text(rate: Rate, measure: str) -> str:
    if measure == "requests":
        return f"so one request passes every {rate.seconds / rate.amount:.0f} s, and never several together"
    return (
        f"{max(1, int(rate.amount * 60 / rate.seconds))} per minute: to allow the whole amount at any time, use a "
        "budget"
    )


# Budgets


def build_budgets(given: Sequence[SpendingBudget], path: Path, findings: Findings) -> tuple[SpendingBudget, ...]:
    """Return the budgets at ``path``; two for the same period are an error, because they would share a counter."""
    budgets: dict[object, SpendingBudget] = {}
    for i, budget in enumerate(given):
        if isinstance(budget, Unresolved):
            continue
        known = budgets.setdefault((budget.currency, budget.period), budget)
        if known is not budget:
            found = f"{budget.text} has the same period as {known.text}"
            findings.wrong((*path, "budgets", i), found, "remove one of them")
    return tuple(budgets.values())


def check_opening_spend(config: Config, findings: Findings) -> None:
    """Report items of ``opening_spend`` with two owners, with an unknown one, and those that no longer count."""
    groups = {group.name for group in config.client_groups}
    clients = None if config.stored_clients != "off" else {client.name for client in config.client_keys}
    items: Sequence[OpeningSpend | None] = config.opening_spend
    for i, item in enumerate(items):
        path: Path = ("opening_spend", i)
        if item is None or path in findings.faulty:
            continue
        if item.client is not None and item.group is not None:
            findings.wrong((*path, "group"), "the item has a client, too", "write an item for each")
        elif item.client is not None and clients is not None and item.client not in clients:
            findings.no_effect((*path, "client"), f"no client is called {item.client}")
        elif item.group is not None and item.group not in groups:
            findings.no_effect((*path, "group"), f"no group is called {item.group}")
        elif isinstance(item.until, datetime) and item.until <= datetime.now(UTC):
            findings.note(f"opening_spend[{i}] ended at {item.until.isoformat()}: you may remove it")


# Models without a price under budgets of money


@attrs.frozen(repr=False)
class Unpriced:
    """A ``model`` of an ``entry`` without a price, under a budget of ``holder`` as the file writes it."""

    entry: ModelEntry
    model: str
    holder: str
    budget: str

    @property
    def problem(self) -> str:
        return f"{self.entry.provider.id}/{self.model} has no price, but {self.holder} has a budget of {self.budget}"


PRICE_ADVICE: Final = (
    "set `price: {input: DOLLARS, output: DOLLARS}` per million tokens, or `price: free`; with `unpriced: allow` "
    "at the root, it counts as free"
)


def unpriced_models(config: Config) -> Iterator[Unpriced]:
    """Yield models whose costs cannot be counted, so that no budget would stop them (BerriAI/litellm#10598).

    The models of a wildcard are unknown, except those that the file names."""
    if config.unpriced == "refuse":
        yield from uncountable_models(config)


def has_money_budget(config: Config) -> bool:
    """Return whether the configuration has a budget in dollars."""
    clients = (*config.client_keys, *config.rule_clients)
    groups = [key.group for key in clients if key.group is not None]
    holders: list[Config | ModelEntry | ClientKey | ClientGroup] = [
        config, *config.entries, *clients, *groups,
    ]  # fmt: skip
    return any(map(_dollar_budgets, holders))


def uncountable_models(config: Config) -> Iterator[Unpriced]:
    """Yield the models without a price under budgets of money, whether or not the file allows them."""
    if not has_money_budget(config):
        return
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
    yield from ((f"{client.declared_in}.{client.name}", text) for text in _dollar_budgets(client))
    if client.group is not None:
        yield from ((f"client_groups.{client.group.name}", text) for text in _dollar_budgets(client.group))


def _dollar_budgets(holder: Config | ModelEntry | ClientKey | ClientGroup) -> tuple[str, ...]:
    return tuple(budget.text for budget in holder.budgets if budget.currency == "usd")


def _requestable_names(client: ClientKey, every: tuple[str, ...]) -> tuple[str, ...]:
    lists = client.lists_of_models
    return every if not lists else lists[0]


def _resolve_or_empty(names: Names, name: str) -> tuple[Found, ...]:
    """Return the meaning of ``name`` without wildcards, which no client requests."""
    try:
        return tuple(one for one in names.meaning(name).found if "*" not in one.model)
    except GatewayError:
        return ()
