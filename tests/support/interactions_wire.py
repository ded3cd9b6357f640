"""Answers of a simulated provider of Google's Interactions, written without the gateway's code.

Source: the page "Streaming interactions" and the types of the google-genai package.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, Final

from tests.support.scripts import Script, Stop, Tokens, event, pieces

STATUSES: Final[Mapping[Stop, str]] = {
    "stop": "completed", "length": "incomplete", "tool_calls": "requires_action", "content_filter": "incomplete",
}  # fmt: skip
TIME: Final = "2026-11-23T00:00:00Z"


def interactions_usage(tokens: Tokens) -> Any:
    """Return the usage. The output does not include thoughts, and the input includes cached tokens."""
    return tokens.edit({
        "total_input_tokens": tokens.prompt, "total_cached_tokens": tokens.cache_read,
        "total_output_tokens": tokens.output - tokens.reasoning, "total_thought_tokens": tokens.reasoning,
        "total_tool_use_tokens": 0, "total_tokens": tokens.prompt + tokens.output,
    })  # fmt: skip


def interactions_steps(script: Script) -> Iterator[dict[str, Any]]:
    if script.thinking or script.seal:
        summary = [{"type": "text", "text": script.thinking}] if script.thinking else []
        yield {"type": "thought", "summary": summary, "signature": script.seal}
    if script.text:
        yield {"type": "model_output", "content": [{"type": "text", "text": script.text}]}
    for call in script.calls:
        yield {"type": "function_call", "id": call.id, "name": call.name, "arguments": json.loads(call.arguments)}


def interactions_answer(script: Script, model: str) -> dict[str, Any]:
    return {
        "id": "v1_up1", "object": "interaction", "model": model, "created": TIME, "updated": TIME,
        "status": STATUSES[script.stop], "steps": list(interactions_steps(script)),
        "usage": interactions_usage(script.tokens),
    }  # fmt: skip


def interactions_stream(script: Script, request: Mapping[str, Any]) -> Iterator[bytes]:
    number = count(1)

    def say(kind: str, **members: Any) -> bytes:
        return event(kind, {**members, "event_id": f"e{next(number)}", "event_type": kind})

    whole = interactions_answer(script, request["model"])
    begun = {name: whole[name] for name in ("id", "object", "model", "created", "updated")} | {"status": "in_progress"}
    yield say("interaction.created", interaction=begun)
    yield say("interaction.status_update", interaction_id=whole["id"], status="in_progress")
    arguments = {call.id: call.arguments for call in script.calls}
    for index, step in enumerate(whole["steps"]):
        match step["type"]:
            case "thought":
                start: dict[str, Any] = {"type": "thought"}
                deltas = [
                    {"type": "thought_summary", "content": {"type": "text", "text": piece}}
                    for piece in pieces(script.thinking)
                ]
                deltas += [{"type": "thought_signature", "signature": script.seal}] if script.seal else []
            case "model_output":
                start = {"type": "model_output"}
                deltas = [{"type": "text", "text": piece} for piece in pieces(script.text)]
            case _:
                start = {**step, "arguments": {}}
                deltas = [{"type": "arguments_delta", "arguments": piece} for piece in pieces(arguments[step["id"]])]
        yield say("step.start", index=index, step=start)
        for delta in deltas:
            yield say("step.delta", index=index, delta=delta)
        yield say("step.stop", index=index)
    ended = {name: value for name, value in whole.items() if name != "steps"}
    yield say("interaction.completed", interaction=ended)
    yield b"event: done\ndata: [DONE]\n\n"
