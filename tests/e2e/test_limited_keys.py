"""Tests of keys for some models, with every way to request another model from the provider
(https://owasp.org/API-Security/editions/2023/en/0xa5-broken-function-level-authorization/)."""

import json
from itertools import product
from typing import Any

import pytest

from tests.support.apis import OLDER, question
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.gateway_thread import serve_module
from tests.support.harness import Gateway, complaint, config, provider
from tests.support.upstreams import PATHS, Script
from tests.support.websocket_client import Client

LIMITED, FREE = "sk-gw-limited-0123456789", "sk-gw-free-0123456789"


@serve_module
def gateway(upstream):
    entries = [provider(f"openai/{name}", upstream.url, OLDER) for name in ("small", "medium", "big")]
    keys = [{"name": "limited", "key": LIMITED, "models": ["small", "medium"]}, {"name": "free", "key": FREE}]
    return config(entries, client_keys=keys)


def request_body(api: str, model: str = "small", **more: Any) -> dict[str, Any]:
    return question(api, model, **more)


def ask(gateway: Gateway, api: str, key: str, body: object):
    return gateway.request("POST", PATHS[api], body, {"authorization": f"Bearer {key}"})


WAYS = (
    {"models": ["small", "big"]}, {"fallbacks": ["big"]}, {"fallbacks": [{"model": "big"}]}, {"fallbacks": "default"},
    {"route": "fallback"}, {"preset": "big"}, {"plugins": [{"id": "auto-router", "allowed_models": ["*"]}]},
    {"tools": [{"type": "image_generation", "model": "big"}]}, {"moderation": {"model": "big"}},
)  # fmt: skip


@each_row(("api", "way"), product(OLDER, WAYS))
def test_a_limited_key_lists_only_its_own_models(gateway, upstream, api, way):
    upstream.script()
    reply = ask(gateway, api, LIMITED, request_body(api, **way))
    error = reply.json["error"]
    assert (reply.status, error["type"]) == (403, "permission_error")
    assert "may not use the model" in error["message"]
    assert next(iter(way)) in error["message"]
    assert upstream.seen == []


@pytest.mark.parametrize("api", OLDER)
def test_a_limited_key_may_list_several_of_its_models(gateway, upstream, api):
    upstream.script(Script(text="ok"))
    assert ask(gateway, api, LIMITED, request_body(api, models=["small", "medium"])).status == 200
    assert upstream.seen[0].json["models"] == ["small", "medium"]


@pytest.mark.parametrize("way", [WAYS[0], WAYS[4]])
def test_a_key_without_limits_may_use_any_model_in_any_member(gateway, upstream, way):
    upstream.script(Script(text="ok"))
    assert ask(gateway, "chat", FREE, request_body("chat", **way)).status == 200
    assert way.items() <= upstream.seen[0].json.items()


@each_row(("key", "name", "api"), product([LIMITED, FREE], ["model", "Model", "mod\\u0065l", "MODEL"], OLDER))
def test_a_repeated_model_member_is_refused_for_every_key(gateway, upstream, api, name, key):
    upstream.script()
    for first, last in (("big", "small"), ("small", "big")):
        body = json.dumps(request_body(api, model=first))[:-1] + f', "{name}": "{last}"}}'
        reply = ask(gateway, api, key, body.encode())
        if reply.status != 403:  # the last name decides, and the key may not use it
            message = complaint(api, reply, 400)["message"]
            assert message.startswith(("model appears twice", f"{name} differs from model"))
    assert upstream.seen == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages/count_tokens", request_body("messages")),
        ("/v1/responses/compact", request_body("responses")),
        ("/v1/conversations", {"metadata": {"a": "b"}}),
        ("/v1/responses", request_body("responses", previous_response_id="resp_a")),
    ],
)
def test_every_route_refuses_a_repeated_member(gateway, upstream, path, body):
    upstream.script()
    name, value = list(body.items())[-1]
    twice = json.dumps(body)[:-1] + f", {json.dumps(name)}: {json.dumps(value)}}}"
    reply = gateway.request("POST", path, twice.encode(), {"authorization": f"Bearer {FREE}"})
    assert (reply.status, reply.json["error"]["message"].split(",")[0]) == (400, f"{name} appears twice in the request")
    assert upstream.seen == []


@needs_feature("responses_websocket")
@pytest.mark.parametrize(
    ("more", "status"), [('"model":"small"', 400), ('"Model":"big"', 400), ('"models":["big"]', 403)]
)
def test_no_websocket_frame_may_use_another_model(gateway, upstream, more, status):
    upstream.script()
    client = Client.connect(gateway.port, {"authorization": f"Bearer {LIMITED}"})
    with client.wire:
        client.send(f'{{"type":"response.create","model":"small","input":"hi",{more}}}')
        frame = next(client.frames())
    assert (frame["type"], frame["status"]) == ("error", status)
    assert upstream.seen == []
