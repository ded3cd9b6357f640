"""Initial budget levels after a start: the sums of the ledger's lines over each budget's period.

Counters in memory end with the process, but the ledger's lines persist. Before the first request, each budget is raised
to the exact sum of its holder's lines in the period, and of what ``opening_spend`` has for it."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, TypeAlias, TypeVar

import attrs
import trio

from gateway.allowances.allowance import EVERYBODY, Consumption, HolderKind, counted_amount
from gateway.allowances.allowances import Allowances
from gateway.allowances.budgets import RUN, BudgetAllowance
from gateway.allowances.seeds import MICRO, opening_amount, parts_of, to_microseconds
from gateway.config.amounts import OpeningSpend
from gateway.config.model_entry import ModelEntry
from gateway.features.kept_ledger.columns import DAY_SUM
from gateway.features.kept_ledger.keeping import NOTHING, Amounts
from gateway.features.kept_ledger.statements import Dimension
from gateway.features.kept_ledger.table import SUM_SECONDS, LedgerSum, LedgerTable, RunSum, total

log = logging.getLogger("trigate.ledger")

T = TypeVar("T")

_DIMENSIONS: Final[Mapping[HolderKind, Dimension]] = {
    "everybody": "key",
    "client_keys": "key",
    "client_groups": "group",
    "model_providers": "target",
}

HolderOf: TypeAlias = Callable[[str | None], str | None]
"""A function that returns a holder's name for the value in the ledger lines."""


async def seed_budgets(
    allowances: Allowances,
    budgets: Sequence[BudgetAllowance],
    entries: Sequence[ModelEntry],
    table: LedgerTable,
    settled: Amounts = NOTHING,
    opening: Sequence[OpeningSpend] = (),
) -> None:
    """Raise the counters of ``budgets`` to the sums of the lines in ``table``, of ``settled``, and of ``opening``.

    ``entries`` are those of the configuration. The kernel has raised them to ``opening`` alone. If it raises
    ``Unavailable``, it can be repeated."""
    for kind, dimension in _DIMENSIONS.items():
        own = [one for one in budgets if one.holder.kind == kind]
        delivered_only = kind != "model_providers" and not allowances.charges_undelivered
        holder_of = _HOLDER_OF.get(kind) or partial(entry_of, _entries_of(entries))
        seeds = _LedgerSeeds(allowances, own, dimension, holder_of, table, settled, delivered_only)
        await seeds.raise_periods(opening)
        await seeds.raise_runs()


@attrs.frozen(eq=False, repr=False)
class _LedgerSeeds:
    """The sums in the ledger for the ``budgets`` of one kind of holder."""

    allowances: Allowances
    budgets: Sequence[BudgetAllowance]
    dimension: Dimension
    holder_of: HolderOf
    table: LedgerTable
    settled: Amounts
    delivered_only: bool

    async def raise_periods(self, opening: Sequence[OpeningSpend]) -> None:
        """Raise the counters of periods to their sums, and of ``opening``."""
        now = self.allowances.now()
        parts = [part for budget in self.budgets for part in parts_of(budget, now)]
        periods = list(dict.fromkeys(part.period for part in parts))
        if not periods:
            return
        found = await self.table.sums((self.dimension,), periods, delivered_only=self.delivered_only, limit=SUM_SECONDS)
        by_period = {period: self._by_holder(sums) for period, sums in zip(periods, found, strict=True)}
        for part in parts:
            for budget, sums in _sums_of(part.budget, by_period[part.period]):
                before = opening_amount(part, opening, now)
                found_sum = sums[0] if len(sums) == 1 else total(sums)
                await self._raise_counter(budget, part.at, None, found_sum, before)

    def _by_holder(self, sums: Sequence[LedgerSum]) -> Mapping[str | None, list[LedgerSum]]:
        """Group ``sums`` by holder; a wildcard entry has one sum for each of its models."""
        found = defaultdict(list)
        for one in sums:
            found[self.holder_of(one.by[0])].append(one)
        return found

    async def raise_runs(self) -> None:
        """Raise the counters of runs in progress to their sums."""
        own = [one for one in self.budgets if one.budget.period == "run"]
        if not own:
            return
        now = self.allowances.now()
        parts = await self.table.folded_parts((to_microseconds(now - RUN), to_microseconds(now) + 1))
        if any(part.level == DAY_SUM for part in parts):
            log.warning(
                "budgets of runs start without some of the earlier spending: the ledger has only sums for the runs of "
                "the last day. Raise state_storage.ledger.max_bytes"
            )
        by_holder = defaultdict(list)
        for run in await open_runs(self.table, self.dimension, self.allowances.now(), self.delivered_only):
            by_holder[self.holder_of(run.holder)].append(run)
        for one in own:
            for budget, runs in _sums_of(one, by_holder):
                for run in runs:
                    await self._raise_counter(budget, run.last / MICRO, run.name, run.sum)

    async def _raise_counter(
        self, budget: BudgetAllowance, at: float, run: str | None, found: LedgerSum, before: int = 0
    ) -> None:
        await trio.lowlevel.checkpoint()  # thousands of clients have budgets with dozens of parts
        used = counted_amount(budget.measure, Consumption(found.usage, found.nanos), count_cached=budget.count_cached)
        if used and (counter := budget.counter(at, run)) is not None:  # read after the sums, for spending continues
            used += before + self.settled.get(counter.key, 0)
            self.allowances.counters.raise_to(counter, used)


def _sums_of(
    budget: BudgetAllowance, by_holder: Mapping[str | None, list[T]]
) -> Iterator[tuple[BudgetAllowance, list[T]]]:
    """Yield ``budget`` with its holder's sum in ``by_holder``; for the budget of a rule, those of all its people.

    All people of the issuer get it: a person whom another rule admits has no such budget, and nothing reads it."""
    holder = budget.holder
    if not holder.is_unlisted:
        if sums := by_holder.get(holder.name):
            yield budget, sums
        return
    beginning = holder.name.removesuffix("*")
    for name, sums in by_holder.items():
        if name is not None and name.startswith(beginning):
            yield attrs.evolve(budget, holder=attrs.evolve(holder, name=name)), sums


async def open_runs(table: LedgerTable, dimension: Dimension, now: float, delivered_only: bool) -> list[RunSum]:
    """Return the runs whose last request began within the pause that ends a run, each with its sum so far.

    Lines are read back to the first such pause: earlier requests with the same name belong to another run."""
    pause, until = to_microseconds(RUN), to_microseconds(now) + 1
    going: dict[tuple[str | None, str], RunSum] = {}
    done: list[RunSum] = []
    is_first = True
    while is_first or going:
        earlier = {
            (one.holder, one.name): one
            for one in await table.runs(dimension, (until - pause, until), delivered_only=delivered_only)
        }
        if is_first:
            going = earlier
        else:
            for key, run in tuple(going.items()):
                before = earlier.get(key)
                if before is None or run.first - before.last > pause:
                    done.append(going.pop(key))
                else:
                    going[key] = attrs.evolve(run, sum=total([run.sum, before.sum]), first=before.first)
        is_first, until = False, until - pause
    return done


_HOLDER_OF: Final[Mapping[HolderKind, HolderOf]] = {
    "everybody": lambda _: EVERYBODY.name, "client_keys": lambda name: name, "client_groups": lambda name: name,
}  # fmt: skip


def _entries_of(entries: Sequence[ModelEntry]) -> Mapping[str, str]:
    """Return entry names by the target names in ledger lines.

    A wildcard entry appears by its provider, if no other wildcard entry has that provider."""
    wild = [one for one in entries if one.wildcard]
    alone = {one.provider.id for one in wild if sum(other.provider.id == one.provider.id for other in wild) == 1}
    plain = {one.name: one.name for one in entries if not one.wildcard}
    return {**{f"{one.provider.id}/": one.name for one in wild if one.provider.id in alone}, **plain}


def entry_of(names: Mapping[str, str], target: str | None) -> str | None:
    """Return the name of the entry for a ledger line's ``target``: an entry's name, or ``provider/model`` of a
    wildcard."""
    if target is None:
        return None
    provider, slash, _ = target.partition("/")
    return names.get(target) or names.get(provider + slash)
