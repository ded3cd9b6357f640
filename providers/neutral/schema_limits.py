"""Schemas without the keywords that Anthropic rejects in structured output and strict tools.

It rejects limits such as ``minimum`` (laravel/ai#715, BerriAI/litellm#20813, #29624) and ``oneOf`` (vercel/ai#12876).
Its SDKs move limits into descriptions, so that the model still reads them.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from providers.neutral.draft import Draft
from providers.neutral.edits import Edit
from providers.neutral.inner_schemas import map_schemas
from providers.neutral.quirks import Quirks
from providers.neutral.request import Request
from streams.surrogates import NOT_JSON

TOOLS: Final = ("tools", "toolConfig")
FORMATS: Final[Mapping[str, tuple[str, ...]]] = {
    "output_config": ("format", "schema"),
    "output_format": ("schema",),
    "outputConfig": ("textFormat", "structure", "jsonSchema", "schema"),
    "response_format": ("json_schema", "schema"),
    "text": ("format", "schema"),
}
"""The members with the schema of an answer in each API, and the schema's path inside."""

_PLACES: Final[Mapping[str, str]] = {
    "tools": "tools[]",
    "toolConfig": "toolConfig.tools[]",
    "output_config": "output_config.format",
    "outputConfig": "outputConfig.textFormat",
    "text": "text.format",
}
"""The places that edits of these members report."""

_LIMITS: Final = frozenset(
    (
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
        "maxItems", "uniqueItems", "minContains", "maxContains", "minProperties", "maxProperties", "discriminator",
    )
)  # fmt: skip
_TEXT_FORMATS: Final = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
)
_COMPLEX_PATTERN: Final = re.compile(r"\(\?[=!<]|\\[bB1-9]")


def describe_limits(schema: Any) -> Any:
    """Return ``schema`` with all limits in descriptions, and alternatives in ``anyOf``."""
    return map_schemas(schema, _describe)


def _describe(schema: dict[str, Any]) -> None:
    limits = {name: value for name, value in schema.items() if _is_limit(name, value)}
    for name in limits:
        del schema[name]
    if "minItems" in limits:
        schema["minItems"] = 1  # the API accepts 0 and 1
    if isinstance(schema.get("oneOf"), list) and "anyOf" not in schema:
        schema["anyOf"] = schema.pop("oneOf")
    if limits:
        own = schema.get("description")
        text = f"Limits (JSON Schema): {msgspec.json.encode(limits).decode()}"
        schema["description"] = f"{own}\n\n{text}" if isinstance(own, str) and own else text


def _is_limit(name: str, value: Any) -> bool:
    match name:
        case "minItems":
            return value not in (0, 1)
        case "format":
            return not isinstance(value, str) or value not in _TEXT_FORMATS
        case "pattern":
            return isinstance(value, str) and _COMPLEX_PATTERN.search(value) is not None
    return name in _LIMITS


def describe_limits_in(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changed members of ``body``: the schema of its answer and those of strict tools."""
    found = {name: _change_at(body[name], path, describe_limits) for name, path in FORMATS.items() if name in body}
    if isinstance(tools := body.get("tools"), list):
        found["tools"] = [_change_tool(tool) for tool in tools]
    if isinstance(config := body.get("toolConfig"), dict) and isinstance(tools := config.get("tools"), list):
        found["toolConfig"] = {**config, "tools": [_change_tool(tool) for tool in tools]}
    return {name: value for name, value in found.items() if value != body[name]}


def _change_at(value: Any, path: tuple[str, ...], change: Callable[[Any], Any]) -> Any:
    if not path:
        return _change_text(value, change) if isinstance(value, str) else change(value)
    if not isinstance(value, dict) or path[0] not in value:
        return value
    return {**value, path[0]: _change_at(value[path[0]], path[1:], change)}


def _change_text(text: str, change: Callable[[Any], Any]) -> str:
    """Return the changed JSON of a schema, Converse's form; other texts unchanged."""
    try:
        schema = msgspec.json.decode(text)
    except NOT_JSON:
        return text
    changed = change(schema)
    return text if changed == schema else msgspec.json.encode(changed).decode()


def _change_tool(tool: Any) -> Any:
    if not isinstance(tool, dict):
        return tool
    holder = next((name for name in ("function", "toolSpec") if isinstance(tool.get(name), dict)), None)
    if holder is not None:
        return {**tool, holder: _change_tool(tool[holder])}
    if tool.get("strict") is not True:
        return tool
    for path in (("input_schema",), ("parameters",), ("inputSchema", "json")):
        tool = _change_at(tool, path, describe_limits)
    return tool


def describe_edit(name: str, _: Any = None) -> Edit:
    """Return the edit of the changed member ``name``."""
    return Edit(f"{_PLACES.get(name, name)}.schema", lost=False, form="=described")


def adapt_schemas(draft: Draft, quirks: Quirks) -> None:
    """Move the limits in a client's own request for a model that rejects them."""
    if quirks.schemas != "without_limits":
        return
    names = [name for name in FORMATS if name in draft]
    if draft.mentions(b'"strict"'):
        names += [name for name in TOOLS if name in draft]
    if names:
        for name, value in describe_limits_in({name: draft.value(name) for name in names}).items():
            draft.put(name, value)
            draft.note(describe_edit(name))


def write_without_limits(body: dict[str, Any], request: Request, quirks: Quirks) -> Iterable[Edit]:
    """Move the limits in ``body``, which is written for a model that rejects them. Return the edits of ``request``."""
    if quirks.schemas != "without_limits":
        return ()
    if request.format is None and not any(getattr(tool, "strict", False) for tool in request.tools):
        return ()
    changes = describe_limits_in(body)
    body |= changes
    at = "" if request.format is None else request.format.at
    return [describe_edit("tools" if name in TOOLS else at) for name in changes]
