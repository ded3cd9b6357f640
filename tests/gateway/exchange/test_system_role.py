"""System messages and ids of users that Messages servers other than Anthropic's reject.

Claude Code sends system messages among the others since 2.1.154 (anthropics/claude-code#63366,
deepseek-ai/DeepSeek-V3#1370, QwenLM/Qwen#2244), and JSON as id since 2.1.129 (aattaran/deepclaude#17).
"""

import json
import re
from typing import Any

import pytest

from providers.errors.failures import read_failure
from providers.errors.other_shapes import SYSTEM_ROLE, USER_ID
from providers.errors.rejected import find_rejected, find_sole_rejected
from providers.errors.system_place import use_user_role
from providers.errors.user_ids import hash_user_id
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.upstreams import JSON, Raw, Script

DEEPSEEK = (
    "Failed to deserialize the JSON body into the target type: messages[1].role: unknown variant `system`, expected "
    "`user` or `assistant` at line 1 column 213"
)
LIST = {"type": "literal_error", "loc": ["body", "messages", 1, "role"], "msg": "Input should be 'user' or 'assistant'"}
TUPLE = "[{'type': 'literal_error', 'loc': ('body', 'messages', 1, 'role'), 'msg': \"Input should be 'user' or 'assis"
SKILLS = "The following skills are available."
BODY: dict[str, Any] = {
    "model": "x",
    "max_tokens": 9,
    "system": [{"type": "text", "text": "You are an agent."}],
    "messages": [{"role": "user", "content": "hi"}, {"role": "system", "content": SKILLS}],
}


@pytest.mark.parametrize("stream", [False, True])
def test_claude_code_continues_with_messages_of_the_user(upstream, stream):
    with gateway_thread(config([provider("custom/x", f"{upstream.url}/v1", ["messages"], name="x")])) as gateway:
        error = {"error": {"message": DEEPSEEK, "type": "invalid_request_error"}}
        upstream.script(Raw(400, JSON, (json.dumps(error).encode(),)), Script(text="yes"), Script(text="yes"))
        replies = [gateway.request("POST", "/v1/messages", {**BODY, "stream": stream}) for _ in range(2)]
        assert [reply.status for reply in replies] == [200, 200], replies[0].body
        assert upstream.seen[0].json["messages"] == BODY["messages"]
        for seen in upstream.seen[1:]:
            assert seen.json["system"] == BODY["system"]
            later = {"role": "user", "content": f"<system>\n{SKILLS}\n</system>"}
            assert seen.json["messages"] == [BODY["messages"][0], later]
        assert len(upstream.seen) == 3
        assert all("messages[].role" in reply.headers["x-trigate-dropped"] for reply in replies)


USER = '{"device_id":"a1","session_id":"b2"}'
PATTERN = (
    "Invalid 'user_id': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
)


def test_the_id_of_a_user_is_a_digest(upstream):
    with gateway_thread(config([provider("custom/x", f"{upstream.url}/v1", ["messages"], name="x")])) as gateway:
        error = {"error": {"message": PATTERN, "type": "invalid_request_error"}}
        upstream.script(Raw(400, JSON, (json.dumps(error).encode(),)), Script(text="yes"), Script(text="yes"))
        body = {**BODY, "metadata": {"user_id": USER}}
        replies = [gateway.request("POST", "/v1/messages", body) for _ in range(2)]
        assert [reply.status for reply in replies] == [200, 200], replies[0].body
        ids = [seen.json["metadata"]["user_id"] for seen in upstream.seen]
        assert ids == [USER, ids[1], ids[1]]
        assert re.fullmatch("[a-f0-9]{64}", ids[1])
        assert all("metadata.user_id=digest" in reply.headers["x-trigate-adapted"] for reply in replies)
        read = read_failure(400, json.dumps(error).encode())
        assert find_rejected(read) == find_sole_rejected(read) == (USER_ID,)


@each_row("metadata", [{"user_id": "a1"}, {"user_id": 7}, {}, "x", None])
def test_other_ids_stay(metadata):
    assert hash_user_id({"metadata": metadata}) == {}


@each_row(
    ("error", "is_alone"),
    [
        ({"error": {"message": DEEPSEEK}}, True),
        # anthropics/claude-code#63469
        ({"error": {"message": "messages[1].role must be either 'user' or 'assistant', but got 'system'"}}, True),
        ({"detail": [LIST]}, True),  # jundot/omlx#1503
        ({"error": {"message": f'{TUPLE}tant\'", "input": "system"}}]'}}, False),
        (
            {
                "error": {
                    "message": 'messages: Unexpected role "system". The Messages API accepts a top-level `system` '
                    'parameter, not "system" as an input message role.'
                }
            },
            True,
        ),
    ],
)
def test_the_words_of_servers_are_known(error, is_alone):
    read = read_failure(400, json.dumps(error).encode())
    assert find_rejected(read) == (SYSTEM_ROLE,)
    assert find_sole_rejected(read) == ((SYSTEM_ROLE,) if is_alone else ())


@each_row("messages", [[{"role": "user", "content": "hi"}, "x", {"role": ["system"]}], "hi", None])
def test_other_messages_stay(messages):
    assert use_user_role({"messages": messages}) == {}
