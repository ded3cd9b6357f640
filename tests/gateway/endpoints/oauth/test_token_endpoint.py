"""The token endpoint: tokens for valid grants alone, errors in the words of RFC 6749, and no help for guesses."""

import contextlib
import socket
import sqlite3

import pytest

from tests.support.each_row import each_row
from tests.support.harness import eventually
from tests.support.oidc import Fault, open_provider
from tests.support.people_browser import PeopleBrowser, own_address
from tests.support.people_gateway import PEOPLE, gateway_of, people_gateway
from tests.support.signed_tokens import claims_of, header_of, mint, signing_key

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


def post(gateway, data, headers=None, browser=None):
    browser = browser or PeopleBrowser(headers=own_address())
    return browser.request("POST", f"{gateway.url}/oauth/token", headers, data)


def exchange(gateway, token, **more):
    return post(gateway, {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": JWT, **more})


def assert_error(response, code, status=400):
    assert (response.status_code, response.json()["error"]) == (status, code), response.text
    assert response.json()["error_description"]
    assert response.headers["content-type"] == "application/json"
    if status != 404:
        assert response.headers["cache-control"] == "no-store"
    assert "x-request-id" in response.headers


# Requests

BROKEN = {
    "nothing": {},
    "no grant type": {"device_code": "x"},
    "no device code": {"grant_type": "urn:ietf:params:oauth:grant-type:device_code"},
    "empty device code": {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": ""},
    "no refresh token": {"grant_type": "refresh_token"},
    "no subject token": {"grant_type": EXCHANGE, "subject_token_type": JWT},
    "no subject token type": {"grant_type": EXCHANGE, "subject_token": "x"},
    "unknown subject token type": {"grant_type": EXCHANGE, "subject_token": "x", "subject_token_type": "saml2"},
    "unknown result": {"grant_type": EXCHANGE, "subject_token": "x", "subject_token_type": JWT,
                       "requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
    "actor": {"grant_type": EXCHANGE, "subject_token": "x", "subject_token_type": JWT, "actor_token": "y"},
}  # fmt: skip


@each_row("data", BROKEN.values())
def test_a_broken_request_is_refused(gateway, data):
    assert_error(post(gateway, data), "invalid_request")


@each_row("kind", ["password", "client_credentials", "authorization_code", "x" * 5000])
def test_other_grants_are_not_supported(gateway, kind):
    assert_error(post(gateway, {"grant_type": kind, "code": "x"}), "unsupported_grant_type")


RAW = {
    "field twice": (b"grant_type=refresh_token&grant_type=password&refresh_token=x", 400),
    "no UTF-8": (b"grant_type=%FF%FE", 400),
    "bytes": (b"grant_type=\xff", 400),
    "many fields": (b"&".join(b"f%d=1" % number for number in range(200)), 400),
    "large": (b"grant_type=refresh_token&refresh_token=" + b"x" * 40_000, 413),
}


@each_row(("body", "status"), RAW.values())
def test_an_unreadable_form_is_refused(gateway, browser, body, status):
    kind = {"content-type": "application/x-www-form-urlencoded"}
    response = browser.request("POST", f"{gateway.url}/oauth/token", kind, content=body)
    assert_error(response, "invalid_request", status)


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data; boundary=x"])
def test_only_forms_are_read(gateway, browser, kind):
    response = browser.request("POST", f"{gateway.url}/oauth/token", {"content-type": kind}, content=b"{}")
    assert_error(response, "invalid_request")


@each_row("path", ["/oauth/token", "/oauth/device_authorization"])
@each_row("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(gateway, browser, path, method):
    response = browser.request(method, gateway.url + path)
    assert_error(response, "invalid_request", 405)
    assert response.headers["allow"] == "POST"


def test_a_body_that_never_ends_is_cut(gateway):
    head = (
        f"POST /oauth/token HTTP/1.1\r\nhost: 127.0.0.1\r\nx-forwarded-for: {own_address()['x-forwarded-for']}\r\n"
        "content-type: application/x-www-form-urlencoded\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", gateway.gateway.port), timeout=20) as sock:
        sock.sendall(head.encode())
        chunk = b"4000\r\n" + b"a" * 0x4000 + b"\r\n"
        for _ in range(4):
            sock.sendall(chunk)
        assert sock.recv(100).startswith(b"HTTP/1.1 413 ")


def test_one_address_occupies_a_part_of_the_endpoint(gateway):
    """A stranger who sends bodies slowly keeps only its own address waiting."""
    address = own_address()["x-forwarded-for"]
    head = (
        f"POST /oauth/token HTTP/1.1\r\nhost: 127.0.0.1\r\nx-forwarded-for: {address}\r\n"
        "content-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\n"
    )
    with contextlib.ExitStack() as stack:
        for _ in range(32):
            sock = socket.create_connection(("127.0.0.1", gateway.gateway.port), timeout=20)
            stack.enter_context(sock).sendall(head.encode())
        form = {"grant_type": "refresh_token", "refresh_token": "x"}
        same = PeopleBrowser(headers={"x-forwarded-for": address})
        eventually(lambda: post(gateway, form, browser=same).status_code == 429, what="the limit of the address")
        assert post(gateway, form).status_code == 401


# Exchange


def test_a_token_of_an_issuer_becomes_one_of_the_gateway(gateway, browser):
    response = exchange(gateway, gateway.provider.token(**PEOPLE["ada"]))
    assert response.status_code == 200, response.text
    tokens = response.json()
    assert tokens.keys() == {"access_token", "issued_token_type", "token_type", "expires_in"}
    assert (tokens["issued_token_type"], tokens["token_type"]) == (ACCESS_TOKEN, "Bearer")
    assert tokens["expires_in"] == 3600
    claims = claims_of(tokens["access_token"])
    assert header_of(tokens["access_token"])["alg"] == "HS256"
    assert (claims["iss"], claims["sub"]) == (gateway.url, "okta:00u1")
    assert (claims["email"], claims["name"], claims["groups"]) == ("ada@example.com", "Ada L.", ["ml"])
    assert claims["exp"] - claims["iat"] == 3600
    key = {"authorization": f"Bearer {tokens['access_token']}"}
    assert browser.request("GET", f"{gateway.url}/v1/models", key).status_code == 200


def test_the_gateways_own_token_is_no_subject(gateway):
    own = exchange(gateway, gateway.provider.token(**PEOPLE["ada"])).json()["access_token"]
    assert_error(exchange(gateway, own), "invalid_grant")


FORGED = {
    "another audience": lambda p: p.token(aud="other", **PEOPLE["root"]),
    "audience of the sign-in": lambda p: p.token(aud="trigate-client", **PEOPLE["root"]),
    "another issuer": lambda p: p.token(iss="https://evil.example", **PEOPLE["root"]),
    "another key": lambda p: p.token(signing_key("evil"), **PEOPLE["root"]),
    "another key under a known id": lambda p: p.token(signing_key("evil"), {"kid": p.keys[-1].kid}, **PEOPLE["root"]),
    "expired": lambda p: p.token(exp=1_700_000_000, **PEOPLE["root"]),
    "opaque": lambda p: "opaque-token",
    "client key": lambda p: "key-of-ci-0123456789abcdef",
    "long": lambda p: p.token(padding="x" * 17_000, **PEOPLE["root"]),
    "not ASCII": lambda p: "é.é.é",
}


@each_row("forge", FORGED.values())
def test_a_forged_or_foreign_token_is_refused(gateway, forge):
    token = forge(gateway.provider)
    response = exchange(gateway, token)
    assert_error(response, "invalid_grant")
    assert token not in response.text


def test_a_person_that_no_rule_admits_is_told_which_claims_were_read(gateway):
    response = exchange(gateway, gateway.provider.token(sub="00u9", groups=["secret-group"]))
    assert_error(response, "invalid_grant")
    description = response.json()["error_description"]
    assert "okta" in description
    assert "groups" in description
    assert "secret-group" not in description


def test_a_loop_of_exchanges_is_slowed_down(tmp_path):
    """A job that exchanges tokens in a loop stops no other person, and its earlier tokens stay valid."""
    with people_gateway(tmp_path) as gateway:
        first = exchange(gateway, gateway.provider.token(**PEOPLE["ada"]))
        with contextlib.closing(sqlite3.connect(tmp_path / "state.sqlite", timeout=10)) as store, store:
            table = store.execute("SELECT name FROM sqlite_master WHERE name LIKE '%person_sessions'").fetchone()[0]
            columns = "origin, person, kind, program, address, began, until, tokens_until, seen, cookie, refresh, ended"
            store.executemany(
                f"INSERT INTO {table} SELECT ?, {columns} FROM {table} WHERE id = ?",
                [(f"more{number}", claims_of(first.json()["access_token"])["sid"]) for number in range(1000)],
            )
        response = exchange(gateway, gateway.provider.token(**PEOPLE["ada"]))
        assert_error(response, "slow_down", 429)
        assert response.headers["retry-after"] == "60"
        assert exchange(gateway, gateway.provider.token(**PEOPLE["lin"])).status_code == 200


def test_an_exchange_needs_no_login(tmp_path):
    with people_gateway(tmp_path, issuer={"login": None}) as gateway:
        assert exchange(gateway, gateway.provider.token(**PEOPLE["ada"])).status_code == 200
        assert_error(post(gateway, {"grant_type": "refresh_token", "refresh_token": "x"}), "unsupported_grant_type")


@pytest.mark.parametrize("without", ["public_url", "signing_key", "state_storage"])
def test_without_a_part_that_it_needs_the_endpoint_does_not_exist(tmp_path, without):
    with people_gateway(tmp_path, issuer={"login": None}, **{without: None}) as gateway:
        assert_error(exchange(gateway, gateway.provider.token(**PEOPLE["ada"])), "not_found", 404)


def test_keys_that_were_never_fetched_are_a_503(tmp_path):
    with open_provider() as provider:
        provider.faults["/jwks"] = Fault(status=500)
        with gateway_of(tmp_path, provider) as gateway:
            response = exchange(gateway, provider.token(**PEOPLE["ada"]))
    assert_error(response, "temporarily_unavailable", 503)
    assert "retry-after" in response.headers


# Guesses


@pytest.mark.parametrize(
    "data",
    [
        {"grant_type": "refresh_token", "refresh_token": "tgr_{}"},
        {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": "{}"},
        {"grant_type": EXCHANGE, "subject_token": "{}", "subject_token_type": JWT},
    ],
    ids=["refresh token", "device code", "subject token"],
)
def test_who_guesses_is_slowed_down(gateway, data):
    browser = PeopleBrowser(headers=own_address())
    found = [
        post(gateway, {name: value.format(number) for name, value in data.items()}, browser=browser)
        for number in range(32)
    ]
    usual = 401 if data["grant_type"] == "refresh_token" else 400  # Claude Code signs its user out at 401 alone
    assert_error(found[0], "invalid_grant", usual)
    assert [one.status_code for one in found] == [usual] * 30 + [429] * 2
    assert found[-1].json()["error"] == "slow_down"
    assert int(found[-1].headers["retry-after"]) > 0
    assert exchange(gateway, gateway.provider.token(**PEOPLE["ada"])).status_code == 200


def test_no_token_is_in_the_log(gateway):
    valid = gateway.provider.token(**PEOPLE["ada"])
    forged = mint({"iss": gateway.provider.issuer, "aud": "trigate", "sub": "x"}, signing_key("evil"))
    own = exchange(gateway, valid).json()["access_token"]
    for token in (forged, own, "guessed-token-of-nobody"):
        exchange(gateway, token)
        post(gateway, {"grant_type": "refresh_token", "refresh_token": token})
    log = "\n".join(gateway.log)
    assert [token for token in (valid, forged, own, "guessed-token-of-nobody") if token in log] == []
