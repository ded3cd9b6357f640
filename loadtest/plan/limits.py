"""Limits of figures as text: the conditions of ``--fail-if``, and the objectives of ``--slo``."""

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import attrs

from configfile.wording import Wrong, nearest
from loadtest.exchange.record import ExchangeRecord
from loadtest.figures.confidence import Evidence
from loadtest.figures.histogram import Histogram
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
    r"(?P<name>[a-z][a-z0-9_]*)(?:\.(?P<statistic>min|mean|max|p\d{1,2}(?:\.\d{1,4})?|p100))?\s*(?P<sign>>=|<=|>|<)\s*"
    r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>[a-zµ%]*)"
)
_OF_STREAMS: Final = frozenset(("first_event", "ttft"))
_OF_SOME: Final = frozenset(("connect", "gap", "stall"))


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
    def is_time(self) -> bool:
        return self.name in MEASURES and MEASURES[self.name].unit == "s"

    @property
    def figure(self) -> str:
        return f"{self.name}.{self.statistic}" if self.statistic else self.name

    def wrong(self, found: str, expected: str) -> Wrong:
        """Return the error for a fault of this limit."""
        return Wrong(f"{self.text!r}: {found}", expected)

    def select(self, values: Histogram) -> float:
        """Return the statistic of some values."""
        known = {"min": values.least, "mean": values.mean, "max": values.most}
        found = known.get(self.statistic)
        return values.percentile(float(self.statistic[1:])) if found is None else found


def _parse_limit(text: str, known: Iterable[str], example: str) -> Limit:
    """Parse a limit of one of the ``known`` figures. Raises ``Wrong``."""
    found = _SHAPE.fullmatch(text.strip())
    if found is None:
        raise Wrong(f"{text!r} is not a condition", f"write one, such as {example}; statistics are {STATISTICS}")
    name, statistic, sign, number, unit = found.groups("")
    limit = Limit(text.strip(), name, statistic, sign, float(number), unit)
    if limit.name not in known:
        near = nearest(limit.name, known)
        raise limit.wrong(
            f"{limit.name} is not measured", f"did you mean {near}?" if near else f"there are {', '.join(known)}"
        )
    units = {"goodput": ("%",), **dict.fromkeys(COUNTS, ("", "%"))}.get(limit.name, tuple(SECONDS) * limit.is_time)
    if limit.unit not in (units or ("",)):
        expected = " or ".join(filter(None, units)) if units else "no unit"
        raise limit.wrong(f"the unit is {limit.unit or 'missing'}", f"expected a number with {expected}")
    return limit


def parse_condition(text: str) -> Limit:
    """Parse a condition of ``--fail-if`` such as ``ttft.p95>500ms`` or ``errors>1%``. Raises ``Wrong``."""
    limit = _parse_limit(text, (*MEASURES, *COUNTS, *OF_RUN), "ttft.p95>500ms, errors>0 or goodput<99%")
    if limit.name in MEASURES and not limit.statistic:
        raise limit.wrong(f"{limit.name} has many values", f"add a statistic: {STATISTICS}")
    if limit.name not in MEASURES and limit.statistic:
        raise limit.wrong(f"{limit.name} is a single number", f"remove .{limit.statistic}")
    return limit


def parse_objectives(text: str) -> tuple[Limit, ...]:
    """Parse objectives of ``--slo`` such as ``ttft<500ms,gap.p95<50ms``. Raises ``Wrong``."""
    found = tuple(
        _parse_limit(piece, MEASURES, "ttft<500ms, gap.p95<50ms or duration<30s") for piece in text.split(",")
    )
    for limit in found:
        if limit.name == "gap" and not limit.statistic:
            raise limit.wrong("gap has many values in one answer", f"say gap.p95: {STATISTICS}")
        if limit.name != "gap" and limit.statistic:
            raise limit.wrong(f"{limit.name} has one value in each answer", f"remove .{limit.statistic}")
    return found


def figure_of(limit: Limit, run: RunResult) -> float | None:
    """Return the figure of a condition, ``None`` if nothing was measured."""
    tally = run.tally
    if limit.name in OF_RUN:
        return OF_RUN[limit.name](run)
    if limit.name in COUNTS:
        count, started = tally.counts[limit.name], tally.counts["started"]
        return float(count) if limit.unit != "%" else 100 * count / started if started else None
    values = tally.measures[limit.name]
    return limit.select(values) if values.count else None


@attrs.frozen
class ConditionVerdict:
    """The result of a condition in one run. ``value`` is ``None`` if nothing was measured; the condition fails then."""

    run: str
    condition: str
    ok: bool
    value: float | None
    limit: float
    text: str


def judge_condition(limit: Limit, run: RunResult) -> ConditionVerdict:
    """Return the result of a condition. It fails if it is true, or if nothing was measured."""
    value = figure_of(limit, run)
    is_ok = value is not None and not limit.holds(value)
    if value is None:
        shown = "nothing was measured"
    else:
        number = format_duration(value) if limit.is_time else f"{format_number(value)} {limit.unit}".rstrip()
        shown = f"it is {number}"
    text = f"{'passed' if is_ok else 'failed'}: {limit.text}: {shown}"
    return ConditionVerdict(run.name, limit.text, is_ok, value, limit.limit, text)


def missed_by(record: ExchangeRecord, objectives: Iterable[Limit]) -> tuple[str, ...]:
    """Return the figures of the objectives that a whole answer missed. Other records miss none."""
    return tuple(one.figure for one in objectives if record.end == "whole" and not _is_met(one, record))


def _is_met(limit: Limit, record: ExchangeRecord) -> bool:
    """Return whether the record meets the objective.

    An objective that cannot apply is met, such as the gap of a single token. One whose value is missing is
    not met, such as the first token of an empty stream.
    """
    values = MEASURES[limit.name].values_of(record).values
    if not values:
        return limit.name in _OF_SOME or (limit.name in _OF_STREAMS and not record.streamed)
    if not limit.statistic:
        return limit.holds(values[0])
    found = Histogram()
    found.extend(values)
    return limit.holds(limit.select(found))


def evidence_of(limit: Limit, tally: Tally) -> Evidence | None:
    """Return the evidence about a limit, ``None`` for a figure that is no percentile or share."""
    is_upper_bound = limit.sign in ("<", "<=")
    if limit.name == "goodput" and is_upper_bound:
        return Evidence(limit.limit / 100, tally.judgeable_count, tally.judgeable_count - tally.counts["good"])
    if limit.name in COUNTS and limit.unit == "%" and not is_upper_bound and limit.limit > 0:
        return Evidence(1 - limit.limit / 100, tally.counts["started"], tally.counts[limit.name])
    if limit.name not in MEASURES or not limit.statistic.startswith("p") or is_upper_bound:
        return None
    share, values = float(limit.statistic[1:]) / 100, tally.measures[limit.name]
    return Evidence(share, values.count, values.count_above(limit.limit)) if 0 < share < 1 else None
