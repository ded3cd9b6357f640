"""Scripted answers of simulated providers, in no API's format, and pieces of streams."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import attrs

Stop: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]


@attrs.frozen
class ToolCall:
    id: str
    name: str
    arguments: str


@attrs.frozen
class Tokens:
    """Token counts. ``prompt`` includes all input, ``output`` includes ``reasoning``.

    ``edit`` returns what the provider sends instead of the object with these counts, in its API's words."""

    prompt: int = 11
    cache_read: int = 0
    cache_write: int = 0
    output: int = 7
    reasoning: int = 0
    edit: Callable[[dict[str, Any]], Any] = lambda usage: usage


@attrs.frozen
class Script:
    """One answer. ``seal`` is the opaque part of the thinking, in APIs that have one.

    ``more`` are other members of the answer, such as its id, in Messages and Responses."""

    text: str = ""
    thinking: str = ""
    seal: str = ""
    calls: tuple[ToolCall, ...] = ()
    stop: Stop = "stop"
    tokens: Tokens = Tokens()
    more: Mapping[str, Any] = attrs.field(factory=dict, hash=False)


def pieces(text: str) -> list[str]:
    """Return ``text`` in three parts, as it would be streamed."""
    third = max(1, -(-len(text) // 3))
    return [text[i : i + third] for i in range(0, len(text), third)]


def event(name: str, value: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(value)}\n\n".encode()


def data(value: Any) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()
