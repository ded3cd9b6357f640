"""``--fail-if``: conditions on the figures of a run, for the exit status."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs

from loadtest.figures.histogram import Histogram
from loadtest.figures.measures import MEASURES, format_duration, format_number
from loadtest.figures.notes import notes
from loadtest.figures.result import RunResult
from loadtest.figures.tally import COUNTS, Tally
from loadtest.plan.comparison import (
    STATISTICS,
    Comparison,
    InvalidCondition,
    UnknownPart,
    parse_comparison,
    parse_percentile,
    part_of,
    unknown_figure,
)
from loadtest.plan.spellings import MEASURES_ELSEWHERE

__all__ = [
    "Condition",
    "ConditionVerdict",
    "InvalidCondition",
    "figure_reader",
    "judge_conditions",
    "judge_figure",
    "parse_condition",
    "parse_until",
]

ALIASES: Final = {"errors": "error"}

TallyReader: TypeAlias = Callable[[Tally], float | None]
OfRun: TypeAlias = Callable[[RunResult, Tally], float | None]
Formatter: TypeAlias = Callable[[float], str]


def format_percentage(value: float) -> str:
    """Return a percentage as text."""
    return f"{value:.4g} %"


def _goodput(tally: Tally) -> float | None:
    return None if tally.goodput is None else 100 * tally.goodput


def _per_second(run: RunResult, tally: Tally, count: str) -> float:
    return tally.counts[count] / run.elapsed if run.elapsed else 0.0


_OF_RUN: Final[Mapping[str, OfRun]] = {
    "rate": lambda run, tally: tally.counts["started"] / run.seconds if run.seconds else 0.0,
    "completed": lambda run, tally: run.completed_rate if tally is run.tally else _per_second(run, tally, "whole"),
    "throughput": lambda run, tally: tally.tokens / run.elapsed if run.elapsed else 0.0,
    "goodput_rate": lambda run, tally: run.goodput_rate if tally is run.tally else _per_second(run, tally, "good"),
    "unbegun": lambda run, _: float(run.unbegun),
    "notes": lambda run, _: float(len(notes(run))),
}
"""Figures that need the whole run, mostly rates per second."""

SHARE: Final = "goodput"
"""The only figure that is always a share."""

NAMES: Final = (*MEASURES, *COUNTS, *ALIASES, SHARE, *_OF_RUN)


@attrs.frozen
class ConditionVerdict:
    """The result of a condition in one run.

    ``value`` and ``limit`` are seconds for times and percentages for shares. ``value`` is ``None`` if nothing was
    measured; the condition fails then.
    """

    run: str
    condition: str
    ok: bool
    value: float | None
    limit: float
    shown: str

    @property
    def failure(self) -> str:
        """The reason for the failure, or ""."""
        if self.ok:
            return ""
        return f"{self.condition}: {'nothing was measured' if self.value is None else f'it is {self.shown}'}"

    def dump(self) -> dict[str, Any]:
        return attrs.asdict(self, filter=lambda field, _: field.name != "shown")


@attrs.frozen
class Condition:
    """A condition. ``value`` returns its figure, or ``None`` if nothing was measured."""

    comparison: Comparison
    value: OfRun
    show: Formatter

    @property
    def text(self) -> str:
        return self.comparison.text

    def verdict(self, run: RunResult) -> ConditionVerdict | None:
        """Return the result in ``run``, or ``None`` if the condition is about another target.

        Raises ``UnknownPart``.
        """
        kinds = (str(request["name"]) for request in run.scenario.get("requests", ()))
        targets = (run.target, *run.scenario.get("targets", ()))
        part = part_of(self.comparison.of, targets, tuple(dict.fromkeys((*kinds, *run.requests))))
        if not part.contains(run.target, part.request):
            return None
        tally = run.requests.get(part.request, Tally()) if part.request else run.tally
        return judge_figure(run.name, self.comparison, self.value(run, tally), self.show)

    def failure(self, run: RunResult) -> str | None:
        """Return the reason for the failure, or ``None``. Raises ``UnknownPart``."""
        found = self.verdict(run)
        return found.failure or None if found else None


def judge_figure(run: str, compared: Comparison, value: float | None, show: Formatter) -> ConditionVerdict:
    """Return the result of a condition. It fails if nothing was measured."""
    ok = value is not None and not compared(value)
    return ConditionVerdict(run, compared.text, ok, value, compared.limit, "" if value is None else show(value))


def judge_conditions(conditions: Iterable[Condition], runs: Sequence[RunResult]) -> tuple[ConditionVerdict, ...]:
    """Return the result of each condition in each run that it concerns.

    Raises ``UnknownPart`` if it concerns none of the runs.
    """
    found: list[ConditionVerdict] = []
    for condition in conditions:
        told = [said for run in runs if (said := condition.verdict(run))]
        if not told and runs:
            of = condition.comparison.of
            raise UnknownPart(f"there is no run {of}", f"there are {', '.join(run.name for run in runs)}")
        found += told
    return tuple(found)


def parse_condition(text: str) -> Condition:
    """Parse a condition such as ``ttft.p95>500ms`` or ``demo chat: ttft.p95>500ms``. Raises ``InvalidCondition``."""
    read = parse_comparison(text)
    if read.name in _OF_RUN:
        _reject_statistic(read)
        read.require_plain_number("remove it: this figure has no unit")
        return Condition(read, _OF_RUN[read.name], format_number)
    value, show = figure_reader(read)
    return Condition(read, lambda _, tally: value(tally), show)


def parse_until(text: str) -> Comparison:
    """Parse a condition of ``--until``, which is checked during the run. Raises ``InvalidCondition``."""
    read = parse_comparison(text, "write a condition, such as errors>5%, goodput<90% or ttft.p95>5s")
    if read.name in _OF_RUN:
        raise InvalidCondition(text, f"{read.name} is known only at the end", "use it with --fail-if")
    figure_reader(read)
    return read


def figure_reader(read: Comparison) -> tuple[TallyReader, Formatter]:
    """Return the function that reads the figure of a comparison from a tally, and its format.

    Raises ``InvalidCondition``.
    """
    if read.name in MEASURES:
        return _measure_reader(read)
    name = ALIASES.get(read.name, read.name)
    if name not in COUNTS and name != SHARE:
        raise unknown_figure(read.text, read.name, NAMES, MEASURES_ELSEWHERE)
    _reject_statistic(read)
    return _share_reader(read) if name == SHARE else _count_reader(read, name)


def _reject_statistic(read: Comparison) -> None:
    if read.statistic:
        raise InvalidCondition(read.text, f"{read.name} is a single number", f"remove .{read.statistic}")


def _share_reader(read: Comparison) -> tuple[TallyReader, Formatter]:
    if read.unit != "%":
        raise InvalidCondition(read.text, f"{read.name} is a share", f"write it in %, such as {read.name}<99%")
    return _goodput, format_percentage


def _measure_reader(read: Comparison) -> tuple[TallyReader, Formatter]:
    if not read.statistic:
        found = f"{read.name} has many values"
        raise InvalidCondition(read.text, found, f"add a statistic, such as {read.name}.p95: {STATISTICS}")
    timed = MEASURES[read.name].unit == "s"
    if timed:
        read.require_time()
    else:
        read.require_plain_number()
    take = _statistic_reader(read)

    def value(tally: Tally) -> float | None:
        histogram = tally.measures[read.name]
        return take(histogram) if histogram.count else None

    return value, format_duration if timed else format_number


def _statistic_reader(read: Comparison) -> Callable[[Histogram], float]:
    known: Mapping[str, Callable[[Histogram], float]] = {
        "min": lambda histogram: histogram.least,
        "mean": lambda histogram: histogram.mean,
        "max": lambda histogram: histogram.most,
    }
    if read.statistic in known:
        return known[read.statistic]
    wanted = parse_percentile(read.text, read.statistic)
    return lambda histogram: histogram.percentile(wanted)


def _count_reader(read: Comparison, name: str) -> tuple[TallyReader, Formatter]:
    if read.unit == "%":
        return lambda tally: _share(tally, name), format_percentage
    read.require_plain_number("a count has no unit, or % for the share of all started requests", "after a number")
    return lambda tally: float(tally.counts[name]), format_number


def _share(tally: Tally, name: str) -> float | None:
    counts = tally.counts
    return 100 * counts[name] / counts["started"] if counts["started"] else None
