"""Names of tools in the Responses API.

Only this API has ``namespace`` tools, which contain other tools: ``ns`` and ``tool`` become the name ``ns__tool`` in
requests, and two members again in answers.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from providers.neutral.request import Request, Tool
from providers.neutral.values import as_objects
from streams.events import ToolKind


@attrs.frozen(repr=False)
class DeclaredTool:
    """A tool as the client declared it. With ``encrypted``, OpenAI encrypts some arguments of its calls."""

    name: str
    namespace: str | None = None
    kind: ToolKind = "function"
    encrypted: bool = False


def flat_name(namespace: Any, name: str) -> str:
    """Return the tool's name for other APIs.

    OpenAI's tool search gives a lone function a namespace of the same name, which is ignored.
    """
    if not isinstance(namespace, str) or namespace in ("", name):
        return name
    return f"{namespace}__{name}"


def declared_tools(request: Request) -> Mapping[str, DeclaredTool]:
    """Return the client's own tools by their flat names."""
    found = {
        tool.name: DeclaredTool(tool.name, None, tool.kind, _has_encrypted(tool.schema))
        for tool in request.tools
        if isinstance(tool, Tool)
    }
    if request.api == "responses":
        added = (item for item in as_objects(request.source.get("input")) if item.get("type") == "additional_tools")
        listed = (tool for holder in (request.source, *added) for tool in as_objects(holder.get("tools")))
        for tool in listed:
            for inner in as_objects(tool.get("tools")) if tool.get("type") == "namespace" else ():
                namespace, name = str(tool.get("name")), str(inner.get("name"))
                if (flat := flat_name(namespace, name)) in found:
                    found[flat] = attrs.evolve(found[flat], name=name, namespace=namespace)
    return found


def _has_encrypted(schema: Any) -> bool:
    """Return whether the schema of a tool has a property that Codex marks as encrypted."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return isinstance(properties, dict) and any(
        one.get("encrypted") is True for one in as_objects([*properties.values()])
    )


def custom_names(tools: Any) -> frozenset[str]:
    """Return the names of the custom tools in a response's ``tools``, including those in namespaces."""
    names = set()
    for tool in as_objects(tools):
        for one in (tool, *as_objects(tool.get("tools"))):
            if one.get("type") == "custom" and isinstance(one.get("name"), str):
                names.add(one["name"])
    return frozenset(names)
