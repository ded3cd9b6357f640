"""A report as one HTML file that holds all it needs, in light and in dark."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import msgspec

from gateway.loadtest.figures import PERCENTILES, duration, lines, load_of, plain, shown
from gateway.loadtest.histogram import Histogram
from gateway.loadtest.plots import COLOURS, Series, chart, linear, logarithmic, percentiles, seconds
from gateway.loadtest.report import RunResult
from gateway.loadtest.tally import MEASURES, Tally

CURVES = ("ttfb", "ttft", "gap", "duration")
NAN = math.nan

STYLE = """
:root { color-scheme: light dark; --page: #fff; --text: #1c2024; --soft: #60646c; --line: #d9dce1; --card: #f6f7f9;
  --s0: #1f6feb; --s1: #b3541e; --s2: #7a3fc4; --s3: #0f7b5f; --s4: #c4306b; --s5: #5c6470;
  --bad: #b4232a; --bad-card: #fdecec; --note: #7a5200; --note-card: #fff5da; }
@media (prefers-color-scheme: dark) { :root { --page: #15181c; --text: #e8eaed; --soft: #a2a9b3; --line: #343a42;
  --card: #1d2127; --s0: #6cb0ff; --s1: #f2a65a; --s2: #c6a0ff; --s3: #5fd0a8; --s4: #ff8fb8; --s5: #b5bcc6;
  --bad: #ff9a9a; --bad-card: #3a1d20; --note: #f3cd7a; --note-card: #352b14; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 84rem; padding: 1.5rem; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .25rem; } h3 { font-size: 1rem; }
p { margin: .25rem 0; } .soft { color: var(--soft); }
.cards { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; padding: 0; list-style: none; }
.cards li { background: var(--card); border-radius: 8px; padding: .6rem .9rem; min-width: 8rem; }
.cards b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.bad, .note { border-radius: 8px; padding: .6rem .9rem; margin: .5rem 0; }
.bad { color: var(--bad); background: var(--bad-card); } .note { color: var(--note); background: var(--note-card); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .75rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .8rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; } th:first-child, td:first-child, td.text, th.text { text-align: left; }
td.text { white-space: normal; } td.ratio { color: var(--soft); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1.25rem; }
figure { margin: 0; background: var(--card); border-radius: 8px; padding: .75rem .9rem; }
figcaption { font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: .85rem; color: var(--soft); }
svg.key { width: 24px; height: 8px; margin-right: .4rem; } svg.chart { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font-size: 11px; } svg path { fill: none; } svg circle { fill: transparent; }
svg circle:hover { fill: var(--text); fill-opacity: .25; }
.grid { stroke: var(--line); stroke-width: 1; }
[class^="s"]:is(path) { stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
path.s0 { stroke: var(--s0); } path.s1 { stroke: var(--s1); stroke-dasharray: 7 4; }
path.s2 { stroke: var(--s2); stroke-dasharray: 2 4; } path.s3 { stroke: var(--s3); stroke-dasharray: 10 3 2 3; }
path.s4 { stroke: var(--s4); stroke-dasharray: 4 2; } path.s5 { stroke: var(--s5); stroke-dasharray: 1 3; }
pre { background: var(--card); padding: .75rem; border-radius: 8px; overflow-x: auto; }
"""


def page(runs: Sequence[RunResult], failures: Sequence[str] = ()) -> str:
    """The whole document. ``failures`` are the conditions that did not hold, in words."""
    title = "Load report: " + ", ".join(run.name for run in runs)
    parts = [
        f"<h1>{escape(title)}</h1>",
        '<p class="soft">Latencies are measured from the time at which a request was to start, whenever it did.</p>',
        *(f'<p class="bad" role="alert">Failed: {escape(failure)}</p>' for failure in failures),
        '<div class="charts">',
        *(_curve(runs, name) for name in CURVES if any(run.tally.measures[name].count for run in runs)),
        "</div>",
        *(_comparison(runs) if len(runs) > 1 else ()),
        *(part for run in runs for part in _section(run)),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head>\n<body><main>\n" + "\n".join(parts) + "\n</main></body></html>\n"
    )


# All runs together


def _comparison(runs: Sequence[RunResult]) -> Iterable[str]:
    first, *others = runs
    head = ["", first.name, *(text for run in others for text in (run.name, "ratio"))]
    yield "<h2>Side by side</h2>"
    yield _table(head, [_compared(line.label, line.texts, line.ratios) for line in lines(runs)])


def _compared(label: str, texts: Sequence[str], ratios: Sequence[str]) -> list[str]:
    first, *others = texts
    return [label, first, *(cell for pair in zip(others, ratios, strict=True) for cell in pair)]


def _curve(runs: Sequence[RunResult], name: str) -> str:
    """The whole distribution: what each percentile is at most."""
    # Numbered before those without data are left out: a run has one colour in all charts.
    numbered = [(i, run.name, run.tally.measures[name]) for i, run in enumerate(runs)]
    found = [(i, label, histogram) for i, label, histogram in numbered if histogram.count]
    most = max(100 - 100 / histogram.count for _, _, histogram in found) if found else 0
    series = [Series(label, _points(histogram), i % COLOURS) for i, label, histogram in found]
    values = [y for one in series for _, y in one.points]
    y = logarithmic(min(values), max(values), duration)
    return chart(MEASURES[name].capitalize(), percentiles(most), y, series, "percentile")


def _points(histogram: Histogram) -> list[tuple[float, float]]:
    """Finer and finer towards the end, as far as there are values to tell the percentiles apart."""
    last = 1 - 1 / histogram.count
    shares = [share for i in range(121) if (share := 1 - 10 ** (-i / 24)) <= last]
    return [(100 * share, histogram.percentile(100 * share)) for share in (*shares, last)]


# One run


def _section(run: RunResult) -> Iterable[str]:
    yield f"<h2>{escape(run.name)}</h2>"
    address = f"{run.url} · " if run.target else ""
    yield f'<p class="soft">{escape(f"{address}{run.started} · {load_of(run)}")}</p>'
    if run.interrupted:
        yield '<p class="note">It was interrupted.</p>'
    yield from (f'<p class="note">{escape(note)}</p>' for note in run.overhead.notes)
    yield _cards(run)
    yield '<div class="charts">'
    yield from _charts(run)
    yield "</div>"
    yield _measures(run.tally)
    if run.tally.failures:
        yield "<h3>Errors</h3>"
        rows = [(row.kind, row.phase, plain(row.count), row.example) for row in run.tally.failures]
        yield _table(["kind", "waiting for", "count", "example"], rows, text=(0, 1, 3))
    if len(run.requests) > 1:
        for name, tally in run.requests.items():
            yield f"<h3>{escape(name)}</h3>"
            yield _measures(tally)
    yield _loader(run)
    scenario = escape(msgspec.json.format(msgspec.json.encode(run.scenario), indent=2).decode())
    yield f"<details><summary>Scenario</summary><pre>{scenario}</pre></details>"


def _cards(run: RunResult) -> str:
    counts = run.tally.counts
    cards = [
        ("requests a second", plain(round(run.rate, 2))),
        ("whole answers", f"{counts['whole']} of {counts['started']}"),
        ("errors", plain(counts["error"])),
        ("streams not whole", plain(counts["not_whole"])),
        ("tokens a second", plain(run.tokens_per_second)),
    ]
    cards += [(label, plain(counts[key])) for key, label in _RARE.items() if counts[key]]
    ttft = run.tally.measures["ttft"]
    if ttft.count:
        cards += [(f"first token, p{percent}", duration(ttft.percentile(percent))) for percent in PERCENTILES]
    items = "".join(f"<li><b>{escape(value)}</b>{escape(label)}</li>" for label, value in cards)
    return f'<ul class="cards">{items}</ul>'


_RARE = {"unfinished": "unfinished", "cancelled": "cancelled, as meant", "interrupted": "interrupted"}


def _charts(run: RunResult) -> Iterable[str]:
    if not run.timeline:
        return
    x = seconds(max(1.0, float(run.timeline[-1]["second"])), lambda value: f"{value:g} s")
    flow = [_over_time(run, label, key, i) for i, (label, key) in enumerate(_FLOW)]
    yield chart("Requests, each second", x, linear(_highest(flow), plain, least=1), flow)
    under_way = [_over_time(run, "under way", "in_flight", 0)]
    yield chart("Under way", x, linear(_highest(under_way), plain, least=1), under_way)
    first = [_over_time(run, f"p{percent}", f"ttft_p{percent}", i) for i, percent in enumerate(PERCENTILES)]
    if run.tally.measures["ttft"].count:
        yield chart("Time to the first token, by when the request was to start", x,
                    linear(_highest(first), duration), first)  # fmt: skip
    lag = [_over_time(run, "greatest lag", "lag", 5)]
    yield chart("Lateness of the loader itself", x, linear(_highest(lag), duration), lag)


_FLOW = (("begun", "started"), ("ended whole", "whole"), ("failed", "failed"))


def _over_time(run: RunResult, label: str, key: str, colour: int) -> Series:
    points = [(float(row["second"]), NAN if row[key] is None else float(row[key])) for row in run.timeline]
    return Series(label, points, colour)


def _highest(series: Sequence[Series]) -> float:
    return max((y for one in series for _, y in one.points if not math.isnan(y)), default=0.0) or 1e-3


def _measures(tally: Tally) -> str:
    head = ["", "min", "mean", *(f"p{percent}" for percent in PERCENTILES), "max", "count"]
    rows = []
    for name, label in MEASURES.items():
        found, show = tally.measures[name], shown(name)
        if found.count:
            values = (found.least, found.mean, *map(found.percentile, PERCENTILES), found.most)
            rows.append([label, *map(show, values), str(found.count)])
    return _table(head, rows) if rows else "<p>Nothing was measured.</p>"


def _loader(run: RunResult) -> str:
    own = run.overhead
    said = [
        f"The loader used {100 * own.cpu:.0f} % of a core. Its event loop was late by "
        f"{duration(own.lag.percentile(50))} (p50) and {duration(own.lag.percentile(99))} (p99), requests began late "
        f"by {duration(own.late.percentile(99))} (p99)."
    ]
    if test := own.self_test:
        said.append(
            f"Before the run it read streams of a trivial server in its own process: {duration(test.stream)} of CPU a "
            f"stream and {duration(test.event)} an event; an event was seen {duration(test.delay_p50)} (p50) and "
            f"{duration(test.delay_p99)} (p99) after it was sent. So much of the figures above is the loader's."
        )
    return "<h3>The loader itself</h3>" + "".join(f"<p>{escape(text)}</p>" for text in said)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]], text: Sequence[int] = (0,)) -> str:
    def cell(tag: str, i: int, value: Any) -> str:
        kind = ' class="text"' if i in text else ' class="ratio"' if str(value).startswith("×") else ""
        return f"<{tag}{kind}>{escape(str(value))}</{tag}>"

    body = "".join(f"<tr>{''.join(cell('td', i, value) for i, value in enumerate(row))}</tr>" for row in rows)
    top = "".join(cell("th", i, value) for i, value in enumerate(head))
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
