"""Conversations of all APIs, for tests of prompt caches: the same turns in each API's words."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import structs

from gateway.features.prompt_caches.memo import PromptMemo
from gateway.features.prompt_caches.prompts import PromptDigest
from gateway.features.prompt_caches.reading import PromptSource
from gateway.features.prompt_caches.requests import SentRequest
from providers.catalog.prompt_caching import CachingRow, caching_row
from streams.events import Api

KEY = bytes(range(32))

TARGETS: dict[Api, tuple[str, str]] = {
    "messages": ("anthropic", "claude-sonnet-4-6"),
    "converse": ("amazon_bedrock", "anthropic.claude-sonnet-4-6"),
    "chat": ("openai", "gpt-5.2"),
    "responses": ("openai", "gpt-5.6-sol"),
    "gemini": ("gemini", "gemini-3.1-pro-preview"),
    "interactions": ("gemini", "gemini-3.1-pro-preview"),
}
"""A provider and a model with a prompt cache for each API."""

SYSTEM = "You are a careful agent. Answer briefly and check your work. " * 40
TOOL_NAMES = ("read_file", "write_file", "run_command", "search")


def row_of(api: Api) -> CachingRow:
    """Return the caching row of the API's target."""
    provider, model = TARGETS[api]
    row = caching_row(provider, model, api)
    assert row is not None
    return row


def schema_of(name: str) -> dict[str, Any]:
    """Return the schema of a tool's arguments."""
    return {"type": "object", "properties": {"path": {"type": "string", "description": f"The path for {name}"}}}


def tool_of(api: Api, name: str, description: str = "", schema: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a tool's definition in the API's words."""
    text, schema = description or f"The tool {name} of the agent. " * 8, schema or schema_of(name)
    match api:
        case "messages":
            return {"name": name, "description": text, "input_schema": schema}
        case "chat":
            return {"type": "function", "function": {"name": name, "description": text, "parameters": schema}}
        case "responses" | "interactions":
            return {"type": "function", "name": name, "description": text, "parameters": schema}
        case "converse":
            return {"toolSpec": {"name": name, "description": text, "inputSchema": {"json": schema}}}
        case _:
            return {"name": name, "description": text, "parameters": schema}


def user_item(api: Api, text: str) -> dict[str, Any]:
    """Return a user's message."""
    match api:
        case "gemini":
            return {"role": "user", "parts": [{"text": text}]}
        case "converse":
            return {"role": "user", "content": [{"text": text}]}
        case "messages":
            return {"role": "user", "content": [{"type": "text", "text": text}]}
        case "interactions":
            return {"type": "user_input", "content": text}
        case _:
            return {"role": "user", "content": text}


def round_items(api: Api, number: int, text: str) -> list[dict[str, Any]]:
    """Return an answer with a tool call, and the result of the call."""
    id, arguments = f"call_{number}", {"path": f"/src/{number}.py"}
    match api:
        case "messages":
            return [
                {"role": "assistant", "content": [
                    {"type": "text", "text": f"Reading file {number}."},
                    {"type": "tool_use", "id": id, "name": "read_file", "input": arguments},
                ]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": text}]},
            ]  # fmt: skip
        case "converse":
            return [
                {"role": "assistant", "content": [
                    {"text": f"Reading file {number}."},
                    {"toolUse": {"toolUseId": id, "name": "read_file", "input": arguments}},
                ]},
                {"role": "user", "content": [{"toolResult": {"toolUseId": id, "content": [{"text": text}]}}]},
            ]  # fmt: skip
        case "chat":
            call = {"name": "read_file", "arguments": json.dumps(arguments)}
            return [
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": id, "type": "function", "function": call}],
                },
                {"role": "tool", "tool_call_id": id, "content": text},
            ]
        case "responses":
            return [
                {"type": "function_call", "id": f"fc_{number}", "call_id": id, "name": "read_file",
                 "arguments": json.dumps(arguments), "status": "completed"},
                {"type": "function_call_output", "call_id": id, "output": text},
            ]  # fmt: skip
        case "interactions":
            return [
                {"type": "function_call", "id": id, "name": "read_file", "arguments": arguments},
                {"type": "function_result", "call_id": id, "name": "read_file", "result": text},
            ]
        case _:
            return [
                {"role": "model", "parts": [{"functionCall": {"name": "read_file", "args": arguments}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "read_file", "response": {"text": text}}}]},
            ]


def request_of(
    api: Api, rounds: int, *, system: str = SYSTEM, tools: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Return the request after ``rounds`` of tool calls, with marks if the API has them."""
    tools = [tool_of(api, name) for name in TOOL_NAMES] if tools is None else tools
    items = [user_item(api, "Please read all files of this project, and report what they do.")]
    for number in range(rounds):
        items += round_items(api, number, f"Text of file {number}. " * 40)
    match api:
        case "messages":
            body = {"tools": tools, "system": [{"type": "text", "text": system}], "messages": items}
        case "converse":
            body = {"toolConfig": {"tools": tools}, "system": [{"text": system}], "messages": items}
        case "chat":
            body = {"messages": [{"role": "system", "content": system}, *items], "tools": tools}
        case "responses":
            body = {"instructions": system, "input": items, "tools": tools}
        case "interactions":
            body = {"system_instruction": system, "input": items, "tools": tools}
        case _:
            body = {
                "systemInstruction": {"parts": [{"text": system}]}, "contents": items,
                "tools": [{"functionDeclarations": tools}],
            }  # fmt: skip
    return mark_end(api, body)


def mark_end(api: Api, body: dict[str, Any], ttl: str | None = None) -> dict[str, Any]:
    """Mark the ends of system and of the messages, where the API has marks."""
    lifetime = {} if ttl is None else {"ttl": ttl}
    if api == "messages":
        for block in (body["system"][-1], body["messages"][-1]["content"][-1]):
            block["cache_control"] = {"type": "ephemeral", **lifetime}
    elif api == "converse":
        for blocks in (body["system"], body["messages"][-1]["content"]):
            blocks.append({"cachePoint": {"type": "default", **lifetime}})
    return body


MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_members(body: dict[str, Any] | bytes) -> dict[str, msgspec.Raw]:
    """Return the members of a body, as a request has them."""
    return MEMBERS.decode(body if isinstance(body, bytes) else json.dumps(body).encode())


def sent_request(api: Api, body: dict[str, Any] | bytes, sent: float = 1.0, /, **more: Any) -> SentRequest:
    """Return a request of "ann" with ``body``, and with ``more`` members."""
    request = SentRequest("ann", api, read_members(body), {}, row_of(api), b"account", "entry", sent, api)
    return structs.replace(request, **more)


def read(
    api: Api, body: dict[str, Any] | bytes, row: CachingRow | None = None, memo: PromptMemo[Any] | None = None,
    headers: Mapping[str, str] | None = None, earlier: int = 0,
) -> PromptDigest:  # fmt: skip
    """Return the prompt of a request, whose first ``earlier`` items are stored turns."""
    data = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    row = row_of(api) if row is None else row
    return PromptSource(api, read_members(data), row, headers or {}, memo or PromptMemo(), earlier).read(KEY)
