"""What commands import, and the memory that a plain gateway takes, counted in a fresh process.

Seconds say nothing on a machine that others use, too. Whoever imports more for a reason raises the number; whoever
imports less lowers it.
"""

import functools
import json
import mmap
import subprocess
import sys

import pytest

from tests.support.harness import ROOT

SPARE = 1.02
"""By how much a number of modules may be exceeded: versions of Python and of libraries differ."""

PLAIN = {
    "version": "v0.3.0",
    "model_providers": [
        {"model": "openai/gpt-6", "access_key": "a", "default": True},
        {"model": "mistral/m", "access_key": "b"},
        {"model": "anthropic/claude-opus-6", "access_key": "c", "speaks": ["messages"]},
    ],
}
TOLD = """
import json, pathlib, sys
pages = pathlib.Path("/proc/self/statm")
print(json.dumps([[*sys.modules], int(pages.read_text().split()[1]) if pages.exists() else 0]))
"""
SERVE = f"""
import gateway.__main__, gateway.commands.serve
from gateway.app import create_app
from gateway.config.loading import from_mapping
create_app(from_mapping({PLAIN!r}))
{TOLD}
"""
CHECK = f"""
import gateway.__main__, gateway.commands.check
from gateway.config.loading import from_mapping
from_mapping({PLAIN!r})
{TOLD}
"""
HELP = f"import gateway.__main__\n{TOLD}"
SCHEMA = f"import gateway.__main__, gateway.commands.schema\n{TOLD}"
EXPLAIN = f"import gateway.__main__, gateway.commands.explaining\n{TOLD}"
CLIENTS = f"import gateway.__main__, gateway.commands.clients\n{TOLD}"

pytestmark = pytest.mark.process


@functools.cache
def run(code: str) -> tuple[list[str], float]:
    """Return the modules and the MiB of memory after ``code``."""
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert not said.returncode, said.stderr
    modules, pages = json.loads(said.stdout)
    return modules, pages * mmap.PAGESIZE / 2**20


@pytest.mark.parametrize(
    ("code", "modules"),
    [
        pytest.param(SERVE, 881, id="serve"),
        pytest.param(CHECK, 352, id="check", marks=pytest.mark.soak),
        pytest.param(SCHEMA, 284, id="schema", marks=pytest.mark.soak),
        pytest.param(EXPLAIN, 561, id="explain", marks=pytest.mark.soak),
        pytest.param(CLIENTS, 144, id="connect --list"),
        pytest.param(HELP, 121, id="help"),
    ],
)
def test_a_command_imports_what_it_needs(code, modules):
    assert len(run(code)[0]) <= modules * SPARE


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_a_plain_gateway_takes_little_memory():
    assert 10 < run(SERVE)[1] <= 57


@pytest.mark.parametrize(
    "name",
    [
        "quart",
        "gateway.relay.audio",
        "gateway.realtime.serving",
        "providers.gemini.reader",
        "gateway.steps",
        "trigate",
        "gateway.people",
        "gateway.config.issuer_checks",
        "jwt",
        "prometheus_client",
    ],
)
def test_the_start_leaves_out_what_few_gateways_use(name):
    assert name not in run(SERVE)[0]
