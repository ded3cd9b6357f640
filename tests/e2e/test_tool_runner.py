"""Tests of Messages threads with the real Anthropic SDK, and providers without threads."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic import beta_tool

from tests.support.apis import OLDER
from tests.support.gateway_thread import gateway_thread, serve_module
from tests.support.harness import START_SECONDS, complaint, config, free_port, provider
from tests.support.no_tls import NO_TLS
from tests.support.upstreams import PATHS, Script, ToolCall, Upstream
from tests.support.wire_transcript import conversation_of

ENTRIES = {"chat": "openai/on-chat", "messages": "vercel/on-messages", "responses": "openai/on-responses"}
SYSTEM = "Be brief."
PLEASE = "What do the boxes hold?"
ROUNDS = (
    Script(
        text="The first.", thinking="Begin with a.", seal="c2VhbA==",
        calls=(ToolCall("call_a", "look_into", '{"box": "a"}'),), stop="tool_calls",
    ),
    Script(calls=(ToolCall("call_b", "look_into", '{"box": "b"}'),), stop="tool_calls"),
    Script(text="A key and nothing."),
)  # fmt: skip


@beta_tool
def look_into(box: str) -> str:
    """Return the content of a box.

    Args:
        box: which one
    """
    return {"a": "a key", "b": "nothing"}[box]


def settings(upstream: Upstream, port: int = 0, **more: Any) -> dict[str, Any]:
    entries = [provider(entry, upstream.url, [api]) for api, entry in ENTRIES.items()]
    entries.append(provider("anthropic/claude", upstream.url, ["messages"]))
    entries.append(provider("openai/keeper", upstream.url, ["responses"], state="upstream"))
    return config(entries, port, **more)


gateway = serve_module(settings)


class Client:
    """The SDK, and the requests that it sent."""

    def __init__(self, url: str) -> None:
        self.sent: list[dict[str, Any]] = []
        self._http = anthropic.DefaultHttpxClient(verify=NO_TLS, event_hooks={"request": [self._note]})
        self.sdk = anthropic.Anthropic(
            base_url=url, api_key="test-key", max_retries=0, timeout=START_SECONDS, http_client=self._http
        )

    def _note(self, request: Any) -> None:
        self.sent.append(json.loads(request.content))

    @property
    def threads(self) -> list[str | None]:
        return [(body.get("thread") or {}).get("type") for body in self.sent]

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.sdk.close()

    def run(self, model: str, stream: bool) -> list[Any]:
        """Run a tool loop to its end, and return every message of the model."""
        runner = self.sdk.beta.messages.tool_runner(
            model=model, max_tokens=2000, system=SYSTEM, tools=[look_into], stream=stream,
            messages=[{"role": "user", "content": PLEASE}],
        )  # fmt: skip
        return [step.get_final_message() if stream else step for step in runner]


@pytest.fixture
def client(gateway) -> Iterator[Client]:
    with Client(gateway.url) as client:
        yield client


def tool_names(api: str, body: Any) -> list[str]:
    return [tool["function"]["name"] if api == "chat" else tool["name"] for tool in body["tools"]]


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("api", OLDER)
def test_a_tool_loop_sends_each_message_once_and_the_provider_gets_all(client, upstream, api, stream):
    upstream.script(*ROUNDS)
    steps = client.run(f"on-{api}", stream)
    assert text_of(steps[-1]) == "A key and nothing."
    assert len({step.id for step in steps}) == 3, "the provider has said the same id three times"

    assert client.threads == ["create", "continue", "continue"]
    assert [body["thread"].get("previous_message_id") for body in client.sent[1:]] == [step.id for step in steps[:2]]
    assert [len(body["messages"]) for body in client.sent] == [1, 1, 1]
    assert not any("tools" in body or "system" in body for body in client.sent[1:])

    seal = "" if api == "chat" else "c2VhbA=="
    talk = [
        ("system", SYSTEM), ("user", PLEASE), ("thinking", "Begin with a.", seal), ("text", "The first."),
        ("call", "call_a", "look_into", {"box": "a"}), ("result", "call_a", "a key"),
        ("call", "call_b", "look_into", {"box": "b"}), ("result", "call_b", "nothing"),
    ]  # fmt: skip
    assert [seen.path for seen in upstream.seen] == [PATHS[api]] * 3
    assert [conversation_of(api, seen.json) for seen in upstream.seen] == [talk[:2], talk[:6], talk]
    assert [tool_names(api, seen.json) for seen in upstream.seen] == [["look_into"]] * 3
    assert not any("thread" in seen.json for seen in upstream.seen)


def test_the_sdk_resends_a_lost_thread(upstream):
    """The thread was in the memory of a process that has ended."""
    port = free_port()
    with Client(f"http://127.0.0.1:{port}") as client:
        thread = client.sdk.beta.messages.thread(model="on-chat", max_tokens=2000, system=SYSTEM)
        upstream.script(Script(text="one"), Script(text="two"))
        for word in ("first", "second"):
            with gateway_thread(settings(upstream, port, state_storage={"type": "memory"}), port):
                thread.send({"role": "user", "content": word})
        assert client.threads == ["create", "continue", "create"]
        talk = [("system", SYSTEM), ("user", "first"), ("text", "one"), ("user", "second")]
        assert conversation_of("chat", upstream.seen[1].json) == talk


def body(**thread: str) -> dict[str, Any]:
    message = {"role": "user", "content": "hi"}
    return {"model": "on-chat", "max_tokens": 9, "messages": [message], "thread": thread}


def test_another_clients_thread_does_not_exist(upstream):
    keys = [{"name": name, "key": f"key-of-{name}"} for name in ("alice", "bob")]
    with gateway_thread(settings(upstream, client_keys=keys)) as gateway:
        upstream.script(Script(text="one"), Script(text="two"))
        alice, bob = ({"x-api-key": f"key-of-{name}"} for name in ("alice", "bob"))
        id = gateway.request("POST", "/v1/messages", body(type="create"), alice).json["id"]
        going_on = body(type="continue", previous_message_id=id)
        error = complaint("messages", gateway.request("POST", "/v1/messages", going_on, bob), 404)
        assert error["details"] == {"error_code": "thread_not_found"}
        assert gateway.request("POST", "/v1/messages", going_on, alice).status == 200
