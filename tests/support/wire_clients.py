"""Requests of each of the six APIs, and the text and usage of responses, without the gateway's codecs."""

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.support.upstreams import PATHS

ALL: Final = ("chat", "messages", "responses", "gemini", "converse", "interactions")


def path_of(api: str, model: str, *, stream: bool) -> str:
    """Return the path with its query to which a client of ``api`` posts a request for ``model``."""
    if api == "gemini":
        return f"/v1beta/models/{model}:" + ("streamGenerateContent?alt=sse" if stream else "generateContent")
    if api == "converse":
        return f"/model/{model}/converse" + ("-stream" if stream else "")
    return PATHS[api]


def body_of(api: str, model: str, prompt: str = "Hi", *, stream: bool, limit: int = 99) -> dict[str, Any]:
    """Return a request for at most ``limit`` tokens about ``prompt``."""
    match api:
        case "gemini":
            contents = [{"role": "user", "parts": [{"text": prompt}]}]
            return {"contents": contents, "generationConfig": {"maxOutputTokens": limit}}
        case "converse":
            messages = [{"role": "user", "content": [{"text": prompt}]}]
            return {"messages": messages, "inferenceConfig": {"maxTokens": limit}}
        case "responses":
            more = {"input": prompt, "max_output_tokens": limit}
        case "interactions":
            more = {"input": prompt, "generation_config": {"max_output_tokens": limit}}
        case _:
            more = {"messages": [{"role": "user", "content": prompt}], "max_tokens": limit}
    if api == "chat" and stream:
        more["stream_options"] = {"include_usage": True}
    return {"model": model, "stream": stream, **more}


def with_tool(api: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``body`` with one function that the client runs."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    said = {"name": "get_weather", "description": "The weather"}
    tools: dict[str, Any] = {
        "chat": {"tools": [{"type": "function", "function": {**said, "parameters": schema}}]},
        "messages": {"tools": [{**said, "input_schema": schema}]},
        "responses": {"tools": [{"type": "function", **said, "parameters": schema}]},
        "gemini": {"tools": [{"functionDeclarations": [{**said, "parameters": schema}]}]},
        "converse": {"toolConfig": {"tools": [{"toolSpec": {**said, "inputSchema": {"json": schema}}}]}},
        "interactions": {"tools": [{"type": "function", **said, "parameters": schema}]},
    }
    return {**body, **tools[api]}


def text_of(api: str, body: bytes, *, stream: bool) -> str:
    """Return the words of the model in a whole or streamed response."""
    if not stream:
        return "".join(_whole_texts(api, json.loads(body)))
    return "".join(part for event in events_of(api, body) for part in _stream_texts(api, event))


def usage_of(api: str, body: bytes, *, stream: bool) -> tuple[int, int] | None:
    """Return the input and output tokens of a whole or streamed response, ``None`` if it states none."""
    found = None
    for event in events_of(api, body) if stream else [json.loads(body)]:
        found = _usage(event, found) or found
    return found


def events_of(api: str, body: bytes) -> list[dict[str, Any]]:
    """Return the JSON of a stream's events in order."""
    if api == "converse":
        return list(_frames(body))
    lines = (line.removeprefix(b"data:").strip() for line in body.splitlines() if line.startswith(b"data:"))
    return [json.loads(line) for line in lines if line != b"[DONE]"]


def _frames(body: bytes) -> Iterator[dict[str, Any]]:
    """Yield the payload of each of Amazon's frames under the name of its event."""
    while body:
        total, headers = struct.unpack(">II", body[:8])
        rest, named = body[12 : 12 + headers], {}
        while rest:
            size = rest[0]
            (length,) = struct.unpack(">H", rest[size + 2 : size + 4])
            named[rest[1 : size + 1].decode()] = rest[size + 4 : size + 4 + length].decode()
            rest = rest[size + 4 + length :]
        yield {named.get(":event-type") or named.get(":exception-type", ""): json.loads(body[12 + headers : total - 4])}
        body = body[total:]


def _whole_texts(api: str, answer: Mapping[str, Any]) -> Iterator[str]:
    match api:
        case "chat":
            yield from (choice["message"].get("content") or "" for choice in answer["choices"])
        case "messages":
            yield from (block.get("text", "") for block in answer["content"])
        case "responses":
            messages = [item for item in answer["output"] if item["type"] == "message"]
            yield from (part.get("text", "") for item in messages for part in item["content"])
        case "gemini":
            yield from (part.get("text", "") for one in answer["candidates"] for part in one["content"]["parts"])
        case "interactions":
            outputs = [step for step in answer["steps"] if step["type"] == "model_output"]
            yield from (part.get("text", "") for step in outputs for part in step["content"])
        case _:
            yield from (block.get("text", "") for block in answer["output"]["message"]["content"])


def _stream_texts(api: str, event: Mapping[str, Any]) -> Iterator[str]:
    match api:
        case "chat":
            yield from (choice["delta"].get("content") or "" for choice in event.get("choices", ()))
        case "messages":
            yield (event.get("delta") or {}).get("text") or ""
        case "responses":
            yield event["delta"] if event.get("type") == "response.output_text.delta" else ""
        case "gemini":
            yield from _whole_texts(api, {"candidates": event.get("candidates", ())})
        case "interactions":
            delta = event.get("delta", {})
            yield delta["text"] if delta.get("type") == "text" else ""
        case _:
            yield (event.get("contentBlockDelta") or {"delta": {}})["delta"].get("text") or ""


_TOTALS: Final = (("prompt_tokens", "completion_tokens"), ("promptTokenCount", "candidatesTokenCount"))
_UNCACHED: Final = (
    ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens"),
    ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens", "outputTokens"),
)


def _usage(event: Mapping[str, Any], before: tuple[int, int] | None) -> tuple[int, int] | None:
    for holder in (event, event.get("message"), event.get("response"), event.get("metadata"), event.get("interaction")):
        if not isinstance(holder, Mapping) or not (usage := holder.get("usage") or holder.get("usageMetadata")):
            continue
        if "input_tokens_details" in usage:  # Responses: the input includes cached tokens
            return usage["input_tokens"], usage["output_tokens"]
        if "total_input_tokens" in usage:  # Interactions: thoughts are not in the output
            return usage["total_input_tokens"], usage["total_output_tokens"] + usage.get("total_thought_tokens", 0)
        for prompt, output in _TOTALS:
            if prompt in usage:
                return usage[prompt], usage.get(output, 0) + usage.get("thoughtsTokenCount", 0)
        for *prompt, output in _UNCACHED:
            if output in usage:
                known = [usage[name] for name in prompt if usage.get(name) is not None]
                return sum(known) if known else (before or (0, 0))[0], usage[output]
    return None
