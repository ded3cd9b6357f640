"""The public benchmark: it runs, its output is complete, and its fitted lines are correct."""

import json
import subprocess
import sys

import pytest

from bench.comparison import Comparison
from bench.line import Line
from tests.support.harness import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmark reads Linux's /proc")

QUICK = ("--rounds", "1", "--seconds", "0.1")


def bench(folder, *options: str) -> tuple[str, list[dict]]:
    """Run the benchmark, and return its output and its figures."""
    command = [sys.executable, "bench/run.py", *QUICK, *options, "--json", str(folder / "figures.json")]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert not said.returncode, said.stderr
    return said.stdout, json.loads((folder / "figures.json").read_text())


def rows(printed: str) -> list[list[str]]:
    """Return the cells of the printed table."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines()]
    assert len({len(line) for line in cells}) == 1
    return cells[2:]


SIZES = ("--seconds", "0.1", "--keys", "3", "--models", "3", "--rows", "3")
PROMPTS = ("--sizes", "4", "--rounds", "2", "--events")


@pytest.mark.process
@pytest.mark.soak
@pytest.mark.parametrize(
    ("program", "options", "first", "figures"),
    [
        ("prompt_caches", (*PROMPTS, "0"), "byte", slice(2, 5, 2)),
        ("prompt_caches", (*PROMPTS, "2"), "byte", slice(2, 5, 2)),
        ("steps", ("--events",), "chat, byte", slice(1, None)),
        ("steps", (), "none", slice(1, None)),
        ("steps", ("--texts",), "prose", slice(1, None)),
        ("sizes", SIZES, "one key, one model", slice(3, 4)),
    ],
)
def test_other_costs_are_measured(program, options, first, figures):
    command = [sys.executable, f"bench/{program}.py", "--rounds", "1", *options]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert not said.returncode, said.stderr
    found = rows(said.stdout)
    assert found[0][0] == first
    assert all(float(cell.split()[0]) > 0 for row in found for cell in row[figures])


@pytest.mark.parametrize(
    ("this", "verdict"),
    [
        pytest.param((5, 6, 5, 6, 7, 5), "less", id="less in every round"),
        pytest.param((12, 13, 12, 11, 14, 12), "more", id="more in every round"),
        pytest.param((9, *[12] * 10), "more", id="more in all rounds but one of eleven"),
        pytest.param((9, 9, *[12] * 9), "noise", id="more in nine of eleven rounds"),
        pytest.param((5, 6, 5, 6, 7), "noise", id="too few rounds to exclude chance"),
        pytest.param((8, 12, 9, 13), "noise", id="rounds disagree"),
        pytest.param((9.9,) * 8, "noise", id="within two per cent"),
    ],
)
def test_two_revisions_differ_only_if_most_rounds_agree(this, verdict):
    assert Comparison("unary", "ms", this, (10.0,) * len(this)).verdict == verdict


@pytest.mark.process
@pytest.mark.soak
def test_the_working_tree_is_compared_with_another_revision(tmp_path):
    options = "--python", sys.executable, "--cases", "unary,start", "--json", str(tmp_path / "figures.json")
    command = [sys.executable, "bench/before.py", "HEAD", *QUICK, *options]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert not said.returncode, said.stderr
    names = ["unary", "start", "start CPU", "memory"]
    assert [row[0] for row in rows(said.stdout)] == names
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [one["case"] for one in figures] == names
    assert all(min(*one["this"], *one["before"]) > 0 for one in figures)


@pytest.mark.process
@pytest.mark.soak
def test_a_case_costs_cpu_time(tmp_path):
    printed, (figures, relay) = bench(tmp_path, "--cases", "burst")
    assert [row[:2] for row in rows(printed)] == [["burst", "trigate"], ["burst", "bare relay"]]
    assert 0 < relay["cpu_ms"] < figures["cpu_ms"]
    assert figures["case"] == "burst"
    assert 0 < figures["cpu_event"] / 1000 < figures["cpu_ms"]
    assert figures["rate"] > 0
    assert figures["p99_ms"] >= figures["p50_ms"] > 0
    assert figures["memory"] > 10  # a Python process


@pytest.mark.process
def test_an_unknown_case_is_rejected_with_all_names():
    said = subprocess.run(
        [sys.executable, "bench/run.py", "--cases", "brust"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert said.returncode == 1
    assert "No case is called brust: choose from unary, " in said.stderr


@pytest.mark.process
@pytest.mark.soak
def test_growth_is_measured_and_fitted(tmp_path):
    printed, (used, held) = bench(tmp_path, "--growth", "--cases", "streams", "--streams", "4,8", "--seconds", "1")
    titles = ["Concurrent streams: CPU time in each second", "Concurrent streams: memory of the worker"]
    assert [row[0] for row in rows(printed)] == titles
    assert [x for x, _ in used["points"]] == [x for x, _ in held["points"]] == [4, 8]
    for figures in (used, held):
        assert all(y > 0 for _, y in figures["points"])


def test_a_fitted_line_minimizes_the_squared_errors():
    assert Line.through([(1, 3), (2, 5), (3, 7)]) == pytest.approx((2, 1, 0))
    assert Line.through([(0, 1), (1, 1), (2, 4)]).off == pytest.approx(1)
