"""Tests that the gateway masks real keys in all kinds of answers, but not words that equal a placeholder key, such as
those for local servers."""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from tests.support.apis import OLDER, VENDORS, question
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Wire, config, post, provider
from tests.support.raw_call import SSE, check_log, chunks
from tests.support.upstreams import JSON, PATHS, STREAM, Raw, Script, render

REAL = "sk-not-to-be-told"
KEYS = {"none": "none", "ollama": "ollama", "EMPTY": "EMPTY", "real": REAL}


@pytest.fixture(scope="module")
def gateway(upstream, by_hand) -> Iterator[Gateway]:
    entries = [
        provider(f"{VENDORS[api]}/{name}-{api}", upstream.url, [api], key=key)
        for name, key in KEYS.items()
        for api in OLDER
    ]
    entries += [provider(f"openai/by-hand-{name}", by_hand.url, ["chat"], key=key) for name, key in KEYS.items()]
    with gateway_thread(config(entries)) as process:
        yield process
        check_log(process)
        assert REAL not in "\n".join(process.log)


@pytest.fixture(params=KEYS)
def name(request) -> str:
    return request.param


def with_each_key(*factors: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return all rows of the factors with the real key, and again with the placeholders in rotation."""
    placeholders = [name for name in KEYS if name != "real"]
    rows = enumerate(itertools.product(*factors))
    return [(name, *row) for at, row in rows for name in (placeholders[(at + at // 3) % 3], "real")]


def sentence(name: str) -> str:
    return f"of them {KEYS[name]} is spent"


def judge(name: str, text: str) -> None:
    """Check that ``text`` has the whole ``sentence``, or the sentence without the key if the key is real."""
    assert ("of them [redacted] is spent" if name == "real" else sentence(name)) in text
    assert ("[redacted]" in text) == (name == "real")
    assert REAL not in text


def ask(gateway: Gateway, api: str, model: str, stream: bool = False, path: str = "") -> str:
    return gateway.request("POST", PATHS[api] + path, question(api, model, stream=stream)).body.decode()


# Errors in both lanes: a whole body, and an event before and after content


def failing(api: str, text: str) -> dict[str, Any]:
    if api == "messages":
        return {"type": "error", "error": {"type": "invalid_request_error", "message": text}}
    return {"error": {"message": text, "type": "invalid_request_error", "code": None, "param": None}}


@pytest.mark.parametrize(("name", "api", "model_api"), with_each_key(OLDER, OLDER))
def test_an_error_is_reported_in_the_providers_words(gateway, upstream, name, api, model_api):
    body = json.dumps(failing(model_api, sentence(name))).encode()
    upstream.script(Raw(400, JSON, (body,)))
    judge(name, ask(gateway, api, f"{name}-{model_api}"))


def event_of(api: str, text: str) -> bytes:
    events: Mapping[str, tuple[str, Any]] = {
        "chat": ("", failing("chat", text)),
        "messages": ("event: error\n", {"type": "error", "error": {"type": "api_error", "message": text}}),
        "responses": ("event: error\n", {"type": "error", "code": "x", "message": text, "param": None}),
    }
    line, data = events[api]
    return f"{line}data: {json.dumps(data)}\n\n".encode()


def first_pieces(api: str) -> tuple[bytes, ...]:
    pieces = render(Script(text="one two three"), api, {"model": "up", "stream": True}).pieces
    return pieces[: next(i for i, piece in enumerate(pieces) if b'"one t' in piece) + 1]


@pytest.mark.parametrize(
    ("name", "opening", "api", "model_api"), with_each_key([first_pieces, lambda api: ()], OLDER, OLDER)
)
def test_an_error_event_is_reported_in_the_providers_words(
    gateway, upstream, name, api, model_api, opening: Callable[[str], tuple[bytes, ...]]
):
    pieces = (*opening(model_api), event_of(model_api, sentence(name)))
    upstream.script(Raw(200, STREAM, pieces, "chunked"))
    judge(name, ask(gateway, api, f"{name}-{model_api}", stream=True))


# Answers that pass unchanged


@pytest.mark.parametrize(("name", "stream", "api"), with_each_key([False, True], OLDER))
def test_a_good_answer_passes_unchanged(gateway, upstream, name, api, stream):
    raw = render(Script(text=sentence(name)), api, {"model": "up", "stream": stream})
    upstream.script(raw)
    assert ask(gateway, api, f"{name}-{api}", stream).encode() == b"".join(raw.pieces)


def test_a_providers_own_compaction_keeps_its_words(gateway, upstream, name):
    body = {"id": "resp_1", "object": "response.compaction", "output": [{"type": "compaction", "text": sentence(name)}]}
    upstream.script(Raw(200, JSON, (json.dumps(body).encode(),)))
    judge(name, ask(gateway, "responses", f"{name}-responses", path="/compact"))


def test_a_failed_response_keeps_its_words(gateway, upstream, name):
    body = {
        "id": "resp_1", "object": "response", "created_at": 1, "status": "failed", "model": "m", "output": [],
        "error": {"code": "server_error", "message": sentence(name)},
    }  # fmt: skip
    upstream.script(Raw(200, JSON, (json.dumps(body).encode(),)))
    judge(name, ask(gateway, "responses", f"{name}-responses"))


# The live view


def number_of(gateway: Gateway, id: str) -> int:
    """Return the number of a request's stream in the live view."""
    with Wire.connect(gateway.port) as wire:
        wire.send(b"GET /ui/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
        text = wire.read_until(b"\n\n\r\n").partition(b"event: all\ndata: ")[2]
    found = json.loads(text.partition(b"\n")[0])
    rows = [dict(zip(found["columns"], row, strict=True)) for row in found["streams"]]
    return int(next(row["n"] for row in rows if row["id"] == id))


@needs_feature("live_view")
def test_an_opened_stream_shows_its_words(gateway, by_hand, name):
    delta = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": sentence(name)}}]}
    event = b"data: %b\n\n" % json.dumps({"id": "c", "object": "chat.completion.chunk", **delta}).encode()
    sent = {"model": f"by-hand-{name}", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with Wire.connect(gateway.port) as client, Wire.connect(gateway.port) as viewer:
        client.send(post(PATHS["chat"], sent, {"x-request-id": f"opened-{name}"}))
        with by_hand.accept() as up:
            up.read_request()
            number = number_of(gateway, f"opened-{name}")
            viewer.send(f"GET /ui/streams/{number} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
            viewer.read_until(b"event: opened")
            up.send(SSE + chunks(event))
            client.read_until(b"is spent")
            judge(name, viewer.read_until(b"is spent").decode())
