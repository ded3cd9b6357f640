"""``trigate compare``: sends the same requests to two servers, and reports the differences that clients notice.

Each request goes to one server, then to the other; every second request goes to the new one first. So neither server
always finds the provider's caches warm.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs
import trio

from gateway.commands.answer_differences import find_differences
from gateway.commands.client import KEY_VARIABLE
from gateway.commands.compare_report import ComparedPair, ServerComparison, json_report, text_report
from gateway.commands.compared_answers import read_response
from gateway.commands.compared_requests import LIST_OF_MODELS, read_sources, sample_requests
from gateway.commands.fetching import FetchError, client_of
from gateway.commands.server_requests import Server, ServerRequest, check_url
from gateway.commands.terminal import echo_styled, run_or_exit, say, some_of
from gateway.logs.masking import Mask
from providers.recordings import UnreadableRecording
from streams.events import Api

SAMPLE_APIS: Final[tuple[Api, ...]] = ("chat", "messages", "responses")
ALL_MODELS: Final = "all"


def run(
    sources: Sequence[Path],
    old: str,
    new: str,
    old_key_env: str | None,
    new_key_env: str | None,
    models: Sequence[str],
    apis: Sequence[Api],
    exact: bool,
    seconds: float,
    jobs: int,
    as_json: bool,
) -> int:
    """Run ``trigate compare`` and return its exit status: 1 if a difference breaks clients, 2 if it cannot compare."""
    try:
        servers = {
            "--old": _server("--old", old, old_key_env, seconds),
            "--new": _server("--new", new, new_key_env, seconds),
        }
        # Before it connects: a mistake in a file needs no server to be found.
        given = read_sources(sources) if sources else None

        async def compare() -> ServerComparison:
            before, after = servers.values()
            async with before.client, after.client:
                for option, server in servers.items():
                    await _check_reachable(option, server)
                requests, skipped = given or (await _samples(models, apis, before, old_key_env or KEY_VARIABLE), {})
                pairs = await _compare_all(requests, (before, after), exact, jobs)
                return ServerComparison(before.url, after.url, pairs, skipped, exact)

        found = run_or_exit(compare)
    except UnreadableRecording as error:
        say(str(error))
        return 2
    mask = Mask([server.key for server in servers.values() if server.key])
    echo_styled(mask(json_report(found) if as_json else text_report(found)))
    return 0 if found.good else 1


def _server(option: str, url: str, key_env: str | None, seconds: float) -> Server:
    """Return the server at ``url`` with the key in the variable ``key_env``. Raises ``UnreadableRecording``."""
    check_url(url, option)
    if "@" in url or "?" in url:
        raise UnreadableRecording(f"{option}: leave out the credentials and query; give the key with {option}-key-env")
    key = os.environ.get(key_env or KEY_VARIABLE)
    if key_env is not None and not key:
        raise UnreadableRecording(f"{option}-key-env: the environment variable {key_env} is not set")
    url = url.rstrip("/").removesuffix("/v1")
    try:
        return Server(url, client_of(url), seconds, key)
    except FetchError as error:
        raise UnreadableRecording(f"{option} {url}: {error}") from None


async def _compare_all(
    requests: Sequence[ServerRequest], servers: tuple[Server, Server], exact: bool, jobs: int
) -> Sequence[ComparedPair]:
    """Send each request to both servers, ``jobs`` at a time, and return the pairs of responses in their order."""
    pairs: dict[int, ComparedPair] = {}
    numbered = iter(enumerate(requests))

    async def work() -> None:
        for number, request in numbered:
            first = number % 2
            received = {side: await servers[side].send(request) for side in (first, 1 - first)}
            old, new = [await trio.to_thread.run_sync(read_response, request, received[side]) for side in (0, 1)]
            pairs[number] = ComparedPair(request, received[0], received[1], find_differences(old, new, exact))

    async with trio.open_nursery() as nursery:
        for _ in range(jobs):
            nursery.start_soon(work)
    return [pairs[number] for number in sorted(pairs)]


async def _check_reachable(option: str, server: Server) -> None:
    """Raise ``UnreadableRecording`` if nothing answers at ``server``; any status will do."""
    response = await attrs.evolve(server, seconds=min(server.seconds, 10.0)).send(LIST_OF_MODELS)
    if response.problem and not response.status:
        advice = "check the URL, and whether the server runs"
        raise UnreadableRecording(f"{option} {server.url}: {response.problem}; {advice}")


async def _samples(
    models: Sequence[str], apis: Sequence[Api], old: Server, key_variable: str
) -> Sequence[ServerRequest]:
    """Return samples for ``models``, by default that of the old server. Raises ``UnreadableRecording``."""
    if not models or [*models] == [ALL_MODELS]:
        response = await old.send(LIST_OF_MODELS)
        listed = sorted(read_response(LIST_OF_MODELS, response).names)
        if not response.is_success:
            why = response.problem or f"status {response.status}"
            expected = f"set {key_variable} to a key, or choose models with --model MODEL"
            raise UnreadableRecording(f"--old {old.url}{LIST_OF_MODELS.path}: {why}; {expected}")
        if not listed:
            raise UnreadableRecording(f"--old {old.url} lists no models: choose some with --model MODEL")
        if len(listed) > 1 and not models:
            expected = "choose some with --model MODEL, or --model all"
            raise UnreadableRecording(f"--old {old.url} lists {len(listed)} models: {some_of(listed)}; {expected}")
        models = listed
    return sample_requests(apis or SAMPLE_APIS, models)
