"""The modules that commands import, and the memory of a plain gateway, measured in a new process.

Times in seconds are meaningless on a shared machine. If you need more imports for a reason, raise the number; if you
remove imports, lower it.
"""

import ast
import mmap
import signal
import subprocess
import sys

import pytest

from tests.support.each_row import each_row
from tests.support.harness import ROOT
from tests.support.processes import may_unshare

SPARE = 1.03
"""The tolerance for numbers of modules: versions of Python and of libraries differ."""

PLAIN = {
    "version": "v0.3.0",
    "model_providers": [
        {"model": "openai/gpt-6", "access_key": "a", "default": True},
        {"model": "mistral/m", "access_key": "b"},
        {"model": "anthropic/claude-opus-6", "access_key": "c", "speaks": ["messages"]},
    ],
}
CHECK = f"""
import gateway.commands.check
from gateway.config_files.loading import from_mapping
from_mapping({PLAIN!r})
"""
SERVE = f"""
import gateway.commands.serve
from gateway.app import create_app
from gateway.config_files.loading import from_mapping
create_app(from_mapping({PLAIN!r}))
"""
BEDROCK = """
url = "https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1"
entry = {"model": "amazon_bedrock/openai.x", "base_url": url}
create_app(from_mapping({"version": "v0.3.0", "model_providers": [entry]}))
"""
FORKED = {
    "check": CHECK,
    "schema": "import gateway.commands.schema",
    "explain": "import gateway.commands.explaining",
    "connect --list": "import gateway.commands.clients",
}
PROGRAM = f"""
import gateway.__main__, os, pathlib, sys

def tell(command):
    pages = pathlib.Path("/proc/self/statm")
    size = int(pages.read_text().split()[1]) if pages.exists() else 0
    print([command, [*sys.modules], size], flush=True)

tell("help")
for command, code in {FORKED!r}.items():
    if (pid := os.fork()) == 0:
        exec(code)
        tell(command)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0, command
exec({SERVE!r})
tell("serve")
exec({BEDROCK!r})
tell("serve for Bedrock")
"""
"""A program with the imports of every command. Commands continue in its forks, and the gateway in the program."""

INTERRUPTED = """
import signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "%s":
            signal.raise_signal(signal.%s)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupt())
sys.argv = ["trigate", "--version"]
from gateway.program import main
main()
"""

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def commands() -> dict[str, tuple[list[str], float]]:
    """Return the modules and the MiB of memory of each command."""
    said = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert not said.returncode, said.stderr
    lines = map(ast.literal_eval, said.stdout.splitlines())
    return {command: (modules, pages * mmap.PAGESIZE / 2**20) for command, modules, pages in lines}


@each_row(
    ("command", "modules"),
    [("serve", 781), ("check", 371), ("schema", 279), ("explain", 534), ("connect --list", 149), ("help", 126)],
)
def test_a_command_imports_only_needed_modules(commands, command, modules):
    assert len(commands[command][0]) <= modules * SPARE


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_a_plain_gateway_needs_little_memory(commands):
    assert 10 < commands["serve"][1] <= 58


@each_row(
    "name",
    [
        "quart",
        "gateway.features.other_endpoints.audio",
        "gateway.features.realtime.serving",
        "providers.gemini.reader",
        "gateway.features.steps.feature",
        "trigate",
        "gateway.features.people.feature",
        "jwt",
        "prometheus_client",
        "h2",
        "wsproto",
        "multiprocessing",
        "providers.messages.reader",
        "providers.responses.reader",
    ],
)
def test_the_start_does_not_import_rarely_used_modules(commands, name):
    assert name not in commands["serve"][0]


def test_no_cloud_library_is_imported_before_a_sign_in(commands):
    clouds = ("botocore", "google.auth", "azure.", "requests")
    assert [name for name in commands["serve for Bedrock"][0] if name.startswith(clouds)] == []


@pytest.mark.parametrize(
    ("module", "status", "stderr"),
    [("click", -signal.SIGINT, ""), ("providers.catalog.price_list", 1, "\nAborted!\n")],
)
def test_ctrl_c_during_imports_prints_no_traceback(module, status, stderr):
    command = [sys.executable, "-c", INTERRUPTED % (module, "SIGINT")]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stderr) == (status, stderr)


@pytest.mark.skipif(not may_unshare("--pid", "--fork"), reason="needs unshare and the right to make namespaces")
def test_the_first_process_of_a_container_ends_at_a_signal_during_imports():
    command = ["unshare", "--pid", "--fork", sys.executable, "-c", INTERRUPTED % ("click", "SIGTERM")]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stdout, found.stderr) == (128 + signal.SIGTERM, "", "")
