"""Sign-ins at issuers (OpenID Connect Core 1.0): the address to send a browser to, and the person's claims."""

import hmac
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import attrs

from gateway.config.issuers import IssuerLogin, TrustedIssuer
from gateway.endpoints.oauth.errors import PageError
from gateway.endpoints.oauth.sign_in_states import SignIn
from gateway.people.issuer_http import IssuerClient, IssuerRefused, IssuerTokens, IssuerUnavailable
from gateway.people.issuers import IssuerDirectory
from gateway.people.rules import GROUPS
from gateway.people.tokens import CannotJudge, TokenRefused

log = logging.getLogger("trigate.people")

_UNAVAILABLE: Final = "The gateway cannot reach {} at the moment. Try again in a minute."
_NOT_VERIFIED: Final = (
    "{} sent an answer that the gateway does not accept: {}. Try again. If it happens again, ask the gateway's "
    "operator."
)


@attrs.frozen(repr=False)
class SignedIn:
    """The result of a sign-in: verified ``claims``, and the issuer's refresh token, which is secret."""

    claims: Mapping[str, Any]
    refresh_token: str | None


class IssuerSignIns:
    """Sign-ins at the issuers with a ``login``. ``redirect_uri`` is the gateway's callback."""

    def __init__(self, issuers: IssuerDirectory, redirect_uri: str) -> None:
        self._issuers = issuers
        self._redirect_uri = redirect_uri

    async def address(self, issuer: TrustedIssuer, state: str, begun: SignIn) -> str:
        """Return the issuer's address to send the browser to. Raises ``PageError`` (503)."""
        client, login = self._client(issuer), _login_of(issuer)
        try:
            endpoint = (await client.metadata()).authorization_endpoint
        except IssuerUnavailable as error:
            raise _unavailable(issuer, error, begun.path) from None
        if endpoint is None:
            raise _unavailable(issuer, "its discovery document has no `authorization_endpoint`", begun.path)
        parameters = {
            **login.params,
            "response_type": "code",
            "response_mode": "query",
            "client_id": login.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(login.scopes),
            "state": state,
            "nonce": begun.nonce,
            "code_challenge": begun.challenge,
            "code_challenge_method": "S256",
        }
        return _with_query(endpoint, parameters)

    async def check_sender(self, issuer: TrustedIssuer, iss: str | None) -> None:
        """Check ``iss`` of a redirect to the callback (RFC 9207): another issuer may have sent it.

        Raises ``PageError``."""
        try:
            must_have = (await self._client(issuer).metadata()).sends_issuer
        except IssuerUnavailable as error:
            raise _unavailable(issuer, error, None) from None
        if iss != issuer.issuer and (must_have or iss is not None):
            raise PageError(_NOT_VERIFIED.format(issuer.name, "its answer names another issuer (`iss`)"))

    async def finish(self, issuer: TrustedIssuer, begun: SignIn, code: str) -> SignedIn:
        """Return the claims of the person who signed in. Raises ``PageError`` (400, 503)."""
        client = self._client(issuer)
        try:
            tokens = await client.exchange_code(code, begun.verifier, self._redirect_uri)
            claims = await self._verified_claims(issuer, begun, tokens)
            if any(name not in claims for name in needed_claim_names(issuer)) and tokens.access_token is not None:
                claims = self._merge(issuer, claims, await client.userinfo(tokens.access_token))
        except IssuerRefused as error:
            raise PageError(f"{issuer.name} did not accept the sign-in ({error.code}). Start again.") from None
        except (IssuerUnavailable, CannotJudge) as error:
            raise _unavailable(issuer, error, begun.path) from None
        return SignedIn(claims, tokens.refresh_token)

    async def _verified_claims(self, issuer: TrustedIssuer, begun: SignIn, tokens: IssuerTokens) -> Mapping[str, Any]:
        """Return the claims of the ID token. Raises ``PageError`` and ``CannotJudge``."""
        if tokens.id_token is None:
            raise PageError(_NOT_VERIFIED.format(issuer.name, "it has no ID token"))
        client_id, now = _login_of(issuer).client_id, time.time()
        await self._issuers.prepare_id_token(tokens.id_token, issuer.name, client_id, now)
        try:
            claims = self._issuers.check_id_token(tokens.id_token, issuer.name, client_id, now).values
        except TokenRefused as error:
            raise PageError(_NOT_VERIFIED.format(issuer.name, error.message)) from None
        nonce = claims.get("nonce")
        if not isinstance(nonce, str) or not hmac.compare_digest(
            nonce.encode("utf-8", "replace"), begun.nonce.encode()
        ):
            raise PageError(_NOT_VERIFIED.format(issuer.name, "the ID token belongs to another sign-in (`nonce`)"))
        return claims

    def _merge(self, issuer: TrustedIssuer, claims: Mapping[str, Any], more: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return ``claims`` with those of userinfo that they lack, if it is about the same person.

        OpenID Connect Core 1.0, section 5.3.2: a response about another ``sub`` must not be used."""
        if more and (not isinstance(more.get("sub"), str) or more.get("sub") != claims.get("sub")):
            raise PageError(_NOT_VERIFIED.format(issuer.name, "its userinfo is about another person (`sub`)"))
        return {**more, **claims}

    async def sign_out_address(self, issuer_name: str) -> str | None:
        """Return the address of an issuer's sign-out (OpenID Connect RP-Initiated Logout 1.0), if it has one."""
        client = self._issuers.clients.get(issuer_name)
        if client is None or client.issuer.login is None:
            return None
        try:
            endpoint = (await client.metadata()).end_session_endpoint
        except IssuerUnavailable:
            return None
        return None if endpoint is None else _with_query(endpoint, {"client_id": client.issuer.login.client_id})

    def _client(self, issuer: TrustedIssuer) -> IssuerClient:
        return self._issuers.clients[issuer.name]


def needed_claim_names(issuer: TrustedIssuer) -> Iterator[str]:
    """Yield the names of the top-level claims that the issuer's rules and the person's names come from."""
    names = issuer.claims
    rules = (path for rule in issuer.admit for path in rule.when)
    for path in (names.name, names.label, *(names.groups if path == GROUPS else path for path in rules)):
        yield path[1:].partition("/")[0].replace("~1", "/").replace("~0", "~") if path.startswith("/") else path


def _with_query(url: str, parameters: Mapping[str, str]) -> str:
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(parameters)}"


def _login_of(issuer: TrustedIssuer) -> IssuerLogin:
    assert issuer.login is not None, "the sign-in began with one"
    return issuer.login


def _unavailable(issuer: TrustedIssuer, reason: object, retry: str | None) -> PageError:
    log.warning("sign-in at %s is not possible: %s", issuer.name, reason)
    return PageError(_UNAVAILABLE.format(issuer.name), 503, title="Sign-in is not possible", retry=retry)
