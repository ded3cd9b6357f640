"""The page that people show around: figures first, distributions to their end, axes that make sense, small."""

import math
import re
from html import unescape

import attrs

from loadtest.exchange.record import AnswerTokens
from loadtest.figures.histogram import Histogram
from loadtest.figures.measures import format_duration, format_number
from loadtest.figures.tally import Tally
from loadtest.figures.timeline import LoadTimeline
from loadtest.reports.page import page
from loadtest.reports.plots import (
    Axis,
    Series,
    chart,
    distribution_charts,
    linear_axis,
    logarithmic_axis,
    percentile_axis,
    timeline_charts,
    timeline_spans,
)
from loadtest.reports.words import describe_course, describe_probes
from loadtest.run.search import FoundLoad, SearchReport, SearchStep
from tests.support.each_row import each_row
from tests.support.load_records import exchange_record, record, result, shift_record

RUN = result(*(shift_record(exchange_record(), n / 10) for n in range(30)))

STEP = SearchStep(4.0, "confirm", "held", "<b>", 2.0, 8, 8, 1.0, 4.0, 0.1, 0.2, 0.3, 0.4, 2)


def words(html: str) -> str:
    """What a reader sees, without the scenario."""
    return unescape(re.sub(r"<style>.*?</style>|<details>.*?</details>|<[^>]+>", " ", html, flags=re.S))


def card(html: str, label: str) -> str:
    found = re.search(rf"<li[^>]*><b>([^<]*)</b>{re.escape(label)}<", html)
    assert found is not None, label
    return unescape(found[1])


def test_the_verdict_and_the_figures_precede_all_charts():
    html = page([RUN], ["ttft.p95>1ms: it is 200 ms"], passed=["errors>1%: it is 0 %"])
    order = ["Failed: ttft.p95&gt;1ms", "Passed: errors&gt;1%", "</b>requests a second begun",
             "</b>whole answers a second", "</b>errors", "</b>goodput", "</b>time to the first token, p50",
             "</b>tokens a second", "<table>", "<figure>"]  # fmt: skip
    places = [html.index(said) for said in order]
    assert places == sorted(places)
    several = page([attrs.evolve(RUN, target="a"), attrs.evolve(RUN, target="b")])
    assert several.index("Side by side") < several.index("<table>") < several.index("<figure>")


def test_the_figures_are_those_of_the_json():
    """A report of theirs showed other totals than its JSON: vllm-project/guidellm#761."""
    html, dumped = page([RUN]), RUN.dump()
    assert card(html, "requests a second begun") == format_number(dumped["rate"])
    assert card(html, "whole answers a second") == format_number(dumped["completed"])
    assert card(html, "tokens a second") == format_number(dumped["tokens_per_second"])
    assert card(html, "goodput") == f"{100 * dumped['goodput']:g} %"
    ttft = dumped["total"]["measures"]["ttft"]
    assert card(html, "time to the first token, p50") == format_duration(ttft["p50"])
    cells = [format_duration(ttft[name]) for name in ("p50", "p95", "p99", "max", "mean", "min")] + [str(ttft["count"])]
    row = "".join(f"<td>{cell}</td>" for cell in cells)
    assert f'<td class="text">time to the first token</td>{row}' in html


@each_row("waits", [[0.2], [0.0], [0.1] * 50, [n / 1000 for n in range(1, 2001)]])
def test_a_distribution_is_drawn_to_its_greatest_value(waits):
    """Whatever the values are: one, none but zero, all alike, many."""
    contents = [(1 + wait, 1.1 + wait) for wait in waits]
    run = result(*(exchange_record(contents=at, first_output=at[0], end_event=None, ended=4.0) for at in contents))
    first = next(found for found in distribution_charts([run], ["x"]) if "Time to the first token" in found)
    assert f"<small>max {format_duration(max(waits))}</small>" in first
    path, mark = re.search(
        r'<path class="s0" d="([^"]*)"/>(?:<circle.*?</circle>)*<path class="s0 end" d="M([\d. ]+)h', first
    ).groups()
    assert path.endswith(f"L{mark}")
    x, y = map(float, mark.split())
    assert 62 <= x <= 606
    assert 12 <= y <= 206
    assert "nan" not in first


def test_axes_make_sense_whatever_there_is_to_show():
    cases = [
        (0.0, 0.0),
        (1e-9, 1e-9),
        (0.2, 0.2),
        (0.0337, 0.0399),
        (1.0, 1.0),
        (1e-6, 3600.0),
        (0.0, 5.0),
        (36e-3, 36.1e-3),
    ]
    axes: list[tuple[object, Axis]] = [(case, logarithmic_axis(*case, format_duration)) for case in cases]
    axes += [(high, linear_axis(high, format_duration)) for high in (1e-3, 7.0, 1e6)] + [
        (most, percentile_axis(most)) for most in (0, 50, 99.9999)
    ]
    for case, axis in axes:
        written = [axis.show(tick) for tick in axis.ticks]
        assert 2 <= len(written) == len(set(written)) <= 7, (case, written)
        assert all(0 <= axis.relative_position(tick) <= 1 for tick in axis.ticks), case
        assert axis.relative_position(axis.high) == 1, case
    assert axes[3][1].high < 0.045  # not ten times what there is


def test_a_point_without_neighbours_is_a_dot():
    nan, axis = math.nan, linear_axis(1, format_number)
    found = chart("of a second", axis, axis, [Series("one", [(0.0, 1.0)], 1), Series("none", [(0.0, nan)], 2),
                                              Series("some", [(0, 1), (0.2, nan), (0.4, 1), (0.6, 0)], 3)])  # fmt: skip
    assert len(re.findall(r'<path class="s1 end" d="M[\d. ]+h.01"/>', found)) == 1
    assert len(re.findall(r'<path class="s3" d="M[\d. ]+L[\d. ]+"/><path class="s3 end"', found)) == 1
    assert 'd=""' not in found
    assert '<path class="s2 end"' not in found


def test_a_run_of_hours_is_drawn_in_few_points_that_lose_no_peak():
    timeline, wait = LoadTimeline(), Histogram()
    wait.add(0.1)
    for number in range(4 * 3600):
        second = timeline.second_at(number)
        second.started = second.whole = 5
        second.in_flight, second.lag = 3 + 90 * (number == 777), 0.5 * (number == 5001)
        second.ttft = wait if number % 2 else Histogram()
    timeline.merge(LoadTimeline())
    run = attrs.evolve(RUN, timeline=timeline, seconds=4 * 3600.0)
    size, found = timeline_spans(run.timeline)
    assert (size, len(found)) == (32, 450)
    assert {one.started for one in found} == {5}
    assert (max(one.in_flight for one in found), max(one.lag for one in found)) == (93, 0.5)
    assert not any(math.isnan(one.first_token(50)) for one in found)
    charts = "".join(timeline_charts(run))
    assert "Requests, a second, mean of 32 s" in charts
    assert ">2 h</text>" in charts
    assert len(page([run])) < 200_000


def test_answers_without_streams_and_runs_without_answers_have_a_whole_page():
    vectors = [
        attrs.evolve(
            record(planned=n / 10, contents=()), streamed=False, first_output=None, tokens=AnswerTokens(8, None)
        )
        for n in range(10)
    ]
    html = page([attrs.evolve(result(*vectors), elapsed=10.0)])
    assert card(html, "input tokens a second") == "8"
    assert "</b>tokens a second" not in html
    nothing = {"tally": Tally(), "requests": {}, "timeline": LoadTimeline(), "seconds": 0.0, "elapsed": 0.0}
    empty = attrs.evolve(RUN, stopped="errors>1% <b>", **nothing)
    html = page([empty])
    assert card(html, "errors") == "0"
    assert "Nothing was measured." in words(html)
    assert "ended early: errors&gt;1% &lt;b&gt;" in html


def test_the_page_reports_everything_that_the_summary_does():
    waits = Histogram()
    waits.extend([2.0, 3.0])
    run = attrs.evolve(RUN, probes=RUN.tally, retry_waits=waits, scenario={**RUN.scenario, "burst": {"size": 8}})
    html = words(page([run]))
    for line in (*describe_course(run), *describe_probes(run)):
        assert line in html
    assert "clients waited 2 times for retry-after, 5 s in total" in html
    assert "bursts begun within" in html
    assert "probes of one token during the load" in html
    assert f"{format_number(run.steady_tokens_per_second)} while requests arrived" in html


def test_loads_and_steps_are_tables_with_short_names():
    runs = [attrs.evolve(RUN, label=label) for label in ("5/s", "10/s")]
    html = page(runs)
    assert "<title>Load report: http://x</title>" in html
    assert html.index("<th>whole/s</th>") < html.index("<figure>")
    search = SearchReport("rate", "errors<1%", (STEP,), FoundLoad("at least", 4.0, None))
    found = page([attrs.evolve(RUN, search=search)])
    assert '<td class="text">held: &lt;b&gt;</td>' in found  # a reason, to the left
    assert found.index("at least 4 requests per second") < found.index("<figure>")
    assert re.findall(r'd="M0 4H24"/></svg>([^<]+)<', html)[:2] == ["5/s", "10/s"]


def test_it_can_be_read_on_a_telephone_at_night_and_on_paper():
    html = page([RUN])
    assert 'name="viewport"' in html
    for rule in ("screen and (prefers-color-scheme: dark)", "max-width: 40rem", "@media print", "break-inside: avoid"):
        assert rule in html
    assert html.count("<table>") == html.count('<div class="wide"><table>')  # it scrolls, and not the page
