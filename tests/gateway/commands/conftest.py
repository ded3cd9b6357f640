"""Fixtures that the tests of commands share."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.commands.client import KEY_VARIABLE
from tests.support.command_line import Finished, invoke, script

ELSEWHERE = (
    "ANTHROPIC_API_KEY", "CLAUDE_CONFIG_DIR", "CODEX_HOME", "LLM_USER_PATH", "TRIGATE_CONFIG", "XDG_CONFIG_HOME",
    KEY_VARIABLE,
)  # fmt: skip


@pytest.fixture
def home(tmp_path, tmp_path_factory, monkeypatch) -> Path:
    """Return an empty home directory, which is also the current one, with no environment variable for another place."""
    for name in ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run_connect(home) -> Callable[..., Finished]:
    """Return a function that runs ``trigate connect WORDS`` in the home directory, with ``program`` on the path."""

    def run(*words: str, program: str = "", **env: str) -> Finished:
        if program:
            script(home, program, "")
        return invoke(
            "connect", *words, cwd=home, env={"HOME": str(home), "PATH": f"{home}:{os.environ['PATH']}", **env}
        )

    return run
