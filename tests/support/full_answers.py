"""Answers of each API with nearly every member that a codec reads, whole and as streams."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from tests.support.grammar_changes import Events
from tests.support.repository import ROOT

_FILE: Final = ROOT / "tests" / "data" / "full_answers.json"
STREAMED: Final = ("chat", "messages", "responses", "gemini", "interactions")
"""The APIs with a stream of their answer here."""


@cache
def full_answers() -> dict[str, Any]:
    """Return a whole answer of each API."""
    answers: dict[str, Any] = json.loads(_FILE.read_bytes())
    return answers


def full_stream(api: str) -> Events:
    """Return the values of the events of a stream with the whole answer of ``api``."""
    return list(_EVENTS[api](full_answers()[api]))


def stream_bytes(api: str, events: Events) -> bytes:
    """Return the bytes of a stream, whose events may have any values."""
    return b"".join(_event_bytes(api, number, event) for number, event in enumerate(events))


def _event_bytes(api: str, number: int, event: Any) -> bytes:
    if event == "[DONE]":
        return b"data: [DONE]\n\n"
    name = f"event: {event['type']}\n" if isinstance(event, dict) and isinstance(event.get("type"), str) else ""
    if api == "responses" and isinstance(event, dict):
        event = {"sequence_number": number, **event}
    return f"{name}data: {json.dumps(event)}\n\n".encode("utf-8", "replace")


def _chat_events(answer: dict[str, Any]) -> Iterator[Any]:
    (choice,) = answer["choices"]
    calls = [{"index": number, **call} for number, call in enumerate(choice["message"]["tool_calls"])]
    delta = {**choice["message"], "tool_calls": calls}
    chunk = {**answer, "object": "chat.completion.chunk"}
    yield {**chunk, "choices": [{"index": 0, "delta": delta, "logprobs": choice["logprobs"], "finish_reason": None}]}
    yield {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    yield "[DONE]"


def _messages_events(answer: dict[str, Any]) -> Iterator[Any]:
    yield {"type": "message_start", "message": {**answer, "content": [], "stop_reason": None}}
    for index, block in enumerate(answer["content"]):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        for delta in _messages_deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ended = {name: answer[name] for name in ("stop_reason", "stop_sequence", "stop_details", "container")}
    more = {name: answer[name] for name in ("usage", "context_management")}
    yield {"type": "message_delta", "delta": ended, **more}
    yield {"type": "message_stop"}


def _messages_deltas(block: dict[str, Any]) -> Iterator[Any]:
    match block["type"]:
        case "text":
            yield {"type": "text_delta", "text": "x"}
            yield from ({"type": "citations_delta", "citation": one} for one in block["citations"])
        case "thinking":
            yield {"type": "thinking_delta", "thinking": "x"}
            yield {"type": "signature_delta", "signature": "x"}
        case "tool_use" | "server_tool_use":
            yield {"type": "input_json_delta", "partial_json": "{}"}
        case "compaction":
            yield {"type": "compaction_delta", "content": "x"}


def _responses_events(answer: dict[str, Any]) -> Iterator[Any]:
    yield {"type": "response.created", "response": {**answer, "output": [], "status": "in_progress"}}
    for index, item in enumerate(answer["output"]):
        at = {"item_id": item["id"], "output_index": index}
        yield {"type": "response.output_item.added", "output_index": index, "item": item}
        if item["type"] == "message":
            part, place = item["content"][0], {**at, "content_index": 0}
            said = {"logprobs": part["logprobs"]}
            empty = {"type": "output_text", "text": "", "annotations": []}
            yield {"type": "response.content_part.added", **place, "part": empty}
            yield {"type": "response.output_text.delta", **place, "delta": "a", **said}
            for number, one in enumerate(part["annotations"]):
                added = {"annotation_index": number, "annotation": one}
                yield {"type": "response.output_text.annotation.added", **place, **added}
            yield {"type": "response.output_text.done", **place, "text": "a", **said}
            yield {"type": "response.content_part.done", **place, "part": part}
        if item["type"] == "function_call":
            yield {"type": "response.function_call_arguments.delta", **at, "delta": "{}"}
            yield {"type": "response.function_call_arguments.done", **at, "arguments": "{}", "name": "f"}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": "response.completed", "response": answer}


def _interactions_events(answer: dict[str, Any]) -> Iterator[Any]:
    about = {name: value for name, value in answer.items() if name != "steps"}
    yield {"event_type": "interaction.created", "interaction": {**about, "status": "in_progress"}}
    for index, step in enumerate(answer["steps"]):
        yield {"event_type": "step.start", "index": index, "step": {"type": step["type"], "id": step.get("id")}}
        for delta in _interactions_deltas(step):
            yield {"event_type": "step.delta", "index": index, "delta": delta}
        yield {"event_type": "step.stop", "index": index}
    yield {"event_type": "interaction.completed", "interaction": about}


def _interactions_deltas(step: dict[str, Any]) -> Iterator[Any]:
    match step["type"]:
        case "thought":
            yield from ({"type": "thought_summary", "content": one} for one in step["summary"])
            yield {"type": "thought_signature", "signature": step["signature"]}
        case "model_output":
            text, image = step["content"]
            yield {"type": "text", "text": text["text"]}
            yield {"type": "text_annotation_delta", "annotations": text["annotations"]}
            yield image
        case "function_call":
            yield {"type": "arguments_delta", "arguments": json.dumps(step["arguments"])}
        case _:
            yield step


_EVENTS: Final = {
    "interactions": _interactions_events,
    "chat": _chat_events,
    "messages": _messages_events,
    "responses": _responses_events,
    "gemini": lambda answer: [answer],
}
