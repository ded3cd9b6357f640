"""Members of a route, of which the one that caches most of a prompt gets it (agentgateway/agentgateway#2572).

Without a name, the beginning of a conversation identifies it. A client that changes its first message would lose the
cache of tools and system text, if nothing else were compared."""

from collections.abc import Iterator
from typing import Any

import pytest

import gateway.exchange.readable_prompts  # noqa: F401  # so that the first responses are not faster than its import
from tests.support.cached_talks import long_text, set_caches
from tests.support.gateway_thread import gateway_thread, mock_thread
from tests.support.harness import Gateway, config, provider

CONVERSATIONS = 10


@pytest.fixture(scope="module")
def mock() -> Iterator[Gateway]:
    with mock_thread() as running:
        set_caches(running.url, models={"gpt-4o": "cache/openai"})
        yield running


def serve(mock: Gateway, **more: Any) -> Any:
    """Serve a route of two accounts at the provider, whose caches are separate."""
    entries = [
        provider("openai/gpt-4o", mock.url + "/v1", ["chat"], f"sk-{name}", name=name) for name in ("one", "two")
    ]
    aliases = {"pool": {"targets": [["one", "two"]]}}
    return gateway_thread(config(entries, model_aliases=aliases, **more))


def ask(gateway: Gateway, name: str, *texts: str) -> str:
    """Send a conversation with the system text of ``name``, and return the entry that answered."""
    roles = ("user", "assistant")
    messages = [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)]
    system = {"role": "system", "content": long_text(name)}
    reply = gateway.request("POST", "/v1/chat/completions", {"model": "pool", "messages": [system, *messages]})
    assert reply.status == 200, reply.body
    return reply.headers["x-trigate-tried"].partition("=")[0]


def test_a_conversation_with_another_first_message_stays_where_its_prefix_is(mock: Gateway):
    with serve(mock) as gateway:
        for number in range(CONVERSATIONS):
            name = f"stays {number}"
            first = ask(gateway, name, "Hello")
            assert ask(gateway, name, "Hello", "Hi", "More") == first
            assert ask(gateway, name, f"At {number}:00, hello", "Hi", "More", "Well", "On") == first


def test_without_the_memory_only_the_beginning_identifies_a_conversation(mock: Gateway):
    with serve(mock, prompt_cache=False) as gateway:
        moved = []
        for number in range(4 * CONVERSATIONS):
            name = f"moves {number}"
            first = ask(gateway, name, "Hello")
            moved.append(ask(gateway, name, f"At {number}:00, hello", "Hi", "More") != first)
        assert any(moved)
