"""Tests of stored turns with names of several targets, if the first target fails."""

from typing import Any

import pytest

from tests.support.each_row import each_row
from tests.support.gateway_thread import serve_module
from tests.support.harness import Reply, config, eventually, provider
from tests.support.upstreams import JSON, PATHS, STREAM, Raw, Script, Upstream, event

DOWN = Raw(503, JSON, (b'{"error":{"message":"later","type":"server_error"}}',))
FAILS = Raw(
    200,
    STREAM,
    (
        event(
            "error",
            {"type": "error", "sequence_number": 0, "code": "server_error", "message": "no", "param": None,
             "error": {"type": "overloaded_error", "message": "later"}},
        ),
    ),
    "chunked",
)  # fmt: skip


@serve_module
def gateway(upstream):
    entries = [
        provider("openai/native", upstream.url, ["responses"], name="native"),
        provider("openai/native-2", upstream.url, ["responses"], name="native-2", key="sk-2"),
        provider("two/chat", upstream.url, ["chat"], name="chat"),
        provider("anthropic/threads", upstream.url, ["messages"], name="threads"),
    ]
    aliases = {
        "mixed": {"targets": ["native", "chat"]},
        "natives": {"targets": ["native", "native-2"]},
        "hedged": {"targets": ["native", "chat"], "hedge": {"after": "50ms", "at_most": "100%"}},
        "hedged-natives": {"targets": ["native", "native-2"], "hedge": {"after": "50ms", "at_most": "100%"}},
        "threads-first": {"targets": ["threads", "chat"]},
    }
    circuit = {"failures": 1000, "error_rate": "100%"}
    return {**config(entries, model_aliases=aliases, circuit=circuit), "version": "v0.4.0"}


def request_body(**more: Any) -> dict[str, Any]:
    return {"model": "mixed", "input": "hi", **more}


def paths(upstream: Upstream) -> list[str]:
    return [seen.path for seen in upstream.seen]


def response_of(reply: Reply) -> dict[str, Any]:
    """Return the response object of a whole answer, or of the last event of a stream."""
    if not reply.headers["content-type"].startswith("text/event-stream"):
        return reply.json
    name, value = reply.events()[-1]
    assert name == "response.completed", reply.body
    return value["response"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("failure", [DOWN, FAILS], ids=["status", "event"])
def test_a_turn_of_the_second_target_continues_at_either_target(gateway, upstream, stream, failure):
    upstream.script(failure, Script(text="from the second"))
    first = response_of(gateway.request("POST", PATHS["responses"], request_body(stream=stream)))
    assert paths(upstream) == [PATHS["responses"], PATHS["chat"]]
    assert first["output"][0]["content"][0]["text"] == "from the second"
    assert gateway.request("GET", f"/v1/responses/{first['id']}").json["output"] == first["output"]
    more = request_body(stream=stream, previous_response_id=first["id"], input="and now?")
    upstream.script(Script(text="from the first"))
    second = response_of(gateway.request("POST", PATHS["responses"], more))
    assert second["previous_response_id"] == first["id"]
    assert paths(upstream) == [PATHS["responses"]]
    sent = upstream.seen[0].json
    assert "from the second" in str(sent["input"])
    assert sent["store"] is False
    upstream.script(failure, Script(text="again the second"))
    third = response_of(gateway.request("POST", PATHS["responses"], {**more, "previous_response_id": second["id"]}))
    assert "from the first" in str(upstream.seen[1].json["messages"])
    assert third["output"][0]["content"][0]["text"] == "again the second"


def test_the_next_target_answers_a_background_turn(gateway, upstream):
    upstream.script(DOWN, Script(text="in the end"))
    begun = gateway.request("POST", PATHS["responses"], request_body(background=True)).json

    def ended_response() -> Any:
        found = gateway.request("GET", f"/v1/responses/{begun['id']}").json
        return found if found["status"] not in ("queued", "in_progress") else None

    found = eventually(ended_response)
    assert (found["status"], found["output"][0]["content"][0]["text"]) == ("completed", "in the end")
    assert paths(upstream) == [PATHS["responses"], PATHS["chat"]]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("failure", [DOWN, FAILS], ids=["status", "event"])
def test_a_thread_continues_after_a_failed_turn(gateway, upstream, stream, failure):
    body = {
        "model": "threads-first",
        "max_tokens": 50,
        "stream": stream,
        "messages": [{"role": "user", "content": "hi"}],
    }
    upstream.script(failure, Script(text="from the second"))
    reply = gateway.request("POST", PATHS["messages"], {**body, "thread": {"type": "create"}})
    assert (reply.status, paths(upstream)) == (200, [PATHS["messages"], PATHS["chat"]])
    id = reply.json["id"] if not stream else reply.events()[0][1]["message"]["id"]
    upstream.script(Script(text="from the first"))
    going_on = {"thread": {"type": "continue", "previous_message_id": id}}
    reply = gateway.request("POST", PATHS["messages"], {**body, **going_on})
    assert (reply.status, paths(upstream)) == (200, [PATHS["messages"]])
    assert "from the second" in str(upstream.seen[0].json["messages"])


def test_tokens_are_counted_by_the_first_target_or_estimated(gateway, upstream):
    body = {"model": "threads-first", "messages": [{"role": "user", "content": "hi"}]}
    upstream.script(Raw(200, JSON, (b'{"input_tokens": 7}',)))
    reply = gateway.request("POST", "/v1/messages/count_tokens", body)
    assert (reply.json, "x-trigate-estimated" in reply.headers) == ({"input_tokens": 7}, False)
    upstream.script(DOWN)
    reply = gateway.request("POST", "/v1/messages/count_tokens", body)
    assert (reply.status, reply.headers["x-trigate-estimated"]) == (200, "1")
    assert reply.json["input_tokens"] > 0
    assert len(upstream.seen) == 1


def test_a_conversation_is_compacted_by_the_next_target(gateway, upstream):
    upstream.script(DOWN, Script(text="They greeted one another."))
    reply = gateway.request("POST", "/v1/responses/compact", request_body())
    assert (reply.status, reply.json["object"]) == (200, "response.compaction")
    assert paths(upstream) == [PATHS["responses"], PATHS["chat"]]
    upstream.script(DOWN, DOWN, Script(text="They greeted one another."))
    reply = gateway.request("POST", "/v1/responses/compact", request_body(model="natives"))
    assert (reply.status, reply.json["object"]) == (200, "response.compaction")
    native = "/v1/responses/compact"
    assert paths(upstream) == [native, PATHS["responses"], PATHS["responses"]]


def test_a_providers_stored_response_is_not_compacted_by_another(gateway, upstream):
    upstream.script(DOWN)
    reply = gateway.request("POST", "/v1/responses/compact", request_body(previous_response_id="resp_theirs"))
    assert (reply.status, paths(upstream)) == (503, ["/v1/responses/compact"])


SILENT = Raw(200, STREAM, (b": \n\n",), "hang")


@each_row("stream", [False, True], ids=["whole", "streamed"])
@each_row("first", [SILENT, Raw(503), FAILS], ids=["silent", "down", "failed"])
def test_the_stored_turn_of_a_hedged_response_is_the_clients(gateway, upstream, stream, first):
    upstream.script(first, Script(text="from the hedge"))
    begun = response_of(gateway.request("POST", PATHS["responses"], request_body(model="hedged", stream=stream)))
    (native,) = (seen for seen in upstream.seen if seen.path == PATHS["responses"])
    assert native.json["store"] is False
    assert sorted(paths(upstream)) == [PATHS["chat"], PATHS["responses"]]
    upstream.script(Script(text="and more"))
    more = request_body(stream=stream, previous_response_id=begun["id"], input="go on")
    response_of(gateway.request("POST", PATHS["responses"], more))
    said = [part["text"] for item in upstream.seen[0].json["input"][:2] for part in item["content"]]
    assert said == ["hi", "from the hedge"]


def test_a_response_that_its_provider_keeps_is_never_hedged(gateway, upstream):
    # anthony-chaudhary/fak#8975
    upstream.script(SILENT, Script(text="ok"))
    deadline = {"x-trigate-deadline": "300ms"}
    reply = gateway.request("POST", PATHS["responses"], request_body(model="hedged-natives", stream=True), deadline)
    assert (reply.status, paths(upstream)) == (504, [PATHS["responses"]])
    upstream.script(SILENT, Script(text="ok"))
    body = request_body(model="hedged-natives", stream=True, store=False)
    reply = gateway.request("POST", PATHS["responses"], body)
    assert (reply.status, paths(upstream)) == (200, 2 * [PATHS["responses"]])
