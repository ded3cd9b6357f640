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


class _Wrapped(msgspec.Struct):
    """A function's arguments, nothing else of them decoded. ``patch`` is what models make of apply_patch unasked."""

    input: msgspec.Raw = msgspec.Raw()
    patch: msgspec.Raw = msgspec.Raw()


def wrapped(text: str) -> str:
    """Return the free text of a custom call as the arguments of a function."""
    return msgspec.json.encode({"input": text}).decode()


def unwrapped(arguments: str) -> str:
    """Return the free text in a function's arguments; models also leave the wrapping out or name it otherwise."""
    try:
        value = msgspec.json.decode(arguments, type=_Wrapped | str)
        if isinstance(value, str):
            return value
        return msgspec.json.decode(value.input if len(value.input) else value.patch, type=str)
    except NOT_JSON:
        return arguments


def description(tool: Tool, drops: Drops) -> str | None:
    """Return the function's description. A grammar is put in words: nothing enforces it, so it is reported too."""
    format = tool.format
    if not isinstance(format, dict) or format.get("type") != "grammar":
        return tool.description
    drops.add(join(tool.at, "format"))
    rule = f"The input must follow this {format.get('syntax')} grammar:\n{format.get('definition')}"
    return f"{tool.description or ''}\n\n{rule}".strip()


def as_function(tool: Tool, drops: Drops) -> tuple[str | None, Any]:
    """Return the description and the schema with which ``tool`` goes out as a function."""
    return (description(tool, drops), SCHEMA) if tool.kind == "custom" else (tool.description, tool.schema)


def object_schema(schema: Any) -> Any:
    """Return ``schema`` for APIs that want the schema of an object, which has a type."""
    if not isinstance(schema, dict):
        return {"type": "object", "properties": {}}
    return schema if "type" in schema else {"type": "object", **schema}
