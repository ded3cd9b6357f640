"""The page about load tests: its scenario is accepted, and its tables have every key."""

import re

import attrs
import pytest

from gateway.config.document import read
from gateway.loadtest.figures.conditions import parse
from gateway.loadtest.figures.tally import COUNTS, MEASURES
from gateway.loadtest.plan.load_request import LoadRequest
from gateway.loadtest.plan.raw_scenario import RawScenario
from gateway.loadtest.plan.scenario_file import build
from tests.support.doc_blocks import fenced
from tests.support.harness import ROOT

AROUND = """\
targets: {gateway: http://x, provider: http://y}
rate: 1
requests: [{model: demo}, {model: demo, api: messages}]
"""
PAGE = (ROOT / "docs" / "load.md").read_text()


def table(begins: str) -> dict[str, str]:
    """The keys of the first table behind ``begins``, with their defaults."""
    lines = PAGE.partition(begins)[2].partition("|---|")[2].partition("\n\n")[0].splitlines()[1:]
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    return {key.strip("`"): default.strip("`") for _, key, default, *_ in cells}


def test_each_scenario_is_good():
    whole = [text for text in fenced(PAGE, "yml") if "targets:" in text]
    parts = [text for text in fenced(PAGE, "yml") if text not in whole]
    (text,) = whole
    plan = build(read(text.encode(), "scenario.yml"), {})
    assert len(plan.requests) == 5
    assert all(parse(condition) for condition in plan.fail_if)
    for part in parts:
        build(read((AROUND + part).encode(), "part.yml"), {})


@pytest.mark.parametrize(
    ("begins", "kind"), [("take the place of its own", RawScenario), ("and of a request", LoadRequest)]
)
def test_the_tables_have_every_key(begins, kind):
    assert set(table(begins)) == {field.name for field in attrs.fields(kind)}


def test_the_defaults_in_the_tables_are_the_real_ones():
    written = {**table("and of a request"), **table("take the place of its own")}
    bare = build(read(b"url: http://x\nrate: 1\nrequests: [{model: m}]", "s.yml"), {})
    first = bare.requests[0]
    lengths = {"prompt": first.prompt.mean, "output": first.output.mean}
    shown = {**attrs.asdict(bare), **attrs.asdict(first), **lengths}
    for key, default in written.items():
        if default and key != "name":
            assert default == spelled(shown[key]), key


def spelled(value: object) -> str:
    """As one would write it in YAML."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_every_measure_and_count_is_explained():
    rows = re.findall(r"^\| (`.*?`) \|", PAGE, re.MULTILINE)
    assert set(MEASURES) <= {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    for name in COUNTS:
        assert f"`{name if name != 'error' else 'errors'}`" in PAGE
