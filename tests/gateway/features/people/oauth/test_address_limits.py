"""Limits of sign-in by address, which several gateways count together."""

import contextlib
import time
import tracemalloc
from urllib.parse import parse_qsl, urlsplit

import pytest
import trio

from gateway.counters.memory import LocalCounters
from gateway.counters.remote import RemoteCounters
from gateway.features.people.oauth.address_limits import WINDOW, AddressLimit
from gateway.features.people.oauth.cookies import SIGN_IN, sign_in_cookie
from gateway.http.addresses import ADDRESSES
from streams.errors import GatewayError
from tests.support.counters import claim
from tests.support.people_browser import PeopleBrowser
from tests.support.people_gateway import gateway_of, people_gateway
from tests.support.set_clock import SetClock

FORM = {"origin": "null", "sec-fetch-site": "same-origin"}
WRONG = {"user_code": "BCDF-GHJK"}


@pytest.mark.server
@pytest.mark.parametrize("kind", ["redis", pytest.param("postgres", marks=pytest.mark.soak)])
def test_gateways_with_shared_counters_count_an_address_together(tmp_path, kind, request):
    if kind == "redis":
        server = request.getfixturevalue("redis_server")
        server.say("FLUSHALL")
        counters = {"type": "redis", "url": server.url}
    else:
        counters = {"type": "postgres", "url": request.getfixturevalue("database")}
    with (
        people_gateway(tmp_path, counters=counters) as first,
        gateway_of(tmp_path, first.provider, counters=counters) as second,
    ):
        browser, gateways = PeopleBrowser(), [first, second]

        def statuses(most, method, path, **more):
            urls = [gateways[number % 2].url + path for number in range(most + 4)]
            return [browser.request(method, url, FORM, **more).status_code for url in urls]

        assert statuses(30, "POST", "/oauth/device_authorization") == [200] * 30 + [429] * 4
        assert statuses(10, "POST", "/device", data=WRONG) == [400] * 10 + [429] * 4
        begun = browser.request("GET", f"{first.url}/oauth/login").headers["location"]
        state = dict(parse_qsl(urlsplit(begun).query))["state"]
        own = sign_in_cookie(browser.cookie(SIGN_IN))
        browser.cookies[second.url, own] = browser.cookies[first.url, own]
        assert statuses(30, "GET", f"/oauth/callback?state={state}&code=y") == [400] * 30 + [429] * 4


def test_one_request_id_makes_no_request_free(tmp_path):
    headers = {"x-request-id": "always-the-same"}
    with people_gateway(tmp_path) as gateway:
        browser, url = PeopleBrowser(), f"{gateway.url}/oauth/device_authorization"
        found = [browser.request("POST", url, headers) for _ in range(32)]
        assert [one.status_code for one in found] == [200] * 30 + [429] * 2
        assert found[-1].json()["error"] == "slow_down"
        assert "retry-after" in found[-1].headers


async def count_permitted(limit, counters, number, address="192.0.2.1"):
    """Return how many of ``number`` events were permitted."""
    refused = []
    for _ in range(number):
        try:
            await limit.take(counters, address)
        except GatewayError as error:
            refused.append(error.info)
    assert all(one.status == 429 and 0 < int(dict(one.headers)["retry-after"]) <= WINDOW for one in refused)
    return number - len(refused)


async def test_an_address_has_its_events_in_any_ten_minutes():
    clock = SetClock(1_000_000_007.0)
    limit, counters = AddressLimit("test", 10, "too many"), LocalCounters(now=clock)
    assert await count_permitted(limit, counters, 6) == 6
    clock.now += WINDOW - 70
    assert await count_permitted(limit, counters, 6) == 4
    clock.now += 10
    assert await count_permitted(limit, counters, 1) == 0
    clock.now += 130
    assert await count_permitted(limit, counters, 12) == 6
    assert await count_permitted(limit, counters, 12, "192.0.2.2") == 10
    assert await count_permitted(limit, counters, 12, "2001:db8::1") == 10
    assert await count_permitted(limit, counters, 1, "2001:db8::2") == 0, "the same customer"


async def test_simultaneous_attempts_are_no_more_than_the_limit():
    limit, counters = AddressLimit("test", 2, "too many"), LocalCounters()
    async with limit.attempt(counters, None), limit.attempt(counters, None) as second:
        with pytest.raises(GatewayError, match="simultaneous"):
            await limit.take(counters, None)
        second.counts = True
    assert await count_permitted(limit, counters, 3, None) == 1


async def test_an_abandoned_attempt_counts_nothing():
    limit, counters = AddressLimit("test", 1, "too many"), LocalCounters()
    with trio.CancelScope() as scope:
        async with limit.attempt(counters, None):
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert await count_permitted(limit, counters, 2, None) == 1


async def test_without_room_for_counters_the_process_counts_by_itself():
    limit, counters = AddressLimit("test", 5, "too many"), LocalCounters(most=0)
    assert await count_permitted(limit, counters, 8) == 5


@pytest.mark.soak
async def test_many_addresses_take_bounded_memory():
    limit, counters = AddressLimit("test", 5, "too many"), LocalCounters(most=8)

    async def count(first, last):
        for number in range(first, last):
            await count_permitted(limit, counters, 1, f"10.0.{number // 250}.{number % 250}")

    await count(0, ADDRESSES + 100)
    tracemalloc.start()
    try:
        await count(ADDRESSES + 100, ADDRESSES + 1100)
        assert tracemalloc.get_traced_memory()[0] < 50_000
    finally:
        tracemalloc.stop()


@pytest.mark.server
async def test_gateways_with_other_clocks_count_an_address_together(redis_server, nursery):
    from gateway.counters.redis import RedisCounters

    redis_server.say("FLUSHALL")
    store, limit, permitted = RedisCounters(redis_server.url), AddressLimit("test", 10, "too many"), 0
    for hours in (-30, -3, 0, 3, 30):
        counters = RemoteCounters(store, wall=lambda hours=hours: time.time() + hours * 3600.0)
        nursery.start_soon(counters.run)
        assert not await counters.reserve([claim()]), "it has joined"
        for _ in range(10):
            with contextlib.suppress(GatewayError):
                await limit.take(counters, "192.0.2.1")
                permitted += 1
        await counters.finish()
    assert permitted == 10
