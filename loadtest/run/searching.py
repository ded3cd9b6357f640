"""A search on a target: run a load, judge it, let ``next_trial`` say which is next."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

import attrs
import trio

from loadtest.figures.histogram import Histogram
from loadtest.figures.notes import BUSY, LATE
from loadtest.figures.numbers import plain
from loadtest.figures.result import RunResult
from loadtest.figures.tally import Tally
from loadtest.plan.asked_loads import SearchBounds
from loadtest.plan.scenario import Scenario
from loadtest.run.overhead import Overhead
from loadtest.run.search import FoundLoad, Purpose, Trial, TriedLoad, Verdict, next_trial
from loadtest.run.search_report import SearchReport, SearchStep
from loadtest.run.step_watch import BLOCKS, LimitEvidence, StepLength, StepState, StepWatch, state
from loadtest.run.under_way import LoadUnderWay, Runner

LOOKS: Final = 4  # at each block of a step
LONGEST_PAUSE: Final = 1.0  # seconds between two looks
FEW: Final = 5  # arrivals that a look on the way up takes at least
LONGEST_LEAD: Final = 60.0  # seconds that a server is filled, at most, before what counts

CROWD: Final = 1.5
"""By this factor more under way than there would be if answers were as quick as at a lower load may be a backlog."""

LENGTHS: Final[Mapping[Purpose, float]] = {"climb": 0.5, "narrow": 1.0, "again": 1.0, "confirm": 2.0}
"""How long a step lasts at least, in lengths of a step."""

PATIENCE: Final[Mapping[Purpose, float]] = {"climb": 4.0, "narrow": 4.0, "again": 4.0, "confirm": 12.0}
"""By how much longer it may become until it has values enough."""


TalliesByKind: TypeAlias = Mapping[str, Tally]
"""The sums of each kind of request, and of all under ""."""


@attrs.frozen
class LoadRule:
    """What must hold of a load. ``failures`` says why it does not; ``evidence`` finds how many values there are of what
    a percentile or a share is asked of, on the target of that name; ``text`` says the rule."""

    text: str
    failures: Callable[[RunResult], Sequence[str]]
    evidence: Callable[[str, TalliesByKind], Sequence[LimitEvidence]]


class _WatchedStep:
    """One step that is looked at while it runs."""

    def __init__(self, trial: Trial, length: StepLength, rule: LoadRule) -> None:
        self.watch = StepWatch(length.least / BLOCKS)
        self.state: StepState = "go on"
        self._trial, self._length, self._rule = trial, length, rule

    async def look(self, running: LoadUnderWay) -> None:
        """Look until the step has shown enough."""
        seen, waited = 0, 0.0
        while self.state == "go on":
            await trio.sleep(min(self._length.least / BLOCKS / LOOKS, LONGEST_PAUSE))
            if running.warming_up:
                continue
            at, tally = running.measured, running.figures.total
            ends = _waits(tally)
            self.watch.look(at, running.in_flight)
            self.watch.ended(at, ends.total - waited, ends.count - seen)
            seen, waited = ends.count, ends.total
            shown = evidence(self._rule, running.target, {**running.figures.requests, "": tally}, self.watch)
            self.state = state(at, self._length, shown, self._trial.purpose, self.watch)
        running.finish(self.reason)

    @property
    def reason(self) -> str:
        return f"a step of a search: {self.state}"


def _waits(tally: Tally) -> Histogram:
    """How long answers let wait for their first tokens, or for all of what is no stream."""
    firsts = tally.measures["ttft"]
    return firsts if firsts.count else tally.measures["duration"]


def evidence(rule: LoadRule, target: str, tallies: TalliesByKind, watch: StepWatch) -> Sequence[LimitEvidence]:
    """What a step has shown so far of what must hold."""
    alike = watch.alike(_waits(tallies[""]).deviation)
    return [attrs.evolve(one, alike=alike) for one in rule.evidence(target, tallies)]


_CLIMBING: Final = 5  # steps up to a fairly quick server's limit


def _time_to_narrow(bounds: SearchBounds, low: float, high: float, plan: Scenario, typical: float) -> float:
    """About how long it takes from bounds to the answer."""
    steps = 1
    while not bounds.near(low, high):
        high, steps = (low + high) / 2, steps + 1
    patience = PATIENCE["confirm"] if plan.at_random else 1
    return (steps + LENGTHS["confirm"] * patience) * max(plan.seconds, 2 * typical) + 2 * (steps + 1) * typical


def step_of(plan: Scenario, trial: Trial, typical: float) -> tuple[Scenario, StepLength]:
    """The load of a trial, and how long it lasts: longer where answers are (``typical`` seconds), or arrivals rare.

    But for a look on the way up, the server is filled for as long as an answer takes before what counts."""
    rate = trial.load if plan.open_loop else trial.load / max(typical, 1e-3)
    length = plan.seconds * LENGTHS[trial.purpose]
    least = max(length, 2 * typical * LENGTHS[trial.purpose], 2 * FEW * LENGTHS[trial.purpose] / rate)
    lead = 0.0 if trial.purpose == "climb" and plan.open_loop else min(max(typical, plan.warmup), LONGEST_LEAD)
    most = least * PATIENCE[trial.purpose]
    step = attrs.evolve(plan, warmup=max(lead, plan.warmup), seconds=most)
    crowd = max(FEW, CROWD * trial.load * typical) if typical and plan.open_loop else math.inf
    return step.at(trial.load), StepLength(least, most, crowd)


class SearchTeller(Protocol):
    """Tells of a search while it goes on."""

    def begins(self, bounds: SearchBounds, rule: str, seconds: float) -> None:
        """It takes some ``seconds``."""
        ...

    def tries(self, trial: Trial, seconds: float) -> None: ...

    def tried(self, step: SearchStep) -> None: ...

    def bounded(self, low: float, high: float, seconds: float) -> None:
        """The answer lies between two loads; so many ``seconds`` are left."""
        ...


async def search(
    plan: Scenario, target: str, bounds: SearchBounds, run: Runner, rule: LoadRule, teller: SearchTeller
) -> RunResult:
    """The run of the load that was found, or of the last that was tried, with the search in it."""
    tried: list[TriedLoad] = []
    steps: list[SearchStep] = []
    results: list[RunResult] = []
    typical = 0.0
    teller.begins(bounds, rule.text, _CLIMBING * plan.seconds / 2 + _time_to_narrow(bounds, 1.0, 2.0, plan, 0.0))
    while isinstance(todo := next_trial(bounds, tried), Trial):
        scenario, length = step_of(plan, todo, typical)
        scenario = attrs.evolve(scenario, seed=plan.seed + len(tried))
        step = _WatchedStep(todo, length, rule)
        teller.tries(todo, scenario.warmup + length.least + typical)
        result = await run(scenario, target, step.look)
        ended_early = result.stopped not in ("", step.reason)
        result = result if ended_early else attrs.evolve(result, stopped="")
        if result.interrupted or ended_early:
            todo = FoundLoad("interrupted", max((one.load for one in tried if one.holds), default=0.0))
            results.append(result)
            break
        verdict, why = judged(result, step.state, step.watch, rule)
        tried.append(TriedLoad(todo.load, todo.purpose, verdict, step.watch.most_under_way > 1))
        steps.append(_step(result, tried[-1], why, step.watch.most_under_way))
        results.append(result)
        teller.tried(steps[-1])
        if tried[-1].holds and (durations := result.tally.measures["duration"]).count:
            typical = durations.percentile(50)
        if not tried[-1].holds and len({one.load for one in tried if not one.holds}) == 1 and len(tried) > 1:
            low, high = max((one.load for one in tried if one.holds), default=0.0), tried[-1].load
            if 0 < low < high and tried[-1].verdict != "loader":
                teller.bounded(low, high, _time_to_narrow(bounds, low, high, plan, typical))
    report = SearchReport(bounds.unit, rule.text, tuple(steps), todo)
    unsure = (f"The search is undecided: {steps[-1].why}.",) if todo.outcome == "undecided" else ()
    return attrs.evolve(results[-1], search=report, remarks=(*results[-1].remarks, *unsure))


def _step(run: RunResult, tried: TriedLoad, why: str, under_way: int) -> SearchStep:
    def at(name: str, percent: float) -> float | None:
        histogram = run.tally.measures[name]
        return histogram.percentile(percent) if histogram.count else None

    return SearchStep(
        load=tried.load,
        purpose=tried.purpose,
        verdict=tried.verdict,
        why=why,
        seconds=run.seconds,
        begun=run.tally.counts["started"],
        whole=run.tally.counts["whole"],
        goodput=run.tally.goodput,
        completed=run.completed,
        ttft_p50=at("ttft", 50),
        ttft_p99=at("ttft", 99),
        duration_p50=at("duration", 50),
        duration_p99=at("duration", 99),
        under_way=under_way,
    )


def judged(run: RunResult, ended_by: StepState, watch: StepWatch, rule: LoadRule) -> tuple[Verdict, str]:
    """What came of a step, and why."""
    failures = list(rule.failures(run))
    shown = evidence(rule, run.target, {**run.requests, "": run.tally}, watch)
    if ended_by == "backlog":
        growth = watch.growth
        failures.insert(0, f"backlog grew, {plain(round(growth.under_way[0]))} to "
                           f"{plain(round(growth.under_way[1]))}")  # fmt: skip
    if failures and loader_is_the_limit(run.overhead):
        return "loader", failures[0]
    if failures:
        sure = ended_by == "backlog" or not shown or any(one.missed() for one in shown)
        return ("failed" if sure else "seems to fail"), failures[0]
    unsure = [one for one in shown if not one.kept]
    return ("seems to hold", unsure[0].too_few) if unsure else ("held", "")


def loader_is_the_limit(overhead: Overhead) -> bool:
    """Whether what failed may be the load tester's own slowness."""
    parts = overhead.processes.values()
    return any(part.cpu > BUSY or part.late.percentile(50) > LATE for part in parts)
