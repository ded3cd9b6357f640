"""SIGHUP while the gateway starts: it reloads once it serves, and nothing ends of it."""

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.command_line import COMMAND, environment
from tests.support.harness import START_SECONDS, config, eventually, free_port, provider, request


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("moment", [0.2, 0.6, 1.2])
def test_a_reload_while_it_starts_ends_nothing(tmp_path, workers, moment):
    """Deployments send one as soon as they have written the file; the moments are those of imports and of workers."""
    port, file = free_port(), tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump(config([provider("openai/a", "http://127.0.0.1:1")], port)))
    command = [*COMMAND, "serve", str(file), "--workers", str(workers), "--log-format", "json"]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment({})
    ) as process:  # fmt: skip
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(moment)
        process.send_signal(signal.SIGHUP)
        assert process.stdout is not None
        banner = process.stdout.readline()
        assert re.match(r"trigate \S+ is listening on ", banner), banner
        assert request(f"http://127.0.0.1:{port}", "GET", "/readyz", timeout=2).status == 200, "it answers at once"
        eventually(lambda: told(tmp_path / "log", "is reloaded"), START_SECONDS)
        process.terminate()
        assert process.wait(START_SECONDS) == 0
    assert not told(tmp_path / "log", "ended with status")


def told(log: Path, what: str) -> list[str]:
    messages = [json.loads(line).get("message", "") for line in log.read_text().splitlines() if line.endswith("}")]
    return [message for message in messages if what in message]
