"""Keys and salts of prompt caches that the gateway adds on request (``prompt_cache: {key: …, isolate: …}``).

A conversation id of a new value in each request splits the cache (duolahypercho/codex-router#265). In a
shared cache, token counts reveal to each client what others have sent (https://docs.vllm.ai, Cache Isolation)."""

from typing import Any

import pytest

from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread, serve_module
from tests.support.harness import Gateway, Reply, config, provider
from tests.support.people import PATHS, body_of
from tests.support.upstreams import Script, Seen, Upstream

ANSWER = Script(text="Hello")
CLIENTS = ({"name": "ann", "group": "red"}, {"name": "ben", "group": "red"}, {"name": "cleo", "group": "blue"})


def key_of(name: str) -> str:
    return f"key-of-{name}-0123456789"


def settings(upstream: Upstream) -> dict[str, Any]:
    url = upstream.url + "/v1"
    entries = [
        provider("openai/gpt-4o", url, ["chat", "responses"], name="old", prompt_cache={"key": "conversation"}),
        provider("openai/gpt-5", url, ["chat"], name="by-client", prompt_cache={"key": "client"}),
        provider("openai/gpt-5.6", url, ["chat"], name="new", prompt_cache={"isolate": "key"}),
        provider("xai/grok-4", url, ["chat"], name="grok", prompt_cache={"key": "conversation"}),
        provider("vllm/qwen3", url, name="own", prompt_cache={"isolate": "key"}),
        provider("vllm/qwen4", url, name="of-groups", prompt_cache={"isolate": "group"}),
        provider("server/m", url, name="custom", provider_interface="vllm", prompt_cache={"isolate": "key"}),
    ]
    keys = [{**one, "key": key_of(one["name"])} for one in CLIENTS]
    return config(entries, client_keys=keys, client_groups=[{"name": "red"}, {"name": "blue"}])


@serve_module
def gateway(upstream):
    return settings(upstream)


def ask(
    gateway: Gateway, upstream: Upstream, model: str, text: str = "hi", client: str = "ann", api: str = "chat",
    headers: dict[str, str] | None = None, **more: Any,
) -> tuple[Reply, Seen]:  # fmt: skip
    upstream.script(ANSWER)
    sent = {"authorization": f"Bearer {key_of(client)}", **(headers or {})}
    reply = gateway.request("POST", PATHS[api].format(model=model), body_of(api, model, text, **more), sent)
    assert reply.status == 200, reply.body
    return reply, upstream.seen[0]


@pytest.mark.parametrize("api", PATHS)
def test_a_conversation_has_one_key(gateway: Gateway, upstream: Upstream, api: str):
    reply, first = ask(gateway, upstream, "old", "one", api=api)
    _, again = ask(gateway, upstream, "old", "one", api=api)
    _, other = ask(gateway, upstream, "old", "two", api=api)
    _, foreign = ask(gateway, upstream, "old", "one", client="ben", api=api)
    keys = [seen.json["prompt_cache_key"] for seen in (first, again, other, foreign)]
    assert len(keys[0]) == 32
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
    assert "prompt_cache_key+" in reply.headers["x-trigate-adapted"].split(",")
    assert "one" not in keys[0]


def test_a_key_is_equal_after_a_restart(gateway: Gateway, upstream: Upstream):
    _, before = ask(gateway, upstream, "old", "one")
    with gateway_thread(settings(upstream)) as another:
        _, after = ask(another, upstream, "old", "one")
    assert before.json["prompt_cache_key"] == after.json["prompt_cache_key"]


def test_a_client_has_one_key(gateway: Gateway, upstream: Upstream):
    keys = [
        ask(gateway, upstream, "by-client", text, client)[1].json["prompt_cache_key"]
        for text, client in (("one", "ann"), ("two", "ann"), ("one", "ben"))
    ]
    assert keys[0] == keys[1] != keys[2]


def test_a_clients_own_key_stays(gateway: Gateway, upstream: Upstream):
    reply, seen = ask(gateway, upstream, "old", prompt_cache_key="mine")
    assert seen.json["prompt_cache_key"] == "mine"
    assert "prompt_cache_key" not in reply.headers.get("x-trigate-adapted", "")


def test_a_header_has_the_conversation_if_the_provider_reads_it(gateway: Gateway, upstream: Upstream):
    sent = [dict(ask(gateway, upstream, "grok", "one")[1].headers)["x-grok-conv-id"] for _ in range(2)]
    assert len(sent[0]) == 32
    assert sent[0] == sent[1]


@each_row(("model", "member"), [("new", "prompt_cache_key"), ("own", "cache_salt"), ("custom", "cache_salt")])
@each_row("api", PATHS)
def test_each_key_has_its_own_cache(gateway: Gateway, upstream: Upstream, model: str, member: str, api: str):
    salts = [ask(gateway, upstream, model, "one", client, api)[1].json[member] for client in ("ann", "ann", "ben")]
    assert salts[0] == salts[1] != salts[2]


def test_groups_have_caches_of_their_own(gateway: Gateway, upstream: Upstream):
    salts = [ask(gateway, upstream, "of-groups", "one", one["name"])[1].json["cache_salt"] for one in CLIENTS]
    assert salts[0] == salts[1] != salts[2]


def test_a_client_cannot_choose_the_cache_of_another(gateway: Gateway, upstream: Upstream):
    """A client's own value only divides its own caches."""
    _, plain = ask(gateway, upstream, "own", client="ann")
    salt = plain.json["cache_salt"]
    found = [
        ask(gateway, upstream, "own", client=client, cache_salt=value)[1].json["cache_salt"]
        for client, value in (("ben", salt), ("ann", "a"), ("ann", "a"), ("ben", "a"))
    ]
    assert salt not in found
    assert found[1] == found[2] != found[3]
