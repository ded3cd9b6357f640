"""Claude Code and Codex that would call tools for ever stop where their run has used up its budget, and say why: an
agent ran for eleven days and 47,000 dollars (LMNTL-AI/openclaw-agents#21)."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.clients import install
from tests.clients.rows import Place
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import ROOT, Gateway, config, exchanges, provider
from tests.support.stand_in import ENTRIES, TOOLS, StandIn, offered
from tests.support.upstreams import Raw, Script, Tokens, ToolCall, render, serve_upstream
from tests.support.wire_transcript import Line

pytestmark = pytest.mark.process

KEY: Final = "the-key-of-the-agents-0123456789"
PURSE: Final = "0.50 usd/run"
SECONDS: Final = 60.0
"""In which a program that is refused for money has given up: one that took it for a rate would try for minutes."""

ENDLESS: Final = Script("Once more.", stop="tool_calls", tokens=Tokens(prompt=30_000, output=500))


class Runaway(StandIn):
    """Asks for one more look into the same box, for as long as it is asked."""

    def _reply(self, api: str, body: dict[str, Any], lines: Sequence[Line]) -> Raw:
        tool = next((tool for tool in offered(body) if tool in TOOLS), None)
        if tool is None:
            return super()._reply(api, body, lines)
        self._number += 1
        arguments = json.dumps({name: value.format("a") for name, value in TOOLS[tool].items()})
        call = ToolCall(f"call_{self._number}", tool, arguments)
        raw = render(Script(ENDLESS.text, "", "", (call,), ENDLESS.stop, ENDLESS.tokens), api, body)
        mark = f"_up{self._number}n".encode()
        return Raw(raw.status, raw.headers, tuple(piece.replace(b"_up", mark) for piece in raw.pieces), raw.end)


@pytest.fixture
def provider_of_more() -> Iterator[Runaway]:
    with serve_upstream(Runaway) as upstream:
        yield upstream


@pytest.fixture
def gateway(provider_of_more) -> Iterator[Gateway]:
    price = {"input": 3, "output": 15}  # dollars for a million tokens: 0.0975 a turn
    entries = [
        provider(model, provider_of_more.url, [api], name=f"on-{api}") | {"price": price}
        for api, model in ENTRIES.items()
    ]
    groups = [{"name": "agents", "budgets": [PURSE]}]
    keys = [{"name": "nightly", "key": KEY, "group": "agents"}]
    settings = config(entries, client_groups=groups, client_keys=keys)
    with gateway_thread(settings, check_streams=True) as process:
        yield process


def run(
    gateway: Gateway, folder: Path, program: str, model: str, *arguments: str
) -> "subprocess.CompletedProcess[str]":
    """The program's own session, as ``trigate connect`` starts it, to its end: it comes within ``SECONDS``."""
    (folder / "work").mkdir(exist_ok=True)
    (folder / "work/a.txt").write_text("There is nothing in it.\n")
    place = Place(gateway.url, model, folder, "stream")
    command = [sys.executable, "-m", "gateway", "connect", program, "--url", gateway.url, "--model", model, "--"]
    environment = {
        "PYTHONPATH": str(ROOT),
        "TRIGATE_API_KEY": KEY,
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
    }
    return subprocess.run(
        [*command, *arguments], cwd=place.work, env=place.environment(environment), text=True, capture_output=True,
        timeout=SECONDS, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def installed(program: str) -> None:
    if not install.has_program(program):
        pytest.skip(f"{program} is not installed: just clients {program}")


PLEASE: Final = "Look into box a until there is something in it."
PROGRAMS: Final[Mapping[str, tuple[Any, ...]]] = {
    "claude": (1, "on-messages", "-p", PLEASE, "--allowedTools", "Bash"),
    "codex": (
        6, "on-responses", "exec", "-c", "model_providers.trigate.supports_websockets=false", "--skip-git-repo-check",
        "--dangerously-bypass-approvals-and-sandbox", PLEASE,
    ),
}  # fmt: skip
"""For each the refusals that it takes to give up, its model and its arguments. Codex tries any status but a few five
times again, within seven seconds; before that as often over its websocket, which takes as long and is left out."""


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_runaway_program_stops_at_its_budget_with_the_reason(gateway, provider_of_more, tmp_path, program):
    installed(program)
    most, model, *arguments = PROGRAMS[program]
    done = run(gateway, tmp_path, program, model, *arguments)
    said = done.stdout + done.stderr
    assert PURSE in said
    spent = exchanges(gateway.log)
    refused = [line for line in spent if line["status"] == 402]
    assert 1 <= len(refused) <= most, "it has tried again and again"
    assert 3 <= len(provider_of_more.seen) <= 12
    assert sum(line.get("cost_usd", 0) for line in spent) <= 0.50
