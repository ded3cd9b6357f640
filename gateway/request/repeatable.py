"""Requests that may be worked on twice at the same time: nothing happens by them but an answer."""

from typing import Final

import msgspec

from gateway.request.parse import Incoming
from providers.apis import CODECS

_CLIENTS: Final = (None, "function", "custom")
"""The types of tools that the client runs; all others the provider runs, and then twice."""


_RUN_BY_PROVIDERS: Final = frozenset(
    ("mcp_servers", "container", "web_search_options", "search_parameters", "plugins", "conversation")
)
"""Members by which a provider does more than answer: servers that it calls, its own search (OpenAI's, xAI's,
OpenRouter's), and a conversation of its own that the answer is added to."""


class _Tool(msgspec.Struct):
    type: str | None = None
    name: str | None = None


_TOOLS: Final = msgspec.json.Decoder(list[_Tool])
_FLAG: Final = msgspec.json.Decoder(bool | None)


def may_be_doubled(incoming: Incoming) -> bool:
    """Whether a second provider may be asked beside the first: not for what is stored at the provider or worked on in
    the background, and not with tools that the provider runs (anthony-chaudhary/fak#8975, praxis-proxy/praxis#924)."""
    if is_in_background(incoming) or runs_at_providers(incoming):
        return False
    stored = _flag(incoming, "store")
    return not (stored or (stored is None and CODECS[incoming.api].wire.stores_unasked))


def runs_at_providers(incoming: Incoming) -> bool:
    """Whether a provider may do more for the request than answer: run a tool, or ask a server."""
    if not _RUN_BY_PROVIDERS.isdisjoint(incoming.members):
        return True
    tools = incoming.members.get("tools")
    try:
        return tools is not None and not all(map(_is_clients, _TOOLS.decode(tools)))
    except msgspec.MsgspecError:
        return tools is not None and bytes(tools) != b"null"


def is_in_background(incoming: Incoming) -> bool:
    """Whether the answer is to be made without its client."""
    return bool(_flag(incoming, "background"))


def _flag(incoming: Incoming, name: str) -> bool | None:
    raw = incoming.members.get(name)
    try:
        return None if raw is None else _FLAG.decode(raw)
    except msgspec.MsgspecError:
        return None


def _is_clients(tool: _Tool) -> bool:
    """One without a type has a name, or is known by some member of its own, as Google's are."""
    return tool.type in _CLIENTS and (tool.type is not None or tool.name is not None)
