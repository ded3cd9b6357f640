"""Every client API in front of every provider API, streamed and not: the real SDKs on one side, hand-written providers
on the other, the gateway process between them."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import attrs
import openai
import pytest

from tests.support.apis import OLDER
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.upstreams import PATHS, STOP_WORDS, Script, Tokens, ToolCall, Upstream
from tests.support.wire_transcript import conversation_of

MODELS = {"chat": "up-chat", "messages": "up-messages", "responses": "up-responses"}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
WEATHER = ToolCall("call_w1", "get_weather", '{"city": "Zürich", "days": 12}')
TIME = ToolCall("call_t2", "get_time", '{"city": "Łódź", "days": 1}')
TOOLS = ("get_weather", "get_time")


@attrs.frozen
class Got:
    """An answer as the SDK understood it."""

    text: str
    thinking: str
    calls: tuple[tuple[str, str, Any], ...]
    stop: str
    usage: tuple[int, int, int, int, int]  # prompt, cache read, cache write, output, reasoning
    model: str


class ChatClient:
    """A program that uses ``openai.chat.completions``."""

    def __init__(self, sdk: openai.OpenAI, model: str, stream: bool) -> None:
        self._sdk = sdk
        self._model, self._stream = model, stream
        self._messages: list[Any] = []

    def system(self, text: str) -> None:
        self._messages.append({"role": "system", "content": text})

    def user(self, text: str) -> None:
        self._messages.append({"role": "user", "content": text})

    def results(self, *results: tuple[str, str]) -> None:
        self._messages += [{"role": "tool", "tool_call_id": id, "content": text} for id, text in results]

    def ask(self, tools: bool = False, think: bool = False, helper: bool = True) -> Got:
        given: dict[str, Any] = {"model": self._model, "messages": self._messages, "max_completion_tokens": 2000}
        if tools:
            functions = [{"name": n, "description": n, "parameters": SCHEMA, "strict": True} for n in TOOLS]
            given["tools"] = [{"type": "function", "function": function} for function in functions]
        if think:
            given["reasoning_effort"] = "low"
        if self._stream:
            answer = self._streamed({**given, "stream_options": {"include_usage": True}}, helper)
        else:
            answer = self._sdk.chat.completions.create(**given)
        (choice,) = answer.choices
        message = choice.message
        self._messages.append(message)
        usage = answer.usage
        return Got(
            message.content or "",
            (message.model_extra or {}).get("reasoning_content") or "",
            tuple((c.id, c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls or ()),
            choice.finish_reason,
            (
                usage.prompt_tokens,
                usage.prompt_tokens_details.cached_tokens,
                usage.prompt_tokens_details.cache_write_tokens,
                usage.completion_tokens,
                usage.completion_tokens_details.reasoning_tokens,
            ),
            answer.model,
        )

    def _streamed(self, given: dict[str, Any], helper: bool) -> Any:
        if helper:
            with self._sdk.chat.completions.stream(**given) as stream:
                return stream.get_final_completion()
        # The helper raises where an answer ends at a limit: then put the pieces together as simpler programs do.
        chunks = list(self._sdk.chat.completions.create(**given, stream=True))
        (finish,) = [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "finish_reason": finish, "message": message, "logprobs": None}
        return openai.types.chat.ChatCompletion.model_validate(
            {**chunks[-1].model_dump(), "object": "chat.completion", "choices": [choice]}
        )


class MessagesClient:
    """A program that uses ``anthropic.messages``."""

    def __init__(self, sdk: anthropic.Anthropic, model: str, stream: bool) -> None:
        self._sdk = sdk
        self._model, self._stream = model, stream
        self._system: list[Any] = []
        self._messages: list[Any] = []

    def system(self, text: str) -> None:
        self._system.append({"type": "text", "text": text})

    def user(self, text: str) -> None:
        self._messages.append({"role": "user", "content": text})

    def results(self, *results: tuple[str, str]) -> None:
        blocks = [{"type": "tool_result", "tool_use_id": id, "content": text} for id, text in results]
        self._messages.append({"role": "user", "content": blocks})

    def ask(self, tools: bool = False, think: bool = False, helper: bool = True) -> Got:
        given: dict[str, Any] = {"model": self._model, "messages": self._messages, "max_tokens": 2000}
        if self._system:
            given["system"] = self._system
        if tools:
            given["tools"] = [{"name": n, "description": n, "input_schema": SCHEMA} for n in TOOLS]
        if think:
            given["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        if self._stream:
            with self._sdk.messages.stream(**given) as stream:
                answer: Any = stream.get_final_message()
        else:
            answer = self._sdk.messages.create(**given)
        self._messages.append({"role": "assistant", "content": answer.content})
        usage = answer.usage
        cached = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        details = usage.output_tokens_details
        return Got(
            "".join(block.text for block in answer.content if block.type == "text"),
            "".join(block.thinking for block in answer.content if block.type == "thinking"),
            tuple((b.id, b.name, b.input) for b in answer.content if b.type == "tool_use"),
            answer.stop_reason,
            (
                usage.input_tokens + sum(cached),
                *cached,
                usage.output_tokens,
                details.thinking_tokens if details else 0,
            ),
            answer.model,
        )


class ResponsesClient:
    """A program that uses ``openai.responses`` and keeps the history itself (``store: false``), as Codex does."""

    def __init__(self, sdk: openai.OpenAI, model: str, stream: bool) -> None:
        self._sdk = sdk
        self._model, self._stream = model, stream
        self._instructions: str | None = None
        self._input: list[Any] = []

    def system(self, text: str) -> None:
        if self._instructions is None:
            self._instructions = text
        else:
            self._input.append({"type": "message", "role": "developer", "content": text})

    def user(self, text: str) -> None:
        self._input.append({"role": "user", "content": [{"type": "input_text", "text": text}]})

    def results(self, *results: tuple[str, str]) -> None:
        self._input += [{"type": "function_call_output", "call_id": id, "output": text} for id, text in results]

    def ask(self, tools: bool = False, think: bool = False, helper: bool = True) -> Got:
        given: dict[str, Any] = {"model": self._model, "input": self._input, "max_output_tokens": 2000, "store": False}
        if self._instructions is not None:
            given["instructions"] = self._instructions
        if tools:
            functions = [{"name": n, "description": n, "parameters": SCHEMA, "strict": True} for n in TOOLS]
            given["tools"] = [{"type": "function", **function} for function in functions]
        if think:
            given["reasoning"] = {"effort": "low", "summary": "auto"}
            given["include"] = ["reasoning.encrypted_content"]
        answer = self._streamed(given) if self._stream else self._sdk.responses.create(**given)
        self._input += answer.output
        reasoning = [item for item in answer.output if item.type == "reasoning"]
        reason = answer.incomplete_details.reason if answer.incomplete_details else answer.status
        usage = answer.usage
        return Got(
            answer.output_text,
            "".join(part.text for item in reasoning for part in item.summary),
            tuple((i.call_id, i.name, json.loads(i.arguments)) for i in answer.output if i.type == "function_call"),
            reason,
            (
                usage.input_tokens,
                usage.input_tokens_details.cached_tokens,
                usage.input_tokens_details.cache_write_tokens,
                usage.output_tokens,
                usage.output_tokens_details.reasoning_tokens,
            ),
            answer.model,
        )

    def _streamed(self, given: dict[str, Any]) -> Any:
        with self._sdk.responses.stream(**given) as stream:
            last = [event for event in stream if event.type != "keepalive"][-1]
        assert last.type in ("response.completed", "response.incomplete")
        return last.response


CLIENTS = {"chat": ChatClient, "messages": MessagesClient, "responses": ResponsesClient}


@pytest.fixture(scope="module")
def gateway(upstream):
    vendors = {"chat": "openai", "messages": "anthropic", "responses": "openai"}
    entries = [
        provider(f"{vendors[api]}/{MODELS[api]}", upstream.url, [api], name=f"entry-{api}", key=f"sk-{api}-upstream")
        for api in OLDER
    ]
    with gateway_thread(config(entries)) as process:
        yield process


@pytest.fixture(scope="module")
def sdks(gateway) -> Iterator[dict[str, Any]]:
    """One SDK client per API for the whole module: making one costs more than a test."""
    options: dict[str, Any] = {"api_key": "test-key", "max_retries": 0, "timeout": 20}
    with (
        openai.OpenAI(base_url=f"{gateway.url}/v1", **options) as openai_sdk,
        anthropic.Anthropic(base_url=gateway.url, **options) as anthropic_sdk,
    ):
        yield {"chat": openai_sdk, "messages": anthropic_sdk, "responses": openai_sdk}


@attrs.frozen
class Cell:
    """One client API in front of one provider API."""

    client: Any
    client_api: str
    upstream_api: str
    stream: bool
    upstream: Upstream

    def script(self, *scripts: Script) -> None:
        self.upstream.script(*scripts)

    def heard(self, turn: int = 0) -> list[tuple[Any, ...]]:
        """What the provider understood from the request of that turn."""
        seen = self.upstream.seen[turn]
        assert seen.path == PATHS[self.upstream_api]
        assert bool(seen.json.get("stream")) is self.stream
        assert seen.json["model"] == MODELS[self.upstream_api]
        return conversation_of(self.upstream_api, seen.json)


@pytest.fixture(params=[True, False], ids=["stream", "whole"])
def stream(request) -> bool:
    return request.param


@pytest.fixture(params=OLDER, ids=[f"to_{api}" for api in OLDER])
def upstream_api(request) -> str:
    return request.param


@pytest.fixture(params=OLDER, ids=[f"{api}_client" for api in OLDER])
def cell(request, sdks, upstream, upstream_api, stream) -> Cell:
    client = CLIENTS[request.param](sdks[request.param], MODELS[upstream_api], stream)
    return Cell(client, request.param, upstream_api, stream, upstream)


@pytest.mark.sample(8)
def test_text_and_the_system_prompt(cell):
    cell.script(Script(text="Grüezi, the sky is \u2028 blue. 😀"))
    cell.client.system("Answer shortly.")
    cell.client.user("What colour is the sky?")
    got = cell.client.ask()
    assert got.text == "Grüezi, the sky is \u2028 blue. 😀"
    assert got.calls == ()
    assert got.thinking == ""
    assert got.stop == STOP_WORDS[cell.client_api]["stop"]
    assert got.usage == (11, 0, 0, 7, 0)
    assert got.model == MODELS[cell.upstream_api]
    assert cell.heard() == [("system", "Answer shortly."), ("user", "What colour is the sky?")]


@pytest.mark.sample(8)
def test_a_tool_call_its_result_and_the_next_question(cell):
    cell.script(
        Script(text="Let me look.", calls=(WEATHER,), stop="tool_calls"),
        Script(text="Sunny."),
        Script(text="You are welcome."),
    )
    cell.client.user("Weather?")
    first = cell.client.ask(tools=True)
    assert first.text == "Let me look."
    assert first.stop == STOP_WORDS[cell.client_api]["tool_calls"]
    ((call_id, name, arguments),) = first.calls
    assert (name, arguments) == ("get_weather", {"city": "Zürich", "days": 12})
    cell.client.results((call_id, "27 °C"))
    second = cell.client.ask(tools=True)
    assert (second.text, second.calls) == ("Sunny.", ())
    assert second.stop == STOP_WORDS[cell.client_api]["stop"]
    cell.client.user("Thanks.")
    assert cell.client.ask(tools=True).text == "You are welcome."

    assert _tools(cell.upstream_api, cell.upstream.seen[0].json) == [("get_weather", SCHEMA), ("get_time", SCHEMA)]
    history = [
        ("user", "Weather?"),
        ("text", "Let me look."),
        ("call", call_id, "get_weather", {"city": "Zürich", "days": 12}),
        ("result", call_id, "27 °C"),
    ]
    assert call_id == "call_w1"
    assert cell.heard(0) == history[:1]
    assert cell.heard(1) == history
    assert cell.heard(2) == [*history, ("text", "Sunny."), ("user", "Thanks.")]


def _tools(api: str, body: dict[str, Any]) -> list[tuple[str, Any]]:
    """Names and schemas of the tools in a request of ``api``."""
    match api:
        case "chat":
            return [(tool["function"]["name"], tool["function"]["parameters"]) for tool in body["tools"]]
        case "messages":
            return [(tool["name"], tool["input_schema"]) for tool in body["tools"]]
        case _:
            return [(tool["name"], tool["parameters"]) for tool in body["tools"]]


@pytest.mark.sample(8)
def test_two_parallel_tool_calls(cell):
    cell.script(Script(calls=(WEATHER, TIME), stop="tool_calls"), Script(text="Both done."))
    cell.client.user("Weather and time?")
    got = cell.client.ask(tools=True)
    assert got.calls == (
        ("call_w1", "get_weather", {"city": "Zürich", "days": 12}),
        ("call_t2", "get_time", {"city": "Łódź", "days": 1}),
    )
    cell.client.results(("call_w1", "rain"), ("call_t2", "noon"))
    cell.client.user("And?")
    assert cell.client.ask(tools=True).text == "Both done."
    assert cell.heard(1) == [
        ("user", "Weather and time?"),
        ("call", "call_w1", "get_weather", {"city": "Zürich", "days": 12}),
        ("call", "call_t2", "get_time", {"city": "Łódź", "days": 1}),
        ("result", "call_w1", "rain"),
        ("result", "call_t2", "noon"),
        ("user", "And?"),
    ]
    if cell.client_api == cell.upstream_api:
        return  # the client's own messages pass as they are
    if cell.upstream_api == "messages":  # both results and the text in one user message, results first
        roles = [message["role"] for message in cell.upstream.seen[1].json["messages"]]
        assert roles == ["user", "assistant", "user"]
    if cell.upstream_api == "chat":
        roles = [message["role"] for message in cell.upstream.seen[1].json["messages"]]
        assert roles == ["user", "assistant", "tool", "tool", "user"]


@pytest.mark.sample(17)
@pytest.mark.parametrize("with_call", [True, False], ids=["and_a_call", "and_text"])
def test_thinking_is_returned_to_the_provider_that_made_it(cell, with_call):
    """Whatever API the client speaks, on the next turn the provider gets its own reasoning back, byte for byte."""
    seal = {"chat": "", "messages": "EqoBCkgIBxABGAIi+/==", "responses": "gAAAAABo-opaque_=="}[cell.upstream_api]
    said = Script(thinking="First, think. Then act.", seal=seal)
    said = attrs.evolve(said, calls=(WEATHER,), stop="tool_calls") if with_call else attrs.evolve(said, text="Hello.")
    cell.script(said, Script(text="Done."))
    cell.client.user("Think.")
    got = cell.client.ask(tools=True, think=True)
    assert got.thinking == "First, think. Then act."
    if with_call:
        cell.client.results(("call_w1", "27 °C"))
    else:
        assert got.text == "Hello."
        cell.client.user("Go on.")
    assert cell.client.ask(tools=True, think=True).text == "Done."
    again = [line for line in cell.heard(1) if line[0] == "thinking"]
    assert again == [("thinking", "First, think. Then act.", seal)]
    assert b"tg1." not in cell.upstream.seen[1].body
    kinds = [line[0] for line in cell.heard(1)]
    assert kinds == ["user", "thinking", *(["call", "result"] if with_call else ["text", "user"])]


@pytest.mark.sample(11)
@pytest.mark.parametrize("stop", ["stop", "length", "tool_calls", "content_filter"])
def test_stop_reasons(cell, stop):
    calls = (WEATHER,) if stop == "tool_calls" else ()
    cell.script(Script(text="So", calls=calls, stop=stop))
    cell.client.user("Go.")
    got = cell.client.ask(helper=stop in ("stop", "tool_calls"))
    assert got.stop == STOP_WORDS[cell.client_api][stop]
    assert got.text == "So"


@pytest.mark.sample(5)
def test_usage_with_cached_tokens_adds_up_in_every_api(cell):
    cell.script(
        Script(text="ok", tokens=Tokens(prompt=1220, cache_read=1000, cache_write=117, output=30, reasoning=12))
    )
    cell.client.user("Count.")
    assert cell.client.ask().usage == (1220, 1000, 117, 30, 12)


@pytest.mark.sample(5)
def test_an_answer_without_any_content_is_still_an_answer(cell):
    cell.script(Script())
    cell.client.user("Say nothing.")
    got = cell.client.ask()
    assert (got.text, got.calls) == ("", ())
    assert got.stop == STOP_WORDS[cell.client_api]["stop"]


@pytest.mark.sample(5)
def test_the_clients_key_stays_here_and_the_providers_key_goes_out(cell):
    cell.script(Script(text="ok"))
    cell.client.user("Hi.")
    cell.client.ask()
    seen = cell.upstream.seen[0]
    sent = {name: value for name, value in seen.headers if name in ("authorization", "x-api-key")}
    key = f"sk-{cell.upstream_api}-upstream"
    assert sent == ({"x-api-key": key} if cell.upstream_api == "messages" else {"authorization": f"Bearer {key}"})
    assert "test-key" not in str(seen.headers)
    assert (seen.header("anthropic-version") is not None) is (cell.upstream_api == "messages")
