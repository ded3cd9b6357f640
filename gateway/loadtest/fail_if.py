"""``--fail-if``: conditions on the figures of a run, for the exit status."""

import operator
import re
from collections.abc import Callable, Mapping

import attrs

from gateway.config.wording import nearest
from gateway.loadtest.figures import duration, plain
from gateway.loadtest.histogram import Histogram
from gateway.loadtest.report import RunResult
from gateway.loadtest.tally import COUNTS, MEASURES

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
STATISTICS = "min, mean, max, p50, p95, p99 or any other percentile"
ALIASES = {"errors": "error"}

_RATES: Mapping[str, Callable[[RunResult], float]] = {
    "rate": lambda run: run.rate,
    "throughput": lambda run: run.tokens_per_second,
}
_SHAPE = re.compile(r"\s*([a-z_]+)(?:\.([a-z]+[0-9.]*))?\s*(>=|<=|>|<)\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z%]*)\s*")


class NoCondition(ValueError):
    """Raised where ``--fail-if`` has no condition; ``found`` says what is wrong, ``expected`` how one looks."""

    def __init__(self, text: str, found: str, expected: str) -> None:
        self.found, self.expected = f"{text!r}: {found}", expected
        super().__init__(f"{self.found}; {expected}")


@attrs.frozen
class Condition:
    """One condition. ``value`` finds what it is about, which is ``None`` where nothing was measured."""

    text: str
    value: Callable[[RunResult], float | None]
    compare: Callable[[float, float], bool]
    limit: float
    show: Callable[[float], str]

    def failure(self, run: RunResult) -> str | None:
        """The reason why the run fails by it; ``None`` if it does not. What was not measured fails: it cannot be said
        to hold."""
        value = self.value(run)
        if value is None:
            return f"{self.text}: nothing was measured"
        return f"{self.text}: it is {self.show(value)}" if self.compare(value, self.limit) else None


def parse(text: str) -> Condition:
    """The condition that ``text`` spells, such as ``ttft.p95>500ms``. Raises ``NoCondition``."""
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise NoCondition(text, "this is no condition", "write one such as ttft.p95>500ms, errors>0 or not_whole>1%")
    name, statistic, sign, number, unit = found.groups()
    name = ALIASES.get(name, name)
    if name in MEASURES:
        return _of_measure(text, name, statistic, sign, float(number), unit)
    if name not in COUNTS and name not in _RATES:
        names = (*MEASURES, *COUNTS, *ALIASES, *_RATES)
        near = nearest(name, names)
        expected = f"did you mean {near}?" if near else f"there are {', '.join(names)}"
        raise NoCondition(text, f"{name} is not measured", expected)
    if statistic is not None:
        raise NoCondition(text, f"{name} is one number", f"leave .{statistic} out")
    return _of_count(text, name, sign, float(number), unit)


def _of_measure(text: str, name: str, statistic: str | None, sign: str, number: float, unit: str) -> Condition:
    if statistic is None:
        raise NoCondition(text, f"{name} has many values", f"say which, as in {name}.p95: {STATISTICS}")
    timed = name != "tokens_per_second"
    if timed and unit not in SECONDS:
        raise NoCondition(text, f"{unit or 'no unit'} where a time should be", "give ms, s or us")
    if not timed and unit:
        raise NoCondition(text, f"{unit} where a plain number should be", "leave it out")
    take = _statistic(text, statistic)

    def value(run: RunResult) -> float | None:
        histogram = run.tally.measures[name]
        return take(histogram) if histogram.count else None

    limit = number * SECONDS[unit] if timed else number
    return Condition(text, value, OPERATORS[sign], limit, duration if timed else plain)


def _statistic(text: str, name: str) -> Callable[[Histogram], float]:
    known: Mapping[str, Callable[[Histogram], float]] = {
        "min": lambda histogram: histogram.least,
        "mean": lambda histogram: histogram.mean,
        "max": lambda histogram: histogram.most,
    }
    if name in known:
        return known[name]
    percent = re.fullmatch(r"p(\d{1,2}(?:\.\d{1,4})?|100)", name)
    if percent is None:
        raise NoCondition(text, f"{name} is no statistic", f"there are {STATISTICS}")
    return lambda histogram: histogram.percentile(float(percent[1]))


def _of_count(text: str, name: str, sign: str, number: float, unit: str) -> Condition:
    if unit not in ("", "%") or (unit and name not in COUNTS):
        raise NoCondition(text, f"{unit} behind a number", "a count has no unit, or % for the part of all that began")

    def share(run: RunResult) -> float | None:
        counts = run.tally.counts
        return 100 * counts[name] / counts["started"] if counts["started"] else None

    def count(run: RunResult) -> float | None:
        return float(run.tally.counts[name]) if name in COUNTS else _RATES[name](run)

    if unit:
        return Condition(text, share, OPERATORS[sign], number, lambda value: f"{value:.3g} %")
    return Condition(text, count, OPERATORS[sign], number, plain)
