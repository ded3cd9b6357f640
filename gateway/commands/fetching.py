"""Single requests of commands: without redirects, and with a bounded response."""

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from gateway import __version__

if TYPE_CHECKING:
    from gateway.commands.server_client import ServerResponse

LARGEST: Final = 2**20
"""The number of bytes of a response that are read."""


class FetchError(Exception):
    """An error: there was no response, or only a part of it. The message is the reason, in lower case."""


def fetch(url: str, headers: Mapping[str, str], seconds: float) -> tuple[int, bytes]:
    """Return the status and the first ``LARGEST`` bytes of the response to a GET. Raises ``FetchError``.

    A server on another machine is reached through the proxy of the environment. Redirects are not followed: ``headers``
    may have a key for this host."""
    return _run("GET", url, tuple(headers.items()), b"", seconds)


def post_form(url: str, form: Mapping[str, str], seconds: float) -> tuple[int, bytes]:
    """Return the status and the first ``LARGEST`` bytes of the response to a POST of ``form``, sent as by ``fetch``.

    The page where a person approves a sign-in shows the header ``user-agent``. Raises ``FetchError``."""
    program = f"trigate/{__version__} on {platform.node()}".encode("ascii", "replace").decode()
    headers = (("user-agent", program), ("content-type", "application/x-www-form-urlencoded"))
    return _run("POST", url, headers, urlencode(form).encode(), seconds)


def _run(method: str, url: str, headers: tuple[tuple[str, str], ...], body: bytes, seconds: float) -> tuple[int, bytes]:
    import trio  # imported only where it is needed, as not every use of a command sends requests

    from gateway.commands.server_client import client_of, receive
    from gateway.upstream.request import UpstreamRequest

    async def exchange() -> "ServerResponse":
        async with client_of(url) as client:
            request = UpstreamRequest(method, url, headers, body, connect_timeout=seconds)
            return await receive(client, request, seconds, LARGEST)

    found = trio.run(exchange)
    if found.problem and len(found.body) <= LARGEST:
        raise FetchError(found.problem)
    return found.status, found.body[:LARGEST]
