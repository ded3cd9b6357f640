"""A Responses provider that reports a failure first, and its reason in an event of its own.

Azure sends ``response.failed`` without an error, and then ``error`` (maximhq/bifrost#6419).
"""

import json
from typing import Any

import pytest

from tests.support.gateway_thread import serve_module
from tests.support.harness import Gateway, config, provider
from tests.support.upstreams import STREAM, Raw
from tests.support.wire_clients import path_of

RESPONSE: dict[str, Any] = {"id": "resp_1", "object": "response", "status": "in_progress", "output": [], "error": None}
CREATED = {"type": "response.created", "response": RESPONSE}
DELTA = {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": "hi"}
FAILED = {"type": "response.failed", "response": {**RESPONSE, "status": "failed"}}
REASON = "The response was filtered due to the content management policy"
ERROR = {"type": "error", "error": {"type": "invalid_request_error", "code": "content_filter", "message": REASON}}
BODIES: dict[str, dict[str, Any]] = {
    "responses": {"input": "hi"},
    "messages": {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
    "chat": {"messages": [{"role": "user", "content": "hi"}]},
}

every_client = pytest.mark.parametrize("client", BODIES)


@serve_module
def gateway(upstream):
    return config([provider("openai/gpt-5.1", upstream.url, ["responses"], name="azure")])


def ask(gateway: Gateway, client: str, *events: dict[str, Any], upstream: Any):
    numbered = [{**event, "sequence_number": number} for number, event in enumerate(events)]
    pieces = tuple(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in numbered)
    upstream.script(Raw(200, STREAM, pieces))
    body = {"model": "azure", "stream": True, **BODIES[client]}
    return gateway.request("POST", path_of(client, "azure", stream=True), body)


@every_client
def test_the_reason_is_the_clients_error(gateway, upstream, client):
    reply = ask(gateway, client, CREATED, FAILED, ERROR, upstream=upstream)
    assert (reply.status, REASON in reply.body.decode()) == (400, True)
    assert len(upstream.seen) == 1, "a rejected prompt is sent once"


@every_client
def test_after_content_it_ends_the_stream(gateway, upstream, client):
    reply = ask(gateway, client, CREATED, DELTA, FAILED, ERROR, upstream=upstream)
    assert reply.status == 200
    assert reply.body.decode().count(REASON) == 1
    assert b"ended the stream with an error" not in reply.body


@every_client
def test_without_a_reason_it_is_still_a_failure(gateway, upstream, client):
    reply = ask(gateway, client, CREATED, FAILED, upstream=upstream)
    assert reply.status == 502
    assert b"the provider ended the stream with an error" in reply.body
    reply = ask(gateway, client, CREATED, DELTA, FAILED, upstream=upstream)
    assert (reply.status, b"[DONE]" in reply.body, b"message_stop" in reply.body) == (200, False, False)
    assert (b"response.failed" if client == "responses" else b"ended the stream with an error") in reply.body
