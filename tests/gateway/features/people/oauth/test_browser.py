"""Sign-in with a browser: only the person who began it, at the issuer that it began at, gets a session."""

import json
import re
import sqlite3
import threading
import time
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest

from gateway.features.people.oauth.cookies import SESSION, SIGN_IN
from gateway.features.people.oauth.sign_in_states import SignInStates
from gateway.features.people.settings import SIGN_IN_PARAMETERS
from tests.support.each_row import each_row
from tests.support.oidc import CLIENT_SECRET, Fault, open_provider
from tests.support.people_browser import PeopleBrowser, own_address
from tests.support.people_gateway import (
    PEOPLE,
    SIGNING_KEY,
    gateway_of,
    issuer_settings,
    people_gateway,
)
from tests.support.signed_tokens import mint, mint_by_secret


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def begin(gateway, browser, path="/ui/me"):
    """Begin a sign-in, and return the URL at the issuer that the browser is sent to."""
    response = browser.request("GET", f"{gateway.url}/oauth/login?{urlencode({'return': path})}")
    assert response.status_code == 302, response.text
    return response.headers["location"]


def answer_of_issuer(gateway, browser, user="ada", path="/ui/me"):
    """Begin a sign-in, and return the callback's URL that the issuer redirects to once ``user`` has signed in."""
    gateway.provider.signed_in = user
    response = browser.request("GET", begin(gateway, browser, path))
    assert response.status_code == 302, response.text
    return response.headers["location"]


def with_query(url: str, **changed: str | None) -> str:
    query = {name: value for name, value in {**query_of(url), **changed}.items() if value is not None}
    return f"{url.partition('?')[0]}?{urlencode(query)}"


def assert_refused(gateway, browser, url, status=400):
    """Open the callback ``url``, which must open no session."""
    response = browser.request("GET", url)
    assert response.status_code == status, response.text
    assert browser.cookie(SESSION) is None
    assert SESSION + "=" not in str(response.headers.get_list("set-cookie"))
    assert "Traceback" not in response.text
    return response


def is_signed_in(gateway, browser) -> bool:
    response = browser.request("GET", f"{gateway.url}/ui/me")
    assert response.status_code in (200, 302)
    return response.status_code == 200


# Begin


@pytest.mark.parametrize("path", ["/ui/me", "/oauth/login"])
def test_a_page_without_a_credential_leads_to_the_issuer(gateway, browser, path):
    found = []
    for _ in range(2):
        response = browser.request(
            "GET", gateway.url + path, {"host": "evil.example", "x-forwarded-host": "evil.example"}
        )
        assert response.status_code == 302
        location = response.headers["location"]
        assert location.startswith(f"{gateway.provider.issuer}/authorize?")
        query = query_of(location)
        assert query["redirect_uri"] == f"{gateway.url}/oauth/callback"
        assert (query["response_type"], query["response_mode"]) == ("code", "query")
        assert (query["code_challenge_method"], len(query["code_challenge"])) == ("S256", 43)
        assert query["scope"] == "openid email groups offline_access"
        assert "code_verifier" not in location
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["referrer-policy"] == "no-referrer"
        found.append((query["state"], query["nonce"], query["code_challenge"]))
    assert all(len(set(values)) == 2 for values in zip(*found, strict=True))


def test_more_parameters_of_the_file_are_sent_with_those_of_the_protocol(tmp_path):
    params = {"prompt": "select_account", "hd": "acme.example"}
    with open_provider() as provider:
        login = {**issuer_settings(provider)["login"], "params": params}
        with gateway_of(tmp_path, provider, {"login": login}) as gateway:
            query = parse_qs(urlsplit(begin(gateway, PeopleBrowser())).query)
    assert {name: query.pop(name) for name in params} == {name: [value] for name, value in params.items()}
    assert query["redirect_uri"] == [f"{gateway.url}/oauth/callback"]
    assert set(query) <= set(SIGN_IN_PARAMETERS)  # so `check` refuses them in `params`


# Finish


def test_a_person_signs_in_and_returns_to_the_page(gateway, browser):
    url = answer_of_issuer(gateway, browser, path="/device?user_code=WDJB-MJHT")
    response = browser.request("GET", url)
    assert response.status_code == 303
    assert response.headers["location"] == f"{gateway.url}/device?user_code=WDJB-MJHT"
    (cookie,) = (line for line in response.headers.get_list("set-cookie") if line.startswith(SESSION))
    name, _, rest = cookie.partition("=")
    assert name == "__Host-trigate"
    assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"} <= set(rest.split("; "))
    assert "Domain" not in cookie
    assert is_signed_in(gateway, browser)


def test_tabs_that_open_together_for_the_first_time_all_sign_in(gateway, browser):
    """Each request is sent before the first response sets a cookie."""
    paths = ("/ui/me", "/ui/keys", "/device")
    responses = [PeopleBrowser().request("GET", f"{gateway.url}/oauth/login?return={path}") for path in paths]
    for response in responses:
        browser.receive(response)
    gateway.provider.signed_in = "ada"
    for response, path in zip(responses, paths, strict=True):
        page = browser.open(response.headers["location"])
        assert (page.status, page.url) == (200, gateway.url + path), page.text


def test_tabs_that_open_together_after_the_session_share_the_cookie_of_sign_ins(gateway, browser):
    begun = browser.request("GET", f"{gateway.url}/oauth/login")
    ended = browser.request("GET", answer_of_issuer(gateway, browser))
    seconds = [
        int(re.findall(f"{name}[.=].*Max-Age=([0-9]+)", str(response.headers.get_list("set-cookie")))[0])
        for name, response in ((SIGN_IN, begun), (SESSION, ended))
    ]
    assert seconds[0] > seconds[1]


def test_a_foreign_return_address_leads_to_the_first_page(gateway, browser):
    response = browser.request("GET", answer_of_issuer(gateway, browser, path="//evil.example"))
    assert response.headers["location"] == f"{gateway.url}/ui"


def test_a_state_of_another_browser_is_refused(gateway, browser):
    """Otherwise a link signs its reader in with the attacker's account (RFC 6749, section 10.12)."""
    url = answer_of_issuer(gateway, PeopleBrowser())
    assert_refused(gateway, browser, url)
    begin(gateway, browser)
    assert_refused(gateway, browser, url)


def test_a_used_state_is_refused(gateway, browser):
    url = answer_of_issuer(gateway, browser)
    assert browser.request("GET", url).status_code == 303
    again = browser.request("GET", url)
    assert again.status_code == 400
    assert SESSION + "=" not in str(again.headers.get_list("set-cookie"))


CHANGED = {
    "no state": {"state": None},
    "invented state": {"state": "x" * 40},
    "no code": {"code": None},
    "invented code": {"code": "x" * 32},
    "another issuer": {"iss": "https://evil.example"},
    "no issuer": {"iss": None},
}


def test_a_repeated_parameter_is_refused(gateway, browser):
    url = answer_of_issuer(gateway, browser)
    assert_refused(gateway, browser, url + "&code=another")


def test_a_stolen_code_is_worthless_in_another_sign_in(gateway, browser):
    """The code belongs to the PKCE challenge of the sign-in that it was issued for (RFC 9700, section 2.1.1)."""
    stolen = query_of(answer_of_issuer(gateway, PeopleBrowser(), "root"))["code"]
    url = answer_of_issuer(gateway, browser, "eve")
    assert_refused(gateway, browser, with_query(url, code=stolen))


def test_a_person_who_denies_gets_no_session(gateway, browser):
    gateway.provider.denies = True
    page = assert_refused(gateway, browser, answer_of_issuer(gateway, browser), 403)
    assert "access_denied" in page.text


def test_words_of_a_link_do_not_reach_the_page(gateway, browser):
    url = with_query(answer_of_issuer(gateway, browser), code=None, error="call +1 555 <b>now</b>")
    assert "555" not in assert_refused(gateway, browser, url).text


WRONG_TOKENS = {
    "nonce of another sign-in": {"nonce": "n" * 43},
    "no nonce": {"nonce": None},
    "nonce that is no text": {"nonce": 7},
    "another issuer": {"iss": "https://evil.example"},
    "audience of the API": {"aud": "trigate"},
    "no time of issue": {"iat": None},
}


@each_row(
    ("changed", "wrong"), [*((one, {}) for one in CHANGED.values()), *(({}, one) for one in WRONG_TOKENS.values())]
)
def test_a_changed_callback_or_an_id_token_with_a_wrong_claim_is_refused(gateway, browser, changed, wrong):
    """``iss`` names the issuer of the answer, so another issuer's answer is not taken for it (RFC 9207)."""
    gateway.provider.wrong = dict(wrong)  # without those of the row before
    page = assert_refused(gateway, browser, with_query(answer_of_issuer(gateway, browser), **changed))
    assert "/oauth/login" in page.text, "a way to try again"


def tokens_of(provider, id_token):
    body = json.dumps({"access_token": "a", "token_type": "Bearer", "id_token": id_token}).encode()
    return Fault(body=body, content_type="application/json")


FORGED = {
    "no signature": lambda claims, key: mint(claims, header={"alg": "none"}).rpartition(".")[0] + ".",
    "client secret as key": lambda claims, key: mint_by_secret(claims, CLIENT_SECRET.encode()),
    "no JWT": lambda claims, key: "opaque",
    "empty": lambda claims, key: "",
}


@each_row("forge", FORGED.values())
def test_a_forged_id_token_is_refused(gateway, browser, forge):
    url = answer_of_issuer(gateway, browser)
    cookie = browser.cookie(SIGN_IN)
    begun = SignInStates((b64decode(SIGNING_KEY),)).open(query_of(url)["state"], [cookie], time.time())
    claims = {**PEOPLE["root"], "iss": gateway.provider.issuer, "aud": "trigate-client", "nonce": begun.nonce}
    gateway.provider.faults["/token"] = tokens_of(gateway.provider, forge(claims, gateway.provider.keys[-1]))
    assert_refused(gateway, browser, url)


def test_a_key_that_the_issuer_has_just_published_works(gateway, browser):
    gateway.provider.rotate()
    assert browser.request("GET", answer_of_issuer(gateway, browser)).status_code == 303


def test_userinfo_fills_claims_that_the_id_token_lacks(gateway, browser):
    gateway.provider.only_userinfo = frozenset(("groups", "email"))
    assert browser.request("GET", answer_of_issuer(gateway, browser)).status_code == 303
    assert is_signed_in(gateway, browser)


@pytest.mark.parametrize(("claim", "others", "status"), [("groups", {"sub": "00u3"}, 400), ("email", {}, 403)])
def test_userinfo_about_another_person_is_refused_and_changes_no_claim(gateway, browser, claim, others, status):
    """OpenID Connect Core 1.0, section 5.3.2."""
    gateway.provider.only_userinfo = frozenset((claim,))
    gateway.provider.userinfo.update(others, groups=["platform"])
    assert_refused(gateway, browser, answer_of_issuer(gateway, browser, "eve"), status)


def test_a_person_without_a_rule_sees_the_claims_that_were_read(gateway, browser):
    page = assert_refused(gateway, browser, answer_of_issuer(gateway, browser, "eve"), 403)
    assert "okta" in page.text
    assert "groups" in page.text
    assert "others" not in page.text, "the page has a value of a claim"


@pytest.mark.parametrize("path", ["/token", "/userinfo"])
def test_an_issuer_that_fails_is_a_503_with_a_way_to_try_again(gateway, browser, path):
    gateway.provider.only_userinfo = frozenset(("groups",))
    url = answer_of_issuer(gateway, browser)
    gateway.provider.faults[path] = Fault(status=500)
    page = assert_refused(gateway, browser, url, 503)
    assert "/oauth/login" in page.text


# The session


def test_a_sign_in_ends_the_old_session_of_the_browser(gateway, browser):
    """A cookie that an attacker planted before the sign-in is worthless after it (CWE-384)."""
    browser.request("GET", answer_of_issuer(gateway, browser))
    old = browser.cookie(SESSION)
    browser.request("GET", answer_of_issuer(gateway, browser, "root"))
    assert browser.cookie(SESSION) != old
    assert is_signed_in(gateway, browser)
    other = PeopleBrowser(cookies={(gateway.url, SESSION): str(old)})
    assert not is_signed_in(gateway, other)


def test_an_invented_cookie_is_replaced(gateway, browser):
    browser.cookies[gateway.url, SESSION] = "p" * 43
    response = browser.request("GET", answer_of_issuer(gateway, browser))
    assert response.status_code == 303
    assert browser.cookie(SESSION) != "p" * 43


def test_sign_out_needs_the_button_of_the_own_page(gateway, browser):
    browser.request("GET", answer_of_issuer(gateway, browser))
    page = browser.open(f"{gateway.url}/oauth/logout")
    assert page.status == 200
    referer = {"referer": f"{gateway.url}/oauth/logout"}
    assert browser.request("POST", f"{gateway.url}/oauth/logout", referer).status_code == 403
    assert is_signed_in(gateway, browser)
    old = browser.cookie(SESSION)
    browser.page = page
    page = browser.submit()
    assert f"{gateway.provider.issuer}/logout" in page.text
    assert browser.cookie(SESSION) is None
    assert not is_signed_in(gateway, PeopleBrowser(cookies={(gateway.url, SESSION): str(old)}))


# Pages and logs


def test_no_page_can_be_framed_or_runs_a_script(gateway, browser):
    browser.request("GET", answer_of_issuer(gateway, browser))
    for path in ("/oauth/login?issuer=x", "/oauth/callback", "/oauth/logout", "/device", "/device?user_code=x"):
        page = browser.open(gateway.url + path)
        headers = page.response.headers
        policy = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy, path
        assert "default-src 'self'" in policy, path
        assert headers["x-frame-options"] == "DENY"
        assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "no-referrer")
        assert page.content.scripts == 0
        assert "x-request-id" in headers


def test_no_secret_is_in_the_log_or_in_a_referer(gateway, browser):
    begun = len(gateway.provider.seen)
    url = answer_of_issuer(gateway, browser)
    page = browser.open(url)
    assert page.status == 200
    gateway.provider.wrong.update(nonce="x" * 43)
    assert_refused(gateway, PeopleBrowser(headers=browser.headers), url)
    seen = gateway.provider.seen[begun:]
    secrets = {query_of(url)["code"], query_of(url)["state"], browser.cookie(SESSION), browser.cookie(SIGN_IN)}
    secrets |= {CLIENT_SECRET, SIGNING_KEY, *gateway.provider.refresh_tokens}
    secrets |= {one.form["code_verifier"] for one in seen if "code_verifier" in one.form}
    log = "\n".join(gateway.log)
    assert [secret for secret in secrets if secret and secret in log] == []
    assert [one.headers["referer"] for one in seen if "referer" in one.headers] == []


def test_cors_opens_no_path_of_sign_in(tmp_path):
    with people_gateway(tmp_path, cors=["https://app.example"]) as gateway:
        browser = PeopleBrowser()
        asked = {"origin": "https://app.example", "access-control-request-method": "POST"}
        for path in ("/oauth/token", "/oauth/device_authorization", "/device", "/oauth/logout", "/ui/me"):
            for method in ("OPTIONS", "GET", "POST"):
                response = browser.request(method, gateway.url + path, asked)
                assert "access-control-allow-origin" not in response.headers, (method, path)


FORGED = {"origin": "https://app.example", "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}


@each_row("cors", [None, ["https://app.example"]])
def test_a_forged_change_is_in_the_audit_and_gets_no_advice_that_cannot_help(tmp_path, cors):
    with people_gateway(tmp_path, cors=cors, audit="stderr") as gateway:
        browser, _ = gateway.sign_in("root")
        changes = [("POST", "/oauth/logout"), ("POST", "/device"), ("POST", "/ui/keys"), ("PUT", "/me/keys/laptop"),
                   ("PUT", "/admin/v1/people/okta:00u1/block")]  # fmt: skip
        for headers in (FORGED, {}):
            for method, path in changes:
                response = browser.request(method, gateway.url + path, headers)
                assert response.status_code == 403
                assert "to `cors`" not in response.text
        refused = [json.loads(line) for line in gateway.log if '"page_refused"' in line]  # a flood is not noted
    assert [(line["path"], line["origin"]) for line in refused] == [(path, FORGED["origin"]) for _, path in changes]


def test_failed_sign_ins_of_an_address_are_limited(tmp_path):
    with people_gateway(tmp_path) as gateway:
        browser = PeopleBrowser()
        url = with_query(answer_of_issuer(gateway, browser), code="wrong")
        statuses = [browser.request("GET", url).status_code for _ in range(32)]
    assert statuses == [400] * 30 + [429] * 2


def test_one_address_occupies_a_part_of_the_sign_ins(gateway):
    """Each sign-in waits for the issuer, so a stranger could occupy all connections to it."""
    browsers = [PeopleBrowser(headers={"x-forwarded-for": "203.0.113.77"}) for _ in range(20)]
    urls = [answer_of_issuer(gateway, browser) for browser in browsers]
    hold = threading.Event()
    gateway.provider.faults["/token"] = Fault(hold=hold, status=500)
    with ThreadPoolExecutor(20) as pool:
        running = [pool.submit(browser.request, "GET", url) for browser, url in zip(browsers, urls, strict=True)]
        try:
            limited = [one.result() for one in wait_for(running, 4)]
            assert [one.status_code for one in limited] == [429] * 4
            other = PeopleBrowser(headers=own_address())
            assert other.request("GET", f"{gateway.url}/oauth/login").status_code == 302
        finally:
            hold.set()
        assert sorted(one.result().status_code for one in running) == [429] * 4 + [503] * 16


def wait_for(running, count):
    """Return ``count`` of the ``running`` calls that have ended."""
    for _ in range(500):
        done = [one for one in running if one.done()]
        if len(done) >= count:
            return done[:count]
        time.sleep(0.01)
    pytest.fail("the calls do not end")


def test_a_failing_store_changes_nothing(tmp_path):
    with people_gateway(tmp_path) as gateway:
        gateway.sign_in("root")
        browser = PeopleBrowser()
        url = answer_of_issuer(gateway, browser)
        database = sqlite3.connect(tmp_path / "state.sqlite", isolation_level=None)
        for table in ("used_once", "person_sessions"):
            (name,) = database.execute("SELECT name FROM sqlite_master WHERE name LIKE ?", (f"%{table}",)).fetchone()
            database.execute(f"ALTER TABLE {name} RENAME TO away_{table}")
        database.close()
        assert_refused(gateway, browser, url, 503)
