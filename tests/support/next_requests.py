"""The next request of a client that sends an answer back, for each API."""

from collections.abc import Sequence
from typing import Any

from providers.neutral.codec import Reply
from streams.events import Event
from tests.support.returned_answers import calls_of, history_items

Json = dict[str, Any]


def returning_request(api: str, events: Sequence[Event], reply: Reply, *, streamed: bool) -> Json:
    """Return the request of a client that got the answer ``events``, whole or streamed, and sends it back."""
    return next_request(api, history_items(api, events, reply, streamed))


def next_request(api: str, items: list[Json], first: str = "hi", then: str = "and?") -> Json:
    """Return a request with the answer ``items`` of the model, and a result for each of its calls."""
    calls = calls_of(api, items)
    user = {"role": "user"}
    match api:
        case "chat":
            results: list[Json] = [{"role": "tool", "tool_call_id": id, "content": "done"} for id, _ in calls]
            return {"model": "m", "messages": [{**user, "content": first}, *items, *results, {**user, "content": then}]}
        case "messages":
            results = [{"type": "tool_result", "tool_use_id": id, "content": "done"} for id, _ in calls]
            last = {**user, "content": [*results, {"type": "text", "text": then}]}
            return {"model": "m", "max_tokens": 10, "messages": [{**user, "content": first}, *items, last]}
        case "responses":
            results = [{"type": "function_call_output", "call_id": id, "output": "done"} for id, _ in calls]
            return {"model": "m", "input": [{**user, "content": first}, *items, *results, {**user, "content": then}]}
        case "gemini":
            parts = [{"functionResponse": {"id": id, "name": name, "response": {}}} for id, name in calls]
            last = {**user, "parts": [*parts, {"text": then}]}
            return {"contents": [{**user, "parts": [{"text": first}]}, *items, last]}
        case "converse":
            results = [{"toolResult": {"toolUseId": id, "content": [{"text": "done"}]}} for id, _ in calls]
            last = {**user, "content": [*results, {"text": then}]}
            return {"messages": [{**user, "content": [{"text": first}]}, *items, last]}
        case _:
            results = [{"type": "function_result", "call_id": id, "result": "done"} for id, _ in calls]
            step = {"type": "user_input", "content": first}
            return {"model": "m", "input": [step, *items, *results, {**step, "content": then}]}
