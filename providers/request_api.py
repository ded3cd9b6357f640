"""The API of a captured request body, for commands that read files of bodies without their paths."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from providers.catalog.providers import maker
from providers.neutral.api_members import other_members
from streams.events import Api

_OF_CONVERSE: Final = frozenset(("inferenceConfig", "toolConfig", "additionalModelRequestFields", "modelId"))
_OF_INTERACTIONS: Final = frozenset(
    ("agent", "generation_config", "previous_interaction_id", "response_modalities", "system_instruction")
)
"""Members of Interactions that Responses lacks."""
_OF_MESSAGES: Final = frozenset(("system", "anthropic_version", "stop_sequences", "mcp_servers", "context_management"))
_OF_CHAT: Final = frozenset(other_members("chat")).difference(other_members("messages"))
"""Members of Chat that Messages lacks."""
_BLOCKS: Final = frozenset(("tool_use", "tool_result", "thinking", "redacted_thinking", "document", "image"))
_ROLES: Final = ("user", "assistant")
_OF_RESPONSES: Final = ("output", "outputs", "steps")
"""Members of responses, in APIs whose responses may repeat the ``input``."""


def possible_apis(body: Mapping[str, Any]) -> tuple[Api, ...]:
    """Return the APIs whose requests may have this decoded ``body``, the most likely one first.

    It is empty for a response and for the request of another endpoint. Chat and Messages share their simplest bodies:
    one with ``max_tokens``, which Messages requires, counts as Messages unless another company made its model."""
    if "contents" in body:
        return ("gemini",)
    if isinstance(messages := body.get("messages"), list):
        return _apis_of_messages(body, [one for one in messages if isinstance(one, dict)])
    if "input" not in body or any(name in body for name in _OF_RESPONSES):
        return ()
    items = body["input"]
    first = items[0] if isinstance(items, list) and items else items
    is_step = isinstance(first, dict) and "role" not in first and first.get("type") in ("user_input", "text")
    return ("interactions",) if is_step or _OF_INTERACTIONS & body.keys() else ("responses", "interactions")


def _apis_of_messages(body: Mapping[str, Any], messages: list[dict[str, Any]]) -> tuple[Api, ...]:
    parts = [*_parts(messages)]
    listed = body.get("tools")
    tools = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    if _OF_CONVERSE & body.keys() or (parts and not any("type" in part for part in parts)):
        return ("converse",)
    kinds = {str(part.get("type")) for part in parts}
    if _OF_MESSAGES & body.keys() or _BLOCKS & kinds or any("input_schema" in tool for tool in tools):
        return ("messages",)
    is_chat = _OF_CHAT & body.keys() or "image_url" in kinds or any("function" in tool for tool in tools)
    if is_chat or any(one.get("role") not in _ROLES for one in messages) or "max_tokens" not in body:
        return ("chat",)
    made_by = maker(model) if isinstance(model := body.get("model"), str) else None
    return ("messages", "chat") if made_by is None or made_by.id == "anthropic" else ("chat", "messages")


def _parts(messages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for message in messages:
        content = message.get("content")
        yield from (part for part in content if isinstance(part, dict)) if isinstance(content, list) else ()
