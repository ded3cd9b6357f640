"""A client of each API that keeps its conversation: it assembles an answer, whole or streamed, and sends it back."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from providers.apis import CODECS
from providers.neutral.codec import Reply
from streams.events import Event
from streams.fold import fold

Json: TypeAlias = dict[str, Any]


def history_items(api: str, events: Sequence[Event], reply: Reply, streamed: bool) -> list[Json]:
    """Return the items of a client's history that contain the answer: one message, or the items of Responses."""
    codec = CODECS[api]
    if not streamed:
        return answer_items(api, codec.write_answer(fold(events), reply), streamed=False)
    writer = codec.writer(reply)
    return answer_items(api, b"".join(map(writer.send, events)), streamed=True)


def answer_items(api: str, body: bytes, *, streamed: bool) -> list[Json]:
    """Return the items of a client's history that contain the answer in ``body``."""
    if not streamed:
        return _FROM_WHOLE[api](json.loads(body))
    events = CODECS[api].wire.framing.parse_all(body)
    return _FROM_STREAM[api]([json.loads(data) for _, data in events if data != b"[DONE]"])


def calls_of(api: str, items: Iterable[Json]) -> list[tuple[str, str]]:
    """Return the ids and names of the calls in ``items``; Gemini's may have no id."""
    found = []
    for item in items:
        match api:
            case "chat":
                found += [(call["id"], call["function"]["name"]) for call in item.get("tool_calls") or ()]
            case "messages":
                found += [(part["id"], part["name"]) for part in item["content"] if part["type"] == "tool_use"]
            case "responses":
                found += [(item["call_id"], item["name"])] if item["type"] == "function_call" else []
            case "gemini":
                calls = [part["functionCall"] for part in item["parts"] if "functionCall" in part]
                found += [(call.get("id", ""), call["name"]) for call in calls]
            case "converse":
                calls = [part["toolUse"] for part in item["content"] if "toolUse" in part]
                found += [(call["toolUseId"], call["name"]) for call in calls]
            case "interactions":
                found += [(item["id"], item["name"])] if item["type"] == "function_call" else []
    return found


_FROM_WHOLE: Final[Mapping[str, Callable[[Json], list[Json]]]] = {
    "chat": lambda answer: [answer["choices"][0]["message"]],
    "messages": lambda answer: [{"role": "assistant", "content": answer["content"]}],
    "responses": lambda answer: answer["output"],
    "gemini": lambda answer: [answer["candidates"][0]["content"]],
    "converse": lambda answer: [answer["output"]["message"]],
    "interactions": lambda answer: answer["steps"],
}


def _chat(chunks: list[Json]) -> list[Json]:
    message: Json = {"role": "assistant", "content": None}
    for chunk in chunks:
        for choice in chunk["choices"]:
            for name, value in choice["delta"].items():
                if name == "tool_calls":
                    _add_calls(message.setdefault("tool_calls", []), value)
                elif name != "role" and value is not None:
                    message[name] = message[name] + value if message.get(name) else value
    return [message]


def _add_calls(calls: list[Json], deltas: list[Json]) -> None:
    for delta in deltas:
        if delta["index"] == len(calls):
            calls.append({"id": delta["id"], "type": "function", "function": {"name": "", "arguments": ""}})
        function = calls[delta["index"]]["function"]
        for name, text in delta["function"].items():
            function[name] += text


def _messages(events: list[Json]) -> list[Json]:
    blocks: list[Json] = []
    inputs: dict[int, str] = {}
    for event in events:
        if event["type"] == "content_block_start":
            blocks.append(dict(event["content_block"]))
        elif event["type"] == "content_block_delta":
            delta, block = event["delta"], blocks[event["index"]]
            member = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
            if delta["type"] == "input_json_delta":
                inputs[event["index"]] = inputs.get(event["index"], "") + delta["partial_json"]
            else:
                name = member[delta["type"]]
                block[name] = block.get(name, "") + delta[name]
    for index, text in inputs.items():
        blocks[index]["input"] = json.loads(text or "{}")
    return [{"role": "assistant", "content": blocks}]


def _responses(events: list[Json]) -> list[Json]:
    output: list[Json] = events[-1]["response"]["output"]
    return output


def _gemini(chunks: list[Json]) -> list[Json]:
    parts: list[Json] = []
    for chunk in chunks:
        for part in chunk["candidates"][0].get("content", {}).get("parts", ()):
            last = parts[-1] if parts else {}
            if part.get("text") and last.get("text") and last.get("thought") == part.get("thought"):
                parts[-1] = {**last, **part, "text": last["text"] + part["text"]}
            else:
                parts.append(part)
    return [{"role": "model", "parts": parts}]


def _converse(events: list[Json]) -> list[Json]:
    blocks: dict[int, Json] = {}
    for event in events:
        if "start" in event:
            start = event["start"]["toolUse"]
            blocks[event["contentBlockIndex"]] = {"toolUse": {**start, "input": ""}}
        elif "delta" in event:
            delta, block = event["delta"], blocks.setdefault(event["contentBlockIndex"], {})
            if "text" in delta:
                block["text"] = block.get("text", "") + delta["text"]
            elif "toolUse" in delta:
                block["toolUse"]["input"] += delta["toolUse"]["input"]
            else:
                _add_reasoning(block, delta["reasoningContent"])
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
    return [{"role": "assistant", "content": [blocks[index] for index in sorted(blocks)]}]


def _add_reasoning(block: Json, delta: Json) -> None:
    if "redactedContent" in delta:
        block["reasoningContent"] = delta
        return
    inner = block.setdefault("reasoningContent", {"reasoningText": {}})["reasoningText"]
    for name, text in delta.items():
        inner[name] = inner.get(name, "") + text


def _interactions(events: list[Json]) -> list[Json]:
    steps: list[Json] = []
    texts: dict[int, str] = {}
    for event in events:
        if event["event_type"] == "step.start":
            steps.append(dict(event["step"]))
        elif event["event_type"] == "step.delta":
            index, delta = event["index"], event["delta"]
            match delta["type"]:
                case "text":
                    texts[index] = texts.get(index, "") + delta["text"]
                case "arguments_delta":
                    texts[index] = texts.get(index, "") + delta["arguments"]
                case "thought_summary":
                    steps[index].setdefault("summary", []).append(delta["content"])
                case "thought_signature":
                    steps[index]["signature"] = delta["signature"]
                case "text_annotation_delta":
                    pass
    for index, text in texts.items():
        is_call = steps[index]["type"] == "function_call"
        steps[index] |= {"arguments": json.loads(text)} if is_call else {"content": [{"type": "text", "text": text}]}
    return steps


_FROM_STREAM: Final[Mapping[str, Callable[[list[Json]], list[Json]]]] = {
    "chat": _chat,
    "messages": _messages,
    "responses": _responses,
    "gemini": _gemini,
    "converse": _converse,
    "interactions": _interactions,
}
