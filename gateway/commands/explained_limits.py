"""The part of ``trigate explain`` that tells what a request may cost, and which limits and budgets hold for it."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Final, TypeAlias

import click
import msgspec

from gateway.allowances.allowance import Allowance
from gateway.allowances.allowances import Allowances
from gateway.allowances.budgets import BudgetAllowance
from gateway.config.loading import Config
from gateway.routing.plan import Plan
from providers.catalog.prices import NAMED_PRICES, NANOS, Price


class RunningLimit(msgspec.Struct, frozen=True):
    """How much of a limit is used in a gateway that runs, as ``GET /readyz?verbose`` has it."""

    holder: str
    limit: str
    text: str
    measure: str
    used: int
    held: int
    most: int


Levels: TypeAlias = Mapping[tuple[str, str, str], RunningLimit]
"""Limits that are counted, by holder, limit and text."""


def levels_of(limits: Iterable[RunningLimit]) -> Levels:
    return {(one.holder, one.measure, one.text): one for one in limits}


def check_key(config: Config, key: str | None) -> None:
    """Raises ``click.UsageError`` for a name that no client key of ``config`` has."""
    names = [one.name for one in config.client_keys]
    if key is not None and key not in names:
        meant = " or ".join(difflib.get_close_matches(key, names, n=1)) or ", ".join(names) or "none"
        raise click.UsageError(f"{key!r} is the name of no client key of {config.path}, which has {meant}")


def limit_texts(config: Config, plan: Plan, key: str | None, running: Levels | None) -> list[str]:
    """Each limit and budget that holds for a request of the client ``key``, with how much of it is used where a gateway
    runs that counts."""
    allowances = Allowances(config)
    found = list(allowances.of_client(key))
    for one in plan.candidates:
        found += [limit for limit in allowances.of_target(one.target) if limit not in found]
    return [_limit(one, running) for one in found]


def spent_budget(config: Config, plan: Plan, key: str | None, running: Levels) -> str | None:
    """Return the budget for lack of which the gateway that runs refuses a request of the client ``key``, ``None`` if it
    has none: one of the client's that is used up, or one of its only target's."""
    allowances = Allowances(config)
    if (spent := _spent(allowances.of_client(key), running)) is not None:
        return spent
    targets = [_spent(allowances.of_target(one.target), running) for one in plan.candidates]
    return None if None in targets else next(iter(targets), None)


def _spent(limits: Iterable[Allowance], running: Levels) -> str | None:
    for one in limits:
        level = running.get((str(one.holder), one.measure, one.text))
        if isinstance(one, BudgetAllowance) and level is not None and level.used >= level.most:
            return _limit(one, None)
    return None


def spent_targets(config: Config, plan: Plan, running: Levels) -> Iterator[str]:
    """The places of ``plan`` that the gateway that runs passes over, because a budget of theirs is used up."""
    allowances = Allowances(config)
    for one in plan.candidates:
        if _spent(allowances.of_target(one.target), running) is not None:
            yield one.target.place


def _limit(one: Allowance, running: Levels | None) -> str:
    named = one.text if " " in one.text else f"{one.measure} {one.text}"
    return f"{one.holder}: {named}{'' if running is None else _level(one, running)}"


def _level(one: Allowance, running: Levels) -> str:
    level = running.get((str(one.holder), one.measure, one.text))
    if level is None:
        return ", each run its own" if one.text.endswith("/run") else ", not known there"
    used, most = (_amount(number, level.measure) for number in (level.used, level.most))
    held = f", {_amount(level.held, level.measure)} reserved" if level.held else ""
    share = f" ({(level.used + level.held) / level.most:.0%})" if level.most else ""
    return f", {used} of {most} used{held}{share}"


def _amount(number: int, measure: str) -> str:
    return f"{_decimal(number)} usd" if measure == "usd" else f"{number:,}"


def price_texts(plan: Plan) -> Iterator[str]:
    """What each target of ``plan`` costs."""
    for one in plan.candidates:
        price = one.target.price
        told = "none: nobody knows what it costs" if price is None else _price(price)
        yield f"{one.target.place}: {told}" if len(plan.candidates) > 1 else told


_NAMED: Final = {"free": "free", "subscription": "none by the token: a subscription pays for it"}


def _price(price: Price) -> str:
    if price.origin in NAMED_PRICES:
        return _NAMED[price.origin]
    kinds = {"input": price.input, "cached": price.cached, "cache write": price.cache_write, "output": price.output}
    each = ", ".join(f"{name} {_decimal(nanos)}" for name, nanos in kinds.items() if nanos is not None)
    tiers = f", above {price.above[0][0]:,} tokens more" if price.above else ""
    source = "the file's" if price.origin == "config" else "the list's"
    return f"{each}{tiers}: dollars for a million tokens, {source}"


def _decimal(nanos: int) -> str:
    return f"{(Decimal(nanos) / NANOS).normalize():f}"
