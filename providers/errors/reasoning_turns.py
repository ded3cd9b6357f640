"""Rejections of earlier turns because of their reasoning: without it, by models that require it back, or with members
that are ``null``, by xAI's Responses server.

Kimi and DeepSeek reject the history of another model, or of a client that drops reasoning (BerriAI/litellm#26156,
anomalyco/opencode#29690, anomalyco/opencode#24722). Codex returns reasoning with ``content: null``. xAI takes that for
a change of the encrypted content, and rejects every turn after the first (lidge-jun/opencodex#2237,
Wei-Shaw/sub2api#4223, chenyme/grok2api#688).
"""

from collections.abc import Mapping
from typing import Any, Final

from providers.errors.changed_items import change_items
from providers.errors.words import Words

_MEMBER: Final = "reasoning_content"
_BLANK: Final = " "
"""The content of the added member. Kimi takes an empty one for missing (NousResearch/hermes-agent#23407)."""

_SENTENCES: Final = (
    rf"thinking is enabled but {_MEMBER} is missing in assistant tool call message at index \d{{1,6}}"
    rf"|The `?{_MEMBER}`? in the thinking mode must be passed back to the API"
    rf"|Missing `?{_MEMBER}`? field in the assistant message at message index \d{{1,6}}"
)
MISSING: Final = Words.of(_SENTENCES, after=r"\.?(?: For more information, please refer to https://[\w./#\-]{1,200})?")
NULL: Final = Words.of(
    r"Could not decode the compaction blob", after=r"(?:\. Ensure it is unmodified from the compact response)?\.?"
)


def add_reasoning(body: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the changed ``messages`` of ``body``, in which each turn of the model has reasoning; ``{}`` if nothing
    changes."""
    return change_items(body, "messages", _with_reasoning)


def _with_reasoning(message: Any) -> Any:
    if not isinstance(message, dict) or message.get("role") != "assistant" or message.get(_MEMBER):
        return message
    return {**message, _MEMBER: _BLANK}


def omit_nulls(body: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the changed ``input`` of a Responses ``body``, with reasoning without ``null``; ``{}`` without any."""
    return change_items(body, "input", _without_nulls)


def _without_nulls(item: Any) -> Any:
    if not isinstance(item, dict) or item.get("type") != "reasoning":
        return item
    return {name: value for name, value in item.items() if value is not None}
