"""The command that attacks a gateway beside a measured stream: it runs, and what it measures is what it says."""

import subprocess
import sys

import pytest

from tests.support.repository import ROOT

pytestmark = pytest.mark.process

COLUMNS = ("attack", "sent", "late", "small", "large", "refused")


@pytest.mark.soak
def test_an_attack_is_reported_with_what_another_client_felt_of_it():
    command = [sys.executable, "tests/attacks.py", "--only", "schema", "poisoned"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()[1:]]
    felt = {line[0]: dict(zip(COLUMNS[1:], map(int, line[1:6]), strict=True)) for line in lines}
    assert felt.keys() == {"schema", "poisoned"}
    assert felt["schema"]["late"] < 2000  # 60 kB that once held all streams up for six seconds
    assert [line["refused"] for line in felt.values()] == [0, 0]
    assert "bob's request has lost []" in done.stdout
