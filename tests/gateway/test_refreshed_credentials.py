"""Credentials that expire: requests that wait for a renewal, requests that do not, and failed renewals."""

import logging
import threading

import attrs
import pytest
import trio

from gateway.config.sign_ins import AwsSignIn
from gateway.http.redaction import FETCHED
from gateway.logs.masking import Mask
from gateway.sign_in.refreshed import EARLY, PAUSE, Fetched, RefreshedCredential
from providers.auth.signer import AwsKeys
from streams.errors import GatewayError
from tests.support.asgi_app import eventually
from tests.support.harness import PATIENCE

HOUR = 3600.0


@attrs.define
class Vendor:
    """A vendor of ``token-number-1``, ``token-number-2`` and so on, each valid for an hour, with a gate."""

    now: float = 1_000_000.0
    fetches: int = 0
    at_once: int = 0
    most_at_once: int = 0
    error: Exception | None = None
    keeps: str | None = None  # the only token that it returns
    gate: threading.Event = attrs.field(factory=threading.Event)
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        self.gate.set()

    def fetch(self) -> Fetched:
        with self.lock:
            self.fetches += 1
            number = self.fetches
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.gate.wait(10)
        with self.lock:
            self.at_once -= 1
        if self.error is not None:
            raise self.error
        return Fetched(self.keeps or f"token-number-{number}", self.now + HOUR)

    def source(self, patience: float = 5.0) -> RefreshedCredential:
        return RefreshedCredential(AwsSignIn(), self.fetch, lambda: self.now, patience)


async def test_a_cancelled_caller_does_not_cancel_a_shared_credential_fetch():
    vendor, given = Vendor(), []
    source = vendor.source()
    vendor.gate.clear()

    async def ask(scope: trio.CancelScope) -> None:
        with scope:
            given.append(await source.credential())

    first, second = trio.CancelScope(), trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, first)
        await eventually(lambda: vendor.fetches == 1)
        nursery.start_soon(ask, second)
        first.cancel()
        await eventually(lambda: first.cancelled_caught)
        vendor.gate.set()
    assert given == ["token-number-1"]
    assert vendor.fetches == 1


async def test_a_credential_is_renewed_five_minutes_early_without_waiting():
    vendor = Vendor()
    source = vendor.source()
    assert await source.credential() == "token-number-1"
    vendor.now += HOUR - EARLY - 1
    assert await source.credential() == "token-number-1"
    assert vendor.fetches == 1
    vendor.now += 2
    vendor.gate.clear()
    assert [await source.credential() for _ in range(9)] == ["token-number-1"] * 9
    await eventually(lambda: vendor.fetches == 2)
    vendor.gate.set()
    await eventually(lambda: not vendor.at_once)
    with trio.fail_after(PATIENCE):
        while await source.credential() != "token-number-2":  # noqa: ASYNC110  # the source has no event for it
            await trio.sleep(0.002)
    assert vendor.fetches == 2


async def test_an_expired_credential_is_never_used():
    vendor = Vendor()
    source = vendor.source()
    await source.credential()
    vendor.now += HOUR + 1
    assert await source.credential() == "token-number-2"


async def test_a_failed_renewal_keeps_the_valid_credential(caplog):
    vendor = Vendor()
    source = vendor.source()
    await source.credential()
    vendor.now += HOUR - EARLY + 1
    vendor.error = OSError("the endpoint is down")
    with caplog.at_level(logging.WARNING, "trigate.sign_in"):
        assert await source.credential() == "token-number-1"
        await eventually(lambda: bool(caplog.records))
    assert "stays in use" in caplog.text
    assert "the endpoint is down" in caplog.text
    assert await source.credential() == "token-number-1"
    assert vendor.fetches == 2  # the next attempt is later
    vendor.now += PAUSE + 1
    vendor.error = None
    await source.credential()
    await eventually(lambda: vendor.fetches == 3)


async def test_a_failed_first_fetch_fails_all_waiting_requests_and_the_next_one_tries_again(caplog):
    vendor = Vendor(error=OSError("nobody is at home"))
    source = vendor.source()
    for _ in range(2):
        with pytest.raises(GatewayError) as caught:
            await source.credential()
        failed = caught.value.info
        assert (failed.kind, failed.reason, failed.wait) == ("upstream", "credential", PAUSE)
        assert "nobody is at home" not in failed.message
    assert "nobody is at home" in caplog.text
    vendor.error = None
    assert await source.credential() == "token-number-3"


async def test_a_hanging_credential_fetch_is_abandoned_and_the_next_may_succeed():
    vendor = Vendor()
    source = vendor.source(patience=0.05)
    vendor.gate.clear()
    with pytest.raises(GatewayError):
        await source.credential()
    vendor.gate.set()
    assert await vendor.source().credential() == "token-number-2"
    assert await source.credential() == "token-number-3"


async def test_a_refused_credential_is_renewed_once_for_all_requests_that_used_it():
    vendor, given = Vendor(), []
    source = vendor.source()
    await source.credential()
    vendor.now += 60
    vendor.gate.clear()

    async def renew() -> None:
        given.append(await source.renew("token-number-1"))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(renew)
        await eventually(lambda: vendor.fetches == 2)
        vendor.gate.set()
    assert given == ["token-number-2"] * 20
    assert await source.renew("token-number-1") == "token-number-2"  # for a late request
    assert await source.renew("token-number-2") is None  # not again so soon: a new one would be refused, too
    assert vendor.fetches == 2


async def test_a_renewal_that_returns_the_same_credential_counts_as_none():
    vendor = Vendor(keeps="the-only-token")
    source = vendor.source()
    await source.credential()
    vendor.now += 60
    assert await source.renew("the-only-token") is None
    vendor.error = OSError("down")
    vendor.now += 60
    with pytest.raises(GatewayError):
        await source.renew("the-only-token")
    assert await source.credential() == "the-only-token"


async def test_fetched_credentials_are_in_no_log_line_or_repr():
    keys = AwsKeys("ASIAEXAMPLEEXAMPLE00", "secret/of+the+keys", "session-token-of-the-keys")
    source = RefreshedCredential(AwsSignIn(), lambda: Fetched(keys))
    await source.credential()
    said = Mask()(f"{keys.id} {keys.secret} {keys.token}")
    assert said == "[redacted] [redacted] [redacted]"
    assert keys.secret not in repr(Fetched(keys))


def test_the_number_of_hidden_secrets_is_bounded():
    before = FETCHED.words
    try:
        for number in range(300):
            FETCHED.hide([f"one-of-many-{number}"])
        assert len(FETCHED.words) <= 256
        assert "one-of-many-299" in FETCHED.words
    finally:
        FETCHED.hide(before)
