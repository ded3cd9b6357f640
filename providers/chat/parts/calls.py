"""Tool calls."""

from typing import Any

from providers.chat.parts import marks
from providers.chat.parts.target import PartsTarget
from providers.neutral.custom_tools import wrapped
from providers.neutral.request import ToolCallPart

_NO_ARGUMENTS = "{}"


def takes_custom_tools(api: str) -> bool:
    """True if custom tools of a client that speaks ``api`` go out as such. A Chat client that declares some knows its
    provider; those of others go out as functions, which every server takes, most of them nothing else."""
    return api == "chat"


def write(to: PartsTarget, part: ToolCallPart) -> dict[str, Any]:
    """A call of a function or of a custom tool, which has no place for marks."""
    marks.drop(to, part)
    id = to.call_id(part.id)
    if part.kind == "custom" and takes_custom_tools(to.api):
        return {"id": id, "type": "custom", "custom": {"name": part.name, "input": part.input}}
    if part.kind == "custom":
        function = {"name": part.name, "arguments": wrapped(part.input)}
        return {"id": id, "type": "function", "function": function}
    arguments = part.input if part.input.strip() else _NO_ARGUMENTS  # servers parse it, and "" is no JSON
    return {"id": id, "type": "function", "function": {"name": part.name, "arguments": arguments}}
