"""The responses that ``trigate compare`` and ``doctor`` receive, with bounds of size and time."""

from typing import TYPE_CHECKING, Final

import attrs
import trio

from gateway.commands.addressing import ServerRequest
from gateway.commands.fetching import FetchError, response_to

if TYPE_CHECKING:
    from gateway.commands.fetching import HttpClient

LARGEST_ANSWER: Final = 64 * 2**20
"""The most bytes of a model's answer that commands read."""


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


async def receive(
    client: "HttpClient", request: ServerRequest, url: str, key: str | None, seconds: float
) -> ServerResponse:
    """Send ``request`` with ``key`` to the server at ``url``, and return the response.

    A response that takes longer than ``seconds``, is too large or breaks off has a ``problem``."""
    start = trio.current_time()
    found = ServerResponse(problem=f"no complete response within {seconds:g} s (--timeout)")
    body = bytearray()
    headers = request.headers_for(key)
    with trio.move_on_after(seconds):
        try:
            async with response_to(client, request.method, url + request.path, headers, request.body) as response:
                pairs = tuple(response.headers.multi_items())
                found = attrs.evolve(found, status=response.status_code, headers=pairs)
                async for piece in response.aiter_bytes():
                    if not body:
                        found = attrs.evolve(found, first_byte_ms=_milliseconds_since(start))
                    body += piece
                    if len(body) > LARGEST_ANSWER:
                        break
            problem = f"the response has more than {LARGEST_ANSWER >> 20} MiB" if len(body) > LARGEST_ANSWER else ""
            found = attrs.evolve(found, problem=problem)
        except FetchError as error:
            found = attrs.evolve(found, problem=str(error))
    return attrs.evolve(found, body=bytes(body), ms=_milliseconds_since(start))


def _milliseconds_since(start: float) -> float:
    return round((trio.current_time() - start) * 1000, 1)
