"""The runs of a scenario on a target: one, several, or a search, which judges each load by a rule."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

import attrs
import trio

from loadtest.figures.conditions import ALIASES, SHARE, Condition, parse_condition
from loadtest.figures.histogram import Histogram
from loadtest.figures.measures import MEASURES, count_with_noun, format_number
from loadtest.figures.notes import BUSY, LATE
from loadtest.figures.result import RunResult
from loadtest.figures.tally import COUNTS, Tally
from loadtest.plan.comparison import Comparison, parse_percentile, part_of
from loadtest.plan.requested_loads import SearchBounds
from loadtest.plan.scenario import Scenario
from loadtest.run.overhead import Overhead
from loadtest.run.search import FoundLoad, Purpose, SearchReport, SearchStep, Trial, TriedLoad, Verdict, next_trial
from loadtest.run.step_watch import BLOCKS, LimitEvidence, StepLength, StepState, StepWatch, step_state
from loadtest.run.under_way import LoadUnderWay, Runner

CHECKS: Final = 4  # in each block of a step
LONGEST_PAUSE: Final = 1.0  # seconds between two checks
FEW: Final = 5  # least arrivals in a step upwards
LONGEST_LEAD: Final = 60.0  # most seconds to fill the server before the measurement

CROWD: Final = 1.5
"""By this factor more requests under way than the last answers explain may be a backlog."""

LENGTHS: Final[Mapping[Purpose, float]] = {"climb": 0.5, "narrow": 1.0, "again": 1.0, "confirm": 2.0}
"""The least duration of a step, in step lengths."""

PATIENCE: Final[Mapping[Purpose, float]] = {"climb": 4.0, "narrow": 4.0, "again": 4.0, "confirm": 12.0}
"""The factor by which a step may extend until it has enough values."""


TalliesByKind: TypeAlias = Mapping[str, Tally]
"""The tallies of each kind of request, and of all as ""."""


@attrs.frozen
class LoadRule:
    """The condition that a load must meet.

    ``failures`` returns the violations, ``evidence`` the numbers of values for each percentile or share, and
    ``text`` describes the rule.
    """

    text: str
    failures: Callable[[RunResult], Sequence[str]]
    evidence: Callable[[str, TalliesByKind], Sequence[LimitEvidence]]


class _WatchedStep:
    """A step of a search under observation."""

    def __init__(self, trial: Trial, length: StepLength, rule: LoadRule) -> None:
        self.watch = StepWatch(length.least / BLOCKS)
        self.state: StepState = "go on"
        self._trial, self._length, self._rule = trial, length, rule

    async def watch_run(self, running: LoadUnderWay) -> None:
        """Watch the step, and end it when it has enough evidence."""
        seen, waited = 0, 0.0
        while self.state == "go on":
            await trio.sleep(min(self._length.least / BLOCKS / CHECKS, LONGEST_PAUSE))
            if running.warming_up:
                continue
            at, tally = running.measured_seconds, running.figures.total
            ends = _waiting_times(tally)
            self.watch.count_under_way(at, running.in_flight)
            self.watch.count_ends(at, ends.total - waited, ends.count - seen)
            seen, waited = ends.count, ends.total
            shown = evidence(self._rule, running.target, {**running.figures.requests, "": tally}, self.watch)
            self.state = step_state(at, self._length, shown, self._trial.purpose, self.watch)
        running.finish(self.reason)

    @property
    def reason(self) -> str:
        return f"a step of a search: {self.state}"


def _waiting_times(tally: Tally) -> Histogram:
    """Return the times to the first token, or the durations if there are no streams."""
    firsts = tally.measures["ttft"]
    return firsts if firsts.count else tally.measures["duration"]


def evidence(rule: LoadRule, target: str, tallies: TalliesByKind, watch: StepWatch) -> Sequence[LimitEvidence]:
    """Return the evidence of a step so far."""
    alike = watch.dependent_answers(_waiting_times(tallies[""]).deviation)
    return [attrs.evolve(one, dependent=alike) for one in rule.evidence(target, tallies)]


_CLIMBING: Final = 5  # steps up to the limit of a fast server


def _time_to_narrow(bounds: SearchBounds, low: float, high: float, plan: Scenario, typical: float) -> float:
    """Return the approximate seconds to narrow the bounds and confirm the result."""
    steps = 1
    while not bounds.are_near(low, high):
        high, steps = (low + high) / 2, steps + 1
    patience = PATIENCE["confirm"] if plan.has_random_arrivals else 1
    return (steps + LENGTHS["confirm"] * patience) * max(plan.seconds, 2 * typical) + 2 * (steps + 1) * typical


def plan_step(plan: Scenario, trial: Trial, typical: float) -> tuple[Scenario, StepLength]:
    """Return the load and the length of a trial. Steps are longer if answers are slow (``typical`` seconds) or
    arrivals rare.

    Except on the way up, the server is filled for the duration of an answer before the measurement.
    """
    rate = trial.load if plan.is_open_loop else trial.load / max(typical, 1e-3)
    length = plan.seconds * LENGTHS[trial.purpose]
    least = max(length, 2 * typical * LENGTHS[trial.purpose], 2 * FEW * LENGTHS[trial.purpose] / rate)
    lead = 0.0 if trial.purpose == "climb" and plan.is_open_loop else min(max(typical, plan.warmup), LONGEST_LEAD)
    most = least * PATIENCE[trial.purpose]
    step = attrs.evolve(plan, warmup=max(lead, plan.warmup), seconds=most)
    crowd = max(FEW, CROWD * trial.load * typical) if typical and plan.is_open_loop else math.inf
    return step.with_load(trial.load), StepLength(least, most, crowd)


class SearchReporter(Protocol):
    """Receives the progress of a search."""

    def report_begin(self, bounds: SearchBounds, rule: str, seconds: float) -> None:
        """Receive the begin of a search that takes about ``seconds``."""
        ...

    def report_trial(self, trial: Trial, seconds: float) -> None: ...

    def report_step(self, step: SearchStep) -> None: ...

    def report_bounds(self, low: float, high: float, seconds: float) -> None:
        """Receive the bounds of the result, and the ``seconds`` left."""
        ...


async def search(
    plan: Scenario, target: str, bounds: SearchBounds, run: Runner, rule: LoadRule, reporter: SearchReporter
) -> RunResult:
    """Search for the highest load. Return the run of the result, or the last run, including the search."""
    tried: list[TriedLoad] = []
    steps: list[SearchStep] = []
    results: list[RunResult] = []
    typical = 0.0
    reporter.report_begin(
        bounds, rule.text, _CLIMBING * plan.seconds / 2 + _time_to_narrow(bounds, 1.0, 2.0, plan, 0.0)
    )
    while isinstance(todo := next_trial(bounds, tried), Trial):
        scenario, length = plan_step(plan, todo, typical)
        scenario = attrs.evolve(scenario, seed=plan.seed + len(tried))
        step = _WatchedStep(todo, length, rule)
        reporter.report_trial(todo, scenario.warmup + length.least + typical)
        result = await run(scenario, target, step.watch_run)
        ended_early = result.stopped not in ("", step.reason)
        result = result if ended_early else attrs.evolve(result, stopped="")
        if result.interrupted or ended_early:
            todo = FoundLoad("interrupted", max((one.load for one in tried if one.holds), default=0.0))
            results.append(result)
            break
        verdict, why = judge_step(result, step.state, step.watch, rule)
        tried.append(TriedLoad(todo.load, todo.purpose, verdict, step.watch.most_under_way > 1))
        steps.append(_make_search_step(result, tried[-1], why, step.watch.most_under_way))
        results.append(result)
        reporter.report_step(steps[-1])
        if tried[-1].holds and (durations := result.tally.measures["duration"]).count:
            typical = durations.percentile(50)
        if not tried[-1].holds and len({one.load for one in tried if not one.holds}) == 1 and len(tried) > 1:
            low, high = max((one.load for one in tried if one.holds), default=0.0), tried[-1].load
            if 0 < low < high and tried[-1].verdict != "loader":
                reporter.report_bounds(low, high, _time_to_narrow(bounds, low, high, plan, typical))
    report = SearchReport(bounds.unit, rule.text, tuple(steps), todo)
    unsure = (f"The search is undecided: {steps[-1].why}.",) if todo.outcome == "undecided" else ()
    return attrs.evolve(results[-1], search=report, remarks=(*results[-1].remarks, *unsure))


def _make_search_step(run: RunResult, tried: TriedLoad, why: str, under_way: int) -> SearchStep:
    ttft, duration = run.tally.measures["ttft"], run.tally.measures["duration"]
    return SearchStep(
        load=tried.load,
        purpose=tried.purpose,
        verdict=tried.verdict,
        why=why,
        seconds=run.seconds,
        begun=run.tally.counts["started"],
        whole=run.tally.counts["whole"],
        goodput=run.tally.goodput,
        completed=run.completed_rate,
        ttft_p50=ttft.percentile_or_none(50),
        ttft_p99=ttft.percentile_or_none(99),
        duration_p50=duration.percentile_or_none(50),
        duration_p99=duration.percentile_or_none(99),
        under_way=under_way,
    )


def judge_step(run: RunResult, ended_by: StepState, watch: StepWatch, rule: LoadRule) -> tuple[Verdict, str]:
    """Return the verdict on a step, and its reason."""
    failures = list(rule.failures(run))
    shown = evidence(rule, run.target, {**run.requests, "": run.tally}, watch)
    if ended_by == "backlog":
        growth = watch.growth
        failures.insert(0, f"backlog grew, {format_number(round(growth.under_way[0]))} to "
                           f"{format_number(round(growth.under_way[1]))}")  # fmt: skip
    if failures and loader_is_the_limit(run.overhead):
        return "loader", failures[0]
    if failures:
        sure = ended_by == "backlog" or not shown or any(one.is_missed() for one in shown)
        return ("failed" if sure else "seems to fail"), failures[0]
    unsure = [one for one in shown if not one.is_kept]
    return ("seems to hold", unsure[0].missing_values_text) if unsure else ("held", "")


def loader_is_the_limit(overhead: Overhead) -> bool:
    """Return whether the slowness of the load tester may explain a failure."""
    parts = overhead.processes.values()
    return any(part.cpu > BUSY or part.late.percentile(50) > LATE for part in parts)


# The condition of a search

GOOD: Final = "goodput<99%"
"""The default condition of a search."""


def rule_of(plan: Scenario) -> LoadRule:
    """Return the rule of a scenario's search: its conditions, and that 99 % of answers are good.

    The latter is omitted if a condition is about goodput, or if there are conditions but no objectives.
    """
    conditions = [parse_condition(text) for text in plan.fail_if]
    kinds = tuple(request.name for request in plan.requests)
    told = any(condition.comparison.name == SHARE for condition in conditions)
    if not told and (plan.slo or not conditions):
        conditions.insert(0, parse_condition(GOOD))

    def failures(run: RunResult) -> Sequence[str]:
        found = [(one.comparison.text, failure) for one in conditions if (failure := one.failure(run))]
        return [_most_frequent_failure(run.tally) or failure if text == GOOD else failure for text, failure in found]

    def evidence(target: str, tallies: TalliesByKind) -> Sequence[LimitEvidence]:
        parts = [(one.comparison, part_of(one.comparison.of, plan.targets, kinds)) for one in conditions]
        there = [(asked, part.request) for asked, part in parts if part.target in ("", target)]
        return [found for asked, kind in there if (found := _comparison_evidence(asked, tallies.get(kind, Tally())))]

    return LoadRule(_describe_rule(plan, conditions), failures, evidence)


def _most_frequent_failure(tally: Tally) -> str:
    """Return the most frequent error or missed objective."""
    errors = [(failure.count, failure.kind) for failure in tally.failures[:1]]
    missed = [(count, f"missed {name}") for name, count in tally.missed.most_common(1)]
    count, what = max((*errors, *missed), default=(0, ""))
    return f"{count} {what}" if count else ""


def _describe_rule(plan: Scenario, conditions: Sequence[Condition]) -> str:
    rule = " and ".join(f"not {one.comparison.text}" for one in conditions if one.comparison.text != GOOD)
    if conditions[0].comparison.text != GOOD:
        return rule
    objectives = ", ".join(plan.slo)
    good = "99 % of answers are good" + (f" ({objectives})" if objectives else " (whole)")
    return f"{good}, {rule}" if rule else good


def _comparison_evidence(asked: Comparison, tally: Tally) -> LimitEvidence | None:
    """Return the evidence for a percentile or a share, ``None`` for other figures."""
    if asked.name == SHARE and asked.is_upper_bound:
        return LimitEvidence(asked.limit / 100, tally.judgeable_count, tally.judgeable_count - tally.counts["good"])
    name = ALIASES.get(asked.name, asked.name)
    if name in COUNTS and asked.unit == "%" and not asked.is_upper_bound and asked.limit > 0:
        return LimitEvidence(1 - asked.limit / 100, tally.counts["started"], tally.counts[name])
    if asked.name not in MEASURES or not asked.statistic.startswith("p") or asked.is_upper_bound:
        return None
    share = parse_percentile(asked.text, asked.statistic) / 100
    histogram = tally.measures[asked.name]
    return LimitEvidence(share, histogram.count, histogram.count_above(asked.limit)) if 0 < share < 1 else None


# The runs of a scenario


@attrs.frozen
class PlannedRun:
    """One run of a series. ``label`` distinguishes runs of a target."""

    scenario: Scenario
    label: str = ""


def planned_runs(plan: Scenario) -> Iterator[PlannedRun]:
    """Yield the runs of one target: all loads in turn, repeated, so that changes over time affect all of them.

    Each repetition has another seed, because equal ones would hide random variation.
    """
    for turn in range(plan.repeat):
        for load in plan.loads or (None,):
            once = attrs.evolve(plan, repeat=1) if load is None else plan.with_load(load)
            labels = [label_of(plan, load)] if load is not None else []
            labels += [f"run {turn + 1}"] if plan.repeat > 1 else []
            yield PlannedRun(attrs.evolve(once, seed=plan.seed + turn), ", ".join(labels))


def label_of(plan: Scenario, load: float) -> str:
    """Return a short text for a load."""
    if plan.is_open_loop:
        return f"{format_number(load)}/s"
    return count_with_noun(load, "client")


async def make_runs(
    plan: Scenario, target: str, run: Runner, rule: Callable[[], LoadRule], reporter: SearchReporter
) -> list[RunResult]:
    """Make all runs until one is interrupted. ``rule`` returns the condition of a search."""
    if plan.search is not None:
        return [await search(plan, target, plan.search, run, rule(), reporter)]
    found: list[RunResult] = []
    for planned in planned_runs(plan):
        result = await run(planned.scenario, target)
        found.append(attrs.evolve(result, label=planned.label))
        if result.interrupted:
            break
    return found
