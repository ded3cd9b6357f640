"""The allowances of a holder's budgets: limits in dollars or tokens, each for a period or a run.

A request counts in the period in which it began. A new period has a new counter. Unlike rates, budgets do not refill
(agentgateway/website#962, envoyproxy/ai-gateway#2469)."""

import itertools
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Final, Protocol, TypeAlias, TypeGuard

import attrs

from gateway.allowances.allowance import Allowance, Holder, Measure, counter_key
from gateway.allowances.periods import SLICES, CalendarPeriod, calendar_period, slice_end, slice_of
from gateway.config.allowances import Calendar, Currency, Rolling, SpendingBudget
from gateway.config.clients import ClientGroup, ClientKey
from gateway.config.kinds import zone_of
from gateway.counters.counter import SumCounter
from gateway.routing.target import Target
from providers.catalog.prices import NAMED_PRICES

HolderKey: TypeAlias = tuple[str, str]
"""A holder's kind and name."""


class BatchReserves:
    """The sums set aside for batches, as far as this process knows, across configurations.

    ``version`` changes with each new set of sums; ``is_wanted`` is true if any budget depends on them."""

    def __init__(self) -> None:
        self.version = 0
        self.is_wanted = False
        self._sums: Mapping[HolderKey, tuple[int, int]] = {}
        self._read: Callable[[float], Awaitable[None]] | None = None

    def replace(self, sums: Mapping[HolderKey, tuple[int, int]]) -> None:
        """Replace all sums set aside with ``sums``, in nano-dollars and in tokens."""
        if sums != self._sums:
            self._sums = dict(sums)
            self.version += 1

    def set_reader(self, read: Callable[[float], Awaitable[None]]) -> None:
        """Set the function that reads the sums of other processes, unless they were read within the given seconds."""
        self._read = read

    async def refresh(self, seconds: float = 0.0) -> None:
        """Read the sums that are set aside, unless they were read in the last ``seconds``."""
        if self._read is not None:
            await self._read(seconds)

    def of(self, key: HolderKey, currency: Currency) -> int:
        """Return the sum set aside from a holder's budgets in ``currency``."""
        return self._sums.get(key, (0, 0))[currency == "tokens"]


RUN: Final = 24 * 3600.0
"""Seconds after its last request until a run ends."""


def named_run(client: str | None, name: str) -> str:
    """Return the run ``name`` of ``client``.

    The client's name ends at the first slash: its own slashes are written as ``%2F``, so that no client can write
    another client's run."""
    return name if client is None else f"{client.replace('%', '%25').replace('/', '%2F')}/{name}"


def client_of(run: str) -> str:
    """Return the client's name in ``run``, as written there; without client keys, any beginning that runs share."""
    return run.partition("/")[0] if "/" in run else ""


def is_paid_from(allowance: Allowance, target: Target) -> TypeGuard["BudgetAllowance"]:
    """Return whether ``allowance`` is a budget that pays for requests to ``target``: free ones only cost tokens."""
    is_free = target.price is not None and target.price.origin in NAMED_PRICES
    return isinstance(allowance, BudgetAllowance) and not (is_free and allowance.measure == "usd")


_LATE: Final = 3600.0
"""Seconds that a sum is stored after its period: requests that began in the period may still reserve."""


PresentAmount: TypeAlias = Callable[[], int]
"""Returns the present amount of a budget. Called for each request: it may not wait or raise."""

FindAmount: TypeAlias = Callable[[SpendingBudget], PresentAmount | None]
"""Returns how to find the present amount of a budget, ``None`` if that is always the file's."""


class BudgetAmounts(Protocol):
    """Amounts that replace those of budgets for a time."""

    def amount_of(
        self, holder: Holder, settings: ClientKey | ClientGroup, budget: SpendingBudget
    ) -> PresentAmount | None:
        """Return how to find the present amount of a ``budget`` in the ``settings`` of ``holder``."""


@attrs.define(eq=False, repr=False)
class BudgetAllowance:
    """The allowance of ``holder`` for one of its budgets, with periods in ``zone``.

    The counter of the current period is created once, and again when the ``batch_reserves`` or the amount change.
    ``present_amount`` returns the amount; without it, the amount is constant."""

    holder: Holder
    budget: SpendingBudget
    zone: tzinfo
    batch_reserves: BatchReserves = attrs.field(factory=BatchReserves)
    present_amount: PresentAmount | None = None
    _raised: int = attrs.field(default=0, init=False)
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
        """Return the counter of the request's period or run; it does not depend on the amount, so a larger budget keeps
        its usage."""
        if self._version != self.batch_reserves.version:
            self._version, self._current = self.batch_reserves.version, None
        if self.present_amount is not None and self._raised != (amount := self.amount):
            self._raised, self._current = amount, None
        match self.budget.period:
            case "run":
                return None if run is None else self._counter(f"run {run}", at + RUN, chosen_by=client_of(run))
            case Rolling(seconds):
                return self._slice_counter(slice_of(at, seconds), seconds)
            case calendar:
                return self._calendar_counter(calendar, at)

    def next_available_at(
        self, counter: SumCounter, earlier: Sequence[int] | None = None, missing: int = 1
    ) -> float | None:
        """Return the Unix time from which ``missing`` more than the rest of ``counter`` is available, ``None`` if
        never.

        ``earlier`` are the used amounts of a rolling period's earlier slices. Without them, it is the time at which the
        oldest slice leaves the period."""
        match self.budget.period:
            case "run":
                return None
            case Rolling(seconds):
                end = counter.until - seconds - _LATE
                return end if earlier is None else end + _seconds_until_left(earlier, missing, seconds)
            case _:
                return counter.until - _LATE

    def local_time(self, at: float) -> str:
        """Format a Unix time as local time in the budget's time zone, rounded up to a minute."""
        return datetime.fromtimestamp(math.ceil(at / 60) * 60, self.zone).isoformat(timespec="minutes")

    def _calendar_counter(self, calendar: Calendar, at: float) -> SumCounter:
        if self._current is None or self._period is None or at not in self._period:
            self._period = calendar_period(calendar, at, self.zone)
            self._current = self._counter(f"{calendar} {self._period.name}", self._period.end + _LATE)
        return self._current

    def _slice_counter(self, number: int, seconds: float) -> SumCounter:
        before = self._current
        if before is None or self._slice != number:
            length = f"{seconds:g}s" if float(f"{seconds:g}") == seconds else f"{seconds!r}s"
            if before is not None and self._slice == number - 1:  # a start needs all slices of thousands of budgets
                earlier = (before.key, *before.earlier[:-1])
            else:
                earlier = tuple(counter_key(self._name(f"{length} {number - i}")) for i in range(1, SLICES + 1))
            until = slice_end(number, seconds) + seconds + _LATE
            self._current = before = self._counter(f"{length} {number}", until, earlier)
            self._slice = number
        return before

    def _counter(
        self, period: str, until: float, earlier: tuple[bytes, ...] = (), chosen_by: str | None = None
    ) -> SumCounter:
        key = counter_key(self._name(period))
        name, is_unlisted = f"{self.holder}.budgets", self.holder.is_unlisted
        return SumCounter(key, name, self.most, until, earlier, chosen_by, is_unlisted)

    @property
    def amount(self) -> int:
        """The amount of the file, or the present one that replaces it."""
        return self.budget.most if self.present_amount is None else self.present_amount()

    @property
    def is_raised(self) -> bool:
        """True if a present amount replaces that of the file."""
        return self.amount != self.budget.most

    @property
    def most(self) -> int:
        """The amount of the budget without the sums that are set aside for open batches."""
        return max(0, self.amount - self.set_aside)

    @property
    def set_aside(self) -> int:
        """The amount set aside for open batches; none for runs, which end before batches do."""
        if self.budget.period == "run":
            return 0
        return self.batch_reserves.of((self.holder.kind, self.holder.name), self.budget.currency)

    def _name(self, period: str) -> str:
        return f"{self.holder.counter_name}.budgets {self.budget.currency}/{period}"


def _seconds_until_left(earlier: Sequence[int], missing: int, seconds: float) -> float:
    """Return the seconds from the end of the current slice until ``missing`` of the used amounts have left a rolling
    period; ``earlier`` has the newest of its earlier slices first."""
    left = itertools.accumulate(reversed(earlier))
    return next((number * seconds / SLICES for number, amount in enumerate(left) if amount >= missing), seconds)


def budget_allowances(
    holder: Holder,
    budgets: Sequence[SpendingBudget],
    timezone: str,
    batch_reserves: BatchReserves | None = None,
    amount_of: FindAmount | None = None,
) -> tuple[BudgetAllowance, ...]:
    """Return the allowances of ``holder`` in the order of the file."""
    zone, batch_reserves = zone_of(timezone), batch_reserves or BatchReserves()
    return tuple(
        BudgetAllowance(holder, budget, zone, batch_reserves, None if amount_of is None else amount_of(budget))
        for budget in budgets
    )
