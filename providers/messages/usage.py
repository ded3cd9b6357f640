"""Token counts of Messages answers, read and written."""

from collections.abc import Mapping
from typing import Any

from streams.events import (
    Usage,
)

_INPUT_SIDE = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")

_NO_INPUT = dict.fromkeys(_INPUT_SIDE, 0)


class Counts:
    """Token counts as they come in; a later figure takes the place of an earlier one.

    A later input side that has any figure above 0 replaces the earlier one whole, zeros and gaps too: the last usage of
    an answer that began with compaction counts its last step alone. One without leaves what stands, because some
    servers end with ``input_tokens: 0`` (envoyproxy/ai-gateway#1631)."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[str, int] | None = None

    def add(self, usage: Any) -> None:
        """Take the figures of ``usage``, if it is an object."""
        if not isinstance(usage, dict):
            return
        figures = _figures(usage)
        seen = self._seen = self._seen or {}
        if any(map(figures.get, _INPUT_SIDE)):
            seen |= _NO_INPUT
        for name, figure in figures.items():
            if figure or name not in seen:
                seen[name] = figure

    def usage(self) -> Usage | None:
        """The account so far, ``None`` if the provider has said nothing."""
        if self._seen is None:
            return None
        seen = self._seen.get
        write = seen("cache_creation_input_tokens", 0)
        short, long = seen("ephemeral_5m_input_tokens"), seen("ephemeral_1h_input_tokens")
        if (short or 0) + (long or 0) != write:  # said in the beginning only, and more was written later
            short = long = None
        return Usage(
            seen("input_tokens", 0), seen("cache_read_input_tokens", 0), write, short, long,
            seen("output_tokens", 0), seen("thinking_tokens"),
        )  # fmt: skip


def _figures(usage: Mapping[str, Any]) -> dict[str, int]:
    """The numbers in a ``usage`` object and in the two objects inside it, by name; none is below 0."""
    figures = {}
    for source in (usage, usage.get("cache_creation"), usage.get("output_tokens_details")):
        if isinstance(source, dict):
            for name, figure in source.items():
                if type(figure) is int:
                    figures[name] = figure if figure > 0 else 0
    return figures


def usage_delta(usage: Usage) -> dict[str, Any]:
    """The cumulative usage of ``message_delta``: what is known, always as integers."""
    members: dict[str, Any] = {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
    }
    if (lifetimes := _lifetimes(usage)) is not None:
        members["cache_creation"] = lifetimes
    if usage.reasoning is not None:
        members["output_tokens_details"] = {"thinking_tokens": min(usage.reasoning, usage.output)}
    return members


def usage_whole(usage: Usage) -> dict[str, Any]:
    """The usage of a message, with every member that the Node types want present."""
    nothing = dict.fromkeys(
        ("cache_creation", "output_tokens_details", "server_tool_use", "service_tier", "inference_geo", "speed")
    )
    return nothing | usage_delta(usage)


def _lifetimes(usage: Usage) -> dict[str, int] | None:
    if usage.cache_write_5m is None and usage.cache_write_1h is None:
        return None
    return {
        "ephemeral_5m_input_tokens": usage.cache_write_5m or 0,
        "ephemeral_1h_input_tokens": usage.cache_write_1h or 0,
    }
