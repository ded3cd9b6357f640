"""The allowances of a holder's budgets: sums of dollars or tokens, each of one period or of one run.

A request belongs to the period in which it began, and a new period begins by itself: it has another counter. A budget
is no rate, so nothing of it flows back (agentgateway/website#962, envoyproxy/ai-gateway#2469).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Final, TypeAlias

import attrs

from gateway.allowances.allowance import Holder, Measure, counter_key
from gateway.allowances.periods import SLICES, CalendarPeriod, calendar_period, slice_end, slice_of
from gateway.config.allowances import Calendar, Currency, Rolling, SpendingBudget
from gateway.config.zones import zone_of
from gateway.counters.counter import SumCounter

HolderKey: TypeAlias = tuple[str, str]
"""A holder's kind and its name."""


class SetAside:
    """The sums that a process knows of, by all its configurations. ``version`` changes with each of them;
    ``is_wanted``: there are budgets to which they matter."""

    def __init__(self) -> None:
        self.version = 0
        self.is_wanted = False
        self._sums: Mapping[HolderKey, tuple[int, int]] = {}
        self._read: Callable[[float], Awaitable[None]] | None = None

    def tell(self, sums: Mapping[HolderKey, tuple[int, int]]) -> None:
        """Know that ``sums``, in nano-dollars and in tokens, are set aside from now on, and nothing else."""
        if sums != self._sums:
            self._sums = dict(sums)
            self.version += 1

    def follow(self, read: Callable[[float], Awaitable[None]]) -> None:
        """Have ``read`` called to be told what others have set aside, where it is longer ago than so many seconds."""
        self._read = read

    async def look(self, seconds: float = 0.0) -> None:
        """Be told what is set aside now, or was less than so many seconds ago."""
        if self._read is not None:
            await self._read(seconds)

    def of(self, key: HolderKey, currency: Currency) -> int:
        """What is set aside of a holder's budgets in ``currency``."""
        return self._sums.get(key, (0, 0))[currency == "tokens"]


RUN: Final = 24 * 3600.0
"""Seconds after its last request in which a run ends."""

_LATE: Final = 24 * 3600.0
"""Seconds beyond a period's end for which its sum is kept: requests that began in it may end after it."""


@attrs.define(eq=False)
class BudgetAllowance:
    """What ``holder`` may spend by one of its budgets: an ``Allowance``. ``zone`` is that of its periods; the
    counter of the period that is under way is made once, and again when something else is ``aside``."""

    holder: Holder
    budget: SpendingBudget
    zone: tzinfo
    aside: SetAside = attrs.field(factory=SetAside)
    _version: int = attrs.field(default=0, init=False)
    _period: CalendarPeriod | None = attrs.field(default=None, init=False)
    _slice: int | None = attrs.field(default=None, init=False)
    _current: SumCounter | None = attrs.field(default=None, init=False)

    @property
    def measure(self) -> Measure:
        return self.budget.currency

    @property
    def text(self) -> str:
        return self.budget.text

    @property
    def count_cached(self) -> bool:
        return False

    def counter(self, at: float, run: str | None) -> SumCounter | None:
        """Whatever its budget is: a larger one keeps what has been used of it."""
        if self._version != self.aside.version:
            self._version, self._current = self.aside.version, None
        match self.budget.period:
            case "run":
                return None if run is None else self._counter(f"run {run}", at + RUN, by_clients=True)
            case Rolling(seconds):
                return self._of_slice(slice_of(at, seconds), seconds)
            case calendar:
                return self._of_calendar(calendar, at)

    def more_from(self, counter: SumCounter) -> float | None:
        """The moment from which there is more than ``counter`` has left (Unix seconds); ``None`` where there never
        is."""
        match self.budget.period:
            case "run":
                return None
            case Rolling(seconds):
                return counter.until - seconds - _LATE
            case _:
                return counter.until - _LATE

    def local_time(self, at: float) -> str:
        """A moment by the clocks of its zone."""
        return datetime.fromtimestamp(at, self.zone).isoformat(timespec="minutes")

    def _of_calendar(self, calendar: Calendar, at: float) -> SumCounter:
        if self._current is None or self._period is None or at not in self._period:
            self._period = calendar_period(calendar, at, self.zone)
            self._current = self._counter(f"{calendar} {self._period.name}", self._period.end + _LATE)
        return self._current

    def _of_slice(self, number: int, seconds: float) -> SumCounter:
        if self._current is None or self._slice != number:
            earlier = tuple(counter_key(self._name(f"{seconds:g}s {number - i}")) for i in range(1, SLICES + 1))
            until = slice_end(number, seconds) + seconds + _LATE
            self._current = self._counter(f"{seconds:g}s {number}", until, earlier)
            self._slice = number
        return self._current

    def _counter(
        self, period: str, until: float, earlier: tuple[bytes, ...] = (), by_clients: bool = False
    ) -> SumCounter:
        key = counter_key(self._name(period))
        return SumCounter(key, f"{self.holder}.budgets", self.most, until, earlier, by_clients)

    @property
    def most(self) -> int:
        """What may be used of it while so much is set aside."""
        return max(0, self.budget.most - self.set_aside)

    @property
    def set_aside(self) -> int:
        """What of it is kept for batches that go on. Runs end before they do."""
        if self.budget.period == "run":
            return 0
        return self.aside.of((self.holder.kind, self.holder.name), self.budget.currency)

    def _name(self, period: str) -> str:
        return f"{self.holder}.budgets {self.budget.currency}/{period}"


def budget_allowances(
    holder: Holder, budgets: Sequence[SpendingBudget], timezone: str, aside: SetAside | None = None
) -> tuple[BudgetAllowance, ...]:
    """The allowances of ``holder``, in the order in which they are written."""
    zone, aside = zone_of(timezone), aside or SetAside()
    return tuple(BudgetAllowance(holder, budget, zone, aside) for budget in budgets)
