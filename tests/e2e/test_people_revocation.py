"""Revocation of people's credentials in two gateways: over SQLite with two workers each, and over PostgreSQL.

Each process is watched over connections of its own while a change is made: no request that begins half a second after
the change is answered by the old rights. Requests of others are not affected, and running ones complete."""

import contextlib
import http.client
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, TypeVar

import attrs
import pytest
import trio

from gateway.config.loading import Config, from_mapping
from gateway.open_store import open_people_store
from gateway.people.confirming import IssuerConfirmation
from gateway.people.followed import FollowedPeople
from gateway.people.issuers import IssuerDirectory
from gateway.people.records import Block, DeviceGrant, OwnKey, digest_of
from gateway.people.rules import RuleBook
from gateway.people.seals import RefreshSeals
from gateway.people.sessions import IssuedTokens, Sessions
from gateway.people.store import PeopleStore
from tests.support.cases import case
from tests.support.harness import Gateway, config, free_port, provider, running
from tests.support.oidc import OidcProvider, open_provider

pytestmark = pytest.mark.process

T = TypeVar("T")

SIGNING_KEY: Final = "c2lnbmluZy1rZXktb2YtdGhlLXRlc3RzLTMyYnl0ZXM="
CONNECTIONS: Final = 6
"""Connections to each gateway, which its workers share."""
ALLOWED: Final = 0.5
SLACK: Final = 0.5
"""Seconds for other work on this machine."""


@attrs.define
class Watch:
    """Requests with one credential over several connections. ``seen`` has the start of each request and its result."""

    read: Callable[[http.client.HTTPConnection], str]
    ports: tuple[int, ...]
    seen: list[tuple[int, float, str]] = attrs.field(factory=list)
    _stop: threading.Event = attrs.field(factory=threading.Event)

    def _run(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[number % len(self.ports)], timeout=30)
        while not self._stop.is_set():
            began = time.monotonic()
            self.seen.append((number, began, self.read(connection)))
            self._stop.wait(0.03)
        connection.close()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._run, args=(i,)) for i in range(CONNECTIONS * len(self.ports))]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def wait_for(self, result: str, seconds: float = 10.0) -> None:
        """Wait until the last request of each connection had ``result``."""
        until = time.monotonic() + seconds
        while True:
            last = {number: found for number, _, found in list(self.seen)}
            if len(last) == CONNECTIONS * len(self.ports) and set(last.values()) == {result}:
                return
            assert time.monotonic() < until, last
            time.sleep(0.03)  # noqa: ASYNC251  # a thread

    @property
    def longest_gap(self) -> float:
        """The longest time between two requests of a connection: how busy this machine is."""
        gaps, last = [0.0], dict[int, float]()
        for number, began, _ in list(self.seen):
            gaps.append(began - last.get(number, began))
            last[number] = began
        return max(gaps)

    def seconds_until(self, changed: float, result: str) -> float:
        """Return the seconds from ``changed`` to the start of the last request without ``result``."""
        return max((began - changed for _, began, found in self.seen if found != result), default=0.0)


@attrs.frozen
class Place:
    """Two gateways on one storage, and what the tests change there."""

    store: str
    gateways: tuple[Gateway, ...]
    settings: Config
    identity: OidcProvider

    @property
    def ports(self) -> tuple[int, ...]:
        return tuple(gateway.port for gateway in self.gateways)

    def stored(self, work: Callable[[PeopleStore], Awaitable[T]]) -> T:
        """Return the result of ``work`` with the store, as another process."""

        async def run() -> T:
            store = open_people_store(self.settings)
            assert store is not None
            try:
                return await work(store)
            finally:
                await store.aclose()

        return trio.run(run)

    def session(self, subject: str, group: str = "ml") -> IssuedTokens:
        """Return the tokens of a new session."""

        async def open_session(store: PeopleStore) -> IssuedTokens:
            issuers = IssuerDirectory(self.settings)
            confirmation = IssuerConfirmation(store, issuers, RefreshSeals(self.settings.signing_key))
            followed = FollowedPeople(store.database.notation)
            sessions = Sessions(self.settings, store, RuleBook(self.settings.issuers), confirmation, followed)
            claims, code, now = {"sub": subject, "groups": [group]}, secrets.token_hex(), time.time()
            opened = await sessions.sign_in("okta", claims, None, cookie=code)
            await store.add_grant(DeviceGrant(digest_of(code), code, "program", "127.0.0.1", now, now + 600.0))
            await store.decide_grant(code, opened.session, now)
            tokens = await sessions.redeem_device_code(code)
            await issuers.aclose()
            return tokens

        return self.stored(open_session)

    def token(self, subject: str) -> str:
        """Return a token of the issuer."""
        return self.identity.token(sub=subject, groups=["ml"])

    def watch(self, credential: str) -> Watch:
        """Return the statuses of requests with ``credential``."""

        def status(connection: http.client.HTTPConnection) -> str:
            connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {credential}"})
            reply = connection.getresponse()
            reply.read()
            return "401" if reply.status == 429 else str(reply.status)  # many wrong keys from one address

        return Watch(status, self.ports)


@pytest.fixture(
    scope="module",
    params=[pytest.param("sqlite", marks=pytest.mark.soak), pytest.param("postgres", marks=pytest.mark.server)],
)
def place(request, upstream, storage) -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        identity = stack.enter_context(open_provider())
        issuer = {
            "name": "okta",
            "issuer": identity.issuer,
            "audience": ["trigate"],
            "admit": [
                {"when": {"groups": "tight"}, "budgets": ["1 tokens/day"], "raise_to": ["9000000 tokens/day"]},
                {"when": {"groups": "ml"}, "own_keys": {"most": 3, "longest": "30d"}}
            ],
        }  # fmt: skip
        gateways, kept = [], storage(request.param)
        settings: dict[str, Any] = {}
        for _ in range(2):
            port = free_port()
            settings = config(
                [provider("openai/up", upstream.url, ["chat"], price={"input": 1, "output": 1})], port,
                state_storage=kept, stored_keys=True, issuers=[issuer], signing_key=SIGNING_KEY,
                public_url="http://127.0.0.1:12000",
                client_keys=[{"name": "admin", "key": "key-of-admin-0123456789", "role": "admin"}],
            )  # fmt: skip
            workers = "2" if request.param == "sqlite" else "1"
            gateways.append(stack.enter_context(running(settings, port, "--workers", workers)))
        yield Place(request.param, tuple(gateways), from_mapping(settings), identity)


async def end(store: PeopleStore, person: str, session: str) -> None:
    assert await store.end_session(person, session, time.time())


def make_own_key(place: Place, subject: str) -> str:
    secret = f"sk-trigate-{subject}"

    async def put(store: PeopleStore) -> None:
        person = await store.person(f"okta:{subject}")
        assert person is not None
        now = time.time()
        key = OwnKey(person.name, "laptop", digest_of(secret), now + 3600.0, now)
        assert await store.put_own_key(person, key, 3, now)

    place.session(subject)
    place.stored(put)
    return secret


def make_change(place: Place, what: str) -> tuple[str, Callable[[PeopleStore], Awaitable[Any]]]:
    """Return a credential, and the change that revokes it."""
    subject = what.replace(" ", "-")
    name = f"okta:{subject}"
    match what:
        case "session end":
            tokens = place.session(subject)
            return tokens.access_token, lambda store: end(store, name, tokens.session)
        case "all sessions end":
            return place.session(subject).access_token, lambda store: store.end_sessions(name, time.time())
        case "own key deletion":
            return make_own_key(place, subject), lambda store: store.remove_own_key(name, "laptop")
        case "block of an own key":
            return make_own_key(place, subject), lambda store: store.block(Block(name, time.time(), "boss"))
        case "block of a session":
            token = place.session(subject).access_token
            return token, lambda store: store.block(Block(name, time.time(), "boss"))
        case _:
            return place.token(subject), lambda store: store.block(Block(name, time.time(), "boss"))


WHATS = (
    "session end", "all sessions end", "own key deletion", "block of an own key", "block of a session",
    "block of a token",
)  # fmt: skip


@pytest.mark.parametrize("half", ["one", pytest.param("other", marks=pytest.mark.soak)])
def test_every_process_rejects_a_revoked_credential_within_half_a_second(place, half):
    """Each store has one half of the ways to revoke, and for the soak the other one, too."""
    for what in WHATS[(place.store == "postgres") is (half == "one") :: 2]:
        with case(what):
            check_revocation(place, what)


def check_revocation(place: Place, what: str) -> None:
    credential, change = make_change(place, what)
    bystander = place.watch(place.session("bystander").access_token)
    watched = place.watch(credential)
    with bystander.running(), watched.running():
        watched.wait_for("200")
        bystander.wait_for("200")
        watched.seen.clear()
        place.stored(change)
        changed = time.monotonic()
        watched.wait_for("401")
    took = watched.seconds_until(changed, "401")
    assert took <= ALLOWED + SLACK + bystander.longest_gap
    assert {result for _, _, result in bystander.seen} == {"200"}, "other people notice nothing"
