"""Rejections of settings for thinking, by models without thinking or with another form of it, and of a forced tool call
while the model thinks.

Claude Code and Codex send such settings to every model (Gitlawb/openclaude#1371, anthropics/claude-code#68551).
DeepSeek V4, Kimi and Qwen reject ``tool_choice: required`` and a named tool while they think, which they do unless the
request forbids it (deepseek-ai/DeepSeek-V3#1376, can1357/oh-my-pi#1077, cloudwego/eino#994). Each has a member that
turns thinking off.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from providers.errors.words import Words

_FLAT: Final = ("thinking", "reasoning", "reasoning_effort")
_NESTED: Final[Mapping[str, str]] = {"output_config": "effort", "generationConfig": "thinkingConfig"}
MEMBERS: Final = (*_FLAT, *_NESTED)

UNSUPPORTED: Final = Words.of(
    # Ollama (ollama/ollama#12561)
    r"\"[\w.:/\-]{1,200}\" does not support thinking"
    r"|think value \"\w{1,20}\" is not supported for this model"
    # Anthropic (agentforce314/clawcodex#699, ex-machina-co/opencode-anthropic-auth#160), Qwen's Messages
    # (anthropics/claude-code#29531)
    r"|adaptive thinking is not supported on this model"
    r"|\"thinking\.type\.disabled\" is not supported for this model"
    r"|Only 'enabled' and 'disabled' are supported for thinking; 'adaptive' is not supported"
    # Groq (earendil-works/pi#1745)
    r"|[`']?reasoning_effort[`']? must be one of [`']?none[`']? or [`']?default[`']?"
    r"|[`']?reasoning_effort[`']? is not supported with this model"
    # Gemini (lobehub/lobehub#7985, RooCodeInc/Roo-Code#10700, googleapis/js-genai#681)
    r"|Thinking is not enabled for models/[\w.\-]{1,200}"
    r"|[Tt]hinking(?:[_ ]\w{1,20})? is not supported (?:by|for) this model"
    r"|thinking_config is not supported"
    r"|Thinking_config\.include_thoughts is only enabled when thinking is enabled",
    r"(?:Unable to submit request because )?",
    r"(?:\.{0,2} Learn more: https://[\w./\-]{1,200})?"
    r"(?:\. Thinking defaults to adaptive mode when not specified; use [\w\"., ]{1,100} for extended thinking)?\.?",
)
UNSUPPORTED_EFFORT: Final = Words.of(r"This model does not support the effort parameter")  # Oaklight/llm-rosetta#289
DISABLED: Final = Words.of(  # DeepSeek (anthropics/claude-code#65863, lobehub/lobehub#14173)
    r"thinking options type cannot be disabled when reasoning_effort is set"
)
ADAPTIVE: Final = Words.of(  # handochan/aelix-ai#258
    r"\"thinking\.type\.enabled\" is not supported for this model\. Use \"thinking\.type\.adaptive\"",
    after=r"(?: and \"output_config\.effort\" to control thinking behavior)?\.?",
)

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


def omit_thinking(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changed members of ``body`` without settings for thinking, ``{}`` for a body without any."""
    return {name: None for name in _FLAT if body.get(name) is not None} | _omit_nested(body, _NESTED)


def omit_effort(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changed member of a Messages ``body`` without an effort, ``{}`` for a body without it."""
    return _omit_nested(body, ("output_config",))


def omit_unused_effort(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changed members of a Chat or Messages ``body`` that disables thinking, without an effort; ``{}`` for
    other bodies."""
    thinking = body.get("thinking")
    if not isinstance(thinking, dict) or thinking.get("type") != "disabled":
        return {}
    return {name: None for name in ("reasoning_effort",) if body.get(name) is not None} | omit_effort(body)


def think_adaptively(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changed member of a Messages ``body`` that enables thinking with a budget, ``{}`` for other bodies."""
    thinking = body.get("thinking")
    if not isinstance(thinking, dict) or thinking.get("type") != "enabled":
        return {}
    kept = {name: value for name, value in thinking.items() if name not in ("type", "budget_tokens")}
    return {"thinking": {"type": "adaptive", **kept}}


def _omit_nested(body: Mapping[str, Any], holders: Iterable[str]) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for holder in holders:
        members = body.get(holder)
        if isinstance(members, dict) and _NESTED[holder] in members:
            changed[holder] = {name: value for name, value in members.items() if name != _NESTED[holder]} or None
    return changed


def place_of(name: str) -> str:
    """Return the path of the omitted setting in the member ``name``."""
    return f"{name}.{_NESTED[name]}" if name in _NESTED else name


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
