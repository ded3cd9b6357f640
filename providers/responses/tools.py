"""Names of tools in the Responses API, ids that the gateway makes for responses and their items, and tolerant readers
of a provider's JSON: a missing value or a wrong type reads as empty, never as an error.

Only this API has ``namespace`` tools, which contain other tools: ``ns`` and ``tool`` become the name ``ns__tool`` in
requests, and two members again in answers.

Ids contain the mark of a seal, so that both lanes find and remove them: providers reject ids that they do not know
(Kilo-Org/kilocode#10197).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from providers.neutral.codec import new_id
from providers.neutral.request import NativeTool, Request, Tool
from providers.neutral.seal import PREFIX
from providers.neutral.token_usage import NEWER, diagnosis_word, read_tokens
from providers.neutral.values import Json, as_objects, as_string
from streams.events import ToolKind, Usage

ENCRYPTED_ARGUMENTS = "encrypted_function_args"
"""The member of Codex's calls with the names of the encrypted arguments."""


def reasoning_text(item: Json) -> str:
    """Return the readable text of a reasoning item: its summary, else its content, else ""."""
    for member in ("summary", "content"):
        texts = [text for part in as_objects(item.get(member)) if (text := as_string(part.get("text")))]
        if texts:
            return "\n\n".join(texts)
    return ""


def read_usage(response: Json, calls: tuple[tuple[str, int], ...] = ()) -> tuple[Usage, ...]:
    """Return the usage of ``response``, if any; ``calls`` are those of the provider's own tools.

    Some routers count a token both as read from the cache and as written to it.
    """
    value = response.get("usage")
    if not isinstance(value, dict):
        return ()
    usage = read_tokens(value, NEWER, tier=response.get("service_tier"), calls=calls)
    if usage is None:
        return ()
    found = response.get("prompt_cache_diagnostics")
    if isinstance(found, dict):  # https://developers.openai.com/api/docs/guides/prompt-caching/diagnostics
        usage = attrs.evolve(usage, cache_diagnosis=diagnosis_word(found.get("reason") or found.get("type")))
    return (usage,)


def own_id(prefix: str) -> str:
    """Return a new id that ``is_own_id`` recognizes: ``prefix`` (``msg_``, ``rs_``, …), the mark and random
    characters."""
    return new_id(prefix + PREFIX)


def is_own_id(id: Any) -> bool:
    return isinstance(id, str) and id.partition("_")[2].startswith(PREFIX)


SEARCH: Final = "tool_search"
"""The type of the search for tools, and its name as a function in other APIs."""


def is_client_search(tool: Mapping[str, Any]) -> bool:
    """Return whether ``tool`` is a search for tools that the client runs, instead of OpenAI."""
    return tool.get("type") == SEARCH and tool.get("execution") == "client"


@attrs.frozen(repr=False)
class DeclaredTool:
    """A tool as the client declared it.

    With ``encrypted``, OpenAI encrypts some arguments of its calls. ``is_search`` marks the client's search for tools.
    """

    name: str
    namespace: str | None = None
    kind: ToolKind = "function"
    encrypted: bool = False
    is_search: bool = False

    @property
    def id_prefix(self) -> str:
        """The prefix of the ids of its calls."""
        return "tsc_" if self.is_search else "ctc_" if self.kind == "custom" else "fc_"


def flat_name(namespace: Any, name: str) -> str:
    """Return the tool's name for other APIs.

    OpenAI's tool search gives a lone function a namespace of the same name, which is ignored.
    """
    if not isinstance(namespace, str) or namespace in ("", name):
        return name
    return f"{namespace}__{name}"


def declared_tools(request: Request) -> Mapping[str, DeclaredTool]:
    """Return the client's own tools by their flat names, and by other names that only one of them may have."""
    found = {
        tool.name: DeclaredTool(tool.name, None, tool.kind, _has_encrypted(tool.schema), bool(tool.native))
        for tool in request.tools
        if isinstance(tool, Tool)
    }
    if request.api == "responses":
        added = (item for item in as_objects(request.source.get("input")) if item.get("type") in _WITH_TOOLS)
        listed = (tool for holder in (request.source, *added) for tool in as_objects(holder.get("tools")))
        for tool in listed:
            for inner in as_objects(tool.get("tools")) if tool.get("type") == "namespace" else ():
                namespace, name = str(tool.get("name")), str(inner.get("name"))
                if (flat := flat_name(namespace, name)) in found:
                    found[flat] = attrs.evolve(found[flat], name=name, namespace=namespace)
    others: dict[str, list[DeclaredTool]] = {}
    for one in found.values():
        for name in _other_names(one):
            others.setdefault(name, []).append(one)
    return {name: tools[0] for name, tools in others.items() if len(tools) == 1} | found


def _other_names(tool: DeclaredTool) -> list[str]:
    """Return the names that models also use in calls of ``tool`` (router-for-me/CLIProxyAPI#4106,
    Wei-Shaw/sub2api#5883)."""
    lone, namespace = tool.namespace is None, tool.namespace or "functions"
    joined = [f"{one}{sign}{tool.name}" for one in {namespace, namespace.rstrip("_")} for sign in ("__", ".")]
    return joined if lone else [tool.name, *joined]


def new_tools(known: Iterable[Tool | NativeTool], found: Iterable[Tool]) -> Iterator[Tool]:
    """Yield the ``found`` tools that are not among the ``known`` ones, each once: providers reject repeated names."""
    names = {tool.name for tool in known if isinstance(tool, Tool)}
    for tool in found:
        if tool.name not in names:
            names.add(tool.name)
            yield tool


_WITH_TOOLS = ("additional_tools", "tool_search_output")


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
