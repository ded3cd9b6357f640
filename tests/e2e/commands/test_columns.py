"""What commands print on a narrow terminal: names stay whole."""

import fcntl
import os
import struct
import subprocess
import termios

import pytest

from tests.support.command_line import COMMAND, environment, invoke
from tests.support.harness import STOP_SECONDS

COLUMNS = 60
CONFIG = """
version: v0.3.0
listeners: [{type: model, name: models, port: 12000}]
model_providers:
  - {model: openai/gpt-4o-mini, access_key: any}
  - {model: "openai/*", access_key: any}
  - {model: "anthropic/*", access_key: any}
model_aliases:
  fast: {target: gpt-4o-mini}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "trigate.yaml").write_text(CONFIG)
    return tmp_path


@pytest.mark.soak
@pytest.mark.process
def test_the_banner_breaks_no_name(folder):
    here, there = os.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0"],
        cwd=folder,
        env=environment({"NO_COLOR": "1"}),
        stdout=there,
        stderr=subprocess.DEVNULL,
    )
    os.close(there)
    try:
        said = b""
        while b"/ui" not in said:
            said += os.read(here, 4096)
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
        os.close(here)
    assert b"\x1b[" not in said
    models = said.decode().partition("models  ")[2].partition("try ")[0].splitlines()
    assert len(models) > 2
    assert all(len(line) <= COLUMNS for line in ("models  " + models[0], *models[1:]))
    assert all(line.startswith(" " * len("models  ")) for line in models[1:])


def test_an_unknown_model_is_reported_with_the_entries_of_the_file(folder):
    """Not with all ids that its wildcards are known to have."""
    found = invoke("explain", "nope", "--no-env", cwd=folder)
    assert found.returncode == 2
    assert (
        found.stderr.splitlines()[-1]
        == "trigate.yaml has these models: openai/gpt-4o-mini, openai/*, anthropic/*, fast"
    )
