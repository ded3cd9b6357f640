"""Programs that use the official SDKs: each keeps a conversation, and reads its answers as its SDK does."""

import json
from typing import Any

import anthropic
import attrs
import openai

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = ("get_weather", "get_time")


@attrs.frozen
class Got:
    """An answer as the SDK understood it."""

    text: str
    thinking: str
    calls: tuple[tuple[str, str, Any], ...]
    stop: str
    usage: tuple[int, int, int, int, int]  # prompt, cache read, cache write, output, reasoning


class ChatClient:
    """A program that uses ``openai.chat.completions``."""

    def __init__(self, sdk: openai.OpenAI, model: str, stream: bool) -> None:
        self._sdk = sdk
        self._model, self._stream = model, stream
        self._messages: list[Any] = []

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
            answer = self._send_streaming({**given, "stream_options": {"include_usage": True}}, helper)
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
        )

    def _send_streaming(self, given: dict[str, Any], helper: bool) -> Any:
        if helper:
            with self._sdk.chat.completions.stream(**given) as stream:
                return stream.get_final_completion()
        # The helper raises if an answer ends at a limit. Join the chunks instead, as simpler programs do.
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
        self._messages: list[Any] = []

    def user(self, text: str) -> None:
        self._messages.append({"role": "user", "content": text})

    def results(self, *results: tuple[str, str]) -> None:
        blocks = [{"type": "tool_result", "tool_use_id": id, "content": text} for id, text in results]
        self._messages.append({"role": "user", "content": blocks})

    def ask(self, tools: bool = False, think: bool = False, helper: bool = True) -> Got:
        given: dict[str, Any] = {"model": self._model, "messages": self._messages, "max_tokens": 2000}
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
        )


class ResponsesClient:
    """A program that uses ``openai.responses`` and keeps the history itself (``store: false``), as Codex does."""

    def __init__(self, sdk: openai.OpenAI, model: str, stream: bool) -> None:
        self._sdk = sdk
        self._model, self._stream = model, stream
        self._input: list[Any] = []

    def user(self, text: str) -> None:
        self._input.append({"role": "user", "content": [{"type": "input_text", "text": text}]})

    def results(self, *results: tuple[str, str]) -> None:
        self._input += [{"type": "function_call_output", "call_id": id, "output": text} for id, text in results]

    def ask(self, tools: bool = False, think: bool = False, helper: bool = True) -> Got:
        given: dict[str, Any] = {"model": self._model, "input": self._input, "max_output_tokens": 2000, "store": False}
        if tools:
            functions = [{"name": n, "description": n, "parameters": SCHEMA, "strict": True} for n in TOOLS]
            given["tools"] = [{"type": "function", **function} for function in functions]
        if think:
            given["reasoning"] = {"effort": "low", "summary": "auto"}
            given["include"] = ["reasoning.encrypted_content"]
        answer = self._send_streaming(given) if self._stream else self._sdk.responses.create(**given)
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
        )

    def _send_streaming(self, given: dict[str, Any]) -> Any:
        with self._sdk.responses.stream(**given) as stream:
            last = [event for event in stream if event.type != "keepalive"][-1]
        assert last.type in ("response.completed", "response.incomplete")
        return last.response


CLIENTS = {"chat": ChatClient, "messages": MessagesClient, "responses": ResponsesClient}
