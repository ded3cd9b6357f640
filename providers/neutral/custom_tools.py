"""Custom tools (free text in place of JSON) for APIs that have none: a function with one text stands for each.

The model writes ``{"input": …}``, the client gets the bare text back, and history goes the same way (Codex refuses a
function call for ``apply_patch``: router-for-me/CLIProxyAPI#5753, BerriAI/litellm#31571).
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from providers.neutral.fields import Drops, join
from providers.neutral.request import Tool
from streams.surrogates import NOT_JSON

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}
"""The parameters of a function that stands for a custom tool."""

_WRAPPERS = ("input", "patch")  # the second is what models make of apply_patch unasked


def wrapped(text: str) -> str:
    """The free text of a custom call as the arguments of a function."""
    return msgspec.json.encode({"input": text}).decode()


def unwrapped(arguments: str) -> str:
    """The free text in a function's arguments; models also leave the wrapping out or name it otherwise."""
    try:
        value = msgspec.json.decode(arguments)
    except NOT_JSON:
        return arguments
    if isinstance(value, dict):
        value = next((value[name] for name in _WRAPPERS if name in value), None)
    return value if isinstance(value, str) else arguments


def description(tool: Tool, drops: Drops) -> str | None:
    """The function's description. A grammar is put in words: nothing enforces it, so it is reported too."""
    format = tool.format
    if not isinstance(format, dict) or format.get("type") != "grammar":
        return tool.description
    drops.add(join(tool.at, "format"))
    rule = f"The input must follow this {format.get('syntax')} grammar:\n{format.get('definition')}"
    return f"{tool.description or ''}\n\n{rule}".strip()
