"""Requests that two providers may process at the same time, because they have no effect but a response."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from gateway.request.parse import Incoming
from gateway.routing.target import Target
from providers.apis import CODECS
from streams.surrogates import NOT_JSON, decode_or

_CLIENTS: Final = (None, "function", "custom")
"""The types of tools that the client runs. The provider runs all others, and would run them twice."""

_RUN_BY_PROVIDERS: Final = frozenset(
    ("mcp_servers", "container", "web_search_options", "search_parameters", "plugins", "conversation", "agent")
)
"""Members with effects beyond a response: servers that the provider calls, its own search (OpenAI's, xAI's,
OpenRouter's), its agents, and a provider's conversation that the response is added to."""


class _Tool(msgspec.Struct):
    type: str | None = None
    name: str | None = None


_TOOLS: Final = msgspec.json.Decoder(list[_Tool])
_OBJECTS: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_FLAG: Final = msgspec.json.Decoder(bool | None)


def may_run_twice(incoming: Incoming, targets: Iterable[Target]) -> bool:
    """Return whether two of ``targets`` may process the request at the same time.

    They may not if they would store the response, create it in the background, or run tools
    (anthony-chaudhary/fak#8975, praxis-proxy/praxis#924)."""
    if is_in_background(incoming) or runs_at_providers(incoming):
        return False
    stored = _flag(incoming, "store")
    if stored is None:  # a translated request asks the provider to store nothing
        return not any(one.lane == "byte" and CODECS[one.api].wire.stores_unasked for one in targets)
    return not stored


def runs_at_providers(incoming: Incoming) -> bool:
    """Return whether a provider may do more than generate a response: run a tool, or query a server."""
    if not _RUN_BY_PROVIDERS.isdisjoint(incoming.members):
        return True
    try:
        within = CODECS[incoming.api].wire.tools_within
        members: Mapping[str, msgspec.Raw] = incoming.members
        if within is not None and within in members:
            members = _OBJECT.decode(members[within])
        tools = members.get("tools")
        if tools is None or bytes(tools) == b"null":
            return False
        if (clients := CODECS[incoming.api].wire.client_tools) is not None:
            return not all(map(clients.issuperset, _OBJECTS.decode(tools)))
        return not all(map(_is_client_tool, _TOOLS.decode(tools)))
    except NOT_JSON:
        return True


def is_in_background(incoming: Incoming) -> bool:
    """Return whether the response is created in the background."""
    return bool(_flag(incoming, "background"))


def _flag(incoming: Incoming, name: str) -> bool | None:
    raw = incoming.members.get(name)
    return None if raw is None else decode_or(_FLAG.decode, raw, None)


def _is_client_tool(tool: _Tool) -> bool:
    """Return whether the client runs ``tool``.

    A tool without a type has a name, or is identified by another member, as Google's are."""
    return tool.type in _CLIENTS and (tool.type is not None or tool.name is not None)
