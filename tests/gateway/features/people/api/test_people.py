"""People and raises over HTTP: visibility of people, blocks, and higher budgets within the file's bounds."""

import time
from collections.abc import Iterator

import pytest

from tests.support.admin import AdminGateway, admin_gateway, soon
from tests.support.each_row import each_row
from tests.support.harness import eventually


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminGateway]:
    with admin_gateway(tmp_path_factory.mktemp("people")) as served:
        for number in range(5):
            served.note_person(f"okta:ml-{number}")
        served.note_person("okta:other", None, claim="none")
        yield served


def test_a_lead_sees_the_people_of_its_group_and_an_auditor_all(shared):
    mine = shared.call("lead", "GET", "/admin/v1/people?limit=3").json
    rest = shared.call("lead", "GET", f"/admin/v1/people?after={mine['next']}").json
    names = [row["name"] for row in (*mine["data"], *rest["data"])]
    assert names[:5] == [f"okta:ml-{number}" for number in range(5)]
    assert shared.call("lead", "GET", "/admin/v1/people?group=ci").json["data"] == []
    everyone = {row["name"] for row in shared.call("auditor", "GET", "/admin/v1/people").json["data"]}
    assert {"okta:other", "okta:ml-0"} <= everyone
    assert shared.call("auditor", "GET", "/admin/v1/people?issuer=github").json["data"] == []
    row = shared.call("lead", "GET", "/admin/v1/people/okta:ml-0").json
    assert (row["label"], row["group"], row["role"], row["blocked"]) == ("ml-0@example.com", "research", "user", False)
    assert shared.call("lead", "GET", "/admin/v1/people/okta:other").status == 404
    assert shared.call("auditor", "GET", "/admin/v1/people/okta:nobody").status == 404


def test_administrators_see_a_person_after_a_request_with_a_token(tmp_path):
    with admin_gateway(tmp_path) as served:
        assert served.call("person", "GET", "/nowhere").status == 404
        rows = served.call("lead", "GET", "/admin/v1/people").json["data"]
        assert [row["name"] for row in rows] == ["okta:person-1"]
        more = {"budgets": ["40 usd/day"], "until": soon(7)}
        assert served.call("lead", "PUT", "/admin/v1/raises/okta:person-1", more).status == 201


def test_a_block_has_an_author_and_a_reason_and_ends(shared):
    path = "/admin/v1/people/okta:gone/block"
    assert shared.call("admin", "PUT", path, {"reason": "left"}).status == 201
    again = shared.call("admin", "PUT", path, {"reason": "twice"})
    assert (again.status, again.json["blocked_by"], again.json["reason"]) == (200, "admin", "left")
    assert shared.call("admin", "DELETE", path).status == 204
    assert shared.call("admin", "DELETE", path).status == 404
    assert shared.call("admin", "PUT", path, {"resaon": "x"}).json["error"]["param"] == "resaon"
    for name in ("user", "nobody:x", "okta:", "okta"):
        assert shared.call("admin", "PUT", f"/admin/v1/people/{name}/block", {}).status == 404, "no person"


def test_a_name_with_slashes_is_one_name(shared):
    for path in ("okta:acme%2Fapp", "okta:acme/app"):
        assert shared.call("setup-1", "PUT", f"/admin/v1/people/{path}/block", {}).json["name"] == "okta:acme/app"


def test_a_forgotten_person_has_no_label(shared):
    shared.note_person("okta:old")
    assert shared.call("admin", "DELETE", "/admin/v1/people/okta:old").status == 204
    assert shared.call("admin", "DELETE", "/admin/v1/people/okta:old").status == 404


# Raises


def put_raise(
    shared: AdminGateway, caller: str, holder: str, budget: str = "40 usd/day", until: str = ""
) -> tuple[int, str]:
    body = {"budgets": [budget], "until": until or soon(7)}
    reply = shared.call(caller, "PUT", f"/admin/v1/raises/{holder}", body)
    return reply.status, reply.json["error"]["code"] if reply.status >= 400 else ""


def test_a_lead_raises_persons_of_its_group_and_not_the_group(shared):
    assert put_raise(shared, "lead", "okta:ml-1") == (201, "")
    assert put_raise(shared, "lead", "user") == (201, "")
    assert put_raise(shared, "lead", "group:research", "4000 usd/month") == (403, "group_holder")
    assert put_raise(shared, "other-lead", "okta:ml-1") == (404, "unknown_holder")
    assert put_raise(shared, "lead", "okta:other") == (404, "unknown_holder")
    assert put_raise(shared, "lead", "group:ci", "60 usd/day") == (404, "unknown_holder")
    assert put_raise(shared, "admin", "group:research", "4000 usd/month") == (201, "")
    seen = [row["holder"] for row in shared.call("lead", "GET", "/admin/v1/raises").json["data"]]
    assert {"group:research", "okta:ml-1", "user"} <= {*seen}
    assert "okta:other" not in seen
    assert shared.call("other-lead", "GET", "/admin/v1/raises").json["data"] == []
    assert shared.call("other-lead", "GET", "/admin/v1/raises/user").status == 404


@each_row(
    ("holder", "budget", "until", "expected"),
    [
        ("user", "61 usd/day", "", (403, "beyond_raise_to")),
        ("user", "100 usd/month", "", (403, "no_raise_to")),
        ("user", "1000000 tokens/day", "", (403, "no_raise_to")),
        ("group:ci", "60 usd/day", "", (403, "no_raise_to")),
        ("passed", "60 usd/day", "", (403, "no_raise_to")),
        ("user", "20 usd/day", "", (400, "invalid_request")),
        ("user", "5 usd/day", "", (400, "invalid_request")),
        ("user", "lots", "", (400, "invalid_value")),
        ("user", "40 usd/day", 32, (400, "too_long")),
        ("user", "40 usd/day", -1, (400, "invalid_request")),
        ("user", "40 usd/day", "soon", (400, "invalid_request")),
        ("nobody", "40 usd/day", "", (404, "unknown_holder")),
        ("group:nobody", "40 usd/day", "", (404, "unknown_holder")),
    ],
)
def test_a_raise_stays_within_the_files_bounds(shared, holder, budget, until, expected):
    assert put_raise(shared, "setup-2", holder, budget, soon(until) if isinstance(until, int) else until) == expected


def test_the_refusal_names_the_key_of_the_file(shared):
    body = {"budgets": ["70 usd/day"], "until": soon(1)}
    for holder, place in (("user", "client_keys: user"), ("okta:ml-2", "issuers: okta, admit[3]")):
        message = shared.call("admin", "PUT", f"/admin/v1/raises/{holder}", body).json["error"]["message"]
        assert place in message
        assert "raise_to" in message


def test_a_raise_has_versions_and_ends(shared):
    body = {"budgets": ["40 usd/day"], "until": soon(7)}
    first = shared.call("admin", "PUT", "/admin/v1/raises/okta:ml-3", body)
    assert shared.call("admin", "PUT", "/admin/v1/raises/okta:ml-3", body).headers["etag"] == first.headers["etag"]
    larger = shared.call("admin", "PUT", "/admin/v1/raises/okta:ml-3", {**body, "budgets": ["50 usd/day"]})
    assert larger.status == 200
    stale = {"if_match": first.headers["etag"]}
    assert shared.call("admin", "DELETE", "/admin/v1/raises/okta:ml-3", **stale).status == 409
    assert shared.call("admin", "PUT", "/admin/v1/raises/okta:ml-3", body, **stale).status == 409
    assert shared.call("admin", "GET", "/admin/v1/raises/okta:ml-3").json["budgets"] == ["50 usd/day"]
    assert shared.call("admin", "DELETE", "/admin/v1/raises/okta:ml-3").status == 204
    assert shared.call("admin", "DELETE", "/admin/v1/raises/okta:ml-3").status == 404


def test_an_expired_raise_disappears(shared):
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    assert put_raise(shared, "admin", "okta:ml-4", until=end) == (201, "")
    eventually(lambda: shared.call("admin", "GET", "/admin/v1/raises/okta:ml-4").status == 404, what="its end")
    assert put_raise(shared, "admin", "okta:ml-4") == (201, ""), "a new one, not a change"


def test_a_raise_takes_effect_immediately_and_keeps_the_used_amount(tmp_path):
    with admin_gateway(tmp_path) as admin:

        def amounts(caller: str) -> list[str]:
            return [budget["amount"] for budget in admin.call(caller, "GET", "/me").json["budgets"]]

        assert amounts("user") == ["20.000000000", "3000.000000000"]
        assert amounts("person")[0] == "20.000000000"
        admin.note_person("okta:person-1")
        for holder, budget in (
            ("user", "40 usd/day"),
            ("okta:person-1", "50 usd/day"),
            ("group:research", "4000 usd/month"),
        ):
            assert put_raise(admin, "admin", holder, budget) == (201, "")
        assert amounts("user") == ["40.000000000", "4000.000000000"]
        assert amounts("person") == ["50.000000000", "4000.000000000"]
        group = admin.call("lead", "GET", "/admin/v1/groups/research").json
        assert group["budgets"][0]["amount"] == "4000.000000000"
        assert admin.call("lead", "DELETE", "/admin/v1/raises/user").status == 204
        assert amounts("user") == ["20.000000000", "4000.000000000"]
