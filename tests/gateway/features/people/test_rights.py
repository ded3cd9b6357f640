"""Blocks, sessions, own keys and raises that another process stores apply within half a second."""

import base64
import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from gateway.features.admin.store import Raise
from gateway.features.people.records import Block, IssuerSession, OwnKey, Person, PersonSession, SeenPerson
from gateway.features.people.rights_rows import remove_own_key
from gateway.features.people.session_rows import end_session
from gateway.features.people.session_tokens import SessionTokens
from gateway.features.people.store import PeopleStore
from gateway.stores.database import Session
from gateway.stores.record_tables import RightsTables
from gateway.stores.sqlite import SqliteDatabase
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.harness import eventually, provider
from tests.support.people import MODEL, PATHS, PeopleSetup, issuer, people_gateway
from tests.support.websocket_client import Client

DAY = 86400.0
URL = "https://llm.example"
KEY = "7vZT9Dk0aQ8iEuU2Cw3n6Jx3p8j3G2n5c9uC9gk3q0M="
SECRET = "sk-trigate-" + "a" * 43
CLAIMS = {"sub": "00u1", "groups": ["ml"]}
ADA = SeenPerson("okta:00u1", "okta", "Ada", CLAIMS, "research", "user", 0.0, 0.0)


@attrs.frozen
class StoredSetup:
    """A gateway with a database in ``file``, which the test changes like another process."""

    people: PeopleSetup
    file: Path

    def change(self, work: Callable[[PeopleStore], Any]) -> Any:
        """Run the coroutine that ``work`` returns for the store."""

        async def run() -> Any:
            async with contextlib.aclosing(SqliteDatabase(self.file)) as database:
                return await work(PeopleStore(database))

        return trio.run(run)

    def status(self, credential: str, api: str = "chat") -> int:
        return self.people.ask(api, credential).status

    def wait_for(self, status: int, credential: str) -> float:
        """Wait until a request with ``credential`` has this status, and return the seconds."""
        began = time.monotonic()
        eventually(lambda: self.status(credential) == status, what=f"a {status}")
        return time.monotonic() - began


@contextlib.contextmanager
def stored_gateway(folder: Path, **more: Any) -> Iterator[StoredSetup]:
    file = folder / "state.sqlite"
    storage = {"type": "sqlite", "path": str(file)}
    with people_gateway(state_storage=storage, signing_key=KEY, public_url=URL, **more) as people:
        yield StoredSetup(people, file)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoredSetup]:
    with stored_gateway(tmp_path_factory.mktemp("rights")) as found:
        yield found


def session_token(session: str, sub: str = "00u1", seconds: float = 3600.0, **claims: Any) -> str:
    now, tokens = time.time(), SessionTokens([base64.b64decode(KEY)], URL)
    person = Person(f"okta:{sub}", "Ada", "okta", 1, "research")
    return tokens.make(person, {**CLAIMS, "sub": sub, **claims}, session, now, now + seconds)


def own_key(secret: str, seconds: float = DAY, name: str = "laptop") -> OwnKey:
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return OwnKey("okta:00u1", name, digest, time.time() + seconds, time.time())


@each_row("api", PATHS)
def test_a_session_token_is_a_key(stored, api):
    token = session_token("s1")
    for headers in ({"authorization": f"Bearer {token}"}, {"x-api-key": token}):
        reply = stored.people.ask(api, None, headers=headers)
        assert (reply.status, stored.people.client_of(reply)) == (200, "okta:00u1")


def test_a_wrong_session_token_or_own_key_is_refused(tmp_path):
    token = session_token("s1")
    head, body, _ = token.split(".")
    refused = [session_token("s1", seconds=-1), token[:-3] + "AAA", f"{head}.{body}.", f"{head}.e30.{body}"]
    with stored_gateway(tmp_path) as stored:  # waits of other tests are too many wrong keys
        assert [stored.status(one, "messages") for one in (*refused, "sk-trigate-" + "z" * 43)] == [401] * 5
        assert stored.status(session_token("s1", groups=["sales"]), "messages") == 403


def test_a_block_ends_every_credential_until_it_is_removed(stored):
    stored.change(lambda store: store.put_own_key(ADA, own_key(SECRET), 3, time.time()))
    stored.wait_for(200, SECRET)
    credentials = [stored.people.token(), session_token("s2"), SECRET]
    assert [stored.status(one) for one in credentials] == [200] * 3
    stored.change(lambda store: store.block(Block("okta:00u1", time.time(), "test")))
    assert stored.wait_for(401, credentials[0]) < 20  # half a second, on a machine that others use
    refused = [stored.people.ask("chat", one) for one in (*credentials, stored.people.token(jti="made later"))]
    assert [one.status for one in refused] == [401] * 4
    assert all(b"blocked" in one.body for one in refused)
    assert stored.status(stored.people.token(sub="00u2")) == 200
    stored.change(lambda store: store.unblock("okta:00u1"))
    stored.wait_for(200, credentials[0])
    assert [stored.status(one) for one in credentials] == [200] * 3, "no session was stored, so none has ended"


@needs_feature("responses_websocket")
def test_a_block_completes_running_requests_and_closes_only_that_persons_websockets(stored):
    ada, bob = stored.people.token(sub="ada"), stored.people.token(sub="bob")
    sockets = [Client.connect(stored.people.gateway.port, {"authorization": f"Bearer {one}"}) for one in (ada, bob)]
    assert [one.ask(MODEL)[-1]["type"] for one in sockets] == ["response.completed"] * 2
    before = len(stored.people.upstream.seen)
    stored.people.upstream.is_open.clear()
    try:
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(stored.people.ask, "chat", ada)
            eventually(lambda: len(stored.people.upstream.seen) > before, what="the request at the provider")
            stored.change(lambda store: store.block(Block("okta:ada", time.time(), "test")))
            assert sockets[0].read_close_code() == 1001
            stored.people.upstream.is_open.set()
            assert running.result().status == 200
        assert stored.status(ada) == 401
        assert sockets[1].ask(MODEL)[-1]["type"] == "response.completed"
    finally:
        stored.people.upstream.is_open.set()
        for one in sockets:
            one.wire.close()


@needs_feature("responses_websocket")
@pytest.mark.parametrize("lost", ["session", "own key"])
def test_websockets_of_a_lost_credential_close_also_after_many_changes(stored, lost):
    now, sub = time.time(), f"many-{lost.split()[0]}"
    person = attrs.evolve(ADA, name=f"okta:{sub}", claims={**CLAIMS, "sub": sub})
    origin = IssuerSession(sub, person.name, "okta", person.claims, None, now)
    session = PersonSession(sub, sub, person.name, "device", "claude", "", now, now + DAY, now + 3600, now)
    secret = f"sk-trigate-{sub:x<43}"
    stored.change(lambda store: store.sign_in(person, origin, session))
    stored.change(lambda store: store.put_own_key(person, attrs.evolve(own_key(secret), person=person.name), 9, now))
    stored.wait_for(200, secret)
    credential = session_token(sub, sub=sub) if lost == "session" else secret
    socket = Client.connect(stored.people.gateway.port, {"authorization": f"Bearer {credential}"})
    try:
        assert socket.ask(MODEL)[-1]["type"] == "response.completed"

        def lose(database: Session) -> None:
            rows = RightsTables(database)
            for number in range(1100):
                rows.note_change("raise", f"okta:other-{number}")
            if lost == "session":
                end_session(rows, session, time.time())
            else:
                assert remove_own_key(rows, person.name, "laptop", None)

        stored.change(lambda store: store.database.write(lose))
        assert socket.read_close_code() == 1001
        assert stored.status(credential) in (401, 429), "the wait for the own key were wrong keys"
    finally:
        socket.wire.close()


def test_an_ended_session_is_refused_and_others_are_not(stored):
    token, other = session_token("ends"), session_token("stays")
    now = time.time()
    origin = IssuerSession("origin", "okta:00u1", "okta", CLAIMS, None, now)
    session = PersonSession("ends", "origin", "okta:00u1", "device", "claude", "", now, now + DAY, now + 3600, now)
    assert (stored.status(token), stored.status(other)) == (200, 200)
    stored.change(lambda store: store.sign_in(ADA, origin, session))
    stored.change(lambda store: store.end_session("okta:00u1", "ends", time.time()))
    stored.wait_for(401, token)
    assert (stored.status(other), stored.status(stored.people.token())) == (200, 200)


def test_an_own_key_has_the_rights_of_its_person_and_ends(stored):
    secret, until = "sk-trigate-" + "b" * 43, time.time() + 3
    stored.change(lambda store: store.put_own_key(ADA, own_key(secret, 3.0, "short"), 9, time.time()))
    stored.wait_for(200, secret)
    reply = stored.people.ask("messages", secret)
    assert stored.people.client_of(reply) == "okta:00u1"
    eventually(lambda: time.time() > until, what="the time of its end")
    stored.wait_for(401, secret)
    assert b"expired on" in stored.people.ask("chat", secret).body


def test_an_own_key_of_a_person_without_a_rule_is_refused(stored):
    secret = "sk-trigate-" + "c" * 43
    someone = attrs.evolve(ADA, name="okta:00u5", claims={"sub": "00u5", "groups": ["sales"]})
    key = attrs.evolve(own_key(secret), person="okta:00u5")
    stored.change(lambda store: store.put_own_key(someone, key, 9, time.time()))
    stored.wait_for(403, secret)


# Raises


def costly_models(upstream: Any) -> list[dict[str, Any]]:
    """Return a model whose answer costs 70 cents."""
    price = {"input": 0, "output": 100_000}
    return [provider("openai/gpt-4o", upstream.url + "/v1", name=MODEL, price=price)]


@contextlib.contextmanager
def budget_gateway(folder: Path) -> Iterator[StoredSetup]:
    def issuers(identity: Any) -> list[dict[str, Any]]:
        budgets = {"budgets": ["7 usd/day"], "raise_to": ["14 usd/day"]}
        return [issuer(identity, admit=[{"when": {"groups": "ml"}, "group": "research", **budgets}])]

    with stored_gateway(folder, issuers=issuers, groups=[{"name": "research"}], models=costly_models) as found:
        yield found


def put_raise(stored: StoredSetup, amount: str, seconds: float = DAY) -> None:
    new = Raise("okta:00u1", (amount,), time.time() + seconds, time.time(), "test")
    stored.change(lambda store: store.put_raise(new))


def ask_until_refused(stored: StoredSetup, credential: str) -> int:
    """Send requests until one is refused for money, and return the number of the others."""
    statuses = [stored.people.ask("chat", credential, max_tokens=7).status]
    while statuses[-1] == 200 and len(statuses) < 99:
        statuses.append(stored.people.ask("chat", credential, max_tokens=7).status)
    assert statuses[-1] == 402
    return len(statuses) - 1


def test_a_raise_lifts_a_persons_budget_and_keeps_the_spending(tmp_path):
    with budget_gateway(tmp_path) as stored:
        token, other = stored.people.token(), stored.people.token(sub="00u2")
        assert ask_until_refused(stored, token) == 10
        put_raise(stored, "10.5 usd/day")
        eventually(lambda: b"10.5 usd" in stored.people.ask("chat", token, max_tokens=700).body, what="the raise")
        assert ask_until_refused(stored, token) == 5
        assert ask_until_refused(stored, other) == 10, "the raise is for one person"
        stored.change(lambda store: store.remove_raise("okta:00u1"))
        eventually(lambda: b" of 7 usd" in stored.people.ask("chat", token, max_tokens=7).body, what="its end")
        assert ask_until_refused(stored, token) == 0


def test_the_file_bounds_a_raise_and_it_ends_at_its_time(tmp_path):
    with budget_gateway(tmp_path) as stored:
        token = stored.people.token()
        put_raise(stored, "1000 usd/day", seconds=8)
        until = time.time() + 8
        eventually(lambda: b"of 14 usd" in stored.people.ask("chat", token, max_tokens=7000).body, what="the raise")
        assert ask_until_refused(stored, token) == 20
        eventually(lambda: time.time() > until, what="the time of its end")
        eventually(lambda: b" of 7 usd" in stored.people.ask("chat", token, max_tokens=7).body, what="its end")


def test_a_raise_of_another_period_has_no_effect(tmp_path):
    with budget_gateway(tmp_path) as stored:
        token = stored.people.token()
        put_raise(stored, "14 usd/month")
        stored.change(lambda store: store.block(Block("okta:00u9", time.time(), "test")))
        stored.wait_for(401, stored.people.token(sub="00u9"))  # so the raise was read, too
        assert ask_until_refused(stored, token) == 10


def test_budgets_follow_a_person_over_all_its_credentials(tmp_path):
    with budget_gateway(tmp_path) as stored:
        stored.change(lambda store: store.put_own_key(ADA, own_key(SECRET), 3, time.time()))
        headers = {"x-api-key": SECRET}
        eventually(lambda: stored.people.gateway.request("GET", "/nowhere", headers=headers).status == 404)
        credentials = [stored.people.token(), stored.people.token(jti="another"), session_token("s1"), SECRET]
        statuses = [stored.people.ask("chat", credentials[i % 4], max_tokens=7).status for i in range(12)]
        assert statuses.count(200) == 10
        assert [stored.people.ask("chat", one, max_tokens=7).status for one in credentials] == [402] * 4


def test_a_restart_keeps_the_spending_of_people(tmp_path):
    with budget_gateway(tmp_path) as stored:
        token = stored.people.token()
        assert [stored.people.ask("chat", token, max_tokens=7).status for _ in range(4)] == [200] * 4
    with budget_gateway(tmp_path) as stored:
        assert ask_until_refused(stored, stored.people.token()) == 6
        assert ask_until_refused(stored, stored.people.token(sub="00u2")) == 10
