"""Earlier reasoning, given back to the provider that issued it."""

from collections.abc import Iterable, Mapping
from typing import Any

from providers.chat.parts.target import PartsTarget
from providers.neutral.request import ReasoningPart

USUAL_FIELD = "reasoning_content"
"""The member in which clients get the text of reasoning, and most servers take it back."""

REASONING_FIELDS = (USUAL_FIELD, "reasoning")
"""The members in which servers take back the text of earlier reasoning."""

TYPED_FIELD = "content"
"""Where reasoning stands as a part of its own among the text (Mistral)."""


def write(to: PartsTarget, parts: Iterable[ReasoningPart]) -> dict[str, Any]:
    """The members that give reasoning back; what this provider did not issue is left out
    (anomalyco/opencode#24722, openclaw/openclaw#92201)."""
    members: dict[str, Any] = {}
    for part in parts:
        native = _native(to, part)
        if not native:
            to.drops.add(*part.places)
        for field, value in native.items():
            members[field] = members[field] + value if field in members else value
    return members


def _native(to: PartsTarget, part: ReasoningPart) -> dict[str, Any]:
    """The reasoning in the members of a Chat message; empty where it is not this provider's."""
    if part.seal is not None:
        seal = part.seal
        return native_members(seal.item, part.text) if seal.api == "chat" and to.issuer.made(seal) else {}
    if to.api != "chat" or not isinstance(part.native, dict):
        return {}
    native, field = dict(part.native), to.quirks.reasoning_field
    if "reasoning_details" in native:  # they say all that the text beside them says, which we put there
        native.pop(USUAL_FIELD, None)
    elif USUAL_FIELD in native and field not in native:  # the name that we gave it, not the provider
        native[field] = native.pop(USUAL_FIELD)
    return native


def native_members(item: Any, text: str) -> dict[str, Any]:
    """The members of a message that give ``item`` back, which came out of a seal and is not to be trusted: only what a
    reader of Chat could have put in is taken. Members that are lists come before those that the message has."""
    if not isinstance(item, Mapping):
        return {}
    details, field = item.get("reasoning_details"), item.get("field")
    if isinstance(details, list):
        return {"reasoning_details": details}
    if field == TYPED_FIELD:
        return {TYPED_FIELD: [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}] if text else []}
    return {field: text} if field in REASONING_FIELDS else {}


def complete(messages: Iterable[dict[str, Any]], field: str) -> None:
    """Give every assistant message ``field`` from the first on that has reasoning: DeepSeek refuses the request without
    (anomalyco/opencode#24722, RooCodeInc/Roo-Code#12195)."""
    seen = False
    for message in messages:
        if message["role"] == "assistant":
            has = any(name in message for name in REASONING_FIELDS)
            seen = seen or has
            if seen and not has:
                message[field] = ""
