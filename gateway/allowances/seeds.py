"""Initial budget levels after a start: each budget is raised to what ``opening_spend`` has for it. A feature that knows
earlier spending may raise it more."""

from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import attrs

from gateway.allowances.allowance import Holder
from gateway.allowances.allowances import Allowances
from gateway.allowances.budgets import BudgetAllowance
from gateway.allowances.periods import SLICES, calendar_period, slice_of
from gateway.config.allowances import Rolling
from gateway.config.amounts import OpeningSpend

Period: TypeAlias = tuple[int, int]
"""Start and exclusive end in microseconds since 1970."""

MICRO: Final = 10**6


@attrs.frozen(eq=False, repr=False)
class SeededPart:
    """A part of a budget with its own counter: the current period, or a slice of a rolling one, which contains
    ``at``."""

    budget: BudgetAllowance
    period: Period
    at: float


def budgets_of(allowances: Allowances, before: Allowances | None = None) -> tuple[BudgetAllowance, ...]:
    """Return the budgets among ``allowances`` that are not in ``before``; a rule's represents those of its clients."""
    old = () if before is None else (*before.list_all(), *before.of_rules)
    same = {id(one) for one in old}
    new = [one for one in (*allowances.list_all(), *allowances.of_rules) if id(one) not in same]
    found = {(one.holder, one.text): one for one in new if isinstance(one, BudgetAllowance)}
    names = {holder.name for holder, _ in found}
    for one in old:
        if one.holder.name in names:
            found.pop((one.holder, one.text), None)
    return tuple(found.values())


def raise_to_opening(
    allowances: Allowances, budgets: Sequence[BudgetAllowance], opening: Sequence[OpeningSpend]
) -> None:
    """Raise the counters of ``budgets`` to what their holders had spent before they moved to this gateway."""
    now = allowances.now()
    for part in (part for budget in budgets for part in parts_of(budget, now)):
        if amount := opening_amount(part, opening, now):
            raise_amount(allowances, part.budget, part.at, None, amount)


def opening_amount(part: SeededPart, opening: Sequence[OpeningSpend], now: float) -> int:
    """Return the sum in ``opening`` that counts in ``part``.

    It counts until its end: in the current calendar period, or in the slice of a rolling one that expires then."""
    return sum(
        one.spent.amount
        for one in opening
        if one.spent.currency == part.budget.budget.currency
        and now < (until := one.until.timestamp())
        and _is_holder(one, part.budget.holder)
        and _counts_in(part, until, now)
    )


def _is_holder(one: OpeningSpend, holder: Holder) -> bool:
    match holder.kind:
        case "client_keys":
            return one.client == holder.name and not holder.is_unlisted
        case "client_groups":
            return one.group == holder.name
        case "everybody":
            return one.client is None and one.group is None
        case _:
            return False


def _counts_in(part: SeededPart, until: float, now: float) -> bool:
    period = part.budget.budget.period
    if not isinstance(period, Rolling):
        return True
    at = min(now, until - period.seconds)
    return slice_of(part.at, period.seconds) == max(
        slice_of(at, period.seconds), slice_of(now, period.seconds) - SLICES
    )


def parts_of(budget: BudgetAllowance, now: float) -> Iterator[SeededPart]:
    """Yield the parts of ``budget`` that count now, none for runs."""
    match budget.budget.period:
        case "run":
            return
        case Rolling(seconds):
            length, number = seconds / SLICES, slice_of(now, seconds)
            for one in range(number - SLICES, number + 1):
                yield SeededPart(
                    budget, (to_microseconds(one * length), to_microseconds((one + 1) * length)), (one + 0.5) * length
                )
        case calendar:
            period = calendar_period(calendar, now, budget.zone)
            yield SeededPart(budget, (to_microseconds(period.start), to_microseconds(period.end)), now)


def raise_amount(allowances: Allowances, budget: BudgetAllowance, at: float, run: str | None, amount: int) -> None:
    if (counter := budget.counter(at, run)) is not None:
        allowances.counters.raise_to(counter, amount)


def to_microseconds(seconds: float) -> int:
    return int(seconds * MICRO)  # as in the ledger's lines
