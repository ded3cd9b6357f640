"""``trigate people``: blocks, sign-outs and labels of people in the storage, and the audit of these commands."""

import json
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio

from gateway.config_files.loading import load
from gateway.features.people.records import IssuerSession, OwnKey, PersonSession, SeenPerson, digest_of
from gateway.features.people.store import PeopleStore
from gateway.open_store import open_keeping_database
from tests.support.command_line import Finished, invoke
from tests.support.finished_commands import good, reason_of
from tests.support.quick_yaml import dump_yaml

T = TypeVar("T")
People = Callable[..., Finished]


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "version": "v0.4.0",
        "state_storage": {"type": "sqlite", "path": str(folder / "state.sqlite")},
        "model_providers": [{"model": "openai/gpt-4o", "access_key": "k"}],
        "issuers": [
            {
                "name": "okta",
                "issuer": "https://example.okta.com",
                "audience": ["trigate"],
                "admit": [{"when": {"groups": "ml"}}],
            }
        ],
        **more,
    }


@pytest.fixture
def people(tmp_path) -> People:
    """Return a function that runs ``trigate people`` with the configuration ``settings``, changed by ``more``."""

    def run(*args: str, **more: object) -> Finished:
        file = tmp_path / "c.yaml"
        file.write_text(dump_yaml(settings(tmp_path, **more)))
        return invoke("people", *args, "--config", str(file))

    return run


def in_store(folder: Path, work: Callable[[PeopleStore], Awaitable[T]]) -> T:
    file = folder / "c.yaml"
    file.write_text(dump_yaml(settings(folder)))

    async def run() -> T:
        async with open_keeping_database(load(file, {})) as database:
            assert database is not None
            return await work(PeopleStore(database))

    return trio.run(run)


def sign_in(folder: Path, name: str = "okta:00u1", label: str = "ada@example.com") -> None:
    now = time.time()
    person = SeenPerson(name, "okta", label, {"groups": ["ml"]}, "research", "lead", now, now)
    session = PersonSession(f"s {name}", f"o {name}", name, "device", "Codex", "", now, now + 9e5, now + 3600, now)

    async def work(store: PeopleStore) -> bool:
        return await store.sign_in(person, IssuerSession(f"o {name}", name, "okta", {}, None, now), session)

    assert in_store(folder, work)


def sessions(folder: Path, name: str = "okta:00u1") -> int:
    async def work(store: PeopleStore) -> int:
        return len(await store.sessions(name, time.time()))

    return in_store(folder, work)


def test_a_block_ends_sessions_and_is_listed_until_it_is_removed(people, tmp_path):
    sign_in(tmp_path)
    result = people("block", "okta:00u1", "--reason", "left", "--by", "hr")
    assert good(result) == ""
    assert "Blocked okta:00u1" in result.stderr
    assert sessions(tmp_path) == 0
    assert "blocked" in good(people("list"))
    assert "is blocked already" in reason_of(people("block", "okta:00u1"))
    assert good(people("unblock", "okta:00u1")) == ""
    assert "is not blocked" in reason_of(people("unblock", "okta:00u1"))
    assert json.loads(good(people("list", "--json")))[0]["state"] == "good"


def make_key(folder: Path, key: str, name: str = "okta:00u1", lasting: float = 3600.0) -> None:
    now = time.time()
    person = SeenPerson(name, "okta", "", {"groups": ["ml"]}, None, "user", now, now)

    async def work(store: PeopleStore) -> bool:
        return await store.put_own_key(
            person, OwnKey(name, key, digest_of(f"{name} {key}"), now + lasting, now), 9, now
        )

    assert in_store(folder, work)


def keys_of(folder: Path, name: str = "okta:00u1") -> list[str]:
    async def work(store: PeopleStore) -> list[str]:
        return [key.name for key in await store.own_keys(name)]

    return in_store(folder, work)


def test_one_key_of_a_person_is_revoked(people, tmp_path):
    for key, name in (("laptop", "okta:00u1"), ("ci", "okta:00u1"), ("laptop", "okta:00u2")):
        make_key(tmp_path, key, name)
    result = people("revoke-key", "okta:00u1", "laptop", "--by", "security")
    assert good(result) == ""
    assert "Revoked the key laptop of okta:00u1" in result.stderr
    assert (keys_of(tmp_path), keys_of(tmp_path, "okta:00u2")) == (["ci"], ["laptop"])
    row = json.loads(good(people("history", "--json")))[-1]
    assert (row["call"], row["after"]) == ("trigate people revoke-key okta:00u1 laptop", None)
    assert (row["before"]["person"], row["before"]["name"]) == ("okta:00u1", "laptop")
    assert row["who"].startswith("security via ")
    again = reason_of(people("revoke-key", "okta:00u1", "laptop"))
    assert "okta:00u1 has no key laptop: its keys are ci (until " in again
    good(people("revoke-key", "okta:00u1", "ci"))
    assert "the person has no valid key" in reason_of(people("revoke-key", "okta:00u1", "ci"))
    assert "did you mean okta:00u1?" in reason_of(people("revoke-key", "okat:00u1", "ci"))


def test_the_end_of_a_block_lists_the_keys_that_work_again(people, tmp_path):
    make_key(tmp_path, "laptop")
    make_key(tmp_path, "expired", lasting=-1.0)
    make_key(tmp_path, "others", "okta:00u2")
    good(people("block", "okta:00u1"))
    unblocked = " ".join(people("unblock", "okta:00u1").stderr.split())
    assert "Keys of the person that work again: laptop (until " in unblocked
    assert "expired" not in unblocked
    assert "others" not in unblocked
    assert "trigate people revoke-key NAME KEY" in unblocked
    good(people("block", "okta:00u3"))
    assert "again:" not in people("unblock", "okta:00u3").stderr


def test_a_person_may_be_blocked_before_its_first_request(people):
    result = people("block", "okta:00u9")
    good(result)
    assert "No person of this name is known" in " ".join(result.stderr.split())
    assert json.loads(good(people("list", "--json"))) == [
        {"label": "", "group": None, "role": "user", "state": "blocked", "seen": None, "name": "okta:00u9"}
    ]


def test_people_are_listed_with_their_rights(people, tmp_path):
    sign_in(tmp_path)
    sign_in(tmp_path, "okta:00u2", "")
    rows = json.loads(good(people("list", "--json")))
    assert [(row["name"], row["label"], row["group"], row["role"]) for row in rows] == [
        ("okta:00u1", "ada@example.com", "research", "lead"), ("okta:00u2", "", "research", "lead"),
    ]  # fmt: skip
    table = good(people("list")).splitlines()
    assert table[0].split() == ["name", "label", "group", "role", "state", "seen"]
    assert table[2].split()[:3] == ["okta:00u2", "-", "research"]


def test_a_sign_out_ends_all_sessions(people, tmp_path):
    sign_in(tmp_path)
    result = people("sign-out", "okta:00u1")
    good(result)
    assert "Ended 1 session of okta:00u1" in result.stderr
    assert sessions(tmp_path) == 0
    assert "Ended 0 sessions" in people("sign-out", "okta:00u1").stderr


def test_a_label_is_forgotten(people, tmp_path):
    sign_in(tmp_path)
    good(people("forget", "okta:00u1"))
    assert "ada@example.com" not in good(people("list"))
    assert "knows no person okta:00u1" in reason_of(people("forget", "okta:00u1"))


def test_the_audit_has_every_change_with_its_author(people, tmp_path):
    sign_in(tmp_path)
    good(people("block", "okta:00u1", "--by", "hr"))
    good(people("unblock", "okta:00u1"))
    rows = json.loads(good(people("history", "--json")))
    assert [row["call"] for row in rows] == [
        "trigate people block okta:00u1", "trigate people unblock okta:00u1",
    ]  # fmt: skip
    assert rows[0]["who"].startswith("hr via ")
    assert rows[0]["after"]["blocked"] == "okta:00u1"
    assert (rows[0]["before"], rows[1]["after"]) == (None, None)
    (_, line) = good(people("history", "--last", "1")).splitlines()
    assert "trigate people unblock okta:00u1  200" in line
    assert "blocked okta:00u1 → -" in line


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("UPDATE audit SET who = 'eve' WHERE number = 2", "row 2 of"),
        ("UPDATE audit SET number = 9 WHERE number = 4", "rows 4 to 8 are missing"),
        ("DELETE FROM audit WHERE number = 2", "rows 2 to 2 are missing"),
        ("DELETE FROM audit_digests WHERE number = 3", "row 3 has no digest"),
        ("UPDATE audit_digests SET digest = 'x' WHERE number = 3", "row 3 of"),
        ("DELETE FROM audit WHERE number = 4", "the audit ends at row 3, before row 4"),
        ("UPDATE audit SET at = 1 WHERE number = 1", "row 1 of"),
        ("DELETE FROM audit WHERE number = 1", None),  # after 400 days
    ],
)
def test_a_change_of_the_audit_is_found(people, tmp_path, change, fault):
    sign_in(tmp_path)
    for _ in range(2):
        good(people("block", "okta:00u1", "--by", "hr"))
        good(people("unblock", "okta:00u1"))
    expected = good(people("audit", "--verify")).split()[-1]
    assert expected.startswith("4:")
    with closing(sqlite3.connect(tmp_path / "state.sqlite")) as database, database:
        database.execute(change)
    found = people("audit", "--verify", "--expect", expected)
    assert (found.returncode, fault is None or fault in found.stderr) == (0 if fault is None else 1, True), found.stderr


@pytest.mark.parametrize(
    ("args", "more", "says"),
    [
        (("block", "00u1"), {}, "write okta:ID"),
        (("block", "okat:00u1"), {}, "did you mean okta:00u1?"),
        (("block", "okta:"), {}, "is not a person of an issuer"),
        (("revoke-key", "entra:1", "laptop"), {}, "is not a person of an issuer"),
        (("sign-out", "entra:1"), {}, "is not a person of an issuer"),
        (("block", "okta:00u1", "--by", "\n"), {}, "--by is not valid"),
        (("list",), {"issuers": None}, "has no `issuers`"),
        (("list",), {"state_storage": {"type": "memory"}}, "cannot store people"),
        (("list",), {"state_storage": {"type": "sqlite", "path": "/nowhere/x.sqlite"}}, "cannot create"),
    ],
)
def test_a_command_that_cannot_work_gives_the_reason(people, args, more, says):
    assert says in reason_of(people(*args, **more))
