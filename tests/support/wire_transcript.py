"""The meaning of a request to a provider, parsed by hand: the conversation as a flat list of tuples.

``("system", text)``, ``("user", text)``, ``("thinking", text, seal)``, ``("text", text)``, ``("call", id, name,
arguments)`` and ``("result", id, text)``, in the order of the request. A signature on a part of Gemini is
``("seal", text)``.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

Line: TypeAlias = tuple[Any, ...]


def conversation_of(api: str, body: Mapping[str, Any]) -> list[Line]:
    """Return the conversation in ``body``, a request of ``api``. Raises ``KeyError`` for invalid requests."""
    readers = {
        "chat": _chat_conversation, "messages": _messages_conversation, "responses": _responses_conversation,
        "gemini": _gemini_conversation, "converse": _converse_conversation, "interactions": _interactions_conversation,
    }  # fmt: skip
    return readers[api](body)


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


def _gemini_conversation(body: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [("system", part["text"]) for part in body.get("systemInstruction", {}).get("parts", ())]
    for content in body["contents"]:
        spoken = {"user": "user", "model": "text"}[content["role"]]
        for part in content["parts"]:
            if part.get("thoughtSignature") is not None:
                lines.append(("seal", part["thoughtSignature"]))
            match part:
                case {"functionCall": call}:
                    lines.append(("call", call.get("id", ""), call["name"], call.get("args", {})))
                case {"functionResponse": result}:
                    (text,) = result["response"].values()
                    lines.append(("result", result.get("id", ""), text))
                case {"thought": True}:
                    lines.append(("thinking", part["text"], ""))
                case {"text": text}:
                    lines.append((spoken, text))
                case other:
                    raise KeyError(str(other))
    return lines


def _converse_conversation(body: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [("system", block["text"]) for block in body.get("system", ())]
    for message in body["messages"]:
        spoken = {"user": "user", "assistant": "text"}[message["role"]]
        for block in message["content"]:
            match block:
                case {"reasoningContent": {"reasoningText": made}}:
                    lines.append(("thinking", made["text"], made.get("signature", "")))
                case {"toolUse": call}:
                    lines.append(("call", call["toolUseId"], call["name"], call["input"]))
                case {"toolResult": result}:
                    lines.append(("result", result["toolUseId"], "".join(_texts(result["content"]))))
                case {"text": text}:
                    lines.append((spoken, text))
                case other:
                    raise KeyError(str(other))
    return lines


def _interactions_conversation(body: Mapping[str, Any]) -> list[Line]:
    system = body.get("system_instruction")
    lines: list[Line] = [("system", system)] if system else []
    given = body["input"]
    for step in [{"type": "user_input", "content": given}] if isinstance(given, str) else given:
        match step["type"]:
            case "user_input":
                lines += [("user", text) for text in _texts(step["content"])]
            case "thought":
                summary = "".join(part["text"] for part in step.get("summary", ()))
                lines.append(("thinking", summary, step.get("signature", "")))
            case "model_output":
                lines += [("text", text) for text in _texts(step["content"])]
            case "function_call":
                lines.append(("call", step["id"], step["name"], step["arguments"]))
            case "function_result":
                result = step["result"]
                lines.append(("result", step["call_id"], "".join(_texts(result))))
            case other:
                raise KeyError(other)
    return lines
