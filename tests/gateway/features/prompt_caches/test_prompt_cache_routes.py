"""Routes that send a prompt to the target with most of it in its cache (agentgateway/agentgateway#2572).

Without a session, the beginning of a conversation identifies it. If the gateway compared nothing else, a client that
changes its first message would lose the cache of tools and system text."""

import contextlib
from itertools import islice
from typing import Any

import pytest

from tests.support.cached_talks import RULES, long_text, set_caches
from tests.support.gateway_thread import gateway_thread, mock_thread
from tests.support.harness import Gateway, Reply, config, eventually, exchanges, provider

CONVERSATIONS = 10


def serve(mock: Gateway, **more: Any) -> Any:
    """Serve a route of two accounts at the provider, whose caches are separate."""
    entries = [
        provider("openai/gpt-5.2", mock.url + "/v1", ["chat"], f"sk-{name}", name=name) for name in ("one", "two")
    ]
    aliases = {"pool": {"targets": [["one", "two"]]}}
    return gateway_thread(config(entries, model_aliases=aliases, **more))


def send(gateway: Gateway, name: str, *texts: str, key: str = "") -> tuple[str, Reply, dict[str, Any]]:
    """Send a conversation with the system text of ``name``, by the client with ``key``.

    Return the entry that answered, the response, and its log line."""
    roles = ("user", "assistant")
    messages = [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)]
    system = {"role": "system", "content": long_text(name)}
    headers = {"authorization": f"Bearer {key}"} if key else {}
    body = {"model": "pool", "messages": [system, *messages]}
    reply = gateway.request("POST", "/v1/chat/completions", body, headers)
    assert reply.status == 200, reply.body
    line = eventually(lambda: exchanges(gateway.log, reply.headers["x-request-id"]))[0]
    return reply.headers["x-trigate-tried"].rpartition(", ")[2].partition("=")[0], reply, dict(line)


def test_another_client_is_routed_to_a_cached_prefix_without_seeing_it(mock: Gateway):
    """Routing uses the cached prefixes of other clients. No header and no field shows them."""
    keys = [{"name": name, "key": f"key-of-{name}"} for name in ("ann", "bob")]
    with serve(mock, client_keys=keys) as gateway:
        for number in range(CONVERSATIONS):
            name = f"shared {number}"
            first, *_ = send(gateway, name, f"Hello from Ann for the {number}. time", key="key-of-ann")
            found, reply, line = send(gateway, name, f"Good morning from Bob, {number} of many", key="key-of-bob")
            assert found == first
            assert "x-trigate-prompt-cache" not in reply.headers
            assert line["cached_tokens"] > 0
            assert not [field for field in line if field.startswith("prompt_cache")]


@pytest.mark.parametrize("targets", [[["one", "two"]], ["one", "two"]], ids=["balanced", "ordered"])
def test_a_change_of_target_has_a_reason(mock: Gateway, targets: list[Any]):
    """A member failed or is unavailable. The loss counts as the gateway's, although the change was right."""
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(mock_thread())
        set_caches(other.url, models=RULES)
        circuit = {"failures": 1, "cooldown": "60s"}
        entries = [
            provider("openai/gpt-5.2", url + "/v1", ["chat"], f"sk-{name}", name=name, circuit=circuit)
            for name, url in (("one", other.url), ("two", mock.url))
        ]
        with gateway_thread(config(entries, model_aliases={"pool": {"targets": targets}})) as gateway:
            names = (f"moved {number} {targets}" for number in range(100))  # the balancer chooses at random
            said = [f"Part {number} of the conversation {{}}, which has no equal." for number in range(3)]
            at_one = list(islice((one for one in names if send(gateway, one, said[0].format(one))[0] == "one"), 2))
            assert len(at_one) == 2
            stack.close()
            failed, out = (send(gateway, one, *(text.format(one) for text in said))[2] for one in at_one)
    assert (failed["prompt_cache_cause"], failed["prompt_cache_at"]) == ("moved", "one>two (connection)")
    assert (out["prompt_cache_cause"], out["prompt_cache_at"]) == ("moved", "one>two (out)")
