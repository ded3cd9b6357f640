"""Streams that are interrupted or refused while a step holds their text: the provider bills what it has written."""

import json
from typing import Any

import pytest

from tests.support.each_row import each_row
from tests.support.gateway_thread import serve_module
from tests.support.harness import Gateway, Listening, Wire, config, eventually, post, provider
from tests.support.lanes import events_of
from tests.support.raw_call import line, new_id
from tests.support.step_providers import entries_of
from tests.support.upstreams import STREAM, Raw, Script, Upstream, render
from tests.support.wire_clients import ALL, body_of, path_of

PRICE = {"input": 1, "output": 1000}
TEXT = "word " * 600
STEP = {"use": "regex", "name": "birds", "action": "mask", "at": ["response"], "hold": "whole",
        "with": {"patterns": {"bird": "osprey-[0-9]+"}}}  # fmt: skip


@serve_module
def gateway(upstream):
    refusing = {**STEP, "name": "bats", "action": "refuse", "with": {"patterns": {"bat": "pipistrelle-[0-9]+"}}}
    return config(entries_of(upstream.url, price=PRICE), steps=[STEP, refusing])


def interrupted_answer(api: str, end: str) -> Raw:
    """Return an answer that is interrupted after two thirds of ``TEXT``."""
    kind = (("content-type", "application/vnd.amazon.eventstream"),) if api == "converse" else STREAM
    pieces = events_of(api, Script(text=TEXT))
    last = [number for number, piece in enumerate(pieces) if piece.count(b"word") > 100][1]
    return Raw(200, kind, pieces[: last + 1], end)


def ask(gateway: Gateway, api: str) -> tuple[bytes, dict[str, Any]]:
    """Return the client's stream, and the line of its request in the log."""
    id, model = new_id(), f"on-{api}"
    body = body_of(api, model, stream=True)
    reply = gateway.request("POST", path_of(api, model, stream=True), body, {"x-request-id": id})
    return reply.body, line(gateway, id)


def check_cost(found: dict[str, Any]) -> None:
    assert found["cost_usd"] == pytest.approx(0.5, rel=0.1), "500 of the 750 tokens"
    assert found["cost_grade"] != "exact"


@each_row("api", ALL)
def test_a_stream_that_breaks_costs_its_text(gateway: Gateway, upstream: Upstream, api: str):
    upstream.script(interrupted_answer(api, "cut"))
    body, found = ask(gateway, api)
    assert b"word" not in body
    check_cost(found)


@each_row("api", ALL)
def test_a_client_that_disconnects_pays_for_the_text(gateway: Gateway, upstream: Upstream, api: str):
    """Otherwise, a client that always disconnects could spend more than its budget."""
    for patience in (0.3, 3.0, 10.0):  # a slow machine needs longer for the text
        upstream.script(interrupted_answer(api, "hang"))
        id, seen = new_id(), len(upstream.seen)
        path, body = path_of(api, f"on-{api}", stream=True), body_of(api, f"on-{api}", stream=True)
        with Wire.connect(gateway.port) as client:
            client.send(post(path, body, {"x-request-id": id}))
            eventually(lambda seen=seen: len(upstream.seen) > seen, what="the provider's request")
            client.sock.settimeout(patience)
            with pytest.raises(TimeoutError):  # the step holds everything that has arrived meanwhile
                client.sock.recv(1)
        if (found := line(gateway, id)).get("cost_usd", 0) > 0.4:
            break
    check_cost(found)


@each_row("api", ALL)
@pytest.mark.parametrize("is_stream", [True, False], ids=["stream", "body"])
def test_a_refused_answer_costs_what_its_provider_reports(
    gateway: Gateway, upstream: Upstream, api: str, is_stream: bool
):
    """An estimate from the characters of long words would be several times as high."""
    script = Script(text="extraordinarily " * 100 + "pipistrelle-1")
    upstream.script(script if is_stream else render(script, api, {"model": "m"}))
    body, found = ask(gateway, api)
    assert b"extraordinarily" not in body
    assert (found["ended"], found["cost_grade"]) == ("refused", "exact")
    assert found["cost_usd"] == pytest.approx(0.007, rel=0.01), "7 tokens"


@pytest.mark.parametrize("broken", [False, True], ids=["refused", "cut"])
def test_a_count_at_the_start_is_no_count_of_a_held_answer(gateway: Gateway, upstream: Upstream, broken: bool):
    """Some servers of Messages report the output only at the start, as one token."""
    sent = events_of("messages", Script(text=TEXT + "pipistrelle-1"))
    pieces = [one.replace(b'"output_tokens": 7', b'"output_tokens": 0') for one in sent]
    assert sum(b'"output_tokens": 1' in one for one in pieces) == 1
    upstream.script(Raw(200, STREAM, pieces[:-1], "cut") if broken else Raw(200, STREAM, pieces))
    body, found = ask(gateway, "messages")
    assert b"word" not in body
    assert found["cost_usd"] == pytest.approx(0.75, rel=0.1)
    assert found["cost_grade"] != "exact"


def test_a_count_at_the_start_is_no_exact_count_of_a_stream_that_breaks(gateway: Gateway, upstream: Upstream):
    """The provider may have written more than the few letters that have arrived."""
    sent = events_of("messages", Script(text="ai"))
    last = max(number for number, piece in enumerate(sent) if b"text_delta" in piece)
    upstream.script(Raw(200, STREAM, sent[: last + 1], "cut"))
    _, found = ask(gateway, "messages")
    assert (found["ended"], found["cost_grade"]) == ("upstream_error", "estimated")


@serve_module
def stopping(upstream):
    """Run a gateway whose step ends a response with a text of its own."""
    step = {**STEP, "action": "refuse", "hold": 64, "refusal": {"as": "stop", "message": "Not here."}}
    return config(entries_of(upstream.url, price=PRICE), steps=[step])


@each_row("api", ALL)
def test_a_stopped_answer_costs_the_text_so_far(stopping: Gateway, upstream: Upstream, api: str):
    """Messages providers report one token of output at the start, and the others at the end, which does not come."""
    kind = (("content-type", "application/vnd.amazon.eventstream"),) if api == "converse" else STREAM
    sent = events_of(api, Script(text=TEXT[:-200] + "osprey-1 " + TEXT[-200:]))
    first = next(number for number, piece in enumerate(sent) if b"osprey" in piece)
    upstream.script(Raw(200, kind, sent[: first + 1], "hang"))
    body, found = ask(stopping, api)
    assert b"Not here." in body
    assert (found["ended"], found["cost_grade"], found["usage_complete"]) == ("refused", "estimated", False)
    assert found["cost_usd"] == pytest.approx(0.75, rel=0.1), "750 tokens"


@serve_module
def flowing(by_hand):
    """Run a gateway whose step holds 64 characters."""
    entry = provider("openai/up", by_hand.url, ["chat"], name="m", price=PRICE)
    return config([entry], steps=[{**STEP, "action": "refuse", "hold": 64}])


def chunk(**more: object) -> bytes:
    data = b"data: " + json.dumps({"id": "x", "model": "m", "choices": [], **more}).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize("choices", [1, 2])
def test_a_refusal_at_the_end_of_a_stream_costs_what_its_provider_reports(
    flowing: Gateway, by_hand: Listening, choices: int
) -> None:
    text = "extraordinarily " * 100
    id = new_id()
    body = {**body_of("chat", "m", stream=True), "n": choices}
    with Wire.connect(flowing.port) as client:
        client.send(post("/v1/chat/completions", body, {"x-request-id": id}))
        with by_hand.accept() as upstream:
            upstream.read_request()
            upstream.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            for index in range(choices):
                delta = chunk(choices=[{"index": index, "delta": {"content": text[: len(text) // 10]}}])
                upstream.send(delta * 10)
            received = b""
            while received.count(b"extraordinarily extraordinarily") < choices:
                received += (piece := client.sock.recv(65536))
                assert piece, received
            ends = [chunk(choices=[{"index": at, "delta": {}, "finish_reason": "stop"}]) for at in range(choices)]
            usage = chunk(usage={"prompt_tokens": 11, "completion_tokens": 7 * choices})
            value = chunk(choices=[{"index": 0, "delta": {"content": "osprey-1"}}])
            upstream.send(value + b"".join(ends) + usage + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
            found = line(flowing, id)
    assert (found["ended"], found["cost_grade"]) == ("refused", "exact")
    assert found["cost_usd"] == pytest.approx(0.007 * choices, rel=0.01)
