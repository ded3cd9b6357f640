"""Items in which Codex delivers a task to an agent, at Responses servers that do not know them.

DeepSeek and xAI reject the whole request, and the conversation with it (openai/codex#45450, openai/codex#42067,
lidge-jun/opencodex#3907, router-for-me/CLIProxyAPI#5207).
"""

import json
from typing import Any

import pytest

from providers.errors.agent_items import use_messages
from providers.errors.failures import read_failure
from providers.errors.other_shapes import AGENT_ITEMS
from providers.errors.rejected import find_rejected, find_sole_rejected
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.upstreams import JSON, Raw, Script

DEEPSEEK = (
    "Failed to deserialize the JSON body into the target type: input: missing field `call_id` at line 1 column 81274"
)
OLLAMA = 'input[1]: unknown input item type: "agent_message"'
XAI = (
    "Failed to deserialize the JSON body into the target type: data did not match any variant of untagged enum "
    "ModelInput"
)
TASK = {"type": "function_call_output", "id": "fco_1", "name": "create_thread", "namespace": "a", "output": "<task/>"}
RESULT = {
    "type": "agent_message", "author": "/root/a", "recipient": "/root",
    "content": [{"type": "input_text", "text": "Done:"}, {"type": "encrypted_content", "encrypted_content": "3"}],
}  # fmt: skip
USER = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}


def user_message(*texts: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text} for text in texts]}


@pytest.mark.parametrize("store", [False, True])
@pytest.mark.parametrize(("status", "message"), [(400, DEEPSEEK), (400, OLLAMA), (422, XAI)])
def test_codex_continues_with_servers_that_do_not_know_its_items(upstream, status, message, store):
    rejection = Raw(status, JSON, (json.dumps({"error": {"message": message}}).encode(),))
    entry = provider("custom/x", f"{upstream.url}/v1", ["responses"], name="x")
    with gateway_thread(config([entry])) as gateway:
        upstream.script(rejection, Script(text="yes"), Script(text="yes"))
        body = {"model": "x", "input": [TASK, USER, RESULT], "store": store}
        replies = [gateway.request("POST", "/v1/responses", body) for _ in range(2)]
        assert [reply.status for reply in replies] == [200, 200], replies[0].body
        assert [seen.json["input"] for seen in upstream.seen[1:]] == [
            [user_message("<task/>"), USER, user_message("Done:", "3")]
        ] * 2
        assert len(upstream.seen) == 3
        assert all("input[].type" in reply.headers["x-trigate-dropped"] for reply in replies)


@each_row("message", [DEEPSEEK, OLLAMA, XAI, "Invalid input type 'agent_message' at index 17"])
def test_the_words_are_known(message):
    error = read_failure(400, json.dumps({"error": {"message": message}}).encode())
    assert find_rejected(error) == find_sole_rejected(error) == (AGENT_ITEMS,)


def test_other_items_stay():
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c", "name": "f", "output": "3"}
    for input in [[call, output, USER, "x", {"type": "function_call_output", "output": "3"}], "hi", None]:
        assert use_messages({"input": input}) == {}


def test_text_that_only_openai_can_read_is_omitted():
    sealed = {**RESULT, "content": [{"type": "encrypted_content", "encrypted_content": "gAAAAABq_-x=="}]}
    assert use_messages({"input": [sealed]}) == {"input": [user_message("(no text)")]}
