"""Test data from recorded sessions: ``python tests/clients/scrub.py RECORDED`` writes ``tests/sessions``.

The programs' prompts are other people's text, and ids, dates and paths belong to this machine. The test data keeps only
the structure of requests, with all names, types and flags. ``tests/support/session_replay.py`` describes its format.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import paths  # noqa: F401  # makes the next modules importable

from tests.clients.rows import ROWS
from tests.support.harness import running
from tests.support.session_replay import FOLDER, Replay, clients, issued_values, read_session
from tests.support.stand_in import AGAIN, ENTRIES, OPEN_BOXES, PLEASE, WORDS, StandIn
from tests.support.upstreams import serve_upstream

SOURCE = {"chat": "messages", "messages": "responses", "responses": "messages"}
"""The upstream that a client is recorded with: one that returns its thinking sealed."""
LONGEST = 80
LONGEST_DESCRIPTION = 20
KEPT = re.compile(
    "|".join(map(re.escape, (PLEASE, AGAIN, OPEN_BOXES, *(f"There is {word} in it." for word in WORDS.values()))))
)
TELLING = (
    "accept", "anthropic-", "authorization", "content-type", "openai-", "originator", "user-agent", "x-api-key",
    "x-app", "x-codex-beta-features", "x-stainless-helper",
)  # fmt: skip
"""The prefixes of the headers that a gateway may read."""
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
SUBSTITUTES: Mapping[str, str] = {
    r"\b[0-9a-f]{64}\b": "0" * 64,
    r"\b20\d\d-(?:0\d|1[0-2])-[0-3]\d\b(?=[^\d-]|$)(?<!06-27)": "2026-01-01",
    r"/(?:tmp|root|home)/[\w./-]+": "/home/person/work",
    r"(?<=Chunk ID: )[0-9a-f]+": "000000",
    r"\bses_\w+": "ses_0000",
}


def main(folder: Path) -> None:
    for row in ROWS.values():
        shutil.rmtree(FOLDER / row.name, ignore_errors=True)
        file = folder / f"{row.name}.{SOURCE[row.speaks]}.json"
        if file.exists():
            write(row.name, scrubbed(json.loads(file.read_text()), f"on-{SOURCE[row.speaks]}"))
    state_what_is_dropped()


def write(client: str, session: Iterable[Mapping[str, Any]]) -> None:
    for number, request in enumerate(session, 1):
        file = FOLDER / client / f"{number:02}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(request, indent=1, ensure_ascii=False) + "\n")


def scrubbed(exchanges: list[dict[str, Any]], model: str) -> list[dict[str, Any]]:
    session, scrub = [], Scrub(model)
    for one in exchanges:
        headers = {
            name.lower(): header(name.lower(), value)
            for name, value in one["headers"]
            if name.lower().startswith(TELLING) and not name.lower().startswith("accept-")
        }
        request: dict[str, Any] = {"method": one["method"], "path": one["path"], "headers": headers}
        if one["sent"]:
            told = turns([json.loads(text) for text in one["told"]])
            request["messages"] = [
                scrub.body(json.loads(text), answer) for text, answer in zip(one["sent"], told, strict=True)
            ]
        else:
            answer = one["answer"]
            data = [line[5:].strip() for line in answer.splitlines() if line.startswith("data:")]
            whole = [json.loads(text) for text in data if text != "[DONE]"] if data else json.loads(answer or "null")
            request["body"] = scrub.body(json.loads(one["body"] or "null"), whole)
            request["status"] = one["status"]
        session.append(request)
    return session


def turns(frames: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the messages of a websocket, grouped by answer."""
    found: list[list[dict[str, Any]]] = [[]]
    for frame in frames:
        found[-1].append(frame)
        if frame["type"] in ("response.completed", "response.incomplete", "response.failed", "error"):
            found.append([])
    return found[:-1]


def header(name: str, value: str) -> str:
    if name in ("authorization", "x-api-key"):
        return "Bearer any" if name == "authorization" else "any"
    return re.sub(r" \([^)]*\)", "", value)


class Scrub:
    """A scrubber of one session, with its earlier bodies and substitutes."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._given: dict[str, str] = {}
        self._uuids: dict[str, str] = {}
        self._bodies: list[Any] = []

    def body(self, value: Any, answer: Any) -> Any:
        """Return the scrubbed form of a request whose response was ``answer``."""
        clean = self._clean(value)
        number = len(self._bodies) + 1
        for label, values in issued_values(answer).items():
            for i, text in enumerate(values):
                self._given.setdefault(text, f"<answer {number} {label} {i}>")
        self._bodies.append(clean)
        if not isinstance(clean, dict):
            return clean
        return {key: self._same(key, item, number) for key, item in clean.items()}

    def _same(self, key: str, value: Any, number: int) -> Any:
        if len(json.dumps(value)) > 200:
            for earlier in range(1, number):
                body = self._bodies[earlier - 1]
                if isinstance(body, dict) and body.get(key) == value:
                    return f"<as in {earlier:02}>"
        return value

    def _clean(self, value: Any, key: str = "") -> Any:
        match value:
            case str():
                return self._text(value, key)
            case list():
                return [self._clean(item) for item in value]
            case dict():
                return {name: self._clean(item, name) for name, item in value.items()}
            case _:
                return value

    def _text(self, text: str, key: str) -> str:
        if text == self._model:
            return "<model>"
        if text in self._given:
            return self._given[text]
        if len(text) > (LONGEST_DESCRIPTION if key in ("description", "title") else LONGEST):
            return shorten(text)
        text = UUID.sub(self._uuid, text)
        for pattern, substitute in SUBSTITUTES.items():
            text = re.sub(pattern, substitute, text)
        return text

    def _uuid(self, found: re.Match[str]) -> str:
        """Return a substitute, the same for equal ids."""
        return self._uuids.setdefault(found[0], f"00000000-0000-4000-8000-{len(self._uuids) + 1:012}")


def shorten(text: str) -> str:
    """Replace words by marks, except those that the conversation depends on."""
    if text.startswith("{") and "session_id" in text:  # JSON in a text must remain JSON
        return json.dumps(dict.fromkeys(json.loads(text), "0"))
    parts, at = [], 0
    for found in KEPT.finditer(text):
        parts += [mark(text[at : found.start()]), found[0]]
        at = found.end()
    return "".join([*parts, mark(text[at:])])


def mark(text: str) -> str:
    return f"<text {len(text)}>" if len(text) > 2 else text


def state_what_is_dropped() -> None:
    """Add to each request the members that its translation drops: review them before the commit."""
    with serve_upstream(StandIn) as upstream:
        settings, port = upstream.settings()
        with running(settings, port) as gateway:
            for client in clients():
                session = read_session(client)
                for api in ENTRIES:
                    for answer in Replay(gateway, f"on-{api}").run(session):
                        if answer.dropped is not None:
                            session[int(answer.name) - 1].setdefault("dropped", {})[api] = sorted(answer.dropped)
                write(client, session)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
