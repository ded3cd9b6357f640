"""Requests to issuers: the tokens of a sign-in, deadlines, limits, redirects, TLS and addresses."""

import base64
import hashlib
import json
import os
import secrets
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path, PosixPath
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import attrs
import httpx2
import pytest
import trio

from gateway.features.people import issuer_http
from gateway.features.people.issuer_http import IssuerClient, IssuerConnections, IssuerRefused, IssuerUnavailable
from gateway.features.people.settings import IssuerFetch, IssuerLogin, TrustedIssuer
from gateway.upstream.client import Upstream
from gateway.upstream.errors import UpstreamError
from gateway.upstream.request import UpstreamRequest
from tests.support.certificates import LOOPBACK, Authority
from tests.support.followed_issuers import issuer_settings
from tests.support.oidc import CLIENT_ID, CLIENT_SECRET, CONFIGURATION, Fault, OidcProvider, open_provider
from tests.support.set_clock import SetClock
from tests.support.signed_tokens import base64url, claims_of

CALLBACK = "http://127.0.0.1:9/oauth/callback"
VERIFIER = "v" * 43
LOGIN = IssuerLogin(CLIENT_ID, CLIENT_SECRET, ("openid", "offline_access"))


@pytest.fixture
def provider():
    with open_provider(people={"ada": {"sub": "00u1", "groups": ["ml"]}}, signed_in="ada") as found:
        found.redirect_uris.add(CALLBACK)
        yield found


@asynccontextmanager
async def client_of(issuer: TrustedIssuer, clock: Any = time.monotonic) -> AsyncIterator[IssuerClient]:
    async with IssuerConnections(None) as connections:
        yield IssuerClient(issuer, connections, clock)


def sign_in(provider: OidcProvider, verifier: str = VERIFIER) -> str:
    """Return the authorization code that the provider sends to the browser."""
    query = {
        "client_id": CLIENT_ID, "redirect_uri": CALLBACK, "response_type": "code", "scope": "openid offline_access",
        "state": secrets.token_hex(16), "nonce": secrets.token_hex(16), "code_challenge_method": "S256",
        "code_challenge": base64url(hashlib.sha256(verifier.encode()).digest()),
    }  # fmt: skip
    answer = httpx2.get(f"{provider.issuer}/authorize?{urlencode(query)}")
    return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]


# Sign-in


async def test_a_code_becomes_tokens_that_can_be_refreshed(provider: OidcProvider):
    async with client_of(issuer_settings(provider, login=LOGIN)) as client:
        tokens = await client.exchange_code(sign_in(provider), VERIFIER, CALLBACK)
        assert claims_of(str(tokens.id_token))["sub"] == "00u1"
        assert (await client.userinfo(str(tokens.access_token)))["groups"] == ["ml"]
        again = await client.refresh(str(tokens.refresh_token))
        assert again.refresh_token not in (None, tokens.refresh_token)
    assert "s3cret" not in repr((client, tokens, again))


@pytest.mark.parametrize(
    ("methods", "has_header"),
    [(["client_secret_basic", "client_secret_post"], True), (["client_secret_post"], False), (None, True)],
)
async def test_the_secret_is_sent_as_the_provider_accepts_it(
    provider: OidcProvider, methods: list[str], has_header: bool
):
    provider.methods = methods
    async with client_of(issuer_settings(provider, login=LOGIN)) as client:
        await client.exchange_code(sign_in(provider), VERIFIER, CALLBACK)
    seen = provider.last("/token")
    assert ("authorization" in seen.headers, "client_secret" in seen.form) == (has_header, not has_header)


async def test_a_public_client_sends_no_secret(provider: OidcProvider):
    async with client_of(issuer_settings(provider, login=attrs.evolve(LOGIN, client_secret=None))) as client:
        with pytest.raises(IssuerUnavailable):
            await client.exchange_code(sign_in(provider), VERIFIER, CALLBACK)
    seen = provider.last("/token")
    assert (seen.form["client_id"], "client_secret" in seen.form) == (CLIENT_ID, False)


async def test_a_wrong_registration_is_not_the_end_of_a_persons_access(provider: OidcProvider):
    """A rotated client secret must not sign everybody out."""
    async with client_of(issuer_settings(provider, login=attrs.evolve(LOGIN, client_secret="old"))) as client:
        with pytest.raises(IssuerUnavailable, match=r"invalid_client\): check `login`"):
            await client.refresh("any")


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, b'{"error":"invalid_grant"}', IssuerRefused),
        (401, b'{"error":"invalid_grant"}', IssuerRefused),
        (400, b'{"error":"interaction_required"}', IssuerRefused),
        (400, b'{"error":"temporarily_unavailable"}', IssuerUnavailable),
        (400, b'{"error":"<script>alert(1)</script>"}', IssuerUnavailable),
        (400, b'{"error":{"a":1}}', IssuerUnavailable),
        (400, b"<html>", IssuerUnavailable),
        (429, b'{"error":"too_many_requests"}', IssuerUnavailable),
        (500, b'{"error":"invalid_grant"}', IssuerUnavailable),
        (503, b"", IssuerUnavailable),
        (200, b"[]", IssuerUnavailable),
        (200, b"<html>", IssuerUnavailable),
    ],
)
async def test_only_the_persons_own_errors_end_access(
    provider: OidcProvider, status: int, body: bytes, error: type[Exception]
):
    provider.faults["/token"] = Fault(status=status, body=body)
    async with client_of(issuer_settings(provider, login=LOGIN)) as client:
        with pytest.raises(error) as raised:
            await client.refresh("token-of-ada")
    assert "<script" not in str(raised.value)
    assert "token-of-ada" not in str(raised.value)
    assert status != 429 or str(raised.value).endswith("it returns status 429"), "no wrong registration"


async def test_tokens_that_are_no_text_do_not_count(provider: OidcProvider):
    body = {"access_token": 5, "id_token": ["x"], "refresh_token": ""}
    provider.faults["/token"] = Fault(body=json.dumps({**body, "access_token": "a"}).encode())
    async with client_of(issuer_settings(provider, login=LOGIN)) as client:
        tokens = await client.refresh("x")
        provider.faults["/token"] = Fault(body=json.dumps(body).encode())
        with pytest.raises(IssuerUnavailable, match="has no token"):
            await client.refresh("x")
    assert (tokens.access_token, tokens.id_token, tokens.refresh_token) == ("a", None, None)


_UNFIT = (
    b"[]", b"null", b"eyJhbGciOiJSUzI1NiJ9.e30.AA", b'{"sub":"a","name":"a\\u0000b"}', b'{"sub":"a","name":"\\ud800"}',
    b'{"sub":"a","sub":"b"}', b'{"sub":"a","x":1e999}', b'{"sub":"a","x":' + b"[" * 40 + b"]" * 40 + b"}",
)  # fmt: skip


@pytest.mark.parametrize("body", _UNFIT, ids=range(len(_UNFIT)))
async def test_userinfo_is_as_strict_as_a_token(provider: OidcProvider, body: bytes):
    provider.faults["/userinfo"] = Fault(body=body)
    async with client_of(issuer_settings(provider)) as client:
        with pytest.raises(IssuerUnavailable):
            await client.userinfo("token")


async def test_an_issuer_without_userinfo_adds_no_claims(provider: OidcProvider):
    provider.configuration["userinfo_endpoint"] = None
    async with client_of(issuer_settings(provider)) as client:
        assert await client.userinfo("token") == {}


# The discovery document


async def test_the_discovery_document_is_fetched_once_an_hour(provider: OidcProvider):
    clock = SetClock(0.0)
    async with client_of(issuer_settings(provider), clock) as client:
        for clock.now in (0.0, 10.0, 3599.0):
            await client.metadata()
        assert provider.count(CONFIGURATION) == 1
        clock.now = 3600.0
        provider.go_down()
        assert (await client.metadata()).token_endpoint, "the last one is used during an outage"


async def test_a_failed_discovery_is_repeated_after_five_seconds(provider: OidcProvider):
    clock = SetClock(0.0)
    provider.configuration["issuer"] = f"{provider.issuer}/"
    async with client_of(issuer_settings(provider), clock) as client:
        for clock.now in (0.0, 4.9):
            with pytest.raises(IssuerUnavailable, match="its `issuer` is not the configured one"):
                await client.metadata()
        assert provider.count(CONFIGURATION) == 1
        provider.configuration.clear()
        clock.now = 5.0
        assert (await client.metadata()).issuer == provider.issuer


async def test_an_issuer_with_a_path_has_its_document_below_it():
    with open_provider("/realms/acme") as provider:
        async with client_of(issuer_settings(provider)) as client:
            assert (await client.metadata()).jwks_uri == f"{provider.issuer}/jwks"
            assert (await client.fetch_keys()).keys.keys[0].id == "first"


async def test_the_file_may_name_a_server_on_this_machine_for_a_remote_issuer(provider: OidcProvider):
    """Such as ``kubectl proxy``. The issuer itself may not."""
    remote = attrs.evolve(
        issuer_settings(provider), issuer="https://kubernetes.default.svc", jwks=f"{provider.issuer}/jwks"
    )
    async with client_of(remote) as client:
        assert (await client.fetch_keys()).keys.keys


# The connection


@pytest.mark.parametrize(
    ("path", "fault", "reason"),
    [
        (CONFIGURATION, Fault(redirect="/elsewhere"), "redirects"),
        ("/jwks", Fault(redirect="/elsewhere"), "redirects"),
        ("/jwks", Fault(body=b" " * 20_000_000), "larger than the limit"),
    ],
)  # fmt: skip
async def test_no_redirect_is_followed_and_no_response_beyond_the_limit_is_read(
    provider: OidcProvider, path: str, fault: Fault, reason: str
):
    provider.faults[path] = fault
    async with client_of(issuer_settings(provider)) as client:
        with pytest.raises(IssuerUnavailable, match=reason):
            await client.fetch_keys()
    assert provider.count("/elsewhere") == 0


async def test_a_slow_issuer_has_its_deadline(provider: OidcProvider, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(issuer_http, "FETCH_SECONDS", 0.3)
    monkeypatch.setattr(issuer_http, "LATE_SECONDS", 0.2)
    provider.faults["/jwks"] = provider.faults["/token"] = Fault(hold=threading.Event())
    async with client_of(issuer_settings(provider, login=LOGIN)) as client:
        with trio.fail_after(30):
            with pytest.raises(IssuerUnavailable, match=r"no response within 0\.\d s"):
                await client.fetch_keys()
            with pytest.raises(IssuerUnavailable, match=r"no response within 0\.2 s"):
                await client.refresh("token")


async def test_a_file_of_keys_has_the_deadline_of_an_issuer(provider: OidcProvider, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(issuer_http, "FETCH_SECONDS", 0.1)
    file = tmp_path / "keys.json"
    os.mkfifo(file)  # as a file system that does not respond
    async with client_of(issuer_settings(provider, jwks=file)) as client:
        try:
            with trio.fail_after(30), pytest.raises(IssuerUnavailable, match=r"no response within 0\.2 s"):
                await client.fetch_keys()
        finally:
            os.close(os.open(file, os.O_WRONLY | os.O_NONBLOCK))  # ends the read


async def test_an_issuer_whose_port_is_closed_is_unavailable(provider: OidcProvider):
    gone = attrs.evolve(issuer_settings(provider), issuer="http://127.0.0.1:1")
    async with client_of(gone) as client:
        with pytest.raises(IssuerUnavailable, match="could not connect to the issuer: it refused the connection"):
            await client.fetch_keys()


async def test_the_certificate_authority_of_an_issuer_is_trusted_only_for_that_issuer(tmp_path: Path):
    authority = Authority(tmp_path)
    with open_provider(tls=authority.pair("issuer", *LOOPBACK)) as provider:
        async with client_of(issuer_settings(provider, fetch=IssuerFetch(ca=authority.root))) as client:
            assert (await client.fetch_keys()).keys.keys
        async with client_of(issuer_settings(provider)) as client:
            with pytest.raises(IssuerUnavailable, match="certificate is not trusted"):
                await client.fetch_keys()


async def test_a_replaced_certificate_authority_needs_no_restart(tmp_path: Path):
    """Kubernetes replaces the file when the cluster's authority rotates."""
    (tmp_path / "old").mkdir()
    old, new = Authority(tmp_path / "old"), Authority(tmp_path)
    file = tmp_path / "ca.crt"
    file.write_bytes(old.root.read_bytes())
    with open_provider(tls=new.pair("issuer", *LOOPBACK)) as provider:
        async with client_of(issuer_settings(provider, fetch=IssuerFetch(ca=file))) as client:
            with pytest.raises(IssuerUnavailable, match="not trusted"):
                await client.fetch_keys()
            file.unlink()
            with pytest.raises(IssuerUnavailable, match=r"cannot load the certificates in .*ca\.crt"):
                await client.fetch_keys()
            file.write_bytes(new.root.read_bytes())
            os.utime(file, ns=(0, 1))
            assert (await client.fetch_keys()).keys.keys


async def test_a_slow_file_system_of_the_certificate_authority_delays_no_other_task(tmp_path: Path):
    responds = threading.Event()

    class SlowFile(PosixPath):
        def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
            assert responds.wait(30), "other tasks could not run"
            return super().stat(follow_symlinks=follow_symlinks)

    authority = Authority(tmp_path)
    with open_provider(tls=authority.pair("issuer", *LOOPBACK)) as provider:
        fetch = IssuerFetch(ca=SlowFile(authority.root))
        async with client_of(issuer_settings(provider, fetch=fetch)) as client, trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, responds.set)
            assert (await client.fetch_keys()).keys.keys


async def test_no_request_is_sent_to_a_forbidden_address(provider: OidcProvider):
    """The address is checked after the connection, so a name that resolves to another one each time does not help."""
    asked: list[str] = []

    def permits(address: str) -> bool:
        asked.append(address)
        return False

    async with Upstream(permits_address=permits) as upstream:
        with pytest.raises(UpstreamError, match="not permitted"):
            await upstream.send(UpstreamRequest("GET", provider.issuer.replace("127.0.0.1", "localhost")))
    assert len(asked) == 1
    assert asked[0] in ("127.0.0.1", "::1")
    assert provider.seen == []


async def test_the_secret_is_form_encoded_in_the_header(provider: OidcProvider):
    """RFC 6749, section 2.3.1. Without the encoding, a secret with a colon or a percent sign fails."""
    provider.clients = {"a:b c": "p%+:\u00e4"}
    async with client_of(issuer_settings(provider, login=IssuerLogin("a:b c", "p%+:\u00e4"))) as client:
        with pytest.raises(IssuerRefused):
            await client.refresh("unknown")
    sent = base64.b64decode(provider.last("/token").headers["authorization"].split()[1]).decode()
    assert sent == "a%3Ab+c:p%25%2B%3A%C3%A4"
