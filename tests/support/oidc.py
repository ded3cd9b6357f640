"""A strict OpenID Connect provider for tests, on a real socket: it rejects whatever the standards let it reject.

It implements OpenID Connect Core 1.0 and Discovery 1.0, the authorization code flow (RFC 6749) with PKCE (RFC 7636,
only S256), ``iss`` in the redirect (RFC 9207), rotation of refresh tokens with detection of reuse (RFC 9700, section
4.14.2), userinfo and sign-out. ``faults`` makes its endpoints fail, ``wrong`` its ID tokens.

```python
with open_provider() as provider:
    provider.people["ada"] = {"sub": "00u1", "email": "ada@example.com", "groups": ["ml"]}
    provider.signed_in = "ada"              # authorizes without a login page
    provider.token(sub="00u1", groups=["ml"])          # a token for the audience "trigate"
    provider.rotate()                                  # another key signs from now on
    provider.faults["/jwks"] = Fault(status=500)       # also slow, gone, redirect, body
    provider.count("/jwks")                            # how often a path was requested
```
"""

import base64
import binascii
import contextlib
import hashlib
import html
import json
import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

import attrs

from tests.support.certificates import Pair
from tests.support.http_servers import QuietHandler, http_server
from tests.support.signed_tokens import SigningKey, base64url, mint, signing_key

CLIENT_ID: Final = "trigate-client"
CLIENT_SECRET: Final = "s3cret of the/client+"  # form-encoding changes it, so a client that forgets to encode fails
AUDIENCE: Final = "trigate"
CODE_SECONDS: Final = 60
ACCESS_SECONDS: Final = 300
TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
CONFIGURATION: Final = "/.well-known/openid-configuration"
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")


@attrs.frozen
class Fault:
    """The fault of an endpoint: another ``status`` or ``body``, a ``redirect``, a closed connection (``gone``), or a
    response that waits until ``hold`` is set."""

    status: int = 200
    body: bytes | None = None
    content_type: str = "text/html"
    redirect: str | None = None
    gone: bool = False
    hold: threading.Event | None = None


@attrs.frozen
class SeenRequest:
    """A request that arrived: its ``form`` has the parameters of its body, ``path`` is below the issuer's URL."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    form: Mapping[str, str]


@attrs.frozen
class Reply:
    """A response of the provider."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


@attrs.frozen
class Grant:
    """The parameters of an authorization request, and the person who signed in."""

    user: str
    redirect_uri: str
    challenge: str
    nonce: str | None
    scopes: frozenset[str]
    at: float = attrs.field(factory=time.time)
    family: str = attrs.field(factory=lambda: secrets.token_urlsafe(8))


class RequestRefused(Exception):
    """A request that the provider refuses, with an OAuth error code."""

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.status = status


def _json(value: Any, status: int = 200) -> Reply:
    headers = (("content-type", "application/json"), ("cache-control", "no-store"), ("pragma", "no-cache"))
    return Reply(status, json.dumps(value).encode(), headers)


def _page(text: str, status: int = 200) -> Reply:
    page = (
        f"<!doctype html><html lang=en><title>Example ID</title><link rel=icon href='data:,'><main>{text}</main></html>"
    )
    return Reply(status, page.encode(), (("content-type", "text/html; charset=utf-8"),))


@attrs.define(eq=False)
class OidcProvider:
    """The provider. Tests change its attributes while it runs."""

    issuer: str
    people: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    """Claims by the name to type on the login page. They may change: the next token has the new ones."""
    signed_in: str | None = None
    """The person who is signed in at the provider already; without one, a page with a form asks."""
    denies: bool = False
    redirect_uris: set[str] = attrs.field(factory=set)
    clients: dict[str, str] = attrs.field(factory=lambda: {CLIENT_ID: CLIENT_SECRET})
    methods: list[str] = attrs.field(factory=lambda: ["client_secret_basic", "client_secret_post"])
    """The methods of client authentication that it accepts and lists in its configuration; may be ``None``."""
    keys: list[SigningKey] = attrs.field(factory=lambda: [signing_key()])
    """The published keys; the last one signs."""
    jwks_headers: dict[str, str] = attrs.field(factory=dict)
    """More headers of the key set, such as ``cache-control``."""
    key_set_token: str | None = None
    """The bearer token that the configuration and the key set require, as a Kubernetes API server does."""
    faults: dict[str, Fault] = attrs.field(factory=dict)
    wrong: dict[str, Any] = attrs.field(factory=dict)
    """Claims that replace those of ID tokens, such as ``nonce``, ``iss`` and ``aud``; ``None`` removes one."""
    userinfo: dict[str, Any] = attrs.field(factory=dict)
    """Claims that replace those of userinfo."""
    only_userinfo: frozenset[str] = frozenset()
    """Claims that userinfo alone has, and no ID token."""
    configuration: dict[str, Any] = attrs.field(factory=dict)
    """Members that replace those of the configuration; ``None`` removes one."""
    gives_refresh_tokens: bool = True
    rotates: bool = True
    revoked: set[str] = attrs.field(factory=set)
    """Users whose refresh tokens are refused."""
    seen: list[SeenRequest] = attrs.field(factory=list)
    _codes: dict[str, Grant] = attrs.field(factory=dict)
    _spent: dict[str, str] = attrs.field(factory=dict)
    _access: dict[str, tuple[Grant, float]] = attrs.field(factory=dict)
    _refresh: dict[str, Grant] = attrs.field(factory=dict)
    _lock: Any = attrs.field(factory=threading.RLock)

    # For tests

    def token(self, key: SigningKey | None = None, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """Return a token of this issuer for the audience of the tests; ``claims`` replace or, as ``None``, remove."""
        return mint({"iss": self.issuer, "aud": AUDIENCE, **claims}, key or self.keys[-1], header)

    def new_refresh_token(self, user: str) -> str:
        """Return a refresh token of a sign-in of ``user``."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._refresh[token] = Grant(user, "", "", None, frozenset(("openid", "offline_access")))
        return token

    def rotate(self, kid: str | None = None, alg: str = "RS256", *, keep: bool = True) -> SigningKey:
        """Sign with another key from now on, and return it. Without ``keep`` the old keys leave the set."""
        key = signing_key(kid or f"key-{len(self.keys) + 1}", alg)
        self.keys = [*(self.keys if keep else ()), key]
        return key

    def count(self, path: str) -> int:
        """Return how often ``path`` was requested."""
        return sum(one.path == path for one in self.seen)

    @property
    def refresh_tokens(self) -> list[str]:
        """The refresh tokens that it issued and that still work."""
        return list(self._refresh)

    def last(self, path: str) -> SeenRequest:
        return next(one for one in reversed(self.seen) if one.path == path)

    def go_down(self) -> None:
        """Close every connection without a response, until ``faults`` is cleared."""
        for path in (CONFIGURATION, *_HANDLERS):
            self.faults[path] = Fault(gone=True)

    # Responses

    def answer(self, received: SeenRequest) -> Reply | None:
        """Return the response, or none to close the connection."""
        self.seen.append(received)
        fault = self.faults.get(received.path)
        if fault is not None:
            if fault.hold is not None:
                fault.hold.wait(30)
            if fault.gone:
                return None
            if fault.redirect is not None:
                return Reply(302, b"", (("location", fault.redirect),))
            if fault.body is not None or fault.status != 200:
                return Reply(fault.status, fault.body or b"fault", (("content-type", fault.content_type),))
        handler = _HANDLERS.get(received.path)
        if handler is None:
            return _json({"error": "not_found"}, 404)
        try:
            with self._lock:
                reply: Reply = handler(self, received)
                return reply
        except RequestRefused as refused:
            reply = _json({"error": refused.code, "error_description": refused.description}, refused.status)
            challenge = (("www-authenticate", "Basic"),) if refused.status == 401 else ()
            return attrs.evolve(reply, headers=(*reply.headers, *challenge))

    def configuration_page(self, received: SeenRequest) -> Reply:
        self._check_bearer(received)
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
            "end_session_endpoint": f"{self.issuer}/logout",
            "scopes_supported": ["openid", "email", "groups", "offline_access"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": sorted({key.alg for key in self.keys}),
            "token_endpoint_auth_methods_supported": self.methods,
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            **self.configuration,
        }
        return _json({name: value for name, value in document.items() if value is not None})

    def key_set(self, received: SeenRequest) -> Reply:
        self._check_bearer(received)
        reply = _json({"keys": [key.jwk() for key in self.keys]})
        return attrs.evolve(reply, headers=(("content-type", "application/json"), *self.jwks_headers.items()))

    def _check_bearer(self, received: SeenRequest) -> None:
        if self.key_set_token is not None and received.headers.get("authorization") != f"Bearer {self.key_set_token}":
            raise RequestRefused("unauthorized", "a bearer token is required", 401)

    # Authorization endpoint

    def authorize(self, received: SeenRequest) -> Reply:
        """Show the login page, or redirect if someone is signed in."""
        asked = received.query
        if asked.get("client_id") not in self.clients or asked.get("redirect_uri") not in self.redirect_uris:
            return _page(f"unknown client or redirect: {html.escape(repr(dict(asked)))}", 400)
        try:
            self._check_authorization(asked)
        except RequestRefused as refused:
            return self._redirect(asked, {"error": refused.code, "error_description": refused.description})
        if self.denies:
            return self._redirect(asked, {"error": "access_denied"})
        if received.method == "POST" or self.signed_in is not None:
            user = received.form.get("user", self.signed_in)
            if user in self.people:
                return self._redirect(asked, {"code": self._new_code(str(user), asked)})
        if asked.get("prompt") == "none":
            return self._redirect(asked, {"error": "login_required"})
        return _page(
            f"<h1>Sign in to Example ID</h1><form method=post action='?{html.escape(urlencode(asked))}'>"
            "<label>Name <input name=user autofocus></label> <button>Sign in</button></form>"
        )

    def _check_authorization(self, query: Mapping[str, str]) -> None:
        if query.get("response_type") != "code":
            raise RequestRefused("unsupported_response_type", "only code")
        if query.get("response_mode", "query") != "query":
            raise RequestRefused("invalid_request", "only response_mode query")
        if "openid" not in query.get("scope", "").split():
            raise RequestRefused("invalid_scope", "openid is missing")
        if len(query.get("state", "")) < 16 or len(query.get("nonce", "")) < 16:
            raise RequestRefused("invalid_request", "state and nonce must be random")
        if query.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(query.get("code_challenge", "")):
            raise RequestRefused("invalid_request", "PKCE with S256 is required")

    def _new_code(self, user: str, query: Mapping[str, str]) -> str:
        code = secrets.token_urlsafe(24)
        self._codes[code] = Grant(
            user, query["redirect_uri"], query["code_challenge"], query.get("nonce"), frozenset(query["scope"].split())
        )
        return code

    def _redirect(self, query: Mapping[str, str], answer: Mapping[str, str]) -> Reply:
        parameters = {**answer, "state": query.get("state", ""), "iss": self.issuer}
        return Reply(302, b"", (("location", f"{query['redirect_uri']}?{urlencode(parameters)}"),))

    # Token endpoint

    def grant_tokens(self, received: SeenRequest) -> Reply:
        self._check_client(received)
        form = received.form
        if form.get("grant_type") == "authorization_code":
            return self._answer_grant(self._redeem_code(form), with_nonce=True)
        if form.get("grant_type") == "refresh_token":
            return self._answer_grant(self._redeem_refresh_token(form), with_nonce=False)
        if form.get("grant_type") == TOKEN_EXCHANGE:
            return self._exchange(form)
        raise RequestRefused("unsupported_grant_type", str(form.get("grant_type")))

    def _exchange(self, form: Mapping[str, str]) -> Reply:
        """Return a token for another audience (RFC 8693), with the name of its person."""
        if form.get("subject_token_type") != "urn:ietf:params:oauth:token-type:access_token":
            raise RequestRefused("invalid_request", "another subject_token_type")
        payload = form.get("subject_token", "").split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        if claims["sub"] in self.revoked:
            raise RequestRefused("invalid_target", "not for this person")
        token = f"exchanged-for-{claims['sub']}-at-{form.get('audience')}-{secrets.token_hex(4)}"
        kind = "urn:ietf:params:oauth:token-type:access_token"
        return _json(
            {"access_token": token, "issued_token_type": kind, "token_type": "Bearer", "expires_in": ACCESS_SECONDS}
        )

    def _check_client(self, received: SeenRequest) -> None:
        """Require exactly one method of client authentication (RFC 6749, section 2.3)."""
        if received.method != "POST":
            raise RequestRefused("invalid_request", "POST only", 405)
        authorization, secret = received.headers.get("authorization"), received.form.get("client_secret")
        if authorization is not None and secret is not None:
            raise RequestRefused("invalid_request", "two methods of client authentication")
        client, method = received.form.get("client_id", ""), "client_secret_post"
        if authorization is not None:
            method = "client_secret_basic"
            try:
                word, _, encoded = authorization.partition(" ")
                name, colon, encoded_secret = base64.b64decode(encoded, validate=True).decode("ascii").partition(":")
            except (binascii.Error, UnicodeDecodeError):
                word = colon = name = encoded_secret = ""
            if word.lower() != "basic" or not colon or client not in ("", unquote_plus(name)):
                raise RequestRefused("invalid_client", "unreadable credentials", 401)
            client, secret = unquote_plus(name), unquote_plus(encoded_secret)
        if method not in (self.methods or ["client_secret_basic"]):
            raise RequestRefused("invalid_client", f"{method} is not accepted", 401)
        if secret is None or self.clients.get(client) != secret:
            raise RequestRefused("invalid_client", "wrong credentials", 401)

    def _redeem_code(self, form: Mapping[str, str]) -> Grant:
        code = form.get("code", "")
        if code in self._spent:  # RFC 6749, section 4.1.2: tokens of a code that is used twice are revoked
            self._end_family(self._spent[code])
        grant = self._codes.pop(code, None)
        if grant is None or time.time() - grant.at > CODE_SECONDS:
            raise RequestRefused("invalid_grant", "unknown, used or expired code")
        self._spent[code] = grant.family
        if form.get("redirect_uri") != grant.redirect_uri:
            raise RequestRefused("invalid_grant", "another redirect_uri")
        verifier = form.get("code_verifier", "")
        digest = hashlib.sha256(verifier.encode()).digest()
        if not _VERIFIER.fullmatch(verifier) or base64url(digest) != grant.challenge:
            raise RequestRefused("invalid_grant", "the verifier does not fit the challenge")
        return grant

    def _redeem_refresh_token(self, form: Mapping[str, str]) -> Grant:
        token = form.get("refresh_token", "")
        if token in self._spent and self.rotates:
            self._end_family(self._spent[token])
            raise RequestRefused("invalid_grant", "this refresh token was used before")
        grant = self._refresh.get(token)
        if grant is None or grant.user in self.revoked or grant.user not in self.people:
            raise RequestRefused("invalid_grant", "unknown or revoked refresh token")
        if self.rotates:
            del self._refresh[token]
            self._spent[token] = grant.family
        return grant

    def _end_family(self, family: str) -> None:
        self._refresh = {token: one for token, one in self._refresh.items() if one.family != family}
        self._access = {token: one for token, one in self._access.items() if one[0].family != family}

    def _answer_grant(self, grant: Grant, *, with_nonce: bool) -> Reply:
        access = secrets.token_urlsafe(24)
        self._access[access] = (grant, time.time() + ACCESS_SECONDS)
        answer = {"access_token": access, "token_type": "Bearer", "expires_in": ACCESS_SECONDS}
        answer["id_token"] = self._id_token(grant, with_nonce)
        if "offline_access" in grant.scopes and self.gives_refresh_tokens and (self.rotates or with_nonce):
            answer["refresh_token"] = secrets.token_urlsafe(24)
            self._refresh[answer["refresh_token"]] = grant
        return _json(answer)

    def _id_token(self, grant: Grant, with_nonce: bool) -> str:
        claims = {name: value for name, value in self.people[grant.user].items() if name not in self.only_userinfo}
        nonce = {"nonce": grant.nonce} if with_nonce else {}
        claims = {"iss": self.issuer, "aud": next(iter(self.clients)), "auth_time": int(grant.at), **nonce, **claims}
        return mint({**claims, **self.wrong}, self.keys[-1])

    # Other endpoints

    def user_info(self, received: SeenRequest) -> Reply:
        word, _, token = received.headers.get("authorization", "").partition(" ")
        grant, until = self._access.get(token, (None, 0.0))
        if word.lower() != "bearer" or grant is None or until < time.time():
            raise RequestRefused("invalid_token", "unknown access token", 401)
        return _json({**self.people[grant.user], **self.userinfo})

    def sign_out(self, received: SeenRequest) -> Reply:
        self.signed_in = None
        return _page("You are signed out of Example ID.")


_HANDLERS: Final = {
    CONFIGURATION: OidcProvider.configuration_page,
    "/jwks": OidcProvider.key_set,
    "/authorize": OidcProvider.authorize,
    "/token": OidcProvider.grant_tokens,
    "/userinfo": OidcProvider.user_info,
    "/logout": OidcProvider.sign_out,
}


class _Handler(QuietHandler):
    provider: OidcProvider

    def _respond(self) -> None:
        body, url = self.read_body(), urlsplit(self.path)
        base = urlsplit(self.provider.issuer).path
        try:
            query, form = _once(url.query), _once(body.decode() if self.command == "POST" else "")
        except ValueError as error:
            reply: Reply | None = _json({"error": "invalid_request", "error_description": str(error)}, 400)
        else:
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen = SeenRequest(self.command, url.path.removeprefix(base), query, headers, form)
            reply = self.provider.answer(seen)
        if reply is None:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in (*reply.headers, ("content-length", str(len(reply.body)))):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(OSError):
                self.wfile.write(reply.body)

    do_GET = do_POST = do_HEAD = _respond


def _once(text: str) -> dict[str, str]:
    """Return the parameters of ``text``. Raises ``ValueError`` if one stands twice (RFC 6749, section 3.1)."""
    pairs = parse_qsl(text, keep_blank_values=True)
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise ValueError("a parameter is there twice")
    return parameters


@contextlib.contextmanager
def open_provider(path: str = "", tls: Pair | None = None, **attributes: Any) -> Iterator[OidcProvider]:
    """Run a provider on a port of this machine. ``path`` is the part of the issuer's URL after the port.

    ``tls`` is its certificate; ``attributes`` are those of ``OidcProvider``."""
    handler = type("_Bound", (_Handler,), {})
    with http_server(handler, tls) as host:
        provider = handler.provider = OidcProvider(f"http{'' if tls is None else 's'}://{host}{path}", **attributes)
        try:
            yield provider
        finally:
            for fault in provider.faults.values():
                if fault.hold is not None:
                    fault.hold.set()
