"""The HTTP client of commands: the gateway's own, whose responses have bounds of size and time."""

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import urlsplit

import attrs
import trio

from gateway.commands.fetching import system_reason
from gateway.config.urls import is_loopback
from gateway.upstream.client import Upstream
from gateway.upstream.errors import UNREACHABLE, UpstreamError
from gateway.upstream.request import UpstreamRequest
from gateway.upstream.response import UpstreamResponse

LARGEST_ANSWER: Final = 64 * 2**20
"""The most bytes of a model's answer that commands read."""


class ResponseFailed(Exception):
    """An error: there was no response, or only a part of it. The message is the reason, in lower case."""


@attrs.frozen
class ServerResponse:
    """The response of a server. ``problem`` is the reason if there is none, or only a part of it."""

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = attrs.field(default=b"", repr=False)
    first_byte_ms: float | None = None
    ms: float | None = None
    problem: str = ""

    @property
    def is_success(self) -> bool:
        return not self.problem and 200 <= self.status < 300

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def media_type(self) -> str:
        return (self.header("content-type") or "").partition(";")[0].strip().lower()


def client_of(url: str) -> Upstream:
    """Return a client for the server at ``url``; it uses the environment's proxy if that is on another machine."""
    if not is_loopback(urlsplit(url).hostname or ""):
        return Upstream()
    own_roots = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")
    return Upstream(trust_env=False, ca_path=own_roots)


@contextlib.asynccontextmanager
async def response_to(client: Upstream, request: UpstreamRequest) -> AsyncIterator[UpstreamResponse]:
    """Send ``request`` and yield its response. Raises ``ResponseFailed``, also while the response is read."""
    try:
        async with await client.send(request) as response:
            yield response
    except UpstreamError as error:
        raise ResponseFailed(_reason(error)) from error


async def receive(
    client: Upstream, request: UpstreamRequest, seconds: float, largest: int, option: str = ""
) -> ServerResponse:
    """Send ``request`` and return the response with about ``largest`` bytes of its body at most.

    A response that takes longer than ``seconds``, is larger or breaks off has a ``problem``. ``option`` is the one that
    sets ``seconds``."""
    start = trio.current_time()
    found = ServerResponse(problem=f"no complete response within {seconds:g} s{option and f' ({option})'}")
    body = bytearray()
    with trio.move_on_after(seconds):
        try:
            async with response_to(client, request) as response:
                found = attrs.evolve(found, status=response.status, headers=response.headers)
                async for piece in response.chunks(split_dense=False):
                    if not body:
                        found = attrs.evolve(found, first_byte_ms=_milliseconds_since(start))
                    body += piece
                    if len(body) > largest:
                        break
            problem = f"the response has more than {largest >> 20} MiB" if len(body) > largest else ""
            found = attrs.evolve(found, problem=problem)
        except ResponseFailed as error:
            found = attrs.evolve(found, problem=str(error))
    return attrs.evolve(found, body=bytes(body), ms=_milliseconds_since(start))


def _milliseconds_since(start: float) -> float:
    return round((trio.current_time() - start) * 1000, 1)


def _reason(error: UpstreamError) -> str:
    """Return the operating system's message if there is one, else the client's."""
    system = system_reason(error) if error.cause in UNREACHABLE else None
    return system or " ".join(error.info.message.replace("the provider", "the server").split())
