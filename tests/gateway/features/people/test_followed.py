"""Blocks, ended sessions, raises and own keys as another process follows them, in each database."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import pytest

from gateway.config_files.loading import Config, from_mapping
from gateway.features.admin.followed_keys import FollowedKeys
from gateway.features.admin.storage import key_store_of
from gateway.features.admin.store import Raise
from gateway.features.people.followed import FollowedPeople
from gateway.features.people.records import Block, IssuerSession, OwnKey, PersonSession, SeenPerson, digest_of
from gateway.features.people.store import PeopleStore
from gateway.stores.database import Database, Session
from gateway.stores.record_tables import RightsTables
from tests.support.set_clock import SetClock

ADA = SeenPerson("okta:ada", "okta", "ada@example.com", {"groups": ["ml"]}, "research", "user", 0.0, 0.0)
ORIGIN = IssuerSession("origin", "okta:ada", "okta", ADA.claims, None, 0.0)
SESSION = PersonSession("sid", "origin", "okta:ada", "device", "", "", 0.0, 1e6, 3600.0, 0.0)
KEY = OwnKey("okta:ada", "laptop", digest_of("sk"), 5000.0, 0.0)
DIGEST = bytes.fromhex(KEY.digest)
RAISE = Raise("group:research", ("40 usd/day",), 5000.0, 0.0, "boss")

CONFIG: Config = from_mapping({"version": "v0.4.0", "model_providers": [{"model": "openai/a", "access_key": "k"}]})


@attrs.frozen
class _Process:
    """A process that follows: its ``people``, and what reads them."""

    people: FollowedPeople
    keys: FollowedKeys

    async def poll(self) -> None:
        await self.keys.read(CONFIG)


@asynccontextmanager
async def following(
    open_database: Callable[..., Database], clock: Callable[[], float] = lambda: 100.0
) -> AsyncIterator[_Process]:
    store = key_store_of(open_database())
    keys, people = FollowedKeys(store), FollowedPeople(clock)
    keys.other_rows = people
    yield _Process(people, keys)
    await store.database.aclose()


@pytest.fixture
async def store(open_database) -> AsyncIterator[PeopleStore]:
    store = PeopleStore(open_database())
    yield store
    await store.database.aclose()


async def test_nothing_is_known_before_the_first_read(open_database):
    async with following(open_database) as process:
        assert not process.people.is_read
        await process.poll()
        assert process.people.is_read
        assert not process.people.is_blocked("okta:ada")


@pytest.mark.parametrize("reads_first", [True, False])
async def test_another_process_follows_every_kind_of_change(open_database, store, reads_first):
    async with following(open_database) as process:
        people = process.people
        if reads_first:
            await store.put_raise(attrs.evolve(RAISE, holder="other"))
            await process.poll()
        await store.sign_in(ADA, ORIGIN, SESSION)
        await store.put_own_key(ADA, KEY, 3, 0.0)
        await store.put_raise(RAISE)
        await store.end_session("okta:ada", "sid", 90.0)
        await store.block(Block("okta:bob", 1.0, "boss"))
        await process.poll()
        assert people.is_ended("sid")
        assert people.is_blocked("okta:bob")
        assert not people.is_blocked("okta:ada")
        key = people.own_key(DIGEST)
        assert (key.person, key.name, key.until, key.issuer, key.claims) == (
            "okta:ada", "laptop", 5000.0, "okta", ADA.claims,
        )  # fmt: skip
        assert people.raise_of("group:research") == RAISE
        assert people.raise_of("okta:ada") is None
        await store.unblock("okta:bob")
        await store.remove_raise("group:research")
        await store.put_own_key(ADA, attrs.evolve(KEY, digest=digest_of("new")), 3, 0.0)
        await process.poll()
        assert not people.is_blocked("okta:bob")
        assert people.raise_of("group:research") is None
        assert people.own_key(DIGEST) is None
        assert people.own_key(bytes.fromhex(digest_of("new"))) is not None
        assert people.is_ended("sid")


async def test_a_confirmation_of_the_same_claims_changes_no_rights(open_database, store):
    """Therefore, the person's websockets stay open."""
    async with following(open_database) as process:
        await store.put_own_key(ADA, KEY, 3, 0.0)
        await process.poll()
        changed: list[frozenset[str]] = []
        process.people.on_change(changed.append)
        await store.note_people((attrs.evolve(ADA, seen=50.0, claims_at=50.0),))
        await process.poll()
        key = process.people.own_key(DIGEST)
        assert key.confirmed == 50.0
        assert not frozenset().union(*changed)
        await store.note_people((attrs.evolve(ADA, seen=60.0, claims_at=60.0),))
        await store.block(Block("okta:ada", 61.0, "boss"))
        await process.poll()
        assert "okta:ada" in changed[-1]


async def test_new_claims_of_a_person_with_own_keys_are_followed(open_database, store):
    async with following(open_database) as process:
        await store.put_own_key(ADA, KEY, 3, 0.0)
        await process.poll()
        await store.note_people((attrs.evolve(ADA, claims={"groups": []}, seen=5.0),))
        await process.poll()
        key = process.people.own_key(DIGEST)
        assert key.claims == {"groups": []}
        await store.end_access("okta:ada", 6.0)
        await process.poll()
        assert process.people.own_key(DIGEST) is None


async def test_a_poll_without_changes_reads_one_row(open_database, store):
    reads: list[frozenset[str]] = []
    async with following(open_database) as process:
        process.people.on_change(reads.append)
        await store.block(Block("okta:bob", 1.0, "boss"))
        await process.poll()
        await process.poll()
        await store.use_once("x", 1.0)
        await store.note_people((ADA,))
        await process.poll()
        assert reads == [frozenset({"okta:bob"})], "sign-ins and requests are no changes that processes follow"


async def note_many(store: PeopleStore) -> None:
    """Note more changes than a process reads in one query."""

    def note_some(session: Session) -> None:
        for _ in range(201):
            RightsTables(session).note_change("raise", "okta:bob")

    for _ in range(5):
        await store.database.write(note_some)


async def test_many_changes_are_read_completely(open_database, store):
    async with following(open_database) as process:
        await store.block(Block("okta:first", 1.0, "boss"))
        await process.poll()
        await note_many(store)
        await store.block(Block("okta:last", 1.0, "boss"))
        await process.poll()
        assert process.people.is_blocked("okta:first")
        assert process.people.is_blocked("okta:last")


async def test_a_restored_backup_replaces_everything(open_database, store):
    async with following(open_database) as process:
        await store.block(Block("okta:bob", 1.0, "boss"))
        await process.poll()
        # A restored backup with two later changes has other rows with the same numbers.
        await store.database.write(
            lambda session: [session.rows(f"DELETE FROM {{{table}}}") for table in ("people_blocks", "people_changes")]
        )
        await store.block(Block("okta:ada", 1.0, "boss"))
        await store.block(Block("okta:eve", 1.0, "boss"))
        await process.poll()
        assert [name for name in ("okta:ada", "okta:bob", "okta:eve") if process.people.is_blocked(name)] == [
            "okta:ada", "okta:eve",
        ]  # fmt: skip


async def test_ended_sessions_are_forgotten_after_their_last_token(open_database, store):
    clock = SetClock(100.0)
    async with following(open_database, clock) as process:
        await process.poll()
        await store.sign_in(ADA, ORIGIN, SESSION)
        await store.end_session("okta:ada", "sid", 90.0)
        await process.poll()
        clock.now = 3740.0  # the clock of another gateway may be a little slow
        await store.block(Block("okta:bob", 1.0, "boss"))
        await process.poll()
        assert process.people.is_ended("sid")
        clock.now = 3800.0
        await store.unblock("okta:bob")
        await process.poll()
        assert not process.people.is_ended("sid"), "no process knows it any more"


ADAS_RAISE = attrs.evolve(RAISE, holder="okta:ada")
LOSSES = {
    "a session that has ended": (
        lambda store: store.sign_in(ADA, ORIGIN, SESSION), lambda store: store.end_session("okta:ada", "sid", 90.0)
    ),
    "an own key that was removed": (
        lambda store: store.put_own_key(ADA, KEY, 3, 0.0), lambda store: store.remove_own_key("okta:ada", "laptop")
    ),
    "a block": (
        lambda store: store.note_people((ADA,)), lambda store: store.block(Block("okta:ada", 1.0, "boss"))
    ),
    "a block that was removed": (
        lambda store: store.block(Block("okta:ada", 1.0, "boss")), lambda store: store.unblock("okta:ada")
    ),
    "a raise that was removed": (
        lambda store: store.put_raise(ADAS_RAISE), lambda store: store.remove_raise("okta:ada")
    ),
}  # fmt: skip


@pytest.mark.sample(5)
@pytest.mark.parametrize("loss", LOSSES)
async def test_everyone_is_reported_whose_rights_have_changed_among_many(open_database, store, loss):
    """The websockets of these people end, even if a process reads everything again after an outage."""
    prepare, lose = LOSSES[loss]
    async with following(open_database) as process:
        reported: list[frozenset[str]] = []
        await prepare(store)
        await process.poll()
        process.people.on_change(reported.append)
        await lose(store)
        await note_many(store)
        await process.poll()
        assert [("okta:ada" in names) for names in reported] == [True]


async def test_an_ended_session_stays_refused_after_the_clock_was_set_back(open_database, store):
    """While a clock is too fast, ended sessions seem to be over, and are dropped."""
    clock = SetClock(100.0)
    await store.sign_in(ADA, ORIGIN, SESSION)
    async with following(open_database, clock) as process:
        await process.poll()
        await store.end_session("okta:ada", "sid", 90.0)
        await process.poll()
        assert process.people.is_ended("sid")
        clock.now += 86400.0
        await store.put_raise(RAISE)
        await process.poll()
        assert not process.people.is_ended("sid"), "all its tokens have expired"
        clock.now = 110.0
        await process.poll()
        assert process.people.is_ended("sid")
