"""Tests of streams from the client's point of view: early opening, keep-alives, limits, ends and back-pressure.

The tests send the provider's bytes themselves. ``gateway`` has the default timeouts, ``pinging`` sends keep-alives
every 0.3 s, and ``hasty`` also allows only one second of silence."""

import contextlib
import http.client
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import attrs
import pytest

from streams.event_stream import EVENT_STREAM
from tests.support.apis import OLDER, VENDORS, question
from tests.support.covering import covering_rows
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread, serve_module
from tests.support.harness import (
    PATIENCE,
    Gateway,
    Late,
    Listening,
    Reply,
    Wire,
    complaint,
    config,
    free_port,
    provider,
    retried_when_late,
)
from tests.support.raw_call import END, SSE, SUCCESS, chunks
from tests.support.upstreams import PATHS, Script, render

PAIRS = [(client, api) for client in OLDER for api in OLDER]
KEY = "sk-not-for-clients"

SCRIPT = Script(text="one two three")
COMMENT = b": ping\n\n"
PING = {"chat": COMMENT, "messages": b'event: ping\ndata: {"type":"ping"}\n\n', "responses": COMMENT}


def settings(by_hand: Listening, **more: Any) -> dict[str, Any]:
    entries = [provider(f"{VENDORS[api]}/on-{api}", by_hand.url, [api], key=f"{KEY}-{api}") for api in OLDER]
    entries.append(provider("amazon_bedrock/on-converse", by_hand.url, ["converse"], key=f"{KEY}-converse"))
    return config(entries, **more)


@pytest.fixture(scope="module", params=[gateway_thread])
def gateway(by_hand, request) -> Iterator[Gateway]:
    with request.param(settings(by_hand, limits={"event": "100kB", "answer": "200kB"})) as process:
        yield process
        text = "\n".join(process.log)
        assert "Traceback" not in text, text[-3000:]
        assert KEY not in text


@serve_module
def pinging(by_hand):
    return settings(by_hand, keep_alive="0.3s")


@serve_module
def hasty(by_hand):
    limits = {"timeouts": {"idle": "5s", "first_byte": "5s"}}
    return settings(by_hand, keep_alive="1.5s", **limits)


@serve_module
def calm(by_hand):
    """Run a gateway that sends no keep-alive of its own."""
    return settings(by_hand, keep_alive="1h")


CONVERSE_QUESTION = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}


class Client:
    """A client that reads its answer while it arrives."""

    def __init__(self, gateway: Gateway, api: str, model: str, stream: bool = True, **headers: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE)
        asked = json.dumps(CONVERSE_QUESTION if api == "converse" else question(api, model, stream=stream))
        path = f"/model/{model}/converse-stream" if api == "converse" else PATHS[api]
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request("POST", path, asked, {"content-type": "application/json", **sent})
        self.body = b""
        self.response: http.client.HTTPResponse | None = None

    def close(self) -> None:
        if self.response is not None:
            self.response.close()
        self.connection.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def head(self) -> http.client.HTTPResponse:
        """Wait for the head of the response, and return the response."""
        if self.response is None:
            self.response = self.connection.getresponse()
        return self.response

    def until(self, mark: bytes, times: int = 1) -> bytes:
        """Read until the body has ``mark`` so many ``times``, and return the body so far."""
        while self.body.count(mark) < times:
            data = self.head().read1(65536)
            assert data, f"the answer ended before {mark!r}: {self.body[-500:]!r}"
            self.body += data
        return self.body

    def read_to_end(self) -> bytes:
        """Return the whole body, or fail if it does not end properly."""
        self.body += self.head().read()
        return self.body

    def reply(self) -> Reply:
        headers = {name.lower(): value for name, value in self.head().getheaders()}
        return Reply(self.head().status, headers, self.read_to_end())


@contextlib.contextmanager
def call(
    gateway: Gateway, by_hand: Listening, api: str, model_api: str, stream: bool = True, **headers: str
) -> Iterator[tuple[Client, Wire]]:
    """Send a request to its provider, and yield both ends of the call."""
    with Client(gateway, api, f"on-{model_api}", stream, **headers) as client, by_hand.accept() as provider_end:
        provider_end.read_request()
        yield client, provider_end


@contextlib.contextmanager
def all_pairs(gateway: Gateway, by_hand: Listening) -> Iterator[dict[tuple[str, str], tuple[Client, Wire]]]:
    """Start a call of each client API to each provider API, all simultaneously, so that the test waits only once."""
    with contextlib.ExitStack() as stack:
        yield {pair: stack.enter_context(call(gateway, by_hand, *pair)) for pair in PAIRS}


def pieces(api: str, stream: bool = True) -> tuple[bytes, ...]:
    return render(SCRIPT, api, {"stream": stream, "model": "up"}).pieces


def until_content(api: str) -> int:
    """Return the number of pieces up to the first content."""
    return next(i for i, piece in enumerate(pieces(api)) if b'"one t' in piece) + 1


def half(api: str) -> bytes:
    return chunks(*pieces(api)[: until_content(api)])


def is_error_event(api: str, body: bytes) -> bool:
    """Return whether ``body`` ends with one error event of ``api``, and without a success."""
    name, last = Reply(200, {}, body.replace(COMMENT, b"")).events()[-1]
    found = {
        "chat": bool(last.get("error", {}).get("message")),
        "messages": name == "error" and bool(last["error"]["message"]) if name == "error" else False,
        "responses": name == "response.failed" and last["response"]["status"] == "failed",
    }[api]
    return found and SUCCESS[api] not in body and b"[DONE]" not in body and body.endswith(b"\n\n")


def in_time(begun: float, seconds: float) -> None:
    if (took := time.perf_counter() - begun) >= seconds:
        raise Late(f"it took {took:.3f} s")


# Opening


@pytest.mark.parametrize("opened", ["no_head", "head", "opening"])
def test_silence_opens_the_stream_and_the_answer_follows(pinging, by_hand, opened):
    begun = time.perf_counter()
    with all_pairs(pinging, by_hand) as calls:
        for (_, model_api), (_, provider_end) in calls.items():
            said = pieces(model_api)
            provider_end.send({"no_head": b"", "head": SSE, "opening": SSE + chunks(said[0])}[opened])
        for client, _ in calls.values():
            assert client.until(COMMENT).startswith(COMMENT)
            assert time.perf_counter() - begun > 0.25
            assert client.head().status == 200
            assert client.head().getheader("content-type", "").startswith("text/event-stream")
        for (api, model_api), (client, provider_end) in calls.items():
            said = pieces(model_api)
            left = {"no_head": SSE + chunks(*said), "head": chunks(*said), "opening": chunks(*said[1:])}[opened]
            provider_end.send(left + END)
            body = client.read_to_end()
            assert body.startswith(COMMENT)
            assert SUCCESS[api] in body
            assert body.replace(COMMENT, b"") == b"".join(said) or api != model_api


CODEX = {"originator": "codex_exec"}, {"user_agent": "codex_cli_rs/0.171.0 (Debian 12.0.0; x86_64) xterm"}
COUNTED = b'event: keepalive\ndata: {"type":"keepalive","sequence_number":%d}\n\n'


@each_row(("model_api", "headers"), product(OLDER, CODEX))
def test_codex_gets_keep_alives_that_it_counts(pinging, by_hand, model_api, headers):
    """Codex ignored comments, gave up after 300 s, and repeated its request (Menci/Floway#498, Soju06/codex-lb#727)."""
    with call(pinging, by_hand, "responses", model_api, **headers) as (client, provider_end):
        assert client.until(COUNTED % 0, 2) == COUNTED % 0 * 2
        provider_end.send(SSE + half(model_api))
        client.until(b"one t")
        client.until(b"keepalive", client.body.count(b"keepalive") + 2)
        provider_end.send(chunks(*pieces(model_api)[until_content(model_api) :]) + END)
        events = Reply(200, {}, client.read_to_end()).events()
    numbers = [event["sequence_number"] for _, event in events]
    own = [event["sequence_number"] for name, event in events if name != "keepalive"]
    assert numbers == sorted(numbers), "each repeats the number before it"
    assert own == list(range(len(own)))
    assert COMMENT not in client.body


@each_row("model_api", ["chat", "converse"])
def test_a_converse_client_gets_a_frame_before_the_first_content(pinging, by_hand, model_api):
    """boto3 gives up after 60 s without a byte."""
    with call(pinging, by_hand, "converse", model_api) as (client, _):
        frame = EVENT_STREAM.comment
        assert client.until(frame, 2) == frame * 2
        assert client.head().getheader("content-type") == EVENT_STREAM.content_type
        assert EVENT_STREAM.parse(frame) == ("ping", b"{}")


WAITING = {
    "chat": b": OPENROUTER PROCESSING\n\n",
    "messages": b'event: ping\ndata: {"type": "ping"}\n\n',
    "responses": b'event: keepalive\ndata: {"type":"keepalive","sequence_number":2}\n\n',
}
"""The keep-alives of providers."""


@each_row(("api", "model_api"), PAIRS)
def test_a_providers_own_keep_alives_reach_the_client_immediately(calm, by_hand, api, model_api):
    """The gateway delayed them until the first content. Every stream has a first ping of Anthropic, or a first comment
    of OpenRouter."""
    said = pieces(model_api)
    is_same = api == model_api == "chat"  # then comments pass unchanged
    with call(calm, by_hand, api, model_api) as (client, provider_end):
        provider_end.send(SSE + chunks(said[0], WAITING[model_api]))
        for times in range(1, 4):
            provider_end.send(chunks(WAITING[model_api]))
            expected = WAITING["chat"] if is_same else COMMENT
            found = client.until(expected, times)
            assert is_same or found == COMMENT * times
        provider_end.send(chunks(*said[1:]) + END)
        answer = client.read_to_end().removeprefix(COMMENT * 3)
    assert SUCCESS[api] in answer
    assert is_same or answer.count(WAITING[model_api]) <= 1
    if api == model_api:
        assert answer.replace(WAITING[api], b"") == b"".join(said).replace(WAITING[api], b"")


def test_a_failure_after_a_providers_keep_alive_is_an_error_event(calm, by_hand):
    with call(calm, by_hand, "chat", "responses") as (client, provider_end):
        provider_end.send(SSE + chunks(WAITING["responses"]))
        client.until(COMMENT)
        provider_end.send(END)
        assert is_error_event("chat", client.read_to_end())


LATE = {
    "status": b"HTTP/1.1 429 Too Many\r\ncontent-length: 29\r\n\r\n" + b'{"error":{"message":"spent"}}',
    "gone": b"",
    "html": b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 5\r\n\r\n<html",
}


@pytest.mark.parametrize("late", LATE)
def test_a_failure_after_an_early_opening_is_an_error_event(pinging, by_hand, late):
    with all_pairs(pinging, by_hand) as calls:
        for client, provider_end in calls.values():
            client.until(COMMENT)
            provider_end.send(LATE[late])
            provider_end.close()
        for (api, _), (client, _) in calls.items():
            reply = client.reply()
            assert reply.status == 200
            assert is_error_event(api, reply.body)
            assert (b"spent" in reply.body) == (late == "status")


@pytest.mark.parametrize(("api", "model_api"), PAIRS)
@retried_when_late
def test_content_is_passed_on_immediately(gateway, by_hand, api, model_api):
    with call(gateway, by_hand, api, model_api) as (client, provider_end):
        provider_end.send(SSE + half(model_api))
        begun = time.perf_counter()
        assert b"one t" in client.until(b"one t")
        in_time(begun, 0.1)


# Silence


@attrs.frozen
class SilentEnd:
    body: bytes
    seconds: float  # from the provider's last byte to the end


@pytest.fixture(scope="module")
def silent_ends(hasty, by_hand) -> Mapping[tuple[str, str], SilentEnd]:
    """Return each client's answer from a provider that falls silent after its first content; all run simultaneously."""
    calls = {}
    with contextlib.ExitStack() as stack:
        for pair in PAIRS:
            client, provider_end = stack.enter_context(call(hasty, by_hand, *pair))
            calls[pair] = client, time.perf_counter()
            provider_end.send(SSE + half(pair[1]))
        return {
            pair: SilentEnd(client.read_to_end(), time.perf_counter() - begun)
            for pair, (client, begun) in calls.items()
        }


@each_row(("api", "model_api"), PAIRS)
def test_pings_have_the_apis_own_form_and_extend_no_limit(silent_ends, api, model_api):
    found = silent_ends[api, model_api]
    before, _, after = found.body.rpartition(PING[api])
    assert 1 <= before.count(PING[api]) <= 4  # three on an idle machine
    assert before.startswith(b"".join(pieces(model_api)[: until_content(model_api)])) or api != model_api
    assert is_error_event(api, found.body)
    assert b"sent nothing for" in after
    assert 4.9 < found.seconds < PATIENCE


def test_a_provider_without_a_head_is_reported_after_the_opening(hasty, by_hand):
    """A whole answer would get a 504, but the stream has already been opened."""
    with call(hasty, by_hand, "chat", "chat") as (client, _):
        body = client.read_to_end()
        assert 1 <= body.count(COMMENT) <= 5
        assert is_error_event("chat", body)
        assert b"did not respond within 5 s" in body


@pytest.mark.parametrize("sent", [b"", SSE.replace(b"text/event-stream", b"application/json")], ids=["no_head", "head"])
def test_a_silent_provider_of_a_whole_answer_returns_504(hasty, by_hand, sent):
    with call(hasty, by_hand, "messages", "chat", stream=False) as (client, provider_end):
        provider_end.send(sent)
        complaint("messages", client.reply(), 504)


# Ends


WRONG_TYPES = (b"", b"content-type: text/plain\r\n", b"content-type: application/json\r\n")


@each_row("api, model_api, stream, type_line", covering_rows(OLDER, OLDER, (True, False), WRONG_TYPES))
def test_a_stream_with_a_wrong_content_type_is_a_stream(gateway, by_hand, api, model_api, stream, type_line):
    """https://github.com/containers/ramalama/issues/2837, https://github.com/BerriAI/litellm/issues/25766"""
    with call(gateway, by_hand, api, model_api, stream) as (client, provider_end):
        provider_end.send(b"HTTP/1.1 200 OK\r\n" + type_line + b"transfer-encoding: chunked\r\n\r\n")
        provider_end.send(chunks(*pieces(model_api)) + END)
        reply = client.reply()
        assert (reply.status, reply.headers["content-type"].partition(";")[0]) == (
            (200, "text/event-stream") if stream else (200, "application/json")
        )
        assert (SUCCESS[api] if stream else b"one two three") in reply.body


@each_row("api, model_api, stream", covering_rows(OLDER, OLDER, (True, False)))
def test_a_whole_answer_with_the_content_type_of_a_stream_is_whole(gateway, by_hand, api, model_api, stream):
    """https://github.com/Wei-Shaw/sub2api/issues/1311"""
    (body,) = pieces(model_api, stream=False)
    with call(gateway, by_hand, api, model_api, stream) as (client, provider_end):
        provider_end.send(SSE.partition(b"transfer-encoding")[0] + b"content-length: %d\r\n\r\n" % len(body) + body)
        reply = client.reply()
        assert reply.status == 200
        assert b"three" in reply.body
        assert SUCCESS[api] in reply.body if stream else reply.json


# Sizes and codings

LARGE = b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * 300_000 + b'"}}]}\n\n'


@pytest.mark.parametrize("api", OLDER)
def test_an_event_above_the_limit_after_content_is_an_error_event(gateway, by_hand, api):
    with call(gateway, by_hand, api, "chat") as (client, provider_end):
        provider_end.send(SSE + half("chat"))
        client.until(b"one t")
        provider_end.send(chunks(LARGE))
        assert is_error_event(api, client.read_to_end())
        assert b"limits.event" in client.body
        assert b"xxx" not in client.body


# Limits


def test_as_many_clients_as_the_limit_allows_are_never_refused(upstream):
    """A client with its whole answer may send the next request before the tasks of the last one have ended."""
    port, many, each = free_port(), 8, 15
    settings = config([provider("openai/m", upstream.url, ["chat"])], port, limits={"in_flight": many})
    upstream.script(*[Script(text="one two")] * many * each)
    statuses: list[int] = []

    def ask_again_and_again(stream: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        with contextlib.closing(connection):
            for _ in range(each):
                body = json.dumps(question("chat", "m", stream=stream))
                connection.request("POST", PATHS["chat"], body, {"content-type": "application/json"})
                reply = connection.getresponse()
                reply.read()
                statuses.append(reply.status)

    with gateway_thread(settings, port), ThreadPoolExecutor(many) as pool:
        list(pool.map(ask_again_and_again, [True, False] * (many // 2)))
    assert Counter(statuses) == {200: many * each}


@each_row("api", OLDER)
def test_an_error_body_that_breaks_off_keeps_its_status(gateway, by_hand, api):
    with call(gateway, by_hand, api, "chat") as (client, provider_end):
        provider_end.send(b'HTTP/1.1 429 Too Many\r\nretry-after: 7\r\ncontent-length: 900\r\n\r\n{"error":')
        provider_end.close()
        reply = client.reply()
        complaint(api, reply, 429)
        assert reply.headers["retry-after"] == "7"


@each_row(("stream", "api"), product([True, False], OLDER))
def test_an_answer_above_the_limit_returns_502(gateway, by_hand, api, stream):
    with call(gateway, by_hand, api, "chat", stream) as (client, provider_end):
        head = SSE.replace(b"text/event-stream", b"application/json")
        provider_end.send(head + chunks(b'{"choices": "' + b"x" * 300_000))
        assert "limits.answer" in complaint(api, client.reply(), 502)["message"]
