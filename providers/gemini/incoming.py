"""Reader of a Gemini client's request into a ``Request``: settings, tools and tool choice.

``contents`` reads its turns. Source: the API's reference, the types of the google-genai package, and requests of Gemini
CLI.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from providers.gemini.contents import read_contents, read_instruction
from providers.gemini.schemas import json_schema
from providers.gemini.shared_members import TIERS
from providers.gemini.spellings import GeminiFields, spelling_in
from providers.neutral.fields import Drops
from providers.neutral.parameters import ROWS, read_parameters
from providers.neutral.request import Format, NativeTool, Parameter, Reasoning, Request, Tool, ToolChoice
from streams.errors import invalid

_FUNCTIONS: Final = ("functionDeclarations", "function_declarations")
_MODES: Final[Mapping[str, Literal["auto", "none", "required"]]] = {
    "AUTO": "auto", "VALIDATED": "auto", "NONE": "none", "ANY": "required",
}  # fmt: skip
"""``VALIDATED`` is ``AUTO`` with calls that match their schemas."""


def read_tools(fields: GeminiFields, drops: Drops) -> tuple[Tool | NativeTool, ...]:
    """Return the functions of all elements of ``tools``, and each of Google's own tools."""
    return tuple(tool for group in fields.elements("tools") for tool in _read_group(group, drops))


def _read_group(group: GeminiFields, drops: Drops) -> Iterator[Tool | NativeTool]:
    for declaration in group.elements("functionDeclarations"):
        yield _read_function(declaration, drops)
    for name, value in group.data.items():
        if name not in _FUNCTIONS and value is not None:
            yield NativeTool("gemini", name, {name: value}, f"{group.at}.{name}")


def _read_function(declaration: GeminiFields, drops: Drops) -> Tool:
    """Return a function. ``parametersJsonSchema`` is JSON Schema, ``parameters`` is Google's subset of OpenAPI."""
    openapi_schema, native = declaration.value("parameters"), declaration.value("parametersJsonSchema")
    schema = native if native is not None else json_schema(openapi_schema)
    tool = Tool(
        declaration.need("name", str), declaration.string("description"), schema, at=declaration.at
    )  # fmt: skip
    drops.add_unread(declaration)
    return tool


def read_choice(fields: GeminiFields, drops: Drops) -> ToolChoice | None:
    """Return the tool choice in ``toolConfig.functionCallingConfig``."""
    config = fields.object("toolConfig")
    if config is None:
        return None
    calling = config.object("functionCallingConfig")
    config.ignore("includeServerSideToolInvocations", "include_server_side_tool_invocations")
    drops.add_unread(config)
    if calling is None:
        return None
    choice = _read_tool_choice(calling)
    drops.add_unread(calling)
    return choice


def _read_tool_choice(calling: GeminiFields) -> ToolChoice | None:
    word, listed = calling.word("mode") or "MODE_UNSPECIFIED", calling.array("allowedFunctionNames")
    if word == "MODE_UNSPECIFIED":
        return None
    names = tuple(name for name in listed or () if isinstance(name, str))
    mode = _MODES.get(word)
    if mode is None:
        at = calling.path("mode")
        raise invalid(f'{at} must be AUTO, ANY, NONE or VALIDATED, not "{word[:40]}"', at)
    if mode == "none" or not names:
        return ToolChoice(mode, at=calling.at)
    if mode == "required" and len(names) == 1:
        return ToolChoice("tool", names[0], at=calling.at)
    return ToolChoice(mode, allowed=names, at=calling.at)


_COUNTS: Final = frozenset(row.gemini for row in ROWS if row.gemini and row.kind is int)
_UNSPECIFIED: Final = ("THINKING_LEVEL_UNSPECIFIED",)
_DYNAMIC: Final = -1
"""The budget that leaves the choice to the model."""

_TEXT: Final = "text/plain"
_REFUSED: Final[Mapping[str, str]] = {
    "cachedContent": "send the whole content",
    "continuationToken": "send the conversation with the answer so far",
}
"""Members that a request must not lose, with the advice of the 400."""


def read_request(body: Mapping[str, Any]) -> Request:
    """Return the client's request. See ``Codec.read_request``.

    Raises a 400 for members that only Google supports, and without which the answer would be another one.
    """
    fields = GeminiFields(body)
    for name, advice in _REFUSED.items():
        if fields.value(name) is not None:
            at = fields.path(name)
            raise invalid(f"{at} is not supported by this model's provider: {advice}", at)
    return _read_body(body)


def read_count_request(body: Mapping[str, Any]) -> Request:
    """Return the request to count, which is the body or its ``generateContentRequest``. See ``Codec.read_count``."""
    inner = body.get(spelling_in(body, "generateContentRequest"))
    return _read_body(inner if isinstance(inner, Mapping) else body)


def _read_body(body: Mapping[str, Any]) -> Request:
    fields, drops = GeminiFields(body), Drops()
    messages = (*read_instruction(fields, drops), *read_contents(fields, drops))
    tools, choice = read_tools(fields, drops), read_choice(fields, drops)
    config = GeminiFields.of(fields.value("generationConfig") or {}, fields.path("generationConfig"))
    reasoning, format = _read_reasoning(config, drops), _read_format(config, drops)
    parameters = _read_parameters(config) | _read_tier(fields)
    drops.add_unread(config)
    fields.ignore("model")  # the path contains it
    drops.add_unread(fields)
    return Request(
        "gemini", "", messages, tools=tools, tool_choice=choice, reasoning=reasoning, format=format,
        parameters=parameters, source=body, dropped=drops.paths(),
    )  # fmt: skip


def _read_parameters(config: GeminiFields) -> dict[str, Parameter]:
    """Return the settings.

    Programs send 40 as 40.0 (``topK`` is a number in google-genai), and 64-bit integers as strings.
    """
    for member in _COUNTS:
        name = spelling_in(config.data, member)
        value = config.data.get(name)
        if (isinstance(value, float) and value.is_integer()) or (isinstance(value, str) and value.isdecimal()):
            config.data = {**config.data, name: int(value)}
    return read_parameters(config, "gemini")


def _read_tier(fields: GeminiFields) -> dict[str, Parameter]:
    """Return the service tier by its neutral name. An unknown one stays unread, so that it is reported."""
    name = spelling_in(fields.data, "serviceTier")
    value = fields.data.get(name)
    if not isinstance(value, str) or (word := TIERS.get(value.lower())) is None:
        return {}
    fields.ignore(name)
    return {"service_tier": Parameter(word, name)}


def _read_reasoning(config: GeminiFields, drops: Drops) -> Reasoning | None:
    thinking = config.object("thinkingConfig")
    if thinking is None:
        return None
    budget, level = thinking.integer("thinkingBudget"), thinking.word("thinkingLevel")
    summary = Parameter("auto", thinking.path("includeThoughts")) if thinking.boolean("includeThoughts") else None
    drops.add_unread(thinking)
    if level is not None and level not in _UNSPECIFIED:
        return Reasoning("enabled", level.lower(), summary=summary, at=thinking.at)
    if budget is None or budget == _DYNAMIC:
        if summary is None and budget is None:
            return None
        return Reasoning("adaptive", summary=summary, at=thinking.at)
    if budget == 0:
        return Reasoning("disabled", at=thinking.at)
    return Reasoning("enabled", budget=budget, summary=summary, at=thinking.at)


def _read_format(config: GeminiFields, drops: Drops) -> Format | None:
    kind = (config.string("responseMimeType") or _TEXT).lower()
    native = config.value("responseJsonSchema")
    schema, at = config.value("responseSchema"), config.path("responseSchema")
    if native is not None:
        schema, at = native, config.path("responseJsonSchema")
    else:
        schema = json_schema(schema)
    if kind == _TEXT and schema is None:
        return None
    if kind not in (_TEXT, "application/json"):  # text/x.enum: the schema lists the words
        drops.add(config.path("responseMimeType"))
    if schema is None:
        return Format("json_object", at=config.path("responseMimeType")) if kind == "application/json" else None
    return Format("json_schema", schema=schema, at=at)
