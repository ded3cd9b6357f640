"""Rejections of the ids and the order of tool calls and results, by Mistral and by servers with its templates; and of a
last message of the model, by models that cannot continue it.

Conversations of other models have ids of other lengths (langchain-ai/langchain#24668, anomalyco/opencode#1680). Claude
Code adds messages of the user to tool results (NousResearch/hermes-agent#20154, aliou/pi-neuralwatt#12). After an
interruption, Codex and OpenCode send a last message of the model; Codex then fails at every prompt
(router-for-me/CLIProxyAPI#5319, anomalyco/opencode#29760, ggml-org/llama.cpp#20861, crewAIInc/crewAI#2194).
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from providers.errors.changed_items import change_items
from providers.errors.words import Words

IDS: Final = Words.of(r"Tool call id was [\w.:\-]{1,200} but must be a-z, A-Z, 0-9, with a length of 9")
ORDER: Final = Words.of(r"Unexpected role '?user'? after role '?tool'?")
LAST: Final = Words.of(
    # Anthropic, also at Bedrock
    r"This model does not support assistant message prefill(?:\. The conversation must end with a user message)?"
    # llama.cpp
    r"|Assistant response prefill is incompatible with enable_thinking"
    # Mistral
    r"|Expected last role User or Tool \(or Assistant with prefix True\) for serving but got assistant",
    r"(?:The model returned the following errors: )?",
)

LISTS: Final = ("messages", "input")
"""The members of a request with its conversation."""

_LENGTH: Final = 9
_VALID: Final = re.compile(rf"[a-zA-Z0-9]{{{_LENGTH}}}")
_CONTINUE: Final = "Continue exactly where your last message ends, without repeating it."
_BRIDGE: Final = {"role": "assistant", "content": "I have read the results."}


def shorten_ids(body: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the changed messages of a Chat ``body``, with valid ids of calls and results; ``{}`` if all are valid."""
    return change_items(body, "messages", _with_short_ids)


def _with_short_ids(message: Any) -> Any:
    if not isinstance(message, dict):
        return message
    found = dict(message)
    if isinstance(id := found.get("tool_call_id"), str):
        found["tool_call_id"] = _short_id(id)
    if isinstance(calls := found.get("tool_calls"), list):
        found["tool_calls"] = [
            {**call, "id": _short_id(call["id"])}
            if isinstance(call, dict) and isinstance(call.get("id"), str)
            else call
            for call in calls
        ]
    return found


def _short_id(id: str) -> str:
    if _VALID.fullmatch(id):
        return id
    return hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:_LENGTH]


def separate_results(body: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the changed messages of a Chat ``body``, with a message of the model between the results of tools and a
    message of the user; ``{}`` if nothing changes."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return {}
    changed: list[Any] = []
    for message in messages:
        if _has_role(message, "user") and changed and _has_role(changed[-1], "tool"):
            changed.append(_BRIDGE)
        changed.append(message)
    return {"messages": changed} if len(changed) != len(messages) else {}


def _has_role(message: Any, role: str) -> bool:
    return isinstance(message, dict) and message.get("role") == role


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
