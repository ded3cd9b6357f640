"""The figures of a run in words, and the rows of tables that compare runs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from gateway.loadtest.report import RunResult
from gateway.loadtest.tally import MEASURES, Tally

Shown: TypeAlias = Callable[[float], str]

PERCENTILES = (50, 95, 99)


def plain(value: float) -> str:
    """Four figures, or all before the point."""
    return f"{value:.0f}" if value >= 1000 or value == int(value) else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Three figures, in the unit that suits."""
    for least, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= least:
            value = seconds / least
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
    return f"{seconds * 1e6:.0f} µs" if seconds else "0"


def shown(name: str) -> Shown:
    """The format of a measure's values."""
    return plain if name == "tokens_per_second" else duration


def describe_load(scenario: Mapping[str, Any], seconds: float) -> str:
    """The load on a target in a few words; ``scenario`` as it stands in a report."""
    if steps := scenario.get("steps"):
        spacing = "Poisson" if scenario.get("spacing") == "poisson" else "evenly spaced"
        text = f"{', '.join(map(_rate, steps))} ({spacing})"
    else:
        clients = scenario.get("concurrency") or 0
        text = f"{clients} client{'' if clients == 1 else 's'}, each with its next request after the last answer"
    warmup = scenario.get("warmup")
    return f"{text}, for {plain(round(seconds, 1))} s" + (f" after {plain(warmup)} s of warm-up" if warmup else "")


def load_of(run: RunResult) -> str:
    """The load of a run in a few words."""
    return describe_load(run.scenario, run.seconds)


def _rate(step: Mapping[str, float | None]) -> str:
    start, end = plain(step.get("rate") or 0), step.get("to")
    return f"{start}/s" if end is None else f"{start} to {plain(end)}/s"


@attrs.frozen
class Line:
    """One row of a comparison. ``values`` are those of the runs, ``None`` where nothing was measured."""

    label: str
    show: Shown
    values: tuple[float | None, ...]

    @property
    def texts(self) -> list[str]:
        return ["–" if value is None else self.show(value) for value in self.values]

    @property
    def ratios(self) -> list[str]:
        """The ratio of each further run to the first, as text."""
        first = self.values[0]
        return [f"×{value / first:.2f}" if first and value is not None else "" for value in self.values[1:]]


def lines(runs: Sequence[RunResult]) -> list[Line]:
    """The rows of a table that compares runs."""
    found = [
        Line("requests begun a second", plain, tuple(run.rate for run in runs)),
        *(Line(label, plain, tuple(float(run.tally.counts[name]) for run in runs)) for name, label in COUNTED.items()),
        Line("tokens a second, all together", plain, tuple(run.tokens_per_second for run in runs)),
    ]
    for name, label in MEASURES.items():
        tallies = [run.tally for run in runs]
        if any(tally.measures[name].count for tally in tallies):
            found += [
                Line(
                    f"{label}, {'max' if percent == 100 else f'p{percent}'}",
                    shown(name),
                    tuple(_at(tally, name, percent) for tally in tallies),
                )
                for percent in (*PERCENTILES, 100)
            ]
    found.append(Line("loader: CPU, share of a core", lambda value: f"{100 * value:.0f} %",
                      tuple(run.overhead.cpu for run in runs)))  # fmt: skip
    found.append(Line("loader: lag, p99", duration, tuple(run.overhead.lag.percentile(99) for run in runs)))
    return found


COUNTED = {
    "started": "requests begun",
    "whole": "whole answers",
    "error": "errors",
    "not_whole": "streams not whole",
    "unfinished": "unfinished",
    "cancelled": "cancelled, as meant",
    "interrupted": "interrupted",
}


def _at(tally: Tally, name: str, percent: float) -> float | None:
    histogram = tally.measures[name]
    return histogram.percentile(percent) if histogram.count else None
