"""Chat requests whose calls Gemini 3 rejects for their signatures, in Google's API in OpenAI's format.

See ``tests/providers/errors/test_call_signatures.py``."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, provider
from tests.support.upstreams import JSON, Raw, Script

MISSING = "Function call is missing a thought_signature in functionCall parts."
CORRUPTED = "Corrupted thought signature."  # router-for-me/CLIProxyAPI#994
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SIGNED = {**CALL, "extra_content": {"google": {"thought_signature": "CiQB"}}}
PLACED = {**CALL, "extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}}}


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    entries = [provider(f"gemini/gemini-3-{at}", f"{upstream.url}/v1", ["chat"], name=f"r{at}") for at in range(2)]
    with gateway_thread(config(entries)) as running:
        yield running


@each_row(
    ("at", "message", "sent", "requests"),
    [(0, MISSING, CALL, 3), (1, CORRUPTED, SIGNED, 4)],  # another signature may be valid: it is not remembered
    ids=["missing", "of another model"],
)
def test_calls_get_a_placeholder(gateway, upstream, at, message, sent, requests):
    rejection = Raw(400, JSON, (msgspec.json.encode([{"error": {"code": 400, "message": message}}]),))
    upstream.script(rejection, Script(text="yes"), *([rejection] if requests == 4 else []), Script(text="yes"))
    turns: list[Any] = [
        {"role": "user", "content": "hi"}, {"role": "assistant", "content": None, "tool_calls": [sent]},
        {"role": "tool", "tool_call_id": "1", "content": "a"},
    ]  # fmt: skip
    for _ in range(2):
        reply = gateway.request("POST", "/v1/chat/completions", {"model": f"r{at}", "messages": turns})
        assert reply.status == 200, reply.body
    called = [seen.json["messages"][1]["tool_calls"][0] for seen in upstream.seen]
    assert called == ([sent, PLACED, PLACED] if requests == 3 else [sent, PLACED, sent, PLACED])
