"""Ten turns of Claude Code and Codex with steps that mask and refuse: what the provider sees, and what the user gets.

``python tests/clients/masked.py`` drives each program through one conversation. In every turn a person names an
address. The provider lets the program read a file with another one and a card, and run a command with the person's
address, which it only knows by its placeholder. It reports what it has read. Then the person pastes a key, which is
refused, and continues in a new session. A line is good if no value of the person has reached the provider, every turn
has ended with the person's own values, and the key got a refusal. A CLIENT selects some programs."""

import argparse
import contextlib
import itertools
import json
import re
import sys
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import paths  # noqa: F401  # makes the next ones importable

from tests.clients import install
from tests.clients.rows import Failed, Place
from tests.support.harness import config, exchanges, free_port, provider, running
from tests.support.stand_in import ENTRIES, offered
from tests.support.step_providers import BASES
from tests.support.upstreams import PATHS, Raw, Script, Seen, ToolCall, Upstream, render, serve_upstream
from tests.support.wire_transcript import Line, conversation_of

TURNS: Final = 10
CARD: Final = "4111 1111 1111 1111"
IN_FILE: Final = "zoe.keeper@example.org"
KEY: Final = "ghp_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"[:36]
PLACEHOLDER: Final = re.compile(r"\[EMAIL_[0-9a-f]+\]")
TOOLS: Final[Mapping[str, str]] = {"Bash": "command", "exec_command": "cmd", "shell": "command"}
"""The tools that run a command, and the argument with it."""
STEPS: Final = [
    {"use": "pii", "action": "mask", "restore": True, "at": ["request", "response"],
     "with": {"labels": ["email", "card"]}},
    {"use": "secrets"},
]  # fmt: skip


def mail_of(turn: int) -> str:
    return f"ann{turn}@example.com"


class Reader(Upstream):
    """A provider that reads a file with the program's tool in every turn, and repeats the file and the question."""

    def answer(self, seen: Seen) -> Raw:
        api = next((api for api, path in PATHS.items() if path == seen.path), None)
        if api is None:
            counted = seen.path.endswith("count_tokens")
            return Raw(200 if counted else 404, (("content-type", "application/json"),), (b'{"input_tokens": 1000}',))
        self.seen.append(seen)
        raw = render(self._script(seen.json, conversation_of(api, seen.json)), api, seen.json)
        mark = b"_up%dn" % len(self.seen)  # Claude Code merges messages with the same id
        return attrs.evolve(raw, pieces=tuple(piece.replace(b"_up", mark) for piece in raw.pieces))

    def _script(self, body: Mapping[str, Any], lines: Sequence[Line]) -> Script:
        asked = max((at for at, line in enumerate(lines) if line[0] == "user" and "customer is" in line[1]), default=-1)
        tool = next((tool for tool in offered(body) if tool in TOOLS), None)
        if asked < 0 or tool is None:
            return Script(text="A talk about customers")
        mails = PLACEHOLDER.findall(lines[asked][1])
        results = [line[2] for line in lines[asked:] if line[0] == "result"]
        if results:
            return Script(text=f"{results[0]} For {mails[-1] if mails else 'nobody'}. Done.")
        command = f"cat customers.txt; echo address {mails[-1] if mails else 'missing'}"
        call = ToolCall(f"call_{len(self.seen)}", tool, json.dumps({TOOLS[tool]: command, "description": "Read it"}))
        return Script(text="I look.", calls=(call,), stop="tool_calls")


QUIET: Final = {"DISABLE_AUTOUPDATER": "1", "DISABLE_TELEMETRY": "1"}


@attrs.define
class Claude:
    place: Place
    session: str = ""

    def say(self, prompt: str, *, fresh: bool) -> str:
        own = ("--resume", self.session)
        if fresh:
            self.session = str(uuid.uuid4())
            own = ("--session-id", self.session)
        return self.place.connect("claude", "--", "-p", "--allowedTools", "Bash,Read", *own, prompt, **QUIET)


@attrs.define
class Codex:
    place: Place

    def say(self, prompt: str, *, fresh: bool) -> str:
        bold = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
        return self.place.connect("codex", "--", "exec", *(() if fresh else ("resume", "--last")), *bold, prompt)


PROGRAMS: Final[Mapping[str, Callable[[Place], Any]]] = {"claude": Claude, "codex": Codex}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("client", nargs="*", choices=[*PROGRAMS, []], metavar="CLIENT")
    chosen = parser.parse_args(arguments)
    install.node()
    bad = 0
    for name, api in itertools.product(chosen.client or PROGRAMS, ENTRIES):
        trouble = trouble_of(name, api)
        bad += bool(trouble)
        print(f"{name:7} {api:10} {trouble or 'works'}", flush=True)
    return 1 if bad else 0


def trouble_of(name: str, api: str) -> str:
    """Drive the program ``name`` with a provider of ``api``. Returns the fault, or an empty text."""
    with serve_upstream(Reader) as reader, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        port = free_port()
        entry = provider(ENTRIES[api], reader.url + BASES.get(api, "/v1"), [api], name="best")
        signing_key = "c2lnbmluZy1rZXktZm9yLXRlc3RzLTAxMjM0NTY3ODk="
        with running(config([entry], port, steps=STEPS, signing_key=signing_key), port) as gateway:
            place = Place(gateway.url, "best", Path(home), "stream")
            place.work.mkdir()
            (place.work / "customers.txt").write_text(f"Write to {IN_FILE}, card {CARD}.\n")
            try:
                return hold_talk(PROGRAMS[name](place)) or judge(reader, gateway.log)
            except Failed as failed:
                return str(failed)


def hold_talk(program: Any) -> str:
    for turn in range(TURNS):
        said = program.say(
            f"Question {turn}: what is in customers.txt? The customer is {mail_of(turn)}.", fresh=turn == 0
        )
        missing = [value for value in (mail_of(turn), IN_FILE, CARD) if value not in said]
        if missing:
            return f"turn {turn} ended without {missing[0]}: {said[-300:]!r}"
    with contextlib.suppress(Failed):  # some programs report the refusal by their exit status
        program.say(f"The customer sent the key {KEY}.", fresh=False)
    said = program.say(f"The next customer is {mail_of(TURNS)}.", fresh=True)
    return "" if mail_of(TURNS) in said else f"a new session does not work: {said[-300:]!r}"


def judge(reader: Reader, log: Sequence[str]) -> str:
    """Return what of the person's values has reached the provider or the log, or how few tools were used."""
    values = [IN_FILE, CARD, KEY, *map(mail_of, range(TURNS + 1))]
    for seen in reader.seen:
        if leaked := [value for value in values if value in seen.body.decode()]:
            return f"the provider saw {leaked[0]}"
    if leaked := [value for value in values if any(value in line for line in log)]:
        return f"the log has {leaked[0]}"
    if not any(one.get("refused_by") == "secrets" for one in exchanges(log)):
        return "the key got no refusal"
    tools = sum(one.get("reason") == "tool_calls" for one in exchanges(log))
    return "" if tools > TURNS else f"only {tools} tool calls in {TURNS} turns"


if __name__ == "__main__":
    sys.exit(main())
