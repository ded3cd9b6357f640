"""``trigate load compare``: whether one run is slower than another, with confidence intervals."""

import math
import random
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Final, Literal, TypeAlias

import attrs
import msgspec

from loadtest.figures.bootstrap import (
    LEAST,
    SHORT,
    Blocks,
    Interval,
    Pair,
    block_seconds,
    intervals,
    mean_of,
    percentile_of,
)
from loadtest.figures.histogram import Histogram

FAILED: Final = ("error", "unfinished", "lost")  # ends whose share is compared
CONFIDENCE: Final = 0.95
MARGIN: Final = 0.03
NOTICED: Final = 1e-4  # seconds; smaller differences are irrelevant and not measurable
COMPARED: Final = ("ttfb", "ttft", "ttfo", "gap", "stall", "tpot", "duration")
"""The measures of a verdict. Others follow from them, or describe the loader."""

PERCENTILES: Final = (50.0, 95.0)
ERRORS: Final = ("errors", "share")
FEW: Final = 20  # requests of a run; an interval of fewer is unreliable
ENOUGH: Final = 10  # least values beyond a percentile

Change: TypeAlias = Literal["slower", "faster", "more errors", "fewer errors", "no difference seen"]
"""The change of a figure."""

Evidence: TypeAlias = Literal["lines", "buckets"]
"""The source of intervals: the request log, or the histograms of a report."""


class _GapsOfStream(msgspec.Struct, gc=False):
    mean: float


class _LoggedTokens(msgspec.Struct, gc=False):
    input: int | None = None
    output: int | None = None


class LoggedLine(msgspec.Struct, gc=False):
    """The compared members of a log line."""

    run: int
    target: str
    kind: str
    planned: float
    warmup: bool
    end: str
    tokens: _LoggedTokens
    ttfb: float | None
    ttft: float | None
    ttfo: float | None
    gap: _GapsOfStream | None
    stall: float | None
    tpot: float | None
    duration: float | None

    @property
    def is_error(self) -> bool:
        """True if the request counts as an error."""
        return self.end in FAILED

    @property
    def values(self) -> Mapping[str, Sequence[float]]:
        """The measures of the request. The gaps of a stream count as one value, their mean."""
        gap = None if self.gap is None else self.gap.mean
        found = {name: gap if name == "gap" else getattr(self, name) for name in COMPARED}
        return {name: (value,) for name, value in found.items() if value is not None}


@attrs.frozen
class SideFigures:
    """The figures of a run, or of one kind of its requests.

    ``answers`` are the lines of its log, ``measures`` those of its report; one of them may be missing. ``begun`` and
    ``failed`` are counts.
    """

    seconds: float
    begun: int
    failed: int
    measures: Mapping[str, Histogram]
    answers: Sequence[LoggedLine] = ()

    @property
    def histograms(self) -> Mapping[str, Histogram]:
        """The measures from the report, or else from the log."""
        if self.measures:
            return self.measures
        found = {name: Histogram() for name in COMPARED}
        for answer in self.answers:
            for name, values in answer.values.items():
                found[name].extend(values)
        return found


@attrs.frozen
class ComparedFigure:
    """One figure of both runs.

    ``change`` is the change in the second run. ``ratio`` has the interval ``low`` to ``high``; for shares of errors,
    all three are differences.
    """

    name: str
    statistic: str
    before: float
    after: float
    ratio: float
    low: float
    high: float
    change: Change


@attrs.frozen
class ComparedLoad:
    """The comparison of one target, or of one kind of its requests.

    ``begun`` counts the requests of the smaller run.
    """

    name: str
    evidence: Evidence
    figures: tuple[ComparedFigure, ...]
    begun: int
    remark: str = ""

    @property
    def changes(self) -> tuple[ComparedFigure, ...]:
        return tuple(figure for figure in self.figures if figure.change != "no difference seen")


def compared_load(
    name: str,
    before: SideFigures,
    after: SideFigures,
    *,
    margin: float = MARGIN,
    percentiles: Sequence[float] = PERCENTILES,
    confidence: float = CONFIDENCE,
) -> ComparedLoad:
    """Compare all common figures. The differences hold jointly with this confidence, and exceed ``margin``."""
    found, evidence = _compare_figures(before, after, margin, percentiles, confidence)
    begun = min(before.begun, after.begun)
    if few := begun < FEW:
        found = tuple(attrs.evolve(figure, change="no difference seen") for figure in found)
    return ComparedLoad(name, evidence, found, begun, _remark_on_evidence(before, after, few))


def _compare_figures(
    before: SideFigures, after: SideFigures, margin: float, percentiles: Sequence[float], confidence: float
) -> tuple[tuple[ComparedFigure, ...], Evidence]:
    if before.answers and after.answers:
        blocks = _Blocks.of(before), _Blocks.of(after)
        if min(one.count for one in blocks) >= LEAST:
            return _compare_blocks(*blocks, margin, percentiles, confidence), "lines"
    return _compare_histograms(before, after, margin, percentiles, confidence), "buckets"


def _remark_on_evidence(before: SideFigures, after: SideFigures, few: bool) -> str:
    if few:
        return f"fewer than {FEW} requests are too few for a verdict"
    seconds = min(before.seconds, after.seconds)
    return f"{seconds:.3g} s are too short to see the effect of a growing queue" if seconds < SHORT else ""


# Intervals from the lines of a log


@attrs.frozen
class _Blocks:
    """A run in blocks of seconds."""

    count: int
    values: Mapping[str, Blocks]
    failed: Blocks

    @classmethod
    def of(cls, side: SideFigures) -> "_Blocks":
        length = block_seconds(side.seconds)
        count = max(1, math.ceil(side.seconds / length - 1e-9))
        values: dict[str, list[list[float]]] = {name: [[] for _ in range(count)] for name in COMPARED}
        failed: list[list[float]] = [[] for _ in range(count)]
        for answer in side.answers:
            block = min(count - 1, max(0, int(answer.planned / length)))
            failed[block].append(answer.is_error)
            for name, found in answer.values.items():
                values[name][block].extend(found)
        return cls(count, values, failed)

    def number(self, name: str) -> int:
        """Return the number of values of a measure."""
        return sum(map(len, self.values[name]))


def _compare_blocks(
    before: _Blocks, after: _Blocks, margin: float, percentiles: Sequence[float], confidence: float
) -> tuple[ComparedFigure, ...]:
    rows: list[tuple[str, str]] = []
    pairs: list[Pair] = []
    for name in _common_measures(before, after):
        one, other = before.values[name], after.values[name]
        rows.append((name, "mean"))
        pairs.append(Pair(mean_of(one), mean_of(other), _logarithm))
        for percent in _supported_percentiles(percentiles, min(before.number(name), after.number(name))):
            rows.append((name, f"p{percent:g}"))
            pairs.append(Pair(percentile_of(one, percent), percentile_of(other, percent), _logarithm))
    if any(map(sum, before.failed)) or any(map(sum, after.failed)):
        rows.append(ERRORS)
        pairs.append(Pair(mean_of(before.failed), mean_of(after.failed), float))
    found = intervals(pairs, confidence, random.Random(1))
    return tuple(
        _make_figure(row, pair.before.of_run, pair.after.of_run, interval, margin)
        for row, pair, interval in zip(rows, pairs, found, strict=True)
    )


def _common_measures(before: _Blocks, after: _Blocks) -> list[str]:
    """Return the common measures of both runs, without repetitions."""
    there = [name for name in COMPARED if before.number(name) and after.number(name)]
    return _without_repetitions(there, all(side.values["ttft"] == side.values["ttfo"] for side in (before, after)))


def _without_repetitions(names: Sequence[str], same: bool) -> list[str]:
    """Drop measures that repeat another: the first byte if there is a first token, and the first output if it is
    the first token."""
    said = {"ttfb"} if "ttft" in names else set()
    return [name for name in names if name not in said and not (same and name == "ttfo")]


def _supported_percentiles(percentiles: Sequence[float], count: int) -> list[float]:
    """Return the percentiles with enough values."""
    return [percent for percent in percentiles if count * min(percent, 100 - percent) / 100 >= ENOUGH]


def _logarithm(value: float) -> float:
    return math.log(max(value, 1e-6))


# Intervals from the buckets of histograms


def _compare_histograms(
    before: SideFigures, after: SideFigures, margin: float, percentiles: Sequence[float], confidence: float
) -> tuple[ComparedFigure, ...]:
    found: list[tuple[tuple[str, str], float, float, float]] = []
    sides = (before.histograms, after.histograms)
    there = [name for name in COMPARED if all(name in side and side[name].count for side in sides)]
    same = "ttft" in there and all(side["ttft"].dump() == side["ttfo"].dump() for side in sides if "ttfo" in side)
    for name in _without_repetitions(there, same):
        one, other = (side[name] for side in sides)
        counts = [_independent_count(side, name) for side in sides]
        error = math.hypot(*(_error_of_mean(side, n) for side, n in zip((one, other), counts, strict=True)))
        found.append(((name, "mean"), one.mean, other.mean, error))
        for percent in _supported_percentiles(percentiles, min(counts)):
            error = math.hypot(*(_error_at(side, percent, n) for side, n in zip((one, other), counts, strict=True)))
            found.append(((name, f"p{percent:g}"), one.percentile(percent), other.percentile(percent), error))
    if before.failed or after.failed:
        shares = before.failed / max(1, before.begun), after.failed / max(1, after.begun)
        errors = [_error_of_share(side.failed, side.begun) for side in (before, after)]
        found.append((ERRORS, *shares, math.hypot(*errors)))
    wide = NormalDist().inv_cdf(1 - (1 - confidence) / 2 / max(1, len(found)))  # all hold jointly (Bonferroni)
    return tuple(_make_figure(row, a, b, _interval(row, a, b, wide * error), margin) for row, a, b, error in found)


def _interval(row: tuple[str, str], before: float, after: float, width: float) -> Interval:
    value = after - before if row == ERRORS else _logarithm(after) - _logarithm(before)
    return Interval(value, value - width, value + width)


def _independent_count(side: Mapping[str, Histogram], name: str) -> int:
    """Return the number of independent values. The gaps of a stream count as one."""
    count = side[name].count
    streams = side["ttft"].count if "ttft" in side else 0
    return min(count, streams or count) if name == "gap" else count


def _error_of_mean(histogram: Histogram, count: int) -> float:
    return histogram.deviation / histogram.mean / math.sqrt(count) if histogram.mean else 0.0


def _error_at(histogram: Histogram, percent: float, count: int) -> float:
    """Return the standard error of a percentile's logarithm: half the distance between the ranks one error below
    and above."""
    error = 100 * math.sqrt(percent / 100 * (1 - percent / 100) / count)
    low, high = (histogram.percentile(min(100.0, max(0.0, percent + side * error))) for side in (-1, 1))
    return (_logarithm(high) - _logarithm(low)) / 2


def _error_of_share(failed: int, begun: int) -> float:
    share = (failed + 1) / (begun + 2)
    return math.sqrt(share * (1 - share) / (begun + 2))


# Single figures


def _make_figure(
    row: tuple[str, str], before: float, after: float, interval: Interval, margin: float
) -> ComparedFigure:
    if row == ERRORS:
        change: Change = "no difference seen"
        if interval.excludes_zero:
            change = "more errors" if interval.value > 0 else "fewer errors"
        return ComparedFigure(*row, before, after, interval.value, interval.low, interval.high, change)
    ratio, low, high = (math.exp(max(-700.0, min(700.0, end))) for end in attrs.astuple(interval))
    large = abs(interval.value) >= math.log1p(margin) and abs(after - before) >= NOTICED
    change = "no difference seen"
    if interval.excludes_zero and large:
        change = "slower" if interval.value > 0 else "faster"
    return ComparedFigure(*row, before, after, ratio, low, high, change)
