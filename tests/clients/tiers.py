"""Every tier of Claude Code and Codex, from an empty project folder, against a config with wildcards.

``python tests/clients/tiers.py`` installs what is missing and prints a line for each tier and each way to point the
program at the gateway: by environment variables alone, started by ``trigate connect``, and by the file that ``connect
--write`` has merged. A line is good if the program ends well and every request that it makes is answered by the model
of that tier. The provider is ``trigate mock``.
"""

import itertools
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import attrs
import paths  # noqa: F401  # makes the next ones importable
import yaml

from gateway.commands.choosing import CODEX_KNOWS
from tests.clients import install
from tests.clients.rows import Failed, Place
from tests.support.command_line import running_command
from tests.support.harness import ROOT, Gateway, config, free_port, provider, running

CONNECT = (sys.executable, "-m", "gateway", "connect")
QUIET = {"DISABLE_AUTOUPDATER": "1", "DISABLE_TELEMETRY": "1", "PYTHONPATH": str(ROOT)}


@attrs.frozen
class Program:
    """``tiers`` are what ``--model`` takes, and how the ids begin that are asked for then; ``""`` is without it."""

    name: str
    arguments: tuple[str, ...]
    tiers: Mapping[str, str]
    variables: Mapping[str, str]  # of the README; empty where there are none that it reads


PROGRAMS = (
    Program(
        "claude",
        ("-p", "Hello"),
        {
            "": "claude-", "fable": "claude-fable-", "opus": "claude-opus-", "sonnet": "claude-sonnet-",
            "haiku": "claude-haiku-", "opus[1m]": "claude-opus-", "sonnet[1m]": "claude-sonnet-",
            "opusplan": "claude-", "claude-opus-4-5-20251101": "claude-opus-4-5-20251101",
        },
        {"ANTHROPIC_BASE_URL": "{url}", "ANTHROPIC_AUTH_TOKEN": "any"},
    ),
    Program(
        "codex",
        ("exec", "--skip-git-repo-check", "Hello"),
        {"": CODEX_KNOWS[0], **{name: name for name in (*CODEX_KNOWS, "codex-auto-review")}},
        {},
    ),
)  # fmt: skip


def main() -> int:
    install.node()
    bad = 0
    with running_command("mock", "--port", "0", "--pace", "0") as mock:
        port = free_port()
        wild = [provider("anthropic/*", mock.url, ["messages"]), provider("openai/*", mock.url, ["chat", "responses"])]
        settings = config(wild, port)
        with running(settings, port) as gateway:
            for program, way in itertools.product(PROGRAMS, ("variables", "connect", "file")):
                if way != "variables" or program.variables:
                    bad += sum(not tried(program, way, tier, gateway, settings) for tier in program.tiers)
    return 1 if bad else 0


def tried(program: Program, way: str, tier: str, gateway: Gateway, settings: Mapping[str, object]) -> bool:
    since = len(gateway.log)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        place = Place(gateway.url, "", Path(folder), "stream")
        place.work.mkdir()
        own = place.home / ".config/trigate/trigate.yaml"
        own.parent.mkdir(parents=True)
        own.write_text(yaml.safe_dump(settings))
        try:
            asked(program, way, tier, place)
            trouble = ""
        except Failed as failed:
            trouble = str(failed)
    trouble = trouble or judged(gateway.log[since:], program.tiers[tier])
    print(f"{program.name:7} {way:10} {tier or 'default':25} {trouble or 'works'}", flush=True)
    return not trouble


def asked(program: Program, way: str, tier: str, place: Place) -> None:
    """Raises ``Failed``."""
    arguments = (*(("--model", tier) if tier else ()), *program.arguments)
    if program.name == "codex" and tier:  # its subcommand comes first
        arguments = (program.arguments[0], "--model", tier, *program.arguments[1:])
    if way == "connect":
        place.run(*CONNECT, program.name, "--", *arguments, **QUIET)
        return
    if way == "file":
        place.run(*CONNECT, program.name, "--write", **QUIET)
    variables = {name: value.format(url=place.url) for name, value in program.variables.items()}
    place.run(program.name, *arguments, **QUIET, **(variables if way == "variables" else {}))
    if way == "file":
        place.run(*CONNECT, program.name, "--undo", **QUIET)


def judged(log: list[str], wanted: str) -> str:
    """What is wrong with the exchanges in ``log``, "" if nothing is."""
    exchanges = [entry for line in log if line.startswith("{") and (entry := json.loads(line))["event"] == "exchange"]
    refused = [entry for entry in exchanges if entry["status"] != 200]
    if refused:
        return f"{refused[0]['status']} {refused[0].get('message', '')}"
    models = {str(entry["target"]).partition("/")[2] for entry in exchanges if entry.get("target")}
    if not any(model.startswith(wanted) for model in models):
        return f"asked for {', '.join(sorted(models)) or 'nothing'}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
