"""``trigate compare``: sends the same requests to two servers, and reports the differences that clients notice.

Each request goes to one server, then to the other; every second request goes to the new one first. So neither server
always finds the provider's caches warm.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import click
import trio

from gateway.commands.addressing import KEY, ServerRequest, check_url
from gateway.commands.answer_differences import find_differences
from gateway.commands.compare_report import ComparedPair, ServerComparison, json_report, text_report
from gateway.commands.compared_answers import read_response
from gateway.commands.compared_requests import (
    MODELS_PATH,
    RequestsToCompare,
    read_sources,
    sample_requests,
)
from gateway.commands.fetching import FetchError, client_of
from gateway.commands.server_client import ServerResponse, receive
from gateway.commands.terminal import echo_styled, run_or_exit, some_of
from gateway.logs.masking import Mask
from providers.recordings import UnreadableRecording
from streams.events import Api

if TYPE_CHECKING:
    from gateway.commands.fetching import HttpClient

SAMPLE_APIS: Final[tuple[Api, ...]] = ("chat", "messages", "responses")
ALL_MODELS: Final = "all"


@attrs.frozen
class CompareOptions:
    """The options of the command. ``models`` and ``apis`` select samples; ``seconds`` limits one response."""

    old: str
    new: str
    sources: tuple[Path, ...] = ()
    models: tuple[str, ...] = ()
    apis: tuple[Api, ...] = ()
    old_key_env: str | None = None
    new_key_env: str | None = None
    exact: bool = False
    seconds: float = 120.0
    jobs: int = 1
    as_json: bool = False


@attrs.frozen
class ComparedServer:
    """A server: the option that gives its URL, the URL without a final slash, the key, and a client for it."""

    option: str
    url: str
    key: str | None = attrs.field(repr=False)
    client: "HttpClient"

    async def send(self, request: ServerRequest, seconds: float) -> ServerResponse:
        return await receive(self.client, request, self.url, self.key, seconds)


def run(**chosen: Any) -> int:
    """Run ``trigate compare`` and return its exit status: 1 if a difference breaks clients, 2 if it cannot compare."""
    options = CompareOptions(**chosen)
    try:
        servers = (
            _server("--old", options.old, options.old_key_env),
            _server("--new", options.new, options.new_key_env),
        )
        # Before it connects: a mistake in a file needs no server to be found.
        given = read_sources(options.sources, options.apis[0] if options.apis else None) if options.sources else None
        found = run_or_exit(_compare, options, servers, given)
    except UnreadableRecording as error:
        click.echo(str(error), err=True)
        return 2
    mask = Mask([server.key for server in servers if server.key])
    report = json_report(found) if options.as_json else text_report(found)
    echo_styled(mask(report))
    return 0 if found.good else 1


def _server(option: str, url: str, key_env: str | None) -> ComparedServer:
    """Return the server at ``url`` with the key in the variable ``key_env``. Raises ``UnreadableRecording``."""
    check_url(url, option)
    if "@" in url or "?" in url:
        raise UnreadableRecording(f"{option}: leave out the credentials and query; give the key with {option}-key-env")
    key = os.environ.get(key_env or KEY)
    if key_env is not None and not key:
        raise UnreadableRecording(f"{option}-key-env: the environment variable {key_env} is not set")
    url = url.rstrip("/").removesuffix("/v1")
    try:
        return ComparedServer(option, url, key, client_of(url))
    except FetchError as error:
        raise UnreadableRecording(f"{option} {url}: {error}") from None


async def _compare(
    options: CompareOptions, servers: tuple[ComparedServer, ComparedServer], given: RequestsToCompare | None
) -> ServerComparison:
    """Send the ``given`` requests, or samples, to both servers. Raises ``UnreadableRecording`` if a server cannot be
    reached."""
    async with servers[0].client, servers[1].client:
        for server in servers:
            await _check_reachable(server, options.seconds)
        asked = given or await _samples(options, servers[0])
        pairs: list[ComparedPair | None] = [None] * len(asked.requests)
        numbered = iter(enumerate(asked.requests))

        async def work() -> None:
            for number, request in numbered:
                pairs[number] = await _compare_request(request, servers, number, options)

        async with trio.open_nursery() as nursery:
            for _ in range(options.jobs):
                nursery.start_soon(work)
    done = tuple(pair for pair in pairs if pair is not None)
    return ServerComparison(servers[0].url, servers[1].url, done, asked.skipped, options.exact)


async def _compare_request(
    request: ServerRequest, servers: tuple[ComparedServer, ComparedServer], number: int, options: CompareOptions
) -> ComparedPair:
    order = servers if number % 2 == 0 else servers[::-1]
    received = {server.option: await server.send(request, options.seconds) for server in order}
    old, new = [await trio.to_thread.run_sync(read_response, request, received[one.option]) for one in servers]
    return ComparedPair(request, old.response, new.response, find_differences(old, new, options.exact))


async def _check_reachable(server: ComparedServer, seconds: float) -> None:
    """Raise ``UnreadableRecording`` if nothing answers at ``server``; any status will do."""
    response = await server.send(ServerRequest("", MODELS_PATH, method="GET"), min(seconds, 10.0))
    if response.problem and not response.status:
        raise UnreadableRecording(
            f"{server.option} {server.url}: {response.problem}; check the URL, and whether the server runs"
        )


async def _samples(options: CompareOptions, old: ComparedServer) -> RequestsToCompare:
    """Return samples for the models. Raises ``UnreadableRecording``."""
    models = options.models
    if not models or models == (ALL_MODELS,):
        request = ServerRequest("", MODELS_PATH, method="GET")
        response = await old.send(request, options.seconds)
        listed = sorted(read_response(request, response).names)
        if not response.is_success:
            why = response.problem or f"status {response.status}"
            expected = f"set {options.old_key_env or KEY} to a key, or choose models with --model MODEL"
            raise UnreadableRecording(f"--old {old.url}{MODELS_PATH}: {why}; {expected}")
        if not listed:
            raise UnreadableRecording(f"--old {old.url} lists no models: choose some with --model MODEL")
        if len(listed) > 1 and not models:
            expected = "choose some with --model MODEL, or --model all"
            raise UnreadableRecording(f"--old {old.url} lists {len(listed)} models: {some_of(listed)}; {expected}")
        models = tuple(listed)
    return sample_requests(options.apis or SAMPLE_APIS, models)
