"""The reference of the load tester: its scenario is accepted, and its tables have every key."""

import json
import re
from collections.abc import Iterator
from typing import Any

import attrs

from configfile.document import read
from loadtest.exchange.record import Problem
from loadtest.figures.conditions import judge_conditions, parse_condition
from loadtest.figures.histogram import Histogram
from loadtest.figures.tally import COUNTS, MEASURES, Tally
from loadtest.plan.load_request import LoadRequest
from loadtest.plan.raw_scenario import RawScenario
from loadtest.plan.scenario_file import build_scenario
from loadtest.reports.report_file import dump
from loadtest.run.overhead import Overhead, SelfTest
from loadtest.run.search import FoundLoad, SearchReport, SearchStep
from tests.support.doc_blocks import blocks_in
from tests.support.each_row import each_row
from tests.support.harness import ROOT
from tests.support.load_records import record, result

AROUND = """\
targets: {gateway: http://x, provider: http://y}
rate: 1
requests: [{model: demo}, {model: demo, api: messages}]
"""
PAGE = (ROOT / "docs" / "load-reference.md").read_text()


def table(begins: str) -> dict[str, str]:
    """Return the keys of the first table after ``begins``, with their defaults."""
    lines = PAGE.partition(begins)[2].partition("|---|")[2].partition("\n\n")[0].splitlines()[1:]
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    return {key.strip("`"): default.strip("`") for _, key, default, *_ in cells}


def test_each_scenario_is_good():
    whole = [text for text in blocks_in(PAGE, "yml") if "targets:" in text]
    parts = [text for text in blocks_in(PAGE, "yml") if text not in whole]
    (text,) = whole
    plan = build_scenario(read(text.encode(), "scenario.yml"), {})
    assert len(plan.requests) == 5
    assert all(parse_condition(condition) for condition in plan.fail_if)
    for part in parts:
        build_scenario(read((AROUND + part).encode(), "part.yml"), {})


@each_row(("begins", "kind"), [("Keys of a scenario:", RawScenario), ("Keys of a request:", LoadRequest)])
def test_the_tables_have_every_key(begins, kind):
    assert set(table(begins)) == {field.name for field in attrs.fields(kind)}


def members(value: Any) -> Iterator[str]:
    """Yield the members of a report, but for those of a scenario and those that are names."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            if name in ("requests", "turns", "steps", "processes") and isinstance(inner, dict):
                yield from (member for one in inner.values() for member in members(one))
            elif name not in ("scenario", "finishes", "versions", "missed", "waived"):
                yield from members(inner)
    elif isinstance(value, list):
        yield from (member for one in value for member in members(one))


def test_the_tables_have_every_member_of_a_report():
    step = SearchStep(1.0, "climb", "held", "", 5.0, 6, 6, 1.0, 1.0, 0.1, 0.2, 0.3, 0.4, 1)
    failed = record(end="error", problem=Problem("cut", "stream", "x"), retry_after=1.0)
    routed = record(route=tuple({
        "x-trigate-target": "openai-a/m", "x-trigate-attempts": "1", "x-trigate-cache": "hit", "x-trigate-cost": "0.01",
        "x-trigate-limit": "requests",
    }.items()))  # fmt: skip
    own = Overhead(Histogram(), Histogram(), 0.1, SelfTest(1, 1, 1, 1))
    run = result(
        record(), failed, routed, turns={1: Tally()}, steps={1: Tally()}, probes=result(record()).tally,
        search=SearchReport("rate", "rule", (step,), FoundLoad("found", 1.0, 2.0)),
        overhead=attrs.evolve(own, parts={"process 1": own}),
    )  # fmt: skip
    report = json.loads(dump([run], "requests.jsonl", judge_conditions([parse_condition("errors>0")], [run])))
    tables = PAGE.partition("## JSON report")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`([a-z0-9_]+)`", tables)) | set(MEASURES)
    assert set(members(report)) - listed == set()


def test_the_defaults_in_the_tables_are_the_real_ones():
    written = {**table("Keys of a request:"), **table("Keys of a scenario:")}
    bare = build_scenario(read(b"url: http://x\nrate: 1\nrequests: [{model: m}]", "s.yml"), {})
    first = bare.requests[0]
    lengths = {"prompt": first.prompt.mean, "output": first.output.mean}
    shown = {**attrs.asdict(bare), **attrs.asdict(first), **lengths}
    for key, default in written.items():
        if default and key != "name":
            assert default == spelled(shown[key]), key


def spelled(value: object) -> str:
    """Return ``value`` as YAML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_every_measure_and_count_is_explained():
    rows = re.findall(r"^\| (`.*?`) \|", PAGE, re.MULTILINE)
    assert set(MEASURES) <= {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    for name in COUNTS:
        assert f"`{name if name != 'error' else 'errors'}`" in PAGE
