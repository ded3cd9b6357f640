"""Describes the figures of a run in words and rows."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from loadtest.figures.measures import MEASURES, Formatter, count_with_noun, format_duration, format_number, formatter_of
from loadtest.figures.notes import steadiness_of
from loadtest.figures.result import RunResult
from loadtest.figures.tally import Tally
from loadtest.run.overhead import Overhead


def describe_load(scenario: Mapping[str, Any], seconds: float) -> str:
    """Describe the load on a target. ``scenario`` is that of a report."""
    if trace := scenario.get("trace"):
        text = f"as in {trace}" + (
            "" if scenario.get("speed", 1) == 1 else f" at speed {format_number(scenario['speed'])}"
        )
    elif steps := scenario.get("steps"):
        text = f"{', '.join(map(describe_step, steps))} ({_describe_spacing(scenario)})"
        if cap := scenario.get("concurrency"):
            text += f", at most {cap} simultaneously"
    elif steps := scenario.get("client_steps"):
        text = f"{', '.join(map(describe_step, steps))}, each sends its next request after an answer"
    else:
        clients = scenario.get("concurrency") or 0
        text = f"{count_with_noun(clients, 'client')}, each sends its next request after an answer"
    warmup = scenario.get("warmup")
    long = "until all have begun" if math.isinf(seconds) else f"for {format_number(round(seconds, 1))} s"
    if count := scenario.get("count"):
        text += f", {count_with_noun(count, 'request')}"
    return f"{text}, {long}" + (f" after {format_number(warmup)} s of warm-up" if warmup else "")


def _describe_spacing(scenario: Mapping[str, Any]) -> str:
    if burst := scenario.get("burst"):
        return f"{burst['size']} at once every {format_number(burst['seconds'])} s"
    if burstiness := scenario.get("burstiness"):
        return f"burstiness {format_number(burstiness)}"
    return "Poisson" if scenario.get("spacing") == "poisson" else "evenly spaced"


_FIGURES: Final = (
    "queued", "connect", "ttfb", "ttft", "ttfo", "gap", "stall", "tokens_per_second", "duration",
    "asked_input", "input_tokens", "asked_output", "output_tokens", "left_after",
)  # fmt: skip


def shown_measures(*tallies: Tally) -> Sequence[str]:
    """Return the measures to show: those with values that do not repeat another."""
    found = [name for name in _FIGURES if any(tally.measures[name].count for tally in tallies)]
    if "output_tokens" not in found:  # the requested length is never checked
        found = [name for name in found if name != "asked_output"]
    if all(tally.measures["ttfo"].buckets == tally.measures["ttft"].buckets for tally in tallies):
        found = [name for name in found if name != "ttfo"]
    return found


def describe_answers(tally: Tally) -> list[str]:
    """Describe the ends, tokens and connections of the answers."""
    said = []
    finishes = {name or "no reason given": number for name, number in tally.finishes.most_common()}
    if len(finishes) > 1:
        said.append(f"ended by {_join_counts(finishes)}")
    if tally.waived:
        said.append(f"rules waived: {_join_counts(dict(tally.waived.most_common()))} (--strict applies them)")
    uncounted = tally.counts["whole"] - tally.counted_by_usage
    if uncounted and tally.events:
        said.append(f"{count_with_noun(uncounted, 'answer')} without usage: events count as tokens")
    if tally.prompt_tokens:
        each = tally.prompt_characters / tally.prompt_tokens
        said.append(f"prompts have {each:.3g} characters a token, by the server's count")
    if tally.unseen:
        said.append(f"{tally.unseen} hidden reasoning tokens are not included in speeds")
    if tally.versions:
        said.append(_describe_connections(tally))
    return said + tally.routes.lines()


def _describe_connections(tally: Tally) -> str:
    versions = " and ".join(
        f"HTTP/{version}" if version[:1].isdigit() else version for version, _ in tally.versions.most_common()
    )
    opened = tally.measures["connect"].count
    said = f"{versions}; {format_number(100 * opened / tally.counts['started'])} % of requests opened a connection"
    if again := tally.counts["resent"]:
        said += f"; {again} were sent again because their connection was closed"
    if left := tally.counts["left_open"]:
        said += f"; {count_with_noun(left, 'answer')} had an end event but stayed open"
    return said


def _join_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items())


def describe_run_load(run: RunResult) -> str:
    return describe_load(run.scenario, run.seconds)


def describe_step(step: Mapping[str, float | None]) -> str:
    """Describe the rate of a step, or its number of clients."""
    end = step.get("to")
    if "clients" in step:
        start = format_number(step["clients"] or 0)
        return f"{start} clients" if end is None else f"{start} to {format_number(end)} clients"
    start = format_number(step.get("rate") or 0)
    return f"{start}/s" if end is None else f"{start} to {format_number(end)}/s"


def describe_probes(run: RunResult) -> list[str]:
    """Describe the results of the small requests next to the load."""
    probes = run.probes
    if not probes.counts["started"]:
        return []
    measure = "ttft" if probes.measures["ttft"].count else "ttfb"
    found = probes.measures[measure]
    took = ", ".join(f"p{percent:g} {format_duration(found.percentile(percent))}" for percent in run.percentiles)
    whole = f"{probes.counts['whole']} of {probes.counts['started']} whole"
    return [f"probes of one token during the load: {whole}, {MEASURES[measure].label} {took}"]


def describe_course(run: RunResult) -> list[str]:
    """Describe the begin of bursts, the steadiness, and the waits for ``retry-after``.

    The spread of a burst is shown because some loaders begin its requests one after another (ai-dynamo/aiperf#1424).
    """
    said, late, waits, steady = [], run.overhead.late, run.retry_waits, steadiness_of(run)
    if run.scenario.get("burst") and late.count:
        median = format_duration(late.percentile(50))
        said.append(f"bursts begun within {format_duration(late.most)}, half of them within {median}")
    if steady is not None and steady.since is not None:
        said.append(f"steady from {f'{steady.since} s on' if steady.since else 'the start'}")
    if waits.count:
        times = count_with_noun(waits.count, "time")
        said.append(f"clients waited {times} for retry-after, {format_duration(waits.total)} in total")
    return said


def describe_counts(tally: Tally) -> str:
    """Describe the number of requests by their ends."""
    return ", ".join(
        describe_count(name, tally.counts[name]) for name in COUNTED if tally.counts[name] or name in ALWAYS
    )


def describe_count(name: str, number: int) -> str:
    """Describe one of these counts."""
    return f"{number} {_ONE.get(name, COUNTED[name]) if number == 1 else COUNTED[name]}"


def describe_overhead(own: Overhead) -> str:
    """Describe the overhead of the loader, or of one of its processes."""
    lag = f"lag p50 {format_duration(own.lag.percentile(50))}, p99 {format_duration(own.lag.percentile(99))}"
    return f"{100 * own.cpu:.0f} % of a core, {lag}, request lateness p99 {format_duration(own.late.percentile(99))}"


@attrs.frozen
class ComparedRow:
    """One row of a comparison. ``values`` are those of the runs, ``None`` without a measurement."""

    label: str
    show: Formatter
    values: tuple[float | None, ...]

    @property
    def cells(self) -> list[str]:
        """The label and the values as text, with the ratio to the first run after each other value."""
        first, *others = ["–" if value is None else self.show(value) for value in self.values]
        return [self.label, first, *(cell for pair in zip(others, self._ratios, strict=True) for cell in pair)]

    @property
    def _ratios(self) -> list[str]:
        first = self.values[0]
        return [f"×{value / first:.2f}" if first and value is not None else "" for value in self.values[1:]]


def _format_share(share: float) -> str:
    return f"{100 * share:.4g} %"


def compared_rows(runs: Sequence[RunResult]) -> list[ComparedRow]:
    """Return the rows of a table that compares runs."""
    found = [
        ComparedRow("requests begun a second", format_number, tuple(run.rate for run in runs)),
        *(
            ComparedRow(label, format_number, tuple(float(run.tally.counts[name]) for run in runs))
            for name, label in COUNTED.items()
            if name in ALWAYS or any(run.tally.counts[name] for run in runs)
        ),
        ComparedRow("goodput", _format_share, tuple(run.tally.goodput for run in runs)),
        ComparedRow("good answers a second", format_number, tuple(run.goodput_rate for run in runs)),
        ComparedRow("tokens a second, all requests", format_number, tuple(run.tokens_per_second for run in runs)),
    ]
    tallies = [run.tally for run in runs]
    for name in shown_measures(*tallies):
        if any(tally.measures[name].count for tally in tallies):
            found += [
                ComparedRow(
                    f"{MEASURES[name].label}, {'max' if percent == 100 else f'p{percent:g}'}",
                    formatter_of(name),
                    tuple(tally.measures[name].percentile_or_none(percent) for tally in tallies),
                )
                for percent in (*runs[0].percentiles, 100)
            ]
    found.append(ComparedRow("loader: CPU, share of a core", lambda value: f"{100 * value:.0f} %",
                      tuple(run.overhead.cpu for run in runs)))  # fmt: skip
    found.append(
        ComparedRow("loader: lag, p99", format_duration, tuple(run.overhead.lag.percentile(99) for run in runs))
    )
    return found


ALWAYS: Final = ("started", "whole", "error")
"""Counts that are also shown if they are 0."""

COUNTED = {
    "started": "requests begun",
    "whole": "whole answers",
    "error": "errors",
    "not_whole": "streams not whole",
    "unfinished": "unfinished",
    "cancelled": "cancelled as planned",
    "interrupted": "interrupted",
    "lost": "lost with a loader process",
    "short": "shorter than requested",
}

_ONE: Final = {
    "started": "request begun", "whole": "whole answer", "error": "error", "not_whole": "stream not whole",
}  # fmt: skip


ALONE: Final = 8
"""Turns with a row of their own; later turns share rows, each for twice as many."""

HEADINGS: Final = ("turn", "begun", "whole", "ttft p50", "p95", "duration p50", "p95", "input", "cached")


def describe_conversations(run: RunResult) -> Sequence[str]:
    """Describe the number of conversations, and of skipped turns."""
    begun = run.turns[1].counts["started"] if 1 in run.turns else 0
    turns = sum(tally.counts["started"] for tally in run.turns.values())
    said = [f"{_describe_begun(run, begun, 'conversation')}; of these {_describe_begun(run, turns, 'turn')}"]
    if run.unbegun:
        said.append(f"{count_with_noun(run.unbegun, 'turn')} skipped after a failed turn")
    if run.cut_off:
        said.append(f"{count_with_noun(run.cut_off, 'turn')} skipped because the time was up")
    return said


def _describe_begun(run: RunResult, number: int, what: str) -> str:
    rate = f", {format_number(number / run.seconds)} a second" if run.seconds else ""
    return f"{count_with_noun(number, what)} begun{rate}"


def turn_rows(run: RunResult) -> Sequence[Sequence[str]]:
    """Return a table with ``HEADINGS`` that has few rows even for many turns."""
    has_cached = any(tally.measures["cached_tokens"].count for tally in run.turns.values())
    return [[label, *_turn_cells(tally, has_cached)] for label, tally in _group_turns(run.turns)]


def _group_turns(turns: Mapping[int, Tally]) -> Iterator[tuple[str, Tally]]:
    first, size = 1, 1
    while first <= max(turns, default=0):
        last = first + size - 1
        tally = Tally.sum_of(turns[turn] for turn in range(first, last + 1) if turn in turns)
        if tally.counts["started"]:
            yield str(first) if size == 1 else f"{first}–{last}", tally
        first = last + 1
        size = 1 if first <= ALONE else max(size * 2, ALONE)


def _turn_cells(tally: Tally, has_cached: bool) -> Iterator[str]:
    yield from (str(tally.counts[name]) for name in ("started", "whole"))
    for name in ("ttft", "duration"):
        histogram = tally.measures[name]
        yield from (format_duration(histogram.percentile(p)) if histogram.count else "–" for p in (50, 95))
    asked = tally.measures["input_tokens"]
    yield format_number(round(asked.mean)) if asked.count else "–"
    share = tally.cached_share
    yield "–" if share is None or not has_cached else f"{100 * share:.0f} %"
