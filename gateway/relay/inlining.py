"""Pictures that a provider gives the address of, fetched into its answer.

The address comes from a provider, and is no reason to ask just anything: only https, only public addresses (or the
provider's own host), no redirects, no credentials, nothing but pictures, within the size of an answer. Whatever cannot
be had so keeps its address.
"""

import base64
import ipaddress
import socket
from typing import Any, Final

import msgspec
import trio

from gateway.http.offload import offload
from gateway.relay.answers import decoded
from gateway.upstream.address import Origin, parse_origin
from gateway.upstream.client import Upstream
from gateway.upstream.request import UpstreamRequest
from streams.errors import GatewayError

SECONDS: Final = 60.0
"""For all pictures of one answer."""
MOST: Final = 128
"""Pictures of one answer that are fetched."""


async def inlined(upstream: Upstream, body: bytes, limit: int, own: Origin | None) -> bytes:
    """``body`` with the pictures themselves in place of addresses, ``limit`` bytes of them at most. ``own`` is the
    provider's server, which may be at a private address."""
    answer = await offload(len(body), decoded, body)
    items = answer.get("data") if isinstance(answer, dict) else None
    wanted = [one for one in items[:MOST] if _address(one)] if isinstance(items, list) else []
    if not wanted:
        return body
    changed = 0
    with trio.move_on_after(SECONDS):
        for item in wanted:
            picture = await _fetched(upstream, _address(item), limit, own)
            if picture:
                limit -= len(picture)
                item["b64_json"] = base64.b64encode(picture).decode("ascii")
                del item["url"]
                changed += 1
    return await offload(limit, msgspec.json.encode, answer) if changed else body


def _address(item: Any) -> str:
    url = item.get("url") if isinstance(item, dict) and "b64_json" not in item else None
    return url if isinstance(url, str) and len(url) <= 8192 else ""


async def _fetched(upstream: Upstream, url: str, limit: int, own: Origin | None) -> bytes:
    """The picture at ``url``, ``b""`` where it is not to be had."""
    origin = parse_origin(url)
    if origin is None or "@" in url.partition("?")[0] or not (origin == own or await _is_public(origin)):
        return b""
    request = UpstreamRequest("GET", url, (("accept", "image/*"), ("accept-encoding", "identity")))
    try:
        async with await upstream.send(request) as response:
            kind = response.header("content-type") or ""
            return await response.read(limit) if response.status == 200 and kind.startswith("image/") else b""
    except GatewayError:
        return b""


async def _is_public(origin: Origin) -> bool:
    """Whether all that its name leads to is on the public internet."""
    if not origin.secure:
        return False
    try:
        found = await trio.socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(str(one[4][0]).partition("%")[0]).is_global for one in found)
