"""Requests that may be worked on twice at the same time: nothing happens by them but an answer."""

from typing import Final

import msgspec

from gateway.request.parse import Incoming

_CLIENTS: Final = (None, "function", "custom")
"""The types of tools that the client runs; all others the provider runs, and then twice."""


class _Tool(msgspec.Struct):
    type: str | None = None


_TOOLS: Final = msgspec.json.Decoder(list[_Tool])
_FLAG: Final = msgspec.json.Decoder(bool | None)


def may_be_doubled(incoming: Incoming) -> bool:
    """Whether a second provider may be asked beside the first: not for what is stored at the provider or worked on in
    the background, and not with tools that the provider runs (anthony-chaudhary/fak#8975, praxis-proxy/praxis#924)."""
    members = incoming.members
    if "mcp_servers" in members or "container" in members or _flag(incoming, "background"):
        return False
    if incoming.api == "responses" and _flag(incoming, "store") is not False:
        return False
    tools = members.get("tools")
    try:
        return tools is None or all(tool.type in _CLIENTS for tool in _TOOLS.decode(tools))
    except msgspec.MsgspecError:
        return tools is not None and bytes(tools) == b"null"


def _flag(incoming: Incoming, name: str) -> bool | None:
    raw = incoming.members.get(name)
    try:
        return None if raw is None else _FLAG.decode(raw)
    except msgspec.MsgspecError:
        return None
