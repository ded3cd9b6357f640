"""Rejections of messages whose texts are a list, by Chat servers that accept only one text.

DeepSeek, Groq and Fireworks reject lists (QwenLM/qwen-code#2320, microsoft/PyRIT#704, mozilla-ai/any-llm#1228).
"""

from collections.abc import Mapping
from typing import Any, Final

from providers.errors.changed_items import change_items
from providers.errors.words import Words
from providers.neutral.joined_texts import join_texts

_PLACE: Final = r"messages(?:\[\d{1,6}\]|\.\d{1,6})(?:\.\w{1,20})?(?:\.content)?(?:\.str)?"
WORDS: Final = Words(
    (
        # Servers in Rust, among them DeepSeek
        rf"{_PLACE}: invalid type: sequence, expected a string"
        # Groq
        rf"|'{_PLACE}' ?: value must be a string"
        # Fireworks, Cerebras
        rf"|Input should be a valid string, field: '{_PLACE}'"
        rf"|{_PLACE}: Input should be a valid string"
        # servers with FastAPI
        r"|'content'(?:, 'str')?\), 'msg': 'Input should be a valid string'"
    ),
    (
        r"(?:Failed to deserialize the JSON body into the target type: )?"
        rf"{_PLACE}: invalid type: sequence, expected a string(?: at line \d+ column \d+)?\.?"
        rf"|'messages\.\d{{1,6}}' ?: for 'role: ?\w{{1,20}}' the following must be satisfied"
        rf"\[\('{_PLACE}' ?: value must be a string\)\]"
        rf"|{_PLACE}: Input should be a valid string\.?"
    ),
)


def join_text_lists(body: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the changed ``messages`` of ``body``, ``{}`` if nothing changes.

    A list with anything else than texts stays. Marks of a prompt cache are lost with the list."""
    return change_items(body, "messages", _join_content)


def _join_content(message: Any) -> Any:
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list) or not content or not all(map(_is_text, content)):
        return message
    return {**message, "content": join_texts(str(message.get("role")), (part["text"] for part in content))}


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
