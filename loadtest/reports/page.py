"""The report as a self-contained HTML file: results and figures first, then charts."""

from collections.abc import Container, Iterable, Iterator, Sequence
from html import escape
from typing import Any, Final

import msgspec

from loadtest.figures.measures import MEASURES, format_duration, format_number, formatter_of
from loadtest.figures.notes import notes
from loadtest.figures.result import RunResult
from loadtest.figures.rounds import ComparedFigure, verdict_of
from loadtest.plan.limits import ConditionVerdict
from loadtest.reports.plots import distribution_charts, timeline_charts
from loadtest.reports.text import (
    SEARCH_HEAD,
    comparison_rows,
    describe_answers,
    describe_counts,
    describe_load,
    describe_overhead,
    measure_rows,
    search_cells,
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


def page(
    runs: Sequence[RunResult],
    verdicts: Sequence[ConditionVerdict] = (),
    compared: Sequence[ComparedFigure] | None = None,
) -> str:
    """Return the HTML document."""
    title = f"Load report: {', '.join(run.name for run in runs)}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        '<p class="soft">Latencies count from the planned start of a request, even if it started later.</p>',
        *(f'<p class="{"good" if one.ok else "bad"}">{escape(f"{one.run}: {one.text}")}</p>' for one in verdicts),
        *(_comparison_section(runs, compared) if compared is not None else ()),
        *(part for run in runs for part in _run_section(run, alone=len(runs) == 1)),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head>\n<body><main>\n" + "\n".join(parts) + "\n</main></body></html>\n"
    )


def html_table(head: Sequence[str], rows: Iterable[Sequence[Any]], text: Container[int] = (0,)) -> str:
    """Return an HTML table. The columns in ``text`` have text instead of figures."""

    def cells(tag: str, row: Sequence[Any]) -> str:
        kinds = (' class="text"' if i in text else "" for i in range(len(row)))
        return "".join(f"<{tag}{kind}>{escape(str(value))}</{tag}>" for kind, value in zip(kinds, row, strict=True))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{cells("th", head)}</tr></thead><tbody>{body}</tbody></table></div>'


def _comparison_section(runs: Sequence[RunResult], compared: Sequence[ComparedFigure]) -> Iterator[str]:
    names = [run.name for run in runs]
    yield f"<h2>{escape(f'{names[1]} against {names[0]}: {verdict_of(compared)}')}</h2>"
    head, *rows = comparison_rows(compared, names)
    yield html_table(head, rows, (0, 5))
    yield _charts(distribution_charts(runs))


def _charts(found: Iterable[str]) -> str:
    return f'<div class="charts">{"".join(found)}</div>'


def _run_section(run: RunResult, alone: bool) -> Iterator[str]:
    yield f"<h2>{escape(run.name)}</h2>"
    yield f'<p class="soft">{escape(f"{run.url} · {run.started} · {describe_load(run.plan, run.seconds)}")}</p>'
    if run.interrupted or run.stopped:
        yield f'<p class="note">The run ended early: {escape(run.stopped or "it was interrupted")}</p>'
    if run.search is not None:
        yield f"<h3>{escape(run.search['answer'])}</h3>"
        yield html_table(SEARCH_HEAD, map(search_cells, run.search["steps"]), (5,))
    yield _cards(run)
    head, *rows = measure_rows(run.tally)
    yield html_table(head, rows) if rows else "<p>Nothing was measured.</p>"
    yield from (f'<p class="note">{escape(note)}</p>' for note in notes(run))
    if run.tally.failures:
        yield "<h3>Errors</h3>"
        errors = [(row.count, row.kind, row.phase, row.example) for row in run.tally.failures]
        yield html_table(["count", "kind", "waiting for", "example"], errors, text=(1, 2, 3))
    yield _charts((*(distribution_charts([run]) if alone else ()), *timeline_charts(run)))
    yield "<h3>The answers</h3>"
    yield from (f"<p>{escape(line)}</p>" for line in (describe_counts(run.tally), *describe_answers(run)))
    yield f"<h3>The loader itself</h3><p>{escape(describe_overhead(run.overhead))}</p>"
    plan = escape(msgspec.json.format(msgspec.json.encode(run.plan), indent=2).decode())
    yield f"<details><summary>Plan</summary><pre>{plan}</pre></details>"


def _cards(run: RunResult) -> str:
    counts, measures = run.tally.counts, run.tally.measures
    cards = [
        (format_number(run.rate), "requests a second begun", f"{counts['started']} in all"),
        (format_number(run.completed_rate), "whole answers a second", f"{counts['whole']} in all"),
        (format_number(counts["errors"]), "errors", ""),
    ]
    if (goodput := run.tally.goodput) is not None:
        cards.append((f"{100 * goodput:.3g} %", "goodput", ", ".join(run.plan["slo"])))
    for name in ("ttft", "gap", "duration"):
        if (values := measures[name]).count:
            p50, p99 = (formatter_of(name)(values.percentile(percent)) for percent in (50, 99))
            cards.append((p50, f"{MEASURES[name].label}, p50", f"p99 {p99}"))
    if run.tally.tokens:
        cards.append((format_number(run.tokens_per_second), "tokens a second", ""))
    cards.append((format_duration(run.overhead.lag.percentile(99)), "lag of the loader, p99", ""))
    return f'<ul class="cards">{"".join(_card(*card) for card in cards)}</ul>'


def _card(value: str, label: str, more: str) -> str:
    wrong = ' class="wrong"' if label == "errors" and value != "0" else ""
    small = f"<small>{escape(more)}</small>" if more else ""
    return f"<li{wrong}><b>{escape(value)}</b>{escape(label)}{small}</li>"
