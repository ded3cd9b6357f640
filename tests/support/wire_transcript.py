"""The meaning of a request to a provider, parsed by hand: the conversation as a flat list of tuples.

``("system", text)``, ``("user", text)``, ``("thinking", text, seal)``, ``("text", text)``, ``("call", id, name,
arguments)`` and ``("result", id, text)``, in the order of the request.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

Line: TypeAlias = tuple[Any, ...]


def conversation_of(api: str, body: Mapping[str, Any]) -> list[Line]:
    """Return the conversation in ``body``, a request of ``api``. Raises ``KeyError`` for invalid requests."""
    return {"chat": _chat_conversation, "messages": _messages_conversation, "responses": _responses_conversation}[api](
        body
    )


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content or ()]


def _chat_conversation(body: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    for message in body["messages"]:
        role = message["role"]
        texts = _texts(message.get("content"))
        if role in ("system", "developer"):
            lines += [("system", text) for text in texts]
        elif role == "user":
            lines += [("user", text) for text in texts]
        elif role == "tool":
            lines.append(("result", message["tool_call_id"], "".join(texts)))
        else:
            if message.get("reasoning_content"):
                lines.append(("thinking", message["reasoning_content"], ""))
            lines += [("text", text) for text in texts if text]
            for call in message.get("tool_calls") or ():
                function = call["function"]
                lines.append(("call", call["id"], function["name"], json.loads(function["arguments"])))
    return lines


def _messages_conversation(body: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [("system", text) for text in _texts(body.get("system"))]
    for message in body["messages"]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        spoken = {"user": "user", "system": "system", "assistant": "text"}[message["role"]]
        for block in blocks:
            match block["type"]:
                case "text":
                    lines.append((spoken, block["text"]))
                case "thinking":
                    lines.append(("thinking", block["thinking"], block["signature"]))
                case "tool_use":
                    lines.append(("call", block["id"], block["name"], block["input"]))
                case "tool_result":
                    lines.append(("result", block["tool_use_id"], "".join(_texts(block.get("content")))))
                case other:
                    raise KeyError(other)
    return lines


def _responses_conversation(body: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [("system", text) for text in _texts(body.get("instructions"))]
    given = body["input"]
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else given:
        match item.get("type", "message"):
            case "message":
                spoken = {"user": "user", "assistant": "text", "system": "system", "developer": "system"}[item["role"]]
                lines += [(spoken, text) for text in _texts(item["content"])]
            case "reasoning":
                summary = "".join(part["text"] for part in item["summary"])
                lines.append(("thinking", summary, item["encrypted_content"]))
            case "function_call":
                lines.append(("call", item["call_id"], item["name"], json.loads(item["arguments"])))
            case "function_call_output":
                lines.append(("result", item["call_id"], "".join(_texts(item["output"]))))
            case other:
                raise KeyError(other)
    return lines
