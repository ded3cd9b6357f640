"""Checks that ``pytest --fast`` omits tests by their marks, that a test needs a mark to start a process,
and that a sample has each value of its parameters."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.support.repository import ROOT

pytestmark = pytest.mark.process

PROGRAM = """
import os, pytest, socket, subprocess, trio

def test_subprocess(): subprocess.run(["true"])
def test_system(): os.system("true")
def test_trio(): trio.run(trio.run_process, ["true"])
def test_socket(): socket.create_server(("127.0.0.1", 0)).close()
@pytest.mark.process
def test_process(): subprocess.run(["true"])
@pytest.mark.server
def test_server(): subprocess.run(["cp", "--version"])
@pytest.mark.server
def test_server_and_another(): subprocess.run(["true"])
@pytest.mark.slow
def test_slow(): pass
@pytest.mark.sample(4)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("client", ["a", "b", "c"])
@pytest.mark.parametrize(("row", "text"), [(1, "x"), (2, "y"), (3, "z")])
def test_sampled(client, stream, row, text): pass
"""

PLACED = """
import pytest

stream = pytest.mark.parametrize("stream", [True, False])
client = pytest.mark.parametrize("client", ["a", "b", "c"])
number = pytest.mark.parametrize("number", [4, 5])

@pytest.mark.sample(2, by="place")
@stream
@client
@number
def test_placed(client, stream, number): pass

@pytest.mark.sample(5, by="turns")
@stream
@client
@number
def test_turned(client, stream, number): pass
"""
EVERY_SECOND = {"4-a-True", "4-b-False", "4-c-True", "5-a-False", "5-b-True", "5-c-False"}
EVERY_FIFTH = {"4-a-True", "4-c-False", "5-c-True"}


SESSIONS = """
import json, os, sys
import hypothesis, pytest, trio
import tests.support.certificates, tests.support.harness, tests.support.upstreams
for line in sys.stdin:
    if (pid := os.fork()) == 0:
        pytest.main(json.loads(line))
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)
    print("\\nENDED", flush=True)
"""
"""A program that forks a process for each run of pytest, because the imports take most of its time."""

IMPORTED = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"
UNUSED = ("-p", "no:anyio", "-p", "no:pytest_httpserver")
CASES = 18
MARKED = {"process": "PASSED", "server": "PASSED", "server_and_another": "FAILED", "slow": "PASSED"}
UNMARKED = {"subprocess": "FAILED", "system": "FAILED", "trio": "FAILED", "socket": "PASSED"}

Run = Callable[..., str]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Iterator[Run]:
    """Return a function that runs both programs with ``options``, or only ``cases`` of them, and returns the output."""
    folder = tmp_path_factory.mktemp("programs")
    programs = {folder / "test_it.py": PROGRAM, folder / "test_placed.py": PLACED}
    for file, program in programs.items():
        file.write_text(program)
    sampled, placed = programs
    files = {"sampled": sampled, "placed": placed, "turned": placed}
    command = [sys.executable, "-c", SESSIONS]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def run(*options: str, cases: Mapping[str, str] | None = None) -> str:
            fixed = (
                "-c",
                "pyproject.toml",
                "-p",
                "no:cacheprovider",
                "-p",
                "tests.conftest",
                "-rA",
                "--tb=line",
                *UNUSED,
                "-W",
                IMPORTED,
            )
            wanted = [f"{files[name]}::test_{name}[{case}]" for name, case in (cases or {}).items()]
            print(json.dumps([*fixed, *options, *(wanted or map(str, programs))]), file=process.stdin, flush=True)
            return "".join(iter(process.stdout.readline, "ENDED\n"))

        yield run
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def gate(run) -> str:
    return run()


def outcomes(said: str) -> dict[str, str]:
    """Return the outcome of each test without parameters."""
    return {name: outcome for outcome, name in re.findall(r"^(PASSED|FAILED) \S*::test_(\w+)(?!\w|\[)", said, re.M)}


def passed_cases(said: str, name: str) -> set[str]:
    """Return the cases of a test with a sample that passed."""
    return {*re.findall(rf"^PASSED \S*::test_{name}\[(.*)\]", said, re.M)}


def test_marked_tests_are_skipped_and_unmarked_processes_fail(run):
    said = run("--fast")
    assert outcomes(said) == UNMARKED
    assert said.count("NotMarked: subprocess.Popen: a test that starts a process is marked with") >= 2
    left_out = CASES - len(passed_cases(said, "sampled")) + 12 - len(EVERY_SECOND) + 12 - len(EVERY_FIFTH)
    assert f"{4 + left_out} deselected" in said


def test_the_mark_server_is_for_programs_of_servers(gate):
    assert outcomes(gate) == {**UNMARKED, **MARKED}


def test_a_sample_has_each_value_and_the_soak_has_the_other_cases(run, gate):
    sample, placed, turned = (passed_cases(gate, name) for name in ("sampled", "placed", "turned"))
    assert CASES // 4 <= len(sample) <= CASES // 2
    assert {part for name in sample for part in name.split("-")} == {*"123xyzabc", "True", "False"}
    assert placed == EVERY_SECOND, "each pair of values"
    assert turned == EVERY_FIFTH
    said = run("--soak", "-p", "randomly")
    others, unplaced, unturned = (passed_cases(said, name) for name in ("sampled", "placed", "turned"))
    assert (len(others), others & sample) == (CASES - len(sample), set())
    assert (len(unplaced), unplaced & placed) == (12 - len(EVERY_SECOND), set())
    assert (len(unturned), unturned & turned) == (12 - len(EVERY_FIFTH), set())
    cases = {"sampled": min(others), "placed": "5-a-True", "turned": "5-a-True"}
    for options in ((), ("--soak",)):
        said = run(*options, cases=cases)
        assert {name: passed_cases(said, name) for name in cases} == {name: {case} for name, case in cases.items()}, (
            options
        )
