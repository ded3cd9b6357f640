"""The stand-in's issuer and MCP server, over sockets: the requests that they refuse, and the destinations of codes."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from gateway.mock.issuer import EXCHANGE, StandInIssuer
from streams.errors import GatewayError
from tests.support.gateway_thread import mock_thread
from tests.support.harness import PATIENCE
from tests.support.mcp_people import authorization, redemption, sign_in
from tests.support.no_tls import NO_TLS
from tests.support.signed_tokens import claims_of

RESOURCE = "http://127.0.0.1:12000/mcp/tools"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with mock_thread() as mock:
        yield mock.url


@pytest.fixture
def http(issuer: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=issuer, timeout=PATIENCE, verify=NO_TLS, trust_env=False) as client:
        yield client


def code(http: httpx2.Client, **changed: str) -> str:
    location = http.get("/authorize", params=authorization(**changed)).headers["location"]
    return str(httpx2.URL(location).params["code"])


def test_the_page_lists_the_people_and_states_that_it_is_no_real_issuer(http):
    page = http.get("/authorize", params=authorization(login_hint="", state='"><b>'))
    assert (page.status_code, page.text.count("<li>")) == (200, 3)
    assert "no real issuer" in page.text
    assert "<b>" not in page.text


@pytest.mark.parametrize(
    "redirect",
    [
        "https://evil.example/",
        "http://evil.example/",
        "http://127.0.0.1@evil.example/",
        "http://evil.example\\@127.0.0.1/",
        "http://127.0.0.1.evil.example/",
        "http://localhost\r\nset-cookie: a=b/",
        "//127.0.0.1/",
        "",
    ],
)
def test_a_code_goes_only_to_this_machine(http, redirect):
    found = http.get("/authorize", params=authorization(redirect_uri=redirect))
    assert (found.status_code, found.json()["error"]) == (400, "invalid_request")
    assert "location" not in found.headers


@pytest.mark.parametrize(
    "changed", [{"code_challenge_method": "plain"}, {"code_challenge": ""}, {"response_type": "token"}]
)
def test_pkce_is_required(http, changed):
    assert http.get("/authorize", params=authorization(**changed)).status_code == 400


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"code_verifier": "w" * 43}, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:9/other"}, "invalid_grant"),
        ({"code": "a.b.c"}, "invalid_grant"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, "invalid_grant"),
        ({"grant_type": EXCHANGE}, "invalid_grant"),
    ],
)
def test_a_wrong_request_for_tokens_is_refused(http, changed, error):
    found = http.post("/token", data={**redemption(code(http)), **changed})
    assert (found.status_code, found.json()["error"]) == (400, error)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:51001", "127.0.0.1.evil.example"])
def test_a_foreign_name_of_this_machine_gets_nothing(http, host):
    """A web page can lead its own name to this machine."""
    for method, path in (("GET", "/.well-known/openid-configuration"), ("GET", "/authorize"), ("POST", "/token")):
        found = http.request(method, path, headers={"host": host})
        assert (found.status_code, found.json()["error"]) == (403, "access_denied")


async def test_tokens_are_for_their_resource_and_refreshed_and_exchanged(issuer):
    granted = await sign_in(issuer, "ada", resource=RESOURCE, scope="openid", nonce="n")
    person = {"iss": issuer, "sub": "ada", "groups": ["ml"]}
    access, identity = claims_of(granted["access_token"]), claims_of(granted["id_token"])
    assert access.items() >= {**person, "aud": RESOURCE}.items()
    assert identity.items() >= {**person, "aud": "test", "nonce": "n"}.items()

    def token(**form: str) -> dict[str, Any]:
        found = httpx2.post(f"{issuer}/token", data=form, verify=NO_TLS, trust_env=False).json()
        return claims_of(found["access_token"])

    refreshed = token(grant_type="refresh_token", refresh_token=granted["refresh_token"])
    exchanged = token(grant_type=EXCHANGE, subject_token=granted["access_token"], audience="stand-in")
    assert refreshed.items() >= {**person, "aud": RESOURCE}.items()
    assert exchanged.items() >= {**person, "aud": "stand-in"}.items()


@pytest.mark.parametrize(("use", "seconds", "words"), [("token", -1, "has expired"), ("code", 60, "is no token")])
def test_an_expired_token_and_a_code_are_no_tokens(use, seconds, words):
    issuer = StandInIssuer()
    with pytest.raises(GatewayError, match=words):
        issuer.read("token", issuer.sign(use, seconds, {"sub": "ada"}))
    with pytest.raises(GatewayError, match="is no token of this issuer"):
        issuer.read("token", StandInIssuer().sign("token", 60, {"sub": "ada"}))


@pytest.mark.parametrize(
    ("key", "body", "status", "words"),
    [
        (None, b"{}", 401, "no bearer token"),
        ("a.b.c", b"{}", 401, "no token of this issuer"),
        ("key", b"[", 400, "not valid JSON"),
        ("key", b"[]", 400, "must be a JSON object"),
        ("key", b'{"method": "notifications/initialized"}', 202, ""),
        ("key", b'{"id": 1, "method": "prompts/list"}', 200, "-32601"),
        ("key", b'{"id": 1, "method": "tools/call", "params": {"name": "rm"}}', 200, "-32602"),
        ("key", b'{"id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": []}}', 200, "-32602"),
        ("key", b'{"id": 1, "method": "tools/call", "params": {"name": "get_person"}}', 200, "no person: a key"),
    ],
)  # fmt: skip
def test_the_mcp_server_refuses_and_answers(http, key, body, status, words):
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    found = http.post("/mcp", content=body, headers=headers)
    assert (found.status_code, words in found.text) == (status, True)


async def test_the_mcp_server_refuses_a_token_for_another_audience(issuer):
    granted = await sign_in(issuer, "ada", resource=RESOURCE)
    headers = {"authorization": f"Bearer {granted['access_token']}"}
    async with httpx2.AsyncClient(verify=NO_TLS, trust_env=False) as http:
        found = await http.post(f"{issuer}/mcp", json={"id": 1}, headers=headers)
    assert (found.status_code, "audience" in found.text) == (401, True)
