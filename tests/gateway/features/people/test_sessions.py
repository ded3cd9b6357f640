"""Sessions over both databases, with a real provider: refresh, reuse, outages, and several simultaneous processes."""

import contextlib
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import attrs
import pytest
import trio

from gateway.config_files.loading import Config, from_mapping
from gateway.features.people import confirming
from gateway.features.people.confirming import IssuerConfirmation
from gateway.features.people.followed import FollowedPeople
from gateway.features.people.issuers import IssuerDirectory
from gateway.features.people.records import ISSUER_SESSIONS, Block, DeviceGrant, OwnKey, digest_of
from gateway.features.people.rules import NotAdmitted, RuleBook
from gateway.features.people.session_tokens import RefreshSeals
from gateway.features.people.sessions import GrantRefused, IssuedTokens, PersonBlocked, Sessions
from gateway.features.people.settings import issuers_of
from gateway.features.people.store import PeopleStore
from gateway.features.people.token_format import TokenRefused
from gateway.stores.database import Database
from gateway.stores.errors import Unavailable
from gateway.stores.record_tables import RightsTables
from streams.errors import GatewayError
from tests.support.harness import PATIENCE
from tests.support.oidc import CLIENT_ID, CLIENT_SECRET, Fault, OidcProvider, open_provider

KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
NEXT_KEY = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB="
ADA = {"sub": "00u1", "email": "ada@example.com", "name": "Ada", "groups": ["ml"]}
HOUR = 3600.0


class Clock:
    """A clock that tests move: Unix time and an offset."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


class Arrival(threading.Event):
    """An event for which a request waits, and ``arrived`` once it does."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.arrived.set()
        return super().wait(timeout)


@attrs.define
class Process:
    """A single process of a gateway."""

    store: PeopleStore
    followed: FollowedPeople
    sessions: Sessions

    async def follow(self) -> None:
        """Read the changes of other processes."""
        news = await self.store.database.read(
            lambda session: self.followed.news_since(RightsTables(session), None, 0.0)
        )
        self.followed.apply(news)


@attrs.define
class Gateways:
    """Several processes with the same database and provider, and with separate clocks."""

    provider: OidcProvider
    open_database: Callable[..., Database]
    tasks: trio.Nursery
    clock: Clock = attrs.field(factory=Clock)
    opened: list[Callable[[], Awaitable[object]]] = attrs.field(factory=list)

    def config(self, **more: Any) -> Config:
        return from_mapping(
            {
                "version": "v0.4.0",
                "public_url": "http://127.0.0.1:12000",
                "signing_key": KEY,
                "state_storage": {"type": "sqlite", "path": "/tmp/unused.sqlite"},
                "model_providers": [{"model": "openai/a", "access_key": "k"}],
                "client_groups": [{"name": "research"}],
                "issuers": [
                    {
                        "name": "okta",
                        "issuer": self.provider.issuer,
                        "audience": ["trigate"],
                        "login": {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET},
                        "admit": [{"when": {"groups": "ml"}, "group": "research"}],
                    }
                ],
                **more,
            }
        )

    def process(self, clock: Clock | None = None, **more: Any) -> Process:
        """Start another process."""
        now, config = clock or self.clock, self.config(**more)
        store, issuers = PeopleStore(self.open_database()), IssuerDirectory(config)
        self.tasks.start_soon(issuers.run)
        followed = FollowedPeople(now)
        confirmation = IssuerConfirmation(store, issuers, RefreshSeals(config.signing_key), {}, now)
        self.opened += [issuers.aclose, store.database.aclose]
        return Process(
            store, followed, Sessions(config, store, RuleBook(issuers_of(config)), confirmation, followed, now)
        )


@pytest.fixture
def provider() -> Iterator[OidcProvider]:
    with open_provider(people={"ada": dict(ADA)}) as provider:
        yield provider


@pytest.fixture
async def gateways(provider, open_database) -> AsyncIterator[Gateways]:
    async with trio.open_nursery() as nursery:
        made = Gateways(provider, open_database, nursery)
        yield made
        for close in made.opened:
            await close()
        nursery.cancel_scope.cancel()


async def sign_in(process: Process, provider: OidcProvider, *, lasting: bool = True, cookie: str = "cookie") -> Any:
    refresh = provider.new_refresh_token("ada") if lasting else None
    return await process.sessions.sign_in("okta", ADA, refresh, cookie=cookie, program="Firefox", address="127.0.0.1")


async def approved_device(process: Process, session: Any, code: str = "device") -> str:
    now = session.session.began
    await process.store.add_grant(
        DeviceGrant(digest_of(code), digest_of(f"user {code}"), "Claude Code", "127.0.0.1", now, now + 600.0)
    )
    assert await process.store.decide_grant(digest_of(f"user {code}"), session.session, now)
    return code


async def signed_in(process: Process, provider: OidcProvider, *, lasting: bool = True) -> IssuedTokens:
    """Return the tokens of a program that a person has approved."""
    session = await sign_in(process, provider, lasting=lasting)
    return await process.sessions.redeem_device_code(await approved_device(process, session))


async def refusal_of(call: Awaitable[IssuedTokens]) -> GrantRefused:
    with pytest.raises(GrantRefused) as error:
        await call
    return error.value


def refresh_of(tokens: IssuedTokens) -> str:
    assert tokens.refresh_token is not None
    return tokens.refresh_token


# Sign-in and device codes


async def test_a_program_gets_the_tokens_of_the_person_who_approved_it(gateways, provider):
    one, other = gateways.process(), gateways.process()
    tokens = await signed_in(one, provider)
    assert (tokens.person.name, tokens.person.group, tokens.expires_in) == ("okta:00u1", "research", 3600)
    read = other.sessions.tokens.read(tokens.access_token, time.time())
    assert (read.person, read.session, read.claims["groups"]) == ("okta:00u1", tokens.session, ["ml"])
    assert (await refusal_of(other.sessions.redeem_device_code("device"))).code == "invalid_grant"
    kinds = [session.kind for session in await other.store.sessions("okta:00u1", time.time())]
    assert sorted(kinds) == ["browser", "device"]


async def test_a_program_is_not_signed_in_by_a_session_that_has_ended(gateways, provider):
    process = gateways.process()
    session = await sign_in(process, provider)
    code = await approved_device(process, session)
    await process.sessions.end("okta:00u1", session.session.id)
    assert (await refusal_of(process.sessions.redeem_device_code(code))).code == "access_denied"


async def test_without_an_issuers_refresh_token_a_session_ends_with_its_token(gateways, provider):
    process = gateways.process()
    tokens = await signed_in(process, provider, lasting=False)
    assert tokens.refresh_token is None
    assert await process.sessions.browser_session("cookie") is not None
    gateways.clock.offset = HOUR + 1
    assert await process.sessions.browser_session("cookie") is None
    assert provider.count("/token") == 0


async def test_a_sign_in_without_a_rule_ends_all_access(gateways, provider):
    process = gateways.process()
    await signed_in(process, provider)
    now = time.time()
    key = OwnKey("okta:00u1", "laptop", digest_of("sk"), now + HOUR, now)
    person = await process.store.person("okta:00u1")
    assert person is not None
    assert await process.store.put_own_key(person, key, 3, now)
    with pytest.raises(NotAdmitted):
        await process.sessions.sign_in("okta", {**ADA, "groups": []}, None, cookie="c2")
    assert await process.store.sessions("okta:00u1", now) == ()
    assert await process.store.own_keys("okta:00u1") == ()


async def test_a_blocked_person_gets_no_session(gateways, provider):
    process = gateways.process()
    tokens = await signed_in(process, provider)
    await process.store.block(Block("okta:00u1", time.time(), "boss"))
    with pytest.raises(PersonBlocked):
        await sign_in(process, provider)
    assert (await refusal_of(process.sessions.refresh(refresh_of(tokens)))).code == "invalid_grant"
    await process.follow()
    assert process.followed.is_ended(tokens.session)


# Refresh


async def test_a_refresh_rotates_the_token_and_applies_the_rules_anew(gateways, provider):
    one, other = gateways.process(), gateways.process()
    tokens = await signed_in(one, provider)
    provider.people["ada"]["name"] = "Ada L."
    later = await other.sessions.refresh(refresh_of(tokens))
    assert later.refresh_token not in (None, tokens.refresh_token)
    assert (later.session, later.person.full_name) == (tokens.session, "Ada L.")
    assert provider.count("/token") == 1
    again = await one.sessions.refresh(refresh_of(later))
    assert provider.count("/token") == 2, "the issuer's refresh token rotates too"
    assert again.refresh_token != later.refresh_token


@pytest.mark.parametrize("how", ["refused by the issuer", "no rule", "unknown to the issuer"])
async def test_a_refresh_after_the_person_left_ends_all_its_sessions(gateways, provider, how):
    process = gateways.process()
    tokens = await signed_in(process, provider)
    if how == "no rule":
        provider.people["ada"]["groups"] = ["sales"]
    elif how == "unknown to the issuer":
        del provider.people["ada"]
    else:
        provider.revoked.add("ada")
    error = await refusal_of(process.sessions.refresh(refresh_of(tokens)))
    assert error.code == "invalid_grant"
    assert await process.sessions.browser_session("cookie") is None
    await process.follow()
    assert process.followed.is_ended(tokens.session), "also the tokens that have not expired"


@pytest.mark.parametrize(
    ("faults", "wrong"),
    [
        *(({"/token": one}, {}) for one in (Fault(gone=True), Fault(body=b"<html>"), Fault(body=b"{}"),
                                            Fault(body=b'{"error": "invalid_token"}'))),
        *(({}, one) for one in ({"sub": "00u2"}, {"aud": "another"}, {"iss": "https://evil.example"}, {"exp": 1})),
    ],
)  # fmt: skip
async def test_a_refresh_without_a_valid_answer_of_the_issuer_changes_nothing(gateways, provider, faults, wrong):
    process = gateways.process()
    tokens = await signed_in(process, provider)
    provider.faults.update(faults)
    provider.wrong.update(wrong)
    with pytest.raises(GatewayError, match="okta is unavailable"):
        await process.sessions.refresh(refresh_of(tokens))
    provider.faults.clear()
    provider.wrong.clear()
    later = await process.sessions.refresh(refresh_of(tokens))
    assert (later.session, later.person.name) == (tokens.session, "okta:00u1")


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("rotates", [True, False])
async def test_a_late_response_of_the_issuer_serves_the_next_refresh(gateways, provider, monkeypatch, rotates, ends):
    monkeypatch.setattr(confirming, "REFRESH_SECONDS", 0.1)
    other, hold = gateways.process(), Arrival()
    async with trio.open_nursery() as tasks:
        one = attrs.evolve(gateways, tasks=tasks).process()
        tokens, provider.rotates = await signed_in(one, provider), rotates
        provider.faults["/token"] = Fault(hold=hold)
        with pytest.raises(GatewayError, match="okta is unavailable"):
            await one.sessions.refresh(refresh_of(tokens))
        monkeypatch.setattr(confirming, "REFRESH_SECONDS", PATIENCE)
        provider.faults.clear()
        if ends:
            tasks.cancel_scope.cancel()  # the process waits for the response
        hold.set()
        if not ends:
            tokens = await other.sessions.refresh(refresh_of(tokens))
            tasks.cancel_scope.cancel()
    assert (await other.sessions.refresh(refresh_of(tokens))).person.name == "okta:00u1"


async def test_a_slow_storage_is_not_called_an_unavailable_issuer(gateways, provider, monkeypatch):
    monkeypatch.setattr(confirming, "WAIT", 0.1)
    process, begun = gateways.process(), threading.Event()
    tokens = await signed_in(process, provider)

    def write_slowly(session: object) -> None:
        begun.set()
        threading.Event().wait(0.5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.store.database.write, write_slowly)
        assert await trio.to_thread.run_sync(begun.wait, PATIENCE)
        assert (await process.sessions.refresh(refresh_of(tokens))).session == tokens.session


async def test_a_refresh_token_works_again_for_ten_seconds(gateways, provider):
    one, other = gateways.process(), gateways.process()
    tokens = await signed_in(one, provider)
    first = await one.sessions.refresh(refresh_of(tokens))
    gateways.clock.offset = 9.0
    second = await other.sessions.refresh(refresh_of(tokens))
    assert second.refresh_token == first.refresh_token, "the response may have been lost"
    assert second.session == tokens.session
    assert provider.count("/token") == 1
    third = await other.sessions.refresh(refresh_of(second))
    late = await one.sessions.refresh(refresh_of(tokens))
    assert late.refresh_token == third.refresh_token


async def test_a_refresh_token_that_is_reused_later_ends_the_session(gateways, provider):
    # RFC 9700, section 4.14.2: the thief or the owner has the older token, but the gateway does not know which of them.
    one, other = gateways.process(), gateways.process()
    tokens = await signed_in(one, provider)
    later = await one.sessions.refresh(refresh_of(tokens))
    gateways.clock.offset = 11.0
    assert (await refusal_of(other.sessions.refresh(refresh_of(tokens)))).code == "invalid_grant"
    assert (await refusal_of(one.sessions.refresh(refresh_of(later)))).code == "invalid_grant"
    await one.follow()
    assert one.followed.is_ended(tokens.session)
    assert await one.sessions.browser_session("cookie") is not None, "the browser's own session stays"


async def test_simultaneous_refreshes_agree_and_use_the_issuers_token_once(gateways, provider):
    processes = [gateways.process() for _ in range(3)]
    tokens = await signed_in(processes[0], provider)
    results: list[IssuedTokens] = []

    async def refresh(process: Process) -> None:
        results.append(await process.sessions.refresh(refresh_of(tokens)))

    async with trio.open_nursery() as nursery:
        for number in range(9):
            nursery.start_soon(refresh, processes[number % 3])
    assert len({one.refresh_token for one in results}) == 1
    assert len(results) == 9
    assert provider.count("/token") == 1
    assert (await processes[1].sessions.refresh(refresh_of(results[0]))).session == tokens.session


async def test_sessions_of_one_sign_in_share_the_issuers_token(gateways, provider):
    one, other = gateways.process(), gateways.process()
    session = await sign_in(one, provider)
    devices = [await one.sessions.redeem_device_code(await approved_device(one, session, code)) for code in ("a", "b")]
    results: list[IssuedTokens] = []

    async def refresh(process: Process, tokens: IssuedTokens) -> None:
        results.append(await process.sessions.refresh(refresh_of(tokens)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refresh, one, devices[0])
        nursery.start_soon(refresh, other, devices[1])
    assert {one.session for one in results} == {one.session for one in devices}
    later = [await other.sessions.refresh(refresh_of(one)) for one in results]
    assert len({one.refresh_token for one in later}) == 2


async def test_a_process_that_dies_during_a_refresh_delays_the_next_one_only(gateways, provider):
    one, other = gateways.process(), gateways.process()
    tokens = await signed_in(one, provider)
    found = await one.store.find_refresh(digest_of(refresh_of(tokens)))
    assert found.issuer_session is not None
    await one.store.claim_issuer_session(found.issuer_session, gateways.clock())  # and dies
    with pytest.raises(GatewayError, match="okta is unavailable"):
        await other.sessions.refresh(refresh_of(tokens))
    gateways.clock.offset = 11.0
    assert (await other.sessions.refresh(refresh_of(tokens))).session == tokens.session


async def test_a_client_that_disconnects_early_can_repeat_the_refresh_later(gateways, provider):
    process = gateways.process()
    tokens = await signed_in(process, provider)
    hold = Arrival()
    provider.faults["/token"] = Fault(hold=hold)
    with trio.CancelScope() as client:
        async with trio.open_nursery() as nursery:

            async def disconnect() -> None:
                await trio.to_thread.run_sync(hold.arrived.wait)
                client.cancel()
                hold.set()

            nursery.start_soon(disconnect)
            await process.sessions.refresh(refresh_of(tokens))
    gateways.clock.offset = 90.0
    again = await process.sessions.refresh(refresh_of(tokens))
    assert (await process.sessions.refresh(refresh_of(again))).session == tokens.session


async def test_a_refresh_token_that_could_not_be_stored_reaches_other_processes_later(gateways, provider, monkeypatch):
    monkeypatch.setattr(confirming, "STORE_AGAIN", 0.05)
    one, other, outage = gateways.process(), gateways.process(), gateways.process()
    tokens = await signed_in(one, provider)
    (before,) = await one.store.list(ISSUER_SESSIONS)
    hold, is_locked, ends = Arrival(), threading.Event(), threading.Event()
    provider.faults["/token"] = Fault(hold=hold)

    def lock(session: Any) -> None:
        RightsTables(session).lock()
        is_locked.set()
        ends.wait(PATIENCE)

    async def lock_during_the_refresh() -> None:
        await trio.to_thread.run_sync(hold.arrived.wait)
        with contextlib.suppress(Unavailable):
            await outage.store.database.write(lock)

    async def answer_when_locked() -> None:
        await trio.to_thread.run_sync(is_locked.wait)
        hold.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lock_during_the_refresh)
        nursery.start_soon(answer_when_locked)
        with pytest.raises(Unavailable):
            await one.sessions.refresh(refresh_of(tokens))
        ends.set()
    provider.faults.clear()
    with trio.fail_after(PATIENCE):
        while (await other.store.list(ISSUER_SESSIONS))[0].refresh == before.refresh:  # noqa: ASYNC110 - a row
            await trio.sleep(0.01)
    gateways.clock.offset = 11.0
    assert (await other.sessions.refresh(refresh_of(tokens))).session == tokens.session


@pytest.mark.parametrize("rotates", [True, False])
async def test_a_session_outlives_the_rotation_of_the_signing_key(gateways, provider, rotates):
    provider.rotates = rotates
    tokens = await signed_in(gateways.process(signing_key=[KEY]), provider)
    for keys in ([NEXT_KEY, KEY], [NEXT_KEY]):
        tokens = await gateways.process(signing_key=keys).sessions.refresh(refresh_of(tokens))


async def test_a_stolen_refresh_token_of_another_gateway_is_unknown(gateways, provider):
    process = gateways.process()
    assert (await refusal_of(process.sessions.refresh("tgr_guess"))).is_known is False
    assert (await refusal_of(process.sessions.refresh("tgr_\udcff"))).is_known is False


async def test_a_session_ends_after_its_longest_time(gateways, provider):
    process = gateways.process(sessions={"longest": "2h"})
    tokens = await signed_in(process, provider)
    gateways.clock.offset = HOUR * 1.5
    provider.wrong["exp"] = int(gateways.clock()) + 300
    later = await process.sessions.refresh(refresh_of(tokens))
    assert later.expires_in in range(1797, 1802)
    gateways.clock.offset = HOUR * 2 + 1
    assert (await refusal_of(process.sessions.refresh(refresh_of(later)))).code == "invalid_grant"
    assert await process.sessions.browser_session("cookie") is None


async def test_gateways_with_clocks_half_a_minute_apart_share_sessions(gateways, provider):
    behind, ahead = Clock(), Clock()
    behind.offset, ahead.offset = -15.0, 15.0
    one, other = gateways.process(behind), gateways.process(ahead)
    tokens = await signed_in(one, provider)
    for process in (other, one, other, one):
        tokens = await process.sessions.refresh(refresh_of(tokens))
    for process, clock in ((one, behind), (other, ahead)):
        assert process.sessions.tokens.read(tokens.access_token, clock()).session == tokens.session


# Claims after a refresh


async def test_claims_that_only_userinfo_has_are_read_there_again(gateways, provider):
    process = gateways.process()
    tokens = await signed_in(process, provider)
    provider.only_userinfo = frozenset({"groups"})
    assert (await process.sessions.refresh(refresh_of(tokens))).person.groups == ("ml",)
    assert provider.count("/userinfo") == 1


@pytest.mark.parametrize("what", ["another person", "slow"])
async def test_a_wrong_userinfo_keeps_the_session_and_the_issuers_token(gateways, provider, what):
    process = gateways.process()
    tokens = await signed_in(process, provider)
    provider.only_userinfo = frozenset({"groups"})
    if what == "slow":
        provider.faults["/userinfo"] = Fault(status=500)
    else:
        provider.userinfo = {"sub": "00u2"}
    with pytest.raises(GatewayError, match="okta is unavailable"):
        await process.sessions.refresh(refresh_of(tokens))
    provider.userinfo, provider.only_userinfo = {}, frozenset()
    assert (await process.sessions.refresh(refresh_of(tokens))).session == tokens.session


# Browsers


async def test_a_browsers_session_is_confirmed_every_hour(gateways, provider):
    one, other = gateways.process(), gateways.process()
    await sign_in(one, provider)
    for process in (one, other, one):
        assert await process.sessions.browser_session("cookie") is not None
    assert provider.count("/token") == 0
    gateways.clock.offset = HOUR
    provider.wrong["exp"] = int(gateways.clock()) + 300
    for process in (one, one, other):
        found = await process.sessions.browser_session("cookie")
        assert found.person.name == "okta:00u1"
    assert provider.count("/token") == 1
    provider.revoked.add("ada")
    gateways.clock.offset = 2 * HOUR + 1
    assert await one.sessions.browser_session("cookie") is None
    assert await other.sessions.browser_session("cookie") is None


async def test_a_sign_out_long_after_the_sign_in_reaches_processes_that_know_the_session(gateways, provider):
    one, other = gateways.process(), gateways.process()
    session = await sign_in(one, provider)
    gateways.clock.offset = HOUR / 2
    assert await other.sessions.browser_session("cookie") is not None
    assert await one.sessions.end("okta:00u1", session.session.id)
    assert not await one.sessions.end("okta:00u1", session.session.id)
    assert await other.sessions.browser_session("unknown") is None
    await other.follow()
    assert await other.sessions.browser_session("cookie") is None, "it would read the session again in five seconds"
    await other.store.database.aclose()
    gateways.clock.offset = HOUR
    assert await other.sessions.browser_session("cookie") is None, "also if the store cannot be read"


async def test_a_known_browsers_session_survives_an_outage_of_the_store(gateways, provider, tmp_path):
    process = gateways.process()
    await sign_in(process, provider)
    assert await process.sessions.browser_session("cookie") is not None
    await process.store.database.aclose()
    gateways.clock.offset = 60.0
    assert await process.sessions.browser_session("cookie") is not None
    with pytest.raises(Unavailable):
        await process.sessions.browser_session("unknown")
    gateways.clock.offset = HOUR - 60
    assert await process.sessions.browser_session("cookie") is not None
    with pytest.raises(Unavailable):
        await sign_in(process, provider)


async def test_a_person_with_many_groups_gets_a_token_that_fits_into_a_header(gateways, provider):
    process = gateways.process()
    groups = [f"{number:036}" for number in range(500)]
    session = await process.sessions.sign_in("okta", {**ADA, "groups": [*groups, "ml"]}, None, cookie="cookie")
    tokens = await process.sessions.redeem_device_code(await approved_device(process, session))
    assert len(tokens.access_token) < 7000
    read = process.sessions.tokens.read(tokens.access_token, time.time())
    assert read.claims["groups"] == ["ml"], "the group that a rule mentions"
    assert (tokens.person.group, len(tokens.person.groups)) == ("research", 500)


# A clock that was too fast, and is set back


async def test_a_token_of_a_clock_that_was_set_back_is_refused(gateways, provider):
    """The end of such a token is too late by the same time."""
    process = gateways.process()
    gateways.clock.offset = 24 * HOUR
    tokens = await signed_in(process, provider)
    assert process.sessions.tokens.read(tokens.access_token, gateways.clock()).person == "okta:00u1"
    gateways.clock.offset = 24 * HOUR - 50.0
    assert process.sessions.tokens.read(tokens.access_token, gateways.clock()).person == "okta:00u1"
    gateways.clock.offset = 0.0
    with pytest.raises(TokenRefused, match="from the future"):
        process.sessions.tokens.read(tokens.access_token, gateways.clock())


async def test_a_used_refresh_token_ends_its_session_also_after_the_clock_was_set_back(gateways, provider):
    process = gateways.process()
    gateways.clock.offset = 24 * HOUR
    provider.wrong["exp"] = time.time() + 48 * HOUR
    tokens = await signed_in(process, provider)
    await process.sessions.refresh(refresh_of(tokens))
    gateways.clock.offset = 0.0
    assert (await refusal_of(process.sessions.refresh(refresh_of(tokens)))).code == "invalid_grant"
    await process.follow()
    assert process.followed.is_ended(tokens.session)


async def test_a_browser_is_confirmed_after_the_clock_was_set_back(gateways, provider):
    process = gateways.process()
    gateways.clock.offset = 24 * HOUR
    await sign_in(process, provider)
    gateways.clock.offset = 0.0
    provider.revoked.add("ada")
    assert await process.sessions.browser_session("cookie") is None, "the person left the company"


async def test_sign_ins_and_refreshes_of_a_wrong_clock_lock_no_one_out(gateways, provider):
    process = gateways.process()
    gateways.clock.offset = 24 * HOUR
    for number in range(100):
        await sign_in(process, provider, lasting=False, cookie=f"cookie-{number}")
    with pytest.raises(GatewayError):
        await sign_in(process, provider, lasting=False, cookie="one too many")
    gateways.clock.offset = 0.0
    tokens = await signed_in(process, provider)
    gateways.clock.offset = 24 * HOUR
    provider.wrong["exp"] = time.time() + 48 * HOUR
    for _ in range(60):
        tokens = await process.sessions.refresh(refresh_of(tokens))
    asked = provider.count("/token")
    with pytest.raises(GatewayError, match="refresh"):
        await process.sessions.refresh(refresh_of(tokens))
    assert provider.count("/token") == asked, "a loop must not exhaust the issuer's rate limit, which all people share"
    gateways.clock.offset = 0.0
    assert (await process.sessions.refresh(refresh_of(tokens))).session == tokens.session
