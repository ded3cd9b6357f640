"""Signatures of calls in Chat requests to Gemini 3, which rejects a history without them, or with another model's.

Most programs know no ``extra_content``, or continue a conversation that another model has begun
(NousResearch/hermes-agent#14488, AstrBotDevs/AstrBot#9217, langgenius/dify#29187, TokenRhythm/opensquilla#225).
Google has documented a placeholder.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from providers.errors.words import Words, change_items

MISSING: Final = Words.of(
    r"Function call is missing a thought_signature in functionCall parts",
    after=r"(?:\. This is required for tools to work correctly, and missing thought_signature may lead to degraded "
    r"model performance)?(?:\. Additional data, function call `[\w:.\-]{1,200}` ?, ?position \d{1,6})?"
    r"(?:\. Please refer to https://ai\.google\.dev/[\w/.\-]{1,100} for more details)?\.?",
)

_PLACEHOLDER: Final = "skip_thought_signature_validator"
_EXTRA: Final = "extra_content"
_MAKER: Final = "google"
_SIGNATURE: Final = "thought_signature"


def add_signature(message: Any) -> Any:
    """Return a Chat message, with a placeholder in its first call if its calls have no signature."""
    return _with_calls(message, _sign_first)


def replace_signatures(body: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the changed messages of a Chat ``body``, with placeholders as signatures; ``{}`` if nothing changes."""
    return change_items(body, "messages", lambda message: _with_calls(message, _replace_signatures))


def _with_calls(message: Any, change: Callable[[list[Any]], list[Any]]) -> Any:
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    return {**message, "tool_calls": change(calls)} if isinstance(calls, list) and calls else message


def _sign_first(calls: list[Any]) -> list[Any]:
    if any(_signature_of(call) for call in calls) or not isinstance(calls[0], dict):
        return calls
    return [_sign_call(calls[0]), *calls[1:]]


def _replace_signatures(calls: list[Any]) -> list[Any]:
    return [_sign_call(call) if _signature_of(call) else call for call in calls]


def _signature_of(call: Any) -> Any:
    extra = call.get(_EXTRA) if isinstance(call, dict) else None
    own = extra.get(_MAKER) if isinstance(extra, dict) else None
    return own.get(_SIGNATURE) if isinstance(own, dict) else None


def _sign_call(call: Mapping[str, Any]) -> dict[str, Any]:
    extra = call.get(_EXTRA)
    return {**call, _EXTRA: {**(extra if isinstance(extra, dict) else {}), _MAKER: {_SIGNATURE: _PLACEHOLDER}}}
