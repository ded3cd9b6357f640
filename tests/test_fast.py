"""Checks that ``pytest --fast`` omits tests by their marks, that a test needs a mark to start a process,
and that a sample has each value of its parameters."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

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

@pytest.mark.MARK
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("client", ["a", "b", "c"])
@pytest.mark.parametrize("number", [4, 5])
def test_sampled(client, stream, number): pass
"""


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

Run = Callable[..., tuple[dict[str, str], str]]


@pytest.fixture(scope="module")
def sessions() -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", SESSIONS]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.communicate(timeout=60)


@pytest.fixture
def outcomes(sessions, tmp_path) -> Run:
    def run(*options: str, cases: Sequence[str] = (), **programs: str) -> tuple[dict[str, str], str]:
        """Return the outcome of each test of ``programs`` that runs with ``options``, and pytest's output.

        With ``cases``, only these of the test with a sample run."""
        files = []
        for name, program in (programs or {"it": PROGRAM}).items():
            files.append(tmp_path / f"test_{name}.py")
            files[-1].write_text(program)
        fixed = ("-c", "pyproject.toml", "-p", "no:cacheprovider", "-p", "tests.conftest", "-rA", "-W", IMPORTED)
        wanted = [f"{files[0]}::test_sampled[{case}]" for case in cases] or map(str, files)
        print(json.dumps([*fixed, *options, *wanted]), file=sessions.stdin, flush=True)
        said = "".join(iter(sessions.stdout.readline, "ENDED\n"))
        found = re.findall(r"^(PASSED|FAILED|ERROR|SKIPPED) \S*::test_(\w+)", said, re.M)
        return {name: outcome for outcome, name in found}, said

    return run


CASES = 18


def passed_cases(said: str) -> set[str]:
    """Return the cases of the test with a sample that passed."""
    return {*re.findall(r"^PASSED \S*::test_sampled\[(.*)\]", said, re.M)}


def test_marked_tests_are_skipped_and_unmarked_processes_fail(outcomes):
    found, said = outcomes("--fast")
    del found["sampled"]
    assert found == {"subprocess": "FAILED", "system": "FAILED", "trio": "FAILED", "socket": "PASSED"}
    assert said.count("NotMarked: subprocess.Popen: a test that starts a process is marked with") >= 2
    assert f"{4 + CASES - len(passed_cases(said))} deselected" in said


def test_the_mark_server_is_for_programs_of_servers(outcomes):
    found, _ = outcomes()
    del found["sampled"]
    marked = {"process": "PASSED", "server": "PASSED", "server_and_another": "FAILED", "slow": "PASSED"}
    assert found == {
        "subprocess": "FAILED", "system": "FAILED", "trio": "FAILED", "socket": "PASSED", **marked,
    }  # fmt: skip


def test_a_sample_has_each_value_and_the_soak_has_the_other_cases(outcomes):
    _, said = outcomes("-k", "sampled")
    sample = passed_cases(said)
    assert CASES // 4 <= len(sample) <= CASES // 2
    assert {part for name in sample for part in name.split("-")} == {*"123xyzabc", "True", "False"}
    _, said = outcomes("-k", "sampled", "--soak", "-p", "randomly")
    assert len(passed_cases(said)) == CASES - len(sample)
    assert not passed_cases(said) & sample
    other = sorted(passed_cases(said))[0]
    for options in ((), ("--soak",)):
        _, said = outcomes(*options, cases=[other])
        assert passed_cases(said) == {other}, options


@pytest.mark.parametrize(
    ("mark", "sample"),
    [
        ('sample(2, by="place")', {"4-a-True", "4-b-False", "4-c-True", "5-a-False", "5-b-True", "5-c-False"}),
        ('sample(5, by="turns")', {"4-a-True", "4-c-False", "5-c-True"}),
    ],
)
def test_a_sample_by_position_has_these_cases_and_the_soak_has_the_others(outcomes, mark, sample):
    program = PLACED.replace("MARK", mark)
    _, said = outcomes(it=program)
    assert passed_cases(said) == sample
    _, said = outcomes("--soak", "-p", "randomly", it=program)
    others = passed_cases(said)
    assert (len(others), others & sample) == (12 - len(sample), set())
    for options in ((), ("--soak",)):
        _, said = outcomes(*options, cases=["5-a-True"], it=program)
        assert passed_cases(said) == {"5-a-True"}, options
