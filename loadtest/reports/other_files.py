"""Reports in the formats of other tools: ``--csv``, ``--junit`` and ``--as vllm``."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from xml.etree import ElementTree

import msgspec

from loadtest.exchange.plain_text import plain_text
from loadtest.figures.conditions import ConditionVerdict
from loadtest.figures.histogram import Histogram
from loadtest.figures.measures import MEASURES
from loadtest.figures.result import RunResult
from loadtest.figures.tally import COUNTS, Tally

ALL: Final = ""  # the kind for all requests together
_UNITS: Final = {"s": "_seconds"}  # suffixes for names without a unit


def csv_of(runs: Sequence[RunResult]) -> bytes:
    """Return the CSV file. Single numbers are in the column ``value``, distributions in the later columns."""
    percentiles = sorted({percent for run in runs for percent in run.percentiles})
    head = ["target", "kind", "name", "value", "count", "min", "mean", "stdev"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*head, *(f"p{percent:g}" for percent in percentiles), "max"])
    for run in runs:
        writer.writerows(_csv_rows(run, percentiles))
    return text.getvalue().encode()


def _csv_rows(run: RunResult, percentiles: Sequence[float]) -> Iterator[list[Any]]:
    empty = [None] * (5 + len(percentiles))
    for name, value in _rate_figures(run):
        yield [run.name, ALL, name, value, *empty]
    for kind, tally in {ALL: run.tally, **run.requests}.items():
        for name, count in _count_figures(tally):
            yield [run.name, kind, name, count, *empty]
        for name, measure in MEASURES.items():
            yield [
                run.name,
                kind,
                name + _UNITS.get(measure.unit, ""),
                None,
                *_percentile_values(tally, name, percentiles),
            ]


def _rate_figures(run: RunResult) -> Iterable[tuple[str, float]]:
    yield "offered_per_second", run.rate
    yield "completed_per_second", run.completed_rate
    yield "good_per_second", run.goodput_rate
    yield "tokens_per_second_in_all", run.tokens_per_second
    yield "tokens_per_second_steady", run.steady_tokens_per_second


def _count_figures(tally: Tally) -> Iterable[tuple[str, float | None]]:
    yield from ((name, tally.counts[name]) for name in COUNTS)
    yield "goodput", tally.goodput


def _percentile_values(tally: Tally, name: str, percentiles: Sequence[float]) -> list[float | None]:
    found = tally.measures[name]
    if not found.count:
        return [0, *[None] * (4 + len(percentiles))]
    told = (found.least, found.mean, found.deviation, *map(found.percentile, percentiles), found.most)
    return [found.count, *(round(value, 6) for value in told)]


def junit(runs: Sequence[RunResult], verdicts: Sequence[ConditionVerdict]) -> bytes:
    """Return the JUnit file."""
    root = ElementTree.Element("testsuites", name="trigate load")
    for run in runs:
        stopped = (run.target or run.url) if run.stopped else ""  # `--until` does not know the labels of runs
        of_run = [one for one in verdicts if one.run in (run.name, stopped)]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=plain_text(run.name),
            tests=str(len(of_run)),
            failures=str(sum(not one.ok for one in of_run)),
            errors="0",
            skipped="0",
            time=f"{run.elapsed:.3f}",
            timestamp=run.started,
        )
        for one in of_run:
            _add_case(suite, run, one)
    for name in ("tests", "failures"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    ElementTree.indent(root)
    return b"%b\n" % ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _add_case(suite: ElementTree.Element, run: RunResult, verdict: ConditionVerdict) -> None:
    condition = plain_text(verdict.condition)
    case = ElementTree.SubElement(suite, "testcase", classname=plain_text(run.name), name=f"not {condition}", time="0")
    if not verdict.ok:
        ElementTree.SubElement(case, "failure", type="condition", message=plain_text(verdict.failure))


_NAMES: Final[Mapping[str, Sequence[str]]] = {
    "ttft": ("ttft",),
    "tpot": ("tpot",),
    "itl": ("gap",),
    "e2el": ("last_token", "duration"),  # whole answers only have the second
}


def as_vllm(runs: Sequence[RunResult]) -> bytes:
    """Return vLLM's JSON: an object for one run, as there, or a list for several."""
    found = [_vllm_values(run) for run in runs]
    return msgspec.json.format(msgspec.json.encode(found[0] if len(found) == 1 else found), indent=1)


def _vllm_values(run: RunResult) -> dict[str, Any]:
    tally, seconds = run.tally, run.elapsed
    tokens = tally.tokens + tally.input_tokens
    requests = run.scenario.get("requests") or [{}]

    def each_second(value: float) -> float | None:
        return value / seconds if seconds else None

    return {
        "date": run.started,
        "target": run.name,
        "model_id": requests[0].get("model"),
        "num_prompts": tally.counts["started"],
        "request_rate": run.rate if run.scenario.get("steps") else "inf",
        "max_concurrency": run.scenario.get("concurrency") or None,
        "duration": seconds,
        "completed": tally.counts["whole"],
        "failed": tally.counts["started"] - tally.counts["whole"],
        "total_input_tokens": tally.input_tokens,
        "total_output_tokens": tally.tokens,
        "request_throughput": each_second(tally.counts["whole"]),
        "request_goodput": each_second(tally.counts["good"]) if run.scenario.get("slo") else None,
        "output_throughput": each_second(tally.tokens),
        "total_token_throughput": each_second(tokens),
        **dict(_time_figures(run)),
    }


def _time_figures(run: RunResult) -> Iterator[tuple[str, float | None]]:
    for name, measures in _NAMES.items():
        there = (run.tally.measures[measure] for measure in measures)
        histogram = next((found for found in there if found.count), Histogram())
        figures = {"mean": histogram.mean, "median": histogram.percentile(50), "std": histogram.deviation}
        figures |= {f"p{percent:g}": histogram.percentile(percent) for percent in (99, *run.percentiles)}
        for figure, value in figures.items():
            yield f"{figure}_{name}_ms", 1000 * value if histogram.count else None
