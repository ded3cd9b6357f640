"""Writer of a ``Request`` as the request for a Converse provider."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from providers.converse.cache_points import Block, CachePoints
from providers.converse.families import FAMILIES, Family
from providers.converse.history import History
from providers.converse.settings import format_hint, own_fields, write_format, write_settings
from providers.neutral import custom_tools
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.edits import losses_of, raised_limit_edit
from providers.neutral.fields import Drops, join_path
from providers.neutral.formats import add_format_message
from providers.neutral.request import NativeTool, Request, Tool, ToolCallPart, ToolChoice, cache_control

_CALLED_BEFORE: Final[Mapping[str, Any]] = {
    "description": "A tool of the conversation so far, which cannot be called now.",
    "inputSchema": {"json": {"type": "object", "properties": {}}},
}


def tool_config(request: Request, family: Family, to: Recipient, points: CachePoints, drops: Drops) -> Block | None:
    """Return ``toolConfig``, or ``None`` without tools.

    A request without tools is rejected if its history has calls, as in every summary of a conversation
    (langgenius/dify#17545, vxcontrol/pentagi#160, patriceckhart/zot#18); it then declares the called tools.
    """
    choice = request.tool_choice
    parts = (part for message in request.messages for part in message.parts)
    called_tools = tuple(dict.fromkeys(part.name for part in parts if isinstance(part, ToolCallPart)))
    forbidden = choice is not None and choice.mode == "none"
    tools = [] if forbidden and not called_tools else _write_tools(request, family, to, points, drops)
    if forbidden and called_tools and choice is not None:
        drops.add(choice.at)  # the API cannot forbid calls
        choice = None
    if not any("cachePoint" not in tool for tool in tools):
        tools = [{"toolSpec": {"name": name, **_CALLED_BEFORE}} for name in called_tools]
    if not tools:
        if choice is not None and choice.mode in ("required", "tool") and request.has_tools:
            drops.add(choice.at)  # the tools that it forces are not offered
        return None
    if request.parallel_tools is not None and request.parallel_tools.value is False:
        drops.add(request.parallel_tools.at)
    config: Block = {"tools": tools}
    if choice is not None and (written := _write_choice(choice, tools, family, to, drops)):
        config["toolChoice"] = written
    return config


def _write_tools(request: Request, family: Family, to: Recipient, points: CachePoints, drops: Drops) -> list[Block]:
    choice = request.tool_choice
    allowed = None if choice is None or choice.allowed is None else frozenset(choice.allowed)
    tools: list[Block] = []
    for tool in request.tools:
        if isinstance(tool, NativeTool):
            if tool.api == "converse":
                tools.append(tool.item)
            else:
                drops.add(tool.at)
        elif allowed is None or tool.name in allowed:
            tools.append({"toolSpec": _spec(tool, family, to, drops)})
            _mark_tool(tools, tool, points, drops)
    return tools


def _spec(tool: Tool, family: Family, to: Recipient, drops: Drops) -> Block:
    spec: Block = {"name": tool.name}
    description, schema = custom_tools.as_function(tool, drops)
    if description:
        spec["description"] = description
    spec["inputSchema"] = {"json": custom_tools.object_schema(schema)}
    if tool.strict and family.strict_tools and to.quirks.structured_output:
        spec["strict"] = True
    elif tool.strict:
        drops.add(join_path(tool.at, "strict"))
    return spec


def _mark_tool(tools: list[Block], tool: Tool, points: CachePoints, drops: Drops) -> None:
    for name, value in tool.marks.items():
        if (mark := cache_control(name, value)) is not None:
            points.append(tools, mark, "tools", join_path(tool.at, name))
        else:
            drops.add(join_path(tool.at, name))


def _write_choice(choice: ToolChoice, tools: list[Block], family: Family, to: Recipient, drops: Drops) -> Block | None:
    """Return ``toolChoice``; ``auto`` is the default and omitted.

    If a family cannot be forced to call a certain tool, it only receives that tool.
    """
    if choice.mode in ("auto", "none"):
        return None
    forced = family.choices if to.quirks.forced_tools else ()
    named = [tool for tool in tools if tool.get("toolSpec", {}).get("name") == choice.name]
    if choice.mode == "required" and "any" in forced:
        return {"any": {}}
    if choice.mode == "tool" and named and "tool" in forced:
        return {"tool": {"name": choice.name}}
    if choice.mode == "tool" and named and "any" in forced:
        tools[:] = named
        return {"any": {}}
    drops.add(choice.at)
    return None


_COUNT_FIELDS = ("messages", "system", "toolConfig", "additionalModelRequestFields")
"""The members of a request that ``CountTokens`` accepts."""


def write_request(request: Request, to: Recipient) -> Outgoing:
    """Return the provider's request. See ``Codec.write_request``."""
    body, drops = _write(request, to)
    more = raised_limit_edit(request.parameters.get("max_tokens"), body.get("inferenceConfig", {}).get("maxTokens"))
    return Outgoing(msgspec.json.encode(body), (), (*losses_of(drops.paths(), "translation"), *more))


def write_count_request(request: Request, to: Recipient) -> Outgoing | None:
    """Return a ``CountTokens`` request. See ``Codec.write_count``."""
    body, drops = _write(request, to)
    counted = {"input": {"converse": {name: body[name] for name in _COUNT_FIELDS if name in body}}}
    return Outgoing(msgspec.json.encode(counted), (), losses_of(drops.paths(), "translation"))


def _write(request: Request, to: Recipient) -> tuple[dict[str, Any], Drops]:
    own = own_fields(request)
    drops = Drops(path for path in request.dropped if path.partition(".")[0] not in own)
    family = FAMILIES[to.quirks.bedrock_family]
    points = CachePoints(family.cached, drops)
    tools = tool_config(request, family, to, points, drops)
    history = History(request, to.issuer, family, points, drops)
    format = None if request.api == "converse" else request.format
    history.write(add_format_message(request.messages, format_hint(format, family, to.quirks, drops)))
    points.limit(tools["tools"] if tools else [], history.system, *(one["content"] for one in history.messages))

    body: dict[str, Any] = {"messages": history.messages}
    if history.system:
        body["system"] = history.system
    if tools is not None:
        body["toolConfig"] = tools
    write_settings(request, family, to.quirks, body, drops)
    write_format(format, family, to.quirks, body)
    for name, value in own.items():  # the client's own Bedrock members override translated ones
        written = body.get(name)
        body[name] = {**written, **value} if isinstance(written, dict) and isinstance(value, dict) else value
    drops.remove_members(body, to.quirks.refused_fields)
    return body, drops
