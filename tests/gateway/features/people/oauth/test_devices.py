"""The device flow: a program gets access only if a person approves its code on the gateway's own page (RFC 8628)."""

import contextlib
import re
import sqlite3
import time

import pytest

from gateway.features.people.oauth.cookies import SESSION, SIGN_IN
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import free_port
from tests.support.oidc import open_provider
from tests.support.people_browser import PeopleBrowser, own_address
from tests.support.people_gateway import PEOPLE, issuer_settings, people_gateway, people_settings

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
PROGRAM = "claude-cli/2.1.300 (external, cli)"
FORM = {"sec-fetch-site": "same-origin", "origin": "null"}


def authorize(gateway, browser=None, program=PROGRAM, **fields):
    browser = browser or PeopleBrowser(headers=own_address())
    response = browser.request(
        "POST", f"{gateway.url}/oauth/device_authorization", {"user-agent": program}, {"client_id": "cc", **fields}
    )
    assert response.status_code == 200, response.text
    return response.json()


def poll(gateway, device_code):
    browser = PeopleBrowser(headers=own_address())
    return browser.request(
        "POST", f"{gateway.url}/oauth/token", data={"grant_type": DEVICE_CODE, "device_code": device_code}
    )


def forget_poll(path, column="polled", value=None):
    """Let the time since the last poll of every grant pass."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        (name,) = database.execute("SELECT name FROM sqlite_master WHERE name LIKE '%device_grants'").fetchone()
        database.execute(f"UPDATE {name} SET {column} = ?", (value,))


def state_file(gateway):
    return gateway.settings["state_storage"]["path"]


def approve(gateway, browser, granted, user="ada"):
    """Approve a program as its person does: open the link, continue, sign in, approve."""
    gateway.provider.signed_in = user
    browser.open(granted["verification_uri_complete"])
    browser.submit()
    return browser.press("decision", "approve")


def test_the_metadata_have_one_origin_and_no_authorization_endpoint(gateway, browser):
    """Claude Code refuses endpoints of another origin, and a sign-in by redirect."""
    response = browser.request("GET", f"{gateway.url}/.well-known/oauth-authorization-server")
    metadata = response.json()
    assert response.status_code == 200
    assert metadata["issuer"] == gateway.url
    assert metadata["device_authorization_endpoint"] == f"{gateway.url}/oauth/device_authorization"
    assert metadata["token_endpoint"] == f"{gateway.url}/oauth/token"
    assert {DEVICE_CODE, "refresh_token"} <= set(metadata["grant_types_supported"])
    assert metadata["gateway_protocol_version"] == 1
    assert "authorization_endpoint" not in metadata


@pytest.mark.parametrize("without", [{}, {"public_url": None}, {"signing_key": None}])
def test_without_a_login_no_metadata_exist(tmp_path, without):
    with people_gateway(tmp_path, issuer={"login": None}, **without) as gateway:
        browser = PeopleBrowser()
        for path in ("/.well-known/oauth-authorization-server", "/oauth/login", "/device", "/oauth/callback"):
            assert browser.request("GET", gateway.url + path).status_code == 404
        assert browser.request("POST", f"{gateway.url}/oauth/device_authorization").status_code == 404
        assert browser.request("GET", f"{gateway.url}/ui/me").status_code == 401


@pytest.mark.parametrize("fields", [{}, {"client_id": "claude-code"}, {"client_id": "x", "scope": "openid"}])
def test_a_program_gets_a_code(gateway, browser, fields):
    response = browser.request("POST", f"{gateway.url}/oauth/device_authorization", data=fields)
    granted = response.json()
    assert response.headers["cache-control"] == "no-store"
    assert re.fullmatch("[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", granted["user_code"])
    assert len(granted["device_code"]) >= 43  # 256 bits in base64url
    assert granted["verification_uri"] == f"{gateway.url}/device"
    assert granted["verification_uri_complete"] == f"{gateway.url}/device?user_code={granted['user_code']}"
    assert (granted["expires_in"], granted["interval"]) == (600, 5)


def test_a_program_signs_in_with_the_approval_of_a_person(gateway, browser):
    granted = authorize(gateway)
    pending = poll(gateway, granted["device_code"])
    assert (pending.status_code, pending.json()["error"]) == (400, "authorization_pending")
    page = browser.open(granted["verification_uri_complete"])
    assert granted["user_code"] in page.text
    assert PROGRAM in page.text
    assert "198.51." in page.text, "the page does not show the program's address"
    gateway.provider.signed_in = "ada"
    page = browser.submit()
    assert [one.status_code for one in page.trail] == [302, 302, 303, 200]
    assert granted["user_code"] in page.text
    assert "ada@example.com" in page.text
    forget_poll(state_file(gateway))
    assert poll(gateway, granted["device_code"]).json()["error"] == "authorization_pending"
    assert browser.press("decision", "approve").status == 200
    forget_poll(state_file(gateway))
    tokens = poll(gateway, granted["device_code"])
    assert tokens.status_code == 200
    assert tokens.headers["cache-control"] == "no-store"
    assert tokens.json().keys() == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert (tokens.json()["token_type"], tokens.json()["expires_in"]) == ("Bearer", 3600)
    again = poll(gateway, granted["device_code"])
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


def test_a_link_never_approves(gateway, browser):
    """An attacker who sends a link to a signed-in person gets no tokens (RFC 8628, section 5.4)."""
    granted = authorize(gateway)
    approve(gateway, browser, authorize(gateway))
    complete = granted["verification_uri_complete"]
    links = ("", "&decision=approve", "&confirmed=x", "&confirmed=" + "x" * 43, "&confirmed=é")
    for link in links:
        page = browser.open(complete + link)
        assert page.status == 200
        assert not any("decision" in form.fields for form in page.forms), "the link leads to the approval"
        assert page.content.scripts == 0
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
        browser.request(method, complete + "&decision=approve", FORM)
    assert poll(gateway, granted["device_code"]).json()["error"] == "authorization_pending"


def test_the_confirmation_of_one_browser_is_worthless_in_another(gateway, browser):
    gateway.provider.signed_in = "ada"
    granted = authorize(gateway)
    browser.open(granted["verification_uri_complete"])
    page = browser.submit()
    assert "decision" in page.forms[0].fields
    victim = PeopleBrowser(headers=own_address())
    approve(gateway, victim, authorize(gateway), "root")
    assert not any("decision" in form.fields for form in victim.open(page.url).forms)


def test_a_foreign_page_cannot_approve(gateway, browser):
    approve(gateway, browser, authorize(gateway))
    granted = authorize(gateway)
    data = {"user_code": granted["user_code"], "decision": "approve"}
    for headers in ({}, {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}):
        assert browser.request("POST", f"{gateway.url}/device", headers, data).status_code == 403
    assert poll(gateway, granted["device_code"]).json()["error"] == "authorization_pending"


def test_a_decision_without_a_sign_in_leads_to_the_issuer(gateway, browser):
    granted = authorize(gateway)
    fields = {"user_code": granted["user_code"], "decision": "approve"}
    response = browser.request("POST", f"{gateway.url}/device", FORM, fields)
    assert response.status_code == 302
    assert response.headers["location"].startswith(gateway.provider.issuer)
    assert poll(gateway, granted["device_code"]).json()["error"] == "authorization_pending"


def test_a_person_without_a_rule_approves_nothing(gateway, browser):
    granted = authorize(gateway)
    gateway.provider.signed_in = "eve"
    browser.open(granted["verification_uri_complete"])
    assert browser.submit().status == 403
    assert poll(gateway, granted["device_code"]).json()["error"] == "authorization_pending"


def test_a_denied_program_gets_an_error(gateway, browser):
    gateway.provider.signed_in = "ada"
    granted = authorize(gateway)
    browser.open(granted["verification_uri_complete"])
    browser.submit()
    assert browser.press("decision", "deny").status == 200
    refused = poll(gateway, granted["device_code"])
    assert (refused.status_code, refused.json()["error"]) == (400, "access_denied")
    browser.open(granted["verification_uri_complete"])
    assert browser.page.status == 400


def test_programs_that_poll_too_early_must_slow_down(gateway):
    granted = authorize(gateway)
    found = [poll(gateway, granted["device_code"]).json()["error"] for _ in range(2)]
    assert found == ["authorization_pending", "slow_down"]


def test_a_code_of_ten_minutes_ago_is_worthless(tmp_path):
    with people_gateway(tmp_path) as gateway:
        granted = authorize(gateway)
        browser, _ = gateway.sign_in("ada")
        forget_poll(state_file(gateway), "until", time.time() - 1)
        refused = poll(gateway, granted["device_code"])
        assert (refused.status_code, refused.json()["error"]) == (400, "expired_token")
        assert browser.open(granted["verification_uri_complete"]).status == 400


SPELLINGS = ["{0}", "{1}", "{2}", " {1} ", "{2}\n", "{3}"]


@each_row("spelling", SPELLINGS, every=3)
def test_a_code_may_be_typed_in_any_spelling(gateway, browser, spelling):
    code = authorize(gateway)["user_code"]
    typed = spelling.format(code, code.lower(), code.replace("-", ""), code.replace("-", " "))
    browser.open(f"{gateway.url}/device")
    gateway.provider.signed_in = "ada"
    page = browser.submit(user_code=typed)
    assert code in page.text
    assert "Approve" in page.text


HOSTILE = ['"><script>alert(1)</script>', "</title><img src=x onerror=alert(1)>", "' onfocus='alert(1)"]


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_others_are_no_markup(gateway, browser, text):
    granted = authorize(gateway, program=f"cli {text}")
    browser.open(granted["verification_uri_complete"])
    gateway.provider.signed_in = "ada"
    for page in (browser.page, browser.submit(), browser.open(f"{gateway.url}/device?user_code={text}")):
        assert page.content.scripts == 0
        assert "<img" not in page.text
        assert "' onfocus='" not in page.text


def test_ten_wrong_codes_of_an_address_are_enough(tmp_path):
    with people_gateway(tmp_path) as gateway:
        granted = authorize(gateway)
        browser, _ = gateway.sign_in("ada")
        code = {"user_code": "BCDF-GHJK"}
        statuses = [browser.request("POST", f"{gateway.url}/device", FORM, code).status_code for _ in range(10)]
        assert statuses == [400] * 10
        limited = browser.request("POST", f"{gateway.url}/device", FORM, code)
        assert limited.status_code == 429
        assert 0 < int(limited.headers["retry-after"]) <= 600
        assert browser.request("GET", granted["verification_uri_complete"]).status_code == 429
        assert browser.request("GET", f"{gateway.url}/ui/me").status_code == 200


def test_a_choice_of_issuers_keeps_the_confirmation(tmp_path):
    with open_provider() as first, open_provider() as second:
        second.people["ada"] = dict(PEOPLE["ada"])
        second.signed_in = "ada"
        port = free_port()
        second.redirect_uris.add(f"http://127.0.0.1:{port}/oauth/callback")
        issuers = (issuer_settings(first), issuer_settings(second, "entra"))
        with gateway_thread(people_settings(port, tmp_path, *issuers)):
            browser, url = PeopleBrowser(), f"http://127.0.0.1:{port}"
            assert browser.request("GET", f"{url}/oauth/login?issuer=other").status_code == 400
            assert len(browser.open(f"{url}/ui/me").links) == 2
            granted = browser.request("POST", f"{url}/oauth/device_authorization").json()
            browser.open(granted["verification_uri_complete"])
            page = browser.submit()
            assert len(page.links) == 2
            browser.follow(page.links[1])
            assert browser.press("decision", "approve").status == 200


def test_no_code_or_token_is_in_the_log(gateway, browser):
    granted = authorize(gateway)
    approve(gateway, browser, granted)
    tokens = poll(gateway, granted["device_code"]).json()
    log = "\n".join(gateway.log)
    for secret in (granted["device_code"], granted["user_code"], tokens["access_token"], tokens["refresh_token"]):
        assert secret not in log


def test_the_store_has_no_secret(tmp_path):
    with people_gateway(tmp_path) as gateway:
        browser, granted = PeopleBrowser(), authorize(gateway)
        approve(gateway, browser, granted)
        tokens = poll(gateway, granted["device_code"]).json()
        issued = [one.form["code"] for one in gateway.provider.seen if one.path == "/token"]
        secrets = [browser.cookie(SESSION), browser.cookie(SIGN_IN), *issued, *gateway.provider.refresh_tokens]
        secrets += [granted["device_code"], granted["user_code"], tokens["access_token"], tokens["refresh_token"]]
    with contextlib.closing(sqlite3.connect(tmp_path / "state.sqlite")) as database:
        dump = "\n".join(database.iterdump())
    assert len(secrets) >= 8
    assert all(secrets)
    assert [secret for secret in secrets if secret in dump or secret.encode().hex() in dump.lower()] == []
