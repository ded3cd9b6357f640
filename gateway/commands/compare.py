"""``trigate compare``: sends the same requests to two servers, and reports the differences that clients notice.

Each request goes to one server, then to the other; every second request goes to the new one first. So neither server
always finds the provider's caches warm.
"""

import os
from pathlib import Path
from typing import Final

import attrs
import click
import trio

from gateway.commands.addressing import KEY, check_url, credential_headers
from gateway.commands.answer_differences import find_differences
from gateway.commands.compare_report import ComparedPair, ServerComparison, json_report, text_report
from gateway.commands.compared_answers import ServerResponse, read_response
from gateway.commands.compared_requests import (
    MODELS_PATH,
    ComparedRequest,
    RequestsToCompare,
    read_sources,
    sample_requests,
)
from gateway.commands.terminal import echo_styled, run_or_exit
from gateway.logs.masking import Mask
from gateway.upstream.client import Upstream
from gateway.upstream.request import UpstreamRequest
from providers.recordings import UnreadableRecording
from streams.errors import GatewayError
from streams.events import Api

LARGEST: Final = 64 * 2**20  # bytes of a response that are read
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
    """A server: the option that gives its URL, the URL without a final slash, and the key."""

    option: str
    url: str
    key: str | None = attrs.field(repr=False)


def run(options: CompareOptions) -> int:
    """Run ``trigate compare`` and return its exit status: 1 if a difference breaks clients, 2 if it cannot compare."""
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
    return ComparedServer(option, url.rstrip("/").removesuffix("/v1"), key)


async def _compare(
    options: CompareOptions, servers: tuple[ComparedServer, ComparedServer], given: RequestsToCompare | None
) -> ServerComparison:
    """Send the ``given`` requests, or samples, to both servers. Raises ``UnreadableRecording`` if a server cannot be
    reached."""
    async with Upstream() as client:
        for server in servers:
            await _check_reachable(client, server, options.seconds)
        asked = given or await _samples(client, options, servers[0])
        pairs: list[ComparedPair | None] = [None] * len(asked.requests)
        numbered = iter(enumerate(asked.requests))

        async def work() -> None:
            for number, request in numbered:
                pairs[number] = await _compare_request(client, request, servers, number, options)

        async with trio.open_nursery() as nursery:
            for _ in range(options.jobs):
                nursery.start_soon(work)
    done = tuple(pair for pair in pairs if pair is not None)
    return ServerComparison(servers[0].url, servers[1].url, done, asked.skipped, options.exact)


async def _compare_request(
    client: Upstream,
    request: ComparedRequest,
    servers: tuple[ComparedServer, ComparedServer],
    number: int,
    options: CompareOptions,
) -> ComparedPair:
    order = servers if number % 2 == 0 else servers[::-1]
    received = {server.option: await _send(client, server, request, options.seconds) for server in order}
    old, new = [await trio.to_thread.run_sync(read_response, request, received[one.option]) for one in servers]
    return ComparedPair(request, old.response, new.response, find_differences(old, new, options.exact))


async def _check_reachable(client: Upstream, server: ComparedServer, seconds: float) -> None:
    """Raise ``UnreadableRecording`` if nothing answers at ``server``; any status will do."""
    response = await _send(client, server, ComparedRequest("", MODELS_PATH, b"", method="GET"), min(seconds, 10.0))
    if response.problem and not response.status:
        raise UnreadableRecording(
            f"{server.option} {server.url}: {response.problem}; check the URL, and whether the server runs"
        )


async def _samples(client: Upstream, options: CompareOptions, old: ComparedServer) -> RequestsToCompare:
    """Return samples for the models. Raises ``UnreadableRecording``."""
    models = options.models
    if not models or models == (ALL_MODELS,):
        request = ComparedRequest("", MODELS_PATH, b"", method="GET")
        response = await _send(client, old, request, options.seconds)
        listed = sorted(read_response(request, response).names)
        if not response.is_success:
            why = response.problem or f"status {response.status}"
            expected = f"set {options.old_key_env or KEY} to a key, or choose models with --model MODEL"
            raise UnreadableRecording(f"--old {old.url}{MODELS_PATH}: {why}; {expected}")
        if not listed:
            raise UnreadableRecording(f"--old {old.url} lists no models: choose some with --model MODEL")
        if len(listed) > 1 and not models:
            names = ", ".join(listed[:10]) + (" …" if len(listed) > 10 else "")
            expected = "choose some with --model MODEL, or --model all"
            raise UnreadableRecording(f"--old {old.url} lists {len(listed)} models: {names}; {expected}")
        models = tuple(listed)
    return sample_requests(options.apis or SAMPLE_APIS, models)


async def _send(client: Upstream, server: ComparedServer, request: ComparedRequest, seconds: float) -> ServerResponse:
    """Return the response of ``server``, with the reason if it is missing or incomplete."""
    start = trio.current_time()
    key = server.key if request.key is None else request.key
    credential = credential_headers(request.api or "chat", key)
    fields = {"user-agent": "trigate-compare", **credential, **dict(request.headers)}
    if request.method != "GET":
        fields["content-type"] = "application/json"
    found = ServerResponse()
    with trio.move_on_after(seconds):
        try:
            asked = UpstreamRequest(request.method, server.url + request.path, tuple(fields.items()), request.body)
            response = await client.send(asked)
            found = attrs.evolve(found, status=response.status, headers=response.headers)
            pieces: list[bytes] = []
            size = 0
            async with response:
                async for piece in response.chunks():
                    if not pieces:
                        found = attrs.evolve(found, first_byte_ms=_milliseconds_since(start))
                    pieces.append(piece)
                    size += len(piece)
                    if size > LARGEST:
                        return attrs.evolve(found, problem=f"the response has more than {LARGEST >> 20} MiB")
            return attrs.evolve(found, body=b"".join(pieces), ms=_milliseconds_since(start))
        except GatewayError as error:
            return attrs.evolve(found, problem=_reason(error), ms=_milliseconds_since(start))
    return attrs.evolve(
        found, problem=f"no complete response within {seconds:g} s (--timeout)", ms=_milliseconds_since(start)
    )


def _reason(error: GatewayError) -> str:
    """Return the message of a failed connection, in which the gateway's client calls each server a provider."""
    return " ".join(error.info.message.replace("the provider", "the server").split())


def _milliseconds_since(start: float) -> float:
    return round((trio.current_time() - start) * 1000, 1)
