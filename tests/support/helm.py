"""Helm, where this machine has it: the chart in ``deploy/helm`` is rendered by the real program."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.repository import ROOT

CHART = ROOT / "deploy/helm/trigate"
MISSING = "needs Helm (https://helm.sh/docs/intro/install)"


def helm(*arguments: str | Path) -> str:
    """Return what ``helm`` prints. Skips the test where there is no Helm, and fails it where Helm fails."""
    program = shutil.which("helm")
    if program is None:
        pytest.skip(MISSING)
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
