"""Rejections of earlier turns without their reasoning, by models that require it back.

Kimi and DeepSeek reject the history of another model, or of a client that drops reasoning (BerriAI/litellm#26156,
anomalyco/opencode#29690, anomalyco/opencode#24722).
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
WORDS: Final = Words.of(_SENTENCES, after=r"\.?(?: For more information, please refer to https://[\w./#\-]{1,200})?")


def add_reasoning(body: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the changed ``messages`` of ``body``, in which each turn of the model has reasoning; ``{}`` if nothing
    changes."""
    return change_items(body, "messages", _with_reasoning)


def _with_reasoning(message: Any) -> Any:
    if not isinstance(message, dict) or message.get("role") != "assistant" or message.get(_MEMBER):
        return message
    return {**message, _MEMBER: _BLANK}
