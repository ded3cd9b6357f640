"""Requests of one conversation that grows turn by turn, in the shape that clients of each API send."""

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

import attrs

Json: TypeAlias = dict[str, Any]

MARK = {"cache_control": {"type": "ephemeral"}}
IMAGE = "iVBORw0KGgo="


@attrs.frozen
class ClientInput:
    """The client's part of a turn: the results of earlier calls, then texts, an image, and a note as an instruction.

    ``has_format`` requests JSON in this turn."""

    texts: tuple[str, ...] = ("Hello",)
    image: bool = False
    note: str = ""
    results: str = "done"
    has_format: bool = False


@attrs.frozen
class Setting:
    """The parts of every request: instructions, tools, and marks of the client."""

    system: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    schema: Json = attrs.field(factory=lambda: {"type": "object", "properties": {}})
    marks: bool = False


def items(api: str, input: ClientInput, calls: Sequence[tuple[str, str]]) -> list[Json]:
    """Return the client's items of a turn, which answer ``calls``."""
    makers = {
        "chat": _chat, "messages": _messages, "responses": _responses, "gemini": _gemini, "converse": _converse,
        "interactions": _interactions,
    }  # fmt: skip
    return makers[api](input, calls)


def body(api: str, setting: Setting, history: list[Json], has_format: bool) -> Json:
    """Return a request with ``history``, which is not changed."""
    copied = json.loads(json.dumps(history))
    return {
        "chat": _chat_body,
        "messages": _messages_body,
        "responses": _responses_body,
        "gemini": _gemini_body,
        "converse": _converse_body,
        "interactions": _interactions_body,
    }[api](setting, copied, has_format)


SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def _chat_body(setting: Setting, history: list[Json], has_format: bool) -> Json:
    if setting.marks:
        _mark_chat(history)
    system = [{"role": "system", "content": text} for text in setting.system]
    found: Json = {"model": "m", "messages": [*system, *history]}
    if setting.tools:
        found["tools"] = [{"type": "function", "function": _function(setting, name)} for name in setting.tools]
    if has_format:
        found["response_format"] = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
    return found


def _messages_body(setting: Setting, history: list[Json], has_format: bool) -> Json:
    if setting.marks:
        history[-1]["content"][-1] |= MARK
    found: Json = {"model": "m", "max_tokens": 9, "messages": history}
    if setting.system:
        found["system"] = [{"type": "text", "text": text} for text in setting.system]
    if setting.tools:
        found["tools"] = [{"name": name, "description": name, "input_schema": setting.schema} for name in setting.tools]
    if has_format:
        found["output_config"] = {"format": {"type": "json_schema", "schema": SCHEMA}}
    return found


def _responses_body(setting: Setting, history: list[Json], has_format: bool) -> Json:
    found: Json = {"model": "m", "input": history}
    if setting.system:
        found["instructions"] = "\n".join(setting.system)
    if setting.tools:
        found["tools"] = [{"type": "function", **_function(setting, name)} for name in setting.tools]
    if has_format:
        found["text"] = {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}}
    return found


def _gemini_body(setting: Setting, history: list[Json], has_format: bool) -> Json:
    found: Json = {"contents": history}
    if setting.system:
        found["systemInstruction"] = {"parts": [{"text": text} for text in setting.system]}
    if setting.tools:
        found["tools"] = [{"functionDeclarations": [_function(setting, name) for name in setting.tools]}]
    if has_format:
        found["generationConfig"] = {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
    return found


def _converse_body(setting: Setting, history: list[Json], has_format: bool) -> Json:
    if setting.marks:
        history[-1]["content"].append({"cachePoint": {"type": "default"}})
    found: Json = {"messages": history}
    if setting.system:
        found["system"] = [{"text": text} for text in setting.system]
    if setting.tools:
        specs = [{"name": name, "inputSchema": {"json": setting.schema}} for name in setting.tools]
        found["toolConfig"] = {"tools": [{"toolSpec": spec} for spec in specs]}
    if has_format:
        structure = {"jsonSchema": {"schema": json.dumps(SCHEMA)}}
        found["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": structure}}
    return found


def _interactions_body(setting: Setting, history: list[Json], has_format: bool) -> Json:
    found: Json = {"model": "m", "input": history}
    if setting.system:
        found["system_instruction"] = "\n".join(setting.system)
    if setting.tools:
        found["tools"] = [{"type": "function", **_function(setting, name)} for name in setting.tools]
    if has_format:
        found["response_format"] = {"type": "text", "mime_type": "application/json", "schema": SCHEMA}
    return found


def _function(setting: Setting, name: str) -> Json:
    return {"name": name, "description": name, "parameters": setting.schema}


def _mark_chat(history: list[Json]) -> None:
    last = history[-1]
    if isinstance(last["content"], str):
        last["content"] = [{"type": "text", "text": last["content"]}]
    last["content"][-1] |= MARK


def _chat(input: ClientInput, calls: Sequence[tuple[str, str]]) -> list[Json]:
    found: list[Json] = [{"role": "tool", "tool_call_id": id, "content": input.results} for id, _ in calls]
    parts: list[Json] = [{"type": "text", "text": text} for text in input.texts]
    if input.image:
        parts.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}})
    if parts:
        found.append({"role": "user", "content": parts if input.image or len(parts) > 1 else input.texts[0]})
    return found + ([{"role": "system", "content": input.note}] if input.note else [])


def _messages(input: ClientInput, calls: Sequence[tuple[str, str]]) -> list[Json]:
    parts: list[Json] = [{"type": "tool_result", "tool_use_id": id, "content": input.results} for id, _ in calls]
    parts += [{"type": "text", "text": text} for text in input.texts]
    if input.image:
        parts.append({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": IMAGE}})
    note = [{"role": "system", "content": [{"type": "text", "text": input.note}]}] if input.note else []
    return [{"role": "user", "content": parts}, *note]


def _responses(input: ClientInput, calls: Sequence[tuple[str, str]]) -> list[Json]:
    found: list[Json] = [{"type": "function_call_output", "call_id": id, "output": input.results} for id, _ in calls]
    parts: list[Json] = [{"type": "input_text", "text": text} for text in input.texts]
    if input.image:
        parts.append({"type": "input_image", "image_url": f"data:image/png;base64,{IMAGE}"})
    if parts:
        found.append({"type": "message", "role": "user", "content": parts})
    return found + ([{"type": "message", "role": "developer", "content": input.note}] if input.note else [])


def _gemini(input: ClientInput, calls: Sequence[tuple[str, str]]) -> list[Json]:
    parts: list[Json] = [
        {"functionResponse": {**({"id": id} if id else {}), "name": name, "response": {"result": input.results}}}
        for id, name in calls
    ]
    parts += [{"text": text} for text in input.texts]
    if input.image:
        parts.append({"inlineData": {"mimeType": "image/png", "data": IMAGE}})
    return [{"role": "user", "parts": parts}]


def _converse(input: ClientInput, calls: Sequence[tuple[str, str]]) -> list[Json]:
    parts: list[Json] = [{"toolResult": {"toolUseId": id, "content": [{"text": input.results}]}} for id, _ in calls]
    parts += [{"text": text} for text in input.texts]
    if input.image:
        parts.append({"image": {"format": "png", "source": {"bytes": IMAGE}}})
    return [{"role": "user", "content": parts}]


def _interactions(input: ClientInput, calls: Sequence[tuple[str, str]]) -> list[Json]:
    found: list[Json] = [
        {"type": "function_result", "call_id": id, "name": name, "result": input.results} for id, name in calls
    ]
    content: list[Json] = [{"type": "text", "text": text} for text in input.texts]
    if input.image:
        content.append({"type": "image", "mime_type": "image/png", "data": IMAGE})
    return found + ([{"type": "user_input", "content": content}] if content else [])
