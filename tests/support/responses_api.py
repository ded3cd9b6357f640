"""Turns of the Responses API from outside: requests, responses, and the nodes in a store's file."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.conversations.recorder import TurnRecorder
from gateway.streaming.lane import StreamProgress
from providers.grammar import judge
from streams.sse import COMMENT_PING
from tests.support.apis import OLDER
from tests.support.harness import Gateway, Listening, Reply, Wire, eventually, post, provider
from tests.support.raw_call import SSE, answer_stream, chunks
from tests.support.upstreams import Upstream

each_api = pytest.mark.parametrize("api", OLDER)
both_ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


async def forwarded_data(turn: TurnRecorder, data: bytes, progress: StreamProgress) -> bytes:
    """Return the data to send to the client for ``data``, stored first if necessary."""
    return data if turn.may_pass(data, progress) else await turn.persist(data, progress)


def entries(upstream: Upstream, by_hand: Listening | None = None, **more: Any) -> list[dict[str, Any]]:
    """Return a model for each provider API: ``on-chat`` and so on, and ``hand-chat`` and so on for the hand-played
    provider. trigate keeps the turns of all of them."""
    places = {"on": upstream.url, **({"hand": by_hand.url} if by_hand is not None else {})}
    return [
        provider(f"openai/{name}-{api}", url, [api], state="ours", **more)
        for name, url in places.items()
        for api in OLDER
    ]


def turn(gateway: Gateway, model: str, input: Any = "hi", key: str | None = None, **more: Any) -> Reply:
    """Make one turn, and return its response."""
    return gateway.request("POST", "/v1/responses", {"model": model, "input": input, **more}, bearer(key))


def bearer(key: str | None) -> Mapping[str, str]:
    return {} if key is None else {"authorization": f"Bearer {key}"}


def stored(gateway: Gateway, id: str, rest: str = "", key: str | None = None) -> Reply:
    return gateway.request("GET", f"/v1/responses/{id}{rest}", headers=bearer(key))


def final(reply: Reply) -> dict[str, Any]:
    """Return the response object of an answer. A stream is checked against the grammar."""
    assert reply.status == 200, reply.body
    if reply.headers["content-type"] == "application/json":
        return reply.json  # type: ignore[no-any-return]
    check_stream(reply.body)
    return reply.events()[-1][1]["response"]  # type: ignore[no-any-return]


def check_stream(body: bytes) -> None:
    """Check that a stream is complete, well-formed, and numbered without gaps."""
    verdict = judge("responses", body, streamed=True)
    assert verdict.broken is None, verdict.broken
    numbers = numbers_of(body)
    assert numbers == list(range(len(numbers)))


def numbers_of(body: bytes) -> list[int]:
    return [event["sequence_number"] for _, event in Reply(200, {}, body).events()]


def text_of(response: Mapping[str, Any]) -> str:
    """Return the text in an answer's messages."""
    parts = [part for item in response["output"] if item["type"] == "message" for part in item["content"]]
    return "".join(part.get("text", "") for part in parts)


def refusal(reply: Reply, status: int = 400) -> dict[str, Any]:
    assert reply.status == status, reply.body
    return reply.json["error"]  # type: ignore[no-any-return]


def read_chunks(data: bytes) -> bytes:
    """Return the content of the complete chunks in a response without keep-alives, or all of ``data`` if it is not
    chunked."""
    head, _, rest = data.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return rest
    out = b""
    while (cut := rest.find(b"\r\n")) >= 0 and (size := int(rest[:cut], 16)) <= len(rest) - cut - 2:
        out += rest[cut + 2 : cut + 2 + size]
        rest = rest[cut + 4 + size :]
    return out.replace(COMMENT_PING, b"")


@contextlib.contextmanager
def speaking(
    gateway: Gateway, by_hand: Listening, api: str, key: str | None = None, **more: Any
) -> Iterator[tuple[Wire, Wire, str]]:
    """Make a streamed turn up to the text "one t": yield the client's end, the provider's end, and its id."""
    asked = {"model": f"hand-{api}", "input": "hi", "stream": True, **more}
    with Wire.connect(gateway.port) as client:
        client.send(post("/v1/responses", asked, {**bearer(key), "connection": "close"}))
        with by_hand.accept() as up:
            up.read_request()
            up.send(answer_stream(api).half)
            body = read_chunks(client.read_until(b"one t"))
            created = json.loads(body.split(b"\n")[1].removeprefix(b"data: "))
            yield client, up, created["response"]["id"]


def stream_opening(api: str) -> bytes:
    """Return the begin of a stream, before any content."""
    return SSE + chunks(*answer_stream(api).opening)


def wait_for_status(
    gateway: Gateway, id: str, *statuses: str, key: str | None = None, seconds: float = 15
) -> dict[str, Any]:
    """Return the stored response as soon as it has one of these statuses."""

    def there() -> dict[str, Any] | None:
        reply = stored(gateway, id, key=key)
        return reply.json if reply.status == 200 and reply.json["status"] in statuses else None

    return eventually(there, seconds, f"{id} being {' or '.join(statuses)}")  # type: ignore[no-any-return]


def stored_ids(path: Path) -> set[str]:
    """Return the ids of all nodes in a SQLite store."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        try:
            return {id for (id,) in db.execute("SELECT id FROM nodes")}
        except sqlite3.OperationalError:  # nothing is stored yet
            return set()


def sqlite_at(path: Path) -> dict[str, str]:
    """Return the configuration of a store in a file."""
    return {"type": "sqlite", "path": str(path)}


def sent_bodies(upstream: Upstream) -> Sequence[Any]:
    """Return the bodies of the requests to the provider."""
    return [seen.json for seen in upstream.seen]
