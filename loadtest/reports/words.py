"""The figures of a run in words, conversations turn by turn, and the rows of tables that compare runs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from loadtest.figures.measures import MEASURES, Shown, duration, plain, several, shown
from loadtest.figures.notes import steadiness_of
from loadtest.figures.result import RunResult
from loadtest.figures.tally import Tally
from loadtest.run.overhead import Overhead


def describe_load(scenario: Mapping[str, Any], seconds: float) -> str:
    """The load on a target in a few words; ``scenario`` as it stands in a report."""
    if trace := scenario.get("trace"):
        text = f"as in {trace}" + ("" if scenario.get("speed", 1) == 1 else f" at speed {plain(scenario['speed'])}")
    elif steps := scenario.get("steps"):
        text = f"{', '.join(map(describe_step, steps))} ({_spacing(scenario)})"
        if cap := scenario.get("concurrency"):
            text += f", {cap} at once at most"
    elif steps := scenario.get("client_steps"):
        text = f"{', '.join(map(describe_step, steps))}, each with its next request after the last answer"
    else:
        clients = scenario.get("concurrency") or 0
        text = f"{several(clients, 'client')}, each with its next request after the last answer"
    warmup = scenario.get("warmup")
    long = "until all have begun" if math.isinf(seconds) else f"for {plain(round(seconds, 1))} s"
    if count := scenario.get("count"):
        text += f", {several(count, 'request')}"
    return f"{text}, {long}" + (f" after {plain(warmup)} s of warm-up" if warmup else "")


def _spacing(scenario: Mapping[str, Any]) -> str:
    if burst := scenario.get("burst"):
        return f"{burst['size']} at once every {plain(burst['seconds'])} s"
    if burstiness := scenario.get("burstiness"):
        return f"burstiness {plain(burstiness)}"
    return "Poisson" if scenario.get("spacing") == "poisson" else "evenly spaced"


_FIGURES: Final = (
    "queued", "connect", "ttfb", "ttft", "ttfo", "gap", "stall", "tokens_per_second", "duration",
    "asked_input", "input_tokens", "asked_output", "output_tokens", "left_after",
)  # fmt: skip


def told(*tallies: Tally) -> Sequence[str]:
    """The measures that tables for people have: those that were measured, without what only repeats another."""
    found = [name for name in _FIGURES if any(tally.measures[name].count for tally in tallies)]
    if "output_tokens" not in found:  # what was asked for is never answered
        found = [name for name in found if name != "asked_output"]
    if all(tally.measures["ttfo"].buckets == tally.measures["ttft"].buckets for tally in tallies):
        found = [name for name in found if name != "ttfo"]
    return found


def answered(tally: Tally) -> list[str]:
    """How the answers came to be and to end, as far as there is anything to say of it."""
    said = []
    finishes = {name or "no reason given": number for name, number in tally.finishes.most_common()}
    if len(finishes) > 1:
        said.append(f"ended by {_numbered(finishes)}")
    if tally.waived:
        said.append(f"rules waived: {_numbered(dict(tally.waived.most_common()))} (--strict holds answers to them)")
    uncounted = tally.counts["whole"] - tally.counted_by_usage
    if uncounted and tally.events:
        said.append(f"no usage came with {several(uncounted, 'answer')}: events are counted as tokens")
    if tally.prompt_tokens:
        each = tally.prompt_characters / tally.prompt_tokens
        said.append(f"prompts have {each:.3g} characters a token, by the server's count")
    if tally.unseen:
        said.append(f"{tally.unseen} tokens of reasoning were not shown, and are in no speed")
    if tally.versions:
        said.append(_connections(tally))
    return said + tally.routes.lines()


def _connections(tally: Tally) -> str:
    versions = " and ".join(
        f"HTTP/{version}" if version[:1].isdigit() else version for version, _ in tally.versions.most_common()
    )
    opened = tally.measures["connect"].count
    said = f"{versions}; {plain(100 * opened / tally.counts['started'])} % of requests opened a connection"
    if again := tally.counts["resent"]:
        said += f"; {again} met a closed one and were sent again"
    if left := tally.counts["left_open"]:
        said += f"; {several(left, 'answer')} ended by the API and left open"
    return said


def _numbered(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items())


def load_of(run: RunResult) -> str:
    """The load of a run in a few words."""
    return describe_load(run.scenario, run.seconds)


def describe_step(step: Mapping[str, float | None]) -> str:
    """The rate of a step, or its clients, which may rise or fall."""
    end = step.get("to")
    if "clients" in step:
        start = plain(step["clients"] or 0)
        return f"{start} clients" if end is None else f"{start} to {plain(end)} clients"
    start = plain(step.get("rate") or 0)
    return f"{start}/s" if end is None else f"{start} to {plain(end)}/s"


def describe_probes(run: RunResult) -> list[str]:
    """What the small requests beside the load took."""
    probes = run.probes
    if not probes.counts["started"]:
        return []
    measure = "ttft" if probes.measures["ttft"].count else "ttfb"
    found = probes.measures[measure]
    took = ", ".join(f"p{percent:g} {duration(found.percentile(percent))}" for percent in run.percentiles)
    whole = f"{probes.counts['whole']} of {probes.counts['started']} whole"
    return [f"probes of one token beside it: {whole}, {MEASURES[measure].label} {took}"]


def describe_course(run: RunResult) -> list[str]:
    """How its bursts began, from when on it was steady, and how long clients waited as they were told.

    How far the requests of one instant are apart is told since some loaders begin them one after the other
    (ai-dynamo/aiperf#1424)."""
    said, late, waits, steady = [], run.overhead.late, run.retry_waits, steadiness_of(run)
    if run.scenario.get("burst") and late.count:
        said.append(f"bursts begun within {duration(late.most)}, half of them within {duration(late.percentile(50))}")
    if steady is not None and steady.since is not None:
        said.append(f"steady from {f'{steady.since} s on' if steady.since else 'the start'}")
    if waits.count:
        times = several(waits.count, "time")
        said.append(f"clients waited {times}, as retry-after told them, {duration(waits.total)} in all")
    return said


def describe_counts(tally: Tally) -> str:
    """How many began, and what became of them."""
    return ", ".join(counted(name, tally.counts[name]) for name in COUNTED if tally.counts[name] or name in ALWAYS)


def counted(name: str, number: int) -> str:
    """One of these counts in words."""
    return f"{number} {_ONE.get(name, COUNTED[name]) if number == 1 else COUNTED[name]}"


def describe_overhead(own: Overhead) -> str:
    """The loader's own figures, or those of one of its processes."""
    lag = f"lag p50 {duration(own.lag.percentile(50))}, p99 {duration(own.lag.percentile(99))}"
    return f"{100 * own.cpu:.0f} % of a core, {lag}, requests begun late by p99 {duration(own.late.percentile(99))}"


@attrs.frozen
class Line:
    """One row of a comparison. ``values`` are those of the runs, ``None`` where nothing was measured."""

    label: str
    show: Shown
    values: tuple[float | None, ...]

    @property
    def cells(self) -> list[str]:
        """The label and the values as text, each further run's with its ratio to the first behind it."""
        first, *others = ["–" if value is None else self.show(value) for value in self.values]
        return [self.label, first, *(cell for pair in zip(others, self._ratios, strict=True) for cell in pair)]

    @property
    def _ratios(self) -> list[str]:
        first = self.values[0]
        return [f"×{value / first:.2f}" if first and value is not None else "" for value in self.values[1:]]


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def lines(runs: Sequence[RunResult]) -> list[Line]:
    """The rows of a table that compares runs."""
    found = [
        Line("requests begun a second", plain, tuple(run.rate for run in runs)),
        *(
            Line(label, plain, tuple(float(run.tally.counts[name]) for run in runs))
            for name, label in COUNTED.items()
            if name in ALWAYS or any(run.tally.counts[name] for run in runs)
        ),
        Line("goodput", _percent, tuple(run.tally.goodput for run in runs)),
        Line("good answers a second", plain, tuple(run.goodput_rate for run in runs)),
        Line("tokens a second, all together", plain, tuple(run.tokens_per_second for run in runs)),
    ]
    tallies = [run.tally for run in runs]
    for name in told(*tallies):
        if any(tally.measures[name].count for tally in tallies):
            found += [
                Line(
                    f"{MEASURES[name].label}, {'max' if percent == 100 else f'p{percent:g}'}",
                    shown(name),
                    tuple(_at(tally, name, percent) for tally in tallies),
                )
                for percent in (*runs[0].percentiles, 100)
            ]
    found.append(Line("loader: CPU, share of a core", lambda value: f"{100 * value:.0f} %",
                      tuple(run.overhead.cpu for run in runs)))  # fmt: skip
    found.append(Line("loader: lag, p99", duration, tuple(run.overhead.lag.percentile(99) for run in runs)))
    return found


ALWAYS: Final = ("started", "whole", "error")
"""Counts that are told when they are 0, too."""

COUNTED = {
    "started": "requests begun",
    "whole": "whole answers",
    "error": "errors",
    "not_whole": "streams not whole",
    "unfinished": "unfinished",
    "cancelled": "cancelled, as meant",
    "interrupted": "interrupted",
    "lost": "lost with a process of the loader",
    "short": "shorter than asked for",
}

_ONE: Final = {
    "started": "request begun", "whole": "whole answer", "error": "error", "not_whole": "stream not whole",
}  # fmt: skip


def _at(tally: Tally, name: str, percent: float) -> float | None:
    histogram = tally.measures[name]
    return histogram.percentile(percent) if histogram.count else None


ALONE: Final = 8
"""Turns with a row each; those behind them share rows, each of twice as many."""

HEADINGS: Final = ("turn", "begun", "whole", "ttft p50", "p95", "duration p50", "p95", "input", "cached")


def conversations(run: RunResult) -> Sequence[str]:
    """How many began, and which of their turns did not, as lines."""
    begun = run.turns[1].counts["started"] if 1 in run.turns else 0
    turns = sum(tally.counts["started"] for tally in run.turns.values())
    said = [f"{_begun(run, begun, 'conversation')}; of these {_begun(run, turns, 'turn')}"]
    if run.unbegun:
        said.append(f"{several(run.unbegun, 'turn')} had not begun when one before them failed")
    if run.cut_off:
        said.append(f"{several(run.cut_off, 'turn')} had not begun when the time was up")
    return said


def _begun(run: RunResult, number: int, what: str) -> str:
    rate = f", {plain(number / run.seconds)} a second" if run.seconds else ""
    return f"{several(number, what)} begun{rate}"


def turn_rows(run: RunResult) -> Sequence[Sequence[str]]:
    """A table with ``HEADINGS``, a few rows however many turns there are."""
    told = any(tally.measures["cached_tokens"].count for tally in run.turns.values())
    return [[label, *_cells(tally, told)] for label, tally in _grouped(run.turns)]


def _grouped(turns: Mapping[int, Tally]) -> Iterator[tuple[str, Tally]]:
    first, size = 1, 1
    while first <= max(turns, default=0):
        last = first + size - 1
        tally = Tally()
        for turn in range(first, last + 1):
            if turn in turns:
                tally.merge(turns[turn])
        if tally.counts["started"]:
            yield str(first) if size == 1 else f"{first}–{last}", tally
        first = last + 1
        size = 1 if first <= ALONE else max(size * 2, ALONE)


def _cells(tally: Tally, told: bool) -> Iterator[str]:
    yield from (str(tally.counts[name]) for name in ("started", "whole"))
    for name in ("ttft", "duration"):
        histogram = tally.measures[name]
        yield from (duration(histogram.percentile(p)) if histogram.count else "–" for p in (50, 95))
    asked = tally.measures["input_tokens"]
    yield plain(round(asked.mean)) if asked.count else "–"
    share = tally.cached_share
    yield "–" if share is None or not told else f"{100 * share:.0f} %"
