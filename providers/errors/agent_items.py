"""Rejections of the items in which Codex delivers a task to an agent, by Responses servers other than OpenAI's.

They do not know an ``agent_message`` (ollama/ollama#18286, lidge-jun/opencodex#3907), or an output without a call
(openai/codex#45450, farion1231/cc-switch#7551). Both are texts of another agent, and become messages of the user.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from providers.errors.changed_items import change_items
from providers.errors.words import Words
from providers.neutral.ciphertext import is_ciphertext

WORDS: Final = Words.of(
    (
        # DeepSeek
        r"input: missing field [`']call_id[`']"
        # Ollama
        r"|input\[\d{1,6}\]: unknown input item type: \"agent_message\""
        # servers in Go
        r"|Invalid input type 'agent_message' at index \d{1,6}"
        # xAI
        r"|data did not match any variant of untagged enum ModelInput"
    ),
    before=r"(?:Failed to deserialize the JSON body into the target type: )?",
    after=r"(?: at line \d+ column \d+)?\.?",
)

_OUTPUTS: Final = ("function_call_output", "custom_tool_call_output")


def use_messages(body: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the changed ``input`` of a Responses ``body``, with messages instead of these items; ``{}`` without any.

    Text that only OpenAI can decrypt is omitted."""
    return change_items(body, "input", _as_message)


def _as_message(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    if item.get("type") == "agent_message":
        content = item.get("content")
    elif item.get("type") in _OUTPUTS and item.get("name") and not item.get("call_id"):
        content = item.get("output")
    else:
        return item
    if isinstance(content, str):
        content = [{"type": "input_text", "text": content}]
    parts = list(_readable_parts(content)) if isinstance(content, list) else []
    return {"type": "message", "role": "user", "content": parts or [{"type": "input_text", "text": "(no text)"}]}


def _readable_parts(content: list[Any]) -> Iterator[Any]:
    for part in content:
        text = part.get("encrypted_content") if isinstance(part, dict) else None
        if text is None:
            yield part
        elif isinstance(text, str) and not is_ciphertext(text):
            yield {"type": "input_text", "text": text}
