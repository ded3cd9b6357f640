"""The search for the highest rate that a server sustains.

Rates double until one fails or the greatest allowed rate holds. Then the interval is halved until its bounds differ by
5 %. The result runs again for longer, until it is certain with 95 % confidence, and is lowered if it fails. The next
step is a function of the steps so far, so that no state can contradict the report.

Sources: MLPerf's inference rules (binary search, then steps down; the formula of early stopping),
vllm-project/guidellm#1086 (the request, and the end of a step by its backlog), linera-io/linera-protocol#6767
(confirmation by a second measurement).
"""

import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from statistics import fmean, variance
from typing import Final

import attrs
import trio

from loadtest.figures.confidence import Evidence, surely_rises
from loadtest.figures.histogram import Histogram
from loadtest.figures.measures import format_number
from loadtest.figures.result import FoundRate, Purpose, RunResult, SearchStep, Verdict, loader_is_the_limit
from loadtest.figures.tally import Tally
from loadtest.masking import mask_url
from loadtest.plan.limits import Limit, evidence_of, judge_condition, parse_condition
from loadtest.plan.plan import LoadPlan
from loadtest.run.running import ActiveRun

RESOLUTION: Final = 0.05
"""The greatest relative difference between the bounds at the end of a search."""
LOWEST: Final = 1 / 16
"""The smallest rate to try, relative to the first, if none holds."""
BLOCKS: Final = 12
"""The number of blocks in which a step is observed; a longer step has more."""
RISING: Final = 0.975
"""The confidence of each of two tests, for 95 % in both together."""
EARLY: Final = 0.999
"""The confidence for an early failure, which is tested repeatedly."""
GROWTH: Final = 1.1
"""The least growth of a backlog."""
FEW: Final = 10  # least arrivals in a step

LENGTHS: Final[dict[Purpose, tuple[float, float]]] = {
    "climb": (0.5, 2.0), "again": (1.0, 4.0), "narrow": (1.0, 4.0), "confirm": (2.0, 12.0),
}  # fmt: skip
"""The least and the greatest duration of a step, in ``--seconds``."""

GOOD: Final = "goodput<99%"
"""The default condition of a search."""


def next_step(first: float, most: float | None, steps: Sequence[SearchStep]) -> tuple[float, Purpose] | FoundRate:
    """Return the next rate to try, or the end of the search."""
    if not steps:
        return first, "climb"
    last = {step.rate: step for step in steps}
    high = min((rate for rate, step in last.items() if not step.holds), default=None)
    low = max((rate for rate, step in last.items() if step.holds and (high is None or rate < high)), default=None)
    limited = high is None or last[high].verdict == "the loader was too slow"
    if high is not None and not limited and last[high].purpose == "climb":
        return high, "again"  # a pause of the server would look like its limit
    if low is None:
        assert high is not None
        if not limited and high / 2 >= first * LOWEST:
            return float(f"{high / 2:.3g}"), "narrow"
        return FoundRate(0.0, f"no rate passed, not even {_rate_text(high)}", high)
    if high is None and (most is None or low < most):
        return (2 * low if most is None else min(2 * low, most)), "climb"
    if high is not None and not limited and high - low > RESOLUTION * low:
        return float(f"{(low + high) / 2:.3g}"), "narrow"
    if last[low].purpose != "confirm":
        return low, "confirm"
    return FoundRate(low, _answer(last[low], high, limited=limited), high)


def _answer(found: SearchStep, high: float | None, *, limited: bool) -> str:
    rate, failed = _rate_text(found.rate), f"; {_rate_text(high)} failed" if high is not None else ""
    if found.verdict == "seems to hold":
        return f"{rate} is the highest rate that seems to pass, but with too few answers to be sure: {found.why}"
    if limited:
        return f"at least {rate} passed, {'the highest rate to try' if high is None else 'the limit of this loader'}"
    return f"{rate} is the highest rate that passed{failed}"


def _rate_text(rate: float | None) -> str:
    return f"{format_number(rate or 0)} request{'' if rate == 1 else 's'} per second"


# One step


class StepWatch:
    """The requests under way and the waiting of finished ones, in blocks of ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._under_way: list[list[int]] = []  # by block, each observation
        self._waits: list[tuple[int, float]] = []  # at the end of each block, the number and the total

    def observe(self, at: float, under_way: int, waits: Histogram) -> None:
        """Record the requests under way after ``at`` seconds, and the waiting of the finished ones."""
        while len(self._under_way) <= int(at / self._seconds):
            self._under_way.append([])
            self._waits.append(self._waits[-1] if self._waits else (0, 0.0))
        self._under_way[-1].append(under_way)
        self._waits[-1] = (waits.count, waits.total)

    def _blocks(self) -> Iterator[tuple[float, int, float]]:
        """Yield the mean number under way, the number of ends and their mean waiting, of each whole block with ends."""
        for (ended, waited), (ends, total), under_way in zip(
            [(0, 0.0), *self._waits], self._waits[:-1], self._under_way, strict=False
        ):
            if ends > ended and under_way:
                yield fmean(under_way), ends - ended, (total - waited) / (ends - ended)

    @property
    def backlog_grows(self) -> bool:
        """True if the requests under way and their waiting both rise, with 95 % confidence."""
        blocks = [*self._blocks()]
        return all(
            surely_rises(values, RISING) and values[-1] >= GROWTH * values[0]
            for values in ([block[0] for block in blocks], [block[2] for block in blocks])
        )

    def dependent_answers(self, deviation: float) -> float:
        """Return how many successive answers count as one, because they waited in the same queue.

        ``deviation`` is the standard deviation of all waiting. The means of blocks deviate more than that of
        independent answers by this factor. Without it, a lucky period of random arrivals would look like a server that
        keeps up.
        """
        blocks = [*self._blocks()]
        if len(blocks) < 3 or not deviation:
            return 1.0
        each = fmean(ends for _, ends, _ in blocks)
        found = min(each, each * variance(waited for _, _, waited in blocks) / deviation**2)
        return found if found > 1 + 2 * math.sqrt(2 / (len(blocks) - 1)) else 1.0  # two standard errors of a variance


def rate_conditions(plan: LoadPlan) -> list[Limit]:
    """Return the conditions that a rate must meet: those of the plan, and that 99 % of answers are good.

    The latter is omitted if a condition is about goodput, or if there are conditions but no objectives.
    """
    names = {condition.name for condition in plan.fail_if}
    needs_good = "goodput" not in names and (plan.slo or not names)
    return [*([parse_condition(GOOD)] if needs_good else []), *plan.fail_if]


def evidence_in(conditions: Sequence[Limit], tally: Tally, watch: StepWatch) -> list[Evidence]:
    """Return the evidence about each percentile and share."""
    dependent = watch.dependent_answers(waits_of(tally).deviation)
    return [one.count_each(dependent) for limit in conditions if (one := evidence_of(limit, tally))]


def waits_of(tally: Tally) -> Histogram:
    """Return the times to the first token, or the durations if there are no streams."""
    firsts = tally.measures["ttft"]
    return firsts if firsts.count else tally.measures["duration"]


def is_over(elapsed: float, least: float, evidence: Sequence[Evidence], purpose: Purpose, watch: StepWatch) -> bool:
    """Return whether a step of at least ``least`` seconds has enough evidence after ``elapsed``."""
    if watch.backlog_grows or any(one.over > 1 and one.is_missed(EARLY) for one in evidence):
        return True
    wanted = evidence if purpose == "confirm" else [one for one in evidence if one.over and purpose != "climb"]
    return elapsed >= least and all(one.is_kept or one.is_missed() for one in wanted)


def judge_step(run: RunResult, conditions: Sequence[Limit], watch: StepWatch) -> tuple[Verdict, str]:
    """Return the verdict on a step, and its reason."""
    failed = [one.text for limit in conditions if not (one := judge_condition(limit, run)).ok]
    if watch.backlog_grows or failed:
        why = "its backlog grew" if watch.backlog_grows else failed[0].removeprefix("failed: ")
        return ("the loader was too slow" if loader_is_the_limit(run) else "failed"), why
    unsure = [one for one in evidence_in(conditions, run.tally, watch) if not one.is_kept]
    if not unsure:
        return "held", ""
    return "seems to hold", f"{unsure[0].values} independent answers, {unsure[0].over} of them beyond the limit"


async def search(
    plan: LoadPlan,
    start: Callable[[LoadPlan, RunResult], ActiveRun],
    run_watched: Callable[..., Awaitable[RunResult]],
    report: Callable[[SearchStep], None],
) -> RunResult:
    """Search for the highest rate. Return the last run, including the steps of the search.

    ``run_watched`` makes a run next to a watching task, and ``report`` receives each step.
    """
    conditions, steps, typical = rate_conditions(plan), list[SearchStep](), 0.0
    ((target, url),) = plan.targets.items()
    result: RunResult | None = None
    while not isinstance(found := next_step(plan.rate or 1.0, plan.max_rate, steps), FoundRate):
        rate, purpose = found
        least, most = (factor * max(plan.seconds, 2 * typical, FEW / rate) for factor in LENGTHS[purpose])
        warmup = max(plan.warmup, 0.0 if purpose == "climb" else min(typical, 60.0))  # fills the server
        seed = plan.seed + len(steps)
        step = attrs.evolve(plan, rate=rate, seconds=most, warmup=warmup, seed=seed)
        running = start(step, RunResult(target=target, url=mask_url(url), plan=step.dump()))
        watch = StepWatch(least / BLOCKS)

        async def end_when_sure() -> None:
            while True:
                await trio.sleep(min(least / BLOCKS / 4, 1.0))  # noqa: B023
                if trio.current_time() < running.begin:  # noqa: B023
                    continue
                at, tally = running.measured_seconds, running.result.tally  # noqa: B023
                watch.observe(at, running.in_flight, waits_of(tally))  # noqa: B023
                if is_over(at, least, evidence_in(conditions, tally, watch), purpose, watch):  # noqa: B023
                    running.finish()  # noqa: B023
                    return

        result = await run_watched(running, end_when_sure)
        if result.interrupted or result.stopped:
            found = FoundRate(0.0, "interrupted")
            break
        verdict, why = judge_step(result, conditions, watch)
        ttft = waits_of(result.tally)
        steps.append(
            SearchStep(rate, purpose, verdict, why, result.tally.counts["started"], result.tally.goodput,
                       ttft.percentile(50), ttft.percentile(99))
        )  # fmt: skip
        report(steps[-1])
        if steps[-1].holds:
            typical = result.tally.measures["duration"].percentile(50)
    assert result is not None
    rule = " and ".join(f"not {condition.text}" for condition in conditions)
    result.search = attrs.evolve(found, rule=rule, steps=steps)
    return result
