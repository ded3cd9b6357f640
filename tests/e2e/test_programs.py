"""A small part of the client matrix: the programs of it that need no more than the SDKs of the development tools, each
before a provider of another API than its own. ``just clients`` drives all, with their real programs."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.command_line import environment
from tests.support.harness import PATIENCE, ROOT, Gateway, running
from tests.support.stand_in import AGAIN, FOUND, PLEASE, REPEATED, WORDS, StandIn
from tests.support.upstreams import serve_upstream

pytestmark = pytest.mark.process

PROGRAMS = ROOT / "tests/clients/programs"


@pytest.fixture(scope="module")
def upstream() -> Iterator[StandIn]:
    with serve_upstream(StandIn) as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    settings, port = upstream.settings()
    with running(settings, port, "--check-streams") as process:
        yield process


@pytest.mark.parametrize(
    ("program", "variant", "mode", "api"),
    [
        ("openai_python.py", "chat", "stream", "messages"),
        ("openai_python.py", "responses", "stream", "messages"),
        ("anthropic_python.py", "messages", "stream", "responses"),
        ("anthropic_python.py", "runner", "stream", "chat"),
    ],
)
def test_a_program_finds_out_what_the_boxes_hold_and_knows_it_afterwards(
    gateway, upstream, program, variant, mode, api
):
    upstream.refused.clear()
    logged = len(gateway.log)
    talk = {"GATEWAY": gateway.url, "MODEL": f"on-{api}", "PLEASE": PLEASE, "AGAIN": AGAIN, "WORDS": json.dumps(WORDS)}
    command = [sys.executable, PROGRAMS / program, variant, mode]
    done = subprocess.run(command, env=environment(talk), text=True, capture_output=True, timeout=6 * PATIENCE)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert (told["first"], told["second"]) == (FOUND, REPEATED)
    assert upstream.refused == []
    assert [line for line in gateway.log[logged:] if '"level":"warning"' in line] == []
