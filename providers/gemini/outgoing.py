"""Writer of a ``Request`` as the request for a Gemini provider, with its tools and tool choice.

Source: ``Tool``, ``FunctionDeclaration`` and ``ToolConfig`` of the Gemini API.
"""

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from providers.gemini.history import Contents
from providers.gemini.schemas import reduce_schema
from providers.gemini.settings import generation_config, is_enforced, is_own, own_fields
from providers.gemini.shared_members import GEMINI_TOOLS, gemini_location, gemini_tool
from providers.gemini.spellings import find_member
from providers.neutral import tool_names
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.draft import losses_of
from providers.neutral.fields import Drops, join_path
from providers.neutral.formats import with_format
from providers.neutral.quirks import Quirks
from providers.neutral.request import NO_MARKS, NativeTool, Request, Tool, ToolChoice
from streams.errors import invalid

_MODES: Final[Mapping[str, str]] = {"auto": "AUTO", "none": "NONE", "required": "ANY", "tool": "ANY"}
_WEB_SEARCHES: Final = ("web_search",)
"""Prefixes of the types of other APIs' web searches, which end with a date or the like."""
_IDENTIFYING: Final = ("type", "name")
"""Members that identify a search tool; its other members are settings, which Google's search lacks."""


@attrs.frozen
class GeminiTools:
    """The written ``tools`` and ``toolConfig``; ``functions`` is true if any tool is the client's own."""

    tools: list[dict[str, Any]]
    config: dict[str, Any]
    functions: bool


def write_tools(request: Request, quirks: Quirks, own: Mapping[str, Any], drops: Drops) -> GeminiTools:
    """Return the written tools of ``request``; ``own`` is the ``toolConfig`` of a client of this API."""
    functions = [_write_function(tool, quirks, drops) for tool in request.tools if isinstance(tool, Tool)]
    hosted = _find_hosted_tools(request, drops)
    if functions and hosted and not quirks.mixed_tools:
        # If the functions were dropped instead, the model would write its calls as text (cloudwego/eino-ext#761).
        drops.add(*hosted.values())
        hosted = {}
    natives = {tool.at: tool for tool in request.tools if isinstance(tool, NativeTool)}
    tools = [{name: _declaration(name, natives.get(at), drops)} for name, at in hosted.items()]
    if functions:
        tools.append({"functionDeclarations": functions})
    config = {name: value for name, value in own.items() if name not in _HANDLED}
    mixed = bool(functions and hosted)
    if calling := _write_calling_config(request.tool_choice, functions, mixed, drops):
        config["functionCallingConfig"] = calling
    if mixed and quirks.server_tool_invocations:
        config["includeServerSideToolInvocations"] = True
    elif (requested := own.get("includeServerSideToolInvocations")) is not None and hosted:
        config["includeServerSideToolInvocations"] = requested
    maps = natives.get(hosted.get("googleMaps", ""))
    if maps is not None and (location := gemini_location(maps.item)) is not None:
        config["retrievalConfig"] = location
    if request.parallel_tools is not None and request.parallel_tools.value is False and functions:
        drops.add(request.parallel_tools.at)
    return GeminiTools(tools, config, bool(functions))


_HANDLED: Final = (
    "functionCallingConfig", "function_calling_config", "includeServerSideToolInvocations",
    "include_server_side_tool_invocations",
)  # fmt: skip


def _write_function(tool: Tool, quirks: Quirks, drops: Drops) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    description, schema = tool_names.as_function(tool, drops)
    if description:
        function["description"] = description
    if isinstance(schema, dict) and schema:
        function |= _write_parameters(schema, tool.at, quirks, drops)
    drops.add(*(join_path(tool.at, name) for name in tool.marks or NO_MARKS))
    if tool.strict and not quirks.mixed_tools:  # newer models enforce the schema
        drops.add(join_path(tool.at, "strict"))
    return function


def _write_parameters(schema: Mapping[str, Any], at: str, quirks: Quirks, drops: Drops) -> dict[str, Any]:
    """Return a tool's schema unchanged, or in Google's own form, which requires a property."""
    if quirks.schemas == "json":
        return {"parametersJsonSchema": schema}
    smaller, removed = reduce_schema(schema)
    drops.add(*(join_path(at, name) for name in removed))
    return {"parameters": smaller} if smaller.get("properties") else {}


def _find_hosted_tools(request: Request, drops: Drops) -> dict[str, str]:
    """Return Google's own tools, each with the path in the client's request; other APIs' web searches
    become Google's."""
    found: dict[str, str] = {}
    for tool in request.tools:
        if isinstance(tool, NativeTool):
            if tool.api == "gemini":
                found[tool.kind] = tool.at
            elif tool.api == "interactions" and tool.kind in GEMINI_TOOLS:
                found[GEMINI_TOOLS[tool.kind]] = tool.at
            elif tool.kind.startswith(_WEB_SEARCHES):
                found.setdefault("googleSearch", tool.at)
                drops.add(*(join_path(tool.at, name) for name in tool.item if name not in _IDENTIFYING))
            else:
                drops.add(*tool.dropped_places)
    if (search := request.parameters.get("web_search_options")) is not None:
        found.setdefault("googleSearch", search.at)
        drops.add(*(join_path(search.at, name) for name in search.value))
    return found


def _declaration(name: str, tool: NativeTool | None, drops: Drops) -> Any:
    """Return the settings of Google's tool ``name``, unchanged if the client speaks this API.

    ``tool`` is the client's, ``None`` for the web search of a Chat request."""
    if tool is not None and tool.api == "interactions":
        return gemini_tool(tool.item, tool.at, drops)
    return (tool.item.get(name) if tool is not None and tool.api == "gemini" else None) or {}


def _write_calling_config(
    choice: ToolChoice | None, functions: list[dict[str, Any]], mixed: bool, drops: Drops
) -> dict[str, Any] | None:
    """Return ``functionCallingConfig``.

    With Google's own tools, a model that may choose gets ``VALIDATED``, because ``AUTO`` is not allowed
    (vercel/ai#13920).
    """
    if not functions:
        if choice is not None and choice.mode in ("required", "tool"):
            drops.add(choice.at)  # the tools that it forces were all dropped
        return None
    if choice is None:
        return {"mode": "VALIDATED"} if mixed else None
    names = {function["name"] for function in functions}
    allowed = (choice.name,) if choice.mode == "tool" else choice.allowed
    kept = [name for name in allowed or () if name in names]
    mode = _MODES[choice.mode]
    if allowed is not None and not kept and mode != "NONE":
        drops.add(choice.at)
        mode = "AUTO"
    if mode == "AUTO" and (mixed or kept):  # names are only allowed with ANY and VALIDATED
        mode = "VALIDATED"
    return {"mode": mode} | ({"allowedFunctionNames": kept} if kept and mode != "NONE" else {})


UNCACHED: Final = ("systemInstruction", "tools", "toolConfig")
"""Members that a request with ``cachedContent`` must not have, because the cache contains them."""

_COUNT_FIELDS: Final = ("contents", "systemInstruction", "tools", "toolConfig", "cachedContent")
_MODEL: Final = "models/"


def write_request(request: Request, to: Recipient) -> Outgoing:
    """Return the provider's request. See ``Codec.write_request``."""
    body, drops = _write(request, to)
    return _outgoing(body, drops)


def write_count_request(request: Request, to: Recipient) -> Outgoing:
    """Return a ``countTokens`` request with the prompt only. See ``Codec.write_count``."""
    body, drops = _write(request, to)
    counted = {name: value for name, value in body.items() if name in _COUNT_FIELDS}
    if to.quirks.wrapped_count:
        model = to.model if to.model.startswith(_MODEL) else _MODEL + to.model
        counted = {"generateContentRequest": {"model": model, **counted}}
    return _outgoing(counted, drops)


def check_cached_content(has: Any) -> None:
    """Raise a 400 for a member that is not allowed with ``cachedContent``; ``has(name)`` returns whether it is set."""
    for name in UNCACHED:
        if has(name):
            raise invalid(f"{name} cannot be combined with cachedContent, which already has it: remove it", name)


def _outgoing(body: dict[str, Any], drops: Drops) -> Outgoing:
    return Outgoing(msgspec.json.encode(body), (), losses_of(drops.paths(), "translation"))


def _write(request: Request, to: Recipient) -> tuple[dict[str, Any], Drops]:
    own = own_fields(request)
    drops = Drops(path for path in request.dropped if not is_own(path, request, own))
    config = find_member(request.source, "toolConfig") if request.api == "gemini" else None
    tools = write_tools(request, to.quirks, config or {}, drops)
    enforced = is_enforced(request.format, tools.functions, to.quirks)
    contents = Contents(request, to, drops)
    contents.write(with_format(request, enforced, drops))

    body: dict[str, Any] = {}
    if contents.system:
        body["systemInstruction"] = {"parts": contents.system}
    body["contents"] = contents.contents
    if tools.tools:
        body["tools"] = tools.tools
    if tools.config:
        body["toolConfig"] = tools.config
    if settings := generation_config(request, to.quirks, enforced, drops):
        body["generationConfig"] = settings
    body |= own
    if body.get("cachedContent"):
        check_cached_content(lambda name: name in body)
    drops.remove_members(body, to.quirks.refused_fields)
    return body, drops
