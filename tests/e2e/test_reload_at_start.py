"""Tests of SIGHUP while the gateway starts: it reloads as soon as it serves, and no process ends."""

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.command_line import COMMAND, environment
from tests.support.harness import START_SECONDS, config, eventually, free_port, provider, request
from tests.support.processes import workers as crew

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    ("workers", "moment"),
    [
        (1, "at_once"),
        pytest.param(2, "at_once", marks=pytest.mark.soak),
        pytest.param(2, "with_workers", marks=pytest.mark.soak),
    ],
)
def test_a_reload_during_the_start_ends_no_process(tmp_path, workers, moment):
    """Deployments send SIGHUP as soon as they have written the file."""
    port, file = free_port(), tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump(config([provider("openai/a", "http://127.0.0.1:1")], port)))
    command = [*COMMAND, "serve", str(file), "--workers", str(workers), "--log-format", "json"]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment({})
    ) as process:  # fmt: skip
        eventually(lambda: handles_or_blocks_sighup(process.pid), START_SECONDS)
        if moment == "with_workers":
            eventually(lambda: crew(process.pid), START_SECONDS)
        process.send_signal(signal.SIGHUP)
        banner = process.stdout.readline()
        assert re.match(r"trigate \S+ is listening on ", banner), banner
        assert request(f"http://127.0.0.1:{port}", "GET", "/readyz").status == 200
        eventually(lambda: messages_with(tmp_path / "log", "was reloaded"), START_SECONDS)
        process.terminate()
        assert process.wait(START_SECONDS) == 0
    assert not messages_with(tmp_path / "log", "ended with status")


def handles_or_blocks_sighup(pid: int) -> bool:
    """Return whether SIGHUP has a handler or is blocked; it is neither before Python itself has started."""
    status = Path(f"/proc/{pid}/status").read_text()
    sets = [int(status.split(name)[1].split()[0], 16) for name in ("SigCgt:", "SigBlk:")]
    return any(one >> (signal.SIGHUP - 1) & 1 for one in sets)


def messages_with(log: Path, what: str) -> list[str]:
    messages = [json.loads(line).get("message", "") for line in log.read_text().splitlines() if line.endswith("}")]
    return [message for message in messages if what in message]
