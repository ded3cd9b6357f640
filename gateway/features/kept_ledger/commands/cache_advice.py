"""Advice about prompt caches: facts of a period, with the change that they suggest."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from gateway.config.model_entry import entry_price
from gateway.config.settings import Config
from gateway.features.kept_ledger.table import CauseSum, ExpirySum, UnkeyedSum
from providers.catalog.prices import MILLION, NANOS, Price, price_of
from providers.catalog.prompt_caching import caching_row
from streams.events import APIS

LEAST_NANOS: Final = 10 * NANOS // 1000
"""The loss from which advice is worth a line: a cent."""

MOST_LINES: Final = 5

FIXES: Final[Mapping[str, str]] = {
    "moved": "keep conversations on one target (docs/routing.md, conversations)",
    "edited": "a step, a reload or a key of the configuration changes its prompts; prompt_cache_at in the log names it",
    "model": "it changes the model within conversations",
    "key": "it changes prompt_cache_key within conversations",
    "tier": "it changes the service tier within conversations",
    "tools": "send the same tools in the same order in each turn",
    "system": "move changing text from the system prompt to the newest message",
    "settings": "keep the setting in prompt_cache_at the same within conversations",
    "history": "append messages, and leave earlier ones unchanged",
    "marks": "mark the end of the conversation with cache_control, or set marks in the entry's prompt_cache",
    "busy": "send a prompt_cache_key for each conversation",
}
"""By cause, the change that avoids its loss."""


def advise(
    causes: Sequence[CauseSum], expiries: Sequence[ExpirySum], unkeyed: Sequence[UnkeyedSum], config: Config
) -> Iterator[str]:
    """Yield lines of advice: the first fix of each client by lost dollars, longer lifetimes where they pay, and cache
    keys where they are missing."""
    lost: dict[str | None, list[CauseSum]] = {}
    for cause in causes:
        if cause.nanos:
            lost.setdefault(cause.by[0], []).append(cause)
    by_loss = sorted(lost.items(), key=lambda one: -sum(cause.nanos for cause in one[1]))
    for client, parts in by_loss[:MOST_LINES]:
        whole, fixable = sum([one.nanos for one in parts]), [one for one in parts if one.cause in FIXES]
        first = max(fixable, key=lambda one: one.nanos, default=None)
        if first is not None and first.nanos >= LEAST_NANOS:
            amount = f"{_usd(first.nanos)} of {_usd(whole)} usd"
            yield f"{_label(client)}{first.cause} cost {amount}: {FIXES[first.cause]}"
    yield from _longer_lifetimes(expiries, config)
    yield from _missing_keys(unkeyed)


def _label(client: str | None) -> str:
    """Return the client's name before its advice, nothing for requests without a key."""
    return f"{client}: " if client else ""


def _missing_keys(unkeyed: Sequence[UnkeyedSum]) -> Iterator[str]:
    """Yield a line for each client whose requests without a cache key missed unchanged prompts."""
    parts = [one for one in unkeyed if one.nanos >= LEAST_NANOS]
    for one in sorted(parts, key=lambda one: -one.nanos)[:MOST_LINES]:
        found = f"{one.unkeyed} of {one.requests} requests to {one.model} had no {_key_of(one.model)}"
        yield f"{_label(one.client)}{found}, and unchanged prompts cost {_usd(one.nanos)} usd: {FIXES['busy']}"


def _key_of(model: str) -> str:
    """Return the name of the cache key that the provider of ``model`` (provider/model) advises."""
    provider, _, name = model.partition("/")
    keys = (row.key_member for api in APIS if (row := caching_row(provider, name, api)) is not None)
    return next((key for key in keys if key is not None), "prompt_cache_key").removeprefix("header:")


def _longer_lifetimes(expiries: Sequence[ExpirySum], config: Config) -> Iterator[str]:
    """Yield a line for each client whose entries expired within an hour: an hour's lifetime against five minutes."""
    clients: dict[str | None, list[ExpirySum]] = {}
    for one in expiries:
        if (price := _price(one.model, config)) is not None and price.cache_write_1h is not None and one.soon:
            clients.setdefault(one.client, []).append(one)
    for client, parts in clients.items():
        expired, soon = sum([one.expired for one in parts]), sum([one.soon for one in parts])
        more, saving = sum([_extra_cost_of_hour(one, config) for one in parts]), sum([one.nanos for one in parts])
        if saving >= LEAST_NANOS:
            found = f"{soon} of {expired} expiries came within an hour"
            yield f"{_label(client)}{found}; 1h marks: +{_usd(more)} usd, saving {_usd(saving)} usd"


def _extra_cost_of_hour(one: ExpirySum, config: Config) -> int:
    """Return the nano-dollars that the written tokens would have cost more with a lifetime of an hour."""
    price = _price(one.model, config)
    if price is None or price.cache_write_1h is None:
        return 0
    usual = price.input if price.cache_write is None else price.cache_write
    return max(0, price.cache_write_1h - usual) * one.written // MILLION


def _price(model: str, config: Config) -> Price | None:
    """Return the price of ``model`` (provider/model) at its entry, else the list's."""
    provider, _, name = model.partition("/")
    for entry in config.entries:
        if entry.provider.id == provider and (entry.model == name or entry.wildcard):
            return entry_price(entry, name)
    return price_of(provider, name)


def _usd(nanos: int) -> str:
    return f"{nanos / NANOS:,.2f}"
