"""The first scenarios of this project: the official SDKs, the shipped mock configuration on its fixed ports, and a mock
provider, with streams and whole answers. ``test_matrix.py`` tests the details of each SDK."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.support.gateway_thread import gateway_thread
from tests.support.harness import ROOT, Gateway, port_is_free
from tests.support.sdk_clients import CLIENTS
from tests.support.upstreams import PATHS, STOP_WORDS, Script, ToolCall, Upstream, serve_upstream

GATEWAY_PORT, UPSTREAM_PORT = 12000, 51001
CONFIG = ROOT / "config_mock_llm.yaml"
CLAUDE, GPT = "claude-sonnet-4-20250514", "gpt-4o-mini"
TEXT = Script(text="The quick brown fox jumps over the lazy dog")
CALL = Script(calls=(ToolCall("call_mock_123", "get_time", '{"city": "Bern", "days": 1}'),), stop="tool_calls")
THOUGHT = Script(text="2+2 is 4.", thinking="Two and two make four.", seal="EqoBsig==")

pytestmark = [
    pytest.mark.fixed_ports,
    pytest.mark.filterwarnings("ignore:The model .* is deprecated:DeprecationWarning"),  # the SDK warns about the name
]


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    for port in (GATEWAY_PORT, UPSTREAM_PORT):
        if not port_is_free(port):
            pytest.skip(f"port {port} is taken by another program")
    assert CONFIG.exists(), "config_mock_llm.yaml is part of this repository"
    with gateway_thread(CONFIG, GATEWAY_PORT) as process:
        yield process


@pytest.fixture(scope="module")
def upstream(gateway) -> Iterator[Upstream]:
    with serve_upstream(Upstream, UPSTREAM_PORT) as served:
        yield served


@pytest.fixture(scope="module")
def sdks(gateway) -> Iterator[dict[str, Any]]:
    with (
        openai.OpenAI(api_key="test-key", base_url=f"{gateway.url}/v1", max_retries=0) as openai_sdk,
        anthropic.Anthropic(api_key="test-key", base_url=gateway.url, max_retries=0) as anthropic_sdk,
    ):
        yield {"chat": openai_sdk, "messages": anthropic_sdk, "responses": openai_sdk}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    ("client", "model", "spoken", "script"),
    [
        ("chat", GPT, "chat", TEXT),
        ("chat", GPT, "chat", CALL),
        ("messages", CLAUDE, "messages", TEXT),
        ("messages", CLAUDE, "messages", THOUGHT),
        ("messages", CLAUDE, "messages", CALL),
        ("chat", CLAUDE, "chat", TEXT),
        ("messages", GPT, "chat", TEXT),
        ("responses", CLAUDE, "chat", TEXT),
    ],
    ids=[
        "chat", "chat with a tool", "messages", "messages with thinking", "messages with a tool",
        "OpenAI's client of a Claude", "Anthropic's client of a GPT", "Responses of a Claude",
    ],
)  # fmt: skip
def test_each_client_gets_the_answer_of_its_model(upstream, sdks, client, model, spoken, script, stream):
    upstream.script(script)
    program = CLIENTS[client](sdks[client], model, stream)
    program.user("Hello")
    got = program.ask(tools=bool(script.calls), think=bool(script.thinking))
    assert (got.text, got.thinking) == (script.text, script.thinking)
    assert got.calls == tuple((call.id, call.name, json.loads(call.arguments)) for call in script.calls)
    assert got.stop == STOP_WORDS[client][script.stop]
    (seen,) = upstream.seen
    asked = seen.json
    assert seen.path == PATHS[spoken]
    assert (asked["model"], bool(asked.get("stream"))) == (model, stream)
    assert ("tools" in asked, "thinking" in asked) == (bool(script.calls), bool(script.thinking))
