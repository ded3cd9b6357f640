"""Checks that ``pytest --fast`` omits tests by their marks, and that a test needs a mark to start a process."""

import re
import subprocess
import sys
from pathlib import Path

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
"""


def outcomes(folder: Path, *options: str) -> tuple[dict[str, str], str]:
    """Return the outcome of each test of ``PROGRAM`` that runs with ``options``, and pytest's output."""
    file = folder / "test_it.py"
    file.write_text(PROGRAM)
    fixed = ("-c", "pyproject.toml", "-p", "no:cacheprovider", "-p", "tests.conftest", "-rA")
    command = [sys.executable, "-m", "pytest", *fixed, *options, file]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False).stdout
    found = re.findall(r"^(PASSED|FAILED) \S*::test_(\w+)", said, re.M)
    return {name: outcome for outcome, name in found}, said


def test_marked_tests_are_skipped_and_unmarked_processes_fail(tmp_path):
    found, said = outcomes(tmp_path, "--fast")
    assert found == {"subprocess": "FAILED", "system": "FAILED", "trio": "FAILED", "socket": "PASSED"}
    assert said.count("NotMarked: subprocess.Popen: a test that starts a process is marked with") >= 2
    assert "4 deselected" in said


def test_the_mark_server_is_for_programs_of_servers(tmp_path):
    found, _ = outcomes(tmp_path)
    marked = {"process": "PASSED", "server": "PASSED", "server_and_another": "FAILED", "slow": "PASSED"}
    assert found == {
        "subprocess": "FAILED", "system": "FAILED", "trio": "FAILED", "socket": "PASSED", **marked,
    }  # fmt: skip
