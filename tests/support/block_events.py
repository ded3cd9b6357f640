"""The events of one block of an answer in few words, from its first to its end."""

from typing import Any

from streams.events import (
    BlockEnd,
    Event,
    ReasoningDelta,
    ReasoningState,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)


def text_events(block: int, *pieces: str | Event) -> list[Event]:
    """Return a text in pieces; an event among them, such as a citation, stays in its place."""
    return [*(TextDelta(block, one) if isinstance(one, str) else one for one in pieces), BlockEnd(block)]


def refusal_events(block: int, *pieces: str) -> list[Event]:
    """Return a refusal in pieces."""
    return [*(RefusalDelta(block, one) for one in pieces), BlockEnd(block)]


def thought_events(block: int, *pieces: str, api: Any = None, item: Any = None) -> list[Event]:
    """Return reasoning in pieces, and ``item``, which its provider, a speaker of ``api``, wants back."""
    state = [] if api is None else [ReasoningState(block, api, item)]
    return [*(ReasoningDelta(block, one) for one in pieces), *state, BlockEnd(block)]


def call_events(
    block: int, *pieces: str, id: str | None = None, name: str = "f", kind: Any = "function"
) -> list[Event]:
    """Return a tool call with its arguments in pieces; without ``id`` it gets one with the number of its block."""
    begun = ToolCallStart(block, f"call_{block}" if id is None else id, name, kind)
    return [begun, *(ToolCallDelta(block, one) for one in pieces), BlockEnd(block)]
