"""Common rules of all paths of the HTTP API: errors, pages of lists, sizes, rates, and requests of browsers."""

import base64
import contextlib
import http.client
import itertools
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from urllib.parse import quote

import pytest

from gateway.allowances.call_rates import count_call
from gateway.counters.memory import LocalCounters
from streams.errors import GatewayError
from tests.support.admin import KEYS, AdminGateway, admin_gateway
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.harness import Reply, eventually
from tests.support.people_gateway import SIGNING_KEY


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminGateway]:
    with admin_gateway(tmp_path_factory.mktemp("calls"), cors=["https://app.example"]) as served:
        yield served


@each_row(
    ("body", "status", "says"),
    [
        (b"{", 400, "not valid JSON"),
        (b"[]", 400, "must be a JSON object"),
        (b'{"group": "ci", "group": "research"}', 400, "the member group is in the body twice"),
        (b'{"a": NaN}', 400, "not valid JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", 400, "not valid JSON"),
        (b'{"a": ' * 40 + b"1" + b"}" * 40, 400, "levels"),
        (b'{"models": [' + b"1, " * 2500 + b"1]}", 400, "more than 2000 values"),
        (b"{" + b", ".join(b'"%d": 1' % number for number in (*range(5000), 4999)) + b"}", 400, "is in the body twice"),
        (b'{"a": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", 400, "the body"),
        (b"\xff\xfe{}", 400, "not valid JSON"),
        (b'{"models": ["' + b"x" * 70_000 + b'"]}', 413, "64 KiB"),
    ],
)
def test_a_wrong_body_is_refused_with_a_reason(shared, body, status, says):
    reply = shared.call("setup-1", "PUT", "/admin/v1/keys/x", body)
    assert reply.status == status, reply.body
    assert says in reply.json["error"]["message"]
    assert reply.json["request_id"] == reply.headers["x-request-id"]


def test_a_compressed_body_is_refused(shared):
    assert shared.call("setup-1", "PUT", "/admin/v1/keys/x", b"{}", content_encoding="gzip").status == 415


@needs_feature("people")
@each_row(
    ("path", "param"),
    [
        ("/admin/v1/keys?limt=1", "limt"),
        ("/admin/v1/keys?limit=0", "limit"),
        ("/admin/v1/keys?limit=1001", "limit"),
        ("/admin/v1/keys?limit=1&limit=2", None),
        ("/admin/v1/keys?state=bad", "state"),
        ("/admin/v1/keys?order=oldest", "order"),
        ("/admin/v1/keys?until=soon", "until"),
        ("/admin/v1/people?order=newest&after=x", "after"),
        ("/admin/v1/audit?order=name", "order"),
        ("/admin/v1/audit?since=soon", "since"),
        ("/admin/v1/audit?after=x", "after"),
        ("/admin/v1/usage?month=2026-13", "month"),
        ("/admin/v1/usage?by=grup", "by"),
        ("/admin/v1/usage?format=xml", "format"),
        ("/me/usage?group=research", "group"),
    ],
)
def test_a_wrong_parameter_is_a_400_that_names_it(shared, path, param):
    reply = shared.call("admin", "GET", path)
    assert reply.status == 400, reply.body
    assert param in (None, reply.json["error"]["param"])


def names_in(admin, path, size=2):
    """Return the names, or the numbers, in all pages of a list."""
    found, after = [], ""
    while after is not None:
        page = admin.call(
            "admin", "GET", f"{path}&limit={size}&after={after}" if after else f"{path}&limit={size}"
        ).json
        found += [row.get("name", row.get("number")) for row in page["data"]]
        after = page["next"] and quote(page["next"])
    return found


@needs_feature("people")
def test_lists_are_searched_and_filtered_and_begin_with_the_newest(tmp_path):
    with admin_gateway(tmp_path) as admin:
        for name in ("new_1", "newx1", "NEW-2"):
            assert admin.call("setup-1", "PUT", f"/admin/v1/keys/{name}", {"group": "ci"}).status == 201
        for name in ("okta:a", "okta:c", "okta:b"):
            admin.note_person(name)
        keys = names_in(admin, "/admin/v1/keys?order=newest")
        assert {*keys[:3]} == {"new_1", "newx1", "NEW-2"}  # in the same second
        assert {*keys} == {*names_in(admin, "/admin/v1/keys?state=good")}
        by = admin.call("admin", "GET", "/admin/v1/keys/new_1").json["by"]
        for query, expected in (
            ("search=NEW", {*keys[:3]}), ("search=w_", {"new_1"}), (f"who={by}&since=1h", {*keys[:3]}),
            ("until=2020-01-01", set()), (f"who={by}&search=x", {"newx1"}), ("who=nobody", set()),
        ):  # fmt: skip
            assert {*names_in(admin, f"/admin/v1/keys?{query}")} == expected, query
        assert names_in(admin, "/admin/v1/people?order=newest&search=okta:") == ["okta:b", "okta:c", "okta:a"]
        assert names_in(admin, "/admin/v1/people?search=A@EXAMPLE") == ["okta:a"]
        assert names_in(admin, "/admin/v1/people?until=2020-01-01") == []
        changes = names_in(admin, "/admin/v1/audit?order=newest")
        assert changes == sorted(changes, reverse=True)
        assert len(names_in(admin, f"/admin/v1/audit?who={by}&since=1h")) == len(changes)
        assert len(names_in(admin, "/admin/v1/audit?search=NEW_1")) == 1
        assert names_in(admin, "/admin/v1/audit?search=%25n") == []


def test_pages_are_stable_while_objects_are_added(tmp_path):
    with admin_gateway(tmp_path) as admin:
        for number in range(9):
            assert admin.call("setup-1", "PUT", f"/admin/v1/keys/n{number}", {"group": "ci"}).status == 201
        first = admin.call("admin", "GET", "/admin/v1/keys?group=ci&limit=4").json
        assert len(first["data"]) == 4
        admin.call("setup-1", "PUT", "/admin/v1/keys/a-new-one", {"group": "ci"})
        names, after = [row["name"] for row in first["data"]], first["next"]
        while after is not None:
            page = admin.call("admin", "GET", f"/admin/v1/keys?group=ci&limit=4&after={after}").json
            names += [row["name"] for row in page["data"]]
            after = page["next"]
        assert names == ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "other-lead", "passed"]
        read = admin.call("auditor", "GET", "/admin/v1/audit?limit=3").json
        last = admin.call("auditor", "GET", f"/admin/v1/audit?limit=100&after={read['next']}").json
        assert [row["number"] for row in (*read["data"], *last["data"])] == list(range(1, 11))
        assert admin.call("auditor", "GET", "/admin/v1/audit?until=2020-01-01").json["data"] == []


def changes_until_refused(admin: AdminGateway, credentials: Sequence[str], path: str) -> tuple[int, Reply]:
    """Delete what does not exist, with ``credentials`` by turns, until it is refused. Return the number before, and the
    refusal.

    One more is allowed each second."""
    begun = time.monotonic()
    for number in itertools.count():
        reply = admin.call(credentials[number % len(credentials)], "DELETE", path)
        if reply.status == 429:
            return number, reply
        assert reply.status == 404
        assert number < 60 + time.monotonic() - begun
    raise AssertionError


def test_changes_and_reads_have_rates_of_their_own_for_each_caller(tmp_path):
    with admin_gateway(tmp_path) as admin:
        number, refused = changes_until_refused(admin, ["admin"], "/admin/v1/keys/none")
        assert number >= 60
        assert refused.json["error"]["code"] == "rate_limited"
        assert int(refused.headers["retry-after"]) >= 1
        assert admin.call("admin", "GET", "/admin/v1/keys").status == 200, "reads go on"
        assert admin.call("lead", "DELETE", "/admin/v1/keys/none").status == 404, "and other callers"
        assert admin.call("admin", "GET", "/nowhere").status == 404, "and requests of other paths"


@needs_feature("people")
def test_the_credentials_of_a_person_share_its_rates(tmp_path):
    """A person has many credentials, and may make more at will."""
    with admin_gateway(tmp_path, public_url="http://127.0.0.1", signing_key=SIGNING_KEY) as admin:
        token = admin.token("person")
        own = admin.call(token, "PUT", "/me/keys/laptop", {}).json["key"]
        credentials = [token, own, admin.identity.token(sub="person-1", groups=["ml"], jti="another")]
        assert changes_until_refused(admin, credentials, "/me/keys/none")[0] >= 59, "a change was made before"


async def count_calls(counters: LocalCounters, number: int) -> None:
    for _ in range(number):
        await count_call(counters, "ann", "reads")


async def test_a_caller_has_600_reads_a_minute():
    counters = LocalCounters()
    await count_calls(counters, 600)
    with pytest.raises(GatewayError, match="more than 600 reads a minute"):
        await count_calls(counters, 6000)  # ten a second come back meanwhile
    await count_call(counters, "bob", "reads")
    await count_call(counters, "ann", "changes")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_cors_does_not_apply_to_these_paths(shared, site):
    page = {"origin": "https://app.example", "sec_fetch_site": site}
    for verb, path in (("GET", "/me"), ("PUT", "/admin/v1/keys/x"), ("POST", "/key/delete"), ("GET", "/admin/v1/keys")):
        reply = shared.call("admin", verb, path, **page)
        assert (reply.status, reply.json["error"]["code"]) == (403, "page_refused")
        assert "access-control-allow-origin" not in reply.headers
    preflight = shared.call(None, "OPTIONS", "/admin/v1/keys/x", access_control_request_method="PUT", **page)
    assert preflight.status >= 400
    assert "access-control-allow-origin" not in preflight.headers


def test_a_password_that_a_browser_remembers_is_no_credential(shared):
    for key in (KEYS["operator"], KEYS["admin"]):
        basic = base64.b64encode(f"u:{key}".encode()).decode()
        reply = shared.gateway.request("GET", "/admin/v1/keys", None, {"authorization": f"Basic {basic}"})
        assert reply.status == 401


def test_a_key_in_the_query_is_no_credential_and_not_in_the_log(shared):
    reply = shared.gateway.request("GET", f"/me?key={KEYS['admin']}")
    assert reply.status == 401
    shared.call("admin", "GET", f"/key/info?key={KEYS['user']}")
    outputs = "\n".join(shared.gateway.log) + (shared.folder / "audit.jsonl").read_text()
    assert KEYS["user"] not in outputs
    assert KEYS["admin"] not in outputs


@each_row("path", ["/me/", "//me", "/admin/v1/keys/", "/admin//v1/keys", "/admin/v1/keys?limit=1"])
def test_other_spellings_of_a_path_are_the_same_path(shared, path):
    assert shared.call("admin", "GET", path).status == 200


@each_row("path", ["/admin/v1/keys/..%2f..%2fme", "/admin/v1/keys/%00", "/admin/v1/keys/%ff", "/me/x/y"])
def test_unusual_paths_are_not_found(shared, path):
    assert shared.call("admin", "GET", path).status == 404


@each_row("name", ["%ff", "caf%e9", "a/%c3"])
def test_a_path_that_is_not_utf_8_is_refused(shared, name):
    """Each such byte became U+FFFD, so two different names were equal."""
    for verb in ("GET", "PUT", "DELETE"):
        reply = shared.call("setup-4", verb, f"/admin/v1/keys/{name}", {} if verb == "PUT" else None)
        assert (reply.status, reply.json["error"]["code"]) == (404, "unknown_path")


def test_without_the_storage_changes_fail_and_known_clients_are_listed(tmp_path):
    with admin_gateway(tmp_path) as admin:
        assert admin.call("admin", "PUT", "/admin/v1/keys/ci", {}).status == 201
        with contextlib.closing(sqlite3.connect(tmp_path / "state.sqlite", isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")  # another writer never ends
            reply = admin.call("admin", "PUT", "/admin/v1/keys/cd", {})
            assert (reply.status, reply.json["error"]["type"]) == (503, "unavailable_error"), reply.body
            assert "nothing has changed" in reply.json["error"]["message"]
            assert reply.headers["retry-after"]
            names = [row["name"] for row in admin.call("admin", "GET", "/admin/v1/keys").json["data"]]
            assert "ci" in names
            db.execute("ROLLBACK")
        assert admin.call("admin", "GET", "/admin/v1/keys/cd").status == 404
        assert [row[2] for row in admin.audit_rows()] == ["/admin/v1/keys/ci"]


@needs_feature("people")
def test_a_storage_that_cannot_be_written_is_still_read(tmp_path):
    lists = ("/admin/v1/people", "/admin/v1/people/okta:person-1", "/admin/v1/raises", "/admin/v1/audit")
    with admin_gateway(tmp_path) as admin:
        assert admin.call("admin", "PUT", "/admin/v1/keys/ci", {}).status == 201
        assert admin.call("person", "GET", "/me/keys").status == 200
        with contextlib.closing(sqlite3.connect(tmp_path / "state.sqlite", isolation_level=None)) as db:
            db.execute("CREATE TRIGGER full BEFORE INSERT ON people BEGIN SELECT RAISE(ABORT, 'full'); END")
            assert admin.call("lead person", "GET", "/me").status == 200, "a person to be stored"
            found = {path: admin.call("admin", "GET", path) for path in lists}
            found["/me/keys"] = admin.call("person", "GET", "/me/keys")
            assert {path: reply.status for path, reply in found.items()} == dict.fromkeys(found, 200)
            assert [row["path"] for row in found["/admin/v1/audit"].json["data"]] == ["/admin/v1/keys/ci"]
            refused = admin.call("admin", "PUT", "/admin/v1/people/okta:person-1/block", {})
            assert refused.status == 503, refused.body
            db.execute("DROP TRIGGER full")
        names = [row["name"] for row in admin.call("admin", "GET", "/admin/v1/people").json["data"]]
        assert "okta:lead-1" in names


def test_a_gateway_without_client_keys_shows_its_models_and_has_no_admin(tmp_path):
    with admin_gateway(
        tmp_path, client_keys=None, stored_keys=None, issuers=None, ui_key=None, client_groups=None
    ) as admin:
        assert admin.call(None, "GET", "/me").json["name"] is None
        for path in ("/me/usage", "/admin/v1/keys", "/key/list"):
            assert admin.call(None, "GET", path).status == 401


def test_an_unfinished_body_delays_no_other_call(shared):
    connection = http.client.HTTPConnection("127.0.0.1", shared.gateway.port, timeout=30)
    connection.putrequest("PUT", "/admin/v1/keys/slow")
    connection.putheader("authorization", f"Bearer {KEYS['admin']}")
    connection.putheader("content-length", "100")
    connection.endheaders(b'{"gro')
    assert shared.call("admin", "GET", "/me").status == 200
    connection.close()
    eventually(lambda: shared.call("admin", "GET", "/admin/v1/keys/slow").status == 404, what="no such key")


def test_me_shows_limits_and_budgets_with_their_levels(shared):
    reply = shared.call("user", "GET", "/me").json
    assert (reply["name"], reply["group"], reply["role"]) == ("user", "research", "user")
    assert reply["models"] == ["openai/small"]
    assert reply["limits"] == [
        {"holder": "client", "text": "60/m", "limit": "requests", "amount": 60, "used": 0, "reserved": 0, "reset": None}
    ]
    own, group = reply["budgets"]
    assert (own["holder"], own["text"], own["amount"]) == ("client", "20 usd/day", "20.000000000")
    assert (own["used"], own["reserved"]) == ("0.000000000", "0.000000000")
    assert own["reset"].endswith("T00:00:00Z")
    assert group["holder"] == "group"
    assert json.dumps(reply).count("key-of") == 0


@needs_feature("people")
def test_me_shows_the_budgets_and_the_end_of_a_person(shared):
    person = shared.call("person", "GET", "/me").json
    assert (person["name"], person["credential"], person["budgets"][0]["text"]) == (
        "okta:person-1", "issuer token", "20 usd/day",
    )  # fmt: skip
    assert person["ends"] is not None


def test_a_group_shows_its_budgets_and_size(shared):
    groups = shared.call("auditor", "GET", "/admin/v1/groups").json["data"]
    assert [group["name"] for group in groups] == ["ci", "research"]
    assert groups[1]["raise_to"] == ["5000 usd/month"]
    assert groups[1]["budgets"][0]["text"] == "3000 usd/month"
    assert [one["name"] for one in shared.call("lead", "GET", "/admin/v1/groups").json["data"]] == ["research"]
    assert shared.call("lead", "GET", "/admin/v1/groups/ci").status == 404
