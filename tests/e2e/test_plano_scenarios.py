"""The scenarios this project started from: the shipped mock configuration on its fixed ports, the official SDKs in
front of it and a mock provider behind it, streamed and not."""

import json
from collections.abc import Iterator

import anthropic
import openai
import pytest
from pytest_httpserver import HTTPServer
from werkzeug.wrappers import Request, Response

from tests.support.gateway_thread import gateway_thread
from tests.support.harness import ROOT, Gateway, port_is_free
from tests.support.upstreams import PATHS, Script, Tokens, ToolCall, render

GATEWAY_PORT, UPSTREAM_PORT = 12000, 51001
CONFIG = ROOT / "config_mock_llm.yaml"
CLAUDE, GPT = "claude-sonnet-4-20250514", "gpt-4o-mini"
ECHO_SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
ECHO = ToolCall("call_mock_123", "echo_tool", '{"text":"hello"}')
FOX = "The quick brown fox jumps over the lazy dog"

pytestmark = [
    pytest.mark.fixed_ports,
    pytest.mark.filterwarnings("ignore:The model .* is deprecated:DeprecationWarning"),  # the SDK's word on the name
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
def provider(gateway) -> Iterator[HTTPServer]:
    server = HTTPServer(host="127.0.0.1", port=UPSTREAM_PORT)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def mock(provider) -> Iterator[HTTPServer]:
    yield provider
    provider.check_assertions()
    provider.clear()


@pytest.fixture
def openai_client(gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="test-key", base_url=f"{gateway.url}/v1", max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(gateway) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key="test-key", base_url=gateway.url, max_retries=0) as client:
        yield client


def answers(mock: HTTPServer, api: str, script: Script) -> None:
    """The mock answers on ``api``'s path, and only there, by ``script``."""

    def handle(request: Request) -> Response:
        raw = render(script, api, json.loads(request.data))
        return Response(list(raw.pieces), raw.status, list(raw.headers))

    mock.expect_request(PATHS[api], method="POST").respond_with_handler(handle)


def asked(mock: HTTPServer) -> dict:
    """The one request that the mock got."""
    ((request, response),) = mock.log
    assert response.status_code == 200
    return {"path": request.path, **json.loads(request.data)}


def hello(model: str) -> dict:
    return {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}


def test_chat_basic_streamed(mock, openai_client):
    answers(mock, "chat", Script(text=FOX))
    stream = openai_client.chat.completions.create(**hello(GPT), stream=True)
    chunks = [chunk.choices[0].delta.content for chunk in stream if chunk.choices[0].delta.content]
    assert "".join(chunks) == FOX
    assert len(chunks) > 1
    assert asked(mock)["path"] == "/v1/chat/completions"


def test_chat_basic_whole(mock, openai_client):
    answers(mock, "chat", Script(text=FOX, tokens=Tokens(prompt=5, output=9)))
    answer = openai_client.chat.completions.create(**hello(GPT))
    assert answer.choices[0].message.content == FOX
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 14
    assert asked(mock)["model"] == GPT


CHAT_TOOLS = [
    {"type": "function", "function": {"name": "echo_tool", "description": "Echo input", "parameters": ECHO_SCHEMA}}
]


def test_chat_tool_call_streamed(mock, openai_client):
    answers(mock, "chat", Script(calls=(ECHO,), stop="tool_calls"))
    stream = openai_client.chat.completions.create(**hello(GPT), tools=CHAT_TOOLS, stream=True)
    deltas = [c.choices[0].delta for c in stream if c.choices]
    fragments = [fragment for delta in deltas for fragment in delta.tool_calls or ()]
    assert {fragment.index for fragment in fragments} == {0}
    assert [fragment.id for fragment in fragments if fragment.id] == ["call_mock_123"]
    assert [fragment.function.name for fragment in fragments if fragment.function.name] == ["echo_tool"]
    assert "".join(fragment.function.arguments or "" for fragment in fragments) == '{"text":"hello"}'


def test_chat_tool_call_whole(mock, openai_client):
    answers(mock, "chat", Script(calls=(ECHO,), stop="tool_calls"))
    answer = openai_client.chat.completions.create(**hello(GPT), tools=CHAT_TOOLS)
    (call,) = answer.choices[0].message.tool_calls
    assert (call.id, call.function.name, call.function.arguments) == ("call_mock_123", "echo_tool", '{"text":"hello"}')
    assert answer.choices[0].finish_reason == "tool_calls"
    assert asked(mock)["tools"] == CHAT_TOOLS


def test_messages_basic_streamed(mock, anthropic_client):
    answers(mock, "messages", Script(text="Hello from streaming Claude!"))
    with anthropic_client.messages.stream(**hello(CLAUDE)) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert "".join(pieces) == "Hello from streaming Claude!"
    assert len(pieces) > 1
    assert final.content[0].text == "Hello from streaming Claude!"
    assert asked(mock)["path"] == "/v1/messages"


def test_messages_basic_whole(mock, anthropic_client):
    answers(mock, "messages", Script(text="Hello from Claude!"))
    message = anthropic_client.messages.create(**hello(CLAUDE))
    assert message.content[0].text == "Hello from Claude!"
    assert message.stop_reason == "end_turn"
    assert asked(mock)["model"] == CLAUDE


THINKING = {"max_tokens": 2048, "thinking": {"type": "enabled", "budget_tokens": 1024}}
SUM = Script(text="2+2 is 4.", thinking="Two and two make four.", seal="EqoBsig==")


def test_messages_thinking_streamed(mock, anthropic_client):
    answers(mock, "messages", SUM)
    with anthropic_client.messages.stream(**{**hello(CLAUDE), **THINKING}) as stream:
        events = list(stream)
        final = stream.get_final_message()
    started = [event.content_block.type for event in events if event.type == "content_block_start"]
    deltas = [event.delta.type for event in events if event.type == "content_block_delta"]
    assert started == ["thinking", "text"]
    assert list(dict.fromkeys(deltas)) == ["thinking_delta", "signature_delta", "text_delta"]
    assert [block.type for block in final.content] == ["thinking", "text"]
    assert (final.content[0].thinking, final.content[0].signature) == ("Two and two make four.", "EqoBsig==")


def test_messages_thinking_whole(mock, anthropic_client):
    answers(mock, "messages", SUM)
    message = anthropic_client.messages.create(**{**hello(CLAUDE), **THINKING})
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert asked(mock)["thinking"] == THINKING["thinking"]


MESSAGES_TOOLS = [{"name": "echo_tool", "description": "Echo input", "input_schema": ECHO_SCHEMA}]


def test_messages_tool_call_streamed(mock, anthropic_client):
    answers(mock, "messages", Script(text="Calling.", calls=(ECHO,), stop="tool_calls"))
    with anthropic_client.messages.stream(**hello(CLAUDE), tools=MESSAGES_TOOLS) as stream:
        final = stream.get_final_message()
    assert [block.type for block in final.content] == ["text", "tool_use"]
    assert (final.content[1].id, final.content[1].input) == ("call_mock_123", {"text": "hello"})
    assert final.stop_reason == "tool_use"


def test_messages_tool_call_whole(mock, anthropic_client):
    answers(mock, "messages", Script(calls=(ECHO,), stop="tool_calls"))
    message = anthropic_client.messages.create(**hello(CLAUDE), tools=MESSAGES_TOOLS)
    assert (message.content[0].name, message.content[0].input) == ("echo_tool", {"text": "hello"})
    assert asked(mock)["tools"] == MESSAGES_TOOLS


def test_openai_client_with_a_claude_model_streamed(mock, openai_client):
    answers(mock, "chat", Script(text="Cross-provider streaming works!"))
    stream = openai_client.chat.completions.create(**hello(CLAUDE), stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert text == "Cross-provider streaming works!"
    assert asked(mock)["path"] == "/v1/chat/completions"


def test_openai_client_with_a_claude_model_whole(mock, openai_client):
    answers(mock, "chat", Script(text="Cross-provider works!"))
    answer = openai_client.chat.completions.create(**hello(CLAUDE))
    assert answer.choices[0].message.content == "Cross-provider works!"
    assert (asked(mock)["path"], asked(mock)["model"]) == ("/v1/chat/completions", CLAUDE)


def test_anthropic_client_with_an_openai_model_streamed(mock, anthropic_client):
    answers(mock, "chat", Script(text="Reverse cross-provider streaming!"))
    with anthropic_client.messages.stream(**hello(GPT)) as stream:
        kinds = [event.type for event in stream if event.type not in ("text", "ping")]
        final = stream.get_final_message()
    assert final.content[0].text == "Reverse cross-provider streaming!"
    assert final.stop_reason == "end_turn"
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}
    assert asked(mock)["path"] == "/v1/chat/completions"


def test_anthropic_client_with_an_openai_model_whole(mock, anthropic_client):
    answers(mock, "chat", Script(text="Reverse cross-provider!"))
    message = anthropic_client.messages.create(**hello(GPT))
    assert message.content[0].text == "Reverse cross-provider!"
    assert (message.type, message.role, message.stop_reason) == ("message", "assistant", "end_turn")
    assert asked(mock)["path"] == "/v1/chat/completions"


def test_responses_client_with_a_claude_model_streamed(mock, openai_client):
    answers(mock, "chat", Script(text="Translated streaming response!"))
    events = list(openai_client.responses.create(model=CLAUDE, input="Hello", stream=True))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == "Translated streaming response!"
    assert [events[0].type, events[-1].type] == ["response.created", "response.completed"]
    assert events[-1].response.output_text == "Translated streaming response!"
    assert asked(mock)["path"] == "/v1/chat/completions"


def test_responses_client_with_a_claude_model_whole(mock, openai_client):
    answers(mock, "chat", Script(text="Translated response!"))
    answer = openai_client.responses.create(model=CLAUDE, input="Hello")
    assert answer.output_text == "Translated response!"
    assert answer.status == "completed"
    assert asked(mock)["messages"] == [{"role": "user", "content": "Hello"}]
