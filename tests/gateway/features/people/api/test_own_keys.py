"""Keys that people make for themselves over HTTP: a second key of the same client, never with more rights."""

import contextlib
import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from gateway.access.refused_keys import MOST
from gateway.features.people.records import OwnKey, SeenPerson, digest_of
from tests.support.admin import AdminGateway, admin_gateway, soon
from tests.support.each_row import each_row
from tests.support.features import rows_of
from tests.support.harness import Reply, eventually

KEYS = "/me/keys"


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[AdminGateway]:
    with admin_gateway(tmp_path_factory.mktemp("own-keys")) as admin:
        yield admin


def make(admin: AdminGateway, name: str, caller: str = "person", **body: object) -> str:
    reply = admin.call(caller, "PUT", f"{KEYS}/{name}", body)
    assert reply.status == 201, reply.body
    key: str = reply.json["key"]
    return key


def names(admin: AdminGateway) -> list[str]:
    return [row["name"] for row in admin.call("person", "GET", KEYS).json["data"]]


@contextlib.contextmanager
def gone_afterwards(admin: AdminGateway) -> Iterator[None]:
    yield
    for name in names(admin):
        assert admin.call("person", "DELETE", f"{KEYS}/{name}").status == 204


def test_an_own_key_is_a_second_key_of_the_same_client(shared):
    with gone_afterwards(shared):
        key = make(shared, "laptop", until=soon(3))
        mine, own = shared.call("person", "GET", "/me").json, shared.call(key, "GET", "/me").json
        assert own["name"] == mine["name"] == "okta:person-1"
        for member in ("group", "role", "models", "budgets"):
            assert own[member] == mine[member], member
        for path in rows_of("model_lists", "/v1/models"):
            models = shared.gateway.request("GET", path, None, {"authorization": f"Bearer {key}"})
            assert [model["id"] for model in models.json["data"]] == ["openai/small"]


def test_a_repeated_put_changes_the_end_and_shows_no_key(shared):
    with gone_afterwards(shared):
        first = shared.call("person", "PUT", f"{KEYS}/laptop", {"until": soon(3)})
        again = shared.call("person", "PUT", f"{KEYS}/laptop", {"until": soon(5)})
        assert (first.status, again.status) == (201, 200)
        assert "key" not in again.json
        assert again.json["until"] > first.json["until"]
        assert (again.json["made"], shared.call(first.json["key"], "GET", "/me").status) == (first.json["made"], 200)
        late = shared.call("person", "PUT", f"{KEYS}/laptop", {}, if_match=first.headers["etag"])
        assert (late.status, late.json["error"]["code"]) == (409, "changed")
        assert shared.call("person", "PUT", f"{KEYS}/laptop", {}, if_match=again.headers["etag"]).status == 200


def test_the_longest_time_of_a_key_counts_from_its_making(shared):
    with gone_afterwards(shared):
        now, claims = time.time(), {"sub": "person-1", "groups": ["ml"]}
        person = SeenPerson("okta:person-1", "okta", "", claims, "research", "user", now, now, now)
        made = OwnKey(person.name, "laptop", digest_of("k"), now + 60, now - 29 * 86400)  # the rule permits 30 days
        shared.stored(lambda store: store.put_own_key(person, made, 3, now))
        late = shared.call("person", "PUT", f"{KEYS}/laptop", {"until": soon(3)})
        assert (late.status, "may last 30d" in late.json["error"]["message"]) == (403, True)


def test_an_end_that_is_slightly_too_late_is_the_latest_one(shared):
    """The client's clock may be ahead."""
    with gone_afterwards(shared):
        made = shared.call("person", "PUT", f"{KEYS}/laptop", {"until": soon(30 + 30 / 86400)})
        row = {name: datetime.fromisoformat(made.json[name]) for name in ("made", "until")}
        assert (made.status, row["until"] - row["made"]) == (201, timedelta(days=30))


def test_of_simultaneous_changes_one_makes_the_key(shared):
    def put(_: int) -> str | None:
        reply = shared.call("person", "PUT", f"{KEYS}/laptop", {})
        assert reply.status in (200, 201, 409), reply.body
        return reply.json.get("key")

    with gone_afterwards(shared), ThreadPoolExecutor(4) as pool:
        (key,) = filter(None, pool.map(put, range(4)))
        assert shared.call(key, "GET", "/me").status == 200


REFUSED = [
    ("person", "laptop", {"until": soon(31)}, 403, "own_keys"),
    ("person", "laptop", {"until": "2020-01-01"}, 400, "invalid_request"),
    ("person", "laptop", {"until": "soon"}, 400, "invalid_request"),
    ("person", "laptop", {"until": 5}, 400, "invalid_request"),
    ("person", "laptop", {"role": "admin"}, 400, "unknown_member"),
    ("person", "laptop", {"budgets": ["9000 usd/day"]}, 400, "unknown_member"),
    ("person", "a b", {}, 400, "invalid_request"),
    ("person", "x" * 65, {}, 400, "invalid_request"),
    ("lead person", "laptop", {}, 403, "own_keys"),
    ("user", "laptop", {}, 403, "no_person"),
]


@each_row(("caller", "name", "body", "status", "code"), REFUSED)
def test_a_key_with_more_rights_is_refused(shared, caller, name, body, status, code):
    reply = shared.call(caller, "PUT", f"{KEYS}/{name.replace(' ', '%20')}", body)
    assert (reply.status, reply.json["error"]["code"]) == (status, code), reply.body
    assert names(shared) == []


def test_a_person_has_as_many_keys_as_its_rule_permits(shared):
    with gone_afterwards(shared):
        for name in ("a", "b", "c"):
            make(shared, name)
        refused = shared.call("person", "PUT", f"{KEYS}/d", {})
        assert (refused.status, "you have 3 keys, the maximum" in refused.json["error"]["message"]) == (403, True)
        assert shared.call("person", "PUT", f"{KEYS}/c", {}).status == 200, "it replaces the one with its name"


def test_a_deleted_key_is_rejected_by_the_next_request(shared):
    key = make(shared, "laptop")
    assert shared.call(key, "GET", "/me").status == 200
    assert shared.call("person", "DELETE", f"{KEYS}/laptop").status == 204
    assert shared.call("person", "DELETE", f"{KEYS}/laptop").status == 404
    assert shared.call(key, "GET", "/me").status == 401


def test_the_audit_has_the_change_without_the_key(tmp_path):
    with admin_gateway(tmp_path) as admin:
        key = make(admin, "laptop")
        assert admin.call("person", "DELETE", f"{KEYS}/laptop").status == 204
        rows = admin.call("auditor", "GET", "/admin/v1/audit").json["data"]
        expected = [("okta:person-1", f"{KEYS}/laptop", status) for status in (201, 204)]
        assert [(row["who"], row["path"], row["status"]) for row in rows] == expected
        assert key not in str(rows)
        assert key[-20:] not in "".join(admin.gateway.log)


# Among all keys

LAPTOP = "/admin/v1/keys/okta:person-1/laptop"


def people_keys(admin: AdminGateway, caller: str, query: str = "limit=1000") -> dict[str, Any]:
    reply = admin.call(caller, "GET", f"/admin/v1/keys?{query}")
    assert reply.status == 200, reply.body
    return {row["name"]: row for row in reply.json["data"] if row["from"] == "person"}


def test_the_list_of_keys_has_those_that_people_made_without_a_secret(shared):
    with gone_afterwards(shared):
        key = make(shared, "laptop", until=soon(3))
        row = people_keys(shared, "admin")["okta:person-1/laptop"]
        assert (row["person"], row["by"], row["state"]) == ("okta:person-1", "okta:person-1", "good")
        assert (row["group"], row["budgets"], row["last_used"]) == ("research", ["20 usd/day"], None)
        assert row["added"] < row["until"]
        assert shared.call("admin", "GET", LAPTOP).json == row
        digest = hashlib.sha256(key.encode()).hexdigest()
        for shown in (str(row), shared.call("person", "GET", KEYS).body.decode()):
            assert key not in shown
            assert digest not in shown
        for caller in ("auditor", "operator", "lead"):
            assert list(people_keys(shared, caller)) == ["okta:person-1/laptop"], caller
        assert people_keys(shared, "other-lead") == {}
        assert list(people_keys(shared, "admin", "group=research&state=good")) == ["okta:person-1/laptop"]
        assert people_keys(shared, "admin", "group=ci") == people_keys(shared, "admin", "state=ended") == {}
        assert shared.call("other-lead", "GET", LAPTOP).status == 404


def test_pages_of_keys_include_those_of_people(shared):
    with gone_afterwards(shared):
        for name in ("a", "b", "c"):
            make(shared, name)
        found, query = [], "limit=2"
        while query:
            page = shared.call("admin", "GET", f"/admin/v1/keys?{query}").json
            found += [row["name"] for row in page["data"]]
            query = page["next"] and f"limit=2&after={quote(page['next'])}"
        assert found == sorted(set(found))
        assert {f"okta:person-1/{name}" for name in "abc"} < set(found)


def test_only_an_admin_revokes_a_key_that_a_person_made(shared):
    with gone_afterwards(shared):
        keys = {name: make(shared, name) for name in ("laptop", "other")}
        for caller, status in (("lead", 403), ("other-lead", 404), ("auditor", 403), ("user", 403)):
            assert shared.call(caller, "DELETE", LAPTOP).status == status, caller
        assert shared.call("admin", "DELETE", LAPTOP).status == 204
        assert [shared.call(key, "GET", "/me").status for key in keys.values()] == [401, 200]
        assert shared.call("admin", "DELETE", LAPTOP).status == shared.call("lead", "DELETE", LAPTOP).status == 404
        assert shared.call("admin", "GET", LAPTOP).status == 404
        assert ("admin", "DELETE", LAPTOP, 204) in shared.audit_rows()
        for method, path in (("PUT", LAPTOP), ("POST", f"{LAPTOP}/rotate")):
            assert shared.call("admin", method, path, {}).status in (400, 404)


def test_the_keys_of_a_blocked_person_are_refused(shared):
    with gone_afterwards(shared):
        make(shared, "laptop")
        assert shared.call("admin", "PUT", "/admin/v1/people/okta:person-1/block", {}).status == 201
        try:
            row = people_keys(shared, "admin", "state=refused")["okta:person-1/laptop"]
            assert row["why"] == "the person is blocked"
        finally:
            assert shared.call("admin", "DELETE", "/admin/v1/people/okta:person-1/block").status == 204


def test_the_last_use_of_an_own_key_is_listed(tmp_path, monkeypatch):
    monkeypatch.setattr("gateway.features.people.seen.FLUSH_SECONDS", 0.1)
    with admin_gateway(tmp_path) as admin:
        make(admin, "unused")
        key = make(admin, "laptop")
        assert admin.call(key, "GET", "/me").status == 200
        used = lambda name: people_keys(admin, "admin")[f"okta:person-1/{name}"]["last_used"]  # noqa: E731
        eventually(lambda: used("laptop") is not None, what="the last use")
        assert used("unused") is None
        (mine,) = (row for row in admin.call("person", "GET", KEYS).json["data"] if row["name"] == "laptop")
        assert mine["last_used"] == used("laptop")


CHAT = {"model": "small", "messages": [{"role": "user", "content": "Hello"}]}


@each_row(("days", "is_refused", "is_announced"), [(0.0, False, False), (24.0, False, True), (31.0, True, False)])
def test_an_own_key_asks_for_a_new_sign_in(tmp_path_factory, monkeypatch, days, is_refused, is_announced):
    monkeypatch.setattr("gateway.features.people.seen.FLUSH_SECONDS", 0.1)

    def call() -> Reply:
        return admin.call(key, "POST", "/v1/chat/completions", CHAT)

    with admin_gateway(tmp_path_factory.mktemp("renewal")) as admin:
        key, now = f"sk-trigate-{'k' * 43}", time.time()
        confirmed, claims = now - days * 86400, {"sub": "person-1", "groups": ["ml"]}
        person = SeenPerson("okta:person-1", "okta", "", claims, "research", "user", now, now, confirmed)
        own = OwnKey(person.name, "laptop", digest_of(key), now + 86400, confirmed)
        admin.stored(lambda store: store.put_own_key(person, own, 3, now))
        assert "okta:person-1/laptop" in people_keys(admin, "admin")  # so the worker has read the stored key
        found = call()
        assert (found.status == 401) is is_refused, found.body
        assert ("x-trigate-sign-in-by" in found.headers) is is_announced
        if is_refused:
            for _ in range(MOST):  # a program that tries again and again does not guess keys
                found = call()
            assert (found.status, "waits for a new sign-in" in str(found.json)) == (401, True), found.body
            assert admin.call("person", "GET", "/me").status == 200  # a token of the issuer, which confirms the person
            eventually(lambda: call().status != 401, what="the renewed key")
