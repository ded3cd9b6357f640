"""Conditions that end a load early: those of ``--until``, an exhausted token budget, nothing but refusals, or no
connection."""

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

import attrs
import trio

from loadtest.exchange.record import ExchangeRecord
from loadtest.figures.conditions import ConditionVerdict, figure_reader, judge_figure, parse_until
from loadtest.figures.run_figures import FEW, MANY, RunFigures
from loadtest.figures.tally import Tally
from loadtest.plan.comparison import Comparison, part_of
from loadtest.plan.masked_urls import mask_url
from loadtest.plan.scenario import Scenario
from loadtest.run.under_way import LoadUnderWay, RecordSink

WINDOW: Final = 10.0
LEAST: Final = 20
"""The period of a condition of ``--until`` in seconds, longer until it has this many ends.

With fewer, one bad answer would weigh too much.
"""

KEPT: Final = 600  # seconds with ends

CHECK_INTERVAL: Final = 0.1  # seconds between two checks


class EarlyEnd(Protocol):
    """A condition that may end a load."""

    def reason(self, figures: RunFigures) -> str:
        """Return why the load must end now, or ""."""
        ...


class RecentEnds:
    """The exchanges that ended in the last seconds, and the conditions of ``--until`` on them. ``now`` is a clock."""

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
            tally, since = self._tally_of(request)
            if tally.counts["started"] < LEAST:
                continue
            value, show = figure_reader(condition)
            found = judge_figure("", condition, value(tally), show)
            if found.value is not None and not found.ok:
                self.verdict = found
                return f"{found.failure} in the last {tally.counts['started']} finished requests, in {since:.0f} s"
        return ""

    def _tally_of(self, request: str) -> tuple[Tally, float]:
        """Return the tally of the last ends, and their period in seconds."""
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
    """The tokens that a command may use for all its loads: prompts and answers, including the warm-up and failures."""

    reads_bodies = False

    def __init__(self, most: float) -> None:
        self._most = most
        self.used = 0

    def add(self, record: ExchangeRecord, missed: Sequence[str], body: bytes) -> None:
        asked = record.asked_input if record.tokens.input is None else record.tokens.input
        self.used += (asked or 0) + record.output_tokens

    @property
    def is_spent(self) -> bool:
        return self.used >= self._most

    def reason(self, figures: RunFigures) -> str:
        return f"{self.used:,} of {self._most:,} tokens are used (--max-tokens)" if self.is_spent else ""


class Refusals:
    """Ends a load if all its first answers are refusals, or if its first requests get no connection."""

    def __init__(self) -> None:
        self.refused = False

    def reason(self, figures: RunFigures) -> str:
        found = figures.refusals
        self.refused = found.are_all_answers or found.is_unreached
        if found.is_unreached:
            return f"none of the first {FEW} requests got a connection: {found.first_fault}"
        return f"the server rejected all of the first {MANY} requests: {found.first_text}" if self.refused else ""


async def end_early(running: LoadUnderWay, ends: Sequence[EarlyEnd]) -> None:
    """Stop the load as soon as one of ``ends`` has a reason."""
    while True:
        if reason := next(filter(None, (one.reason(running.figures) for one in ends)), ""):
            running.stop(reason)
            return
        await trio.sleep(CHECK_INTERVAL)


class EarlyEnds:
    """All conditions that may end the runs of one command, and their results."""

    def __init__(self, plan: Scenario) -> None:
        self._conditions = tuple(map(parse_until, plan.until))
        self._budget = TokenBudget(plan.max_tokens or math.inf)
        self._counts_tokens = plan.max_tokens is not None
        self._runs: list[tuple[str, RecentEnds, Refusals]] = []

    def of_run(self, plan: Scenario, target: str) -> tuple[Sequence[EarlyEnd], Sequence[RecordSink]]:
        """Return the conditions for the next run, and those among them that receive its records."""
        kinds = tuple(request.name for request in plan.requests)
        last = RecentEnds(self._conditions, target, tuple(plan.targets), kinds)
        refusals = Refusals()
        self._runs.append((target or mask_url(plan.targets[target]), last, refusals))
        told: list[RecordSink] = [
            *([last] if self._conditions else []),
            *([self._budget] if self._counts_tokens else []),
        ]
        return (last, refusals, self._budget), told

    @property
    def is_spent(self) -> bool:
        """True if no other run may begin."""
        return self._budget.is_spent

    @property
    def verdicts(self) -> Sequence[ConditionVerdict]:
        """The conditions of ``--until`` that ended a run."""
        return [attrs.evolve(last.verdict, run=name) for name, last, _ in self._runs if last.verdict]

    @property
    def was_refused(self) -> bool:
        """True if a run ended because of refusals, or without a connection."""
        return any(refusals.refused for _, _, refusals in self._runs)
