"""Tests of the paths that clients use: each spelling reaches its route, and other paths return advice."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.support import websocket_client as ws
from tests.support.apis import OLDER, question
from tests.support.each_row import each_row
from tests.support.features import has_feature, needs_feature
from tests.support.gateway_thread import gateway_thread, serve_module
from tests.support.harness import Gateway, Wire, complaint, config, eventually, provider
from tests.support.metrics_page import numbers
from tests.support.no_tls import NO_TLS
from tests.support.upstreams import Script, Tokens

ANSWER = Script(text="one two three", tokens=Tokens(prompt=20, output=9))
KEY = "key-of-a-client"
ORIGIN = "https://app.example"


@serve_module
def gateway(upstream):
    return config([provider("openai/m", upstream.url, OLDER)])


@pytest.fixture(scope="module", params=["keys", "keys_and_cors"])
def with_keys(request, upstream) -> Iterator[Gateway]:
    """Run a gateway with keys; with ``cors``, each request passes through Quart's routing."""
    more = {"cors": [ORIGIN]} if "cors" in request.param else {}
    entry = provider("openai/m", upstream.url, OLDER)
    with gateway_thread(config([entry], client_keys=[{"name": "one", "key": KEY}], **more)) as process:
        yield process


PATHS = [
    ("/chat/completions", "chat"), ("/v1/v1/chat/completions", "chat"), ("/v1//chat/completions", "chat"),
    ("/messages", "messages"), ("/v1/v1/messages", "messages"), ("//v1/messages", "messages"),
    ("/responses", "responses"), ("/v1/v1/responses", "responses"), ("/responses/", "responses"),
]  # fmt: skip


@needs_feature("metrics")
@each_row(("path", "api"), PATHS)
def test_a_request_is_answered_and_counted_as_on_the_real_path(gateway, upstream, path, api):
    upstream.script(ANSWER)
    before = numbers(gateway)("trigate_exchanges_total", api=api, ended="complete")
    reply = gateway.request("POST", path, question(api, "m"))
    assert (reply.status, reply.headers["x-trigate-lane"]) == (200, "byte")
    assert b"one two three" in reply.body
    eventually(lambda: numbers(gateway)("trigate_exchanges_total", api=api, ended="complete") == before + 1)


@each_row(("path", "api"), PATHS)
def test_every_path_spelling_requires_authentication(with_keys, upstream, path, api):
    upstream.script(ANSWER)
    complaint_of_none = with_keys.request("POST", path, question(api, "m"))
    assert complaint_of_none.status == 401
    reply = with_keys.request("POST", path, question(api, "m"), {"x-api-key": KEY, "origin": ORIGIN})
    assert reply.status == 200
    assert len(upstream.seen) == 1


def test_cors_works_with_every_spelling(with_keys, upstream):
    asked = {"origin": ORIGIN, "access-control-request-method": "POST"}
    reply = with_keys.request("OPTIONS", "/v1/v1/messages", None, asked)
    plain = with_keys.request("OPTIONS", "/v1/messages", None, asked)
    assert reply.status == plain.status
    assert reply.headers.get("access-control-allow-origin") == plain.headers.get("access-control-allow-origin")


@pytest.mark.parametrize("path", ["/messages/count_tokens", "/v1/v1/messages/count_tokens"])
def test_subpaths_of_a_route_accept_the_same_spellings(gateway, upstream, path):
    upstream.script(ANSWER)
    assert gateway.request("POST", path, question("messages", "m")).json["input_tokens"] > 0


def test_stored_responses_have_the_same_spellings(gateway, upstream):
    upstream.script(ANSWER)
    sent = {**question("responses", "m"), "conversation": gateway.request("POST", "/conversations", {}).json["id"]}
    id = gateway.request("POST", "/responses", sent).json["id"]
    assert gateway.request("GET", f"/responses/{id}").json["id"] == id
    assert gateway.request("GET", f"/v1/v1/responses/{id}/input_items").json["object"] == "list"


@needs_feature("model_lists")
def test_models_have_the_same_spellings(gateway):
    assert [model["id"] for model in gateway.request("GET", "/models").json["data"]] == ["openai/m"]
    assert gateway.request("GET", "/v1/v1/models/m").json["id"] == "m"


@needs_feature("responses_websocket")
@pytest.mark.parametrize("path", ["/responses", "/v1/v1/responses"])
def test_a_websocket_has_the_same_spellings(gateway, path):
    with Wire.connect(gateway.port) as wire:
        wire.send(ws.handshake(path))
        assert wire.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("base", ["", "/v1", "/v1/"])
def test_the_sdks_work_with_either_base_url(gateway, upstream, base):
    upstream.script(ANSWER, ANSWER)
    said = [{"role": "user", "content": "hi"}]
    options: dict[str, Any] = {"base_url": f"{gateway.url}{base}", "api_key": "any", "max_retries": 0}
    with openai.OpenAI(**options, http_client=openai.DefaultHttpxClient(verify=NO_TLS)) as client:
        told = client.chat.completions.create(model="m", messages=said)  # type: ignore[arg-type]
        assert told.choices[0].message.content == "one two three"
        if has_feature("model_lists"):
            assert [model.id for model in client.models.list()] == ["openai/m"]
    with anthropic.Anthropic(**options, http_client=anthropic.DefaultHttpxClient(verify=NO_TLS)) as speaker:
        assert speaker.messages.create(model="m", max_tokens=9, messages=said).content[0].text == "one two three"  # type: ignore


# Health


@each_row("path", ["/healthz", "/health", "/health/liveliness", "/health/liveness"])
def test_liveness_works_at_the_paths_of_litellms_probes(with_keys, path):
    assert with_keys.request("GET", path).json == {"status": "ok"}


@pytest.mark.parametrize("path", ["/readyz", "/health/readiness"])
def test_readiness_works_at_the_paths_of_litellms_probes(with_keys, path):
    assert with_keys.request("GET", path).json == {"status": "ready"}


# Unknown paths


def test_the_advice_repeats_the_clients_host_if_it_is_valid(gateway):
    reply = gateway.request("GET", "/api/other", None, {"host": "gw.example.com", "x-forwarded-proto": "https"})
    assert "https://gw.example.com/v1 for OpenAI's" in complaint("chat", reply, 404)["message"]
    reply = gateway.request("GET", "/api/tags", None, {"host": "<b>x</b>"})
    assert (reply.status, b"<b>" in reply.body) == (400, False)


@needs_feature("metrics")
def test_an_unknown_path_counts_for_no_api(gateway):
    def count(api: str) -> float:
        return numbers(gateway)("trigate_exchanges_total", api=api, status="4xx")

    chat, none = count("chat"), count("none")
    gateway.request("POST", "/api/chat", {}, {"x-request-id": "unknown-path"})
    eventually(lambda: count("none") == none + 1)
    assert count("chat") == chat
    (line,) = [json.loads(line) for line in gateway.log if '"unknown-path"' in line]
    assert line["api"] == "none"
    assert numbers(gateway)("trigate_exchanges_in_flight", api="none") == 0


@needs_feature("metrics")
def test_a_method_that_is_not_allowed_counts_for_the_api_of_its_path(gateway):
    before = numbers(gateway)("trigate_exchanges_total", api="messages", status="4xx")
    assert gateway.request("GET", "/messages").status == 405
    eventually(lambda: numbers(gateway)("trigate_exchanges_total", api="messages", status="4xx") == before + 1)
