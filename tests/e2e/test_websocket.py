"""Tests of Responses over a websocket: real sockets, a real gateway, and providers with scripted or manual answers."""

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from providers.neutral.tool_names import STRICT, short_name
from providers.responses.tools import is_own_id
from tests.support.apis import OLDER
from tests.support.features import needs_feature, rows_of
from tests.support.gateway_thread import gateway_thread, serve_module
from tests.support.harness import (
    Gateway,
    Listening,
    Wire,
    config,
    eventually,
    provider,
    retried_when_late,
)
from tests.support.raw_call import LIMIT, SSE, answer_stream, check_log, chunks
from tests.support.upstreams import STREAM, Raw, Script, ToolCall, Upstream
from tests.support.websocket_client import Client, handshake, lines

pytestmark = needs_feature("responses_websocket")

TOOL = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}, "strict": False}
KEYS = {"good-key-of-a-client": "alice", "another-key-of-a-client": "bob"}


def entries(upstream: Upstream, by_hand: Listening) -> list[dict[str, Any]]:
    return [
        *(provider(f"openai/on-{api}", upstream.url, [api]) for api in OLDER),
        *(provider(f"openai/hand-{api}", by_hand.url, [api]) for api in OLDER),
    ]


@serve_module
def gateway(upstream, by_hand):
    return config(entries(upstream, by_hand), limits={"request_body": 300_000})


@pytest.fixture
def client(gateway) -> Iterator[Client]:
    with Client.connect(gateway.port) as own:
        yield own


def types(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["type"] for frame in frames]


def is_end(frame: dict[str, Any]) -> bool:
    return frame["type"] in ("response.completed", "response.incomplete", "response.failed", "error")


def text_of(frames: list[dict[str, Any]]) -> str:
    return "".join(frame["delta"] for frame in frames if frame["type"] == "response.output_text.delta")


@contextlib.contextmanager
def started_call(client: Client, by_hand: Listening, api: str = "chat", **more: Any) -> Iterator[Wire]:
    """Start a call of the client, read its request at the provider, and yield the provider's end."""
    client.create(f"hand-{api}", **more)
    with by_hand.accept() as up:
        up.read_request()
        yield up


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_codex_gets_frames_while_the_provider_is_silent(upstream, by_hand, api):
    """Codex only counts text frames, and gave up after 300 s (Menci/Floway#324)."""
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(gateway_thread(config(entries(upstream, by_hand), keep_alive="0.3s")))
        client = stack.enter_context(Client.connect(gateway.port, {"originator": "codex_exec"}))
        up = stack.enter_context(started_call(client, by_hand, api))
        assert [client.next(), client.next()] == [{"type": "keepalive", "sequence_number": 0}] * 2
        up.send(answer_stream(api).half)
        (created,) = [one for one in client.until(lambda frame: "delta" in frame) if one["type"] == "response.created"]
        assert created["headers"], "keep-alives have none"
        assert client.until(lambda frame: frame["type"] == "keepalive")[-1]["sequence_number"] > 0


LONG = "mcp__plugin_everything_github__" + "x" * 40 + "_1"
TOO_LONG_NAME = (
    "Invalid 'tools[0].name': string too long. Expected a string with maximum length 64, but got a string with length "
    "73 instead."
)


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_shortened_names_of_tools_are_restored_in_frames(client, upstream, api):
    """Codex sends the names of MCP tools, of up to 128 characters, over its websocket (openai/codex#46188)."""
    short = short_name(LONG, STRICT)
    refusal = {"error": {"message": TOO_LONG_NAME, "type": "invalid_request_error", "param": "tools[0].name"}}
    refusals = [Raw(400, (("content-type", "application/json"),), (json.dumps(refusal).encode(),))]
    call = Script(calls=(ToolCall("call_1", short, "{}"),), stop="tool_calls")
    upstream.script(*refusals * (api == "responses"), call, Script(text="Done."))
    tools = [{**TOOL, "name": LONG}]
    client.create(f"on-{api}", tools=tools, store=False)
    first = client.until(is_end)
    assert short not in json.dumps(first)
    (item,) = first[-1]["response"]["output"]
    assert (item["type"], item["name"]) == ("function_call", LONG)
    output = {"type": "function_call_output", "call_id": item["call_id"], "output": "27 °C"}
    client.create(f"on-{api}", [output], tools=tools, store=False, previous_response_id=first[-1]["response"]["id"])
    assert text_of(client.until(is_end)) == "Done."
    for seen in upstream.seen[-2:]:
        assert short.encode() in seen.body
        assert b'"name":"%b"' % LONG.encode() not in seen.body.replace(b": ", b":")


# Answers


@pytest.mark.parametrize("api", OLDER)
def test_an_answer_of_every_api_has_the_events_of_the_stream(gateway, client, upstream, api):
    upstream.script(Script(text="one two three"), Script(text="one two three"))
    frames = client.ask(f"on-{api}")
    assert (text_of(frames), frames[-1]["type"]) == ("one two three", "response.completed")
    assert [frame["sequence_number"] for frame in frames] == list(range(len(frames)))
    asked = {"model": f"on-{api}", "input": "hi", "stream": True}
    posted = gateway.request("POST", "/v1/responses", asked)
    assert types(frames) == [name for name, _ in posted.events()]
    assert json.loads(upstream.seen[0].body) == json.loads(upstream.seen[1].body), "the provider is asked the same"


def test_members_for_the_websocket_do_not_reach_the_provider(client, upstream):
    upstream.script(Script(text="x"))
    client.ask("on-responses", stream=False, generate=True, stream_id="a", background=False, metadata={"k": "v"})
    sent = upstream.seen[0].json
    assert sent["stream"] is True
    assert sent["metadata"] == {"k": "v"}
    assert not {"type", "generate", "stream_id"} & set(sent)


def test_the_marks_of_the_transport_stay_out_of_the_providers_headers(gateway, upstream):
    beta = {"openai-beta": "responses_websockets=2026-02-06", "session-id": "s-1"}
    upstream.script(Script(text="x"))
    with Client.connect(gateway.port, beta) as client:
        client.ask("on-responses")
    (seen,) = upstream.seen
    assert seen.header("session-id") == "s-1"
    names = {name for name, _ in seen.headers}
    assert not {"openai-beta", "upgrade"} & names
    assert not any(name.startswith("sec-websocket") for name in names)


def test_the_headers_in_the_metadata_of_a_frame_replace_those_of_the_handshake(gateway, upstream):
    """Codex uses one connection for turns with different headers (openai/codex#26542, Menci/Floway#455)."""
    upstream.script(*(Script(text="hi") for _ in range(3)))
    lite = {"ws_request_header_x_openai_internal_codex_responses_lite": "true"}
    with Client.connect(gateway.port, {"x-codex-turn-metadata": "prewarm", "originator": "codex_exec"}) as client:
        for metadata in ({"x-codex-turn-metadata": "turn 1", **lite}, {"x-codex-turn-metadata": "two\nlines"}, {}):
            client.ask("on-responses", client_metadata=metadata)
    names = ("x-codex-turn-metadata", "x-openai-internal-codex-responses-lite", "originator")
    assert [tuple(map(seen.header, names)) for seen in upstream.seen] == [
        ("turn 1", "true", "codex_exec"), (None, None, "codex_exec"), ("prewarm", None, "codex_exec"),
    ]  # fmt: skip


def test_the_first_frame_has_the_headers_values(client, upstream):
    upstream.script(Script(text="x"))
    first, second, *_ = client.ask("on-messages", prompt_cache_key="k")
    assert first["headers"]["x-trigate-target"] == "openai/on-messages"
    assert first["headers"]["x-trigate-dropped"] == "prompt_cache_key"
    assert first["headers"]["x-request-id"]
    assert "headers" not in second


def test_requests_on_one_connection_have_a_line_each(gateway, client, upstream):
    upstream.script(Script(text="one"), Script(text="two"))
    assert text_of(client.ask("on-chat")) == "one"
    assert text_of(client.ask("on-messages")) == "two"
    found = lines(gateway, client, 2)
    assert [(line["target"], line["ended"], line["status"]) for line in found] == [
        ("openai/on-chat", "complete", 200),
        ("openai/on-messages", "complete", 200),
    ]
    assert all(line["api"] == "responses" and line["stream"] for line in found)


@pytest.mark.parametrize("lane", [{}, {"stream_id": "a"}], ids=["no id", "same id"])
def test_a_request_after_another_waits_for_its_end(client, upstream, lane):
    upstream.script(Script(text="one two three"), Script(text="four five six"))
    client.create("on-chat", **lane)
    client.create("on-chat", **lane)
    assert text_of(client.answer()) == "one two three"
    assert text_of(client.answer()) == "four five six"


def test_an_acknowledgement_of_an_answer_gets_no_frame(client, upstream):
    upstream.script(Script(text="x"))
    client.send({"type": "response.processed", "response_id": "resp_1"})
    assert types(client.ask("on-chat"))[0] == "response.created"


# Prewarm


def test_a_prewarm_sends_no_request_and_can_be_continued(gateway, client, upstream):
    upstream.script(Script(text="warm"))
    ahead = {"type": "message", "role": "developer", "content": "Be brief."}
    frames = client.ask("on-chat", [ahead], generate=False)
    assert types(frames) == ["response.created", "response.in_progress", "response.completed"]
    response = frames[-1]["response"]
    assert (response["output"], response["status"]) == ([], "completed")
    assert response["usage"]["total_tokens"] == 0
    assert is_own_id(response["id"])
    assert upstream.seen == []
    frames = client.ask(
        "on-chat", [{"type": "message", "role": "user", "content": "hi"}], previous_response_id=response["id"]
    )
    assert text_of(frames) == "warm"
    said = [(message["role"], message["content"]) for message in upstream.seen[0].json["messages"]]
    assert said == [("developer", "Be brief."), ("user", "hi")]
    found = lines(gateway, client, 2)
    assert [(line["ended"], line["attempts"]) for line in found] == [("complete", 0), ("complete", 1)]


# State


@pytest.mark.parametrize("api", OLDER)
def test_an_unstored_turn_can_only_be_continued_on_its_connection(gateway, client, upstream, api):
    upstream.script(Script(calls=(ToolCall("call_1", "look", "{}"),)), Script(text="a cat"), Script(text="bye"))
    first = client.ask(f"on-{api}", "look", tools=[TOOL], store=False)[-1]["response"]
    output = {"type": "function_call_output", "call_id": first["output"][0]["call_id"], "output": "fur"}
    more = {"tools": [TOOL], "store": False}
    second = client.ask(f"on-{api}", [output], previous_response_id=first["id"], **more)
    assert text_of(second) == "a cat"
    id = second[-1]["response"]["id"]
    assert text_of(client.ask(f"on-{api}", "thanks", previous_response_id=id, **more)) == "bye"
    asked = upstream.seen[2].json
    assert "previous_response_id" not in asked
    turns = asked["input" if api == "responses" else "messages"]
    shown = json.dumps(turns)
    assert [shown.count(word) for word in ('"look', "fur", "a cat", "thanks")] == [2, 1, 1, 1]
    with Client.connect(gateway.port) as other:
        (error,) = other.ask(f"on-{api}", "thanks", previous_response_id=id, **more)
    assert (error["status"], error["error"]["code"]) == (400, "previous_response_not_found")


def test_a_continuation_of_an_unstored_turn_is_not_stored(gateway, client, upstream):
    """No turn could continue from it, because the turn before it is not stored."""
    upstream.script(Script(text="one"), Script(text="two"))
    first = client.ask("on-chat", "hi", store=False)[-1]["response"]
    second = client.ask("on-chat", "more", previous_response_id=first["id"])[-1]["response"]
    assert second["store"] is False
    assert gateway.request("GET", f"/v1/responses/{second['id']}").status == 404


def test_a_prewarm_of_an_unknown_response_fails_immediately(client, upstream):
    upstream.script()
    (error,) = client.ask("on-chat", generate=False, previous_response_id="resp_nobody", store=False)
    assert (error["status"], error["error"]["code"]) == (400, "previous_response_not_found")


# Errors


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (b'{"type":"response.create"}', "text frame"),
        ("", "JSON"),
        ("{", "JSON"),
        ("[]", "object"),
        ("[" * 100_000, "JSON"),
        ('{"model": "on-chat"}', "response.create"),
        ({"type": "response.inject", "input": []}, "response.inject"),
        ({"type": "response.create"}, "model"),
        ({"type": "response.create", "model": "on-chat", "input": 5}, "input"),
        ({"type": "response.create", "model": "on-chat", "input": "hi", "background": True}, "background"),
        ({"type": "response.create", "model": "on-chat", "input": "hi", "generate": "no"}, "generate"),
        ({"type": "response.create", "model": "on-chat", "input": "hi", "stream_id": 5}, "stream_id"),
    ],
)
def test_an_invalid_frame_returns_an_error_and_keeps_the_connection(gateway, client, upstream, frame, words):
    upstream.script(Script(text="still here"))
    client.send(frame)
    error = client.next()
    assert (error["type"], error["status"], error["error"]["type"]) == ("error", 400, "invalid_request_error")
    assert words in error["error"]["message"]
    assert text_of(client.ask("on-chat")) == "still here"
    assert [line["ended"] for line in lines(gateway, client, 2)] == ["refused", "complete"]


def test_an_upstreams_refusal_has_its_status_and_its_wait(gateway, client, upstream):
    body = (
        b'{"error": {"message": "slow down", "type": "rate_limit_error", "param": null, "code": "rate_limit_exceeded"}}'
    )
    upstream.script(Raw(429, (("content-type", "application/json"), ("retry-after", "7")), (body,)), Script(text="ok"))
    (error,) = client.ask("on-responses")
    assert error["status"] == 429
    assert (error["error"]["code"], error["error"]["message"]) == ("rate_limit_exceeded", "slow down")
    assert error["headers"]["retry-after"] == "7"
    assert text_of(client.ask("on-responses")) == "ok"
    assert [line["ended"] for line in lines(gateway, client, 2)] == ["upstream_error", "complete"]


@pytest.mark.parametrize("api", OLDER)
def test_a_provider_that_dies_in_mid_answer_is_a_failed_response(client, by_hand, upstream, api):
    upstream.script(Script(text="ok"))
    with started_call(client, by_hand, api) as up:
        up.send(answer_stream(api).half)
        client.until(lambda frame: frame["type"] == "response.output_text.delta")
        up.reset()
        assert client.answer()[-1]["type"] == "response.failed"
    assert text_of(client.ask("on-chat")) == "ok"


def stream(*events: dict[str, Any]) -> Raw:
    pieces = tuple(f"event: {event.get('type')}\ndata: {json.dumps(event)}\n\n".encode() for event in events)
    return Raw(200, STREAM, pieces, "chunked")


def test_an_error_in_the_stream_and_the_failed_response_after_it_are_one_end(client, upstream):
    failed = {"id": "resp_1", "status": "failed", "error": {"code": "server_error", "message": "no"}, "output": []}
    opening = {
        "type": "response.created",
        "sequence_number": 0,
        "response": {**failed, "status": "in_progress", "error": None},
    }
    delta = {
        "type": "response.output_text.delta",
        "delta": "x",
        "item_id": "m",
        "output_index": 0,
        "content_index": 0,
        "sequence_number": 1,
    }
    error = {"type": "error", "code": "server_error", "message": "no", "param": None, "sequence_number": 2}
    end = {"type": "response.failed", "sequence_number": 3, "response": failed}
    upstream.script(
        stream(opening, delta, error, end), Script(text="next"), stream(opening, delta, error), Script(text="next")
    )
    assert types(client.ask("on-responses")) == ["response.created", "response.output_text.delta", "response.failed"]
    assert text_of(client.ask("on-responses")) == "next"
    last = client.ask("on-responses")[-1]  # the provider has only sent ``error``
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert last["response"]["error"] == {"code": "server_error", "message": "no"}
    assert text_of(client.ask("on-responses")) == "next"


def test_a_message_above_the_limit_closes_with_1009(gateway, by_hand):
    with Client.connect(gateway.port) as client:
        client.create("on-chat", "x" * 1_000_000)
        assert client.read_close_code() == 1009
    with Client.connect(gateway.port) as client, started_call(client, by_hand) as up:
        client.send("x" * 1_000_000)
        assert client.read_close_code() == 1009
        up.closed_after(time.perf_counter())
    assert lines(gateway, client, 1)[0]["ended"] == "client_disconnected"


def test_too_many_waiting_requests_close_the_websocket_with_1008(gateway, client, by_hand):
    with started_call(client, by_hand) as up:
        for _ in range(40):
            client.create("on-chat")
        assert client.read_close_code() == 1008
        up.closed_after(time.perf_counter())
    lines(gateway, client, 1)


# The client disconnects


def leave(client: Client, how: str) -> float:
    left = time.perf_counter()
    {"close": client.close, "fin": client.wire.close, "rst": client.wire.reset}[how]()
    return left


@pytest.mark.parametrize("how", ["close", "fin", "rst"])
@pytest.mark.parametrize("when", ["before", "within"])
@pytest.mark.parametrize("waiting", [0, 20])
@retried_when_late
def test_a_disconnect_closes_the_providers_connection(gateway, by_hand, how, when, waiting):
    """The gateway notices the disconnect even while frames of the client wait."""
    with Client.connect(gateway.port) as client, started_call(client, by_hand) as up:
        if when == "within":
            up.send(answer_stream("chat").half)
            client.until(lambda frame: frame["type"] == "response.output_text.delta")
        for _ in range(waiting):
            client.create("on-chat")
        if waiting:  # the pong shows that the gateway has received them
            client.ping()
            client.until(lambda frame: frame["type"] == "pong")
        up.closes_within(LIMIT, leave(client, how))
    (line,) = lines(gateway, client, 1)
    assert (line["ended"], line["status"]) == ("client_disconnected", 499)


@retried_when_late
def test_a_client_that_does_not_read_delays_only_its_own_provider(gateway, by_hand, upstream):
    upstream.script(Script(text="quick"))
    with Client.connect(gateway.port) as idle, started_call(idle, by_hand) as up:
        up.send(SSE + chunks(*answer_stream("chat").opening))
        up.sock.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 200 * 2**20:
                up.send(chunks(answer_stream("chat").first) * 500)
                sent += 500 * len(answer_stream("chat").first)
        assert sent < 200 * 2**20, "the provider was never held up"
        with Client.connect(gateway.port) as other:
            assert text_of(other.ask("on-chat")) == "quick"
        up.closes_within(LIMIT, leave(idle, "rst"))


# The handshake


def upgrade(gateway: Gateway, path: str = "/v1/responses", **headers: str) -> bytes:
    with Wire.connect(gateway.port) as wire:
        wire.send(handshake(path, headers))
        return wire.read_until(b"}") if path == "/v1/responses" else wire.read_until(b"\r\n\r\n")


@serve_module
def with_keys(upstream, by_hand):
    keys = [{"name": name, "key": key} for key, name in KEYS.items()]
    more = {"client_keys": keys, "cors": ["https://app.example"]}
    return config(entries(upstream, by_hand), **more)


def test_a_websocket_key_authenticates_and_its_client_is_logged(with_keys, upstream):
    upstream.script(Script(text="hello"))
    key = next(iter(KEYS))
    with Client.connect(with_keys.port, {"authorization": f"Bearer {key}"}) as client:
        assert text_of(client.ask("on-chat")) == "hello"
    assert lines(with_keys, client, 1)[0]["client"] == KEYS[key]


@pytest.mark.parametrize(
    "path", ["/v1/responses", "/v1/responses/", "/v1//responses", *rows_of("realtime", "/v1/realtime/")]
)
def test_a_page_of_another_origin_gets_no_websocket_at_any_path(gateway, path):
    assert upgrade(gateway, path, origin="https://evil.example").startswith(b"HTTP/1.1 403 ")


def test_the_connection_has_an_id_and_its_requests_add_to_it(gateway, upstream):
    upstream.script(Script(text="x"))
    with Client.connect(gateway.port, {"x-request-id": "mine"}) as client:
        assert "x-request-id: mine" in client.head
        client.ask("on-chat")
    assert lines(gateway, client, 1)[0]["request_id"] == "mine-1"


def test_a_strict_handshake_makes_every_request_strict(gateway, upstream):
    with Client.connect(gateway.port, {"x-trigate-strict": "1"}) as client:
        (error,) = client.ask(
            "on-chat", truncation="auto", top_logprobs=3, include=["message.output_text.logprobs"], logit=1
        )
    assert error["status"] == 400


def test_an_upgrade_returns_426_if_websockets_are_disabled(upstream, by_hand):
    with gateway_thread(config(entries(upstream, by_hand), websocket=False)) as own:
        answer = upgrade(own)
    assert answer.startswith(b"HTTP/1.1 426 ")
    assert b"connection: close" in answer.lower()


# Shutting down


@pytest.fixture
def draining(upstream, by_hand) -> Iterator[Gateway]:
    with gateway_thread(config(entries(upstream, by_hand))) as own:
        yield own
        eventually(own.has_ended, what="the end of the gateway")


def test_a_drain_closes_an_idle_connection(draining):
    with Client.connect(draining.port) as client:
        draining.stop()
        assert client.read_close_code() == 1001


def test_a_drain_finishes_the_answer_before_it_closes_the_connection(draining, by_hand, upstream):
    upstream.script(Script(text="waited"))
    with Client.connect(draining.port) as client, started_call(client, by_hand) as up:
        up.send(answer_stream("chat").half)
        client.create("on-chat")
        client.until(lambda frame: frame["type"] == "response.output_text.delta")
        draining.stop()
        up.send(answer_stream("chat").whole.removeprefix(answer_stream("chat").half))
        assert client.answer()[-1]["type"] == "response.completed"
        assert text_of(client.answer()) == "waited"
        assert client.read_close_code() == 1001
    assert [line["ended"] for line in lines(draining, client, 2)] == ["complete", "complete"]


def test_an_answer_that_takes_longer_than_the_drain_gets_its_failed_event(upstream, by_hand):
    with gateway_thread(config(entries(upstream, by_hand), drain="0.3s")) as own:
        with Client.connect(own.port) as client, started_call(client, by_hand) as up:
            up.send(answer_stream("chat").half)
            client.until(lambda frame: frame["type"] == "response.output_text.delta")
            own.stop()
            assert client.answer()[-1]["type"] == "response.failed"
            assert client.read_close_code() == 1001
        lines(own, client, 1)
        eventually(own.has_ended, what="the end of the gateway")


def test_the_log_has_no_traceback_and_no_second_line(gateway):
    check_log(gateway)
