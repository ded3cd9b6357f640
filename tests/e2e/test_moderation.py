"""A request for moderation that blocks is never sent without it: not translated, not to a server that ignores it, and
not again after a provider has rejected the member.

Source: ``Moderation`` in the parameter types of the openai package.
"""

import json
from itertools import product
from typing import Any

import pytest

from tests.support.covering import covering_rows
from tests.support.each_row import each_row
from tests.support.gateway_thread import serve_module
from tests.support.harness import config, provider
from tests.support.upstreams import JSON, PATHS, Raw, Script

CLIENTS = ("chat", "responses")
FINE = Script(text="fine")
SCORE = {"model": "omni-moderation-latest"}
BLOCK = {
    "input": {**SCORE, "policy": {"input": {"mode": "block"}, "output": {"mode": "score"}}},
    "output": {**SCORE, "policy": {"input": None, "output": {"mode": "block"}}},
}
WITHOUT = ("messages/m", "gemini/m", "converse/m", "interactions/m", "compatible/m")


@serve_module
def gateway(upstream):
    entries = [
        provider("openai/*", upstream.url, ["chat", "responses"]),
        provider("translated/*", upstream.url, ["chat"], provider_interface="openai"),
        *(provider(f"{api}/*", upstream.url, [api], provider_interface="openai")
          for api in ("messages", "gemini", "converse")),
        provider("interactions/*", upstream.url, ["interactions"], provider_interface="gemini"),
        provider("compatible/*", upstream.url, ["chat"], provider_interface="groq"),
        provider("refusing/*", upstream.url, ["chat", "responses"], provider_interface="openai",
                 quirks={"refused_fields": ["moderation"]}),
    ]  # fmt: skip
    return config(entries)


def request_body(client: str, model: str, moderation: object, **more: object) -> dict[str, Any]:
    prompt = {"messages": [{"role": "user", "content": "hi"}]} if client == "chat" else {"input": "hi"}
    return {"model": model, **prompt, "moderation": moderation, **more}


@each_row("client, kind, stream, model", covering_rows(CLIENTS, [*BLOCK], [True, False], [*WITHOUT, "refusing/m"]))
def test_a_provider_without_moderation_gets_no_request_that_blocks(gateway, upstream, client, kind, stream, model):
    upstream.script(FINE)
    reply = gateway.request("POST", PATHS[client], request_body(client, model, BLOCK[kind], stream=stream))
    assert (reply.status, upstream.seen) == (400, [])
    error = reply.json["error"]
    assert (error["param"], "moderation" in error["message"]) == ("moderation.policy", True)


@each_row(("client", "model"), product(CLIENTS, [*WITHOUT[:4], "refusing/m"]))
def test_scores_that_no_provider_gives_are_listed(gateway, upstream, client, model):
    upstream.script(FINE)
    reply = gateway.request("POST", PATHS[client], request_body(client, model, SCORE))
    assert (reply.status, "moderation" in reply.headers["x-trigate-dropped"].split(",")) == (200, True)
    assert "moderation" not in upstream.seen[0].json


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("model", ["openai/m", "translated/m"])
def test_openai_gets_the_policy(gateway, upstream, client, model):
    upstream.script(FINE)
    reply = gateway.request("POST", PATHS[client], request_body(client, model, BLOCK["input"]))
    assert reply.status == 200
    assert upstream.seen[0].json["moderation"] == BLOCK["input"]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("model", ["openai/refuses", "translated/refuses"])
def test_a_rejected_policy_is_not_left_out_on_a_retry(gateway, upstream, client, model):
    error = {"error": {"message": "Unknown parameter: 'moderation'.", "type": "invalid_request_error",
                       "param": "moderation", "code": "unknown_parameter"}}  # fmt: skip
    upstream.script(Raw(400, JSON, (json.dumps(error).encode(),)), FINE)
    reply = gateway.request("POST", PATHS[client], request_body(client, model, BLOCK["output"]))
    assert (reply.status, len(upstream.seen)) == (400, 1)
