"""Turns of the recorded conversations of real programs, for tests of what must stay equal from turn to turn."""

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from streams.events import Api
from tests.support.recorded_requests import Request, requests

HISTORY: dict[Api, str] = {
    "messages": "messages", "converse": "messages", "chat": "messages", "responses": "input", "gemini": "contents",
    "interactions": "input",
}  # fmt: skip
"""The member with the messages."""

_IDS = frozenset({"id", "call_id", "tool_use_id", "tool_call_id"})
_MARKS = frozenset({"cache_control"})
_ANSWERS = frozenset({"function_call", "custom_tool_call", "reasoning", "item_reference"})


@cache
def conversations() -> dict[str, Request]:
    """Return by program its last recorded request that contains an answer."""
    found = {}
    for request in requests():
        if "/" in request.key and not request.own and answer_positions(request.api, request.body):
            found[f"{request.key.partition('/')[0]} {request.api}"] = request
    return found


def answer_positions(api: Api, body: dict[str, Any]) -> list[int]:
    """Return the positions of the answers in the history."""
    items = body.get(HISTORY[api])
    return [
        number
        for number, item in enumerate(items if isinstance(items, list) else [])
        if item.get("role") == "assistant" or item.get("type") in _ANSWERS
    ]


def ten_turns(api: Api, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield ten turns of the recorded conversation: its last rounds again and again, with other ids and texts."""
    items, first = body[HISTORY[api]], answer_positions(api, body)[0]
    start, rounds = items[:first], items[first:]
    start = [*start, {"role": "user", "content": "A text that is long enough for a cache. " * 1000}]
    for count in range(10):
        turn = copy.deepcopy(body)
        history = copy.deepcopy(start)
        for number in range(count):
            history += _rename_ids(without_marks(rounds) if number < count - 1 else rounds, number)
        turn[HISTORY[api]] = history
        yield turn


def _rename_ids(value: Any, number: int) -> Any:
    if isinstance(value, dict):
        return {
            name: f"{inner}{number}" if name in _IDS and isinstance(inner, str) else _rename_ids(inner, number)
            for name, inner in value.items()
        }
    return [_rename_ids(inner, number) for inner in value] if isinstance(value, list) else copy.deepcopy(value)


def without_marks(value: Any) -> Any:
    """Return ``value`` without cache marks."""
    if isinstance(value, dict):
        return {name: without_marks(inner) for name, inner in value.items() if name not in _MARKS}
    return [without_marks(inner) for inner in value] if isinstance(value, list) else value


def program_names() -> list[Any]:
    """Return the programs with a recorded conversation, as values of a parameter."""
    skip = pytest.mark.skip(reason="the recorded requests of programs are not available")
    return sorted(conversations()) or [pytest.param("none", marks=skip)]
