"""Sign-in and sign-out of browsers: the authorization code flow with PKCE, and the session's cookie."""

import logging
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from gateway.config.settings import Config
from gateway.config.unlisted import Caller
from gateway.exchange.service import Service
from gateway.features.people.html import PRIVATE_PAGE, html_page, redirect
from gateway.features.people.issuer_http import IssuerClient, IssuerRefused, IssuerUnavailable
from gateway.features.people.issuers import IssuerDirectory
from gateway.features.people.oauth.browser_sessions import cookie_caller, has_key, shown_name
from gateway.features.people.oauth.context import SignInContext, program_of
from gateway.features.people.oauth.cookies import (
    SESSION,
    SIGN_IN_SECONDS,
    new_cookie_value,
    read_cookie,
    read_sign_in_cookies,
    set_cookie,
    sign_in_cookie,
)
from gateway.features.people.oauth.errors import OAuthError, PageError
from gateway.features.people.oauth.forms import Form, parse_query, read_form
from gateway.features.people.oauth.pages import PAGES, login_link
from gateway.features.people.oauth.paths import CALLBACK
from gateway.features.people.oauth.sign_in_states import SignIn, StateRefused
from gateway.features.people.records import digest_of
from gateway.features.people.rules import NotAdmitted, required_claims
from gateway.features.people.sessions import OpenSession, PersonBlocked
from gateway.features.people.settings import IssuerLogin, TrustedIssuer, people_keys
from gateway.features.people.token_format import TokenRefused
from gateway.features.people.tokens import CannotJudge
from gateway.http.headers import Headers, bearer_token
from gateway.http.response import Response
from gateway.serving.incoming_request import IncomingRequest, PiecesRequest

log = logging.getLogger("trigate.people")

HOME: Final = "/ui"
LONGEST: Final = 500

_OWN: Final = re.compile(r"/(?:ui|device|me|admin)(?:[/?][A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?")
"""The gateway's pages. Browsers read ``//``, ``/\\`` and tabs as the start of another host, so paths begin with a known
name, and contain only characters that URLs permit."""


def safe_return_path(text: str) -> str:
    """Return ``text`` if it is a path of one of the gateway's pages, otherwise ``/ui``."""
    return text if len(text) <= LONGEST and _OWN.fullmatch(text) else HOME


_UNAVAILABLE: Final = "The gateway cannot reach {} at the moment. Try again in a minute."
_NOT_VERIFIED: Final = (
    "{} sent an answer that the gateway does not accept: {}. Try again. If it happens again, ask the gateway's "
    "operator."
)
_AGAIN: Final = "{} Sign in again."
_DENIED: Final = "{} did not sign you in ({})."
_CODES: Final = frozenset(
    ("access_denied", "login_required", "consent_required", "interaction_required", "temporarily_unavailable",
     "server_error", "invalid_request", "invalid_scope", "unauthorized_client", "unsupported_response_type")
)  # fmt: skip
"""The error codes of issuers that a page repeats; other texts may come from anyone."""


def browser_of(headers: Headers, path: str) -> str:
    """Return the random value that identifies the browser during sign-ins: its cookie's, or a new one.

    Sign-ins in several tabs share it."""
    return next(iter(read_sign_in_cookies(headers, path)), None) or new_cookie_value()


class IssuerSignIns:
    """Sign-ins at the issuers with a ``login`` (OpenID Connect Core 1.0). ``redirect_uri`` is the gateway's
    callback."""

    def __init__(self, issuers: IssuerDirectory, redirect_uri: str) -> None:
        self._issuers = issuers
        self._redirect_uri = redirect_uri

    async def address(self, issuer: TrustedIssuer, state: str, sign_in: SignIn) -> str:
        """Return the issuer's address to send the browser to. Raises ``PageError`` (503)."""
        client, login = self._client(issuer), _login_of(issuer)
        try:
            endpoint = (await client.metadata()).authorization_endpoint
        except IssuerUnavailable as error:
            raise _unavailable(issuer, error, sign_in.path) from None
        if endpoint is None:
            raise _unavailable(issuer, "its discovery document has no `authorization_endpoint`", sign_in.path)
        parameters = {
            **login.params,
            "response_type": "code",
            "response_mode": "query",
            "client_id": login.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(login.scopes),
            "state": state,
            "nonce": sign_in.nonce,
            "code_challenge": sign_in.challenge,
            "code_challenge_method": "S256",
        }
        return _with_query(endpoint, parameters)

    async def check_sender(self, issuer: TrustedIssuer, sign_in: SignIn, iss: str | None) -> None:
        """Check ``iss`` of a redirect to the callback (RFC 9207): another issuer may have sent it.

        Raises ``PageError``."""
        try:
            must_have = (await self._client(issuer).metadata()).sends_issuer
        except IssuerUnavailable as error:
            raise _unavailable(issuer, error, sign_in.path) from None
        if iss != issuer.issuer and (must_have or iss is not None):
            message = _NOT_VERIFIED.format(issuer.name, "its answer names another issuer (`iss`)")
            raise PageError(message, retry=sign_in.path)

    async def finish(self, issuer: TrustedIssuer, sign_in: SignIn, code: str) -> tuple[Mapping[str, Any], str | None]:
        """Return the verified claims of the person who signed in, and the issuer's refresh token, which is secret.

        Raises ``PageError`` (400, 503)."""
        client = self._client(issuer)
        try:
            tokens = await client.exchange_code(code, sign_in.verifier, self._redirect_uri)
            required = required_claims(issuer)
            claims = await self._issuers.claims_of(client, tokens, required, time.time(), sign_in.nonce)
        except IssuerRefused as error:
            message = f"{issuer.name} did not accept the sign-in ({error.code}). Start again."
            raise PageError(message, retry=sign_in.path) from None
        except TokenRefused as error:
            raise PageError(_NOT_VERIFIED.format(issuer.name, error.message), retry=sign_in.path) from None
        except (IssuerUnavailable, CannotJudge) as error:
            raise _unavailable(issuer, error, sign_in.path) from None
        return claims, tokens.refresh_token

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


def _with_query(url: str, parameters: Mapping[str, str]) -> str:
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(parameters)}"


def _login_of(issuer: TrustedIssuer) -> IssuerLogin:
    assert issuer.login is not None, "the sign-in began with one"
    return issuer.login


def _unavailable(issuer: TrustedIssuer, reason: object, retry: str) -> PageError:
    log.warning("sign-in at %s is not possible: %s", issuer.name, reason)
    return PageError(_UNAVAILABLE.format(issuer.name), 503, title="Sign-in is not possible", retry=retry)


class BrowserSignIn:
    """The sign-in of browsers for one configuration."""

    def __init__(self, context: SignInContext) -> None:
        self._context = context
        self._redirect_uri = context.external.url + CALLBACK
        self._issuers = IssuerSignIns(context.issuers, self._redirect_uri)

    # Sign-in

    async def start(self, incoming: PiecesRequest) -> Response:
        """Send a browser to an issuer, or show the choice between several."""
        query = parse_query(incoming.query)
        path = safe_return_path(query.get("return", HOME))
        return await self.begin(browser_of(incoming.headers, self._context.external.path), path, query.get("issuer"))

    async def send_to_sign_in(self, headers: Headers, path: str) -> Response:
        """Return the response to a browser that opened the page at ``path`` without a session. Never raises."""
        try:
            return await self.begin(browser_of(headers, self._context.external.path), safe_return_path(path))
        except PageError as error:
            return self._context.error_page(error)

    async def begin(self, browser: str, path: str, issuer_name: str | None = None) -> Response:
        """Return the redirect of a browser to an issuer, to return to ``path`` after the sign-in.

        ``browser`` is the value of its cookie for sign-ins. Without ``issuer_name``, several issuers are a choice.
        Raises ``PageError`` (400, 503)."""
        context = self._context
        links = [(one.name, login_link(path, one.name)) for one in context.login_issuers]
        cookie = set_cookie(sign_in_cookie(browser), browser, SIGN_IN_SECONDS, context.external.path)
        if issuer_name is None and len(links) > 1:
            content = PAGES.issuer_choice(links, offers_key=context.has_ui_key)
            return html_page("Sign in", content, context.external, headers=(cookie,))
        issuer = context.login_issuers[0] if issuer_name is None else self._issuer(issuer_name)
        state, begun = context.states.begin(browser, issuer.name, path, time.time())
        address = await self._issuers.address(issuer, state, begun)
        return redirect(address, (cookie,), 302)

    def _issuer(self, name: str) -> TrustedIssuer:
        for issuer in self._context.login_issuers:
            if issuer.name == name:
                return issuer
        raise PageError("The gateway has no sign-in with this issuer.", retry=HOME)

    async def finish(self, incoming: PiecesRequest) -> Response:
        """Handle the redirect from an issuer: check it, and set the cookie of a new session.

        A redirect without a sign-in of this browser counts as no failure: any page can cause one, and it uses neither
        the storage nor an issuer."""
        context, address = self._context, incoming.scope.address
        query = parse_query(incoming.query)
        try:
            sign_in, issuer = self._open(
                query.get("state", ""), read_sign_in_cookies(incoming.headers, context.external.path)
            )
        except PageError as error:
            context.log_refusal("sign_in_failed", incoming, reason=error.message)
            raise
        async with context.limits.failures.attempt(context.counters, address) as attempt:
            try:
                with context.limits.finishing.hold(address):
                    return await self._finish(incoming, query, sign_in, issuer)
            except PageError as error:
                attempt.counts = error.status < 500
                context.log_refusal("sign_in_failed", incoming, reason=error.message)
                raise

    async def _finish(self, incoming: PiecesRequest, query: Form, sign_in: SignIn, issuer: TrustedIssuer) -> Response:
        await self._issuers.check_sender(issuer, sign_in, query.get("iss"))
        if not await self._context.store.use_once(sign_in.digest, sign_in.until):
            raise PageError(_AGAIN.format("This sign-in was used already."), retry=sign_in.path)
        if "error" in query or not query.get("code"):
            code = query.get("error", "")
            shown = code if code in _CODES else "no reason"
            raise PageError(
                _DENIED.format(issuer.name, shown), 403 if code == "access_denied" else 400, retry=sign_in.path
            )
        claims, refresh_token = await self._issuers.finish(issuer, sign_in, query["code"])
        return await self._open_session(incoming, sign_in, claims, refresh_token)

    def _open(self, state: str, browsers: Sequence[str]) -> tuple[SignIn, TrustedIssuer]:
        """Return the sign-in of a callback's ``state``, and its issuer. Raises ``PageError``."""
        try:
            sign_in = self._context.states.open(state, browsers, time.time())
        except StateRefused as error:
            raise PageError(_AGAIN.format(error), retry=HOME) from None
        return sign_in, self._issuer(sign_in.issuer)

    async def _open_session(
        self, incoming: PiecesRequest, sign_in: SignIn, claims: Mapping[str, Any], refresh_token: str | None
    ) -> Response:
        """Return the redirect to the page where the sign-in began, with the cookie of a new session.

        The browser's old session ends, so no cookie from before the sign-in stays valid (CWE-384)."""
        context, cookie = self._context, new_cookie_value()
        refused: NotAdmitted | None = None
        try:
            opened = await context.sessions.sign_in(
                sign_in.issuer, claims, refresh_token, cookie=cookie,
                old_cookie=read_cookie(incoming.headers, SESSION, context.external.path),
                program=program_of(incoming.headers),
                address=incoming.scope.address or "",
            )  # fmt: skip
        except NotAdmitted as error:
            refused = error
        except PersonBlocked as error:
            raise PageError(f"{error}", 403, title="No access") from None
        if refused is not None:
            page = await self._issuers.sign_out_address(sign_in.issuer)
            other = None if page is None else (sign_in.issuer, page)
            raise PageError(refused.info.message, 403, title="No access", retry=HOME, issuer_logout=other)
        person = opened.person
        context.log_event("signed_in", incoming, client=person.name, role=person.role, session=opened.session.id)
        seconds = opened.session.until - time.time()
        session = set_cookie(SESSION, cookie, seconds, context.external.path)
        return redirect(context.external.url + sign_in.path, (session,))

    async def session(self, headers: Headers) -> OpenSession | None:
        """Return the session of a browser, ``None`` without a valid one. Raises ``Unavailable``."""
        cookie = read_cookie(headers, SESSION, self._context.external.path)
        return None if cookie is None else await self._context.sessions.browser_session(cookie)

    # Sign-out

    async def ask_sign_out(self, incoming: PiecesRequest) -> Response:
        """Show the button that ends the session. A link alone changes nothing."""
        found = await self.session(incoming.headers)
        content = PAGES.not_signed_in() if found is None else PAGES.sign_out_question(shown_name(found))
        return html_page("Sign out", content, self._context.external)

    async def sign_out(self, incoming: PiecesRequest) -> Response:
        """End the session of the browser, in every process, and link the issuer's own sign-out.

        A program sends its session's token instead of a cookie, and gets 204."""
        if token := bearer_token(incoming.headers):
            return await self._sign_out_program(incoming, token)
        await read_form(incoming)
        cookie = read_cookie(incoming.headers, SESSION, self._context.external.path)
        found = None if cookie is None else await self._context.store.session_of_cookie(digest_of(cookie))
        issuer_name, issuer_page = None, None
        if found is not None:  # also without its issuer, which could not confirm the person now
            session, origin = found
            await self._context.end_session(session.person, session.id)
            self._context.log_event("signed_out", incoming, client=session.person, session=session.id)
            issuer_name, issuer_page = origin.issuer, await self._issuers.sign_out_address(origin.issuer)
        content = PAGES.signed_out(issuer_name, issuer_page)
        ended = set_cookie(SESSION, "", 0, self._context.external.path)
        return html_page("Signed out", content, self._context.external, headers=(ended,))

    async def _sign_out_program(self, incoming: PiecesRequest, token: str) -> Response:
        """End the session of a token. Raises ``OAuthError`` (401)."""
        context = self._context
        try:
            found = context.sessions.tokens.read(token, time.time())
        except TokenRefused as error:
            raise OAuthError("invalid_token", error.message, 401) from None
        await context.end_session(found.person, found.session)
        context.log_event("signed_out", incoming, client=found.person, session=found.session)
        return Response(204, PRIVATE_PAGE)


class SignedInCallers:
    """The callers who sign in at an issuer, for one configuration."""

    def __init__(self, config: Config, service: Service) -> None:
        self._config = config
        self._service = service
        self.seconds: Final = people_keys(config).sessions.token
        """The lifetime of a session's token."""
        self._browser = BrowserSignIn(SignInContext(config, service))

    def sends_key(self, headers: Headers) -> bool:
        """Return whether a request has a key or a token, which counts instead of the cookie."""
        return has_key(self._config, headers)

    async def caller(self, incoming: IncomingRequest) -> Caller | None:
        """Return the person of the cookie, ``None`` without a valid one.

        Raises ``GatewayError`` and ``Unavailable``."""
        return await cookie_caller(self._config, self._service, incoming)

    async def send_to_sign_in(self, headers: Headers, path: str) -> Response:
        """Return the redirect to an issuer, which returns to the page at ``path``. Never raises."""
        return await self._browser.send_to_sign_in(headers, path)
