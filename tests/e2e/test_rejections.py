"""Tests of members and betas that a provider refuses: the gateway omits them, or retries without them, and reports them
(anthropics/claude-code#21612, #39589, #49548, #51700, BerriAI/litellm#26240, decolua/9router#1468)."""

import json

import pytest

from tests.support.gateway_thread import serve_module
from tests.support.harness import Gateway, complaint, config, provider
from tests.support.upstreams import JSON, PATHS, Raw, Script

FINE = Script(text="fine")
BETAS = "claude-code-20250219,prompt-caching-scope-2026-01-05"


def refusing(message: str, status: int = 400) -> Raw:
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
    return Raw(status, JSON, (json.dumps(error).encode(),))


def extra(path: str) -> Raw:
    return refusing(f"{path}: Extra inputs are not permitted")


@serve_module
def gateway(upstream):
    rows = {"refused_fields": ["context_management", "tools[].input_examples"], "refused_betas": ["prompt-caching-*"]}
    entries = [
        provider("anthropic/*", upstream.url, ["messages"]),
        provider("openai/*", upstream.url, ["chat"]),
        provider("vertex/*", upstream.url, ["messages"], provider_interface="anthropic", quirks=rows),
    ]
    return config(entries)


@pytest.fixture
def model(request) -> str:
    """Return another model for each test, because the gateway remembers the refusals of a model."""
    return f"anthropic/claude-{request.node.name.translate({91: '-', 93: None})}"


def request_body(model: str, **more: object) -> dict[str, object]:
    return {"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}], **more}


def ask(gateway: Gateway, body: object, api: str = "messages", **headers: str):
    named = {"anthropic-version": "2023-06-01", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return gateway.request("POST", PATHS[api], body, named)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_refused_member_is_omitted_on_a_retry_and_remembered(gateway, upstream, model, stream):
    body = request_body(model, context_management={"edits": []}, stream=stream, metadata={"a": 1.50})
    upstream.script(extra("context_management"), FINE)
    reply = ask(gateway, body)
    assert reply.status == 200
    assert (reply.headers["x-trigate-attempts"], reply.headers["x-trigate-dropped"]) == ("2", "context_management")
    first, second = (seen.json for seen in upstream.seen)
    assert first.pop("context_management") == {"edits": []}
    assert first == second
    upstream.script(FINE)
    again = ask(gateway, body)
    assert (again.status, again.headers["x-trigate-attempts"]) == (200, "1")
    assert again.headers["x-trigate-dropped"] == "context_management"
    assert "context_management" not in upstream.seen[0].json


def test_a_repeated_refusal_is_returned_to_the_client(gateway, upstream, model):
    upstream.script(*[extra("speed")] * 4)
    reply = ask(gateway, request_body(model, speed="fast"))
    assert "speed: Extra inputs" in complaint("messages", reply, 400, passed=True)["message"]
    assert len(upstream.seen) == 2
    upstream.script(FINE)
    assert "x-trigate-dropped" not in ask(gateway, request_body(model, speed="fast")).headers, (
        "it did not help: nothing is learned"
    )


def test_a_learned_omission_returns_400_in_strict_mode(gateway, upstream, model):
    upstream.script(extra("temperature"), FINE)
    assert ask(gateway, request_body(model, temperature=0.5)).status == 200
    upstream.script()
    error = complaint("messages", ask(gateway, request_body(model, temperature=0.5), x_trigate_strict="1"), 400)
    assert "temperature" in error["message"]
    assert upstream.seen == []


def test_only_a_refused_beta_is_omitted_and_that_is_remembered(gateway, upstream, model):
    """(anthropics/claude-code#21767, QuantumNous/new-api#2975)"""
    words = "Unexpected value(s) `prompt-caching-scope-2026-01-05` for the `anthropic-beta` header. Please consult …"
    upstream.script(refusing(words), FINE)
    reply = ask(gateway, request_body(model), anthropic_beta=BETAS)
    assert (reply.status, reply.headers["x-trigate-attempts"]) == (200, "2")
    assert reply.headers["x-trigate-dropped"] == "anthropic-beta.prompt-caching-scope-2026-01-05"
    assert [seen.header("anthropic-beta") for seen in upstream.seen] == [BETAS, "claude-code-20250219"]
    upstream.script(FINE)
    assert ask(gateway, request_body(model), anthropic_beta=BETAS).headers["x-trigate-attempts"] == "1"
    assert upstream.seen[0].header("anthropic-beta") == "claude-code-20250219"


def test_a_refusal_of_a_translated_request_is_remembered_too(gateway, upstream):
    """Claude Code requests thinking from every model, but some models cannot think."""
    refusal = {"message": "Unrecognized request argument supplied: reasoning_effort", "type": "invalid_request_error"}
    upstream.script(Raw(400, JSON, (json.dumps({"error": refusal}).encode(),)), FINE)
    body = request_body("openai/o", thinking={"type": "enabled", "budget_tokens": 4000}, max_tokens=8000)
    reply = ask(gateway, body)
    assert (reply.status, reply.headers["x-trigate-attempts"]) == (200, "2")
    assert reply.headers["x-trigate-dropped"] == "reasoning_effort"
    assert "reasoning_effort" in upstream.seen[0].json
    upstream.script(FINE)
    assert ask(gateway, body).headers["x-trigate-attempts"] == "1"
    assert "reasoning_effort" not in upstream.seen[0].json


def test_refused_reasoning_and_a_refused_member_are_two_causes(gateway, upstream, model):
    thought = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [thought, {"type": "text", "text": "ho"}]},
        {"role": "user", "content": "again"},
    ]
    upstream.script(refusing("messages.1.content.0: Invalid `signature` in `thinking` block"), extra("speed"), FINE)
    reply = ask(gateway, request_body(model, messages=turns, speed="fast"))
    assert (reply.status, reply.headers["x-trigate-attempts"]) == (200, "3")
    assert reply.headers["x-trigate-dropped"] == "messages[].content[],speed"
    assert "speed" not in upstream.seen[-1].json
    assert "c2ln" not in upstream.seen[-1].body.decode()


def test_a_provider_that_always_refuses_gets_at_most_six_requests(gateway, upstream, model):
    names = [f"field{i}" for i in range(9)]
    upstream.script(*[extra(name) for name in names])
    reply = ask(gateway, request_body(model, **dict.fromkeys(names, 1)))
    assert "field5" in complaint("messages", reply, 400, passed=True)["message"]
    assert len(upstream.seen) == 6


# The client's words in a provider's refusal


KEYS = [{"name": name, "key": f"sk-gw-{name}-0123456789"} for name in ("bob", "mallory")]


@serve_module
def with_keys(upstream):
    entries = [provider("anthropic/*", upstream.url, ["messages"]), provider("openai/*", upstream.url, ["chat"])]
    return config(entries, client_keys=KEYS)


def ask_as(client: str, gateway: Gateway, body: object, api: str = "messages", **headers: str):
    return ask(gateway, body, api, authorization=f"Bearer sk-gw-{client}-0123456789", **headers)


MINE = {"store": False, "temperature": 0.5, "thinking": {"type": "disabled"}, "stop_sequences": ["x"], "top_k": 5}


def test_a_clients_words_in_a_refusal_change_no_other_request(with_keys, upstream, model):
    """A validator quotes a member's name, and the name reads like a refusal of many other members
    (https://owasp.org/www-community/Injection_Theory)."""
    crafted = "".join(f" {name}: Extra inputs are not permitted," for name in MINE) + " x"
    upstream.script(extra(f"metadata.{crafted}"), FINE)
    ask_as("mallory", with_keys, request_body(model, metadata={crafted: 1}, **MINE))
    upstream.script(FINE)
    reply = ask_as("bob", with_keys, request_body(model, **MINE), x_trigate_strict="1")
    assert (reply.status, reply.headers.get("x-trigate-dropped")) == (200, None)
    assert upstream.seen[0].json == {**request_body(model.removeprefix("anthropic/")), **MINE}


def test_a_refusal_of_several_members_keeps_those_about_privacy(with_keys, upstream):
    body = request_body("openai/several", store=False, user="u", seed=1)
    error = {"message": "Unrecognized request arguments supplied: store, user, seed", "type": "invalid_request_error"}
    upstream.script(Raw(400, JSON, (json.dumps({"error": error}).encode(),)), FINE)
    reply = ask_as("bob", with_keys, body, "chat")
    assert (reply.status, reply.headers["x-trigate-dropped"]) == (200, "seed")
    assert {"store", "user"} <= set(upstream.seen[1].json)
    upstream.script(FINE)
    assert "x-trigate-dropped" not in ask_as("bob", with_keys, body, "chat").headers, (
        "several were named: none is learned"
    )


def test_a_member_about_privacy_is_only_omitted_if_it_alone_was_refused(with_keys, upstream):
    body = request_body("openai/alone", store=False)
    error = {"message": "Unrecognized request argument supplied: store", "type": "invalid_request_error"}
    for _ in range(2):  # the gateway does not remember the first time
        upstream.script(Raw(400, JSON, (json.dumps({"error": error}).encode(),)), FINE)
        reply = ask_as("bob", with_keys, body, "chat")
        assert (reply.headers["x-trigate-dropped"], reply.headers["x-trigate-attempts"]) == ("store", "2")
    upstream.script(Raw(400, JSON, (json.dumps({"error": error}).encode(),)))
    complaint("chat", ask_as("bob", with_keys, body, "chat", x_trigate_strict="1"), 400, passed=True)
    assert len(upstream.seen) == 1


WINDOW = "context-1m-2025-08-07"


@pytest.mark.parametrize("api", ["messages", "chat"])
def test_a_mark_for_the_window_is_sent_as_a_beta(gateway, upstream, api):
    """(Wei-Shaw/sub2api#4505, decolua/9router#2531)"""
    upstream.script(FINE)
    body = request_body("anthropic/claude-opus-4-8[1m]")
    reply = ask(gateway, body, api, **({"anthropic_beta": BETAS} if api == "messages" else {}))
    assert (reply.status, reply.headers["x-trigate-model"]) == (200, "claude-opus-4-8")
    assert upstream.seen[0].json["model"] == "claude-opus-4-8"
    assert upstream.seen[0].header("anthropic-beta") == (f"{BETAS},{WINDOW}" if api == "messages" else WINDOW)


def test_the_beta_of_a_marked_name_is_sent_once_and_can_be_refused(gateway, upstream):
    upstream.script(FINE, refusing(f"Unexpected value(s) `{WINDOW}` for the `anthropic-beta` header."), FINE)
    assert ask(gateway, request_body("anthropic/claude-marked[1m]"), anthropic_beta=WINDOW).status == 200
    reply = ask(gateway, request_body("anthropic/claude-marked[1m]"))
    assert (reply.status, reply.headers["x-trigate-attempts"]) == (200, "2")
    assert reply.headers["x-trigate-dropped"] == f"anthropic-beta.{WINDOW}"
    assert [seen.header("anthropic-beta") for seen in upstream.seen] == [WINDOW, WINDOW, None]
