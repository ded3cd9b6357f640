"""Client keys over HTTP: what a lead may make, repeated and concurrent changes, the audit, and confused deputies."""

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from configfile.keys import keys_of
from gateway.config.clients import ClientKey
from tests.support.admin import ENTRIES, KEYS, AdminGateway, admin_gateway, soon
from tests.support.each_row import each_row
from tests.support.features import members_of, needs_feature, rows_of
from tests.support.people import Answering
from tests.support.upstreams import serve_upstream

GROUP = {"group": "research"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminGateway]:
    with admin_gateway(tmp_path_factory.mktemp("keys")) as served:
        yield served


@pytest.fixture
def admin(tmp_path) -> Iterator[AdminGateway]:
    with admin_gateway(tmp_path) as served:
        yield served


def leads_key(**more: Any) -> dict[str, Any]:
    return {**GROUP, "until": soon(), **more}


def works(admin: AdminGateway, key: str) -> bool:
    """Return whether the gateway accepts ``key`` of a client."""
    status = admin.gateway.request("GET", "/nowhere", None, {"authorization": f"Bearer {key}"}).status
    assert status in (404, 401)
    return status == 404


def test_a_lead_makes_a_key_that_works_immediately_and_shows_it_once(admin):
    made = admin.call("lead", "PUT", "/admin/v1/keys/evals", leads_key(budgets=["10 usd/day"]))
    assert made.status == 201
    assert made.headers["cache-control"] == "no-store"
    key = made.json["key"]
    assert key.startswith("sk-trigate-")
    assert works(admin, key)
    same = leads_key(budgets=["10 usd/day"], until=made.json["until"])
    again = admin.call("lead", "PUT", "/admin/v1/keys/evals", same)
    assert again.status == 200
    assert "key" not in again.json
    assert again.headers["etag"] == made.headers["etag"]
    changed = admin.call("lead", "PUT", "/admin/v1/keys/evals", leads_key(ratelimits={"requests": "60/m"}))
    assert (changed.status, changed.json["budgets"]) == (200, []), "members that are left out are gone"
    assert works(admin, key), "other content changes the rights, never the key"
    assert admin.call("lead", "DELETE", "/admin/v1/keys/evals").status == 204
    assert not works(admin, key)
    assert admin.call("lead", "DELETE", "/admin/v1/keys/evals").status == 404


BEYOND = (
    ({"group": "ci"}, "other_group", "group"),
    ({"group": None}, "other_group", "group"),
    ({"until": None}, "too_long", "until"),
    ({"until": soon(401)}, "too_long", "until"),
    ({"models": ["small", "large"]}, "beyond_group", "models[1]"),
    *rows_of("pass_through", ({"passthrough": ["*"]}, "beyond_group", "passthrough")),
    *rows_of("files", ({"foreign_ids": True}, "beyond_group", "foreign_ids")),
    *rows_of("mcp", ({"mcp": ["tools"]}, "beyond_group", "mcp")),
    *rows_of("realtime", ({"realtime": {"client_secrets": True}}, "beyond_group", "realtime")),
    ({"certificate": "CN=admin"}, "beyond_group", "certificate"),
    ({"limits": {"in_flight": 100_000}}, "beyond_group", "limits.in_flight"),
    *rows_of(
        "request_members",
        ({"request": {"set": {"other.models": ["large"]}}}, "beyond_group", "request.set.other.models"),
        ({"request": {"default": {"other.models": ["large"]}}}, "beyond_group", "request.default.other.models"),
        ({"request": {"set": {"other.Model": "large"}}}, "beyond_group", "request.set.other.Model"),
        (
            {"request": {"set": {"gemini.cachedContent": "cachedContents/1"}}},
            "beyond_group",
            "request.set.gemini.cachedContent",
        ),
        (
            {"request": {"set": {"web_search_options": {"model": "large"}}}},
            "beyond_group",
            "request.set.web_search_options",
        ),
        ({"request": {"drop": ["max_tokens"]}}, "beyond_group", "request.drop"),
    ),
    *rows_of("answer_cache", ({"cache": {"ttl": "1h", "scope": "all"}}, "beyond_group", "cache.scope")),
)


@each_row(("more", "code", "param"), BEYOND, every=2)
def test_a_leads_key_has_no_more_rights_than_its_group(shared, more, code, param):
    # Creation and change make the same checks: https://github.com/BerriAI/litellm/issues/8031
    body = {name: value for name, value in leads_key(**more).items() if value is not None}
    name = f"grown-{abs(hash(str(more)))}"
    made = shared.call("lead", "PUT", f"/admin/v1/keys/{name}", body)
    assert (made.status, made.json["error"]["code"], made.json["error"]["param"]) == (403, code, param)
    assert shared.call("setup-1", "PUT", f"/admin/v1/keys/{name}", leads_key()).status == 201
    changed = shared.call("lead", "PUT", f"/admin/v1/keys/{name}", body)
    assert (changed.status, changed.json["error"]["code"]) == (403, code)
    assert shared.call("setup-1", "GET", f"/admin/v1/keys/{name}").json["group"] == "research"


def test_every_setting_of_a_client_is_known_to_the_checks_of_leads():
    """A new setting needs a decision: a value for this test, or a place among those that a lead may give."""
    tried = {name for more, _, _ in BEYOND for name in more} | {"role"}
    plain = {"name", "key", "keys", "sha256", "only", "ratelimits", "budgets", "raise_to"}
    assert keys_of(ClientKey).keys() == tried | plain


@needs_feature("request_members")
def test_a_lead_may_limit_the_request_members_of_its_keys(shared):
    request = {"default": {"temperature": 0.2}, "set": {"store": False}, "max": {"max_tokens": 4096},
               "system": {"before": "Answer in German."}}  # fmt: skip
    body = {
        "group": "research",
        "until": soon(),
        "request": request,
        **members_of("answer_cache", cache={"ttl": "1h", "scope": "group"}),
    }
    assert shared.call("lead", "PUT", "/admin/v1/keys/lowered", body).status == 201


def test_a_lead_takes_no_name_of_a_revoked_client_of_another_group(shared):
    """A new client with the name would own the old one's files and conversations."""
    for group, name in (("ci", "left-ci"), ("research", "left-research")):
        assert shared.call("setup-5", "PUT", f"/admin/v1/keys/{name}", {"group": group}).status == 201
        assert shared.call("setup-5", "DELETE", f"/admin/v1/keys/{name}").status == 204
    taken = shared.call("lead", "PUT", "/admin/v1/keys/left-ci", leads_key())
    assert (taken.status, taken.json["error"]["code"]) == (403, "used_name")
    assert shared.call("lead", "PUT", "/admin/v1/keys/left-research", leads_key()).status == 201
    assert shared.call("setup-5", "PUT", "/admin/v1/keys/left-ci", {"group": "research"}).status == 201


def test_a_lead_gets_no_key_of_a_client_with_more_rights_than_it_may_give(shared):
    body = leads_key(limits={"in_flight": 100_000})
    assert shared.call("setup-2", "PUT", "/admin/v1/keys/strong", body).status == 201
    rotated = shared.call("lead", "POST", "/admin/v1/keys/strong/rotate", {})
    assert (rotated.status, rotated.json["error"]["param"]) == (403, "limits.in_flight")
    assert shared.call("setup-2", "POST", "/admin/v1/keys/strong/rotate", {}).status == 200


@each_row(("verb", "rest"), [("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/rotate")])
def test_another_groups_keys_are_out_of_a_leads_sight_and_keys_of_the_file_cannot_be_changed(shared, verb, rest):
    name = f"of-ci-{verb}"
    assert shared.call("setup-3", "PUT", f"/admin/v1/keys/{name}", {"group": "ci"}).status == 201
    assert shared.call("setup-3", "PUT", f"/admin/v1/keys/free-{name}", {}).status == 201
    for hidden in (name, f"free-{name}", "passed", "nobody"):
        if verb == "PUT" and hidden == "nobody":
            continue
        reply = shared.call("lead", verb, f"/admin/v1/keys/{hidden}{rest}", leads_key() if verb == "PUT" else None)
        assert (reply.status, reply.json["error"]["code"]) == (404, "unknown_key"), hidden
    for caller in ("lead", "setup-3") if verb != "GET" else ():
        reply = shared.call(caller, verb, f"/admin/v1/keys/user{rest}", leads_key() if verb == "PUT" else None)
        assert (reply.status, reply.json["error"]["code"]) == (403, "in_file")
    listed = shared.call("lead", "GET", "/admin/v1/keys?limit=1000").json["data"]
    assert {row["group"] for row in listed} == {"research"}


@each_row(
    ("body", "param", "says"),
    [
        ({"modles": ["small"]}, "modles", "did you mean models?"),
        ({"role": "admin"}, "role", "a request cannot set a role"),
        ({"key": "sk-my-own"}, "key", "send its SHA-256"),
        ({"key": {"file": "/etc/passwd"}}, "key", "send its SHA-256"),
        ({"keys": [{"key": "x"}]}, "key", "send its SHA-256"),
        ({"name": "other"}, "name", "cannot be renamed"),
        ({"group": "reserch"}, "group", "did you mean research?"),
        ({"models": ["gpt-9"]}, "models[0]", "not a configured model"),
        ({"budgets": "20 usd/day"}, "budgets", "expected a list"),
        ({"until": "2020-01-01"}, "until", "expire in the past"),
        ({"sha256": "abc"}, "sha256", "64 hexadecimal"),
        ({"keys": [{"sha256": "0" * 64}] * 17}, "keys", "at most 16 items"),
        ({"only": ["*a" * 15_000]}, "only", "more than 300 characters"),
    ],
)
def test_a_wrong_member_is_a_400_with_advice(shared, body, param, says):
    reply = shared.call("setup-4", "PUT", "/admin/v1/keys/wrong", body)
    assert reply.status == 400, reply.body
    assert reply.json["error"]["param"].startswith(param)
    assert says in reply.json["error"]["message"]


@each_row("name", [*rows_of("people", "okta:00u1"), "group:research", "a%0Ab", "%20", "x" * 129])
def test_no_key_has_a_name_of_a_person_or_one_that_the_log_cannot_show(shared, name):
    assert shared.call("setup-4", "PUT", f"/admin/v1/keys/{name}", {}).status == 400


def test_a_slash_in_a_name_is_encoded_or_not(shared):
    assert shared.call("setup-4", "PUT", "/admin/v1/keys/acme%2Fapp", {}).json["name"] == "acme/app"
    assert shared.call("setup-4", "GET", "/admin/v1/keys/acme/app").json["name"] == "acme/app"
    assert shared.call("setup-4", "PUT", "/admin/v1/keys/acme%2Frotate", {}).status == 201
    assert shared.call("setup-4", "DELETE", "/admin/v1/keys/acme%2Frotate").status == 204


def test_a_client_may_have_a_certificate_instead_of_a_key(admin):
    path, robot = "/admin/v1/keys/robot", {"certificate": "CN=robot"}
    for status, body in ((201, robot), (200, robot), (200, {**robot, "models": ["small"]})):
        reply = admin.call("admin", "PUT", path, body)
        assert (reply.status, reply.json["keys"]) == (status, [])
        assert "key" not in reply.json
    assert admin.call("admin", "GET", path).json["settings"] == {**robot, "models": ["small"]}
    assert admin.call("admin", "PUT", path, {}).status == 409, "a client without a key and a certificate"
    shared = admin.call("admin", "PUT", "/admin/v1/keys/thief", robot)
    assert (shared.status, shared.json["error"]["code"]) == (409, "key_taken")
    assert admin.call("admin", "POST", "/key/update", {"key": "robot", "rpm_limit": 5}).json["rpm_limit"] == 5
    assert works(admin, admin.call("admin", "POST", f"{path}/rotate").json["key"])
    assert admin.call("admin", "PUT", path, {}).status == 200
    assert admin.call("admin", "DELETE", path).status == 204


def test_a_client_of_the_storage_cannot_take_the_certificate_of_a_client_of_the_file(tmp_path):
    certified = [{"name": "boss", "key": KEYS["admin"], "role": "admin"}, {"name": "robot", "certificate": "CN=robot"}]
    with admin_gateway(tmp_path, client_keys=certified) as admin:
        reply = admin.call("admin", "PUT", "/admin/v1/keys/thief", {"certificate": "CN=robot"})
        assert (reply.status, reply.json["error"]["code"]) == (409, "key_taken")
        assert "robot has the same certificate" in reply.json["error"]["message"]


def test_with_a_digest_the_caller_keeps_its_key_and_a_lost_response_costs_nothing(admin):
    key = "sk-mine-0123456789-0123456789"
    digest = hashlib.sha256(key.encode()).hexdigest()
    for status in (201, 200):
        reply = admin.call("admin", "PUT", "/admin/v1/keys/mine", {"sha256": digest.upper()})
        assert reply.status == status, reply.body
        assert "key" not in reply.json
    assert works(admin, key)
    other = admin.call("admin", "PUT", "/admin/v1/keys/other", {"sha256": digest})
    assert (other.status, other.json["error"]["code"]) == (409, "key_taken")
    assert "mine" in other.json["error"]["message"]
    hidden = admin.call("lead", "PUT", "/admin/v1/keys/hidden", {**leads_key(), "sha256": digest})
    assert (hidden.status, "mine" in hidden.json["error"]["message"]) == (409, False)
    new = hashlib.sha256(b"another").hexdigest()
    assert admin.call("admin", "PUT", "/admin/v1/keys/mine", {"sha256": new}).json["error"]["code"] == "key_differs"
    stolen = hashlib.sha256(KEYS["user"].encode()).hexdigest()
    assert admin.call("admin", "PUT", "/admin/v1/keys/thief", {"sha256": stolen}).status == 409


def test_a_rotated_key_keeps_the_old_one_for_the_given_time(admin):
    old = admin.call("admin", "PUT", "/admin/v1/keys/ci", {}).json["key"]
    turned = admin.call("admin", "POST", "/admin/v1/keys/ci/rotate", {"keep_old": "1h"}).json
    assert turned["old_keys_until"] is not None
    assert works(admin, old)
    assert works(admin, turned["key"])
    last = admin.call("admin", "POST", "/admin/v1/keys/ci/rotate", {"keep_old": "0"}).json
    assert [works(admin, key) for key in (old, turned["key"], last["key"])] == [False, False, True]
    wrong = admin.call("admin", "POST", "/admin/v1/keys/ci/rotate", {"keep_old": "soon"})
    assert (wrong.status, wrong.json["error"]["param"]) == (400, "keep_old")


def test_an_old_version_and_a_second_writer_get_a_409(admin):
    first = admin.call("admin", "PUT", "/admin/v1/keys/ci", {"budgets": ["1 usd/day"]}).headers["etag"]
    second = admin.call("admin", "PUT", "/admin/v1/keys/ci", {"budgets": ["2 usd/day"]}, if_match=first)
    assert second.status == 200
    for verb, body in (("PUT", {"budgets": ["3 usd/day"]}), ("DELETE", None)):
        reply = admin.call("admin", verb, "/admin/v1/keys/ci", body, if_match=first)
        assert (reply.status, reply.json["error"]["type"]) == (409, "conflict_error")
    read = admin.call("admin", "GET", "/admin/v1/keys/ci")
    assert (read.headers["etag"], read.json["budgets"]) == (second.headers["etag"], ["2 usd/day"])
    assert admin.call("admin", "DELETE", "/admin/v1/keys/ci", if_match=read.headers["etag"]).status == 204


def test_each_change_is_in_the_audit_with_its_content_and_no_secret(admin):
    key = admin.call("lead", "PUT", "/admin/v1/keys/evals", leads_key()).json["key"]
    admin.call("lead", "PUT", "/admin/v1/keys/evals", leads_key(budgets=["5 usd/day"]))
    rotated = admin.call("admin", "POST", "/admin/v1/keys/evals/rotate", {}).json["key"]
    admin.call("lead", "PUT", "/admin/v1/keys/evals", {"group": "ci"})
    admin.call("admin", "DELETE", "/admin/v1/keys/evals")
    assert admin.audit_rows() == [
        ("lead", "PUT", "/admin/v1/keys/evals", 201),
        ("lead", "PUT", "/admin/v1/keys/evals", 200),
        ("admin", "POST", "/admin/v1/keys/evals/rotate", 200),
        ("admin", "DELETE", "/admin/v1/keys/evals", 204),
    ]
    rows = admin.call("auditor", "GET", "/admin/v1/audit").json["data"]
    assert [row["number"] for row in rows] == [1, 2, 3, 4]
    assert (rows[1]["before"].get("budgets"), rows[1]["after"]["budgets"]) == (None, ["5 usd/day"])
    assert (rows[3]["before"]["group"], rows[3]["after"]) == ("research", None)
    lines = admin.audit_lines()
    assert [(line["client"], line["method"], line["status"]) for line in lines] == [
        ("lead", "PUT", 201), ("lead", "PUT", 200), ("admin", "POST", 200), ("lead", "PUT", 403),
        ("admin", "DELETE", 204), ("auditor", "GET", 200),
    ]  # fmt: skip
    outputs = json.dumps([rows, lines]) + "\n".join(admin.gateway.log)
    for secret in (key, rotated, *(hashlib.sha256(one.encode()).hexdigest() for one in (key, rotated))):
        assert secret not in outputs


def test_roles_come_only_from_the_file(admin):
    """A stored client with a role is refused, even if an operator has written it into the database."""
    key = admin.call("admin", "PUT", "/admin/v1/keys/climber", {}).json["key"]
    assert admin.call(key, "GET", "/admin/v1/keys").status == 403
    with contextlib.closing(sqlite3.connect(admin.folder / "state.sqlite")) as db:
        (text,) = db.execute("SELECT item FROM client_keys WHERE name = 'climber'").fetchone()
        kept = json.loads(text)
        kept["client"]["role"] = "admin"
        db.execute("UPDATE client_keys SET item = ? WHERE name = 'climber'", (json.dumps(kept),))
        db.execute(
            "INSERT INTO key_changes (at, made_by, event, name, about, mark) "
            "VALUES (1, 'mallory', 'changed', 'climber', '{}', 'x')"
        )
        db.commit()
    row = admin.call("admin", "GET", "/admin/v1/keys/climber").json
    assert (row["state"], "no role" in row["why"]) == ("refused", True)
    assert admin.call(key, "GET", "/admin/v1/keys").status == 401


def test_the_operators_key_reads_everything_and_changes_nothing(shared):
    assert shared.call("operator", "GET", "/me").json["role"] == "auditor"
    names = {row["name"] for row in shared.call("operator", "GET", "/admin/v1/keys?limit=1000").json["data"]}
    assert {"user", "lead", "passed"} <= names
    assert shared.call("operator", "PUT", "/admin/v1/keys/x", {}).status == 403
    assert shared.call("operator", "GET", "/nowhere").status == 401, "it is no client"


def test_without_stored_keys_the_clients_of_the_file_can_be_read(tmp_path):
    with admin_gateway(tmp_path, stored_keys=False, issuers=None, state_storage=None) as admin:
        assert admin.call("auditor", "GET", "/admin/v1/keys/user").json["group"] == "research"
        reply = admin.call("admin", "PUT", "/admin/v1/keys/x", {})
        assert (reply.status, reply.json["error"]["code"]) == (403, "stored_keys_off")
        reply = admin.call("admin", "POST", "/key/delete", {"key_aliases": ["unknown"]})
        assert reply.status == 403, "before it looks for the key"
        assert admin.call("auditor", "GET", "/admin/v1/audit").json["error"]["code"] == "no_storage"
        assert admin.call("admin", "GET", "/admin/v1/usage").json["error"]["code"] == "no_ledger"


@needs_feature("request_members")
@pytest.mark.parametrize(
    "request_members",
    [{"drop": ["max_tokens", "store", "safety_identifier"]}, {"set": {"max_tokens": 9000, "store": True}},
     {"default": {"max_tokens": 9000, "store": True}}, {"max": {"max_tokens": 9000}}, {}],
)  # fmt: skip
def test_a_leads_key_keeps_the_settings_and_limits_of_its_group(tmp_path, request_members):
    group = {"name": "research", "models": ["small"], "request": {
        "set": {"store": False, "safety_identifier": "research"}, "max": {"max_tokens": 100}}}  # fmt: skip
    with serve_upstream(Answering) as upstream:
        entries = [{**entry, "base_url": f"{upstream.url}/v1"} for entry in ENTRIES]
        with admin_gateway(tmp_path, entries=entries, client_groups=[group, {"name": "ci"}]) as admin:
            made = admin.call("lead", "PUT", "/admin/v1/keys/small", leads_key(request=request_members))
            if made.status == 201:
                question = {"model": "small", "messages": [{"role": "user", "content": "x"}]}
                assert admin.call(made.json["key"], "POST", "/v1/chat/completions", question).status == 200
                (seen,) = upstream.seen
                sent = json.loads(seen.body)
                assert (sent["store"], sent["safety_identifier"], sent["max_completion_tokens"]) == (
                    False, "research", 100,
                )  # fmt: skip
            else:
                assert (made.status, made.json["error"]["param"]) == (403, "request.drop")
