"""The texts in a provider's bytes that its reader does not report, such as members that are new."""

from collections.abc import Iterable
from typing import Any, Final

from streams.events import Event
from streams.surrogates import NOT_JSON, any_json

_NO_TEXT: Final = frozenset((
    "id", "object", "type", "model", "modelVersion", "role", "finish_reason", "finishReason", "stop_reason",
    "stopReason", "system_fingerprint", "service_tier", "serviceTier", "status", "item_id", "call_id", "responseId",
    "response_id", "encrypted_content", "signature", "thoughtSignature", "redactedContent", "data", "name", "p",
    "obfuscation", "bytes", "token", "top_logprobs", "trafficType", "modality", "createTime", "provider", "effort",
    "truncation", "tool_choice", "previous_response_id", "prompt_cache_key", "safety_identifier", "container",
))  # fmt: skip
"""Members without text: names, ids, words of a list, seals and data."""

_OF_THE_REQUEST: Final = frozenset(("instructions", "tools", "metadata", "text", "reasoning", "prompt", "user"))
"""Members of a Responses object that repeat the request."""


_MARKS: Final = (b"[DONE]", b"")
"""Data of events that is no JSON and no text."""


def residual_texts(api: str, data: bytes, events: Iterable[Event]) -> list[str]:
    """Return the strings in ``data``, an event or a complete response, that are not in ``events``, its events."""
    try:
        value = any_json(data)
    except NOT_JSON:
        return [] if data in _MARKS else [data.decode(errors="replace")]
    known = "\0".join(text for event in events if (text := getattr(event, "text", None)) is not None)
    found: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, str):
            if value and value not in known:
                found.append(value)
        elif isinstance(value, list):
            for one in value:
                walk(one)
        elif isinstance(value, dict):
            is_response = value.get("object") == "response"
            for key, one in value.items():
                if key in _NO_TEXT or (is_response and key in _OF_THE_REQUEST):
                    continue
                walk(one)

    walk(value)
    return found
