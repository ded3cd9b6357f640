"""The report as text."""

from collections.abc import Iterable, Sequence
from typing import Final

from loadtest.figures.conditions import ConditionVerdict
from loadtest.figures.measures import MEASURES, format_duration, format_number, formatter_of
from loadtest.figures.notes import notes
from loadtest.figures.result import RunResult
from loadtest.figures.tally import Tally
from loadtest.reports.tables import align, fit_table, shorten, stack_columns, tables, wrap_line
from loadtest.reports.words import (
    HEADINGS,
    compared_rows,
    describe_answers,
    describe_conversations,
    describe_counts,
    describe_course,
    describe_overhead,
    describe_probes,
    describe_run_load,
    shown_measures,
    turn_rows,
)
from loadtest.run.overhead import Overhead

_NAME: Final = 22  # characters of a run's name above its column
_EXAMPLE: Final = 3  # lines of a server's message


def summary(run: RunResult, verdicts: Iterable[ConditionVerdict] = ()) -> str:
    """Return one run as text, at most 80 columns wide. ``verdicts`` are those of its conditions."""
    said = [
        run.name,
        *([f"  {run.url}"] if run.target else []),
        f"  {describe_run_load(run)}" + ("; interrupted" if run.interrupted else ""),
        *([f"  ended early: {run.stopped}"] if run.stopped else []),
        *(f"  {describe_verdict(one)}" for one in verdicts),
        f"  {describe_counts(run.tally)}",
        f"  {format_number(run.rate)} requests a second begun, {format_number(run.completed_rate)} completed",
        *_goodput_lines(run),
        *_token_lines(run),
        *(f"  {line}" for line in describe_course(run)),
        *(f"  {line}" for line in describe_conversations(run) if run.turns),
    ]
    said = [part for line in said for part in wrap_line(line)]
    said += ["", *_measures_table(run.tally, run.percentiles)]
    if run.turns:
        said += [
            "",
            *stack_columns([[f"  {name}", *cells] for name, *cells in (HEADINGS, *turn_rows(run))], together=2),
        ]
    if more := [*describe_answers(run.tally), *describe_probes(run)]:
        said += ["", *(part for line in more for part in wrap_line(f"  {line}"))]
    if len(run.requests) > 1:
        for name, tally in run.requests.items():
            said += ["", *wrap_line(f"  {name}: {describe_counts(tally)}"), *_measures_table(tally, run.percentiles)]
    if run.tally.failures:
        said += ["", *_error_lines(run.tally)]
    return "\n".join([*said, "", *(part for line in _loader_lines(run) for part in wrap_line(line))])


def describe_verdict(verdict: ConditionVerdict) -> str:
    """Return the verdict on a condition in one line."""
    return f"passed: {verdict.condition}: it is {verdict.shown}" if verdict.ok else f"failed: {verdict.failure}"


def _token_lines(run: RunResult) -> Iterable[str]:
    """Yield the rate of output tokens, or of input tokens if there is no output."""
    tally = run.tally
    if tally.tokens_seen or tally.tokens:
        steady = f", {format_number(run.steady_tokens_per_second)} while requests arrived" if tally.events else ""
        yield f"  {format_number(run.tokens_per_second)} tokens a second{steady}{_describe_events(tally)}"
    elif tally.input_tokens:
        yield f"  {format_number(run.input_tokens_per_second)} input tokens a second"


def overview(runs: Sequence[RunResult]) -> str:
    """Return the tables of several loads, of steps and of a search."""
    found = ["\n".join([*wrap_line(table.title), *fit_table(table)]) for table in tables(runs)]
    return "\n\n".join([*found, *filter(None, ("\n".join(_row_details(run)) for run in runs if run.label))])


def _row_details(run: RunResult) -> Iterable[str]:
    """Yield the end, the errors and the notes of a run that its row in a table does not have."""
    if run.interrupted or run.stopped:
        yield from wrap_line(f"{run.label}: " + (f"ended early: {run.stopped}" if run.stopped else "interrupted"))
    for row in run.tally.failures:
        yield from wrap_line(f"{run.label}: {row.count} {row.kind} ({row.phase}) {row.example}".rstrip(), most=_EXAMPLE)
    for note in notes(run):
        yield from wrap_line(f"note: {run.label}: {note}")


def comparison(runs: Sequence[RunResult]) -> str:
    """Return a table of several runs side by side, with the ratio of each to the first."""
    head = ["", shorten(runs[0].name, _NAME)]
    for run in runs[1:]:
        head += [shorten(run.name, _NAME), ""]
    rows = [head, *(line.cells for line in compared_rows(runs))]
    remarks = [part for run in runs for note in notes(run) for part in wrap_line(f"note: {run.name}: {note}")]
    return "\n".join([*stack_columns(rows, together=2), *remarks])


def _goodput_lines(run: RunResult) -> Iterable[str]:
    """Yield the share of good answers, and the missed objectives."""
    tally = run.tally
    if tally.goodput is None:
        return
    slo = ", ".join(map(str, run.scenario.get("slo") or ()))
    missed = ", ".join(f"{number} missed {figure}" for figure, number in tally.missed.most_common())
    said = f" ({'; '.join(filter(None, (slo, missed)))})" if slo else ""
    yield f"  goodput {100 * tally.goodput:.4g} %{said}, {format_number(run.goodput_rate)} a second"


def _describe_events(tally: Tally) -> str:
    tokens = "" if tally.tokens_per_event is None else f", {tally.tokens_per_event:.3g} tokens an event"
    return f", {tally.events / tally.reads:.2f} content events a read{tokens}" if tally.events else ""


def _measures_table(tally: Tally, percentiles: Sequence[float]) -> Iterable[str]:
    rows = [["", *(f"p{percent:g}" for percent in percentiles), "max", "count"]]
    for name in shown_measures(tally):
        histogram = tally.measures[name]
        values = (*(histogram.percentile(percent) for percent in percentiles), histogram.most)
        rows.append([f"  {MEASURES[name].label}", *map(formatter_of(name), values), str(histogram.count)])
    return stack_columns(rows) if len(rows) > 1 else ["  nothing was measured"]


def _error_lines(tally: Tally) -> Iterable[str]:
    yield "  errors by kind and phase"
    kinds = [(f"  {row.count:>7}", row.kind, row.phase) for row in tally.failures]
    for line, row in zip(align(kinds, (0, 1, 2)), tally.failures, strict=True):
        asked = "" if row.retry_after is None else f"(retry-after {' to '.join(_distinct_durations(row.retry_after))}) "
        yield from wrap_line(line)
        if said := f"{asked}{row.example}".strip():
            yield from wrap_line(f"{' ' * 11}{said}", most=_EXAMPLE)


def _distinct_durations(values: tuple[float, float]) -> Iterable[str]:
    return dict.fromkeys(map(format_duration, values))


def _process_rows(own: Overhead) -> Iterable[Sequence[str]]:
    head = f"  {len(own.parts)} processes, begun {format_duration(own.apart)} apart"
    yield (head, "CPU", "lag p50", "lag p99", "late p99")
    for name, part in own.parts.items():
        times = (part.lag.percentile(50), part.lag.percentile(99), part.late.percentile(99))
        yield (f"    {name}", f"{100 * part.cpu:.0f} %", *map(format_duration, times))


def _loader_lines(run: RunResult) -> Iterable[str]:
    own = run.overhead
    yield f"  loader: {describe_overhead(own)}"
    if own.parts:
        yield from align(list(_process_rows(own)))
    if test := own.self_test:
        cost = f"{format_duration(test.stream)} of CPU per stream, {format_duration(test.event)} per event"
        delay = f"events read {format_duration(test.delay_p50)} after they were sent"
        yield f"  self-test: {cost}, {delay} (p99 {format_duration(test.delay_p99)})"
    for note in notes(run):
        yield f"  note: {note}"
