"""The tools that a request to a Responses provider offers, and which of them to call."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from providers.catalog.strict import provider_strict
from providers.neutral.fields import Drops
from providers.neutral.request import NativeTool, Request, Tool, ToolChoice
from streams.events import ToolKind

Object: TypeAlias = dict[str, Any]

NO_SCHEMA: Mapping[str, Any] = {"type": "object", "properties": {}}

# Anthropic's web search, which is the same thing under other names.
WEB_SEARCHES = ("web_search_20250305", "web_search_20260209", "web_search_20260318")


def write_tools(request: Request, body: Object, drops: Drops) -> None:
    """Without tools the members about them are left out: they would be refused."""
    tools = [item for tool in request.tools if (item := _tool(tool, request, drops)) is not None]
    if (options := request.parameters.get("web_search_options")) is not None:
        tools.append(_chat_search(options.value, options.at, drops))
    choice = None
    if request.tool_choice is not None:
        choice = _tool_choice(request.tool_choice, request, tools)
        forces = request.tools and request.tool_choice.mode in ("required", "tool")
        if choice is None and (forces or request.tool_choice.hosted):
            drops.add(request.tool_choice.at)  # what it names went with the tools that are dropped
    if not tools:
        return
    body["tools"] = tools
    if choice is not None:
        body["tool_choice"] = choice
    if request.parallel_tools is not None:
        body["parallel_tool_calls"] = request.parallel_tools.value


def _tool(tool: Tool | NativeTool, request: Request, drops: Drops) -> Object | None:
    if isinstance(tool, NativeTool):
        return _native(tool, drops)
    item: Object = {"type": tool.kind, "name": tool.name}
    if tool.description is not None:
        item["description"] = tool.description
    if tool.kind == "custom":
        if tool.format is not None:
            item["format"] = tool.format
    else:
        item["parameters"] = NO_SCHEMA if tool.schema is None else tool.schema
        if tool.strict is not None or request.api != "responses":
            # Where nothing is said it is false: this API takes silence for true, the others do not.
            item["strict"] = bool(provider_strict(tool, request.api, drops))
    if request.api == "responses":
        return {**item, **tool.marks}
    drops.add(*(f"{tool.at}.{mark}" for mark in tool.marks))
    return item


def _native(tool: NativeTool, drops: Drops) -> Object | None:
    if tool.api == "responses":
        return dict(tool.item)
    if tool.api == "messages" and tool.kind in WEB_SEARCHES:
        return _messages_search(tool, drops)
    drops.add(tool.at)
    return None


def _messages_search(tool: NativeTool, drops: Drops) -> Object:
    rest = {name: value for name, value in tool.item.items() if value is not None and name not in ("type", "name")}
    item: Object = {"type": "web_search"}
    if domains := rest.pop("allowed_domains", None):
        item["filters"] = {"allowed_domains": domains}
    if (place := rest.pop("user_location", None)) is not None:
        item["user_location"] = place
    drops.add(*(f"{tool.at}.{name}" for name in rest))
    return item


def _chat_search(options: Mapping[str, Any], at: str, drops: Drops) -> Object:
    rest = {name: value for name, value in options.items() if value is not None}
    item: Object = {"type": "web_search"}
    if size := rest.pop("search_context_size", None):
        item["search_context_size"] = size
    place = rest.get("user_location")
    if isinstance(place, dict) and isinstance(place.get("approximate"), dict):
        item["user_location"] = {"type": "approximate", **place["approximate"]}  # Chat nests what is flat here
        del rest["user_location"]
    drops.add(*(f"{at}.{name}" for name in rest))
    return item


def _tool_choice(choice: ToolChoice, request: Request, tools: list[Object]) -> str | Object | None:
    """``None`` where it names only tools that are not there."""
    if not tools:
        return None
    kinds: dict[str, ToolKind] = {tool.name: tool.kind for tool in request.tools if isinstance(tool, Tool)}
    hosted = [dict(tool) for tool in choice.hosted]
    if choice.mode == "tool":
        return _forced(choice.name or "", kinds, tools)
    if choice.allowed is None or choice.mode == "none":
        return hosted[0] if hosted else choice.mode
    allowed = [{"type": kinds[name], "name": name} for name in choice.allowed if name in kinds] + hosted
    return {"type": "allowed_tools", "mode": choice.mode, "tools": allowed} if allowed else None


def _forced(name: str, kinds: Mapping[str, ToolKind], tools: list[Object]) -> Object | None:
    if name in kinds:
        return {"type": kinds[name], "name": name}
    if any(tool["type"] == name for tool in tools):  # Anthropic names a server tool as a function is named
        return {"type": "allowed_tools", "mode": "required", "tools": [{"type": name}]}
    return None
