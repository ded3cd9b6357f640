"""Tests of a request's routing options, the entries that a key may use, and state that pins a request to an entry."""

import json
import time
from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest

from gateway.http.headers import OWN_PREFIX, OWN_REQUEST_HEADERS
from tests.support.apis import OLDER, question
from tests.support.each_row import each_row
from tests.support.features import members_of, needs_feature
from tests.support.gateway_thread import serve_module
from tests.support.harness import Gateway, Reply, complaint, config, provider
from tests.support.upstreams import JSON, PATHS, STREAM, Raw, Script, Upstream
from tests.support.websocket_client import Client

ALL, BANK, SOME = "sk-gw-all-0123456789", "sk-gw-bank-0123456789", "sk-gw-some-0123456789"
DOWN = Raw(503, JSON, (b'{"error":{"message":"later","type":"server_error"}}',))
SMALL = {"context_window": 8192}


@serve_module
def gateway(upstream):
    entries = [
        provider("one/a", upstream.url, OLDER),
        provider("two/b", upstream.url, OLDER, key="sk-other"),
        provider("three/eu-c", upstream.url, OLDER, key="sk-third"),
        provider("one/small", upstream.url, OLDER, quirks=SMALL),
        provider("one/blind", upstream.url, OLDER, quirks={"cannot": ["images"]}),
        provider("four/chat-only", upstream.url, ["chat"]),
        provider("openrouter/r", f"{upstream.url}/v1", ["chat"]),
        provider("openai/kept", upstream.url, ["responses"], state="upstream", key="sk-kept"),
        provider("openai/kept-2", upstream.url, ["responses"], state="upstream", key="sk-kept"),
        provider("openai/other", upstream.url, ["responses"], state="upstream", key="sk-other-account"),
        provider("anthropic/seals-1", upstream.url, ["messages"], key="sk-ant-1"),
        provider("vercel/seals-2", upstream.url, ["messages"], key="sk-ant-2"),
    ]
    keys = [
        {"name": "all", "key": ALL, **members_of("files", foreign_ids=True)},
        {"name": "bank", "key": BANK, "only": ["eu-*"]},
        {"name": "some", "key": SOME, "models": ["best", "a"]},
    ]
    aliases = {
        "best": {"targets": ["a", "b", "eu-c"]},
        "home": {"targets": ["a", "b"]},
        "windows": {"targets": ["small", "b"]},
        "sights": {"targets": ["blind", "b"]},
        "routed": {"targets": ["a", "r"]},
        "lossy-first": {"targets": ["chat-only", "b"]},
        "kept-by-both": {"targets": [["kept", "other"]]},
        "plan-first": {"targets": ["plan", "b"]},
        "thinkers": {"targets": ["seals-1", "chat-only"]},
        "sealed-group": {"targets": [["seals-1", "seals-2"]], "sticky": False},
        "sealed": {"targets": ["seals-1", "seals-2"]},
    }
    own = provider("five/plan", upstream.url, ["chat"], passthrough_auth=True)
    del own["access_key"]
    entries = [{"name": entry["model"].partition("/")[2], **entry} for entry in (*entries, own)]
    circuit = {"failures": 1000, "error_rate": "100%", "cooldown": "1ms", "longest": "1ms"}
    settings = config(
        entries, client_keys=keys, model_aliases=aliases, circuit=circuit, retries={"attempts": 3, "budget": "100%"}
    )
    return {**settings, "version": "v0.4.0"}


def body_of(api: str, model: str = "best", **more: Any) -> dict[str, Any]:
    return question(api, model, **{"stream": False, **more})


def ask(gateway: Gateway, body: Mapping[str, Any], api: str = "chat", key: str = ALL, **headers: str) -> Reply:
    own = {f"x-trigate-{name}": value for name, value in headers.items()}
    return gateway.request("POST", PATHS[api], body, {"authorization": f"Bearer {key}", **own})


def models(upstream: Upstream) -> list[str]:
    return [seen.json["model"] for seen in upstream.seen]


# Headers


@each_row(("stream", "api"), product([False, True], OLDER))
def test_listed_models_replace_the_requested_name(gateway, upstream, api, stream):
    upstream.script(DOWN, Script(text="ok"))
    reply = ask(gateway, body_of(api, stream=stream), api, models="b, eu-c")
    assert (reply.status, models(upstream)) == (200, ["b", "eu-c"])
    assert reply.headers["x-trigate-model"] == "eu-c"
    assert not [name for seen in upstream.seen for name, _ in seen.headers if name.startswith("x-trigate")]


@each_row(("stream", "api"), product([False, True], OLDER))
def test_a_request_without_fallback_has_one_attempt(gateway, upstream, api, stream):
    # BerriAI/litellm#19077
    begun = Raw(200, STREAM, (b": \n\n",), "cut")
    upstream.script(begun if stream else DOWN, DOWN, DOWN)
    reply = ask(gateway, body_of(api, stream=stream), api, fallback="off", deadline="1s")
    assert set(models(upstream)) == {"a"}
    assert reply.status >= 500


@each_row(("stream", "api"), product([False, True], OLDER))
def test_a_deadline_ends_the_wait_for_a_silent_provider(gateway, upstream, api, stream):
    kind = "text/event-stream" if stream else "application/json"
    upstream.script(Raw(200, (("content-type", kind),), (b": \n\n" if stream else b"{",), "hang"))
    since = time.perf_counter()
    complaint(api, ask(gateway, body_of(api, "a", stream=stream), api, deadline="300ms"), 504)
    assert time.perf_counter() - since < 15  # the provider hangs for 20
    assert models(upstream) == ["a"]


@each_row("stream", [False, True])
def test_a_deadline_covers_all_attempts(gateway, upstream, stream):
    slow = Raw(200, STREAM, (b": \n\n",), "hang")
    upstream.script(DOWN, slow)
    complaint("chat", ask(gateway, body_of("chat", stream=stream), deadline="300ms"), 503)
    assert models(upstream) == ["a", "b"]


# The entries of a key


@pytest.mark.parametrize("api", OLDER)
def test_a_restricted_key_only_reaches_its_own_entries(gateway, upstream, api):
    # BerriAI/litellm#38572, #39998
    upstream.script(DOWN, DOWN, DOWN)
    reply = ask(gateway, body_of(api), api, BANK, deadline="100ms")
    assert reply.status in (503, 529)
    assert set(models(upstream)) == {"eu-c"}


@each_row(("model", "api"), product(["a", "home"], OLDER))
def test_a_name_without_entries_of_the_key_is_forbidden(gateway, upstream, api, model):
    upstream.script()
    reply = ask(gateway, body_of(api, model), api, BANK)
    assert reply.status == 403
    assert "may not use any target" in reply.json["error"]["message"]
    assert upstream.seen == []


@each_row("path", ["/v1/messages/count_tokens", "/v1/responses/input_tokens", "/v1/responses/compact"])
def test_counting_and_compacting_only_use_the_entries_of_the_key(gateway, upstream, path):
    upstream.script(Raw(404))
    body = body_of("messages" if "messages" in path else "responses", "home")
    reply = gateway.request("POST", path, body, {"authorization": f"Bearer {BANK}"})
    assert (reply.status, upstream.seen) == (403, [])


@needs_feature("responses_websocket")
def test_a_websocket_uses_its_keys_entries_and_its_headers(gateway, upstream):
    upstream.script(DOWN, DOWN, DOWN)
    own = {"authorization": f"Bearer {BANK}", "x-trigate-deadline": "100ms"}
    with Client.connect(gateway.port, own) as client:
        assert client.ask("best")[-1]["type"] == "error"
        assert set(models(upstream)) == {"eu-c"}
        assert client.ask("home")[-1]["status"] == 403
    upstream.script(DOWN, Script(text="ok"))
    own = {"authorization": f"Bearer {ALL}", "x-trigate-models": "b, a"}
    with Client.connect(gateway.port, own) as client:
        assert client.ask("best")[-1]["type"] == "response.completed"
    assert models(upstream) == ["b", "a"]


def test_a_key_for_a_route_may_not_use_its_targets_names(gateway, upstream):
    # BerriAI/litellm#39998
    upstream.script(DOWN, Script(text="ok"))
    assert ask(gateway, body_of("chat"), key=SOME).status == 200
    assert models(upstream) == ["a", "b"]
    upstream.script()
    assert ask(gateway, body_of("chat", "b"), key=SOME).status == 403
    assert upstream.seen == []


# Unknown headers


@each_row(("model", "lost"), [("b", ""), ("chat-only", "top_k,")])
def test_an_unknown_header_for_the_gateway_is_reported_as_dropped(gateway, upstream, model, lost):
    upstream.script(Script(text="ok"), Script(text="ok"))
    known = {name.removeprefix(OWN_PREFIX): "1" for name in OWN_REQUEST_HEADERS}
    known |= {"models": model, "fallback": "off", "deadline": "20s", "budget": "9k tokens", "strict": "0", "key": ALL}
    del known["steps"]  # the gateway has no steps
    reply = ask(gateway, body_of("messages", model, top_k=5), "messages", **known)
    assert (reply.status, reply.headers.get("x-trigate-dropped", "")) == (200, lost.rstrip(","))
    reply = ask(gateway, body_of("messages", model, top_k=5), "messages", budgets="2 usd", target="b")
    assert (reply.status, reply.headers["x-trigate-dropped"]) == (200, f"{lost}x-trigate-budgets,x-trigate-target")


# Context windows and features of targets


def test_strict_mode_skips_targets_that_would_drop_members(gateway, upstream):
    # BerriAI/litellm#4285
    upstream.script(Script(text="ok"), Script(text="ok"))
    body = body_of("messages", "lossy-first", top_k=5)
    reply = ask(gateway, body, "messages", strict="1")
    assert (reply.status, models(upstream), reply.headers.get("x-trigate-dropped")) == (200, ["b"], None)
    reply = ask(gateway, body, "messages")
    assert (models(upstream)[1:], reply.headers["x-trigate-dropped"]) == (["chat-only"], "top_k")
    upstream.script()
    reply = ask(gateway, body_of("messages", "r", top_k=5), "messages", strict="1", models="chat-only, r")
    assert "four/chat-only does not support top_k" in complaint("messages", reply, 400)["message"]
    assert upstream.seen == []


# State that pins a request to an entry


def test_a_stored_response_is_read_from_the_entry_that_created_it(gateway, upstream):
    """Reading works if two entries share an account, but a key without that entry gets 404."""
    upstream.script(Script(text="first"))
    first = ask(gateway, body_of("responses", "kept-2", store=True), "responses")
    upstream.script(Raw(200, JSON, (b'{"id": "kept"}',)))
    reply = gateway.request("GET", f"/v1/responses/{first.json['id']}", headers={"authorization": f"Bearer {ALL}"})
    assert (reply.status, reply.json) == (200, {"id": "kept"})
    assert upstream.seen[0].header("authorization") == "Bearer sk-kept"
    upstream.script()
    walled = gateway.request("GET", f"/v1/responses/{first.json['id']}", headers={"authorization": f"Bearer {BANK}"})
    assert (walled.status, upstream.seen) == (404, [])


def test_a_target_that_takes_the_clients_own_key_gets_no_key_of_the_gateway(gateway, upstream):
    upstream.script(Script(text="ok"), Script(text="ok"))
    assert ask(gateway, body_of("chat", "plan-first")).status == 200
    headers = {"x-trigate-key": ALL, "authorization": "Bearer sk-of-the-client"}
    assert gateway.request("POST", PATHS["chat"], body_of("chat", "plan-first"), headers).status == 200
    assert models(upstream) == ["b", "plan"]
    assert [seen.header("authorization") for seen in upstream.seen] == ["Bearer sk-other", "Bearer sk-of-the-client"]
    upstream.script()
    assert ask(gateway, body_of("chat", "plan")).status == 401
    assert upstream.seen == []


def test_thinking_of_two_makers_is_returned_only_to_its_maker(gateway, upstream):
    """One target gets the Messages request unchanged, and the other gets a translation."""
    turns: list[dict[str, Any]] = [{"role": "user", "content": "2 + 2"}]

    def say(*answers: Raw | Script) -> list[str]:
        upstream.script(*answers)
        reply = ask(gateway, body_of("messages", "thinkers", messages=turns), "messages")
        assert reply.status == 200, reply.body
        turns.extend(({"role": "assistant", "content": reply.json["content"]}, {"role": "user", "content": "more"}))
        return [seen.body.decode() for seen in upstream.seen]

    say(Script(text="4", thinking="two and two", seal="b2YgdGhlIGZpcnN0"))
    first, second = say(DOWN, Script(text="8", thinking="four and four"))
    assert "b2YgdGhlIGZpcnN0" in first
    assert "b2YgdGhlIGZpcnN0" not in second
    assert "two and two" not in second
    (again,) = say(Script(text="16"))
    assert "b2YgdGhlIGZpcnN0" in again
    assert "four and four" not in again


def test_sealed_reasoning_is_returned_only_to_its_maker(gateway, upstream):
    # BerriAI/litellm#32140
    upstream.script(Script(text="4", thinking="2 and 2", seal="c2VhbA=="))
    first = ask(gateway, body_of("chat", "sealed"))
    message = first.json["choices"][0]["message"]
    assert message["reasoning_details"]
    history = [{"role": "user", "content": "2 + 2"}, message, {"role": "user", "content": "and now?"}]
    upstream.script(DOWN, Script(text="5"))
    assert ask(gateway, body_of("chat", "sealed", messages=history)).status == 200
    sent = [json.dumps(seen.json["messages"]) for seen in upstream.seen]
    assert models(upstream) == ["seals-1", "seals-2"]
    assert ["c2VhbA==" in text for text in sent] == [True, False]
    upstream.script(Script(text="6"))
    assert ask(gateway, body_of("chat", "sealed", messages=history)).status == 200
    assert models(upstream) == ["seals-1"]
    assert "c2VhbA==" in json.dumps(upstream.seen[0].json["messages"])


def test_a_providers_file_is_requested_only_from_it(gateway, upstream):
    upstream.script(DOWN)
    content = [{"type": "input_file", "file_id": "file-1"}]
    body = body_of("responses", "kept-by-both", input=[{"role": "user", "content": content}])
    assert ask(gateway, body, "responses").status == 503
    assert len(upstream.seen) == 1
