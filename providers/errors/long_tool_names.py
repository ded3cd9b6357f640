"""Rejections of tools' names that are too long or have other characters than the server permits.

MCP clients put the names of plugins and servers before a tool's own, and permit 128 characters like Anthropic. Other
servers permit 64, and reject the whole request (openai/codex#46188, aws/aws-sdk-js-v3#7287, QwenLM/Qwen3-VL#2069).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from providers.errors.words import Words
from providers.neutral.tool_names import DEFINITIONS, STRICT, short_name

_PLACE: Final = r"(?:tools|functions|messages|input)[\w.\[\]]{0,200}\.(?:tool_)?name"
_BEDROCK: Final = (
    r"Value '[^'\n]{1,300}' at 'toolConfig\.tools\.\d{1,5}\.member\.toolSpec\.name' failed to satisfy constraint: "
    r"Member must have length less than or equal to \d{1,4}"
)
_GOOGLE: Final = (
    r"\* (?:GenerateContentRequest\.)?tools\[\d{1,5}\]\.function_declarations\[\d{1,5}\]\.name: (?:\[FIELD_INVALID\] )?"
    r"Invalid function name\. Must start with a letter or an underscore\. Must be [\w (),.:\-]{1,200} with a maximum "
    r"length of \d{1,4}\."
)
WORDS: Final = Words.of(
    # OpenAI (openai/codex#1289), DeepSeek (mrexodia/ida-pro-mcp#129)
    rf"Invalid '{_PLACE}': string (?:too long\. Expected a string with maximum length \d{{1,4}}, but got a string with "
    r"length \d{1,6} instead|does not match pattern\. Expected a string that matches the pattern '[^'\n]{1,100}')"
    # Anthropic (anthropics/claude-code#96152, anthropics/claude-code#16425), also at Amazon and Google
    rf"|{_PLACE}: String should (?:have at most \d{{1,4}} characters|match pattern '[^'\n]{{1,100}}')"
    # Amazon (awslabs/agent-plugins#131)
    rf"|(?:\d{{1,5}} validation errors? detected:\s+)?{_BEDROCK}(?:;\s+{_BEDROCK}){{0,500}}"
    # Google (google-gemini/gemini-cli#7869)
    rf"|(?:The GenerateContentRequest proto is invalid:\s+)?{_GOOGLE}(?:\s+{_GOOGLE}){{0,500}}"
    # Alibaba (QwenLM/Qwen3-VL#2069)
    r"|The length of the tool name cannot exceed \d{1,4}"
    # Meta (can1357/oh-my-pi#9131)
    r"|[`']{1,2}name[`']{1,2} must be at most \d{1,4} characters, got \d{1,6}"
    # Mistral and NVIDIA (decolua/9router#2840, Alishahryar1/free-claude-code#1307, openmake/openmake_llm#769)
    r"|Function name was \S{1,300} but must be a-z, A-Z, 0-9, or contain underscores and dashes, with a maximum length "
    r"of \d{1,4}"
    r"|(?:Validation: )?Function name at index \d{1,5} exceeds \d{1,4} character limit"
    r"|(?:Validation: )?Function at index \d{1,5} has an invalid name",
    before=r"(?:<400> InternalError\.Algo\.InvalidParameter: )?",
    after=r"\.?\s*",
)

MEMBERS: Final = (*DEFINITIONS, "messages", "input", "contents", "tool_choice", "function_call")
"""The members with names of tools, in all APIs."""

_NAMES: Final = ("name", "tool_name")
_LISTS: Final = ("allowedFunctionNames", "allowed_function_names")
_CALLS: Final = ("arguments", "input", "args")
"""The members of a call of a tool, next to its name."""
_FOREIGN: Final = frozenset(
    (*_CALLS, "parameters", "parametersJsonSchema", "input_schema", "inputSchema", "response", "output")
)
"""Members whose values may have a name of something else."""


def own_names(members: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of tools and calls in a request's ``members`` that ``STRICT`` refuses, by their substitutes."""
    found = {name for key, value in members.items() for name in _find_names(value, is_definition=key in DEFINITIONS)}
    return {short: name for name in sorted(found) if (short := short_name(name, STRICT)) != name}


def shorten(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changed members of a ``body`` in any API, with valid names of tools; ``{}`` if all are valid."""
    members = {name: body[name] for name in MEMBERS if name in body}
    if not (names := own_names(members)):
        return {}
    shorts = {name: short for short, name in names.items()}
    changed = {key: _rename(value, shorts) for key, value in members.items()}
    return {key: value for key, value in changed.items() if value != members[key]}


def _find_names(value: Any, *, is_definition: bool) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _find_names(item, is_definition=is_definition)
    elif isinstance(value, dict):
        if isinstance(name := value.get("name"), str) and (is_definition or any(one in value for one in _CALLS)):
            yield name
        for key, inner in value.items():
            if key not in _FOREIGN and isinstance(inner, list | dict):
                yield from _find_names(inner, is_definition=is_definition)


def _rename(value: Any, shorts: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_rename(item, shorts) for item in value]
    return {key: _rename_in(key, inner, shorts) for key, inner in value.items()} if isinstance(value, dict) else value


def _rename_in(key: str, value: Any, shorts: Mapping[str, str]) -> Any:
    if key in _NAMES:
        return shorts.get(value, value) if isinstance(value, str) else _rename(value, shorts)
    if key in _LISTS and isinstance(value, list):
        return [shorts.get(one, one) if isinstance(one, str) else one for one in value]
    return value if key in _FOREIGN else _rename(value, shorts)
