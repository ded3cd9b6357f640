"""``pytest --fast``: which tests it omits, and that it stops a test that starts a process without its mark."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repository import ROOT

pytestmark = pytest.mark.process

STARTS = "import pytest, subprocess, trio\n\n{}\ndef test_it():\n    {}\n"
DEEDS = ("subprocess.run(['true'])", "__import__('os').system('true')", "trio.run(trio.run_process, ['true'])")


def run(file: Path, text: str) -> str:
    file.write_text(text)
    options = ("--fast", "-c", "pyproject.toml", "-p", "no:cacheprovider", "-p", "tests.conftest")
    command = [sys.executable, "-m", "pytest", "-q", *options]
    return subprocess.run([*command, file], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False).stdout


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "test_it.py"


@pytest.mark.parametrize("deed", DEEDS)
def test_what_starts_a_process_unmarked_is_stopped(file, deed):
    said = run(file, STARTS.format("", deed))
    assert "1 failed" in said
    assert "is marked with @pytest.mark.process" in said


@pytest.mark.parametrize("mark", ["process", "slow"])
def test_what_is_marked_is_left_out(file, mark):
    assert "1 deselected" in run(file, STARTS.format(f"@pytest.mark.{mark}", DEEDS[0]))


def test_the_rest_runs_and_may_use_sockets(file):
    listens = "__import__('socket').create_server(('127.0.0.1', 0)).close()"
    assert "1 passed" in run(file, STARTS.format("", listens))
