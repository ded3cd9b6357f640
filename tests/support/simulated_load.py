"""Loads on a simulated queue for searches, on trio's mock clock, with real figures."""

import random
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate

import trio

from loadtest.figures.histogram import Histogram
from loadtest.figures.result import RunResult
from loadtest.figures.run_figures import RunFigures
from loadtest.plan.scenario import Scenario, arrival_times
from loadtest.run.overhead import Overhead
from loadtest.run.under_way import LoadUnderWay, Watching, watch_nothing
from tests.support.load_records import exchange_record
from tests.support.simulated_queue import SimulatedAnswer, SimulatedQueue


class SimulatedLoad(LoadUnderWay):
    """A load on a queue. The answers are known from the start, and arrive when they are due."""

    figures: RunFigures
    in_judging = 0
    begun_share = 0.0

    def __init__(self, plan: Scenario, target: str, answers: Sequence[SimulatedAnswer], slow: float) -> None:
        super().__init__(plan, target)
        self.figures = RunFigures()
        self._answers = answers
        self._slow = slow
        self._planned = [one.planned for one in answers]
        self._ends = sorted(answers, key=lambda one: one.ended)
        self._seen = 0
        self._finished = trio.Event()

    @property
    def in_flight(self) -> int:
        return bisect_right(self._planned, trio.current_time() - self.begin) - self._seen

    def stop(self, reason: str = "") -> None:
        self.finish(reason)

    def finish(self, reason: str) -> None:
        self.stopped = reason
        self.end = min(self.end, trio.current_time())

    async def run_watched(self, watch: Watching) -> RunResult:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, self)
            while self._seen < len(self._ends) and self._was_begun(self._ends[self._seen]):
                await trio.sleep_until(self.begin + self._ends[self._seen].ended)
                self._count_answer(self._ends[self._seen])
                self._seen += 1
            await trio.sleep_until(self.end)
            nursery.cancel_scope.cancel()
        return self.result(datetime(2026, 1, 1, tzinfo=UTC), Overhead(Histogram(), Histogram(), 0.0, None))

    def _was_begun(self, answer: SimulatedAnswer) -> bool:
        """Return whether the answer's request began before the end of arrivals."""
        while self._ends[self._seen].planned > self.end - self.begin and self._seen < len(self._ends) - 1:
            self._seen += 1
        return self._ends[self._seen].planned <= self.end - self.begin

    def _count_answer(self, answer: SimulatedAnswer) -> None:
        waited = answer.ended
        ends = list(accumulate(step.seconds for step in self.scenario.steps))
        record = exchange_record(
            step=min(bisect_right(ends, answer.planned), len(ends) - 1),
            planned=answer.planned, began=answer.planned, sent=answer.planned, first_byte=waited, first_event=waited,
            contents=(waited,), first_output=waited, end_event=waited, ended=waited,
        )  # fmt: skip
        self.figures.record_begin(answer.planned, 0.0)
        self.figures.add(record, ("ttft",) if answer.wait_seconds > self._slow else ())


def simulate(queue: SimulatedQueue, slow: float = float("inf")):
    """Return a runner of loads on ``queue``. Answers slower than ``slow`` are not good."""
    loads: list[Scenario] = []

    async def run(plan: Scenario, target: str, watch: Watching = watch_nothing) -> RunResult:
        loads.append(plan)
        planned = [start - plan.warmup for start in arrival_times(plan)]
        answers = queue.answers(planned, random.Random(plan.seed))
        return await SimulatedLoad(plan, target, answers, slow).run_watched(watch)

    return run, loads
