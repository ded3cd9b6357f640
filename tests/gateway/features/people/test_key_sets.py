"""Keys of issuers in the background: schedules, rotation, floods of unknown keys, and outages."""

import json
import logging
import threading
import time
from pathlib import Path

import pytest
import trio
import trio.testing

from gateway.features.people.key_sets import STALE_SECONDS
from gateway.features.people.tokens import CannotJudge, TokenRefused, UnknownKey
from tests.support.followed_issuers import FollowedIssuers, follow_issuers, issuer_settings
from tests.support.oidc import CONFIGURATION, Fault, OidcProvider, open_provider
from tests.support.signed_tokens import signing_key

KEY_SET = "/jwks"


@pytest.fixture
def provider():
    with open_provider() as found:
        yield found


def is_valid(followed: FollowedIssuers, token: str) -> bool:
    try:
        followed.verdicts.check(token, time.time())
    except TokenRefused:
        return False
    return True


async def find_and_check(followed: FollowedIssuers, token: str) -> bool:
    """Check a token as a request does: after a fetch if its key is unknown."""
    try:
        return bool(followed.verdicts.check(token, time.time()))
    except (UnknownKey, CannotJudge) as missing:
        await followed.keys.find_key(missing)
    return is_valid(followed, token)


# The schedule


@pytest.mark.parametrize(
    ("header", "early", "late"),
    [
        (None, 530, 601),
        ("max-age=60", 260, 301),
        ("public, max-age=3600", 3200, 3601),
        ('private,MAX-AGE="7200"', 6400, 7201),
        ("max-age=99999999", 77_000, 86_401),
        ("s-maxage=5, max-age=abc", 530, 601),
        ("no-store", 530, 601),
    ],
)
async def test_keys_are_fetched_at_start_and_after_ten_minutes_or_their_max_age_within_bounds(
    provider: OidcProvider, header: str | None, early: float, late: float
):
    if header is not None:
        provider.jwks_headers["cache-control"] = header
    async with follow_issuers(issuer_settings(provider)) as followed:
        assert is_valid(followed, provider.token())
        await followed.advance(early)
        assert provider.count(KEY_SET) == 1
        await followed.advance(late - early)
        assert provider.count(KEY_SET) == 2


# Rotation


async def test_a_rotated_key_works_on_first_use(provider: OidcProvider):
    async with follow_issuers(issuer_settings(provider)) as followed:
        provider.rotate()
        assert await find_and_check(followed, provider.token())
        assert provider.count(KEY_SET) == 2
        assert is_valid(followed, provider.token(provider.keys[0]))


async def test_concurrent_requests_with_an_unknown_key_share_a_fetch(provider: OidcProvider):
    async with follow_issuers(issuer_settings(provider)) as followed:
        provider.rotate()
        tokens, found = [provider.token(sub=f"p{n}") for n in range(50)], []

        async def use(token: str) -> None:
            found.append(await find_and_check(followed, token))

        async with trio.open_nursery() as nursery:
            for token in tokens:
                nursery.start_soon(use, token)
        assert found == [True] * 50
        assert provider.count(KEY_SET) == 2


async def test_requests_during_a_fetch_that_is_too_early_share_the_next(provider: OidcProvider):
    async with follow_issuers(issuer_settings(provider)) as followed:
        old = provider.keys
        provider.faults[KEY_SET] = Fault(
            hold=(held := threading.Event()), body=json.dumps({"keys": [key.jwk() for key in old]}).encode()
        )
        followed.clock.now += 601
        followed.keys.follow(followed.clients)  # a fetch whose result is of a time before the rotation
        await trio.testing.wait_all_tasks_blocked(0.02)
        provider.rotate()
        found: list[bool] = []

        async def use(token: str) -> None:
            found.append(await find_and_check(followed, token))

        async with trio.open_nursery() as nursery:
            for n in range(20):
                nursery.start_soon(use, provider.token(sub=f"p{n}"))
            await trio.testing.wait_all_tasks_blocked(0.02)
            del provider.faults[KEY_SET]
            held.set()
        assert found == [True] * 20
        assert provider.count(KEY_SET) == 3


async def test_a_key_that_is_published_during_the_first_fetch_works_on_first_use(provider: OidcProvider):
    old = json.dumps({"keys": [key.jwk() for key in provider.keys]}).encode()
    provider.faults[KEY_SET] = Fault(status=503)
    async with follow_issuers(issuer_settings(provider)) as followed:
        provider.faults[KEY_SET] = Fault(hold=(held := threading.Event()), body=old)
        followed.clock.now += 3
        followed.keys.follow(followed.clients)
        await trio.testing.wait_all_tasks_blocked(0.02)
        provider.rotate()
        found: list[bool] = []

        async def use() -> None:
            found.append(await find_and_check(followed, provider.token()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(use)
            await trio.testing.wait_all_tasks_blocked(0.02)
            del provider.faults[KEY_SET]
            held.set()
        assert found == [True]


async def test_an_unexpected_error_ends_neither_the_process_nor_the_fetches(
    provider: OidcProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async with follow_issuers(issuer_settings(provider)) as followed:
        monkeypatch.setattr("gateway.features.people.issuer_http.parse_key_set", lambda body: 1 // 0)
        await followed.advance(601)
        assert is_valid(followed, provider.token())
        assert "unexpected error: ZeroDivisionError" in followed.keys.state()[0]["error"]
        monkeypatch.undo()
        await followed.advance(10)
        assert "error" not in followed.keys.state()[0]
    assert "okta: unexpected error" in caplog.text


async def test_invented_keys_cause_two_fetches_a_minute(provider: OidcProvider):
    attacker = signing_key("attacker")
    async with follow_issuers(issuer_settings(provider)) as followed:
        forged = [provider.token(attacker, {"kid": f"invented-{n}"}) for n in range(100)]
        for minute_half in range(4):
            for token in forged:
                assert not await find_and_check(followed, token)
            assert provider.count(KEY_SET) == 2 + minute_half
            followed.clock.now += 30
        provider.rotate()  # under the flood a rotated key works within 30 seconds
        followed.clock.now -= 1
        assert not await find_and_check(followed, forged[0])
        assert not is_valid(followed, provider.token())
        followed.clock.now += 1
        assert await find_and_check(followed, provider.token())


async def test_a_flood_for_one_issuer_does_not_delay_the_keys_of_another(provider: OidcProvider):
    with open_provider() as other:
        async with follow_issuers(issuer_settings(provider), issuer_settings(other, "other")) as followed:
            assert not await find_and_check(followed, provider.token(signing_key("attacker")))
            other.rotate()
            assert await find_and_check(followed, other.token())


async def test_a_removed_key_is_refused_after_the_next_fetch(provider: OidcProvider):
    async with follow_issuers(issuer_settings(provider)) as followed:
        token = provider.token()
        assert is_valid(followed, token)
        provider.rotate(keep=False)
        assert is_valid(followed, token)
        await followed.advance(601)
        assert not is_valid(followed, token)
        assert is_valid(followed, provider.token())


# Outages


FAULTS = {
    "closes connections": Fault(gone=True),
    "503": Fault(status=503, body=b"busy"),
    "HTML": Fault(body=b"<html>maintenance</html>"),
    "no keys": Fault(body=b'{"keys": []}', content_type="application/json"),
    "a redirect": Fault(redirect="/elsewhere"),
}


@pytest.mark.parametrize("path", [KEY_SET, CONFIGURATION])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_the_last_keys_of_an_unavailable_issuer_stay_valid_for_a_day(
    provider: OidcProvider, path: str, fault: Fault, caplog: pytest.LogCaptureFixture
):
    async with follow_issuers(issuer_settings(provider)) as followed:
        token, far = provider.token(exp=time.time() + 300), followed.clock.now
        with caplog.at_level(logging.INFO, "trigate.people"):
            provider.faults[path] = fault
            for seconds in (601, 30, 600, 3600):
                await followed.advance(seconds)
            assert is_valid(followed, token)
            assert not await find_and_check(followed, provider.token(signing_key("attacker")))
            assert followed.keys.stale_seconds()["okta"] > 600
            assert followed.keys.state()[0]["error"]
            await followed.advance(far + STALE_SECONDS + 605 - followed.clock.now)
            with pytest.raises(CannotJudge, match="okta"):
                followed.verdicts.check(token, time.time())
            assert followed.keys.state()[0]["keys"] == 0
            provider.faults.clear()
            await followed.advance(301)
            assert is_valid(followed, token)
        assert followed.keys.stale_seconds() == {"okta": 0.0}
        assert "error" not in followed.keys.state()[0]
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        assert "its last keys stay valid for a day" in caplog.text
    assert provider.count("/elsewhere") == 0


async def test_an_issuer_that_was_never_reached_cannot_be_judged_until_it_returns(
    provider: OidcProvider, caplog: pytest.LogCaptureFixture
):
    provider.go_down()
    with caplog.at_level(logging.WARNING, "trigate.people"):
        async with follow_issuers(issuer_settings(provider)) as followed:
            token = provider.token()
            with pytest.raises(CannotJudge):
                await find_and_check(followed, token)
            provider.faults.clear()
            await followed.advance(10)
            assert is_valid(followed, token)
    assert "requests with its tokens get 503" in caplog.text


async def test_attempts_become_rarer_during_an_outage(provider: OidcProvider):
    provider.faults[KEY_SET] = Fault(status=500)
    async with follow_issuers(issuer_settings(provider)) as followed:
        for _ in range(3600):
            followed.clock.now += 1
            if followed.keys.next_fetch <= followed.clock.now:
                await followed.advance(0)
        assert 15 < provider.count(KEY_SET) < 25


async def test_a_request_waits_two_seconds_at_most_for_a_slow_issuer(provider: OidcProvider):
    async with follow_issuers(issuer_settings(provider)) as followed:
        provider.rotate()
        provider.faults[KEY_SET] = Fault(hold=(held := threading.Event()))
        began = time.monotonic()
        assert not await find_and_check(followed, provider.token())
        assert time.monotonic() - began > 1.9
        assert is_valid(followed, provider.token(provider.keys[0])), "others do not wait"
        held.set()
        await followed.settle()
        assert is_valid(followed, provider.token())


async def test_a_cancelled_request_does_not_end_the_fetch_for_others(provider: OidcProvider):
    async with follow_issuers(issuer_settings(provider)) as followed:
        provider.rotate()
        provider.faults[KEY_SET] = Fault(hold=(held := threading.Event()))
        with trio.move_on_after(0.1):
            await find_and_check(followed, provider.token())
        held.set()
        assert await find_and_check(followed, provider.token())
        assert provider.count(KEY_SET) == 2


# Places of keys


async def test_a_key_set_may_be_a_file_that_changes(tmp_path: Path, provider: OidcProvider):
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [provider.keys[0].jwk()]}))
    async with follow_issuers(issuer_settings(provider, jwks=file)) as followed:
        assert is_valid(followed, provider.token())
        key = provider.rotate(keep=False)
        file.write_text(json.dumps({"keys": [key.jwk()]}))
        assert await find_and_check(followed, provider.token())
        file.unlink()
        await followed.advance(601)
        assert is_valid(followed, provider.token())
        assert "cannot read" in followed.keys.state()[0]["error"]
    assert provider.seen == []


async def test_the_url_of_a_key_set_needs_no_discovery(provider: OidcProvider):
    async with follow_issuers(issuer_settings(provider, jwks=f"{provider.issuer}/jwks")) as followed:
        assert is_valid(followed, provider.token())
    assert provider.count(CONFIGURATION) == 0


# Changes of the configuration


async def test_a_reload_keeps_the_keys_of_unchanged_issuers(provider: OidcProvider):
    async with follow_issuers(issuer_settings(provider)) as followed:
        await followed.advance(1)
        assert (provider.count(KEY_SET), followed.keys.stale_seconds()) == (1, {"okta": 0.0})
        followed.clients = []
        await followed.advance(1)
        assert followed.keys.current("okta") is None
        assert followed.keys.stale_seconds() == {"okta": 0.0}
        assert followed.keys.state() == []
