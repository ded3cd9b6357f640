"""Limits and budgets with their levels, for ``/me`` and groups."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import trio

from configfile.wording import spell_time
from gateway.allowances.allowance import Allowance
from gateway.allowances.allowances import Allowances
from gateway.allowances.budgets import BudgetAllowance
from gateway.allowances.levels import allowance_level, refresh_levels
from gateway.viewing.money import dollar_text

_HOLDERS: Final = {"client_keys": "client", "client_groups": "group", "everybody": "everybody"}


async def level_rows(
    shown: Sequence[Allowance], allowances: Allowances, unseen: Sequence[Allowance] = ()
) -> dict[str, Any]:
    """Return ``limits`` and ``budgets``, each with its used and reserved amount; dollars are decimal text.

    Those in ``unseen`` have no amounts in use: these reveal the spending of others. A budget is ``raised`` if a present
    raise replaces the amount in its text."""
    now, applying = allowances.now(), (*shown, *unseen)
    await refresh_levels(applying, allowances.counters, now)
    rows: dict[str, Any] = {"limits": [], "budgets": []}
    found: dict[int, dict[str, Any]] = {}

    async def read(index: int) -> None:
        hidden = dict.fromkeys(("used", "reserved", "reset")) if index >= len(shown) else {}
        found[index] = {**await _row(applying[index], allowances, now), **hidden}

    async with trio.open_nursery() as nursery:  # one step of a shared store reads the earlier sums of all budgets
        for index in range(len(applying)):
            nursery.start_soon(read, index)
    for index, one in enumerate(applying):
        rows["budgets" if isinstance(one, BudgetAllowance) else "limits"].append(found[index])
    return rows


async def _row(allowance: Allowance, allowances: Allowances, now: float) -> dict[str, Any]:
    level = allowance_level(allowance, allowances.counters, now)
    holder = {"holder": _HOLDERS.get(allowance.holder.kind, allowance.holder.kind), "text": allowance.text}
    kind: dict[str, Any] = {"limit": allowance.measure}
    if isinstance(allowance, BudgetAllowance):
        kind = {"unit": allowance.measure, "raised": allowance.is_raised}
    if level is None:  # of each run
        return {**holder, **kind, "amount": None, "used": None, "reserved": None, "reset": None}
    amounts = {"amount": level.most, "used": level.used, "reserved": level.held}
    written = {name: (dollar_text(value) if allowance.measure == "usd" else value) for name, value in amounts.items()}
    return {**holder, **kind, **written, "reset": await _reset(allowance, allowances, now)}


async def _reset(allowance: Allowance, allowances: Allowances, now: float) -> str | None:
    """Return the time from which more of a budget is available, ``None`` for rates, which refill evenly."""
    if not isinstance(allowance, BudgetAllowance):
        return None
    counter = allowance.counter(now, None)
    if counter is None:
        return None
    earlier = await allowances.counters.earlier_sums(counter) if counter.earlier else None
    until = allowance.next_available_at(counter, earlier)
    return None if until is None else spell_time(datetime.fromtimestamp(round(until), UTC))
