"""The key ``request`` of entries, aliases, groups and client keys, between clients and providers of all APIs."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest

from tests.support.each_row import each_row
from tests.support.features import members_of, needs_feature
from tests.support.gateway_thread import gateway_thread, serve_module
from tests.support.harness import Gateway, Reply, config, eventually, exchanges, provider
from tests.support.upstreams import Raw, Script
from tests.support.websocket_client import Client
from tests.support.wire_clients import ALL, body_of, path_of, text_of

KEYS: Final = {"plain": "key-of-plain-0123456789", "member": "key-of-member-0123456789"}
ALIAS: Final = {
    "default": {"temperature": 0.25, "stop": "ZZ"},
    "set": {"store": False, "top_p": 0.5},
    "max": {"max_tokens": 40, "reasoning_effort": "low"},
    "drop": ["user", "tools[].strict"],
    "system": {"before": "ALIAS-BEFORE", "after": "ALIAS-AFTER"},
}
LIMITS: Final = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "messages": ("max_tokens",),
    "responses": ("max_output_tokens",),
    "gemini": ("maxOutputTokens",),
    "converse": ("maxTokens",),
    "interactions": ("max_output_tokens",),
}
HOLDERS: Final = {"gemini": "generationConfig", "converse": "inferenceConfig", "interactions": "generation_config"}
TOP_P: Final = {"gemini": "topP", "converse": "topP"}


def entries(url: str) -> list[dict[str, Any]]:
    """Return an entry for each API, each with a different ``request``."""
    own = {"request": {"system": {"before": "ENTRY-BEFORE"}, "default": {"temperature": 0.9}}}
    models = {
        "gemini": ("gemini/m-gemini", url), "converse": ("amazon_bedrock/anthropic.m-converse", url),
        "interactions": ("gemini/m-interactions", url),
    }  # fmt: skip
    return [
        provider(*models.get(api, (f"up-{api}/m-{api}", f"{url}/v1")), speaks=[api], name=f"m-{api}", **own)
        for api in ALL
    ]


@serve_module
def gateway(upstream):
    return config(
        entries(upstream.url),
        model_aliases={f"a-{api}": {"target": f"m-{api}", "request": ALIAS} for api in ALL}
        | {"several": {"targets": ["m-messages", "m-chat"], "request": {"set": {"seed": 7}}}}
        | {"doubtful": {"targets": ["m-messages", "m-chat"], "request": {"default": {"seed": 7}, "drop": ["top_k"]}}}
        | members_of(
            "answer_cache", cached={"target": "m-chat", "cache": {"ttl": "5m"}, "request": {"set": {"temperature": 0}}}
        ),
        client_groups=[
            {
                "name": "team",
                "request": {
                    "default": {"temperature": 0.5, "metadata": {"team": "x", "tier": "low"}},
                    "set": {"top_p": 0.125},
                    "system": {"before": "GROUP-BEFORE", "after": "GROUP-AFTER"},
                },
            }
        ],
        client_keys=[
            {"name": "plain", "key": KEYS["plain"]},
            {
                "name": "member",
                "key": KEYS["member"],
                "group": "team",
                "request": {
                    "default": {"temperature": 0.75, "metadata": {"tier": "high"}},
                    "max": {"max_tokens": 30},
                    "system": {"before": "KEY-BEFORE", "after": "KEY-AFTER"},
                },
            },
        ],
        state_storage={"type": "memory"},
    )


def ask(
    gateway: Gateway, api: str, model: str, *, stream: bool = False, key: str = "plain",
    headers: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None, **more: Any,
) -> Reply:  # fmt: skip
    """Send a request of ``api`` with ``more`` members, without a token limit if one is ``None``."""
    sent = dict(body) if body is not None else body_of(api, model, stream=stream) | more
    sent = {name: value for name, value in sent.items() if value is not None}
    given = {"authorization": f"Bearer {KEYS[key]}", **(headers or {})}
    return gateway.request("POST", path_of(api, model, stream=stream), sent, given)


def settings_of(api: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the object that has the scalar settings of a request."""
    return body.get(HOLDERS[api], {}) if api in HOLDERS else body


def instructions_of(api: str, body: Mapping[str, Any]) -> str:
    """Return the words of the instructions in a request, in order."""
    match api:
        case "chat":
            found: Any = [one["content"] for one in body["messages"] if one["role"] in ("system", "developer")]
        case "messages" | "converse":
            found = body.get("system", "")
        case "responses":
            items = body["input"] if isinstance(body["input"], list) else []
            found = [body.get("instructions"), [item for item in items if item.get("role") in ("system", "developer")]]
        case "interactions":
            found = body["system_instruction"]
        case _:
            found = body["systemInstruction"]
    text = json.dumps(found)
    words = [(text.find(word), word) for level in ("KEY", "GROUP", "ALIAS", "ENTRY") for word in
             (f"{level}-BEFORE", f"{level}-AFTER")]  # fmt: skip
    assert all(text.count(word) <= 1 for _, word in words), text
    own = (text.find("BE BRIEF"), "BE BRIEF")
    return " ".join(word for at, word in sorted((*words, own)) if at >= 0)


def with_instructions(api: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``body`` with the client's instruction BE BRIEF."""
    match api:
        case "chat":
            return {**body, "messages": [{"role": "developer", "content": "BE BRIEF"}, *body["messages"]]}
        case "messages":
            return {**body, "system": "BE BRIEF"}
        case "converse":
            return {**body, "system": [{"text": "BE BRIEF"}]}
        case "responses":
            return {**body, "instructions": "BE BRIEF"}
        case "interactions":
            return {**body, "system_instruction": "BE BRIEF"}
        case _:
            return {**body, "systemInstruction": {"parts": [{"text": "BE BRIEF"}]}}


@each_row(
    ("api", "to", "stream"),
    [(api, to, (turn + place) % 2 == 1) for turn, api in enumerate(ALL) for place, to in enumerate(ALL)],
)
def test_members_reach_every_provider_from_every_client(gateway, upstream, api, to, stream):
    upstream.script(Script("It is done."))
    reply = ask(
        gateway, api, f"a-{to}", body=with_instructions(api, body_of(api, f"a-{to}", stream=stream)), stream=stream
    )
    assert (reply.status, text_of(api, reply.body, stream=stream)) == (200, "It is done.")
    (seen,) = upstream.seen
    sent = settings_of(to, seen.json)
    assert sent["temperature"] == 0.25
    assert sent[TOP_P.get(to, "top_p")] == 0.5
    assert [sent[name] for name in LIMITS[to] if name in sent] == [40]
    if to != "responses":
        stop = {"chat": "stop", "gemini": "stopSequences", "converse": "stopSequences"}.get(to, "stop_sequences")
        assert sent[stop] == ["ZZ"]
    assert instructions_of(to, seen.json) == "ALIAS-BEFORE ENTRY-BEFORE BE BRIEF ALIAS-AFTER"
    assert b"ALIAS" not in reply.body
    assert b"ENTRY" not in reply.body
    adapted = reply.headers["x-trigate-adapted"].split(",")
    assert {"temperature=0.25", "top_p=0.5", "max_tokens=40", "system+"} <= set(adapted)


@each_row("api", ALL)
def test_the_clients_value_precedes_a_default_and_the_key_precedes_its_group(gateway, upstream, api):
    own = {"temperature": 0}
    body = body_of(api, f"a-{api}", stream=False)
    body = {**body, HOLDERS[api]: {**body[HOLDERS[api]], **own}} if api in HOLDERS else {**body, **own}
    for sent_body, expected in ((body, 0), (body_of(api, f"a-{api}", stream=False), 0.75)):
        upstream.script(Script("ok"))
        reply = ask(gateway, api, f"a-{api}", key="member", body=sent_body)
        assert reply.status == 200, reply.body
        sent = settings_of(api, upstream.seen[0].json)
        assert sent["temperature"] == expected
        assert sent[TOP_P.get(api, "top_p")] == 0.5, "the alias's set precedes the group's"
        assert [sent[name] for name in LIMITS[api] if name in sent] == [30], "the least maximum"
        order = "KEY-BEFORE GROUP-BEFORE ALIAS-BEFORE ENTRY-BEFORE ALIAS-AFTER GROUP-AFTER KEY-AFTER"
        assert instructions_of(api, upstream.seen[0].json) == order


def test_objects_merge_member_by_member_and_null_counts_as_absent(gateway, upstream):
    upstream.script(Script("ok"), Script("ok"))
    ask(gateway, "chat", "m-chat", key="member", metadata={"own": "1", "team": "y"})
    assert upstream.seen[0].json["metadata"] == {"own": "1", "team": "y", "tier": "high"}
    body = {**body_of("chat", "m-chat", stream=False), "temperature": None, "top_p": None}
    ask(gateway, "chat", "m-chat", key="member", body=json.loads(json.dumps(body)) | {})
    assert upstream.seen[1].json["temperature"] == 0.75


def test_a_dropped_member_is_reported_and_the_log_marks_the_operators_edits(gateway, upstream):
    upstream.script(Script("ok"))
    tools = [{"type": "function", "function": {"name": "f", "strict": True, "parameters": {"type": "object"}}}]
    reply = ask(gateway, "chat", "a-chat", user="someone", tools=tools, headers={"x-request-id": "req-operator"})
    seen = upstream.seen[0].json
    assert ("user" in seen, seen["tools"][0]["function"]) == (False, {"name": "f", "parameters": {"type": "object"}})
    assert reply.headers["x-trigate-dropped"] == "user,tools[].strict"
    (line,) = eventually(lambda: exchanges(gateway.log, "req-operator"))
    assert line["dropped"] == "user,tools[].strict"
    assert set(line["operator"].split(",")) >= {"user", "tools[].strict", "temperature=0.25", "system+"}


def test_the_byte_lane_keeps_all_other_bytes_and_appends_new_members(gateway, upstream):
    upstream.script(Script("ok"))
    messages = b'[{"role" : "system","content":"BE BRIEF"},  {"content":"caf\\u00e9 \\/ 1.50e1","role":"user"}]'
    sent = b'{"x_first": 1.50e1,"messages":' + messages + b',"model":"plain-chat","metadata":{ "b":1 , "a":2 }}'
    settings = config(
        [provider("up-chat/m", f"{upstream.url}/v1", name="m")],
        model_aliases={"plain-chat": {"target": "m", "request": {"default": {"temperature": 0.2}, "drop": ["user"]}}},
    )
    with gateway_thread(settings) as other:
        reply = other.request("POST", "/v1/chat/completions", sent)
    assert (reply.status, reply.headers["x-trigate-lane"]) == (200, "byte")
    body = b'{"x_first":1.50e1,"messages":' + messages + b',"model":"m","metadata":{ "b":1 , "a":2 },"temperature":0.2}'
    assert upstream.seen[0].body == body


def test_strict_mode_ignores_defaults_and_passes_over_targets_without_a_set_member(gateway, upstream):
    upstream.script(Script("from chat"))
    strict = {"x-trigate-strict": "1"}
    reply = ask(gateway, "chat", "several", headers=strict)
    assert (reply.status, reply.headers["x-trigate-target"]) == (200, "up-chat/m-chat")
    assert upstream.seen[0].json["seed"] == 7
    upstream.script(Script("from messages"))
    reply = ask(gateway, "messages", "doubtful", headers=strict, top_k=5)
    assert (reply.status, reply.headers["x-trigate-target"]) == (200, "up-messages/m-messages")
    assert "top_k" not in upstream.seen[0].json
    upstream.script(Script("lost without strict mode"))
    reply = ask(gateway, "messages", "several")
    assert (reply.status, reply.headers["x-trigate-dropped"]) == (200, "seed")


def test_strict_mode_fails_if_no_target_has_a_set_member(upstream):
    settings = config(
        [provider("up/m", f"{upstream.url}/v1", speaks=["messages"], name="m", request={"set": {"seed": 1}})]
    )
    with gateway_thread(settings) as other:
        for api in ("messages", "chat"):
            upstream.script()
            body = body_of(api, "m", stream=False)
            reply = other.request("POST", path_of(api, "m", stream=False), body, {"x-trigate-strict": "1"})
            assert (reply.status, "seed" in reply.json["error"]["message"], upstream.seen) == (400, True, [])


def test_a_default_that_the_model_refuses_is_dropped(upstream):
    """Claude's newer models reject sampling settings."""
    settings = config(
        [
            provider(
                "anthropic/claude-opus-4-8", f"{upstream.url}/v1", speaks=["messages"], name="claude",
                quirks={"sampling": "never"}, request={"default": {"temperature": 0.2}},
            )
        ]
    )  # fmt: skip
    with gateway_thread(settings) as other:
        for api in ("messages", "chat"):
            upstream.script(Script("ok"))
            body = body_of(api, "claude", stream=False)
            reply = other.request("POST", path_of(api, "claude", stream=False), body, {"x-trigate-strict": "1"})
            assert (reply.status, "temperature" in upstream.seen[0].json) == (200, False), reply.body


COUNTED = {
    "messages": ("/v1/messages/count_tokens", {"model": "a-{}", "messages": [{"role": "user", "content": "Hi"}]}),
    "responses": ("/v1/responses/input_tokens", {"model": "a-{}", "input": "Hi"}),
    "gemini": ("/v1beta/models/a-{}:countTokens", {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}),
    "gemini_wrapped": (
        "/v1beta/models/a-{}:countTokens",
        {"generateContentRequest": {"model": "models/x", "contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}},
    ),
    "converse": (
        "/model/a-{}/count-tokens",
        {"input": {"converse": {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}}},
    ),
}  # fmt: skip
COUNTS = {"input_tokens": 41, "totalTokens": 41, "inputTokens": 41}


@each_row("to", ALL)
@each_row("api", COUNTED)
def test_a_count_of_tokens_has_the_same_instructions_and_no_settings_of_answers(gateway, upstream, api, to):
    """Anthropic and OpenAI reject settings of answers there, such as ``max_tokens``."""
    path, body = COUNTED[api]
    sent = {**body, "model": body["model"].format(to)} if "model" in body else body
    counted = Raw(200, (("content-type", "application/json"),), (json.dumps({**COUNTS, "object": "x"}).encode(),))
    upstream.script(counted)
    headers = {"authorization": f"Bearer {KEYS['plain']}"}
    reply = gateway.request("POST", path.format(to), sent, headers)
    assert reply.status == 200, reply.body
    assert "ALIAS-BEFORE" not in reply.body.decode()
    if not upstream.seen:  # the API has no count, or only for its own clients
        assert reply.headers["x-trigate-estimated"] == "1"
        assert next(value for name, value in reply.json.items() if name in COUNTS) > 10
        return
    (seen,) = upstream.seen
    inner = seen.json
    if to == "gemini":
        inner = inner["generateContentRequest"]
    elif to == "converse":
        inner = inner["input"]["converse"]
    assert instructions_of(to, inner) == "ALIAS-BEFORE ENTRY-BEFORE ALIAS-AFTER"
    assert inner.keys() <= {"model", "messages", "system", "input", "instructions", "contents", "systemInstruction"}
    assert "system+" in reply.headers["x-trigate-adapted"].split(",")


@pytest.mark.parametrize("to", ["responses", "chat"])
def test_a_compaction_has_no_settings_that_its_endpoint_rejects(gateway, upstream, to):
    own = {"id": "resp_1", "object": "response.compaction", "created_at": 1, "output": [], "usage": None}
    native = Raw(200, (("content-type", "application/json"),), (json.dumps(own).encode(),))
    plain = {"default": {"temperature": 0.5}, "max": {"max_tokens": 9}}
    settings = config(
        [provider(f"openai/{to}", f"{upstream.url}/v1", [to], name=to, request={"set": {"top_p": 0.5}})],
        model_aliases={"alias": {"target": to, "request": plain}},
    )
    with gateway_thread(settings) as other:
        upstream.script(native if to == "responses" else Script("A summary."))
        reply = other.request("POST", "/v1/responses/compact", {"model": "alias", "input": "Hi"})
    assert reply.status == 200, reply.body
    sent = upstream.seen[0].json
    if to == "responses":
        assert sent == {"model": to, "input": "Hi"}
    else:
        assert (sent["temperature"], sent["top_p"], sent["max_completion_tokens"]) == (0.5, 0.5, 9)


@needs_feature("responses_websocket")
def test_a_turn_over_a_websocket_has_the_same_members(gateway, upstream):
    upstream.script(Script("one"), Script("two"))
    with Client.connect(gateway.port, {"authorization": f"Bearer {KEYS['member']}"}) as client:
        events = client.ask("a-chat")
        response = events[-1]["response"]
        client.ask("a-chat", "again", previous_response_id=response["id"])
    assert "BEFORE" not in json.dumps(events)
    assert response["temperature"] == 0.75
    for seen in upstream.seen:
        assert seen.json["temperature"] == 0.75
        assert instructions_of("chat", seen.json).startswith("KEY-BEFORE GROUP-BEFORE ALIAS-BEFORE ENTRY-BEFORE")


@each_row("to", ALL, every=3)
def test_stored_turns_and_their_retrieval_omit_the_instructions(gateway, upstream, to):
    upstream.script(Script("one"), Script("two"))
    body = {"model": f"m-{to}", "input": "Hi", "instructions": "BE BRIEF"}
    first = ask(gateway, "responses", f"m-{to}", key="member", body=body)
    assert first.status == 200, first.body
    again = {"model": f"m-{to}", "input": "More", "previous_response_id": first.json["id"]}
    second = ask(gateway, "responses", f"m-{to}", key="member", body=again)
    headers = {"authorization": f"Bearer {KEYS['member']}"}
    stored = gateway.request("GET", f"/v1/responses/{first.json['id']}", headers=headers)
    items = gateway.request("GET", f"/v1/responses/{second.json['id']}/input_items", headers=headers)
    assert (first.json["instructions"], stored.json["instructions"]) == ("BE BRIEF", "BE BRIEF")
    assert not [one for one in (first, second, stored, items) if b"BEFORE" in one.body or b"AFTER" in one.body]
    assert instructions_of(to, upstream.seen[1].json).count("KEY-BEFORE") == 1


@needs_feature("answer_cache")
def test_the_answer_cache_uses_the_result(gateway, upstream):
    upstream.script(Script("once"))
    replies = [
        ask(gateway, "chat", "cached", temperature=value, messages=[{"role": "user", "content": "cached"}])
        for value in (0, 0)
    ]
    assert [reply.headers["x-trigate-cache"] for reply in replies] == ["miss", "hit"]
    assert upstream.seen[0].json["temperature"] == 0


def test_each_name_of_a_request_with_several_has_its_own_members(upstream):
    settings = config(
        [provider(f"up-{name}/m", f"{upstream.url}/v1", name=name) for name in ("one", "two")],
        model_aliases={
            f"alias-{name}": {
                "target": name, "request": {"set": {"seed": seed}, "system": {"before": f"FOR {name}"}},
            } for name, seed in (("one", 1), ("two", 2))
        },
    )  # fmt: skip
    with gateway_thread(settings) as other:
        upstream.script(Raw(503, (), (b"{}",)), Script("ok"))
        body = body_of("chat", "alias-one", stream=False)
        reply = other.request("POST", "/v1/chat/completions", body, {"x-trigate-models": "alias-one, alias-two"})
        assert reply.status == 200
    sent = [
        (seen.json["seed"], "FOR one" in seen.body.decode(), "FOR two" in seen.body.decode()) for seen in upstream.seen
    ]
    assert sent == [(1, True, False), (2, False, True)]
