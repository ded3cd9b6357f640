"""What ends a load before its time: a condition of ``--until``, tokens that are used up, or nothing but refusals."""

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

import attrs
import trio

from loadtest.exchange.record import ExchangeRecord
from loadtest.figures.conditions import ConditionVerdict, early, of_tally, verdict
from loadtest.figures.run_figures import MANY, RunFigures
from loadtest.figures.tally import Tally
from loadtest.plan.comparison import Comparison, part_of
from loadtest.plan.masked_urls import shown
from loadtest.plan.scenario import Scenario
from loadtest.run.under_way import LoadUnderWay, RecordSink

WINDOW: Final = 10.0
LEAST: Final = 20
"""Seconds that a condition of ``--until`` is about, or as many more as it takes for so many ends: of fewer, one bad
answer would be too much, and a load of one a second would never have them."""

KEPT: Final = 600  # seconds in which something ended

LOOK: Final = 0.1  # seconds between two looks


class EarlyEnd(Protocol):
    """Says why a load is to end."""

    def reason(self, figures: RunFigures) -> str:
        """Why it is to end now, with such ``figures``; "" if it is not."""
        ...


class LastEnds:
    """The exchanges that ended in the last seconds, second by second, and the conditions of ``--until`` that end the
    load. ``now`` is a clock."""

    reads_bodies = False

    def __init__(
        self,
        conditions: Iterable[Comparison],
        target: str,
        targets: Iterable[str],
        requests: Sequence[str],
        now: Callable[[], float] = trio.current_time,
    ) -> None:
        names = tuple(targets)
        parts = [(one, part_of(one.of, names, requests)) for one in conditions]
        self._conditions = [(one, part.request) for one, part in parts if part.target in ("", target)]
        self._now = now
        self._seconds: deque[tuple[int, Mapping[str, Tally]]] = deque(maxlen=KEPT)
        self.verdict: ConditionVerdict | None = None

    def add(self, record: ExchangeRecord, missed: Sequence[str], body: bytes) -> None:
        if not record.is_counted or not self._conditions:
            return
        second = int(self._now())
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append((second, defaultdict(Tally)))
        self._seconds[-1][1][record.request].add(record, missed)

    def reason(self, figures: RunFigures) -> str:
        for condition, request in self._conditions:
            tally, since = self._of(request)
            if tally.counts["started"] < LEAST:
                continue
            value, show = of_tally(condition)
            found = verdict("", condition, value(tally), show)
            if found.value is not None and not found.ok:
                self.verdict = found
                return f"{found.failure} over the last {tally.counts['started']} ends, in {since:.0f} s"
        return ""

    def _of(self, request: str) -> tuple[Tally, float]:
        """The last ends, and within how many seconds they were."""
        found, since = Tally(), WINDOW
        for second, requests in reversed(self._seconds):
            if second <= self._now() - WINDOW and found.counts["started"] >= LEAST:
                break
            since = max(WINDOW, self._now() - second)
            for name, tally in requests.items():
                if request in ("", name):
                    found.merge(tally)
        return found, since


class TokenBudget:
    """The tokens that a command may use, whatever it loads: of prompts and answers, those of the warm-up and of failed
    ones too."""

    reads_bodies = False

    def __init__(self, most: float) -> None:
        self._most = most
        self.used = 0

    def add(self, record: ExchangeRecord, missed: Sequence[str], body: bytes) -> None:
        asked = record.asked_input if record.tokens.input is None else record.tokens.input
        self.used += (asked or 0) + record.output_tokens

    @property
    def spent(self) -> bool:
        return self.used >= self._most

    def reason(self, figures: RunFigures) -> str:
        return f"{self.used:,} tokens are used, of {self._most:,} (--max-tokens)" if self.spent else ""


class Refusals:
    """Ends a load whose first answers were refusals, all of them."""

    def __init__(self) -> None:
        self.refused = False

    def reason(self, figures: RunFigures) -> str:
        found = figures.refusals
        self.refused = found.are_all
        return f"the first {MANY} answers were all refusals: {found.said}" if self.refused else ""


async def end_early(running: LoadUnderWay, ends: Sequence[EarlyEnd]) -> None:
    """Stop the load as soon as one of ``ends`` says so."""
    while True:
        if reason := next(filter(None, (one.reason(running.figures) for one in ends)), ""):
            running.stop(reason)
            return
        await trio.sleep(LOOK)


class EarlyEnds:
    """All that may end the runs of one command, and what it came to."""

    def __init__(self, plan: Scenario) -> None:
        self._conditions = tuple(map(early, plan.until))
        self._budget = TokenBudget(plan.max_tokens or math.inf)
        self._counts_tokens = plan.max_tokens is not None
        self._runs: list[tuple[str, LastEnds, Refusals]] = []

    def of_run(self, plan: Scenario, target: str) -> tuple[Sequence[EarlyEnd], Sequence[RecordSink]]:
        """Those of the next run, which loads ``target``, and which of them want its records."""
        kinds = tuple(request.name for request in plan.requests)
        last = LastEnds(self._conditions, target, tuple(plan.targets), kinds)
        refusals = Refusals()
        self._runs.append((target or shown(plan.targets[target]), last, refusals))
        told: list[RecordSink] = [
            *([last] if self._conditions else []),
            *([self._budget] if self._counts_tokens else []),
        ]
        return (last, refusals, self._budget), told

    @property
    def spent(self) -> bool:
        """No further run may begin."""
        return self._budget.spent

    @property
    def verdicts(self) -> Sequence[ConditionVerdict]:
        """The conditions of ``--until`` that ended a run."""
        return [attrs.evolve(last.verdict, run=name) for name, last, _ in self._runs if last.verdict]

    @property
    def refused(self) -> bool:
        """A run ended because there were nothing but refusals."""
        return any(refusals.refused for _, _, refusals in self._runs)
