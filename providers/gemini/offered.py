"""Tools of a client's request, and which of them the model may call, read."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from providers.gemini.declared import json_schema
from providers.gemini.spellings import GeminiFields
from providers.neutral.fields import Drops
from providers.neutral.request import NativeTool, Tool, ToolChoice
from streams.errors import invalid

_FUNCTIONS: Final = ("functionDeclarations", "function_declarations")
_MODES: Final[Mapping[str, Literal["auto", "none", "required"]]] = {
    "AUTO": "auto", "VALIDATED": "auto", "NONE": "none", "ANY": "required",
}  # fmt: skip
"""``VALIDATED`` is ``AUTO`` whose calls keep to their schemas."""


def read_tools(fields: GeminiFields, drops: Drops) -> tuple[Tool | NativeTool, ...]:
    """The functions of all elements of ``tools``, and each of Google's own tools."""
    return tuple(tool for group in fields.each("tools") for tool in _group(group, drops))


def _group(group: GeminiFields, drops: Drops) -> Iterator[Tool | NativeTool]:
    for declaration in group.each("functionDeclarations"):
        yield _function(declaration, drops)
    for name, value in group.data.items():
        if name not in _FUNCTIONS and value is not None:
            yield NativeTool("gemini", name, {name: value}, f"{group.at}.{name}")


def _function(declaration: GeminiFields, drops: Drops) -> Tool:
    """A function. ``parametersJsonSchema`` is JSON Schema, ``parameters`` Google's part of OpenAPI."""
    given, native = declaration.any("parameters"), declaration.any("parametersJsonSchema")
    schema = native if native is not None else json_schema(given)
    tool = Tool(
        declaration.need("name", str), declaration.string("description"), schema, at=declaration.at
    )  # fmt: skip
    drops.rest(declaration)
    return tool


def read_choice(fields: GeminiFields, drops: Drops) -> ToolChoice | None:
    """``toolConfig.functionCallingConfig``."""
    config = fields.object("toolConfig")
    if config is None:
        return None
    calling = config.object("functionCallingConfig")
    config.ignore("includeServerSideToolInvocations", "include_server_side_tool_invocations")
    drops.rest(config)
    if calling is None:
        return None
    choice = _choice(calling)
    drops.rest(calling)
    return choice


def _choice(calling: GeminiFields) -> ToolChoice | None:
    word, names = calling.word("mode") or "MODE_UNSPECIFIED", _names(calling.array("allowedFunctionNames"))
    if word == "MODE_UNSPECIFIED":
        return None
    mode = _MODES.get(word)
    if mode is None:
        at = calling.path("mode")
        raise invalid(f'{at} must be AUTO, ANY, NONE or VALIDATED, not "{word[:40]}"', at)
    if mode == "none" or not names:
        return ToolChoice(mode, at=calling.at)
    if mode == "required" and len(names) == 1:
        return ToolChoice("tool", names[0], at=calling.at)
    return ToolChoice(mode, allowed=names, at=calling.at)


def _names(values: list[Any] | None) -> tuple[str, ...]:
    return tuple(name for name in values or () if isinstance(name, str))
