"""Writers of an Interactions request's tools and tool choice.

Source: ``Tool``, ``Function`` and ``ToolChoiceConfig`` of the google-genai package.
"""

from typing import Any, Final

import attrs

from providers.gemini.shared_members import INTERACTIONS_TOOLS, interactions_tool
from providers.neutral import custom_tools
from providers.neutral.fields import Drops, join_path
from providers.neutral.quirks import Quirks
from providers.neutral.request import NO_MARKS, NativeTool, Request, Tool, ToolChoice

SEARCH: Final = "google_search"
_WEB_SEARCH: Final = "web_search"
_IDENTIFYING: Final = ("type", "name")


@attrs.frozen
class InteractionsTools:
    """The written ``tools`` and ``tool_choice``; ``has_functions`` is true if any tool is the client's own."""

    tools: list[dict[str, Any]]
    choice: Any
    has_functions: bool


def write_tools(request: Request, quirks: Quirks, drops: Drops) -> InteractionsTools:
    functions = [_write_function(tool, request.api, drops) for tool in request.tools if isinstance(tool, Tool)]
    hosted = _write_hosted(request, drops)
    if functions and hosted and not quirks.mixed_tools:
        # If the functions were dropped instead, the model would write its calls as text (cloudwego/eino-ext#761).
        drops.add(*(at for at, _ in hosted.values()))
        hosted = {}
    if request.parallel_tools is not None and request.parallel_tools.value is False and functions:
        drops.add(request.parallel_tools.at)
    choice = _write_choice(request.tool_choice, functions, drops)
    return InteractionsTools([*(item for _, item in hosted.values()), *functions], choice, bool(functions))


def _write_function(tool: Tool, api: str, drops: Drops) -> dict[str, Any]:
    function: dict[str, Any] = {"type": "function", "name": tool.name}
    description, schema = custom_tools.as_function(tool, drops)
    if description:
        function["description"] = description
    if isinstance(schema, dict) and schema:
        function["parameters"] = without_empty_required(schema)
    if api == "interactions":
        return function | dict(tool.marks)
    drops.add(*(join_path(tool.at, name) for name in tool.marks or NO_MARKS))
    return function


def without_empty_required(schema: Any) -> Any:
    """Return ``schema`` without empty lists ``required``, which Google rejects here (earendil-works/pi#2172)."""
    if isinstance(schema, list):
        return [without_empty_required(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: without_empty_required(value) for name, value in schema.items() if (name, value) != ("required", [])}


def _write_hosted(request: Request, drops: Drops) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return Google's own tools by type, each with the path in the client's request; other APIs' web searches
    become Google's."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for i, tool in enumerate(request.tools):
        if not isinstance(tool, NativeTool):
            continue
        if tool.api == "interactions":
            found[f"{tool.kind} {i}"] = (tool.at, tool.item)
        elif tool.api == "gemini" and (kind := INTERACTIONS_TOOLS.get(tool.kind)) is not None:
            found[kind] = (tool.at, interactions_tool(tool.kind, tool.item.get(tool.kind)))
        elif tool.kind.startswith(_WEB_SEARCH):
            found.setdefault(SEARCH, (tool.at, {"type": SEARCH}))
            drops.add(*(join_path(tool.at, name) for name in tool.item if name not in _IDENTIFYING))
        else:
            drops.add(tool.at)
    if (search := request.parameters.get("web_search_options")) is not None:
        found.setdefault(SEARCH, (search.at, {"type": SEARCH}))
        drops.add(*(join_path(search.at, name) for name in search.value))
    return found


def _write_choice(choice: ToolChoice | None, functions: list[dict[str, Any]], drops: Drops) -> Any:
    """Return ``tool_choice`` for the provider, ``None`` for its default. A list of allowed tools excludes ``auto``."""
    if choice is None or not functions:
        if choice is not None and choice.mode in ("required", "tool"):
            drops.add(choice.at)  # the tools that it forces were all dropped
        return None
    names = {function["name"] for function in functions}
    allowed = (choice.name,) if choice.mode == "tool" else choice.allowed
    kept = [name for name in allowed or () if name in names]
    if choice.mode == "none":
        return "none"
    if allowed is not None and not kept:
        drops.add(choice.at)
        return None
    mode = "auto" if choice.mode == "auto" else "any"
    if not kept:
        return mode
    return {"allowed_tools": {"mode": "validated" if mode == "auto" else mode, "tools": kept}}
