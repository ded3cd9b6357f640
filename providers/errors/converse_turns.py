"""Rejections of the turns of a conversation by Converse.

- Blank texts, and turns and results without content. Agents write them after calls and into their history, and then
  every turn fails (langchain-ai/langchainjs#5960, OpenHands/OpenHands#5339, NousResearch/hermes-agent#63983,
  strands-agents/tools#190, aws-samples/sample-multi-agent-orchestration-chat-on-agentcore#15).
- Calls or results of tools with texts in one turn, by Llama, Mistral and others. It is the usual form of a question
  after results (BerriAI/litellm#6053, langchain-ai/langchain-aws#141, microsoft/autogen#6480,
  strands-agents/harness-sdk#1223, quarkiverse/quarkus-langchain4j#1983).
- Calls in the history of a request without tools, such as one for a summary (langgenius/dify#16421,
  HolmesGPT/holmesgpt#2214, ellistarn/muse#28). Translated requests declare the called tools anyway.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from providers.errors.words import Words, change_items, change_list
from providers.neutral.tool_names import CALLED_BEFORE

Block: TypeAlias = dict[str, Any]

_PLACE: Final = r"messages\.\d{1,6}"

BLANK: Final = Words.of(
    rf"The text field in the ContentBlock object at {_PLACE}\.content\.\d{{1,6}} is blank"
    r"(?:\. Add text to the text field, and try again)?"
    rf"|The content field in the Message object at {_PLACE} is empty"
    r"(?:\. Add a ContentBlock object to the content field,? and try again)?"
    rf"|The content field at {_PLACE}\.content\.\d{{1,6}}\.toolResult cannot be empty when status value is error"
)
MIXED: Final = Words.of(
    r"Conversation blocks and tool (?:use|result) blocks cannot be provided in the same turn", rf"{_PLACE}\.content: "
)
WITHOUT_TOOLS: Final = Words.of(
    r"[Tt]he toolConfig field must be defined when using (?:the )?toolUse and toolResult content blocks"
)

_EMPTY: Final = {"text": "(empty)"}
_BRIDGES: Final[Mapping[str, Mapping[str, Any]]] = {
    "user": {"role": "assistant", "content": [{"text": "I have read the results."}]},
    "assistant": {"role": "user", "content": [{"text": "Continue."}]},
}
"""The messages between the parts of a message, by its role."""


def fill_blanks(body: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the changed lists of a Converse ``body``, without blank texts and without empty content; ``{}`` if nothing
    changes."""
    if not _is_converse(body):
        return {}
    system = change_list(body, "system", lambda blocks: [block for block in blocks if not _is_blank(block)])
    return change_items(body, "messages", _with_filled_content) | system


def _is_converse(body: Mapping[str, Any]) -> bool:
    """Return whether ``body`` has blocks without a type, as in no other API."""
    messages = body.get("messages")
    return isinstance(messages, list) and any("type" not in block for block in map(_first_block, messages) if block)


def _first_block(message: Any) -> Block | None:
    content = message.get("content") if isinstance(message, dict) else None
    return next((block for block in content if isinstance(block, dict)), None) if isinstance(content, list) else None


def _with_filled_content(holder: Any) -> Any:
    """Return a message or result with content that is not blank."""
    content = holder.get("content") if isinstance(holder, dict) else None
    if not isinstance(content, list):
        return holder
    kept = [_with_filled_result(block) for block in content if not _is_blank(block)]
    return {**holder, "content": [_EMPTY, *kept] if all(map(_is_cache_point, kept)) else kept}


def _with_filled_result(block: Any) -> Any:
    result = block.get("toolResult") if isinstance(block, dict) else None
    return block if result is None else {**block, "toolResult": _with_filled_content(result)}


def _is_cache_point(block: Any) -> bool:
    return isinstance(block, dict) and "cachePoint" in block


def _is_blank(block: Any) -> bool:
    text = block.get("text") if isinstance(block, dict) else None
    return isinstance(text, str) and not text.strip()


def separate_tools(messages: list[Any]) -> list[Any]:
    """Return Converse ``messages`` with calls and results in turns of their own."""
    return [part for message in messages for part in _parts_of(message)]


def _parts_of(message: Any) -> list[Any]:
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list) or (bridge := _BRIDGES.get(str(message.get("role")))) is None:
        return [message]
    tools = [block for block in content if _is_of_tool(block)]
    others = [block for block in content if not _is_of_tool(block)]
    if not tools or all(map(_is_cache_point, others)):
        return [message]
    first, second = (tools, others) if message["role"] == "user" else (others, tools)
    return [{**message, "content": first}, bridge, {**message, "content": second}]


def _is_of_tool(block: Any) -> bool:
    return isinstance(block, dict) and ("toolUse" in block or "toolResult" in block)


def declare_tools(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tools of a Converse ``body`` without any: those that its messages call; ``{}`` for other bodies."""
    messages = body.get("messages")
    if not isinstance(messages, list) or body.get("toolConfig"):
        return {}
    contents = [message.get("content") for message in messages if isinstance(message, dict)]
    blocks = [block for content in contents if isinstance(content, list) for block in content]
    calls = [block.get("toolUse") for block in blocks if isinstance(block, dict)]
    names = dict.fromkeys(
        call["name"] for call in calls if isinstance(call, dict) and isinstance(call.get("name"), str)
    )
    return {"toolConfig": {"tools": [{"toolSpec": {"name": name, **CALLED_BEFORE}} for name in names]}} if names else {}
