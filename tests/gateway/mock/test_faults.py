"""The stand-in provider's faults: available by name on every API, listed, and true to their names on the wire."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import attrs
import pytest
import trio

from gateway.mock.failures import FAILURES, MODELS, fault_descriptions, fault_of
from gateway.mock.server import create_mock
from gateway.serving.lifecycle import Lifecycle
from providers.apis import CODECS
from providers.neutral.codec import Recipient
from providers.neutral.request import Message, Parameter, Request, TextPart, Tool
from providers.neutral.seal import Issuer
from streams.errors import GatewayError
from streams.events import AnswerEnd, ErrorInfo, Usage
from tests.support.asgi_app import eventually
from tests.support.cases import case
from tests.support.command_line import invoke
from tests.support.covering import covering_rows
from tests.support.each_row import each_row
from tests.support.gateway_thread import app_thread, demo_thread, mock_thread
from tests.support.harness import PATIENCE, ROOT, request
from tests.support.provider_streams import read_stream
from tests.support.wire_clients import body_of, path_of, text_of

PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
TOOL = Tool("f", schema={"type": "object"})


def question(api: str, model: str, stream: bool, tools: tuple[Tool, ...] = ()) -> bytes:
    """Return the body of a small request of any API."""
    said = Message("user", (TextPart("hi"),))
    asked = Request(
        api, model, (said,), stream=stream, tools=tools, parameters={"max_tokens": Parameter(100, "max_tokens")}
    )
    return CODECS[api].write_request(asked, Recipient(model, Issuer("mock", ""))).body


def path(api: str, model: str, stream: bool) -> str:
    wire = CODECS[api].wire
    return wire.root + wire.path.replace("{model}", model) + wire.suffix("answer", stream)


@attrs.frozen
class Mock:
    """The mock provider on its own port, in a thread of this process."""

    port: int
    lifecycle: Lifecycle

    async def ask(
        self, api: str, model: str, stream: bool = False, tools: tuple[Tool, ...] = (), **more: Any
    ) -> trio.SocketStream:
        """Send a request, and return its connection."""
        body = question(api, model, stream, tools)
        if more:
            body = json.dumps(json.loads(body) | more).encode()
        asked = f"POST {path(api, model, stream)} HTTP/1.1\r\nhost: mock\r\nconnection: close\r\n"
        connection = await trio.open_tcp_stream("127.0.0.1", self.port)
        await connection.send_all(asked.encode() + b"content-length: %d\r\n\r\n%b" % (len(body), body))
        return connection


@contextlib.contextmanager
def mock() -> Iterator[Mock]:
    lifecycle = Lifecycle()
    with app_thread(create_mock(0, lifecycle), lifecycle) as port, trio.fail_after(4 * PATIENCE):
        yield Mock(port, lifecycle)


async def read(stream: trio.SocketStream) -> tuple[bytes, str]:
    """Read the connection to its end, and return the bytes and the kind of end: ``FIN`` or ``RST``."""
    found = b""
    async with stream:
        try:
            async for data in stream:
                found += data
        except trio.BrokenResourceError:
            return found, "RST"
    return found, "FIN"


# Names


@each_row(
    ("model", "name", "number"),
    [
        ("fault/cut-after-3", "cut-after", 3),
        ("fault/cut-after", "cut-after", 3),
        ("fault/cut-after-0", "cut-after", 0),
        ("cut-after-20", "cut-after", 20),  # the name that a gateway sends if it takes `fault` for the provider
        ("fault/slow-first-byte-20", "slow-first-byte", 20),
        ("fault/429", "429", 0),
        ("fault/529-then-ok", "529-then-ok", 0),
        ("fault/stall", "stall", 0),
    ],
)
def test_a_name_means_a_fault_and_its_number(model, name, number):
    found = fault_of(model)
    assert (found[0], found[2]) == (name, number)


@each_row("model", ["", "mock-small", "gpt-4o-mini", "claude-3", "other/429", "stall-7", "429-1"])
def test_other_models_have_no_fault(model):
    assert fault_of(model) is None


@each_row("model", ["fault/", "fault/cut", "fault/stall-7", "fault/cut-after-x", "fault/cut-after-99999"])
def test_a_fault_that_there_is_not_is_a_404_that_names_those_there_are(model):
    with pytest.raises(GatewayError, match=r"fault/cut-after-3, fault/reset-after-3") as raised:
        fault_of(model)
    assert raised.value.info.status == 404


def test_every_listed_name_means_its_own_row():
    assert [fault_of(name)[1] for name in fault_descriptions()] == list(MODELS.values())


# On the wire


async def test_a_cut_is_a_fin_after_the_words_without_the_last_chunk():
    with mock() as served:
        body, end = await read(await served.ask("chat", "fault/cut-after-5", stream=True))
    assert end == "FIN"
    assert body.count(b'"content":"') == 1 + 5  # the first is empty
    assert not body.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_reset_is_an_rst_after_the_whole_text(stream):
    with mock() as served:
        for _ in range(4):
            body, end = await read(await served.ask("chat", "fault/reset-after-3", stream=stream))
            assert end == "RST"
            assert b" the" in body
            assert b"stop" not in body
        other = await served.ask("chat", "mock-small", stream=True)  # the fault must not affect other connections
        await read(await served.ask("chat", "fault/reset-after-3", stream=stream))
        assert (await read(other))[1] == "FIN"


@pytest.mark.parametrize("model", ["fault/stall", "fault/silent"])
async def test_silence_lasts_until_the_client_leaves(model):
    with mock() as served:
        stream = await served.ask("messages", model, stream=True)
        said = b""
        while model == "fault/stall" and b" the" not in said:
            said += await stream.receive_some()
        with trio.move_on_after(0.1) as waited:
            while await stream.receive_some():
                pass  # the rest of the first event
        assert waited.cancelled_caught
        await stream.aclose()
        await eventually(lambda: not served.lifecycle.in_flight)


@pytest.mark.parametrize(("api", "stream", "tools"), covering_rows([*CODECS], (True, False), ((), (TOOL,))))
async def test_every_fault_is_on_every_api(api, stream, tools, caplog):
    quick = [name for name in fault_descriptions() if not name.endswith(("stall", "silent", "-20", "-8", "connection"))]
    heads = {}
    with mock() as served:
        for model in quick:
            body, _ = await read(await served.ask(api, model, stream, tools))
            if not body:  # a call that is one event has no words after which to cut it
                assert tools, model
                assert model in ("fault/cut-after-3", "fault/reset-after-3")
                continue
            heads[model.removeprefix("fault/")] = body.split(b" ", 2)[1].decode()
    statuses = {name: name[:3] for name in heads if name[:3].isdigit()} | {"context-overflow": "400"}
    refused = {name: str(row.refusals[api].status) for name, row in FAILURES.items() if row.refusals}
    assert heads == dict.fromkeys(heads, "200") | statuses | refused
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_number_is_how_many_requests_fail_before_one_is_answered():
    with mock() as served:
        models = (
            ("overloaded", 2, b" 200 "),
            ("quota-event", 1, b" the"),
            ("empty", 1, b" the"),
            ("connection", 2, b"E]"),
        )
        for name, times, good in models:
            well = []
            for _ in range(2 * times + 2):
                body, _ = await read(await served.ask("chat", f"fault/{name}-{times}", stream=True))
                well.append(good in body)
            assert well == [*[False] * times, True] * 2


async def test_a_refused_request_is_answered_when_it_gets_another_request():
    with mock() as served:
        statuses = []
        for api in ("chat", "messages", "chat", "messages", "chat"):
            body, _ = await read(await served.ask(api, "fault/529-then-ok"))
            statuses.append(body.split(b" ", 2)[1])
    assert statuses == [b"529", b"529", b"200", b"200", b"529"]


@each_row("api", CODECS)
async def test_good_and_broken_streams_match_their_names_in_every_framing(api):
    """Clients read them as they read a provider's."""
    ends: dict[str, Any] = {
        "fault/garbage": ErrorInfo,
        "fault/half-an-event": ErrorInfo,
        "fault/cut-after-3": ErrorInfo,
    }
    good = ("mock-small", "fault/no-usage", "fault/comments", "fault/crlf", "fault/wrong-content-type")
    with mock() as served:
        for model in (*good, *ends):
            got, _ = await read(await served.ask(api, model, stream=True))
            head, _, chunked = got.partition(b"\r\n\r\n")
            told = read_stream(CODECS[api], join_chunks(chunked))
            with case(model):
                assert isinstance(told[-1], ends.get(model, AnswerEnd)), told[-1]
                counted = any(isinstance(event, Usage) and event.output for event in told)
                assert counted == (model in good and model != "fault/no-usage")
                typed = CODECS[api].wire.framing.content_type if "content-type" not in model else "text/plain"
                assert f"content-type: {typed}".encode() in head


async def test_without_the_query_for_events_geminis_stream_is_an_array():
    with mock() as served:
        body = question("gemini", "m", True)
        stream = await trio.open_tcp_stream("127.0.0.1", served.port)
        head = b"POST /v1beta/models/m:streamGenerateContent HTTP/1.1\r\nhost: m\r\nconnection: close\r\n"
        await stream.send_all(head + b"content-length: %d\r\n\r\n%b" % (len(body), body))
        got, _ = await read(stream)
    head, _, chunked = got.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head
    *words, last = json.loads(join_chunks(chunked))
    assert "".join(one["candidates"][0]["content"]["parts"][0]["text"] for one in words).startswith("This is the stand")
    assert last["usageMetadata"]["candidatesTokenCount"]


def join_chunks(body: bytes) -> bytes:
    found = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        found, body = found + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return found


# The pages for people


def test_the_mock_lists_its_faults():
    with mock_thread() as served:
        models = [model["id"] for model in request(served.url, "GET", "/v1/models").json["data"]]
        refused = request(served.url, "POST", PATHS["messages"], {
            "model": "fault/429", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]})  # fmt: skip
    assert models[2:] == [*fault_descriptions()]
    assert (refused.status, refused.headers["retry-after"]) == (429, "2")
    assert refused.json["error"]["type"] == "rate_limit_error"
    shown = invoke("mock", "--faults").stdout.splitlines()
    assert [tuple(line.split(maxsplit=1)) for line in shown] == list(fault_descriptions().items())


def test_the_demo_has_them_in_both_lanes():
    asked = {"messages": [{"role": "user", "content": "Hello"}], "stream": True}
    with demo_thread() as served:
        for model, lane in (("fault/cut-after-3", "byte"), ("fault-messages/cut-after-3", "hub")):
            reply = request(served.url, "POST", PATHS["chat"], {"model": model, **asked})
            assert (reply.status, reply.headers["x-trigate-lane"]) == (200, lane)
            assert reply.events()[-1][1]["error"]["message"]
            assert b"[DONE]" not in reply.body


@each_row("api", CODECS)
@pytest.mark.parametrize("stream", [True, False])
def test_a_page_and_a_wrong_content_type_are_recognized_from_every_provider(api, stream):
    """A page has no content of any API; a stream is one whatever its content type
    (https://github.com/containers/ramalama/issues/2837)."""
    with demo_thread() as served:
        for client, start in ((api, "fault"), ("chat", f"fault-{api}")):
            page, mislabelled = (
                request(served.url, "POST", path_of(client, quote(model, safe=""), stream=stream),
                        body_of(client, model, stream=stream))
                for model in (f"{start}/html", f"{start}/wrong-content-type")
            )  # fmt: skip
            with case(start):
                assert (page.status, mislabelled.status) == (502, 200), mislabelled.body
                assert b"sent a web page: check that base_url is the address of its API" in page.body
                assert text_of(client, mislabelled.body, stream=stream).startswith("This is the stand-in")


def test_the_page_shows_the_text_of_the_demo():
    page = (ROOT / "docs" / "streams.md").read_text()
    with demo_thread() as served:
        asked = {"messages": [{"role": "user", "content": "Hello"}], "stream": True}
        reply = request(served.url, "POST", PATHS["chat"], {"model": "fault-messages/cut-after-3", **asked})
    assert reply.body.splitlines()[-2].decode() in page
    assert page.count('"delta":{"content":') == len(reply.events()) - 2


@pytest.mark.parametrize(
    ("base", "api"), [("/v1beta/openai", "chat"), ("/api/paas/v4", "chat"), ("/anthropic/v1", "messages")]
)
def test_it_answers_at_the_paths_of_every_provider(base, api):
    """A ``base_url`` that points any provider at the stand-in keeps that provider's own path."""
    asked = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
    with mock_thread() as mock:
        here = request(mock.url, "POST", base + PATHS[api].removeprefix("/v1"), asked)
        usual = request(mock.url, "POST", PATHS[api], asked)
    assert (here.status, set(here.json)) == (200, set(usual.json))
