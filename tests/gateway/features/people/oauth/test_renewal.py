"""Sessions end with the person's access: at each refresh of a program, and each hour of a browser."""

import re

import pytest

from gateway.features.people.oauth.cookies import SESSION
from tests.support.harness import eventually
from tests.support.oidc import Fault, open_provider
from tests.support.people_browser import PeopleBrowser
from tests.support.people_gateway import PEOPLE, gateway_of


@pytest.fixture
def provider():
    with open_provider() as provider:
        provider.people.update({name: dict(claims) for name, claims in PEOPLE.items()})
        yield provider


@pytest.fixture
def gateway(tmp_path, provider):
    with gateway_of(tmp_path, provider, trusted_proxies=["127.0.0.1"]) as running:
        yield running


def test_a_refresh_returns_the_next_tokens(gateway):
    first = gateway.device_tokens("ada")
    second = gateway.refresh(first["refresh_token"])
    assert second.status_code == 200
    assert second.headers["cache-control"] == "no-store"
    assert second.json().keys() == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert second.json()["refresh_token"] != first["refresh_token"]
    assert second.json()["access_token"] != first["access_token"]
    assert gateway.refresh(second.json()["refresh_token"]).status_code == 200
    assert gateway.status_of(second.json()["access_token"]) == 404


def test_a_person_who_left_is_signed_out(gateway):
    """The deprovisioning point of Claude Code: 401 ``invalid_grant``."""
    tokens = gateway.device_tokens("ada")
    gateway.provider.revoked.add("ada")
    refused = gateway.refresh(tokens["refresh_token"])
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_grant")
    eventually(lambda: gateway.status_of(tokens["access_token"]) == 401, what="the end of the session")
    gateway.provider.revoked.clear()
    assert gateway.refresh(tokens["refresh_token"]).status_code == 401


def test_an_unavailable_issuer_signs_no_one_out(gateway):
    tokens = gateway.device_tokens("ada")
    gateway.provider.faults["/token"] = Fault(status=500)
    down = gateway.refresh(tokens["refresh_token"])
    assert (down.status_code, down.json()["error"]) == (503, "temporarily_unavailable")
    assert down.json()["error_description"].startswith("the issuer okta is unavailable")
    assert "retry-after" in down.headers
    gateway.provider.faults.clear()
    assert gateway.refresh(tokens["refresh_token"]).status_code == 200


def test_a_program_signs_itself_out(gateway):
    tokens = gateway.device_tokens("ada")
    headers = {"authorization": f"Bearer {tokens['access_token']}"}
    url = f"{gateway.url}/oauth/logout"
    assert PeopleBrowser().request("POST", url, {"authorization": "Bearer wrong"}).status_code == 401
    assert PeopleBrowser().request("GET", url, headers).status_code == 200
    assert gateway.status_of(tokens["access_token"]) == 404
    assert PeopleBrowser().request("POST", url, headers).status_code == 204
    assert gateway.status_of(tokens["access_token"]) == 401
    assert gateway.refresh(tokens["refresh_token"]).status_code == 401


def test_without_offline_access_there_is_no_refresh_token(tmp_path, provider):
    provider.gives_refresh_tokens = False
    with gateway_of(tmp_path, provider, trusted_proxies=["127.0.0.1"]) as gateway:
        tokens = gateway.device_tokens("ada")
        assert tokens.keys() == {"access_token", "token_type", "expires_in"}
        assert tokens["expires_in"] == 3600
        provider.signed_in = None
        browser, _ = gateway.sign_in("ada")
        (cookie,) = (one for one in browser.page.trail if SESSION + "=" in one.headers.get("set-cookie", ""))
        (seconds,) = re.findall("Max-Age=([0-9]+)", cookie.headers["set-cookie"])
        assert 3500 < int(seconds) <= 3600


def test_a_person_signs_out_while_the_issuer_is_unavailable(tmp_path, provider):
    with gateway_of(tmp_path, provider, sessions={"token": "50ms"}) as gateway:
        browser, _ = gateway.sign_in("ada")
        provider.go_down()
        eventually(lambda: browser.request("GET", f"{gateway.url}/me").status_code == 503, what="a due confirmation")
        form = {"origin": "null", "sec-fetch-site": "same-origin"}
        assert browser.request("POST", f"{gateway.url}/oauth/logout", form).status_code == 200
        assert browser.cookie(SESSION) is None


def test_a_change_of_keys_resets_no_limit(tmp_path, provider):
    with gateway_of(tmp_path, provider, stored_keys=True) as gateway:
        provider.signed_in = "root"
        browser = PeopleBrowser()
        browser.open(f"{gateway.url}/ui/me")
        form, own = {"user_code": "BCDF-GHJK"}, {"origin": "null", "sec-fetch-site": "same-origin"}
        wrong = [browser.request("POST", f"{gateway.url}/device", own, form).status_code for _ in range(10)]
        assert wrong == [400] * 10
        made = browser.request("PUT", f"{gateway.url}/admin/v1/keys/new", own, json={"models": []})
        assert made.status_code == 201, made.text
        assert browser.request("POST", f"{gateway.url}/device", own, form).status_code == 429


def test_the_issuer_confirms_a_browser_when_a_tokens_lifetime_has_passed(tmp_path, provider):
    with gateway_of(tmp_path, provider, sessions={"token": "50ms"}, trusted_proxies=["127.0.0.1"]) as gateway:
        browser, _ = gateway.sign_in("ada")
        role = f"{gateway.url}/me"
        provider.people["ada"]["groups"] = ["platform"]
        eventually(lambda: browser.request("GET", role).json().get("role") == "admin", what="the new role")
        provider.faults["/token"] = Fault(status=500)
        eventually(lambda: browser.request("GET", role).status_code == 503, what="the end of the confirmation")
        provider.faults.clear()
        assert browser.request("GET", role).status_code == 200
        provider.revoked.add("ada")
        eventually(lambda: browser.request("GET", role).status_code == 401, what="the end of the session")
        assert browser.request("GET", f"{gateway.url}/ui/me").status_code == 302
