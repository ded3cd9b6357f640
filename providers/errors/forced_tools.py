"""Rejections of a forced tool call while the model thinks, by models that think unless the request forbids it.

DeepSeek V4, Kimi and Qwen reject ``tool_choice: required`` and a named tool then (deepseek-ai/DeepSeek-V3#1376,
can1357/oh-my-pi#1077, cloudwego/eino#994). Each has a member that turns thinking off.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from providers.errors.words import Words

CHOICE: Final = "tool_choice"
EFFORT: Final = "reasoning_effort"

_UNFORCED: Final = ("auto", "none")

DEEPSEEK_OR_KIMI: Final = Words.of(
    r"Thinking mode does not support this tool_choice"
    r"|tool_choice '?(?:specified|required)'? is incompatible with thinking enabled"
)
QWEN: Final = Words.of(
    r"The tool_choice parameter does not support being set to required or object in thinking mode",
    r"(?:<400> InternalError\.Algo\.InvalidParameter: )?",
)


def turn_thinking_off(member: str, value: Any) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Return a function that returns the changed members of a body that forces a tool call, ``{}`` for other bodies.

    ``member`` with ``value`` turns thinking off, so that the call stays certain."""

    def change(body: Mapping[str, Any]) -> dict[str, Any]:
        if not _is_forced(body.get(CHOICE)) or body.get(member) == value:
            return {}
        return {member: value, **({EFFORT: None} if EFFORT in body else {})}

    return change


def _is_forced(choice: Any) -> bool:
    kind = choice.get("type") if isinstance(choice, dict) else choice
    return kind is not None and kind not in _UNFORCED
