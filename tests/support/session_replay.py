"""Replays recorded sessions of real programs (``tests/sessions/CLIENT/NN.json``, one request each) through a gateway.

In a recorded request, ``<model>`` represents the model, ``<text N>`` a text of N characters, ``<as in NN>`` the same
member of an earlier request, and ``<answer N KIND.KEY I>`` a value that the gateway issued in its Nth answer: the Ith
value under that key of objects of that kind. So ids and seals are those of the tested gateway. If its answer has no
such value, the object is omitted.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from providers.grammar import Judge, Verdict, judge
from tests.support.features import has_feature
from tests.support.harness import Gateway
from tests.support.repository import ROOT
from tests.support.websocket_client import Client

FOLDER = ROOT / "tests/sessions"
SEARCH = "-search"
"""The end of the names of sessions that search the web."""
OWN = re.compile(r"<answer (\d+) (\S+) (\d+)>")
TEXT = re.compile(r"<text (\d+)>")
AS_IN = re.compile(r"<as in (\d+)>")
GIVEN_OUT = ("id", "call_id", "signature", "encrypted_content", "data")
"""Members in which a client returns values from the server."""
FILLER = "These words stand where a program had others, of the same length. "
APIS = {"/v1/chat/completions": "chat", "/v1/messages": "messages", "/v1/responses": "responses"}


@attrs.frozen
class Answered:
    """An answer.

    ``verdict`` is ``None`` without a grammar, ``dropped`` is ``None`` over a websocket, where only the log has it.
    """

    name: str
    status: int
    dropped: frozenset[str] | None
    verdict: Verdict | None
    said: bytes


class Absent(LookupError):
    """An error: a recorded request contains a value that the gateway has not issued."""


def read_session(client: str) -> list[dict[str, Any]]:
    """Return the requests of a session in order."""
    return [json.loads(file.read_text()) for file in sorted((FOLDER / client).glob("*.json"))]


def clients() -> list[str]:
    """Return the clients of the matrix."""
    return [name for name in _folders() if not name.endswith(SEARCH)]


def searching_clients() -> list[str]:
    """Return the clients that search the web."""
    return [name for name in _folders() if name.endswith(SEARCH)]


def _folders() -> list[str]:
    """Return the names of the sessions that the gateway can serve."""
    names = sorted(folder.name for folder in FOLDER.iterdir() if folder.is_dir())
    return [name for name in names if has_feature("responses_websocket") or not _is_over_websocket(name)]


def _is_over_websocket(client: str) -> bool:
    return any("messages" in request for request in read_session(client))


def issued_values(answer: Any) -> dict[str, list[str]]:
    """Return the values that ``answer`` issues, by kind and key, each once, in order."""
    found: dict[str, dict[str, None]] = {}
    for item in _objects_in(answer):
        kind = item.get("type") or item.get("object") or "object"
        for key in GIVEN_OUT:
            if isinstance(value := item.get(key), str) and value:
                found.setdefault(f"{kind}.{key}", {})[value] = None
    return {label: list(values) for label, values in found.items()}


def _objects_in(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects_in(item)


class Replay:
    """One session, replayed through ``gateway`` for ``model``."""

    def __init__(self, gateway: Gateway, model: str) -> None:
        self._gateway = gateway
        self._model = model
        self._answers: list[dict[str, list[str]]] = []
        self._bodies: list[Any] = []

    def run(self, session: Sequence[Mapping[str, Any]]) -> Iterator[Answered]:
        """Send the requests, and yield each answer."""
        for number, request in enumerate(session, 1):
            name = f"{number:02}"
            if "messages" in request:
                yield from self._send_websocket(name, request)
            else:
                yield self._send_http(name, request)

    def _send_http(self, name: str, request: Mapping[str, Any]) -> Answered:
        body = self._fill_body(request["body"])
        reply = self._gateway.request(request["method"], request["path"], body, request["headers"])
        api = APIS.get(request["path"].partition("?")[0])
        streamed = reply.headers.get("content-type", "").startswith("text/event-stream")
        told = [data for _, data in reply.events()] if streamed else reply.json if reply.body else None
        self._answers.append(issued_values(told))
        dropped = frozenset(reply.headers.get("x-trigate-dropped", "").split(",")) - {"", "tools[]: web_search"}
        usage = (body.get("stream_options") or {}).get("include_usage", False) if api == "chat" else None
        passed = reply.headers.get("x-trigate-lane") == "byte"  # the answer is the provider's own
        verdict = judge(api, reply.body, streamed=streamed, tolerant=passed, include_usage=usage) if api else None
        return Answered(name, reply.status, dropped, verdict, reply.body)

    def _send_websocket(self, name: str, request: Mapping[str, Any]) -> Iterator[Answered]:
        with Client.connect(self._gateway.port, request["headers"]) as client:
            for message in request["messages"]:
                client.send(self._fill_body(message))
                frames = client.answer()
                self._answers.append(issued_values(frames))
                passed = frames[0].get("headers", {}).get("x-trigate-lane") == "byte"
                found = Judge("responses", tolerant=passed)
                raw = [f"event: {frame['type']}\ndata: {json.dumps(frame)}\n\n".encode() for frame in frames]
                for event in raw:
                    found.feed(event)
                yield Answered(name, 101, None, found.close(), b"".join(raw))

    def _fill_body(self, recorded: Any) -> Any:
        """Return the body of a recorded request, filled with values of this gateway."""
        if isinstance(recorded, dict):
            recorded = {key: self._issued_here(key, value) for key, value in recorded.items()}
        self._bodies.append(recorded)
        return self._fill_value(recorded)

    def _issued_here(self, key: str, value: Any) -> Any:
        found = AS_IN.fullmatch(value) if isinstance(value, str) else None
        return self._bodies[int(found[1]) - 1][key] if found else value

    def _fill_value(self, value: Any) -> Any:
        match value:
            case str():
                return self._fill_text(value)
            case list():
                return [item for item in map(self._or_absent, value) if item is not Absent]
            case dict():
                return {key: self._fill_value(item) for key, item in value.items()}
            case _:
                return value

    def _or_absent(self, item: Any) -> Any:
        try:
            return self._fill_value(item)
        except Absent:
            return Absent

    def _fill_text(self, text: str) -> str:
        if text == "<model>":
            return self._model
        if found := OWN.fullmatch(text):
            values = self._answers[int(found[1]) - 1].get(found[2], [])
            if int(found[3]) >= len(values):
                raise Absent(text)
            return values[int(found[3])]
        return TEXT.sub(lambda found: filler(int(found[1])), text)


def filler(length: int) -> str:
    return (FILLER * (length // len(FILLER) + 1))[:length]
