"""Cached responses on routes that hedge."""

from typing import Any

import pytest
import trio

from tests.support.asgi_app import eventually
from tests.support.flights import cache_of
from tests.support.in_process import gateway
from tests.support.played_provider import entry, played_provider

PRICE = {"input": 3, "cached": 0.3, "output": 15}


def settings(entries: list[dict[str, Any]], hedge: dict[str, str]) -> dict[str, Any]:
    route = {"targets": ["first", "second"], "hedge": {"at_most": "100%", **hedge}, "cache": {"ttl": "1h"}}
    return {"version": "v0.4.0", "model_providers": entries, "model_aliases": {"r": route}}


async def ask_twice(running: Any, provider: Any, target: str, stream: bool) -> list[Any]:
    """Return the replies to two equal requests. The second one is sent when ``target`` has the first one."""
    replies: list[Any] = []

    async def ask() -> None:
        replies.append(await running.ask("r", stream=stream))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await eventually(lambda: provider.asked[target] >= 1)
        nursery.start_soon(ask)
        flights = cache_of(running.service).flights
        await eventually(lambda: any(flight.followers for flight in flights.values()))
        provider.released.set()
    assert [reply.status_code for reply in replies] == [200, 200]
    return replies


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_identical_simultaneous_requests_are_sent_once_on_a_hedged_route_too(stream):
    """ELares/IronTraffic#249. The cache encloses all attempts of a request, including hedges."""
    async with played_provider() as provider:
        entries = [entry(provider, "chat", name, price=PRICE) for name in ("first", "second")]
        async with gateway(settings(entries, {"after": "10s"})) as running:
            provider.reset(first="late")
            found = await ask_twice(running, provider, "first", stream)
            assert sorted(reply.headers["x-trigate-cache"] for reply in found) == ["hit", "miss"]
            assert (await running.ask("r", stream=stream)).headers["x-trigate-cache"] == "hit"
            assert provider.asked == {"first": 1}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_client_does_not_get_a_hedges_answer_in_another_api(stream):
    """It waits for the answer of the first target, and would read the bytes of the other one in that API."""
    async with played_provider() as provider:
        entries = [entry(provider, api, name, price=PRICE) for api, name in (("chat", "first"), ("messages", "second"))]
        async with gateway(settings(entries, {"after": "10ms"})) as running:
            provider.reset(first="silent", second="late")
            for reply in await ask_twice(running, provider, "second", stream):
                assert ("error" in reply.text, "stop" in reply.text) == (False, True), reply.text
                assert reply.headers["x-trigate-target"].endswith("second")
