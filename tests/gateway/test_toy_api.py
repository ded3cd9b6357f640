"""An API that the gateway has never heard of (``tests/support/toy_api.py``), in front of all others and behind them.

Its model stands in the path, its streams come in binary frames, its requests are signed with a token that expires."""

import contextlib
import http.client
import json
from collections.abc import Iterator
from typing import Any, cast

import attrs
import pytest

from gateway.app import whole_app
from gateway.config.loading import from_mapping
from gateway.config.model_entry import ModelEntry
from gateway.open_service import open_service
from gateway.serving.lifecycle import Lifecycle
from providers.apis import CODECS
from providers.neutral.codec import Codec
from streams.events import AnswerEnd, ErrorInfo
from streams.fold import Answer, Fold, TextBlock, ToolCallBlock
from tests.support.each_row import each_row
from tests.support.gateway_thread import app_thread
from tests.support.harness import PATIENCE, config, eventually, provider
from tests.support.toy_api import ROW, TOY, frame, signature
from tests.support.upstreams import Raw, Script, Seen, ToolCall, Upstream, pieces, serve_upstream

APIS = ("chat", "messages", "responses", "toy")
OTHERS = APIS[:-1]
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
MODEL = "big one/v2"  # a name that a path cannot hold as it is
CALL = ToolCall("call_w1", "get_weather", '{"city": "Zürich"}')
FRAMES = (("content-type", "application/vnd.toy.frames"),)


def toy_frames(script: Script) -> list[bytes]:
    text = [frame("text", {"text": piece}) for piece in pieces(script.text)] if script.text else []
    calls = [frame("call", {"id": call.id, "name": call.name, "input": call.arguments}) for call in script.calls]
    why = "calls" if script.calls else "done"
    done = frame("done", {"why": why, "in": script.tokens.prompt, "out": script.tokens.output})
    return [frame("begin", {"id": "toy_1", "model": MODEL}), *text, *calls, done]


def toy_answer(script: Script) -> bytes:
    text = [{"is": "text", "text": script.text}] if script.text else []
    calls = [{"is": "call", "id": call.id, "name": call.name, "input": call.arguments} for call in script.calls]
    why = {"why": "calls" if script.calls else "done", "in": script.tokens.prompt, "out": script.tokens.output}
    return json.dumps({"id": "toy_1", "model": MODEL, "said": [*text, *calls], **why}).encode()


class Tokens:
    """A source of credentials whose token holds for three requests."""

    def __init__(self) -> None:
        self.given: list[str] = []
        self._left = 0

    async def credential(self) -> str:
        if not self._left:
            self.given.append(f"toy-token-{len(self.given)}")
            self._left = 3
        self._left -= 1
        return self.given[-1]

    async def renew(self, refused: Any) -> None:
        return None


class Providers(Upstream):
    """Providers of all APIs. That of toys takes a request whose signature fits it, and answers 401 to any other."""

    tokens = Tokens()

    def answer(self, seen: Seen) -> Raw:
        if not seen.path.startswith("/toy/"):
            return super().answer(seen)
        script = self.take(seen)
        if not self._is_signed(seen):
            return Raw(401, (), (b'{"oops": {"what": "authentication", "words": "the signature does not fit"}}',))
        if isinstance(script, Raw):
            return script
        if seen.path.endswith("/ask-in-frames"):
            return Raw(200, FRAMES, tuple(toy_frames(script)), "chunked")
        return Raw(200, (("content-type", "application/json"),), (toy_answer(script),))

    def _is_signed(self, seen: Seen) -> bool:
        headers = dict(seen.headers)
        names = headers["x-toy-signed"].split()
        signed = {name: headers[name] for name in names}
        path = seen.path + (f"?{seen.query}" if seen.query else "")
        found = headers["x-toy-signature"]
        given = (*self.tokens.given, "a-clients-own")
        return "content-type" in names and any(
            signature(token, seen.method, path, signed, seen.body, headers["x-toy-at"]) == found for token in given
        )


def entry(name: str, model: str, **more: Any) -> ModelEntry:
    """An entry of the toy provider, as if a file had it."""
    return ModelEntry(f"{ROW.id}/{model}", name, provider=ROW, model=model, speaks=ROW.speaks, **more)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Providers]:
    with serve_upstream(Providers) as providers:
        yield providers


@attrs.frozen
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


@attrs.frozen
class Gateway:
    port: int
    lifecycle: Lifecycle

    def open(self, path: str, body: Any, headers: dict[str, str]) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json", **headers})
        return connection

    def ask(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Reply:
        connection = self.open(path, body, headers or {})
        response = connection.getresponse()
        reply = Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        connection.close()
        return reply


@contextlib.contextmanager
def registered_codec(codec: Codec) -> Iterator[None]:
    """Register ``codec`` for apps that are created within the block."""
    registry = cast("dict[str, Codec]", CODECS)
    assert codec.api not in registry
    registry[codec.api] = codec
    try:
        yield
    finally:
        del registry[codec.api]


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    """A gateway on a thread, in which toys are spoken."""
    rows = [("openai", "chat"), ("anthropic", "messages"), ("openai", "responses")]
    entries = [provider(f"{maker}/up-{api}", upstream.url, [api], name=f"up-{api}") for maker, api in rows]
    settings = from_mapping(config(entries, 1, state_storage={"type": "none"}))
    toys = entry("up-toy", MODEL, base_url=upstream.url)
    passed = entry("passed-toy", f"passed {MODEL}", base_url=upstream.url, passthrough_auth=True)
    settings = attrs.evolve(settings, entries=(*settings.entries, toys, passed), keep_alive=0.1)
    lifecycle = Lifecycle()
    with registered_codec(TOY):
        service = attrs.evolve(open_service(settings, lifecycle, None, True), credentials={"up-toy": upstream.tokens})
        with app_thread(whole_app(settings, service), lifecycle) as port:
            yield Gateway(port, lifecycle)


@pytest.fixture(params=[True, False], ids=["stream", "whole"])
def stream(request) -> bool:
    return request.param


@pytest.fixture(params=[*((client, "toy") for client in APIS), *(("toy", upstream) for upstream in OTHERS)], ids=str)
def way(request) -> tuple[str, str]:
    """The API of a client, and that of its provider: a toy on one side at least."""
    return request.param


def asked(client: str, upstream: str, stream: bool, text: str = "Hi", tools: bool = False) -> tuple[str, Any]:
    """Path and body of a request."""
    model, schema = f"up-{upstream}", {"type": "object", "properties": {"city": {"type": "string"}}}
    if client == "toy":
        toy: dict[str, Any] = {"say": [{"who": "boss", "text": "Be kind."}, {"who": "user", "text": text}]}
        if tools:
            toy["tools"] = [{"name": "get_weather", "about": "a", "schema": schema}]
        return f"/toy/models/{model}/ask{'-in-frames' if stream else ''}", toy
    body: dict[str, Any] = {"model": model, "stream": stream}
    function = {"name": "get_weather", "parameters": schema}
    match client:
        case "chat":
            body["messages"] = [{"role": "user", "content": text}]
            body |= {"stream_options": {"include_usage": True}} if stream else {}
            offered: Any = {"type": "function", "function": function}
        case "messages":
            body |= {"messages": [{"role": "user", "content": text}], "max_tokens": 100}
            offered = {"name": "get_weather", "input_schema": schema}
        case _:
            body |= {"input": text, "store": False}
            offered = {"type": "function", **function}
    return PATHS[client], body | ({"tools": [offered]} if tools else {})


def folded(client: str, reply: Reply, stream: bool) -> Answer:
    """The answer as a client of the API understands it."""
    codec, fold = CODECS[client], Fold()
    events = codec.read_answer(reply.body) if not stream else read(client, reply.body)
    for event in events:
        fold.add(event)
    return fold.answer()


def read(client: str, body: bytes) -> list[Any]:
    codec, framing = CODECS[client], CODECS[client].wire.framing
    splitter, reader = framing.splitter(2**20), codec.reader()
    parsed = [found for raw in splitter.feed(body) if (found := framing.parse(raw)) is not None]
    assert splitter.close() == b""
    return [*(event for found in parsed for event in reader.read_event(*found)), *reader.close()]


def failures(client: str, body: bytes) -> list[ErrorInfo]:
    return [event for event in read(client, body) if isinstance(event, ErrorInfo)]


@pytest.mark.sample(2, by="place")
def test_text_and_the_path_of_its_model(gateway, upstream, way, stream):
    upstream.script(Script(text="Grüezi, wie geht es? 😀"))
    reply = gateway.ask(*asked(*way, stream))
    assert reply.status == 200, reply.body
    answer = folded(way[0], reply, stream)
    assert "".join(block.text for block in answer.blocks if isinstance(block, TextBlock)) == "Grüezi, wie geht es? 😀"
    assert answer.end.reason == "stop"
    assert (answer.usage.prompt, answer.usage.output) == (11, 7)
    assert reply.headers["x-trigate-lane"] == ("byte" if way == ("toy", "toy") else "hub")
    assert "x-toy-request" in reply.headers or way[0] != "toy"
    (seen,) = upstream.seen
    if way[1] == "toy":
        assert seen.path == f"/toy/models/big%20one%2Fv2/ask{'-in-frames' if stream else ''}"
        assert seen.json["say"][-1] == {"who": "user", "text": "Hi"}
        assert not {"model", "stream"} & set(seen.json)
        assert seen.header("accept") == ("application/vnd.toy.frames" if stream else "application/json")
    else:
        assert seen.path == PATHS[way[1]]
        assert seen.json["model"] == f"up-{way[1]}"
        assert bool(seen.json.get("stream")) is stream
        assert "Be kind." in json.dumps(seen.json)


@pytest.mark.sample(2, by="place")
def test_a_call_of_a_tool(gateway, upstream, way, stream):
    upstream.script(Script(text="Let me look.", calls=(CALL,), stop="tool_calls"))
    answer = folded(way[0], gateway.ask(*asked(*way, stream, tools=True)), stream)
    (call,) = (block for block in answer.blocks if isinstance(block, ToolCallBlock))
    assert (call.id, call.name, json.loads(call.input)) == ("call_w1", "get_weather", {"city": "Zürich"})
    assert answer.end.reason == "tool_calls"
    assert "get_weather" in json.dumps(upstream.seen[0].json["tools"])


ERRORS = {
    "chat": b'{"error": {"message": "slow down", "type": "rate_limit_error", "code": null}}',
    "messages": b'{"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}',
    "responses": b'{"error": {"message": "slow down", "type": "rate_limit_error", "code": null}}',
    "toy": b'{"oops": {"what": "rate_limited", "words": "slow down"}}',
}


@pytest.mark.sample(2, by="place")
def test_an_error_before_the_answer_has_its_status_and_the_clients_shape(gateway, upstream, way, stream):
    upstream.script(Raw(429, (("retry-after", "7"),), (ERRORS[way[1]],)))
    reply = gateway.ask(*asked(*way, stream))
    assert reply.status == 429
    assert b"slow down" in reply.body
    assert CODECS[way[0]].is_own_error(json.loads(reply.body))


def begun_frames() -> tuple[bytes, ...]:
    """Return the first frames of a stream, up to content."""
    return tuple(toy_frames(Script(text="one two three"))[:2])


def test_a_frame_that_is_cut_or_broken_ends_the_stream_with_an_error(gateway, upstream):
    begun = b"".join(begun_frames())
    for bad in (begun[:-3], begun + b"\0\0\0\x0c\x03abc0000", begun + b"\x7f\xff\xff\xff"):
        for client in APIS:
            upstream.script(Raw(200, FRAMES, (bad,), "chunked"))
            reply = gateway.ask(*asked(client, "toy", True))
            if reply.status == 200:
                assert len(failures(client, reply.body)) == 1
                assert not any(isinstance(event, AnswerEnd) for event in read(client, reply.body))
            else:
                assert reply.status == 502


@each_row("client", APIS)
def test_an_error_in_a_toys_stream_is_the_clients_last_event(gateway, upstream, client):
    oops = frame("oops", {"what": "overloaded", "words": "too much"})
    upstream.script(Raw(200, FRAMES, (*begun_frames(), oops, frame("text", {"text": "more"})), "chunked"))
    reply = gateway.ask(*asked(client, "toy", True))
    (failed,) = failures(client, reply.body)
    assert failed.message == "too much"
    assert b"more" not in reply.body


def test_the_byte_lane_gives_a_toys_frames_unchanged(gateway, upstream):
    frames = toy_frames(Script(text="one two three", calls=(CALL,), stop="tool_calls"))
    odd = [frames[0], frame("news", {"nobody": "knows"}), *frames[1:]]
    data = b"".join(odd)
    for size in (1, 7, len(data)):
        parts = tuple(data[at : at + size] for at in range(0, len(data), size))
        upstream.script(Raw(200, FRAMES, parts, "chunked"))
        reply = gateway.ask(*asked("toy", "toy", True))
        assert reply.body == data
        assert reply.headers["content-type"] == "application/vnd.toy.frames"


def test_headers_and_query_of_an_api_are_sent_only_to_its_providers(gateway, upstream):
    path, body = asked("toy", "toy", stream=False)
    sent = {"x-toy-mood": "good", "anthropic-beta": "b", "x-toy-signature": "forged"}
    upstream.script(Script(text="ok"), Script(text="ok"))
    assert gateway.ask(f"{path}?humour=dry&beta=true&x=1", body, sent).status == 200
    (seen,) = upstream.seen
    assert seen.query == "humour=dry"
    assert (seen.header("x-toy-mood"), seen.header("anthropic-beta")) == ("good", None)
    chat, body = asked("chat", "chat", stream=False)
    assert gateway.ask(f"{chat}?humour=dry&x=1", body, sent).status == 200
    assert (upstream.seen[1].query, upstream.seen[1].header("x-toy-mood")) == ("", None)


def test_a_clients_own_credential_signs_where_it_is_passed_on(gateway, upstream):
    upstream.script(Script(text="ok"), Script(text="ok"))
    path, body = asked("toy", "toy", stream=False)
    path = path.replace("up-toy", "passed-toy")
    assert gateway.ask(path, body, {"authorization": "Bearer a-clients-own"}).status == 200
    assert gateway.ask(path, body, {"authorization": "Bearer wrong-credential"}).status == 401


def test_the_tokens_of_a_toy_are_counted(gateway, upstream):
    upstream.script(Raw(200, (("content-type", "application/json"),), (b'{"input_tokens": 42}',)))
    reply = gateway.ask("/toy/models/up-toy/count", asked("toy", "toy", stream=False)[1])
    assert json.loads(reply.body) == {"input_tokens": 42}
    assert upstream.seen[0].path == "/toy/models/big%20one%2Fv2/count"
    messages = asked("messages", "toy", stream=False)[1]
    upstream.script(Raw(200, (("content-type", "application/json"),), (b'{"input_tokens": 43}',)))
    assert json.loads(gateway.ask("/v1/messages/count_tokens", messages).body) == {"input_tokens": 43}


def test_a_silent_providers_client_gets_pings_in_its_own_api(gateway, upstream):
    """A toy has an event for it, and before the first content nothing that could be sent."""
    begun = begun_frames()
    upstream.script(Raw(200, FRAMES, begun, "hang"))
    path, body = asked("toy", "toy", stream=True)
    connection = gateway.open(path, body, {})
    response = connection.getresponse()
    data = b""
    while b"beat" not in data:
        more = response.read1()
        assert more, data
        data += more
    assert data.startswith(b"".join(begun))
    connection.close()
    eventually(lambda: not gateway.lifecycle.in_flight, what="the end of the request")


def test_a_mistake_of_the_client_is_reported_in_its_shape(gateway, upstream):
    upstream.script()
    for path, body in (("/toy/models/up-toy/ask", {}), ("/toy/models/nobody/ask", {"say": []})):
        reply = gateway.ask(path, body)
        assert reply.status in (400, 404)
        assert "words" in json.loads(reply.body)["oops"]
    assert upstream.seen == []
