"""The losses of Claude Code, Codex and Gemini CLI on the way to providers of each API, for docs/clients.md.

``python tests/clients/losses.py`` drives each program through ten turns of one conversation, each with tools, in front
of the stand-in provider. It prints the parts of requests that a provider does not get, or gets in another form, as the
gateway logs them. ``--table docs/clients.md`` writes the table. A CLIENT selects some programs."""

import argparse
import itertools
import json
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import paths  # noqa: F401  # makes the next ones importable

from providers.apis import CODECS
from providers.neutral.wire_api import WireApi
from tests.clients import install
from tests.clients.rows import Failed, Place
from tests.support.command_line import running_command
from tests.support.harness import config, free_port, provider, running

QUESTIONS: Final = (
    "What is in words.txt?", "How many lines has it?", "Sort them.", "Explain the first word.", "And the second.",
    "Summarize our talk.", "What did I ask first?", "Compare both words.", "Name a third one.", "Say goodbye.",
)  # fmt: skip
MODEL: Final = "gpt-oss-120b"
BEGIN, END = "<!-- the losses, written by tests/clients/losses.py --table -->", "<!-- end of the losses -->"
TITLES: Final = {
    "chat": "Chat", "messages": "Messages", "responses": "Responses", "gemini": "Gemini", "converse": "Converse",
    "interactions": "Interactions",
}  # fmt: skip


def talk_to_claude(place: Place) -> None:
    session, quiet = str(uuid.uuid4()), {"DISABLE_AUTOUPDATER": "1", "DISABLE_TELEMETRY": "1"}
    for turn, question in enumerate(QUESTIONS):
        own = ("--resume", session) if turn else ("--session-id", session)
        place.connect("claude", "--", "-p", "--allowedTools", "Bash,Read", *own, question, **quiet)


def talk_to_codex(place: Place) -> None:
    bold = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
    for turn, question in enumerate(QUESTIONS):
        place.connect("codex", "--", "exec", *(("resume", "--last") if turn else ()), *bold, question)


def talk_to_gemini_cli(place: Place) -> None:
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}}, "privacy": {"usageStatisticsEnabled": False},
        "general": {"disableAutoUpdate": True},
    }  # fmt: skip
    (place.home / ".gemini").mkdir()
    (place.home / ".gemini/settings.json").write_text(json.dumps(settings))
    for turn, question in enumerate(QUESTIONS):
        own = ("--resume", "latest") if turn else ()
        place.connect("gemini-cli", "--", "--yolo", *own, "--prompt", question, GEMINI_CLI_TRUST_WORKSPACE="true")


@attrs.frozen
class Program:
    """A program that ``talk`` drives through all questions; ``package`` is its package of npm."""

    title: str
    package: str
    talk: Callable[[Place], None]


PROGRAMS: Final = {
    "claude": Program("Claude Code", "@anthropic-ai/claude-code", talk_to_claude),
    "codex": Program("Codex", "@openai/codex", talk_to_codex),
    "gemini-cli": Program("Gemini CLI", "@google/gemini-cli", talk_to_gemini_cli),
}


@attrs.frozen
class Losses:
    """The result of a program's conversation with a provider of ``api``.

    ``dropped`` and ``adapted`` have the paths in the log, with ``[]`` for any index."""

    program: str
    api: str
    requests: int
    tools: int
    trouble: str
    dropped: tuple[str, ...]
    adapted: tuple[str, ...]

    @property
    def row(self) -> str:
        lost, changed = (", ".join(f"`{path}`" for path in found) for found in (self.dropped, self.adapted))
        outcome = f"**{self.trouble}**" if self.trouble else f"{self.requests} requests, {self.tools} tool calls"
        title = PROGRAMS[self.program].title
        return f"| {title} | {TITLES[self.api]} | {outcome} | {lost or 'nothing'} | {changed or 'nothing'} |"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("client", nargs="*", choices=[*PROGRAMS, []], metavar="CLIENT")
    parser.add_argument("--table", type=Path, metavar="PAGE")
    chosen = parser.parse_args(arguments)
    install.node()
    found = []
    for name, api in itertools.product(chosen.client or PROGRAMS, CODECS):
        found.append(losses_of(name, api))
        print(found[-1].row, file=sys.stderr, flush=True)
    if chosen.table is not None:
        write_table(chosen.table, found)
    return 1 if any(one.trouble for one in found) else 0


def losses_of(name: str, api: str) -> Losses:
    """Drive the program ``name`` through the conversation with a provider of ``api``."""
    with running_command("mock", "--port", "0", "--pace", "0") as mock:
        port = free_port()
        entry = provider(f"vllm/{MODEL}", base_of(CODECS[api].wire, mock.url), [api])
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        with running(config([entry], port), port) as gateway, folder as home:
            trouble = hold_talk(PROGRAMS[name], Place(gateway.url, MODEL, Path(home), "stream"))
            return read_losses(name, api, exchanges_in(gateway.log), trouble)


def hold_talk(program: Program, place: Place) -> str:
    """Return what failed, or an empty text."""
    place.work.mkdir()
    (place.work / "words.txt").write_text("alpha\nbeta\n")
    try:
        program.talk(place)
    except Failed as failed:
        return str(failed)
    return ""


def base_of(wire: WireApi, url: str) -> str:
    """Return the base URL of the stand-in's ``wire`` API."""
    return url + wire.root


def exchanges_in(log: Iterable[str]) -> list[Mapping[str, Any]]:
    lines = [json.loads(line) for line in log if line.startswith("{")]
    return [line for line in lines if line["event"] == "exchange" and line.get("target")]


def read_losses(name: str, api: str, exchanges: Sequence[Mapping[str, Any]], trouble: str) -> Losses:
    """Return what the log lines ``exchanges`` report."""
    bad = [one for one in exchanges if one["status"] != 200 or one["ended"] != "complete"]
    if bad and not trouble:
        trouble = f"{bad[0]['status']} {bad[0]['ended']}: {bad[0].get('message', '')}"
    tools = sum(one.get("reason") == "tool_calls" for one in exchanges)
    if not trouble and tools < len(QUESTIONS):
        trouble = f"only {tools} tool calls in {len(QUESTIONS)} turns"
    return Losses(name, api, len(exchanges), tools, trouble, paths_of(exchanges, "dropped"),
                  paths_of(exchanges, "adapted"))  # fmt: skip


def paths_of(exchanges: Iterable[Mapping[str, Any]], field: str) -> tuple[str, ...]:
    found = {path for one in exchanges for path in one.get(field, "").split(",") if path}
    return tuple(sorted(found))


def write_table(page: Path, found: Iterable[Losses]) -> None:
    """Put the table between its marks in ``page``."""
    head = ["| client | provider | ten turns | not sent | sent in another form |", "|---|---|---|---|---|"]
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = "\n".join([*head, *(one.row for one in found)])
    page.write_text(f"{before}{BEGIN}\n\n{rows}\n\n{END}{after}")


if __name__ == "__main__":
    sys.exit(main())
