"""Prompt caches of providers behind the gateway: it breaks none, in the ways in which other gateways broke them.

The stand-in counts by the providers' rules; each test names the thread of the gateway with the fault."""

import json
from typing import Any

import pytest

from tests.support.cases import case
from tests.support.gateway_thread import gateway_thread, serve_module
from tests.support.harness import Gateway, config, provider, request
from tests.support.prompt_caches import LONG, assistant, call, chat, result, text, user
from tests.support.upstreams import Script, Upstream

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
MARK = {"cache_control": {"type": "ephemeral"}}
STRANGE = (
    '{"messages": [{"content": "%s", "role":"system"}, {"role":"user","content":"caf\\u00e9 \\/ \\ud83d\\ude00"},'
    '{"role":"assistant","content":null,"tool_calls":[{"function":{"arguments":"{\\"b\\": 1.0, \\"a\\": 1e2}",'
    '"name":"f"},"type":"function","id":"c1"}]},{"tool_call_id":"c1","role":"tool","content":"1.50"}],'
    '"tools":[{"type":"function","function":{"parameters":{"type":"object","properties":{"z":{"maximum":1e3},"a":{}}},'
    '"name":"f"}},{"type":"function","function":{"name":"a"}}], "model":"%s"}'
)
"""A request with unusual order, numbers and escapes."""


@serve_module
def gateway(mock):
    entries = [
        provider("own/cache/blocks", mock.url, ["chat"], name="blocks"),
        provider("own/cache/anthropic", mock.url, ["messages"], name="anthropic"),
        provider("own/cache/bedrock", mock.url, ["converse"], name="bedrock", quirks={"bedrock_family": "claude"}),
        provider("own/cache/openai-5.6", mock.url, ["chat"], name="newer", quirks={"cache_breakpoints": True}),
        *(provider("own/cache/openai", f"{mock.url}/{one}/v1", ["chat"], name=one, key=f"sk-account-{one}")
          for one in ("first", "second", "third")),
    ]  # fmt: skip
    aliases = {"accounts": {"targets": [["first", "second", "third"]]}}
    return config(entries, model_aliases=aliases)


@pytest.fixture(autouse=True)
def forgotten(mock: Gateway) -> None:
    request(mock.url, "POST", "/cache", {"forget": True})


def cached_tokens(usage: dict[str, Any]) -> int:
    """Return the cached tokens in the usage of any API."""
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    return int(usage.get("cache_read_input_tokens", details.get("cached_tokens", 0)))


def read(gateway: Gateway, path: str, body: Any) -> int:
    """Return the cached tokens of a response."""
    reply = request(gateway.url, "POST", path, body)
    assert reply.status == 200, reply.body
    return cached_tokens(reply.json["usage"])


def test_a_body_is_not_serialised_again(mock, gateway):
    """headroomlabs-ai/headroom#1042: the provider reads the request of the gateway as that of the client."""
    own, passed = (STRANGE % (LONG, model) for model in ("cache/blocks", "blocks"))
    first = request(mock.url, "POST", CHAT, own.encode()).json["usage"]
    reply = request(gateway.url, "POST", CHAT, passed.encode())
    assert reply.headers["x-trigate-lane"] == "byte"
    assert first["prompt_tokens"] - cached_tokens(reply.json["usage"]) <= 16


def conversation(turns: int) -> dict[str, Any]:
    """Return a marked conversation of a Messages client with a tool."""
    messages = [user("List the files. " * 20)]
    for number in range(turns):
        messages += [assistant("I will. ", call(f"toolu_{number}")), user(result(f"toolu_{number}"))]
    messages[-1]["content"][-1] |= MARK
    tools = [{"name": "ls", "description": "Lists files. " * 400, "input_schema": {"type": "object"}, **MARK}]
    system = [text("Be brief. "), text(LONG, **MARK)]
    return {"max_tokens": 9, "tools": tools, "system": system, "messages": messages}


@pytest.mark.parametrize(
    ("model", "lane"), [("anthropic", "byte"), ("bedrock", "hub"), ("newer", "hub")], ids=["same", "points", "chat"]
)
def test_marks_stay_at_their_places_also_on_tool_results(gateway, model, lane):
    """decolua/9router#2970, theopenco/llmgateway#3723: each turn reads everything that the turn before wrote."""
    reached = 0
    for turns in range(1, 6):
        reply = request(gateway.url, "POST", MESSAGES, conversation(turns) | {"model": model})
        assert (reply.status, reply.headers["x-trigate-lane"]) == (200, lane), reply.body
        usage = reply.json["usage"]
        assert usage["cache_read_input_tokens"] == reached
        reached += usage["cache_creation_input_tokens"]
        assert usage["input_tokens"] <= 1
    assert "dropped" not in reply.headers.get("x-trigate-dropped", "")


def test_accounts_do_not_take_turns(gateway):
    """lidge-jun/opencodex#4546: one conversation stays with the account that has its prompt."""
    for name in ("one", "two", "three", "four"):
        said = [("system", f"{name}: {LONG}"), ("user", f"Hello from {name}")]
        found = []
        for number in range(4):
            found.append(read(gateway, CHAT, chat(*said, model="accounts")))
            said += [("assistant", f"Answer {number}"), ("user", f"Question {number}")]
        assert found[0] == 0
        assert min(found[1:]) >= 1920


def differing(first: Any, second: Any) -> set[str]:
    """Return the members and headers that differ between two requests."""
    one, other = ({**dict(seen.headers), **seen.json} for seen in (first, second))
    return {name for name in one | other if one.get(name) != other.get(name)}


def test_no_request_gets_an_id_of_its_own(upstream: Upstream):
    """duolahypercho/codex-router#265, diegosouzapw/OmniRoute#1643: an id per request, a key per account."""
    entries = [
        provider(f"own/{api}-{account}", f"{upstream.url}/v1", [api], key=f"sk-{account}-account")
        for api in ("chat", "messages", "responses") for account in ("a", "b")
    ]  # fmt: skip
    with gateway_thread(config(entries)) as running:
        for target in ("chat", "messages", "responses"):
            for path, body in (
                (CHAT, chat(("system", "Be brief."), ("user", "Hello"), prompt_cache_key="mine")),
                (RESPONSES, {"input": "Hello", "instructions": "Be brief.", "prompt_cache_key": "mine"}),
                (MESSAGES, {"max_tokens": 9, "system": "Be brief.", "messages": [user("Hello")]}),
            ):
                sent = [upstream_request(upstream, running, path, body | {"model": f"own/{target}-{account}"})
                        for account in ("a", "a", "b")]  # fmt: skip
                with case((path, target)):
                    assert differing(sent[0], sent[1]) == set()
                    key = "x-api-key" if target == "messages" else "authorization"
                    assert differing(sent[0], sent[2]) == {key, "model"}
                    wanted = "mine" if target != "messages" and path != MESSAGES else None
                    assert sent[0].json.get("prompt_cache_key") == wanted


def upstream_request(upstream: Upstream, gateway: Gateway, path: str, body: Any) -> Any:
    """Return the request that the provider gets."""
    upstream.script(Script(text="Hi"))
    reply = request(gateway.url, "POST", path, body)
    assert reply.status == 200, reply.body
    (seen,) = upstream.seen
    return seen


def test_tools_keep_the_order_of_the_client(upstream: Upstream):
    """coder/aibridge#49: tools in the order of a map change with every request."""
    names = ["zeta", "alpha", "mid", "beta"]
    tools = {
        CHAT: [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in names],
        MESSAGES: [{"name": name, "input_schema": {"type": "object"}} for name in names],
        RESPONSES: [{"type": "function", "name": name, "parameters": {"type": "object"}} for name in names],
    }
    apis = ("chat", "messages", "responses")
    with gateway_thread(config([provider(f"own/{api}", f"{upstream.url}/v1", [api]) for api in apis])) as running:
        for path, listed in tools.items():
            said = {"input": "Hello"} if path == RESPONSES else {"messages": [user("Hello")], "max_tokens": 9}
            for target in apis:
                seen = upstream_request(upstream, running, path, {"model": f"own/{target}", "tools": listed, **said})
                sent = [tool.get("name") or tool["function"]["name"] for tool in json.loads(seen.body)["tools"]]
                assert sent == names
