"""How things stand with allowances: how much of each is used and held, and how often there was no room."""

from collections import Counter as Numbers
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

import attrs

from gateway.allowances.allowance import Allowance, Holder, Measure
from gateway.allowances.budgets import BudgetAllowance
from gateway.counters.counter import Counter, Counters, RateCounter, Shortage, SumCounter

Limit: TypeAlias = Measure | Literal["budgets"]
"""What is short: a rate by what it counts, the requests at once, or a budget, whatever that is counted in."""

Refusals: TypeAlias = Numbers[tuple[Holder, Limit]]
"""How often there was no room: by whose allowance it was, and of what."""


@attrs.frozen
class Standing:
    """How much of one allowance is ``used`` for good and ``held`` by requests under way, or set aside for batches, of
    ``most``; of a rate what has not refilled yet of the most that can be used at once. Dollars are in nano-dollars."""

    holder: Holder
    limit: Limit
    measure: Measure
    text: str
    used: int
    held: int
    most: int

    @property
    def share(self) -> float:
        """The part of it that is used."""
        return self.used / self.most if self.most else 1.0

    @property
    def share_held(self) -> float:
        """The part of it that requests under way have reserved; of slots, that they take."""
        return self.held / self.most if self.most else 0.0


def standings(allowances: Iterable[Allowance], counters: Counters, at: float) -> list[Standing]:
    """Where ``allowances`` stand ``at`` a moment (Unix seconds), as far as this process knows. Budgets of runs are left
    out: each run has its own."""
    return [found for one in allowances if (found := standing(one, counters, at)) is not None]


async def look_at(allowances: Iterable[Allowance], counters: Counters, at: float) -> None:
    """Find out where ``allowances`` stand, where other processes count them, too."""
    await counters.look([found for one in allowances if (found := one.counter(at, None)) is not None])


def standing(one: Allowance, counters: Counters, at: float) -> Standing | None:
    """The same of one of them."""
    counter = one.counter(at, None)
    if counter is None:
        return None
    level = counters.level(counter)
    most, held = counter.burst if isinstance(counter, RateCounter) else counter.most, level.held
    if isinstance(one, BudgetAllowance):
        most, held = one.budget.most, held + one.set_aside
    return Standing(one.holder, limit_of(one, counter), one.measure, one.text, level.used, held, most)


def limit_of(one: Allowance, counter: Counter) -> Limit:
    """What ``one``, which has this ``counter``, limits."""
    return "budgets" if isinstance(counter, SumCounter) else one.measure


def count_refusal(refusals: Refusals, short: Sequence[tuple[Allowance, Shortage]]) -> None:
    """Count a request, or an attempt at an entry, for which there was no room: once for all that it has met."""
    refusals.update({(one.holder, limit_of(one, found.debit.counter)) for one, found in short})
