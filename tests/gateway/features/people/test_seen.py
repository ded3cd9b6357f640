"""The people and own keys that a process has seen, in both databases."""

import gc
import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import pytest
import trio

from gateway.config_files.loading import from_mapping
from gateway.features.people.records import OwnKey
from gateway.features.people.rules import RuleBook
from gateway.features.people.seen import AGAIN_SECONDS, SeenPeople
from gateway.features.people.settings import issuers_of
from gateway.features.people.store import PeopleStore
from gateway.stores.database import Database
from gateway.stores.errors import Unavailable
from gateway.stores.sqlite import SqliteDatabase

DAY = 86400.0
NAME = "okta:00u1"
CLAIMS = {"sub": "00u1", "email": "ada@example.com", "groups": ["ml"]}


def rules() -> RuleBook:
    issuer = {
        "name": "okta",
        "issuer": "https://example.okta.com",
        "audience": ["trigate"],
        "admit": [{"when": {"groups": "ml"}, "own_keys": {"most": 2, "longest": "30d"}}],
    }
    config = from_mapping(
        {"version": "v0.4.0", "model_providers": [{"model": "openai/a", "access_key": "k"}], "issuers": [issuer]}
    )
    return RuleBook(issuers_of(config))


RULES = rules()


@attrs.define
class Process:
    """One process with a clock that tests move."""

    store: PeopleStore
    seen: SeenPeople
    now: float = 1000.0

    def see(self, claims: dict[str, Any] = CLAIMS, issued: float | None = None) -> None:
        self.seen.note(RULES.admit("okta", claims)[0], claims, self.now if issued is None else issued)


@pytest.fixture
async def process(open_database: Callable[..., Database]) -> AsyncIterator[Process]:
    store = PeopleStore(open_database())
    made = Process(store, SeenPeople(store, lambda: made.now))
    yield made
    await store.database.aclose()


async def test_people_are_stored_in_batches_and_again_after_hours(process):
    for number in range(450):
        process.see({**CLAIMS, "sub": f"00u{number}"})
    assert await process.store.people() == ()
    await process.seen.flush()
    assert len(await process.store.people(most=1000)) == 450
    process.now += 60.0
    process.see()
    await process.seen.flush()
    first = await process.store.person(NAME)
    assert first.seen == 1000.0, "it was stored a minute ago"
    process.see({**CLAIMS, "groups": ["ml", "more"]})
    await process.seen.flush()
    changed = await process.store.person(NAME)
    assert (changed.seen, changed.claims["groups"]) == (1060.0, ["ml", "more"])
    process.now += AGAIN_SECONDS
    process.see({**CLAIMS, "groups": ["ml", "more"]})
    await process.seen.flush()
    later = await process.store.person(NAME)
    assert (later.first, later.seen) == (1000.0, process.now)


async def test_stored_people_take_little_memory(process):
    """Some issuers send 200 groups of 40 characters in each token: 20 kB for each person."""

    def note(first: int) -> None:
        for number in range(first, first + 100):
            groups = ["ml", *(f"{number}-{group:038}" for group in range(200))]
            process.see({**CLAIMS, "sub": f"00u{number}", "groups": groups})

    note(0)
    await process.seen.flush()
    gc.collect()
    tracemalloc.start()
    try:
        note(100)
        await process.seen.flush()
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 100 * 4000


@pytest.mark.parametrize("flushes_between", [True, False])
async def test_an_older_token_does_not_bring_its_rights_back(process, flushes_between):
    older, newer = {**CLAIMS, "groups": ["ml", "admins"]}, CLAIMS
    process.see(older, 500.0)
    await process.seen.flush()
    process.see(newer, 900.0)
    if flushes_between:
        await process.seen.flush()
    process.see(older, 500.0)
    process.now += AGAIN_SECONDS
    process.see(older, 500.0)
    await process.seen.flush()
    found = await process.store.person(NAME)
    assert (found.claims["groups"], found.claims_at) == (["ml"], 900.0)
    other_process = SeenPeople(process.store, lambda: process.now)
    other_process.note(RULES.admit("okta", older)[0], older, 500.0)
    await other_process.flush()
    found = await process.store.person(NAME)
    assert (found.claims["groups"], found.seen) == (["ml"], process.now)


@pytest.mark.parametrize(("issued", "confirm_again"), [(1000.0 + AGAIN_SECONDS, 30 * DAY), (1600.0, 600.0)])
async def test_a_new_token_confirms_a_person_whose_own_key_was_used_before(process, issued, confirm_again):
    """Otherwise, a key that waits for a new sign-in would wait for hours after it."""
    process.see(CLAIMS, 1000.0)
    await process.seen.flush()
    process.see(CLAIMS, 0.0)  # as an own key does
    await process.seen.flush()
    process.now = issued + 1.0
    process.seen.note(RULES.admit("okta", CLAIMS)[0], CLAIMS, issued, confirm_again)
    with trio.fail_after(5):
        await process.seen.wait_for_news()
    await process.seen.flush()
    found = await process.store.person(NAME)
    assert found.claims_at == issued


async def test_the_last_uses_of_many_keys_are_stored(process):
    process.see()
    await process.seen.flush()
    person, digest = await process.store.person(NAME), bytes(range(32))
    await process.store.put_own_key(person, OwnKey(NAME, "laptop", digest.hex(), 9e9, 0.0), 2, 0.0)
    for now, used in ((1000.0, 1000.0), (1030.0, 1000.0), (1060.0, 1060.0)):
        process.now = now
        for number in range(450):
            process.seen.note_key_use(number.to_bytes(32))
        process.seen.note_key_use(digest)
        await process.seen.flush()
        (key,) = await process.store.own_keys(NAME)
        assert key.used == used, "a use within a minute of the last one is not stored"


async def test_people_seen_during_an_outage_are_stored_after_it(tmp_path):
    store = PeopleStore(SqliteDatabase(tmp_path / "folder" / "state.sqlite"))
    seen = SeenPeople(store, lambda: 1000.0)
    seen.note(RULES.admit("okta", CLAIMS)[0], CLAIMS, 1000.0)
    with pytest.raises(Unavailable):
        await seen.flush()
    (tmp_path / "folder").mkdir()
    await seen.flush()
    assert await store.person(NAME) is not None
    await store.database.aclose()
