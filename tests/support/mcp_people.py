"""People who sign in at the stand-in's issuer, with the client of MCP's SDK or with requests of their own."""

import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import attrs
import httpx2
from mcp.client import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from tests.support.harness import PATIENCE
from tests.support.no_tls import NO_TLS

REDIRECT: Final = "http://127.0.0.1:9/callback"
VERIFIER: Final = "v" * 43
CHALLENGE: Final = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


def authorization(**changed: str) -> dict[str, str]:
    """Return the parameters of a request for a code, with those that are ``changed``."""
    own = {"response_type": "code", "client_id": "test", "redirect_uri": REDIRECT, "login_hint": "ada"}
    return {**own, "code_challenge": CHALLENGE, "code_challenge_method": "S256", **changed}


def redemption(code: str) -> dict[str, str]:
    """Return the form that redeems ``code``."""
    own = {"grant_type": "authorization_code", "client_id": "test", "redirect_uri": REDIRECT}
    return {**own, "code": code, "code_verifier": VERIFIER}


async def sign_in(issuer: str, person: str, **parameters: str) -> dict[str, Any]:
    """Return the issuer's response with the tokens of ``person``."""
    async with httpx2.AsyncClient(base_url=issuer, timeout=PATIENCE, verify=NO_TLS, trust_env=False) as http:
        found = await http.get("/authorize", params=authorization(login_hint=person, **parameters))
        answer = dict(parse_qsl(urlsplit(found.headers["location"]).query))
        granted: dict[str, Any] = (await http.post("/token", data=redemption(answer["code"]))).json()
        return granted


@attrs.define
class Browser:
    """The browser of ``person``, with the storage of the SDK's client."""

    person: str
    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None
    requested: dict[str, str] = attrs.field(factory=dict)
    """The parameters with which the client sent the person to the issuer."""
    location: str = ""

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info

    async def open(self, url: str) -> None:
        """Sign in at the page ``url`` of the issuer."""
        self.requested = dict(parse_qsl(urlsplit(url).query))
        async with httpx2.AsyncClient(timeout=PATIENCE, verify=NO_TLS, trust_env=False) as http:
            self.location = (await http.get(f"{url}&login_hint={self.person}")).headers["location"]

    async def wait(self) -> AuthorizationCodeResult:
        answer = dict(parse_qsl(urlsplit(self.location).query))
        return AuthorizationCodeResult(code=answer["code"], state=answer["state"], iss=answer["iss"])


@contextlib.asynccontextmanager
async def signed_in_client(url: str, browser: Browser) -> AsyncIterator[Client]:
    """Connect to the MCP server at ``url`` without a credential, so that the client signs in with ``browser``."""
    own = OAuthClientMetadata(redirect_uris=[REDIRECT], token_endpoint_auth_method="none")
    auth = OAuthClientProvider(url, own, browser, browser.open, browser.wait)
    async with (
        httpx2.AsyncClient(auth=auth, timeout=PATIENCE, verify=NO_TLS, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client
