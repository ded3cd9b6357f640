"""People in the live view: each sees what its role permits."""

import base64

import pytest

from gateway.endpoints.oauth.cookies import SESSION
from tests.support.people_browser import PeopleBrowser
from tests.support.people_gateway import people_gateway

UI_KEY = "ui-key-0123456789abcdef"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with people_gateway(tmp_path_factory.mktemp("people"), ui_key=UI_KEY) as running:
        yield running


def test_the_operator_uses_a_key_while_the_issuer_is_away(gateway):
    gateway.provider.go_down()
    try:
        browser = PeopleBrowser()
        asked = browser.request("GET", f"{gateway.url}/ui?sign_in=key")
        assert asked.status_code == 401
        assert asked.headers["www-authenticate"].startswith("Basic ")
        password = base64.b64encode(f"any:{UI_KEY}".encode()).decode()
        for headers in ({"authorization": f"Basic {password}"}, {"authorization": f"Bearer {UI_KEY}"}):
            assert browser.request("GET", f"{gateway.url}/ui", headers).status_code == 200
    finally:
        gateway.provider.faults.clear()


@pytest.mark.parametrize("user", ["ada", "lin", "root", "aud"])
def test_a_person_who_is_signed_in_sees_the_page_and_its_files(gateway, user):
    browser, page = gateway.sign_in(user)
    assert page.status == 200
    for path in ("/ui/style.css", "/ui/live.js", "/ui/models"):
        assert browser.request("GET", gateway.url + path).status_code == 200


def test_an_auditor_sees_no_texts(gateway):
    for user, status in (("aud", 403), ("ada", 404), ("root", 404)):
        browser, _ = gateway.sign_in(user)
        assert browser.request("GET", f"{gateway.url}/ui/streams/1").status_code == status


@pytest.fixture
def keys(tmp_path):
    """Run a gateway whose file has a key of each role, and whose admins may make keys of their own."""
    names = ("user", "lead", "auditor", "admin")
    clients = [{"name": one, "key": f"key-of-{one}-0123456789", "role": one, "group": "research"} for one in names]
    rule = {"when": {}, "role": "admin", "own_keys": {"most": 3, "longest": "30d"}}
    with people_gateway(tmp_path, issuer={"admit": [rule]}, client_keys=clients, ui_key=UI_KEY) as running:
        yield running


def test_the_role_of_a_file_key_decides_what_its_holder_sees(keys):
    sent = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
    asked = keys.gateway.request("POST", "/v1/chat/completions", sent, bearer("key-of-user-0123456789"))
    assert asked.status == 502
    for name, status in (("user", 200), ("lead", 404), ("auditor", 403), ("admin", 200)):
        headers = bearer(f"key-of-{name}-0123456789")
        assert PeopleBrowser().request("GET", f"{keys.url}/ui/streams/1", headers).status_code == status, name


def test_a_key_that_an_admin_made_for_itself_has_no_role(keys):
    sent = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
    keys.gateway.request("POST", "/v1/chat/completions", sent, bearer("key-of-user-0123456789"))
    token = keys.provider.token(sub="00u3")
    key = keys.gateway.request("PUT", "/me/keys/laptop", {}, bearer(token)).json["key"]
    for credential, own, metrics in ((token, 200, 200), (key, 404, 403)):
        headers = bearer(credential)
        assert PeopleBrowser().request("GET", f"{keys.url}/ui/streams/1", headers).status_code == own
        assert keys.gateway.request("GET", "/metrics", None, headers).status == metrics


def bearer(key):
    return {"authorization": f"Bearer {key}"}


def test_an_ended_session_gets_no_password_prompt(gateway):
    browser, _ = gateway.sign_in("ada")
    browser.cookies[gateway.url, SESSION] = "x" * 43
    for path in ("/ui/events", "/ui/live.js", "/ui/models"):
        response = browser.request("GET", gateway.url + path)
        assert response.status_code == 401
        assert "www-authenticate" not in response.headers
    assert browser.request("GET", f"{gateway.url}/ui").status_code == 302


@pytest.mark.parametrize(
    "headers",
    [{"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}, {"origin": "https://evil.example"}],
)
def test_another_page_cannot_read_the_live_view(gateway, headers):
    browser, _ = gateway.sign_in("root")
    assert browser.request("GET", f"{gateway.url}/ui/events", headers).status_code == 403
