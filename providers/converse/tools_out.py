"""The tools of a ``Request`` as the ``toolConfig`` of a Converse provider."""

from collections.abc import Mapping
from typing import Any, Final

from providers.converse.cache_points import Block, CachePoints, cache_mark
from providers.converse.families import Family
from providers.neutral import custom_tools
from providers.neutral.codec import Recipient
from providers.neutral.fields import Drops, join
from providers.neutral.request import NativeTool, Request, Tool, ToolCallPart, ToolChoice

_NO_PARAMETERS: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}
_CALLED: Final = "A tool of the conversation so far, which cannot be called now."


def tool_config(request: Request, family: Family, to: Recipient, points: CachePoints, drops: Drops) -> Block | None:
    """``toolConfig``, ``None`` where there are no tools. With calls in its history a request without tools is refused,
    and every summary of a conversation is such a request (langgenius/dify#17545, vxcontrol/pentagi#160,
    patriceckhart/zot#18): it then has the tools that were called."""
    choice, called = request.tool_choice, _called(request)
    forbidden = choice is not None and choice.mode == "none"
    tools = [] if forbidden and not called else _tools(request, family, to, points, drops)
    if forbidden and called and choice is not None:
        drops.add(choice.at)  # there is no word for it
        choice = None
    if not any("cachePoint" not in tool for tool in tools):
        tools = [_known(name) for name in called]
    if not tools:
        if choice is not None and choice.mode in ("required", "tool") and request.tools:
            drops.add(choice.at)  # the tools that it forces went with those that are dropped
        return None
    if request.parallel_tools is not None and request.parallel_tools.value is False:
        drops.add(request.parallel_tools.at)
    config: Block = {"tools": tools}
    if choice is not None and (written := _choice(choice, tools, family, to, drops)):
        config["toolChoice"] = written
    return config


def _called(request: Request) -> tuple[str, ...]:
    """The names of the tools that the history has called, each once."""
    parts = (part for message in request.messages for part in message.parts)
    return tuple(dict.fromkeys(part.name for part in parts if isinstance(part, ToolCallPart)))


def _known(name: str) -> Block:
    return {"toolSpec": {"name": name, "description": _CALLED, "inputSchema": {"json": _NO_PARAMETERS}}}


def _tools(request: Request, family: Family, to: Recipient, points: CachePoints, drops: Drops) -> list[Block]:
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
            _mark(tools, tool, points, drops)
    return tools


def _spec(tool: Tool, family: Family, to: Recipient, drops: Drops) -> Block:
    spec: Block = {"name": tool.name}
    if description := custom_tools.description(tool, drops) if tool.kind == "custom" else tool.description:
        spec["description"] = description
    schema = custom_tools.SCHEMA if tool.kind == "custom" else _schema(tool.schema)
    spec["inputSchema"] = {"json": schema}
    if tool.strict and family.strict_tools and to.quirks.structured_output:
        spec["strict"] = True
    elif tool.strict:
        drops.add(join(tool.at, "strict"))
    return spec


def _schema(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return _NO_PARAMETERS
    return schema if "type" in schema else {"type": "object", **schema}


def _mark(tools: list[Block], tool: Tool, points: CachePoints, drops: Drops) -> None:
    for name, value in tool.marks.items():
        if (mark := cache_mark(name, value)) is not None:
            points.behind(tools, mark, "tools", join(tool.at, name))
        else:
            drops.add(join(tool.at, name))


def _choice(choice: ToolChoice, tools: list[Block], family: Family, to: Recipient, drops: Drops) -> Block | None:
    """``toolChoice``; what is ``auto`` by itself is not said. A tool that a family cannot be made to call is the only
    one that it then sees."""
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
