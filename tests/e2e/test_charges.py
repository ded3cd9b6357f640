"""Tests of the cost of exchanges for each endpoint, each pair of APIs, streams and whole answers, and each end."""

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import pytest

from tests.support import raw_call
from tests.support.apis import OLDER, question
from tests.support.each_row import each_row
from tests.support.features import has_feature, rows_of
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import (
    Gateway,
    Listening,
    Reply,
    Wire,
    config,
    eventually,
    exchanges,
    post,
    provider,
    refusing_port,
)
from tests.support.raw_call import TOKENS, answer_stream, line
from tests.support.responses_api import wait_for_status
from tests.support.upstreams import JSON, PATHS, STREAM, Raw, Script, Tokens, event, render, responses_answer
from tests.support.websocket_client import Client

ANSWER = Script(text="one two three", tokens=Tokens(prompt=1000, cache_read=600, output=50, reasoning=20))
COST = 0.001075
"""The cost of ``ANSWER`` from GPT-5 at 1.25, 0.125 and 10 dollars: 400 x 1250 + 600 x 125 + 50 x 10000 nano-dollars."""

OVERLOADED = Raw(529, JSON, (b'{"error": {"type": "overloaded_error", "message": "Overloaded"}}',))
REFUSED = Raw(400, JSON, (b'{"error": {"type": "invalid_request_error", "message": "no"}}',))
NUMBERS = itertools.count()

both_ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
each_api = pytest.mark.parametrize("api", OLDER)


@pytest.fixture(scope="module")
def gateway(upstream, by_hand) -> Iterator[Gateway]:
    def places(url: str, prefix: str, **more: Any) -> Iterator[dict[str, Any]]:
        return (provider("openai/gpt-5", url, [api], name=f"{prefix}-{api}", **more) for api in OLDER)

    with refusing_port() as refused:
        entries = [
            *places(upstream.url, "on", state="ours"),
            *places(by_hand.url, "hand", state="ours"),
            provider("openai/gpt-5", upstream.url, name="theirs"),
            provider("openrouter/openai/gpt-5", upstream.url, ["chat"], name="router"),
            provider(
                "openrouter/openai/gpt-5", upstream.url, ["chat"], name="agreed", price={"input": 2, "output": 20}
            ),
            provider("vllm/somebodys", upstream.url, ["chat"], name="unpriced"),
            provider("openai/gpt-5", f"http://127.0.0.1:{refused}", ["chat"], name="away"),
        ]
        aliases = {
            "route": {"targets": ["away", "on-chat", "on-messages", "unpriced"]},
            "hedged": {"targets": ["hand-chat", "on-chat"], "hedge": {"after": "150ms", "at_most": "100%"}},
        }
        circuit = {"failures": 1000, "error_rate": "100%"}
        with gateway_thread(config(entries, model_aliases=aliases, circuit=circuit)) as process:
            yield process


def compact(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def ask(gateway: Gateway, api: str, model: str, path: str = "", **more: Any) -> tuple[Reply, dict[str, Any]]:
    """Send a request, and return the reply and the log line of its exchange."""
    id = f"charge-{next(NUMBERS)}"
    reply = gateway.request("POST", PATHS[api] + path, compact(question(api, model, **more)), {"x-request-id": id})
    return reply, line(gateway, id)


def cost_and_grade(line: Mapping[str, Any]) -> tuple[float | None, str | None]:
    return line.get("cost_usd"), line.get("cost_grade")


def estimate(size: int, output: int) -> float:
    """Return GPT-5's price in dollars for a request of ``size`` bytes and ``output`` tokens of its answer."""
    return (size // 4 * 1250 + output * 10_000) / 10**9


EDITS = 20 * 1250 / 10**9
"""Dollars for the members that the gateway may add to a request, such as ``stream_options``."""


# Answers


@each_row(("stream", "api"), product((True, False), OLDER))
def test_an_answer_costs_the_same_in_every_api_and_form(gateway, upstream, api, stream):
    """BerriAI/litellm#11789, BerriAI/litellm#35127"""
    for spoken in OLDER:
        upstream.script(ANSWER)
        reply, line = ask(gateway, api, f"on-{spoken}", stream=stream)
        assert reply.status == 200, reply.body
        assert cost_and_grade(line) == (COST, "exact")
        told = {name: value for name, value in reply.headers.items() if name.startswith("x-trigate-cost")}
        assert told == ({} if stream else {"x-trigate-cost": "0.001075", "x-trigate-cost-grade": "exact"})


def router_answer(stream: bool, **usage: Any) -> Raw:
    head = {"id": "c", "object": "chat.completion", "model": "openai/gpt-5"}
    said, counts = {"role": "assistant", "content": "Hi."}, {"prompt_tokens": 1000, "completion_tokens": 50, **usage}
    if not stream:
        choice = {"index": 0, "message": said, "finish_reason": "stop"}
        return Raw(200, JSON, (json.dumps({**head, "choices": [choice], "usage": counts}).encode(),))
    chunk = {**head, "choices": [{"index": 0, "delta": said, "finish_reason": "stop"}]}
    last = {**head, "choices": [], "usage": counts}
    pieces = tuple(b"data: %b\n\n" % json.dumps(one).encode() for one in (chunk, last))
    return Raw(200, STREAM, (*pieces, b"data: [DONE]\n\n"), "chunked")


@each_row(("stream", "api"), product((True, False), OLDER))
def test_a_cost_that_the_provider_states_is_the_cost(gateway, upstream, api, stream):
    """BerriAI/litellm#39441"""
    upstream.script(router_answer(stream, cost=0.05))
    assert cost_and_grade(ask(gateway, api, "router", stream=stream)[1]) == (0.05, "exact")
    upstream.script(router_answer(stream, cost=0.05))
    assert cost_and_grade(ask(gateway, api, "agreed", stream=stream)[1]) == (0.003, "exact"), "1000 x 2000 + 50 x 20000"


@each_row("stream", (True, False))
def test_a_client_of_the_providers_api_reads_its_stated_cost(gateway, upstream, stream):
    raw = router_answer(stream, cost=0.05, cost_details={"upstream_inference_cost": None})
    upstream.script(raw)
    counted: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
    reply, _ = ask(gateway, "chat", "router", stream=stream, **counted)
    assert reply.body == b"".join(raw.pieces)


def test_a_model_without_a_price_has_no_cost(gateway, upstream):
    upstream.script(ANSWER)
    reply, line = ask(gateway, "chat", "unpriced")
    assert cost_and_grade(line) == (None, None)
    assert "x-trigate-cost" not in reply.headers


# Several attempts


@each_row(("stream", "api"), product((True, False), OLDER))
def test_a_request_that_no_provider_accepted_costs_nothing(gateway, upstream, api, stream):
    upstream.script(REFUSED)
    reply, line = ask(gateway, api, "on-chat", stream=stream)
    assert reply.status == 400
    assert cost_and_grade(line) == (None, None)
    upstream.script(OVERLOADED, ANSWER)
    reply, line = ask(gateway, api, "route", stream=stream)
    assert [one["reason"] for one in line["tried"]] == ["connection", "overloaded", "ok"]
    assert cost_and_grade(line) == (COST, "exact")


@each_row("stream", (True, False))
def test_a_discarded_answer_is_charged(gateway, upstream, stream):
    """The first target returns 200 with a body that is not of its API, and the next target answers."""
    upstream.script(Raw(200, STREAM if stream else JSON, (b"data: nothing\n\n",)), ANSWER)
    reply, line = ask(gateway, "chat", "route", stream=stream)
    assert [one["reason"] for one in line["tried"]] == ["connection", "bad_answer", "ok"]
    size = len(compact(question("chat", "route", stream=stream)))
    assert cost_and_grade(line) == (pytest.approx(COST + estimate(size, 0), abs=EDITS), "estimated")
    if not stream:
        assert reply.headers["x-trigate-cost-grade"] == "estimated"


def test_a_cost_with_an_unpriced_attempt_has_the_grade_at_least(gateway, upstream):
    empty = Script(tokens=Tokens(prompt=1000, output=0))
    upstream.script(empty, OVERLOADED, ANSWER)
    _, line = ask(gateway, "chat", "route")
    assert [one["reason"] for one in line["tried"]][-1] == "ok"
    assert cost_and_grade(line)[1] == "at_least"


@pytest.mark.parametrize(("sent", "grade"), [(raw_call.SSE, "estimated"), (b"", "at_least")], ids=["begun", "silent"])
@each_api
def test_both_attempts_of_a_hedge_are_charged(gateway, upstream, by_hand, api, sent, grade):
    """The slower provider has received the whole request, and may have started its answer."""
    upstream.script(ANSWER)
    unstored = {"store": False} if api == "responses" else {}  # the gateway does not hedge a stored turn
    id, body = f"charge-{next(NUMBERS)}", compact(question(api, "hedged", stream=True, **unstored))
    with Wire.connect(gateway.port) as client:
        client.send(post(PATHS[api], body, {"x-request-id": id, "connection": "close"}))
        with by_hand.accept() as up:
            up.read_request()
            up.send(sent)
            found = line(gateway, id)
    assert [(one["target"], one["reason"]) for one in found["tried"]] == [
        ("hand-chat", "hedge_lost"),
        ("on-chat", "ok"),
    ]
    about = COST + estimate(len(body), 0)
    assert cost_and_grade(found) == (pytest.approx(about, abs=EDITS), grade)


# Interrupted


@contextlib.contextmanager
def half_streamed(
    gateway: Gateway, by_hand: Listening, api: str, spoken: str, sent: bytes
) -> Iterator[tuple[Wire, Wire, str, int]]:
    """Start a stream, let the provider send ``sent``, and yield the client's end, the provider's end, the request's id
    and its size."""
    id, body = f"charge-{next(NUMBERS)}", compact(question(api, f"hand-{spoken}", stream=True))
    with Wire.connect(gateway.port) as client:
        client.send(post(PATHS[api], body, {"x-request-id": id}))
        with by_hand.accept() as up:
            up.read_request()
            up.send(sent)
            yield client, up, id, len(body)


@each_api
def test_a_client_that_leaves_is_charged_for_the_streamed_part(gateway, by_hand, api):
    """BerriAI/litellm#33736, QuantumNous/new-api#5235: five characters are two tokens."""
    for spoken in OLDER:
        with half_streamed(gateway, by_hand, api, spoken, answer_stream(spoken).half) as (client, _, id, size):
            client.read_until(b"one t")
            client.sock.close()
            cost, grade = cost_and_grade(line(gateway, id))
        assert grade == "estimated"
        # The first event of Messages has the prompt's length.
        about = estimate(4 * TOKENS.prompt, 2) if spoken == "messages" else estimate(size, 2)
        assert cost == pytest.approx(about, abs=4 * 1250 / 10**9), "the request may have been written anew"


@each_api
def test_the_streamed_part_of_a_cut_answer_is_charged(gateway, by_hand, api):
    with half_streamed(gateway, by_hand, api, "chat", answer_stream("chat").half) as (client, up, id, size):
        client.read_until(b"one t")
        up.sock.close()
        assert cost_and_grade(line(gateway, id)) == (estimate(size, 2), "estimated")


def test_a_client_that_leaves_early_is_charged_for_accepted_work(gateway, by_hand):
    with half_streamed(gateway, by_hand, "chat", "chat", raw_call.SSE) as (client, _, id, size):
        client.sock.close()
        cost, grade = cost_and_grade(line(gateway, id))
    assert grade in ("estimated", "at_least"), "the head may not have been read when the client left"
    assert cost == pytest.approx(estimate(size, 0), abs=EDITS)


# Other endpoints


@each_row(("stream", "api"), product((True, False), OLDER))
def test_a_turn_in_the_background_is_charged_once(gateway, upstream, api, stream):
    upstream.script(ANSWER)
    id = f"charge-{next(NUMBERS)}"
    asked = question("responses", f"on-{api}", background=True, stream=stream)
    reply = gateway.request("POST", PATHS["responses"], asked, {"x-request-id": id})
    assert "x-trigate-cost" not in reply.headers
    response = reply.events()[-1][1]["response"] if stream else reply.json
    wait_for_status(gateway, response["id"], "completed")
    for rest in ("", "?stream=true"):  # reading a stored response is free
        again = gateway.request("GET", f"{PATHS['responses']}/{response['id']}{rest}")
        assert "x-trigate-cost" not in again.headers
    assert cost_and_grade(line(gateway, id)) == (COST, "exact")


def unfinished(stream: bool) -> Raw:
    response = {**responses_answer(Script(), "gpt-5"), "status": "queued", "output": [], "usage": None}
    if not stream:
        return Raw(200, JSON, (json.dumps({**response, "background": True}).encode(),))
    begun = {"type": "response.created", "sequence_number": 0, "response": response}
    at = {"output_index": 0, "content_index": 0, "item_id": "msg_1"}
    delta = {"type": "response.output_text.delta", "sequence_number": 1, **at, "delta": "one t"}
    return Raw(200, STREAM, (event("response.created", begun), event("response.output_text.delta", delta)), "cut")


@both_ways
@pytest.mark.parametrize(("most", "output"), [({}, 2048), ({"max_output_tokens": 300}, 300)])
def test_an_answer_that_its_provider_continues_with_alone_is_charged_as_expected(
    gateway, upstream, stream, most, output
):
    """The gateway charges the expected cost even if no client fetches the answer."""
    upstream.script(unfinished(stream))
    asked = {"background": True, "stream": stream, **most}
    reply, line = ask(gateway, "responses", "theirs", **asked)
    assert reply.status == 200
    about = estimate(len(compact(question("responses", "theirs", **asked))), output)
    assert cost_and_grade(line) == (pytest.approx(about, abs=4 * 1250 / 10**9), "estimated")


@each_row("stream", (True, False))
def test_an_answer_that_is_fetched_from_its_provider_costs_nothing_again(gateway, upstream, stream):
    upstream.script(ANSWER)
    _, line = ask(gateway, "responses", "theirs")
    assert cost_and_grade(line) == (COST, "exact")
    upstream.script(render(ANSWER, "responses", {"stream": stream, "model": "gpt-5"}))
    id = f"charge-{next(NUMBERS)}"
    path = f"{PATHS['responses']}/resp_up1?stream={str(stream).lower()}"
    assert gateway.request("GET", path, headers={"x-request-id": id}).status == 200
    assert cost_and_grade(raw_call.line(gateway, id)) == (None, None)


# Against a budget

KEY = "sk-a-key-of-alice-0123456789"


def test_a_budget_counts_the_cost_of_every_endpoint(upstream):
    """Some paths bypassed budgets (maximhq/bifrost#2873), and some answers were free (BerriAI/litellm#34728)."""
    alice = {"name": "alice", "key": KEY, "budgets": ["1 usd/day", "1M tokens/day"]}
    entries = [
        *(provider("openai/gpt-5", upstream.url, [api], name=f"on-{api}", state="ours") for api in OLDER),
        provider("openai/gpt-5", upstream.url, name="theirs"),
    ]
    bearer = {"authorization": f"Bearer {KEY}"}
    native = {"object": "response.compaction", "output": [], "usage": {"input_tokens": 1000, "output_tokens": 50}}
    with gateway_thread(config(entries, client_keys=[alice])) as gateway:

        def post_json(path: str, body: Mapping[str, Any], answer: Script | Raw) -> Reply:
            upstream.script(answer)
            return gateway.request("POST", path, body, bearer)

        for api, stream in itertools.product(OLDER, (True, False)):
            post_json(PATHS[api], question(api, "on-messages", stream=stream), ANSWER)
        post_json("/v1/responses/compact", question("responses", "on-chat"), ANSWER)
        post_json(
            "/v1/responses/compact", question("responses", "theirs"), Raw(200, JSON, (json.dumps(native).encode(),))
        )
        post_json(
            "/v1/messages/count_tokens", question("messages", "on-messages"), Raw(200, JSON, (b'{"input_tokens": 9}',))
        )
        post_json("/v1/responses", question("responses", "theirs", background=True), unfinished(False))
        own = post_json("/v1/responses", question("responses", "on-chat", background=True), ANSWER).json
        wait_for_status(gateway, own["id"], "completed", key=KEY)
        sockets = rows_of("responses_websocket", "on-chat")
        for model in sockets:
            with Client.connect(gateway.port, bearer) as client:
                upstream.script(ANSWER)
                client.ask(model)
        post_json("/v1/chat/completions", question("chat", "on-chat"), REFUSED)

        def lines() -> list[dict[str, Any]]:
            told = exchanges(gateway.log)
            return [one for one in told if one.get("client") == "alice" and one.get("method", "POST") == "POST"]

        def shares() -> dict[str, float]:
            page = gateway.request("GET", "/metrics", headers=bearer).body.decode()
            found = (text for text in page.splitlines() if text.startswith("trigate_budget_used_ratio{"))
            return {text.partition('budget="')[2].partition('"')[0]: float(text.rpartition(" ")[2]) for text in found}

        eventually(lambda: len([one for one in lines() if one.get("cost_usd")]) == 6 + 2 + 2 + len(sockets))
        spent = sum(one.get("cost_usd", 0) for one in lines())
        assert spent == pytest.approx((8 + len(sockets)) * COST + 0.00175 + estimate(75, 2048), abs=1e-5)
        if has_feature("metrics"):
            assert shares()["1 usd/day"] == pytest.approx(spent, abs=1e-9)
