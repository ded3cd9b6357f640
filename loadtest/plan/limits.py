"""Limits of figures as text: the conditions of ``--fail-if``, and the objectives of ``--slo``."""

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from configfile.wording import Wrong, nearest
from loadtest.exchange.record import ExchangeRecord
from loadtest.figures.measures import MEASURES, format_duration, format_number
from loadtest.figures.result import RunResult
from loadtest.figures.tally import COUNTS, Tally

OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
SECONDS: Final = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
STATISTICS: Final = "min, mean, max, p50, p95, p99 or any other percentile"
OF_RUN: Final[Mapping[str, Callable[[RunResult], float | None]]] = {
    "rate": lambda run: run.rate,
    "completed": lambda run: run.completed_rate,
    "throughput": lambda run: run.tokens_per_second,
    "goodput": lambda run: None if run.tally.goodput is None else 100 * run.tally.goodput,
}
"""Figures of the whole run, besides counts and measures."""

_SHAPE: Final = re.compile(
    r"(?P<name>[a-z][a-z0-9_]*)(?:\.(?P<statistic>[a-z]+[0-9.]*))?\s*(?P<sign>>=|<=|>|<)\s*"
    r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>[a-zµ%]*)"
)
_ONE_EACH: Final = frozenset(MEASURES) - {"gap"}
_OF_STREAMS: Final = frozenset(("first_event", "ttft", "ttfo"))
_OF_SOME: Final = frozenset(("connect", "gap", "stall", "tpot"))


@attrs.frozen
class Limit:
    """A comparison of a figure with a number. ``text`` is its original spelling."""

    text: str
    name: str
    statistic: str
    sign: str
    number: float
    unit: str

    def holds(self, value: float) -> bool:
        """Return the result of the comparison. Times are in seconds."""
        return OPERATORS[self.sign](value, self.limit)

    @property
    def limit(self) -> float:
        return self.number * SECONDS.get(self.unit, 1.0)

    @property
    def is_upper_bound(self) -> bool:
        return self.sign in ("<", "<=")

    @property
    def figure(self) -> str:
        return f"{self.name}.{self.statistic}" if self.statistic else self.name

    def wrong(self, found: str, expected: str) -> Wrong:
        """Return the error for a fault of this limit."""
        return Wrong(f"{self.text!r}: {found}", expected)

    def check_unit(self, expected: Iterable[str], words: str) -> None:
        """Raise ``Wrong`` unless the number has one of the units."""
        if self.unit not in expected:
            raise self.wrong(f"the unit is {self.unit or 'missing'}", words)

    def select(self, known: Mapping[str, Callable[[], float]], percentile: Callable[[float], float]) -> float:
        """Return the statistic of some values."""
        return known[self.statistic]() if self.statistic in known else percentile(float(self.statistic[1:]))


def _parse_limit(text: str, example: str) -> Limit:
    """Parse ``text``. Raises ``Wrong``."""
    found = _SHAPE.fullmatch(text.strip())
    if found is None:
        raise Wrong(f"{text!r} is not a condition", f"write one, such as {example}")
    limit = Limit(text.strip(), found["name"], found["statistic"] or "", found["sign"], float(found["number"]),
                  found["unit"])  # fmt: skip
    percent = re.fullmatch(r"p(\d{1,2}(\.\d{1,4})?|100)", limit.statistic)
    if limit.statistic and limit.statistic not in ("min", "mean", "max") and percent is None:
        raise limit.wrong(f"{limit.statistic} is not a statistic", f"there are {STATISTICS}")
    if limit.name in MEASURES and MEASURES[limit.name].unit == "s":
        limit.check_unit(SECONDS, "give a time in us, ms or s")
    elif limit.name in MEASURES:
        limit.check_unit(("",), "give a number without a unit")
    return limit


def parse_condition(text: str) -> Limit:
    """Parse a condition of ``--fail-if`` such as ``ttft.p95>500ms`` or ``errors>1%``. Raises ``Wrong``."""
    limit = _parse_limit(text, "ttft.p95>500ms, errors>0 or goodput<99%")
    if limit.name in MEASURES:
        if not limit.statistic:
            raise limit.wrong(f"{limit.name} has many values", f"add a statistic: {STATISTICS}")
        return limit
    if limit.name not in (*COUNTS, *OF_RUN):
        near = nearest(limit.name, (*MEASURES, *COUNTS, *OF_RUN))
        names = ", ".join((*MEASURES, *COUNTS, *OF_RUN))
        raise limit.wrong(f"{limit.name} is not measured", f"did you mean {near}?" if near else f"there are {names}")
    if limit.statistic:
        raise limit.wrong(f"{limit.name} is a single number", f"remove .{limit.statistic}")
    if limit.name in COUNTS:
        limit.check_unit(("", "%"), "a count has no unit, or % for its share of all requests")
    else:
        limit.check_unit(("%",) if limit.name == "goodput" else ("",), "goodput is in %, others have no unit")
    return limit


def figure_of(limit: Limit, run: RunResult) -> float | None:
    """Return the figure of a condition, ``None`` if nothing was measured."""
    tally = run.tally
    if limit.name in OF_RUN:
        return OF_RUN[limit.name](run)
    if limit.name in COUNTS:
        count = tally.counts[limit.name]
        started = tally.counts["started"]
        return float(count) if limit.unit != "%" else 100 * count / started if started else None
    values = tally.measures[limit.name]
    known: dict[str, Callable[[], float]] = {
        "min": lambda: values.least, "mean": lambda: values.mean, "max": lambda: values.most,
    }  # fmt: skip
    return limit.select(known, values.percentile) if values.count else None


@attrs.frozen
class ConditionVerdict:
    """The result of a condition in one run. ``value`` is ``None`` if nothing was measured; the condition fails then."""

    run: str
    condition: str
    ok: bool
    value: float | None
    limit: float
    shown: str

    @property
    def text(self) -> str:
        if self.ok:
            return f"passed: {self.condition}: it is {self.shown}"
        return f"failed: {self.condition}: {'nothing was measured' if self.value is None else f'it is {self.shown}'}"

    def dump(self) -> dict[str, Any]:
        return attrs.asdict(self, filter=lambda field, _: field.name != "shown")


def judge_condition(limit: Limit, run: RunResult) -> ConditionVerdict:
    """Return the result of a condition. It fails if it is true, or if nothing was measured."""
    value = figure_of(limit, run)
    timed = limit.name in MEASURES and MEASURES[limit.name].unit == "s"
    shown = (
        "" if value is None else format_duration(value) if timed else f"{format_number(value)} {limit.unit}".rstrip()
    )
    return ConditionVerdict(
        run.name, limit.text, value is not None and not limit.holds(value), value, limit.limit, shown
    )


def parse_objectives(text: str) -> tuple[Limit, ...]:
    """Parse objectives of ``--slo`` such as ``ttft<500ms,gap.p95<50ms``. Raises ``Wrong``."""
    return tuple(_parse_objective(piece) for piece in text.split(","))


def _parse_objective(text: str) -> Limit:
    limit = _parse_limit(text, "ttft<500ms, gap.p95<50ms or duration<30s")
    if limit.name not in MEASURES:
        near = nearest(limit.name, MEASURES)
        expected = f"did you mean {near}?" if near else f"there are {', '.join(MEASURES)}"
        raise limit.wrong(f"{limit.name} is not a measure of one answer", expected)
    if limit.name in _ONE_EACH and limit.statistic:
        raise limit.wrong(f"{limit.name} has one value in each answer", f"remove .{limit.statistic}")
    if limit.name not in _ONE_EACH and not limit.statistic:
        raise limit.wrong(f"{limit.name} has many values in one answer", f"say {limit.name}.p95: {STATISTICS}")
    return limit


def missed_by(record: ExchangeRecord, objectives: Iterable[Limit]) -> tuple[str, ...]:
    """Return the figures of the objectives that a whole answer missed. Other records miss none."""
    return tuple(one.figure for one in objectives if record.end == "whole" and not _is_met(one, record))


def _is_met(limit: Limit, record: ExchangeRecord) -> bool:
    """Return whether the record meets the objective.

    An objective that cannot apply is met, such as the time per token of a single token. One whose value is missing is
    not met, such as the first token of an empty stream.
    """
    values = MEASURES[limit.name].values_of(record).values
    if not values:
        return limit.name in _OF_SOME or (limit.name in _OF_STREAMS and not record.streamed)
    return limit.holds(_statistic(limit, values) if limit.statistic else values[0])


def _statistic(limit: Limit, values: Sequence[float]) -> float:
    known: dict[str, Callable[[], float]] = {
        "min": lambda: min(values), "mean": lambda: math.fsum(values) / len(values), "max": lambda: max(values),
    }  # fmt: skip
    return limit.select(known, lambda percent: sorted(values)[max(1, math.ceil(percent / 100 * len(values))) - 1])


def evidence_of(limit: Limit, tally: Tally) -> tuple[float, int, int] | None:
    """Return the share of values that must keep the limit, their number, and the number beyond it.

    ``None`` for a figure that is no percentile or share.
    """
    if limit.name == "goodput" and limit.is_upper_bound:
        return limit.limit / 100, tally.judgeable_count, tally.judgeable_count - tally.counts["good"]
    if limit.name in COUNTS and limit.unit == "%" and not limit.is_upper_bound and limit.limit > 0:
        return 1 - limit.limit / 100, tally.counts["started"], tally.counts[limit.name]
    if limit.name not in MEASURES or not limit.statistic.startswith("p") or limit.is_upper_bound:
        return None
    share, values = float(limit.statistic[1:]) / 100, tally.measures[limit.name]
    return (share, values.count, values.count_above(limit.limit)) if 0 < share < 1 else None
