"""Writer of a ``Request`` as the request for a Messages provider."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from providers.messages.blocks import Block, Breakpoints, Prompt, simplify_content
from providers.messages.content import TOOL_MARKS
from providers.messages.settings import (
    is_enforceable,
    max_tokens,
    write_format,
    write_reasoning,
    write_settings,
)
from providers.neutral import tool_names
from providers.neutral.api_members import own_members
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.draft import losses_of, raised_limit_edit
from providers.neutral.fields import Drops, join_path
from providers.neutral.formats import with_format
from providers.neutral.quirks import Quirks
from providers.neutral.request import NO_MARKS, NativeTool, Request, Tool, ToolChoice, cache_control
from providers.neutral.schemas import is_combined, object_schema, write_without_limits
from providers.neutral.search_tools import is_own_search, is_search, without_search_options, write_search
from providers.neutral.tool_names import changes_of

# The members that `POST /v1/messages/count_tokens` accepts.
COUNT_FIELDS = (
    "model", "system", "messages", "tools", "tool_choice", "thinking", "output_config", "cache_control", "speed",
)  # fmt: skip

TOOL_CHANGES_BETA = "mid-conversation-tool-changes-2026-07-01"

_CHOICES: Mapping[str, str] = {"auto": "auto", "none": "none", "required": "any", "tool": "tool"}

_OWN_FIELDS: Final = (*own_members("messages"), "service_tier")
"""Members that a Messages provider receives unchanged from clients of its own API."""


def write_request(request: Request, to: Recipient) -> Outgoing:
    """Return the request for a Messages provider.

    Raises ``GatewayError`` (400) for members that the provider cannot honour and that must not be dropped.
    """
    body, drops = _write(request, to)
    written = _outgoing(request, body, to, drops)
    more = raised_limit_edit(request.parameters.get("max_tokens"), body["max_tokens"])
    return attrs.evolve(written, edits=(*written.edits, *more)) if more else written


def write_count_request(request: Request, to: Recipient) -> Outgoing:
    """Return ``request`` for ``/v1/messages/count_tokens``, with its prompt only. Raises as ``write_request`` does."""
    body, drops = _write(request, to)
    counted = {name: value for name, value in body.items() if name in COUNT_FIELDS}
    drops.add(*(name for name in _own_fields(request) if name not in counted))
    return _outgoing(request, counted, to, drops)


def _outgoing(request: Request, body: dict[str, Any], to: Recipient, drops: Drops) -> Outgoing:
    headers: tuple[tuple[str, str], ...] = (("anthropic-version", to.quirks.anthropic_version),)
    if any(message["role"] == "system" for message in body["messages"]):
        headers = (*headers, ("anthropic-beta", TOOL_CHANGES_BETA))
    more = write_without_limits(body, request, to.quirks)
    return Outgoing(msgspec.json.encode(body), headers, (*losses_of(drops.paths(), "translation"), *more))


def _write(request: Request, to: Recipient) -> tuple[dict[str, Any], Drops]:
    own = _own_fields(request)
    drops = Drops(path for path in request.dropped if path.partition(".")[0] not in own)
    breakpoints = Breakpoints()
    changes_tools = _changes_tools(request, to.quirks)
    tools = _write_tools(request.declared if changes_tools else request.tools, request, to.quirks, drops, breakpoints)
    if any(map(is_own_search, tools)):
        request = without_search_options(request)
    prompt = Prompt(request, to, drops, breakpoints, changes_tools)
    prompt.write(with_format(request, is_enforceable(request.format, to.quirks), drops))
    breakpoints.limit(drops)

    body: dict[str, Any] = {"model": to.model, "max_tokens": max_tokens(request, to.quirks)}
    if prompt.system:
        body["system"] = prompt.system if prompt.keeps_lists else simplify_content(prompt.system)
    body["messages"] = prompt.messages
    if tools:
        body["tools"] = tools
    if choice := _write_tool_choice(request, tools, to.quirks, drops):
        body["tool_choice"] = choice
    write_reasoning(request, to.quirks, body, drops)
    write_format(request.format, to.quirks, body)
    write_settings(request, to.quirks, body, drops)
    body |= own
    if request.stream:
        body["stream"] = True
    drops.remove_members(body, to.quirks.refused_fields)
    return body, drops


def _own_fields(request: Request) -> dict[str, Any]:
    """Return the request's members that only this API has; none if the client speaks another API."""
    if request.api != "messages":
        return {}
    return {name: value for name in _OWN_FIELDS if (value := request.source.get(name)) is not None}


# Tools


def _changes_tools(request: Request, quirks: Quirks) -> bool:
    """Return whether messages add and remove the declared tools. Tools that a message defines need another beta."""
    if not request.declared or not quirks.tool_changes or quirks.deferred_tools != "native":
        return False
    return all(change.definition is None for change in changes_of(request.messages))


def _write_tools(
    declared: Sequence[Tool | NativeTool], request: Request, quirks: Quirks, drops: Drops, breakpoints: Breakpoints
) -> list[Block]:
    """Return the tools.

    Drops and reports hosted tools of other APIs, except a web search where the provider has one: not every server and
    account has Anthropic's own.
    """
    choice = request.tool_choice
    allowed = None if choice is None or choice.allowed is None else frozenset(choice.allowed)
    known = TOOL_MARKS if request.api == "messages" else ()
    tools: list[Block] = []
    search = write_search(request, quirks, "messages", drops)
    for tool in declared:
        if isinstance(tool, NativeTool):
            if tool.api == "messages":
                tools.append(breakpoints.copy_native(tool.item, tool.at))
            elif search is None or not is_search(tool):
                drops.add(*tool.dropped_places)
        elif allowed is None or tool.name in allowed:
            tools.append(_write_tool(tool, known, drops, breakpoints))
    return tools if search is None else [*tools, dict(search[1])]


def _write_tool(tool: Tool, known: tuple[str, ...], drops: Drops, breakpoints: Breakpoints) -> Block:
    block: Block = {"name": tool.name}
    description, schema = tool_names.as_function(tool, drops)
    if description:
        block["description"] = description
    block["input_schema"] = object_schema(schema, tool.at, drops)
    if tool.strict and not is_combined(schema):
        block["strict"] = True
    elif tool.strict:
        drops.add(join_path(tool.at, "strict"))
    for name, value in (tool.marks or NO_MARKS).items():
        if (control := cache_control(name, value)) is not None:
            breakpoints.mark(block, control, tool.at)
        elif name in known:  # `defer_loading` of another API relies on a search at its own provider
            block[name] = value
        else:
            drops.add(join_path(tool.at, name))
    return block


def _write_tool_choice(request: Request, tools: list[Block], quirks: Quirks, drops: Drops) -> Block | None:
    choice, parallel = request.tool_choice, request.parallel_tools
    serial = parallel is not None and parallel.value is False
    if not tools:
        if request.has_tools and choice is not None and choice.mode in ("required", "tool"):
            drops.add(choice.at)  # the tools that it forces are not offered
        return None
    if choice is None and not serial:
        return None
    choice = choice or ToolChoice("auto")
    if choice.mode == "tool" and not any(tool.get("name") == choice.name for tool in tools):
        drops.add(choice.at)  # its definition was dropped: a server tool of another API
        choice = ToolChoice("auto")
    if choice.mode in ("required", "tool") and not quirks.forced_tools:
        drops.add(choice.at)
        choice = ToolChoice("auto")
    block: Block = {"type": _CHOICES[choice.mode]}
    if choice.mode == "tool":
        block["name"] = choice.name
    if serial and choice.mode != "none":
        block["disable_parallel_tool_use"] = True
    return block
