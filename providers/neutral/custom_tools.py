"""Custom tools (free text instead of JSON) for APIs without them: functions with one text.

The model writes ``{"input": …}``, and the client gets the text. History is converted in the same way, because Codex
refuses function calls for ``apply_patch`` (router-for-me/CLIProxyAPI#5753, BerriAI/litellm#31571).
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from providers.neutral.fields import Drops, join_path
from providers.neutral.request import Tool
from streams.surrogates import NOT_JSON

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}
"""The parameters of a function for a custom tool."""


class _Wrapped(msgspec.Struct):
    """A function's arguments, with the member ``patch`` that models use for apply_patch."""

    input: msgspec.Raw = msgspec.Raw()
    patch: msgspec.Raw = msgspec.Raw()


def wrap_text(text: str) -> str:
    """Wrap the free text of a custom call as a function's arguments."""
    return msgspec.json.encode({"input": text}).decode()


def unwrap_text(arguments: str) -> str:
    """Return the free text in a function's arguments, also unwrapped or under another name."""
    try:
        value = msgspec.json.decode(arguments, type=_Wrapped | str)
        if isinstance(value, str):
            return value
        return msgspec.json.decode(value.input if len(value.input) else value.patch, type=str)
    except NOT_JSON:
        return arguments


def function_description(tool: Tool, drops: Drops) -> str | None:
    """Return the function's description, with the grammar in words.

    Nothing enforces the grammar, so that it is reported as lost.
    """
    format = tool.format
    if not isinstance(format, dict) or format.get("type") != "grammar":
        return tool.description
    drops.add(join_path(tool.at, "format"))
    rule = f"The input must follow this {format.get('syntax')} grammar:\n{format.get('definition')}"
    return f"{tool.description or ''}\n\n{rule}".strip()


def as_function(tool: Tool, drops: Drops) -> tuple[str | None, Any]:
    """Return the description and schema of ``tool`` as a function."""
    return (function_description(tool, drops), SCHEMA) if tool.kind == "custom" else (tool.description, tool.schema)
