"""A small part of the client matrix: the programs of it that need no more than the SDKs of the development tools, each
before a provider of another API than its own. ``just clients`` drives all, with their real programs."""

import contextlib
import io
import json
import os
import runpy
import sys
from collections.abc import Iterator, Mapping
from unittest import mock

import pytest

from tests.support.command_line import environment
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import ROOT, Gateway
from tests.support.stand_in import AGAIN, FOUND, PLEASE, REPEATED, WORDS, StandIn
from tests.support.upstreams import serve_upstream

PROGRAMS = ROOT / "tests/clients/programs"


@pytest.fixture(scope="module")
def upstream() -> Iterator[StandIn]:
    with serve_upstream(StandIn) as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    settings, port = upstream.settings()
    with gateway_thread(settings, port, check_streams=True) as served:
        yield served


def run_program(name: str, *args: str, env: Mapping[str, str]) -> str:
    """Return the output of a program, which runs in this process because its SDK takes longest to import."""
    with (
        mock.patch.dict(os.environ, environment(env), clear=True),
        mock.patch.object(sys, "argv", [name, *args]),
        mock.patch.object(sys, "path", [str(PROGRAMS), *sys.path]),
        contextlib.redirect_stdout(io.StringIO()) as output,
    ):
        sys.modules.pop("talk", None)  # it reads the environment
        members = runpy.run_path(str(PROGRAMS / name), run_name="__main__")
    members["client"].close()
    return output.getvalue()


@pytest.mark.sample(2)
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
    told = json.loads(run_program(program, variant, mode, env=talk))
    assert (told["first"], told["second"]) == (FOUND, REPEATED)
    assert upstream.refused == []
    assert [line for line in gateway.log[logged:] if '"level":"warning"' in line] == []
