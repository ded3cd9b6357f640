"""The people tables in each database: sessions, device grants, keys, blocks, raises and the audit."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import attrs
import pytest
import trio

from gateway.features.admin.key_store import ItemChange, KeyStore
from gateway.features.admin.store import Raise, rights_tables
from gateway.features.people.records import (
    BLOCKS,
    Block,
    DeviceGrant,
    IssuerSession,
    OwnKey,
    PersonSession,
    SeenPerson,
    SessionKind,
    digest_of,
    readable_text,
)
from gateway.features.people.session_rows import MOST_SESSIONS, add_session, rotate_session
from gateway.features.people.store import PeopleStore
from gateway.stores.database import AddedTables, Session
from gateway.stores.errors import Changed
from gateway.stores.record_tables import AuditEntry, RightsTables
from streams.errors import GatewayError

Make = Callable[[], PeopleStore]
DAY = 86400.0


@pytest.fixture
async def make(open_database) -> AsyncIterator[Make]:
    """Return a function that opens another store in the same place."""
    async with AsyncExitStack() as stack:

        def open_store() -> PeopleStore:
            store = PeopleStore(open_database())
            stack.push_async_callback(store.database.aclose)
            return store

        yield open_store


ADA = SeenPerson("okta:ada", "okta", "ada@example.com", {"groups": ["ml", "é\x00\ud800"]}, "research", "user", 0.0, 0.0)
ORIGIN = IssuerSession("origin", "okta:ada", "okta", ADA.claims, b"\x00sealed", 0.0)
SESSION = PersonSession(
    "sid", "origin", "okta:ada", "browser", "Firefox", "127.0.0.1", 0.0, 30 * DAY, 3600.0, 0.0, digest_of("c"),
    digest_of("r0"),
)  # fmt: skip
ENTRY = AuditEntry(5.0, "okta:boss", "session 7", "127.0.0.1", "req-1", "PUT", "/admin/v1/x", 200)


def refreshed(number: int, now: float) -> tuple[Any, ...]:
    """Return what ``refresh`` stores for the refresh of the session with the refresh token ``number``."""
    session, origin = attrs.evolve(SESSION, refresh=digest_of(f"r{number}")), attrs.evolve(ORIGIN, checked=now)
    return session, ADA, origin, digest_of(f"r{number + 1}"), now + 3600.0, now


async def test_the_end_of_a_session_forgets_its_secrets(make):
    store = make()
    await store.sign_in(ADA, ORIGIN, SESSION)
    device = attrs.evolve(SESSION, id="device", cookie=None, refresh=digest_of("d0"), kind="device")
    await store.add_grant(GRANT)
    await store.decide_grant(GRANT.user_code, SESSION, 1.0)
    assert await store.redeem_grant(GRANT.device_code, device, 2.0)
    assert not await store.end_session("okta:bob", "sid", 3.0), "it belongs to another person"
    assert await store.end_session("okta:ada", "sid", 3.0, ENTRY)
    assert not await store.end_session("okta:ada", "sid", 3.0)
    assert await store.session_of_cookie(digest_of("c")) is None
    assert await store.find_refresh(digest_of("r0")) is None
    assert await store.issuer_session("origin") == ORIGIN, "the device's session needs it"
    assert await store.end_sessions("okta:ada", 4.0) == 1
    assert await store.issuer_session("origin") is None
    assert [(row.who, row.path, row.after) for row in await store.audit()] == [("okta:boss", "/admin/v1/x", None)]


@pytest.mark.sample(2)
async def test_a_person_has_a_bounded_number_of_sessions(make):
    store = make()
    for number in range(MOST_SESSIONS + 2):
        session = attrs.evolve(SESSION, id=f"s{number}", cookie=f"c{number}", refresh=f"r{number}", seen=float(number))
        await store.sign_in(ADA, attrs.evolve(ORIGIN, id=f"o{number}"), session)
    there = {one.id for one in await store.sessions("okta:ada", 1.0)}
    assert len(there) == MOST_SESSIONS
    assert not there & {"s0", "s1"}


async def write_many(store: PeopleStore, most: int, work: Callable[[RightsTables, int], object]) -> None:
    """Call ``work`` with each number below ``most``, a hundred in a transaction."""
    for first in range(0, most, 100):

        def write(session: Session, first: int = first) -> None:
            for number in range(first, min(first + 100, most)):
                work(RightsTables(session), number)

        await store.database.write(write)


@pytest.mark.sample(2)
async def test_a_person_begins_a_bounded_number_of_sessions_in_ten_minutes(make):
    """Every process remembers sessions that end early, and readers of them wait: a loop must not fill the tables."""
    store = make()

    def session(number: int, at: float, kind: SessionKind, person: SeenPerson) -> PersonSession:
        return attrs.evolve(
            SESSION, id=f"{kind}{number}{person.name}", person=person.name, kind=kind, began=at, cookie=None,
            refresh=None,
        )  # fmt: skip

    async def begin(number: int, at: float, kind: SessionKind = "device", person: SeenPerson = ADA) -> bool:
        return await store.sign_in(person, ORIGIN, session(number, at, kind, person))

    await write_many(store, 95, lambda rows, number: add_session(rows, session(number, 1.0, "device", ADA)))
    for number in range(95, 100):
        assert await begin(number, 1.0)
    with pytest.raises(GatewayError) as error:
        await begin(100, 2.0)
    assert error.value.info.status == 429
    assert ("retry-after", "60") in error.value.info.headers
    assert await begin(0, 2.0, person=attrs.evolve(ADA, name="okta:bob")), "another person has a share of its own"
    assert await begin(0, 2.0, "browser"), "a flood of programs stops no sign-in in a browser"
    assert await begin(101, 602.0)


@pytest.mark.sample(2)
async def test_a_device_code_stays_valid_if_its_person_began_too_many_sessions(make):
    store = make()
    await store.sign_in(ADA, ORIGIN, SESSION)
    devices = [attrs.evolve(SESSION, id=f"d{n}", kind="device", cookie=None, refresh=f"r{n}") for n in range(100)]
    await write_many(store, 100, lambda rows, number: add_session(rows, devices[number]))
    await store.add_grant(GRANT)
    await store.decide_grant(GRANT.user_code, SESSION, 1.0)
    device = attrs.evolve(SESSION, id="device", kind="device", cookie=None, refresh=None, began=2.0)
    with pytest.raises(GatewayError):
        await store.redeem_grant(GRANT.device_code, device, 2.0)
    assert await store.redeem_grant(GRANT.device_code, attrs.evolve(device, began=601.0), 601.0 - 2.0)


async def test_a_flood_of_device_codes_stops_no_sign_in(make):
    """Anyone may request a code, so a full table must not refuse those of people."""
    store, approved = make(), attrs.evolve(GRANT, began=1.0)
    await store.sign_in(ADA, ORIGIN, SESSION)
    await store.add_grant(approved)
    await store.decide_grant(GRANT.user_code, SESSION, 2.0)

    def fill(session: Session) -> None:
        RightsTables(session).select(
            """
            WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000)
            INSERT INTO {device_grants} SELECT 'd' || n, 'u' || n, '', '', 2.0 + n / 1000.0, 600.0, 'pending', NULL,
            NULL, NULL FROM numbers
            """
        )

    await store.database.write(fill)
    assert await store.add_grant(attrs.evolve(GRANT, device_code="new", user_code="new", began=30.0, until=600.0))
    assert await store.find_grant("new") is not None
    assert await store.find_grant("u1") is None, "the oldest pending one"
    assert await store.find_grant("u3") is not None
    assert await store.find_grant(GRANT.user_code) is not None, "a person has approved it"


@pytest.mark.sample(2)
async def test_a_session_is_refreshed_a_bounded_number_of_times_in_ten_minutes(make):
    """Each refresh is a request to the issuer, and leaves a row until the session ends."""
    store = make()
    await store.sign_in(ADA, ORIGIN, SESSION)
    for number in range(60):
        await store.check_refreshes("sid", 10.0)
        assert await store.refresh(*refreshed(number, 10.0))
    with pytest.raises(GatewayError) as error:
        await store.check_refreshes("sid", 11.0)
    assert error.value.info.status == 429
    await store.check_refreshes("other", 11.0)
    await store.check_refreshes("sid", 611.0)


@pytest.mark.sample(2)
@pytest.mark.parametrize("is_confirmed_here", [True, False])
async def test_a_blocked_person_refreshes_no_session(make, is_confirmed_here):
    """Another process may have stored the issuer's confirmation before the block."""
    store = make()
    await store.sign_in(ADA, ORIGIN, SESSION)
    await store.database.write(lambda session: RightsTables(session).add(BLOCKS, Block(ADA.name, 1.0, "boss")))
    session, person, origin, *new = refreshed(0, 10.0)
    assert not await store.refresh(session, person, origin if is_confirmed_here else None, *new)
    assert await store.find_refresh(digest_of("r1")) is None


async def test_a_session_has_a_bounded_number_of_used_refresh_tokens(make):
    store = make()
    await store.sign_in(ADA, ORIGIN, SESSION)

    def refresh(rows: RightsTables, number: int) -> None:
        session, _, _, *new = refreshed(number, 10.0 + number)
        rotate_session(rows, session, *new)

    await write_many(store, 1000, refresh)
    for number in range(1000, 1010):
        assert await store.refresh(*refreshed(number, 10.0 + number))
    assert await store.find_refresh(digest_of("r0")) is None
    assert await store.find_refresh(digest_of("r20")) is not None


# Device grants

GRANT = DeviceGrant(digest_of("d"), digest_of("WDJBMJHT"), "Claude Code", "127.0.0.1", 0.0, 600.0)


async def test_a_grant_is_redeemed_once(make):
    one, other = make(), make()
    await one.sign_in(ADA, ORIGIN, SESSION)
    assert await one.add_grant(GRANT)
    assert not await other.add_grant(attrs.evolve(GRANT, device_code="other")), "its user code is in use"
    assert await other.decide_grant(GRANT.user_code, SESSION, 1.0)
    results: list[bool] = []

    async def redeem(store: PeopleStore, number: int) -> None:
        session = attrs.evolve(SESSION, id=f"device{number}", cookie=None, refresh=f"d{number}", kind="device")
        results.append(await store.redeem_grant(GRANT.device_code, session, 3.0))

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(redeem, (one, other)[number % 2], number)
    assert results.count(True) == 1
    assert len(await one.sessions("okta:ada", 4.0)) == 2


async def test_expired_grants_are_deleted(make):
    store = make()
    await store.add_grant(GRANT)
    await store.add_grant(attrs.evolve(GRANT, device_code="new", user_code="new", began=1300.0, until=1900.0))
    assert await store.find_grant(GRANT.user_code) is None


async def test_a_secret_is_used_once(make):
    one, other = make(), make()
    uses: list[bool] = []

    async def use(store: PeopleStore) -> None:
        uses.append(await store.use_once("state", 600.0))

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(use, (one, other)[number % 2])
    assert sorted(uses) == [False] * 5 + [True]


# Own keys, raises and people


def own(name: str) -> OwnKey:
    return OwnKey("okta:ada", name, digest_of(name), DAY, 0.0)


async def test_the_last_use_of_an_own_key_only_moves_forward(make):
    store = make()
    for name in ("laptop", "other"):
        assert await store.put_own_key(ADA, OwnKey("okta:ada", name, digest_of(name), 99.0, 0.0), 9, 1.0)
    await store.note_key_uses({digest_of("laptop"): 7.0, digest_of("removed"): 7.0})
    await store.note_key_uses({digest_of("laptop"): 5.0})
    digests = {digest_of(name): used for name, used in (("laptop", 7.0), ("other", None))}
    assert await store.key_uses([*digests, digest_of("removed")]) == digests
    assert await store.key_uses([]) == {}
    laptop, _ = await store.own_keys("okta:ada")
    assert await store.put_own_key(ADA, attrs.evolve(laptop, until=200.0), 9, 2.0)
    assert (await store.own_keys("okta:ada"))[0] == attrs.evolve(laptop, until=200.0, used=7.0)
    assert await store.put_own_key(ADA, OwnKey("okta:ada", "laptop", digest_of("new"), 400.0, 300.0), 9, 300.0)
    assert [(key.name, key.used) for key in await store.own_keys("okta:ada")] == [("laptop", None)], "a new key"


async def test_tables_of_an_earlier_version_get_the_new_columns(make, open_database):
    earlier, database = AddedTables("people", rights_tables().scripts[:1]), open_database()
    block = Block("okta:eve", 1.0, "boss")
    await database.part(earlier).write(lambda session: RightsTables(session).add(BLOCKS, block))
    await database.aclose()
    store = make()
    assert [block.name for block in await store.blocks()] == ["okta:eve"]
    assert await store.own_keys("okta:eve") == ()


async def test_a_raise_is_removed_unless_its_check_fails(make):
    store, new = make(), Raise("okta:ada", ("40 usd/day",), 10 * DAY, 0.0, "lead")
    await store.put_raise(new)

    def reject(present: Raise | None) -> None:
        assert present == new
        raise Changed

    with pytest.raises(Changed):
        await store.remove_raise("okta:ada", check=reject)
    assert await store.raises() == (new,)


async def test_a_forgotten_person_with_a_key_of_its_own_stays_without_a_label(make):
    store = make()
    await store.put_own_key(ADA, own("laptop"), 1, 0.0)
    assert await store.forget("okta:ada")
    assert [(one.name, one.label) for one in await store.people()] == [("okta:ada", "")]


# Sweeps, versions and failures


async def test_expired_rows_are_deleted_and_others_remain(make):
    store = make()
    await store.sign_in(ADA, ORIGIN, SESSION)
    await store.refresh(*refreshed(0, 10.0))
    await store.put_own_key(ADA, own("laptop"), 1, 0.0, ENTRY)
    await store.use_once("state", 600.0)
    await store.sweep(29 * DAY)
    assert len(await store.sessions("okta:ada", 29 * DAY)) == 1
    assert await store.person("okta:ada") is not None
    await store.sweep(500 * DAY)
    assert await store.find_refresh(digest_of("r1")) is await store.find_refresh(digest_of("r0")) is None
    assert await store.issuer_session("origin") is await store.person("okta:ada") is None
    assert await store.own_keys("okta:ada") == ()
    assert await store.use_once("state", 1.0)


async def test_versions_without_these_tables_use_the_same_database(make, open_database):
    store, older = make(), KeyStore(open_database())
    await store.sign_in(ADA, ORIGIN, SESSION)
    await older.change_all([ItemChange("added", "ci", None, "item", "{}")], at=1.0, by="alice")
    assert await store.sessions("okta:ada", 1.0) == (SESSION,)
    await older.database.aclose()


async def test_processes_may_create_the_tables_simultaneously(make):
    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(make().use_once, str(number), 1.0)
    assert not await make().use_once("3", 1.0)


def test_texts_for_readers_have_only_printable_characters():
    assert readable_text("a\x00b\n\ud800\u202ec é" + "x" * 500) == "abc é" + "x" * 195
