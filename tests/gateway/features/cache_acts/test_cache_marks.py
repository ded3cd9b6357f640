"""Cache marks that the gateway adds on request (``prompt_cache: {marks: …}``), over real sockets.

LiteLLM's form of this changed twice, because marks next to a client's own ones broke caches (BerriAI/litellm#33886)."""

import json
from typing import Any

import pytest

from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread, serve_module
from tests.support.harness import Gateway, Reply, config, provider
from tests.support.people import PATHS
from tests.support.upstreams import Raw, Script, Tokens, Upstream

SONNET = "anthropic/claude-sonnet-4-6"
MARK = {"type": "ephemeral"}
LONG_MARK = {"type": "ephemeral", "ttl": "1h"}
TURNS = ("What is it?", "It is a test.", "Go on.")
SYSTEM = "Be brief."
ANSWER = Script(text="Hello", tokens=Tokens(prompt=20, output=3))


@serve_module
def gateway(upstream):
    entries = [
        provider(SONNET, upstream.url, ["messages"], name="sonnet", prompt_cache={"marks": "5m"}),
        provider("anthropic/claude-opus-5", upstream.url, ["messages"], name="opus", prompt_cache={"marks": "1h"}),
        provider("anthropic/claude-haiku-4-5", upstream.url, ["messages"], name="plain"),
        provider(
            "amazon_bedrock/anthropic.claude-sonnet-4-6", upstream.url, ["converse"], name="bedrock",
            prompt_cache={"marks": "5m"},
        ),
        provider(
            "amazon_bedrock/meta.llama4-maverick-17b-instruct-v1:0", upstream.url, ["converse"], name="llama",
            prompt_cache={"marks": "5m"},
        ),
        provider("openai/gpt-4o", upstream.url + "/v1", ["chat"], name="gpt", prompt_cache={"marks": "5m"}),
    ]  # fmt: skip
    return config(entries, client_keys=[{"name": one, "key": key_of(one)} for one in NAMES])


NAMES = ("ann", "ben", "cleo", "dan", "eve")


def key_of(name: str) -> str:
    return f"key-of-{name}-0123456789"


def body_of(api: str, model: str, turns: tuple[str, ...] = TURNS) -> dict[str, Any]:
    """Return a conversation of user and assistant in turn."""
    roles = [(("user", "assistant")[at % 2], text) for at, text in enumerate(turns)]
    match api:
        case "chat":
            messages = [{"role": "system", "content": SYSTEM}]
            return {"model": model, "messages": messages + [{"role": role, "content": text} for role, text in roles]}
        case "messages":
            messages = [{"role": role, "content": text} for role, text in roles]
            return {"model": model, "max_tokens": 100, "system": SYSTEM, "messages": messages}
        case "responses":
            return {"model": model, "instructions": SYSTEM, "store": False,
                    "input": [{"role": role, "content": text} for role, text in roles]}  # fmt: skip
        case "gemini":
            contents = [
                {"role": "model" if role == "assistant" else role, "parts": [{"text": text}]} for role, text in roles
            ]
            return {"systemInstruction": {"parts": [{"text": SYSTEM}]}, "contents": contents}
        case _:
            messages = [{"role": role, "content": [{"text": text}]} for role, text in roles]
            return {"system": [{"text": SYSTEM}], "messages": messages}


def ask(gateway: Gateway, upstream: Upstream, api: str, body: dict[str, Any], model: str, client: str = "ann") -> Reply:
    upstream.script(ANSWER)
    sent = {"authorization": f"Bearer {key_of(client)}"}
    reply = gateway.request("POST", PATHS[api].format(model=model), body, sent)
    assert reply.status == 200, reply.body
    return reply


def sent_body(upstream: Upstream) -> dict[str, Any]:
    (seen,) = upstream.seen
    found: dict[str, Any] = seen.json
    return found


@each_row("api", ["chat", "responses", "gemini", "converse"])
def test_translated_conversations_are_marked(gateway: Gateway, upstream: Upstream, api: str):
    reply = ask(gateway, upstream, api, body_of(api, "sonnet"), "sonnet")
    sent = sent_body(upstream)
    assert sent["system"] == [{"type": "text", "text": SYSTEM, "cache_control": MARK}]
    assert sent["messages"][-1]["content"][-1] == {"type": "text", "text": TURNS[-1], "cache_control": MARK}
    assert json.dumps(sent).count("cache_control") == 2
    assert "cache_control+2" in reply.headers["x-trigate-adapted"].split(",")


def test_a_request_in_the_providers_own_api_gets_one_mark_after_its_bytes(gateway: Gateway, upstream: Upstream):
    body = body_of("messages", "opus")
    reply = ask(gateway, upstream, "messages", body, "opus")
    sent = sent_body(upstream)
    assert sent.pop("cache_control") == LONG_MARK
    assert {**sent, "model": "opus"} == body
    assert reply.headers["x-trigate-adapted"] == "cache_control+1"


@each_row("api", ["chat", "messages", "responses", "gemini"])
def test_converse_gets_points(gateway: Gateway, upstream: Upstream, api: str):
    ask(gateway, upstream, api, body_of(api, "bedrock"), "bedrock")
    sent = sent_body(upstream)
    point = {"cachePoint": {"type": "default"}}
    assert sent["system"] == [{"text": SYSTEM}, point]
    assert sent["messages"][-1]["content"] == [{"text": TURNS[-1]}, point]


@each_row("model", ["plain", "llama", "gpt"])
def test_only_entries_and_models_that_accept_marks_get_them(gateway: Gateway, upstream: Upstream, model: str):
    reply = ask(gateway, upstream, "messages", body_of("messages", model), model)
    assert "cache" not in json.dumps(sent_body(upstream))
    assert "cache_control" not in reply.headers.get("x-trigate-adapted", "")


@each_row(("api", "model"), [("messages", "sonnet"), ("messages", "bedrock"), ("converse", "sonnet")])
def test_a_client_with_a_mark_gets_no_other(gateway: Gateway, upstream: Upstream, api: str, model: str):
    body = body_of(api, model)
    if api == "messages":
        body["system"] = [{"type": "text", "text": SYSTEM, "cache_control": MARK}]
    else:
        body["system"].append({"cachePoint": {"type": "default"}})
    reply = ask(gateway, upstream, api, body, model)
    sent = json.dumps(sent_body(upstream))
    assert sent.count("cache_control") + sent.count("cachePoint") == 1
    assert "cache_control+" not in reply.headers.get("x-trigate-adapted", "")


def test_a_first_request_is_marked_once_its_beginning_was_seen(gateway: Gateway, upstream: Upstream):
    """Marks on one-shot requests cost a quarter more and save nothing."""
    marked = []
    for client, question in (("ben", "One?"), ("cleo", "One?"), ("ben", "Two?")):
        ask(gateway, upstream, "chat", body_of("chat", "sonnet", (question,)), "sonnet", client)
        sent = sent_body(upstream)
        assert sent["messages"] == [{"role": "user", "content": question}]
        marked.append("cache_control" in json.dumps(sent))
    assert marked == [False, False, True], "another client's prompts are no evidence"


@pytest.mark.parametrize(
    ("api", "model", "client", "path", "is_marked"),
    [
        ("messages", "sonnet", "dan", "cache_control", False),
        ("chat", "opus", "dan", "system.0.cache_control.ttl", True),
        ("messages", "opus", "eve", "cache_control.ttl", True),
    ],
)
def test_a_rejected_mark_or_lifetime_is_removed_now_and_in_later_requests(
    gateway: Gateway, upstream: Upstream, api: str, model: str, client: str, path: str, is_marked: bool
):
    text = f"{path}: Extra inputs are not permitted"
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": text}}
    rejection = Raw(400, (("content-type", "application/json"),), (json.dumps(error).encode(),))
    upstream.script(rejection, ANSWER, ANSWER)
    for _ in range(2):
        reply = gateway.request("POST", PATHS[api], body_of(api, model), {"authorization": f"Bearer {key_of(client)}"})
        assert reply.status == 200, reply.body
    sent = [seen.body for seen in upstream.seen]
    assert [b"cache_control" in one for one in sent] == [True, is_marked, is_marked]
    assert [b'"ttl"' in one for one in sent] == [is_marked, False, False]


@pytest.mark.soak
def test_marks_stop_for_a_client_for_whom_they_do_not_pay(upstream: Upstream):
    """A client whose prompts never repeat pays for each write (BerriAI/litellm-docs#1572)."""
    written = Script(text="Hello", tokens=Tokens(prompt=2000, cache_write=1900, output=3))
    entry = provider(
        "anthropic/claude-sonnet-4-6", upstream.url, ["messages"], name="sonnet", prompt_cache={"marks": "5m"}
    )
    keys = [{"name": one, "key": key_of(one)} for one in NAMES]
    with gateway_thread(config([entry], client_keys=keys)) as gateway:
        upstream.script(*[written] * 104)
        for client, number in (("ann", 102), ("ben", 1)):
            for _ in range(number):
                headers = {"authorization": f"Bearer {key_of(client)}"}
                assert gateway.request("POST", PATHS["chat"], body_of("chat", "sonnet"), headers).status == 200
        marked = ["cache_control" in json.dumps(seen.json) for seen in upstream.seen]
        assert marked == [True] * 100 + [False] * 2 + [True]
        warnings = [line for line in gateway.log if "cost more than they save" in line]
        assert len(warnings) == 1
        assert "ann" in warnings[0]
