"""Tests of the OpenAI Agents SDK with state on the server, if the providers store nothing."""

import asyncio
import importlib
import json
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest

from tests.support.covering import covering_rows
from tests.support.gateway_thread import serve_module
from tests.support.harness import Gateway
from tests.support.sdk_conversation import settings
from tests.support.upstreams import Script, ToolCall, Upstream
from tests.support.wire_transcript import conversation_of

pytestmark = pytest.mark.soak  # importing the SDK takes seconds; test_sessions.py replays its recorded sessions


SYSTEM, PLEASE, MORE = "Be brief.", "What do the boxes hold?", "Are you sure?"
SEAL = "c2VhbA=="
CALL_A, CALL_B = (ToolCall(f"call_{box}", "look_into", f'{{"box": "{box}"}}') for box in "ab")
FIRST = (
    Script("The first.", "Begin with a.", SEAL, (CALL_A,), "tool_calls"),
    Script(calls=(CALL_B,), stop="tool_calls"),
    Script("A key and nothing."),
)
SECOND = (Script("Yes."),)


def lines(api: str) -> list[Any]:
    """Return the whole conversation as a provider of ``api`` receives it."""
    return [
        ("user", PLEASE), ("thinking", "Begin with a.", "" if api == "chat" else SEAL), ("text", "The first."),
        ("call", "call_a", "look_into", {"box": "a"}), ("result", "call_a", "a key"),
        ("call", "call_b", "look_into", {"box": "b"}), ("result", "call_b", "nothing"),
        ("text", "A key and nothing."), ("user", MORE),
    ]  # fmt: skip


HEARD = (1, 5, 7, 9)
"""The number of lines in each request."""


def look_into(box: str) -> str:
    """Return the content of a box.

    Args:
        box: which one
    """
    return {"a": "a key", "b": "nothing"}[box]


gateway = serve_module(settings)


class Person:
    """A person who talks to an agent of the SDK."""

    def __init__(self, client: openai.AsyncOpenAI, api: str, stream: bool) -> None:
        self.client = client
        self._stream = stream
        self.sdk = importlib.import_module("agents")  # takes seconds, so collecting the tests must not import it
        model = self.sdk.OpenAIResponsesModel(f"on-{api}", client)
        self._agent = self.sdk.Agent(
            "keeper", instructions=SYSTEM, tools=[self.sdk.function_tool(look_into)], model=model
        )

    async def say(self, text: str, **how: Any) -> Any:
        config = self.sdk.RunConfig(tracing_disabled=True)
        if not self._stream:
            return await self.sdk.Runner.run(self._agent, text, run_config=config, **how)
        result = self.sdk.Runner.run_streamed(self._agent, text, run_config=config, **how)
        async for _ in result.stream_events():
            pass
        return result


def talk(gateway: Gateway, api: str, stream: bool, story: Callable[[Person], Any]) -> list[Any]:
    """Run ``story``, and return the input of every turn that the SDK sent."""
    sent: list[Any] = []

    async def note(request: httpx2.Request) -> None:
        if request.url.path.endswith("/responses"):
            sent.append(await request.aread())

    async def run_story() -> None:
        plain = httpx2.AsyncClient(verify=False, trust_env=False, event_hooks={"request": [note]})
        url = f"{gateway.url}/v1"
        async with openai.AsyncOpenAI(api_key="k", base_url=url, max_retries=0, http_client=plain) as client:
            await story(Person(client, api, stream))

    asyncio.run(run_story())
    return [json.loads(body)["input"] for body in sent]


def check_conversations(upstream: Upstream, api: str) -> None:
    found = [conversation_of(api, seen.json) for seen in upstream.seen]
    assert found == [[("system", SYSTEM), *lines(api)[:count]] for count in HEARD]
    assert all("look_into" in str(seen.json["tools"]) for seen in upstream.seen)


@pytest.mark.parametrize(
    ("api", "stream", "within"),
    covering_rows(["chat", "messages"], [True, False], ["its own responses", "a conversation"]),
)
def test_an_agent_continues_from_state_on_the_server(gateway, upstream, api, stream, within):
    upstream.script(*FIRST, *SECOND)

    async def story(person: Person) -> None:
        how: dict[str, Any] = {"auto_previous_response_id": True}
        if within == "a conversation":
            how = {"conversation_id": (await person.client.conversations.create()).id}
        first = await person.say(PLEASE, **how)
        assert first.final_output == "A key and nothing."
        again = how if "conversation_id" in how else {"previous_response_id": first.last_response_id}
        second = await person.say(MORE, **again)
        assert second.final_output == "Yes."
        ids = [response.response_id for response in (*first.raw_responses, *second.raw_responses)]
        assert len(set(ids)) == 4

    sent = talk(gateway, api, stream, story)
    check_conversations(upstream, api)
    assert [len(input) if isinstance(input, list) else 1 for input in sent] == [1, 1, 1, 1], "only what is new"


@pytest.mark.parametrize(("api", "stream"), [("chat", True), ("messages", False)])
def test_an_agents_session_is_stored_in_a_conversation(gateway, upstream, api, stream):
    """The SDK reads the whole session before each run, and then adds the run's items to it."""
    upstream.script(*FIRST, *SECOND)

    async def story(person: Person) -> None:
        session = person.sdk.OpenAIConversationsSession(openai_client=person.client)
        assert (await person.say(PLEASE, session=session)).final_output == "A key and nothing."
        again = person.sdk.OpenAIConversationsSession(conversation_id=session.session_id, openai_client=person.client)
        assert (await person.say(MORE, session=again)).final_output == "Yes."
        items = await session.get_items()
        assert [item["type"] for item in items] == [
            "message", "reasoning", "message", "function_call", "function_call_output", "function_call",
            "function_call_output", "message", "message", "message",
        ]  # fmt: skip
        popped = await again.pop_item()
        assert popped == items[-1]
        assert await again.get_items(limit=1) == items[-2:-1]
        await again.clear_session()

    talk(gateway, api, stream, story)
    check_conversations(upstream, api)
