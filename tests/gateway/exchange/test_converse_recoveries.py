"""Requests to Converse that a model rejects, and that the gateway sends again. See
``tests/providers/errors/test_converse_turns.py``."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, provider
from tests.support.upstreams import JSON, Raw, Script

BLANK = "The text field in the ContentBlock object at messages.0.content.0 is blank. Add text to the text field, and "
MIXED = "messages.2.content: Conversation blocks and tool result blocks cannot be provided in the same turn."
NO_TOOLS = "The toolConfig field must be defined when using toolUse and toolResult content blocks."
NO_SYSTEM = (  # danny-avila/LibreChat#6456, 567-labs/instructor#1753
    "This model doesn't support system messages. Try again without a system message or use a model that supports "
    "system messages."
)
CHAT, CONVERSE = "/v1/chat/completions", "/model/{}/converse"
USE = {"toolUse": {"toolUseId": "1", "name": "f", "input": {}}}
RESULT = {"toolResult": {"toolUseId": "1", "content": [{"text": "b"}]}}
CALLED = [{"role": "user", "content": [{"text": "a"}]}, {"role": "assistant", "content": [USE]},
          {"role": "user", "content": [RESULT]}]  # fmt: skip
TOOLS = [{"type": "function", "function": {"name": "f"}}]
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
IN_CHAT = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "1", "content": "b"}, {"role": "user", "content": "c"},
]  # fmt: skip
BRIDGED = [{"role": "assistant", "content": [{"text": "I have read the results."}]},
           {"role": "user", "content": [{"text": "c"}]}]  # fmt: skip
BLANKS = [{"role": "user", "content": [{"text": " "}, {"text": "a"}]}]
ROWS: list[tuple[str, Any, str, str, Any]] = [
    (CONVERSE, {"messages": BLANKS}, f"{BLANK}try again.", "messages[].content=nonblank", CALLED[:1]),
    (CONVERSE, {"messages": CALLED}, NO_TOOLS, "toolConfig=called", CALLED),
    (CHAT, {"messages": IN_CHAT, "tools": TOOLS}, MIXED, "messages[]=split", [*CALLED, *BRIDGED]),
    (CHAT, {"messages": [{"role": "system", "content": "be kind"}, IN_CHAT[0]]}, NO_SYSTEM, "messages=user",
     [{"role": "user", "content": [{"text": "<system>\nbe kind\n</system>"}, {"text": "a"}]}]),
]  # fmt: skip


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    entries = [provider(f"custom/x-{at}", upstream.url, ["converse"], name=f"r{at}") for at in range(len(ROWS))]
    with gateway_thread(config(entries)) as running:
        yield running


@each_row(("at", "row"), [*enumerate(ROWS)], ids=["blank texts", "no tools", "results with a question", "no system"])
def test_the_conversation_continues_and_this_is_remembered(gateway, upstream, at, row):
    path, body, message, edit, sent = row
    rejection = Raw(400, JSON, (msgspec.json.encode({"message": message}),))
    upstream.script(rejection, Script(text="yes"), Script(text="yes"))
    replies = [gateway.request("POST", path.format(f"r{at}"), {"model": f"r{at}", **body}) for _ in range(2)]
    assert [reply.headers["x-trigate-attempts"] for reply in replies] == ["2", "1"]
    assert all(edit in reply.headers["x-trigate-adapted"] for reply in replies)
    assert [seen.json["messages"] for seen in upstream.seen[1:]] == [sent, sent]
    assert all("system" not in seen.json for seen in upstream.seen[1:])
    assert all("toolConfig" in seen.json for seen in upstream.seen[1:]) == ("toolUse" in str(sent))
