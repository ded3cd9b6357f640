"""The requests of ``trigate compare`` and ``doctor`` to servers, and the responses, with bounds of size and time."""

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import attrs
import trio

from gateway.commands.fetching import FetchError, response_to
from providers.catalog.provider import STANDARD_AUTH
from providers.recordings import UnreadableRecording
from streams.events import Api

if TYPE_CHECKING:
    from gateway.commands.fetching import HttpClient

HERE: Final = "http://127.0.0.1:12000"

LARGEST_ANSWER: Final = 64 * 2**20
"""The most bytes of a model's answer that commands read."""


@attrs.frozen
class ServerRequest:
    """A request to a server. ``api`` is ``None`` for other endpoints than answers.

    ``key`` replaces the user's key for the server, to test a wrong one."""

    name: str
    path: str
    body: bytes = attrs.field(default=b"", repr=False)
    api: Api | None = None
    stream: bool = False
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    key: str | None = attrs.field(default=None, repr=False)


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


@attrs.frozen
class Server:
    """A server, a client for it, the longest time for a response, and the user's key for it."""

    url: str
    client: "HttpClient"
    seconds: float
    key: str | None = attrs.field(default=None, repr=False)

    async def send(self, request: ServerRequest) -> ServerResponse:
        """Send ``request``, and return the response.

        A response that takes longer than ``seconds``, is too large or breaks off has a ``problem``."""
        start = trio.current_time()
        found = ServerResponse(problem=f"no complete response within {self.seconds:g} s (--timeout)")
        body, url = bytearray(), self.url + request.path
        credential = credential_headers(request.api or "chat", self.key if request.key is None else request.key)
        json = {} if request.method == "GET" else {"content-type": "application/json"}
        headers = {"user-agent": "trigate", **credential, **dict(request.headers), **json}
        with trio.move_on_after(self.seconds):
            try:
                async with response_to(self.client, request.method, url, headers, request.body) as response:
                    pairs = tuple(response.headers.multi_items())
                    found = attrs.evolve(found, status=response.status_code, headers=pairs)
                    async for piece in response.aiter_bytes():
                        if not body:
                            found = attrs.evolve(found, first_byte_ms=_milliseconds_since(start))
                        body += piece
                        if len(body) > LARGEST_ANSWER:
                            break
                too_large = f"the response has more than {LARGEST_ANSWER >> 20} MiB"
                found = attrs.evolve(found, problem=too_large if len(body) > LARGEST_ANSWER else "")
            except FetchError as error:
                found = attrs.evolve(found, problem=str(error))
        return attrs.evolve(found, body=bytes(body), ms=_milliseconds_since(start))


def _milliseconds_since(start: float) -> float:
    return round((trio.current_time() - start) * 1000, 1)


def credential_headers(api: Api, key: str | None) -> dict[str, str]:
    """Return the headers with the version that ``api`` requires and with ``key``, where its clients send a key."""
    version = {"anthropic-version": "2023-06-01"} if api == "messages" else {}
    if not key:
        return version
    name, value = STANDARD_AUTH[api].header(key)
    return {**version, name: value}


def check_url(url: str, option: str) -> None:
    """Check that ``url``, given with ``option``, is the URL of a server. Raises ``UnreadableRecording``."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # an invalid host or port
        good = False
    if not good:
        raise UnreadableRecording(f"{option} {url}: expected a URL, such as {HERE}")
