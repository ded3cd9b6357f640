"""Reasoning with ``content: null``, as Codex sends it, at xAI, which rejects it (lidge-jun/opencodex#2237)."""

import json

from providers.errors.failures import read_failure
from providers.errors.null_reasoning import omit_nulls
from providers.errors.other_shapes import NULL_REASONING
from providers.errors.rejected import find_rejected, find_sole_rejected
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.upstreams import JSON, Raw, Script

REJECTION = json.dumps(
    {
        "code": "invalid-argument",
        "error": "Could not decode the compaction blob. Ensure it is unmodified from the compact response.",
    }
).encode()
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "encrypted_content": "AY89a18I"}
SENT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "AY89a18I"}
USER = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
ANSWER = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ho"}]}


def test_codex_continues_with_xai(upstream):
    with gateway_thread(config([provider("xai/x", upstream.url, ["responses"], name="x")])) as gateway:
        upstream.script(Raw(400, JSON, (REJECTION,)), Script(text="yes"), Script(text="yes"))
        body = {"model": "x", "input": [USER, THOUGHT, ANSWER, USER], "store": False}
        replies = [gateway.request("POST", "/v1/responses", body) for _ in range(2)]
        assert [reply.status for reply in replies] == [200, 200], replies[0].body
        inputs = [seen.json["input"] for seen in upstream.seen]
        assert inputs == [[USER, THOUGHT, ANSWER, USER], *[[USER, SENT, ANSWER, USER]] * 2]
        assert all("input[].content=absent" in reply.headers["x-trigate-adapted"] for reply in replies)


def test_the_words_are_known():
    error = read_failure(400, REJECTION)
    assert find_rejected(error) == find_sole_rejected(error) == (NULL_REASONING,)


def test_other_items_stay():
    for input in [[SENT, {**USER, "id": None}, "x"], "hi", None]:
        assert omit_nulls({"input": input}) == {}
