"""Confused deputies: a valid credential that must not have the rights of its owner, or its owner's rights elsewhere."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.features.people.oauth.cookies import SESSION
from tests.support.each_row import each_row
from tests.support.oidc import open_provider
from tests.support.people import bearer
from tests.support.people_browser import PeopleBrowser
from tests.support.people_gateway import PEOPLE, RULES, PeopleGateway, gateway_of, people_gateway

OWN_PAGE = {"origin": "null", "sec-fetch-site": "same-origin"}
OWN_KEYS = {"most": 3, "longest": "30d"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeopleGateway]:
    rules = [{**rule, "own_keys": OWN_KEYS} for rule in RULES]
    folder = tmp_path_factory.mktemp("deputies")
    with people_gateway(folder, issuer={"admit": rules}, stored_keys=True) as running:
        yield running


def cookie_of(gateway: PeopleGateway, browser: PeopleBrowser) -> dict[str, str]:
    return {"cookie": f"{SESSION}={browser.cookies[gateway.url, SESSION]}"}


@each_row("user", ["root", "lin", "aud"])
def test_a_key_that_a_person_made_for_itself_has_no_role(shared, user):
    browser, _ = shared.sign_in(user)
    key = browser.request("PUT", f"{shared.url}/me/keys/script", OWN_PAGE).json()["key"]
    me = shared.gateway.request("GET", "/me", None, bearer(key)).json
    assert (me["name"], me["role"], me["credential"]) == (f"okta:{PEOPLE[user]['sub']}", "user", "own key")
    for method, path in (("GET", "/admin/v1/keys"), ("PUT", "/admin/v1/keys/x"), ("GET", "/admin/v1/audit")):
        reply = shared.gateway.request(method, path, {} if method == "PUT" else None, bearer(key))
        assert (reply.status, reply.json["error"]["code"]) == (403, "role_needed")
    made = shared.gateway.request("PUT", "/me/keys/another", {}, bearer(key))
    assert (made.status, made.json["error"]["code"]) == (403, "own_key"), "it would outlive its end"


def test_a_cookie_has_the_rights_of_its_rule_in_every_process(tmp_path: Path):
    with open_provider() as provider:
        provider.people.update({name: dict(claims) for name, claims in PEOPLE.items()})
        with gateway_of(tmp_path, provider) as first, gateway_of(tmp_path, provider) as second:
            browser, _ = first.sign_in("ada")
            found = second.gateway.request("GET", "/me", None, cookie_of(first, browser)).json
            assert (found["name"], found["group"]) == ("okta:00u1", "research")
            assert [budget["text"] for budget in found["budgets"]] == ["20 usd/day"]
            assert found["models"] == ["openai/gpt-4o"]
            assert found["ends"] is not None


def test_an_ended_session_is_no_credential_and_a_person_ends_its_own_only(shared):
    browser, _ = shared.sign_in("ada")
    other, _ = shared.sign_in("lin")
    cookie = cookie_of(shared, browser)
    (mine,) = shared.gateway.request("GET", "/me/sessions", None, cookie).json["data"]
    assert mine["current"] is True
    foreign = shared.gateway.request(
        "DELETE", f"/me/sessions/{mine['id']}", None, {**cookie_of(shared, other), **OWN_PAGE}
    )
    assert foreign.status == 404
    ended = shared.gateway.request("DELETE", f"/me/sessions/{mine['id']}", None, {**cookie, **OWN_PAGE})
    assert ended.status == 204
    assert shared.gateway.request("GET", "/me", None, cookie).status == 401


def test_the_audit_names_the_session_of_a_change(shared):
    browser, _ = shared.sign_in("root")
    headers = {**cookie_of(shared, browser), **OWN_PAGE}
    (session,) = [one["id"] for one in shared.gateway.request("GET", "/me/sessions", None, headers).json["data"]
                  if one["current"]]  # fmt: skip
    assert shared.gateway.request("PUT", "/admin/v1/keys/by-session", {}, headers).status == 201
    rows = shared.gateway.request("GET", "/admin/v1/audit?limit=1000", None, headers).json["data"]
    (row,) = [row for row in rows if row["path"] == "/admin/v1/keys/by-session"]
    assert (row["who"], row["credential"]) == ("okta:00u3", f"session {session}")
