"""Converts the budgets in LiteLLM's tables, and the amounts spent of them.

A budget without a period applies for good in LiteLLM (https://docs.litellm.ai/docs/proxy/users)."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from configfile.wording import spell_time
from gateway.commands.imports.litellm_limits import budget_windows, read_limits
from gateway.commands.imports.litellm_rows import has_value, name_list, read_number, read_time
from gateway.commands.imports.losses import Group, Loss

LONGEST_PERIOD: Final = "366d"
"""The longest period of a budget."""
LASTING: Final = "max_budget without budget_duration"
WHY_LASTING: Final = (
    Group.MONEY,
    f"a budget needs a period: the amount, or its unspent rest, applies to {LONGEST_PERIOD}",
)
"""A budget without a period, and the reason for its change."""

_ANEW: Final = "their budgets start anew: lower them until the next period if that matters"
_LEAST: Final = 1e-9
_MOST: Final = 9e6
"""The smallest and the largest amount of dollars in a file."""


def exhausted_text(row: Mapping[str, Any], now: datetime, carried: bool = True) -> str | None:
    """Return how long LiteLLM rejects requests because the budget of a key or team is exhausted, if it does.

    If the budget is ``carried``, the spend of its present period is in ``opening_spend``, and the result is ``None``.
    https://docs.litellm.ai/docs/proxy/users"""
    spend, budget = read_number(row.get("spend")), read_number(row.get("max_budget"))
    if budget == 0:
        return "for good"
    if spend is None or budget is None or spend < budget:
        return None
    reset, _ = read_time(row.get("budget_reset_at"))
    if reset is None:
        return "for good"
    return None if reset <= now or (carried and opening_spend(row, now) is not None) else f"until {reset:%Y-%m-%d}"


def limit_rejection(
    row: Mapping[str, Any], rates: Sequence[str], now: datetime, whose: str = "", *, carried: bool = True
) -> str | None:
    """Return the reason why LiteLLM rejects every request because of a limit in ``row``.

    One of ``rates`` or a budget is 0, or the budget is exhausted. ``whose`` limits they are: "" for those of the key
    itself. For ``carried``, see ``exhausted_text``."""
    named = f"the {{}} of {whose}" if whose else "its {}"
    closed = [column for column in rates if read_number(row.get(column)) == 0]
    amounts = (one.get("max_budget") for one in budget_windows(row) if isinstance(one, Mapping))
    closed += ["budget_limits"] if any(read_number(amount) == 0 for amount in amounts) else []
    if closed:
        return f"{named.format(closed[0])} is 0"
    until = exhausted_text(row, now, carried)
    return None if until is None else f"{named.format('budget')} is exhausted {until}"


def opening_spend(row: Mapping[str, Any], now: datetime) -> dict[str, Any] | None:
    """Return the amount that a key, team or proxy has spent in the present period of its budget, and its end.

    The result is an item of ``opening_spend`` without its owner; ``None`` without a budget, a spend or a period. It is
    ``None`` with ``budget_limits``, too, because it would also count in these budgets for other periods."""
    spend, (reset, _) = read_number(row.get("spend")), read_time(row.get("budget_reset_at"))
    if spend is None or spend < _LEAST or reset is None or reset <= now or not has_value(row.get("budget_duration")):
        return None
    if "budgets" not in read_limits(row)[0] or budget_windows(row):
        return None
    return {"spent": f"{f'{min(spend, _MOST):.9f}'.rstrip('0').rstrip('.')} usd", "until": spell_time(reset)}


def converted_limits(row: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """Return the limits of a key or team, and their columns.

    The rest of a budget without a period is a budget for the longest period."""
    rest = lifetime_rest(row)
    return read_limits(row if rest is None else {**row, "max_budget": rest, "budget_duration": LONGEST_PERIOD})


def lifetime_rest(row: Mapping[str, Any]) -> float | None:
    """Return the unspent part of a budget without a period, ``None`` without such a budget."""
    budget, spend = read_number(row.get("max_budget")), read_number(row.get("spend")) or 0.0
    has_rest = budget is not None and not has_value(row.get("budget_duration")) and 1e-6 <= budget - spend < 10**12
    return budget - spend if has_rest and budget is not None else None


def spend_losses(owner: str, rows: Mapping[str, Mapping[str, Any]], table: str) -> Iterator[Loss]:
    """Yield a loss for amounts that keys or teams have spent of budgets whose period has no known end."""
    spent = {
        name: spend
        for name, row in rows.items()
        if (spend := read_number(row.get("spend")))
        and read_number(row.get("max_budget")) is not None
        and lifetime_rest(row) is None
        and (read_time(row.get("budget_reset_at"))[0] is None or budget_windows(row))
    }
    if spent:
        what = f"the spend so far of {name_list([*spent], owner)}: {sum(spent.values()):.2f} usd"
        yield Loss(Group.MONEY, what, _ANEW, table, tuple(spent))
    if windows := [name for name, row in rows.items() if name not in spent and budget_windows(row)]:
        what = f"the spend so far in `budget_limits` of {name_list(windows, owner)}"
        yield Loss(Group.MONEY, what, _ANEW, table, tuple(windows))
