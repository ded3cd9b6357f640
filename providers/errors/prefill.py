"""Rejections of conversations that end with a message of the model, by models that cannot continue it.

Codex and OpenCode send such conversations after an interruption; Codex then fails at every prompt
(router-for-me/CLIProxyAPI#5319, anomalyco/opencode#29760, ggml-org/llama.cpp#20861, crewAIInc/crewAI#2194).
"""

from collections.abc import Mapping
from typing import Any, Final

from providers.errors.words import Words

LISTS: Final = ("messages", "input")
"""The members of a request with its conversation."""

WORDS: Final = Words.of(
    # Anthropic, also at Bedrock
    r"This model does not support assistant message prefill(?:\. The conversation must end with a user message)?"
    # llama.cpp
    r"|Assistant response prefill is incompatible with enable_thinking"
    # Mistral
    r"|Expected last role User or Tool \(or Assistant with prefix True\) for serving but got assistant",
    r"(?:The model returned the following errors: )?",
)

_CONTINUE: Final = "Continue exactly where your last message ends, without repeating it."


def add_user_turn(body: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the changed list of ``body`` with a message of the user at its end, ``{}`` for a conversation that ends
    otherwise.

    The model may have called tools in its last message: only their results may follow that."""
    name = "messages" if "messages" in body else "input"
    messages = body.get(name)
    if not isinstance(messages, list) or not messages:
        return {}
    last = messages[-1]
    if not isinstance(last, dict) or last.get("role") != "assistant" or last.get("tool_calls"):
        return {}
    content = last.get("content")
    blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    if any(block.get("type") == "tool_use" or "toolUse" in block for block in blocks):
        return {}
    is_converse = any("type" not in block for block in blocks)
    return {name: [*messages, {"role": "user", "content": [{"text": _CONTINUE}] if is_converse else _CONTINUE}]}
