"""LiteLLM's key endpoints: programs for LiteLLM make, read, change and delete the same clients."""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from gateway.features.admin import key_store
from gateway.features.admin import store as raise_rows
from gateway.features.admin.table import ROUTES
from tests.support.admin import KEYS, AdminGateway, admin_gateway, soon
from tests.support.each_row import each_row
from tests.support.features import rows_of


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminGateway]:
    with admin_gateway(tmp_path_factory.mktemp("litellm")) as served:
        yield served


def test_a_key_lives_its_life_in_litellms_shapes(shared):
    body = {
        "key_alias": "bob", "team_id": "research", "duration": "30d", "max_budget": 12.5, "budget_duration": "30d",
        "rpm_limit": 60, "tpm_limit": 1000, "max_parallel_requests": 4, "models": [], "metadata": {"team": "x"},
        "tags": ["a"], "user_id": None, "aliases": {}, "spend": 0,
    }  # fmt: skip
    made = shared.call("admin", "POST", "/key/generate", body)
    assert made.status == 200, made.body
    assert made.headers["x-trigate-dropped"] == "metadata,tags"
    key, token = made.json["key"], made.json["token"]
    assert token == made.json["token_id"] == hashlib.sha256(key.encode()).hexdigest()
    assert made.json["key_name"] == f"sk-...{key[-4:]}"
    row = shared.call("admin", "GET", "/admin/v1/keys/bob").json
    assert (row["group"], row["budgets"], row["models"]) == ("research", ["12.5 usd/30d"], None)
    assert row["ratelimits"] == {"requests": "60/m", "tokens": "1000/m", "concurrent": 4}
    for wanted in (key, token, "bob"):
        info = shared.call("admin", "GET", f"/key/info?key={wanted}").json
        assert (info["key"], info["info"]["key_alias"], info["info"]["max_budget"]) == (token, "bob", 12.5)
    changed = shared.call("admin", "POST", "/key/update", {"key": key, "rpm_limit": 5, "models": ["small"]})
    assert (changed.json["rpm_limit"], changed.json["tpm_limit"], changed.json["models"]) == (5, 1000, ["small"])
    assert shared.call("admin", "POST", "/key/update", {"key": key, "models": []}).json["models"] == []
    assert shared.call("admin", "GET", "/admin/v1/keys/bob").json["models"] is None
    listed = shared.call("admin", "GET", "/key/list?team_id=research&return_full_object=true").json
    assert "bob" in {one["key_alias"] for one in listed["keys"]}
    assert shared.call("admin", "POST", "/key/delete", {"keys": [key]}).json == {"deleted_keys": [token]}
    assert shared.call("admin", "GET", "/key/info?key=bob").status == 404
    assert shared.call(key, "GET", "/nowhere").status == 401


@each_row(
    ("body", "param"),
    [
        ({"guardrails": ["x"]}, "guardrails"),
        ({"allowed_routes": ["/chat"]}, "allowed_routes"),
        ({"permissions": {"a": True}}, "permissions"),
        ({"model_max_budget": {"gpt-4": 1}}, "model_max_budget"),
        ({"user_id": "bob"}, "user_id"),
        ({"blocked": True}, "blocked"),
        ({"key": "sk-mine"}, "key"),
        ({"max_budget": 10}, "max_budget"),
        ({"max_budget": 0, "budget_duration": "1d"}, "max_budget"),
        ({"max_budget": 10**400, "budget_duration": "1d"}, "max_budget"),
        ({"max_budget": 10, "budget_duration": "1 fortnight"}, "max_budget"),
        ({"rpm_limit": 0}, "rpm_limit"),
        ({"rpm_limit": 1.5}, "rpm_limit"),
        ({"duration": "1mo"}, "duration"),
        ({"duration": "-1d"}, "duration"),
        ({"team_id": "nobody"}, "group"),
        ({"models": "small"}, "models"),
        ({"models": ["gpt-9"]}, "models[0]"),
        ({"key_alias": 5}, "key_alias"),
        ({"user_role": "proxy_admin"}, "user_role"),
    ],
)
def test_a_member_that_limits_or_permits_is_converted_or_refused(shared, body, param):
    # A role in the body of a key was a hole: https://github.com/BerriAI/litellm/issues/8029
    reply = shared.call("setup-1", "POST", "/key/generate", body)
    assert (reply.status, reply.json["error"]["param"]) == (400, param), reply.body


def test_no_models_and_all_models_have_words(shared):
    for models, expected in ((["no-default-models"], []), (["all-team-models"], None), (["small"], ["small"])):
        name = f"of-{models[0]}"
        shared.call("setup-1", "POST", "/key/generate", {"key_alias": name, "models": models})
        assert shared.call("admin", "GET", f"/admin/v1/keys/{name}").json["models"] == expected


def test_a_period_comes_from_the_duration_if_the_budget_has_none(shared):
    shared.call("setup-1", "POST", "/key/generate", {"key_alias": "lasting", "max_budget": 5, "duration": "7d"})
    assert shared.call("admin", "GET", "/admin/v1/keys/lasting").json["budgets"] == ["5 usd/7d"]


@each_row(
    ("period", "others"), [("30d", ()), ("12h", ()), ("hour", ()), ("month", ()), ("day", ()),
                           ("day", ("1M tokens/day", "50 usd/month"))],
)  # fmt: skip
def test_a_new_amount_keeps_the_period_of_the_budget_and_the_other_budgets(shared, period, others):
    name = f"raised-{period}-{len(others)}"
    before, after = ([*others[:1], f"{amount} usd/{period}", *others[1:]] for amount in (5, 7))
    shared.call("admin", "PUT", f"/admin/v1/keys/{name}", {"budgets": before})
    reply = shared.call("admin", "POST", "/key/update", {"key": name, "max_budget": 7})
    assert reply.status == 200, reply.body
    assert shared.call("admin", "GET", f"/admin/v1/keys/{name}").json["budgets"] == after


def test_an_existing_name_and_a_client_of_the_file_are_refused(shared):
    assert shared.call("setup-2", "POST", "/key/generate", {"key_alias": "twice"}).status == 200
    assert shared.call("setup-2", "POST", "/key/generate", {"key_alias": "twice"}).status == 409
    assert shared.call("setup-2", "POST", "/key/generate", {"key_alias": "lead"}).status == 403
    assert shared.call("setup-2", "POST", "/key/update", {"key": "lead", "rpm_limit": 1}).status == 403
    assert shared.call("setup-2", "POST", "/key/update", {"key": "twice", "key_alias": "other"}).status == 400
    assert shared.call("setup-2", "POST", "/key/delete", {"key_aliases": ["twice", "lead"]}).status == 403
    assert shared.call("admin", "GET", "/admin/v1/keys/twice").status == 200, "nothing was deleted"


def test_no_digest_of_a_key_in_the_file_is_shown(shared):
    listed = shared.call("admin", "GET", "/key/list?size=100").body.decode()
    info = shared.call("admin", "GET", "/key/info?key=lead").body.decode()
    assert hashlib.sha256(KEYS["lead"].encode()).hexdigest() not in listed + info


def test_each_item_of_a_list_leads_to_its_key(shared):
    """Clients of LiteLLM read texts; keys of the file have no digest that they may see."""
    keys = shared.call("admin", "GET", "/key/list?size=100").json["keys"]
    assert {type(key) for key in keys} == {str}
    replies = [shared.call("admin", "GET", f"/key/info?key={quote(key)}") for key in keys]
    assert {reply.status for reply in replies} == {200}
    assert "lead" in {reply.json["info"]["key_alias"] for reply in replies}


def test_lists_have_pages(shared):
    pages = [shared.call("admin", "GET", f"/key/list?page={page}&size=3&return_full_object=1").json for page in (1, 2)]
    names = [one["key_alias"] for page in pages for one in page["keys"]]
    assert names == sorted(names)
    assert len(names) == 6
    assert pages[0]["total_pages"] == -(-pages[0]["total_count"] // 3)


@each_row(
    ("path", "names"),
    [
        ("/team/new", "client_groups"),
        ("/user/new", "issuers"),
        ("/budget/new", "/admin/v1/raises"),
        ("/model/new", "model_providers"),
        ("/model/info", "model_providers"),
        ("/spend/logs", "/admin/v1/usage"),
        ("/key/block", "/admin/v1/keys"),
    ],
)
def test_other_paths_name_ours(shared, path, names):
    reply = shared.call("admin", "POST", path, {})
    assert reply.status == 404
    assert names in reply.json["error"]["message"]


def test_amazons_paths_of_models_are_no_paths_of_litellm(shared):
    assert not any(route.path.startswith("/model/") for route in ROUTES)
    reply = shared.call("admin", "POST", "/model/openai%2Fsmall/converse", {"messages": []})
    assert "model_providers" not in reply.body.decode()


def test_several_keys_are_deleted_together_or_not_at_all(tmp_path):
    with admin_gateway(tmp_path) as admin:
        for name in ("first", "second"):
            assert admin.call("admin", "POST", "/key/generate", {"key_alias": name}).status == 200
        with contextlib.closing(sqlite3.connect(tmp_path / "state.sqlite")) as db:
            db.execute("""
                CREATE TRIGGER fail BEFORE INSERT ON audit WHEN new.before LIKE '%second%'
                BEGIN SELECT raise(ABORT, 'no room'); END
            """)
            failed = admin.call("admin", "POST", "/key/delete", {"key_aliases": ["first", "second"]})
            db.execute("DROP TRIGGER fail")
        assert failed.status >= 500
        names = {row["name"] for row in admin.call("admin", "GET", "/admin/v1/keys").json["data"]}
        assert {"first", "second"} <= names
        assert admin.call("admin", "POST", "/key/delete", {"key_aliases": ["first", "second"]}).status == 200
        rows = [row for row in admin.audit_rows() if row[2] == "/key/delete"]
        assert [row[3] for row in rows] == [200, 200]


def test_one_client_block_or_raise_too_many_is_a_conflict(tmp_path, monkeypatch):
    with admin_gateway(tmp_path) as admin:
        monkeypatch.setattr(key_store, "MOST_CLIENTS", 1)
        assert admin.call("admin", "PUT", "/admin/v1/keys/a", {}).status == 201
        full = admin.call("admin", "PUT", "/admin/v1/keys/b", {})
        assert (full.status, full.json["error"]["code"]) == (409, "too_many")
        assert "revoke some" in full.json["error"]["message"]
        assert admin.call("admin", "POST", "/key/generate", {"key_alias": "c"}).status == 409
        monkeypatch.setattr(raise_rows, "MOST_RAISES", 0)
        for most in rows_of("people", "gateway.features.people.rights_rows.MOST_BLOCKS"):
            monkeypatch.setattr(most, 0)
            assert admin.call("admin", "PUT", "/admin/v1/people/okta:x/block", {}).status == 409
        body = {"budgets": ["40 usd/day"], "until": soon(7)}
        assert admin.call("admin", "PUT", "/admin/v1/raises/user", body).status == 409
