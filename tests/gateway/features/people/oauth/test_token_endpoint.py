"""The token endpoint: tokens only for valid grants, errors in the format of RFC 6749, and no help for guesses."""

import contextlib
import socket

import pytest

from tests.support.each_row import each_row
from tests.support.harness import eventually
from tests.support.people_browser import PeopleBrowser, own_address
from tests.support.people_gateway import people_gateway
from tests.support.signed_tokens import claims_of, header_of, mint, signing_key

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


def post(gateway, data, headers=None, browser=None):
    browser = browser or PeopleBrowser(headers=own_address())
    return browser.request("POST", f"{gateway.url}/oauth/token", headers, data)


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
}  # fmt: skip


@each_row("data", BROKEN.values())
def test_a_broken_request_is_refused(gateway, data):
    assert_error(post(gateway, data), "invalid_request")


@each_row("kind", ["password", "client_credentials", "authorization_code", EXCHANGE, "x" * 5000])
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


# Tokens


def test_a_program_gets_a_token_with_the_claims_of_its_person(gateway, browser):
    tokens = gateway.device_tokens("ada")
    assert tokens.keys() == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 3600)
    claims = claims_of(tokens["access_token"])
    assert header_of(tokens["access_token"])["alg"] == "HS256"
    assert (claims["iss"], claims["sub"]) == (gateway.url, "okta:00u1")
    assert (claims["email"], claims["name"], claims["groups"]) == ("ada@example.com", "Ada L.", ["ml"])
    assert claims["exp"] - claims["iat"] == 3600
    key = {"authorization": f"Bearer {tokens['access_token']}"}
    assert browser.request("GET", f"{gateway.url}/nowhere", key).status_code == 404


def test_without_login_the_endpoint_does_not_exist(tmp_path):
    with people_gateway(tmp_path, issuer={"login": None}) as gateway:
        assert_error(post(gateway, {"grant_type": "refresh_token", "refresh_token": "x"}), "not_found", 404)


# Guesses


@pytest.mark.parametrize(
    "data",
    [
        {"grant_type": "refresh_token", "refresh_token": "tgr_{}"},
        {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": "{}"},
    ],
    ids=["refresh token", "device code"],
)
def test_guessing_is_slowed_down(gateway, data):
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
    assert "access_token" in gateway.device_tokens("ada")


def test_no_token_is_in_the_log(gateway):
    tokens = gateway.device_tokens("ada")
    forged = mint({"iss": gateway.provider.issuer, "aud": "trigate", "sub": "x"}, signing_key("evil"))
    for token in (forged, tokens["access_token"], "guessed-token-of-nobody"):
        post(gateway, {"grant_type": "refresh_token", "refresh_token": token})
        post(gateway, {"grant_type": EXCHANGE, "subject_token": token})
    log = "\n".join(gateway.log)
    secrets = (tokens["access_token"], tokens["refresh_token"], forged, "guessed-token-of-nobody")
    assert [token for token in secrets if token in log] == []
