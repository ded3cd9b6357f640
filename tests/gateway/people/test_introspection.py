"""Opaque tokens: their issuer judges them, and no flood of invented ones reaches it."""

import json
import logging
import math
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from gateway.config.issuers import Introspection
from gateway.people import introspection
from gateway.people.introspection import Introspector
from gateway.people.issuer_http import IssuerClient, IssuerConnections
from gateway.people.tokens import CannotJudge, Claims, TokenRefused
from tests.support.followed_issuers import issuer_settings
from tests.support.oidc import CLIENT_ID, CLIENT_SECRET, Fault, OidcProvider, open_provider
from tests.support.set_clock import SetClock

PATH = "/introspect"
TOKEN = "opaque-1234567890"


@pytest.fixture
def provider():
    with open_provider() as found:
        found.active[TOKEN] = {"active": True, "aud": "trigate", "sub": "00u1", "exp": time.time() + 300}
        yield found


@attrs.define(eq=False)
class Judge:
    introspector: Introspector
    clock: SetClock

    async def check(self, token: str = TOKEN, now: float | None = None, address: str = "192.0.2.1") -> Claims:
        deadline = trio.current_time() + introspection.QUERY_SECONDS
        return await self.introspector.check(token, time.time() if now is None else now, address, deadline)

    async def reason(self, token: str = TOKEN) -> str:
        with pytest.raises(TokenRefused) as refused:
            await self.check(token)
        return refused.value.reason


@asynccontextmanager
async def judge_of(provider: OidcProvider, **settings: Any) -> AsyncIterator[Judge]:
    endpoint = Introspection(f"{provider.issuer}{PATH}", CLIENT_ID, CLIENT_SECRET)
    async with IssuerConnections(None) as connections:
        clock = SetClock()
        issuer = issuer_settings(provider, introspection=endpoint, **settings)
        yield Judge(Introspector(IssuerClient(issuer, connections, clock), clock), clock)


async def test_an_active_token_is_accepted_and_remembered_for_a_minute(provider: OidcProvider):
    async with judge_of(provider) as judge:
        assert judge.introspector.remembered_claims(TOKEN, time.time()) is None
        assert (await judge.check()).values["sub"] == "00u1"
        for _ in range(100):
            found = judge.introspector.remembered_claims(TOKEN, time.time())
            assert found is not None
            assert found.issuer == "okta"
        assert provider.count(PATH) == 1
        judge.clock.now += 60
        await judge.check()
        assert provider.count(PATH) == 2
    assert provider.last(PATH).form["token"] == TOKEN


async def test_a_judgement_that_ends_during_a_request_counts_for_it(provider: OidcProvider):
    """The request waited for a judgement that was still valid, and then got a 401 for an unknown key."""
    async with judge_of(provider) as judge:
        now = time.time()
        claims = await judge.check(now=now)
        judge.clock.now += 60
        assert judge.introspector.remembered_claims(TOKEN, now) is None
        assert judge.introspector.late_claims(TOKEN, now) == claims
        assert judge.introspector.late_claims(TOKEN, now + 300) is None, "the token has expired"
        judge.clock.now += introspection.LATE_SECONDS
        assert judge.introspector.late_claims(TOKEN, now) is None


@pytest.mark.parametrize(("fault", "error"), [(None, TokenRefused), (Fault(status=500), CannotJudge)])
async def test_a_later_judgement_ends_an_earlier_one(provider: OidcProvider, fault: Fault | None, error: type):
    async with judge_of(provider) as judge:
        await judge.check()
        provider.active.clear()
        await judge.check()
        judge.clock.now += 60
        if fault is not None:
            provider.faults[PATH] = fault
        with pytest.raises(error):
            await judge.check()
        assert judge.introspector.late_claims(TOKEN, time.time()) is None


@pytest.mark.parametrize("skew", [0.0, 60.0])
async def test_a_judgement_does_not_outlive_the_token(provider: OidcProvider, skew: float):
    now = time.time()
    provider.active[TOKEN]["exp"] = now + 10
    async with judge_of(provider, clock_skew=skew) as judge:
        await judge.check(now=now)
        assert judge.introspector.remembered_claims(TOKEN, now + 9.9) is not None
        assert judge.introspector.remembered_claims(TOKEN, now + 10) is None
        judge.clock.now += 10
        with pytest.raises(TokenRefused, match="expired"):
            await judge.check(now=now + 10)
        assert provider.count(PATH) == 2


async def test_an_inactive_token_is_remembered_too(provider: OidcProvider):
    async with judge_of(provider) as judge:
        assert [await judge.reason("unknown") for _ in range(10)] == ["inactive"] * 10
        assert provider.count(PATH) == 1


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"active": False}, "inactive"),
        ({"active": "true"}, "inactive"),
        ({"active": 1}, "inactive"),
        ({"active": None}, "inactive"),
        ({"aud": "other"}, "audience"),
        ({"aud": None}, "audience"),
        ({"aud": ["trigate", 5]}, "audience"),
        ({"iss": "https://other.example.com"}, "issuer"),
        ({"cnf": {"x5t#S256": "abc"}}, "proof"),
        ({"token_type": "DPoP"}, "proof"),
        ({"exp": "tomorrow"}, "time"),
        ({"exp": 1000}, "expired"),
        ({"nbf": 9_999_999_999}, "time"),
        ({"sub": "a\0b"}, "malformed"),
        ({"groups": ["g" * 50] * 500}, "malformed"),
    ],
)
async def test_other_responses_refuse_the_token(provider: OidcProvider, changed: dict[str, Any], reason: str):
    provider.active[TOKEN] |= changed
    async with judge_of(provider) as judge:
        assert await judge.reason() == reason


async def test_the_issuer_in_the_response_may_be_stated(provider: OidcProvider):
    provider.active[TOKEN] |= {"iss": provider.issuer, "token_type": "Bearer"}
    del provider.active[TOKEN]["exp"]
    async with judge_of(provider) as judge:
        now = time.time()
        assert (await judge.check(now=now)).expiry == math.inf
        assert judge.introspector.remembered_claims(TOKEN, now) is not None
        judge.clock.now += 60
        assert judge.introspector.remembered_claims(TOKEN, now) is None


FAULTS = {
    "gone": Fault(gone=True), "500": Fault(status=500), "401": Fault(status=401), "HTML": Fault(body=b"<html>"),
    "a redirect": Fault(redirect="/elsewhere"), "a list": Fault(body=b"[]"), "an error": Fault(body=b'{"error":"x"}'),
    "too much": Fault(body=b" " * 300_000),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_an_endpoint_that_fails_judges_nothing(
    provider: OidcProvider, fault: Fault, caplog: pytest.LogCaptureFixture
):
    provider.faults[PATH] = fault
    caplog.set_level(logging.INFO, "trigate")
    async with judge_of(provider) as judge:
        for _ in range(3):
            with pytest.raises(CannotJudge, match="okta"):
                await judge.check()
            judge.clock.now += 0.1
        assert provider.count(PATH) <= 2, "failures are remembered for a second, except of a dead connection"
        provider.faults.clear()
        judge.clock.now += 1
        await judge.check()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert TOKEN not in caplog.text
    assert "s3cret" not in caplog.text


async def test_a_failure_after_silence_is_logged_too(provider: OidcProvider, caplog: pytest.LogCaptureFixture):
    provider.faults[PATH] = FAULTS["500"]
    async with judge_of(provider) as judge:
        judge.introspector.note_silence(0.5)
        judge.introspector.note_silence(0.5)
        with pytest.raises(CannotJudge):
            await judge.check()
    silent, failed = [record.getMessage() for record in caplog.records]
    assert "does not respond, so each token of the issuers after it waits 0.5 s" in silent
    assert "cannot introspect tokens, which get 503" in failed


async def test_concurrent_requests_with_one_token_share_a_query(provider: OidcProvider):
    provider.faults[PATH] = Fault(hold=(held := threading.Event()))
    async with judge_of(provider) as judge, trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(judge.check)
        await count_reaches(provider, 1)
        held.set()
    assert provider.count(PATH) == 1


async def test_a_cancelled_request_leaves_the_query_to_the_next(provider: OidcProvider):
    provider.faults[PATH] = Fault(hold=(held := threading.Event()))
    async with judge_of(provider) as judge, trio.open_nursery() as nursery:
        with trio.move_on_after(0.2):
            await judge.check()
        nursery.start_soon(judge.check)
        held.set()
    assert provider.count(PATH) == 2


async def test_eight_queries_run_at_the_same_time_and_none_takes_longer_than_two_seconds(provider: OidcProvider):
    provider.faults[PATH] = Fault(hold=(held := threading.Event()))
    found: list[float] = []
    async with judge_of(provider) as judge:

        async def use(token: str, address: str) -> None:
            began = time.monotonic()
            with pytest.raises(CannotJudge):
                await judge.check(token, address=address)
            found.append(time.monotonic() - began)

        async with trio.open_nursery() as nursery:
            for n in range(40):
                nursery.start_soon(use, f"invented-{n}", f"192.0.2.{n}")
            await count_reaches(provider, 8)
            await trio.testing.wait_all_tasks_blocked()
            assert provider.count(PATH) == 8
        held.set()
    assert max(found) < 4


async def test_a_flood_from_one_address_leaves_queries_to_others(provider: OidcProvider):
    provider.faults[PATH] = Fault(hold=(held := threading.Event()))
    async with judge_of(provider) as judge, trio.open_nursery() as nursery:
        for n in range(100):
            nursery.start_soon(judge.check, f"invented-{n}")
        await count_reaches(provider, 4)
        nursery.start_soon(partial(judge.check, address="192.0.2.2"))
        await count_reaches(provider, 5)
        assert [one.form["token"] for one in provider.seen if one.path == PATH].count(TOKEN) == 1
        nursery.cancel_scope.cancel()
        held.set()


async def count_reaches(provider: OidcProvider, number: int) -> None:
    """Wait until exactly ``number`` queries have arrived."""
    with trio.fail_after(10):
        while provider.count(PATH) < number:  # noqa: ASYNC110  # the provider's thread counts
            await trio.sleep(0.01)
    assert provider.count(PATH) == number


async def test_invented_tokens_displace_no_valid_one(provider: OidcProvider, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(introspection, "MOST_REMEMBERED", 5)
    async with judge_of(provider) as judge:
        await judge.check()
        for n in range(8):
            await judge.reason(f"invented-{n}")
        before = provider.count(PATH)
        await judge.check()
        assert provider.count(PATH) == before


async def test_the_memory_of_judgements_is_bounded(provider: OidcProvider, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(introspection, "MOST_REMEMBERED", 5)
    async with judge_of(provider) as judge:
        for n in range(8):
            await judge.reason(f"invented-{n}")
        await judge.reason("invented-7")
        assert provider.count(PATH) == 8
        await judge.reason("invented-0")
        assert provider.count(PATH) == 9


async def test_a_token_in_the_form_of_json_is_only_text(provider: OidcProvider):
    token = json.dumps({"active": True}) + "&token=other\r\nx: y"
    async with judge_of(provider) as judge:
        assert await judge.reason(token) == "inactive"
    assert provider.last(PATH).form["token"] == token
