"""Limits and budgets with their levels."""

from collections.abc import Sequence

import attrs
import trio

from gateway.allowances.allowance import Holder
from gateway.allowances.budgets import budget_allowances
from gateway.config.amounts import read_budget
from gateway.counters.counter import SumCounter
from gateway.counters.memory import LocalCounters
from gateway.features.admin.levels import level_rows

NOW = 1_790_000_000.0
TEXTS = ["10 usd/30d", "20 usd/7d", "30 usd/day", "40 usd/24h"]
ROLLING = ["10 usd/30d", "20 usd/7d", "40 usd/24h"]


class SlowCounters(LocalCounters):
    """Counters that know the earlier sums once those of all rolling budgets are requested."""

    def __init__(self) -> None:
        super().__init__()
        self._requested = 0
        self._all_requested = trio.Event()

    async def earlier_sums(self, counter: SumCounter) -> Sequence[int] | None:
        self._requested += 1
        if self._requested == len(ROLLING):
            self._all_requested.set()
        with trio.fail_after(5):
            await self._all_requested.wait()
        return await super().earlier_sums(counter)


@attrs.define
class KnownAllowances:
    counters: SlowCounters

    def now(self) -> float:
        return NOW


async def test_the_earlier_sums_of_budgets_are_read_together_and_rows_keep_their_order() -> None:
    """Each budget waited for its own round trip to the shared store."""
    shown = budget_allowances(Holder("client_keys", "alice"), [read_budget(text) for text in TEXTS], "UTC")
    assert [one.text for one in shown if (found := one.counter(NOW, None)) and found.earlier] == ROLLING
    rows = await level_rows(shown, KnownAllowances(SlowCounters()))  # type: ignore[arg-type]
    assert [row["text"] for row in rows["budgets"]] == [one.text for one in shown]
