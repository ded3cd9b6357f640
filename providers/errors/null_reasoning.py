"""Rejections of reasoning with members that are ``null``, by xAI's Responses server.

Codex returns reasoning with ``content: null``. xAI takes that for a change of the encrypted content, and rejects every
turn after the first (lidge-jun/opencodex#2237, Wei-Shaw/sub2api#4223, chenyme/grok2api#688).
"""

from collections.abc import Mapping
from typing import Any, Final

from providers.errors.changed_items import change_items
from providers.errors.words import Words

WORDS: Final = Words.of(
    r"Could not decode the compaction blob", after=r"(?:\. Ensure it is unmodified from the compact response)?\.?"
)


def omit_nulls(body: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the changed ``input`` of a Responses ``body``, with reasoning without ``null``; ``{}`` without any."""
    return change_items(body, "input", _without_nulls)


def _without_nulls(item: Any) -> Any:
    if not isinstance(item, dict) or item.get("type") != "reasoning":
        return item
    return {name: value for name, value in item.items() if value is not None}
