"""The file in which workers share their state where it is to be in memory, as seen from outside."""

import json
from pathlib import Path

import pytest

from gateway.open_store import WORKERS_FILE
from tests.support.command_line import Started, running_command
from tests.support.harness import START_SECONDS, config, eventually, free_port, provider
from tests.support.processes import workers

pytestmark = pytest.mark.process


@pytest.fixture
def written(tmp_path):
    def write(**more) -> str:
        settings = config([provider("openai/m", "http://127.0.0.1:9")], free_port(), **more)
        path = tmp_path / "trigate.yaml"
        path.write_text(json.dumps(settings))
        return str(path)

    return write


def shared_file(worker: int) -> str | None:
    """What the worker's environment says."""
    start = f"{WORKERS_FILE}="
    parts = Path(f"/proc/{worker}/environ").read_bytes().decode().split("\0")
    return next((part.removeprefix(start) for part in parts if part.startswith(start)), None)


def two_workers(supervisor: Started) -> set[int]:
    pids: set[int] = eventually(lambda: len(found := workers(supervisor.process.pid)) == 2 and found, START_SECONDS)
    return pids


@pytest.mark.parametrize(
    "more", [{}, pytest.param({"state_storage": {"type": "memory"}}, marks=pytest.mark.soak)], ids=["default", "memory"]
)
def test_workers_share_a_private_file_that_goes_when_they_have_gone(written, tmp_path, more):
    with running_command("serve", written(**more), "--workers", "2", env={"TMPDIR": str(tmp_path)}) as running:
        pids = two_workers(running)
        (name,) = {shared_file(pid) for pid in pids}
        assert name is not None
        directory = Path(name).parent
        assert directory.parent == tmp_path
        assert directory.stat().st_mode & 0o777 == 0o700
        assert running.stop() == 0
    assert not directory.exists()
    assert not any("memory" in line for line in running.log)
