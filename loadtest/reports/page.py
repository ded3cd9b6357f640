"""The report as a self-contained HTML file: results and figures first, then charts."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

import msgspec

from loadtest.figures.measures import MEASURES, format_duration, format_number, formatter_of
from loadtest.figures.notes import notes
from loadtest.figures.result import RunResult
from loadtest.figures.tally import Tally
from loadtest.reports.plots import distribution_charts, timeline_charts
from loadtest.reports.tables import format_share, html_table, tables
from loadtest.reports.words import (
    ALWAYS,
    COUNTED,
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

STYLE: Final = """
:root { color-scheme: light dark; --page: #fff; --text: #1c2024; --soft: #60646c; --line: #d9dce1; --card: #f6f7f9;
  --s0: #1f6feb; --s1: #b3541e; --s2: #7a3fc4; --s3: #0f7b5f; --s4: #c4306b; --s5: #5c6470;
  --bad: #b4232a; --bad-card: #fdecec; --good: #17683f; --good-card: #e8f6ee; --note: #7a5200; --note-card: #fff5da; }
@media screen and (prefers-color-scheme: dark) { :root { --page: #15181c; --text: #e8eaed; --soft: #a2a9b3;
  --line: #343a42; --card: #1d2127; --s0: #6cb0ff; --s1: #f2a65a; --s2: #c6a0ff; --s3: #5fd0a8; --s4: #ff8fb8;
  --s5: #b5bcc6; --bad: #ff9a9a; --bad-card: #3a1d20; --good: #7fdcab; --good-card: #14301f; --note: #f3cd7a;
  --note-card: #352b14; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 84rem; padding: 1.5rem; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0; line-height: 1.25; } h2 { font-size: 1.2rem; margin: 2.25rem 0 .25rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p { margin: .25rem 0; } .soft, small { color: var(--soft); } small { display: block; font-size: .8rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: .75rem; margin: 1rem 0;
  padding: 0; list-style: none; }
.cards li { background: var(--card); border-radius: 8px; padding: .6rem .9rem; }
.cards b { display: block; font-size: 1.35rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.cards .wrong b { color: var(--bad); }
.bad, .good, .note { border-radius: 8px; padding: .6rem .9rem; margin: .5rem 0; }
.bad { color: var(--bad); background: var(--bad-card); } .good { color: var(--good); background: var(--good-card); }
.note { color: var(--note); background: var(--note-card); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .75rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .8rem; overflow-wrap: break-word;
  border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
th:first-child, td:first-child { padding-left: 0; position: sticky; left: 0; background: var(--page); }
th.named { white-space: normal; min-width: 6rem; max-width: 14rem; }
td.text { white-space: normal; min-width: 5.5rem; } td.text:last-child { min-width: 14rem; }
td.ratio { color: var(--soft); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.25rem;
  margin: 1rem 0; }
figure { margin: 0; background: var(--card); border-radius: 8px; padding: .75rem .9rem; min-width: 0; }
figcaption { font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: .85rem; color: var(--soft); }
.legend small { display: inline; margin-left: .5rem; font-size: inherit; }
svg.key { width: 24px; height: 8px; margin-right: .4rem; }
svg.chart { width: 100%; height: auto; display: block; overflow: visible; }
svg text { fill: var(--soft); font-size: 11px; } svg path { fill: none; } svg circle { fill: transparent; }
svg circle:hover { fill: var(--text); fill-opacity: .25; }
.grid { stroke: var(--line); stroke-width: 1; }
[class^="s"]:is(path) { stroke-width: 2; stroke-linejoin: round; stroke-linecap: round;
  vector-effect: non-scaling-stroke; }
path.s0 { stroke: var(--s0); } path.s1 { stroke: var(--s1); stroke-dasharray: 7 4; }
path.s2 { stroke: var(--s2); stroke-dasharray: 2 4; } path.s3 { stroke: var(--s3); stroke-dasharray: 10 3 2 3; }
path.s4 { stroke: var(--s4); stroke-dasharray: 4 2; } path.s5 { stroke: var(--s5); stroke-dasharray: 1 3; }
path.end { stroke-width: 8; stroke-dasharray: none; }
pre { background: var(--card); padding: .75rem; border-radius: 8px; overflow-x: auto; }
@media (max-width: 84rem) { svg text { font-size: 13px; } }
@media (max-width: 40rem) {
  body { padding: .75rem; } h1 { font-size: 1.25rem; } svg text { font-size: 18px; }
  svg text.tick { transform: translateY(5px); } svg text.axis { display: none; }
  .cards { grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .5rem; }
  .cards li { padding: .5rem .6rem; } th, td { padding: .25rem .45rem; } figure { padding: .6rem .7rem; }
}
@media print {
  @page { margin: 14mm; }
  :root { color-scheme: light; }
  body { max-width: none; padding: 0; font-size: 10.5pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  figure, tr, .cards li, .bad, .good, .note { break-inside: avoid; } h1, h2, h3, figcaption { break-after: avoid; }
  th:first-child, td:first-child { position: static; } .charts { display: block; orphans: 1; widows: 1; }
  svg text { font-size: 15px; } svg text.axis { display: none; }
  figure { display: inline-block; width: 48.5%; margin: 0 .7% .6rem; vertical-align: top; }
  .wide { overflow: visible; } table { font-size: 8.5pt; } th, td { padding: .15rem .45rem; white-space: normal; }
  thead { display: table-header-group; } td.text:last-child { min-width: 0; } details { display: none; }
}
"""


def page(runs: Sequence[RunResult], failures: Sequence[str] = (), above: str = "", passed: Sequence[str] = ()) -> str:
    """Return the HTML document.

    ``failures`` and ``passed`` describe the conditions; ``above`` is HTML before all figures.
    """
    title = f"Load report: {_title(runs)}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        '<p class="soft">Latencies count from the planned start of a request, even if it started later.</p>',
        *(f'<p class="bad" role="alert">Failed: {escape(failure)}</p>' for failure in failures),
        *(f'<p class="good">Passed: {escape(one)}</p>' for one in passed),
        above,
        *(
            part
            for found in tables(runs)
            for part in (f"<h2>{escape(found.title)}</h2>", html_table(found.head, found.rows, found.text_columns))
        ),
        *(_all_runs_section(runs) if len(runs) > 1 else ()),
        *(part for run in runs for part in _run_section(run, alone=len(runs) == 1)),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head>\n<body><main>\n" + "\n".join(parts) + "\n</main></body></html>\n"
    )


def _title(runs: Sequence[RunResult]) -> str:
    """Return the targets, each once."""
    return ", ".join(dict.fromkeys(run.target or run.url for run in runs)) or "a comparison"


# All runs


def _all_runs_section(runs: Sequence[RunResult]) -> Iterable[str]:
    if not all(run.label for run in runs):  # labelled runs are already side by side in the tables
        yield "<h2>Side by side</h2>"
        yield _comparison_section(runs)
    yield "<h2>Distributions</h2>"
    yield _charts(distribution_charts(runs, _short_names(runs)))


def _short_names(runs: Sequence[RunResult]) -> list[str]:
    """Return the shortest distinct names of the runs."""
    one_target = len({run.target or run.url for run in runs}) == 1
    return [run.label if one_target and run.label else run.name for run in runs]


def _comparison_section(runs: Sequence[RunResult]) -> str:
    first, *others = runs
    head = ["", first.name, *(text for run in others for text in (run.name, "ratio"))]
    return html_table(head, [line.cells for line in compared_rows(runs)])


def _charts(found: Iterable[str]) -> str:
    return f'<div class="charts">{"".join(found)}</div>'


# One run


def _run_section(run: RunResult, alone: bool) -> Iterable[str]:
    yield f"<h2>{escape(run.name)}</h2>"
    address = f"{run.url} · " if run.target else ""
    yield f'<p class="soft">{escape(f"{address}{run.started} · {describe_run_load(run)}")}</p>'
    if run.interrupted:
        yield '<p class="note">The run was interrupted.</p>'
    if run.stopped:
        yield f'<p class="note">The run ended early: {escape(run.stopped)}</p>'
    yield _cards(run)
    yield _measures_table(run.tally, run.percentiles)
    yield from (f'<p class="note">{escape(note)}</p>' for note in notes(run))
    if run.turns:
        yield "<h3>Conversations, turn by turn</h3>"
        yield from (f"<p>{escape(line)}.</p>" for line in describe_conversations(run))
        yield html_table(HEADINGS, turn_rows(run))
    if run.tally.failures:
        yield "<h3>Errors</h3>"
        rows = [(format_number(row.count), row.kind, row.phase, row.example) for row in run.tally.failures]
        yield html_table(["count", "kind", "waiting for", "example"], rows, text=(1, 2, 3))
    if len(run.requests) > 1:
        for name, tally in run.requests.items():
            yield f"<h3>{escape(name)}</h3>"
            yield f"<p>{escape(describe_counts(tally))}</p>"
            yield _measures_table(tally, run.percentiles)
    yield _charts((*(distribution_charts([run], [run.name]) if alone else ()), *timeline_charts(run)))
    if more := [*describe_course(run), *describe_answers(run.tally), *describe_probes(run)]:
        yield "<h3>The answers</h3>"
        yield from (f"<p>{escape(line)}</p>" for line in more)
    yield _loader_section(run)
    scenario = escape(msgspec.json.format(msgspec.json.encode(run.scenario), indent=2).decode())
    yield f"<details><summary>Scenario</summary><pre>{scenario}</pre></details>"


_IN_CARDS: Final = ("ttft", "gap", "duration")


def _cards(run: RunResult) -> str:
    counts = run.tally.counts
    cards = [
        (format_number(run.rate), "requests a second begun", f"{counts['started']} in all"),
        (format_number(run.completed_rate), "whole answers a second", f"{counts['whole']} in all"),
        (format_number(counts["error"]), "errors", ""),
    ]
    if run.tally.goodput is not None:
        cards.append((format_share(run.tally.goodput), "goodput", ", ".join(map(str, run.scenario.get("slo") or ()))))
    cards += [_percentile_card(run, name) for name in _IN_CARDS if run.tally.measures[name].count]
    if run.tally.tokens_seen or run.tally.tokens:
        steady = f"{format_number(run.steady_tokens_per_second)} while requests arrived" if run.tally.events else ""
        if (each := run.tally.tokens_per_event) is not None:
            steady += f", {each:.3g} tokens an event"
        cards.append((format_number(run.tokens_per_second), "tokens a second", steady))
    elif run.tally.input_tokens:
        cards.append((format_number(run.input_tokens_per_second), "input tokens a second", ""))
    if run.tally.routes.cost_told:
        cards.append((f"{run.tally.routes.cost.normalize():f} USD", "cost", f"of {run.tally.routes.cost_told} answers"))
    cards += [
        (format_number(counts[name]), label, "")
        for name, label in COUNTED.items()
        if name not in ALWAYS and counts[name]
    ]
    return f'<ul class="cards">{"".join(_card(*card) for card in cards)}</ul>'


def _percentile_card(run: RunResult, name: str) -> tuple[str, str, str]:
    found, show = run.tally.measures[name], formatter_of(name)
    first, *others = run.percentiles
    more = " · ".join(f"p{at:g} {show(found.percentile(at))}".replace(" ", "\N{NO-BREAK SPACE}") for at in others)
    return show(found.percentile(first)), f"{MEASURES[name].label}, p{first:g}", more


def _card(value: str, label: str, more: str) -> str:
    wrong = ' class="wrong"' if label in _WRONG and value != "0" else ""
    small = f"<small>{escape(more)}</small>" if more else ""
    return f"<li{wrong}><b>{escape(value)}</b>{escape(label)}{small}</li>"


_WRONG: Final = ("errors", COUNTED["not_whole"], COUNTED["lost"])


def _measures_table(tally: Tally, shares: Sequence[float]) -> str:
    head = ["", *(f"p{share:g}" for share in shares), "max", "mean", "min", "count"]
    rows = []
    for name in shown_measures(tally):
        found, show = tally.measures[name], formatter_of(name)
        values = (*map(found.percentile, shares), found.most, found.mean, found.least)
        rows.append([MEASURES[name].label, *map(show, values), str(found.count)])
    return html_table(head, rows) if rows else "<p>Nothing was measured.</p>"


def _loader_section(run: RunResult) -> str:
    own = run.overhead
    lag = [format_duration(own.lag.percentile(percent)) for percent in (50, 99)]
    sentences = [
        f"The loader used {100 * own.cpu:.0f} % of a core. The lag of its event loop was {lag[0]} (p50) and {lag[1]} "
        f"(p99), and requests began {format_duration(own.late.percentile(99))} (p99) late."
    ]
    if own.parts:
        sentences.append(
            f"These figures cover {len(own.parts)} processes, which began {format_duration(own.apart)} apart."
        )
        sentences += [f"{name}: {describe_overhead(part)}." for name, part in own.parts.items()]
    if test := own.self_test:
        sentences += [
            "Self-test: before the run, the loader read streams from a minimal server in its own process. It used "
            f"{format_duration(test.stream)} of CPU per stream and {format_duration(test.event)} per event.",
            f"It read an event {format_duration(test.delay_p50)} (p50) and {format_duration(test.delay_p99)} (p99) "
            "after the event was sent. The figures above include this time.",
        ]
    return "<h3>The loader itself</h3>" + "".join(f"<p>{escape(text)}</p>" for text in sentences)
