"""The levels of allowances: how much is used and reserved, and how often requests were refused."""

from collections import Counter as Numbers
from collections.abc import Iterator, Sequence
from typing import Final, Literal, TypeAlias

import attrs
import trio

from gateway.allowances.allowance import Allowance, Holder, Measure
from gateway.allowances.budgets import BudgetAllowance
from gateway.counters.counter import Counter, Counters, RateCounter, Shortage, SumCounter

Limit: TypeAlias = Measure | Literal["budgets"]
"""The subject of a limit: a measure, or ``budgets`` in any currency."""

_MOST_REFUSALS: Final = 10_000
"""Holders with refusals. Only without metrics, which read the counts every second, may there be more."""

Refusals: TypeAlias = Numbers[tuple[Holder, Limit]]
"""Counts of refusals by holder and limit."""


@attrs.frozen(eq=False, repr=False)
class AllowanceLevel:
    """The level of one allowance: ``used``, and ``held`` by requests in progress or set aside for batches, out of
    ``most``.

    For a rate, ``used`` is the part of the burst that has not refilled. Dollars are in nano-dollars."""

    holder: Holder
    limit: Limit
    measure: Measure
    text: str
    used: int
    held: int
    most: int

    @property
    def share(self) -> float:
        """The used fraction."""
        return self.used / self.most if self.most else 1.0

    @property
    def share_held(self) -> float:
        """The fraction reserved by requests in progress; for simultaneous requests, the fraction in use."""
        return self.held / self.most if self.most else 0.0


PER_TURN: Final = 100
"""Limits that are read before other tasks run. There may be thousands."""


async def read_levels(allowances: Sequence[Allowance], counters: Counters, at: float) -> list[AllowanceLevel]:
    """Return the levels of ``allowances`` at Unix time ``at``, with the changes of other processes; budgets of runs are
    left out. Lets other tasks run meanwhile."""
    await refresh_levels(allowances, counters, at)
    found: list[AllowanceLevel] = []
    for batch in _batches(allowances):
        found += [level for one in batch if (level := allowance_level(one, counters, at)) is not None]
        await trio.lowlevel.checkpoint()
    return found


async def refresh_levels(allowances: Sequence[Allowance], counters: Counters, at: float) -> None:
    """Refresh the levels of ``allowances`` that other processes also change. Lets other tasks run meanwhile."""
    wanted: list[Counter] = []
    for batch in _batches(allowances):
        wanted += [found for one in batch if (found := one.counter(at, None)) is not None]
        await trio.lowlevel.checkpoint()
    await counters.refresh(wanted)


def _batches(allowances: Sequence[Allowance]) -> Iterator[Sequence[Allowance]]:
    return (allowances[at : at + PER_TURN] for at in range(0, len(allowances), PER_TURN))


def allowance_level(one: Allowance, counters: Counters, at: float) -> AllowanceLevel | None:
    """Return the level of one allowance, ``None`` for a budget of runs."""
    counter = one.counter(at, None)
    if counter is None:
        return None
    level = counters.level(counter)
    most, held = counter.burst if isinstance(counter, RateCounter) else counter.most, level.held
    if isinstance(one, BudgetAllowance):
        most, held = one.amount, held + one.set_aside
    return AllowanceLevel(one.holder, kind_of_limit(one, counter), one.measure, one.text, level.used, held, most)


def kind_of_limit(one: Allowance, counter: Counter) -> Limit:
    """Return the limit's kind for ``one``, whose counter is ``counter``: its measure, or ``budgets``."""
    return "budgets" if isinstance(counter, SumCounter) else one.measure


def count_refusal(refusals: Refusals, short: Sequence[tuple[Allowance, Shortage]]) -> None:
    """Count a refused request or attempt, once for each limit that it met."""
    if len(refusals) >= _MOST_REFUSALS:
        refusals.clear()
    refusals.update({(one.holder, kind_of_limit(one, found.debit.counter)) for one, found in short})
