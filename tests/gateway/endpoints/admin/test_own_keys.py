"""Keys that people make for themselves over HTTP: a second key of the same client, never with more rights."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.support.admin import AdminGateway, admin_gateway, soon
from tests.support.harness import Reply

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
        models = shared.gateway.request("GET", "/v1/models", None, {"authorization": f"Bearer {key}"})
        assert [model["id"] for model in models.json["data"]] == ["openai/small"]


def test_a_repeated_put_changes_the_end_and_shows_no_key(shared):
    with gone_afterwards(shared):
        first = shared.call("person", "PUT", f"{KEYS}/laptop", {"until": soon(3)})
        again = shared.call("person", "PUT", f"{KEYS}/laptop", {"until": soon(5)})
        assert (first.status, again.status) == (201, 200)
        assert "key" not in again.json
        assert again.json["until"] > first.json["until"]
        late = shared.call("person", "PUT", f"{KEYS}/laptop", {}, if_match=first.headers["etag"])
        assert (late.status, late.json["error"]["code"]) == (409, "changed")
        assert shared.call("person", "PUT", f"{KEYS}/laptop", {}, if_match=again.headers["etag"]).status == 200


REFUSED = [
    ("person", "laptop", {"until": soon(31)}, 403, "own_keys"),
    ("person", "laptop", {"until": "2020-01-01"}, 400, "invalid_request"),
    ("person", "laptop", {"until": "soon"}, 400, "invalid_request"),
    ("person", "laptop", {"until": 5}, 400, "invalid_request"),
    ("person", "laptop", {"role": "admin"}, 400, "unknown_member"),
    ("person", "laptop", {"budgets": ["9000 usd/day"]}, 400, "unknown_member"),
    ("person", "a b", {}, 400, "invalid_request"),
    ("lead person", "laptop", {}, 403, "own_keys"),
    ("user", "laptop", {}, 403, "no_person"),
]


@pytest.mark.parametrize(("caller", "name", "body", "status", "code"), REFUSED)
def test_a_key_with_more_rights_is_refused(shared, caller, name, body, status, code):
    reply = shared.call(caller, "PUT", f"{KEYS}/{name.replace(' ', '%20')}", body)
    assert (reply.status, reply.json["error"]["code"]) == (status, code), reply.body
    assert names(shared) == []


def test_an_own_key_makes_no_other_key(shared):
    with gone_afterwards(shared):
        key = make(shared, "laptop")
        reply = shared.call(key, "PUT", f"{KEYS}/another", {})
        assert (reply.status, reply.json["error"]["code"]) == (403, "own_key")
        assert names(shared) == ["laptop"]


def test_a_person_has_at_most_so_many_keys(shared):
    with gone_afterwards(shared):
        for name in ("a", "b", "c"):
            make(shared, name)
        assert shared.call("person", "PUT", f"{KEYS}/d", {}).status == 403
        assert shared.call("person", "PUT", f"{KEYS}/c", {}).status == 200
        assert names(shared) == ["a", "b", "c"]


def test_a_deleted_key_is_rejected_by_the_next_request(shared):
    key = make(shared, "laptop")
    assert shared.call(key, "GET", "/me").status == 200
    assert shared.call("person", "DELETE", f"{KEYS}/laptop").status == 204
    assert shared.call("person", "DELETE", f"{KEYS}/laptop").status == 404
    assert shared.call(key, "GET", "/me").status == 401


def test_a_block_rejects_own_keys_until_it_is_removed(tmp_path):
    with admin_gateway(tmp_path) as admin:
        key = make(admin, "laptop")
        assert admin.call("admin", "PUT", "/admin/v1/people/okta:person-1/block", {}).status in (200, 201)

        def reply() -> Reply:
            return admin.call(key, "GET", "/me")

        assert (reply().status, admin.call("person", "GET", "/me").status) == (401, 401)
        assert admin.call("admin", "DELETE", "/admin/v1/people/okta:person-1/block").status == 204
        assert reply().status == 200


def test_the_audit_has_the_change_without_the_key(tmp_path):
    with admin_gateway(tmp_path) as admin:
        key = make(admin, "laptop")
        rows = admin.call("auditor", "GET", "/admin/v1/audit").json["data"]
        assert [(row["who"], row["path"], row["status"]) for row in rows] == [("okta:person-1", f"{KEYS}/laptop", 201)]
        assert key not in str(rows)
        assert key[-20:] not in "".join(admin.gateway.log)
