"""Tools of a Gemini request, and which of them to call.

Source: ``Tool``, ``FunctionDeclaration`` and ``ToolConfig`` of the Gemini API.
"""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from providers.gemini.schemas import reduced
from providers.neutral import custom_tools
from providers.neutral.fields import Drops, join
from providers.neutral.quirks import Quirks
from providers.neutral.request import NO_MARKS, NativeTool, Request, Tool, ToolChoice

_MODES: Final[Mapping[str, str]] = {"auto": "AUTO", "none": "NONE", "required": "ANY", "tool": "ANY"}
_WEB_SEARCHES: Final = ("web_search",)
"""How other APIs' own searches are called, each with a date or another end."""
_NAMING: Final = ("type", "name")
"""What says that a tool is a search, of whose settings Google's has none."""


@attrs.frozen
class GeminiTools:
    """``tools`` and ``toolConfig`` as they go out; ``functions``: whether any is the client's own."""

    tools: list[dict[str, Any]]
    config: dict[str, Any]
    functions: bool


def write_tools(request: Request, quirks: Quirks, own: Mapping[str, Any], drops: Drops) -> GeminiTools:
    """Write the tools of ``request``; ``own`` is the ``toolConfig`` of a client of this API."""
    functions = [_function(tool, quirks, drops) for tool in request.tools if isinstance(tool, Tool)]
    hosted = _hosted(request, drops)
    if functions and hosted and not quirks.mixed_tools:
        # The other way round the model would write its calls as text (cloudwego/eino-ext#761).
        drops.add(*hosted.values())
        hosted = {}
    tools: list[dict[str, Any]] = [{name: item} for name, item in _items(request, hosted)]
    if functions:
        tools.append({"functionDeclarations": functions})
    config = {name: value for name, value in own.items() if name not in _WRITTEN}
    mixed = bool(functions and hosted)
    if calling := _calling(request.tool_choice, functions, mixed, drops):
        config["functionCallingConfig"] = calling
    if mixed and quirks.server_tool_invocations:
        config["includeServerSideToolInvocations"] = True
    elif (asked := own.get("includeServerSideToolInvocations")) is not None and hosted:
        config["includeServerSideToolInvocations"] = asked
    if request.parallel_tools is not None and request.parallel_tools.value is False and functions:
        drops.add(request.parallel_tools.at)
    return GeminiTools(tools, config, bool(functions))


_WRITTEN: Final = (
    "functionCallingConfig", "function_calling_config", "includeServerSideToolInvocations",
    "include_server_side_tool_invocations",
)  # fmt: skip


def _function(tool: Tool, quirks: Quirks, drops: Drops) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    description, schema = custom_tools.as_function(tool, drops)
    if description:
        function["description"] = description
    if isinstance(schema, dict) and schema:
        function |= _parameters(schema, tool.at, quirks, drops)
    drops.add(*(join(tool.at, name) for name in tool.marks or NO_MARKS))
    if tool.strict and not quirks.mixed_tools:  # else calls that go against the schema are kept from happening
        drops.add(join(tool.at, "strict"))
    return function


def _parameters(schema: Mapping[str, Any], at: str, quirks: Quirks, drops: Drops) -> dict[str, Any]:
    """Return a tool's schema: as it came, or in Google's own form, which wants some property."""
    if quirks.schemas == "json":
        return {"parametersJsonSchema": schema}
    smaller, removed = reduced(schema)
    drops.add(*(join(at, name) for name in removed))
    return {"parameters": smaller} if smaller.get("properties") else {}


def _hosted(request: Request, drops: Drops) -> dict[str, str]:
    """Google's own tools, each with the client's place. Of other APIs' hosted tools the search is known here too."""
    found: dict[str, str] = {}
    for tool in request.tools:
        if isinstance(tool, NativeTool):
            if tool.api == "gemini":
                found[tool.kind] = tool.at
            elif tool.kind.startswith(_WEB_SEARCHES):
                found.setdefault("googleSearch", tool.at)
                drops.add(*(join(tool.at, name) for name in tool.item if name not in _NAMING))
            else:
                drops.add(tool.at)
    if (search := request.parameters.get("web_search_options")) is not None:
        found.setdefault("googleSearch", search.at)
        drops.add(*(join(search.at, name) for name in search.value))
    return found


def _items(request: Request, hosted: Mapping[str, str]) -> list[tuple[str, Any]]:
    """Return the declarations of ``hosted``, as the client made them where it speaks this API."""
    natives = (tool for tool in request.tools if isinstance(tool, NativeTool) and tool.api == "gemini")
    own = {tool.kind: tool.item.get(tool.kind) for tool in natives}
    return [(kind, own.get(kind) or {}) for kind in hosted]


def _calling(
    choice: ToolChoice | None, functions: list[dict[str, Any]], mixed: bool, drops: Drops
) -> dict[str, Any] | None:
    """Return ``functionCallingConfig``. Beside Google's own tools a model that may choose is asked for ``VALIDATED``,
    which ``AUTO`` is not allowed there (vercel/ai#13920)."""
    if not functions:
        if choice is not None and choice.mode in ("required", "tool"):
            drops.add(choice.at)  # the tools that it forces went with those that are dropped
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
    if mode == "AUTO" and (mixed or kept):  # names may be given with ANY and VALIDATED alone
        mode = "VALIDATED"
    return {"mode": mode} | ({"allowedFunctionNames": kept} if kept and mode != "NONE" else {})
