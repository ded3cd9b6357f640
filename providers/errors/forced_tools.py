"""Rejections of a forced tool call while the model thinks, by models that think unless the request forbids it.

DeepSeek V4, Kimi and Qwen reject ``tool_choice: required`` and a named tool then (deepseek-ai/DeepSeek-V3#1376,
can1357/oh-my-pi#1077, cloudwego/eino#994). Each has a member that turns thinking off.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

CHOICE: Final = "tool_choice"
EFFORT: Final = "reasoning_effort"

_UNFORCED: Final = ("auto", "none")

DEEPSEEK_OR_KIMI: Final = re.compile(
    r"Thinking mode does not support this tool_choice"
    r"|tool_choice '?(?:specified|required)'? is incompatible with thinking enabled"
)
QWEN: Final = re.compile(r"The tool_choice parameter does not support being set to required or object in thinking mode")
_PREFIX: Final = r"(?:<400> InternalError\.Algo\.InvalidParameter: )?"


def is_in(words: re.Pattern[str]) -> Callable[[str], bool]:
    """Return a function that returns whether ``words`` are in a provider's message."""
    return lambda message: words.search(message) is not None


def is_all_of(words: re.Pattern[str]) -> Callable[[str], bool]:
    """Return a function that returns whether a message consists of ``words``, so that it quotes no client."""
    whole = re.compile(rf"{_PREFIX}(?:{words.pattern})\.?")
    return lambda message: whole.fullmatch(message) is not None


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
