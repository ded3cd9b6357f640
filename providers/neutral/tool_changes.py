"""Tools that a client adds and removes in the middle of a conversation.

Providers without such messages get the tools that are offered at the end of the history.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from providers.neutral.fields import Drops
from providers.neutral.request import Message, NativeTool, Tool, ToolChange

AnyTool: TypeAlias = Tool | NativeTool

_DEFERRED = "defer_loading"


def changes_of(messages: Iterable[Message]) -> tuple[ToolChange, ...]:
    return tuple(change for message in messages for change in message.tool_changes)


def apply_changes(
    tools: Sequence[AnyTool], deferred: Iterable[str], changes: Iterable[ToolChange], drops: Drops
) -> tuple[tuple[AnyTool, ...], tuple[Tool, ...]]:
    """Return the tools that are offered after ``changes``, and those of the ``deferred`` names that are not yet.

    New definitions and added deferred tools follow the declared tools in order, so that the tools of earlier requests
    stay in front. A change that refers to an unknown tool is reported as dropped.
    """
    known: dict[Any, AnyTool] = {tool_name(tool) or id(tool): tool for tool in tools}
    later, removed = set(deferred), set[str]()
    for change in changes:
        if change.definition is not None:
            known[change.name] = change.definition
        elif change.name not in known:
            drops.add(change.at)
            continue
        if change.is_added:
            added = known[change.name]
            if (ready := _without_deferral(added)) is not added:
                del known[change.name]
            known[change.name] = ready
            later.discard(change.name)
            removed.discard(change.name)
        else:
            removed.add(change.name)
    offered = tuple(tool for name, tool in known.items() if name not in later and name not in removed)
    waiting = (tool for name, tool in known.items() if name in later and name not in removed)
    return offered, tuple(tool for tool in waiting if isinstance(tool, Tool))


def tool_name(tool: AnyTool) -> str | None:
    """Return the name that the model calls ``tool`` by, or ``None`` for an unnamed one."""
    if isinstance(tool, Tool):
        return tool.name
    holder = tool.item.get(tool.kind) if tool.api == "converse" and isinstance(tool.item, Mapping) else tool.item
    name = holder.get("name") if isinstance(holder, Mapping) else None
    return name if isinstance(name, str) else None


def _without_deferral(tool: AnyTool) -> AnyTool:
    """Return ``tool`` without the mark that it waits for a search."""
    if isinstance(tool, NativeTool) or _DEFERRED not in tool.marks:
        return tool
    return attrs.evolve(tool, marks={name: value for name, value in tool.marks.items() if name != _DEFERRED})
