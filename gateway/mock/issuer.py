"""The stand-in's OpenID issuer, for tests of sign-in on one machine. It signs people in without passwords.

It stores nothing: codes and refresh tokens are signed texts, too. Its key lasts as long as the process. It serves
requests of its own machine alone, and redirects only to it."""

import base64
import hashlib
import html
import re
import secrets
import time
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from importlib import import_module
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, urlencode

import msgspec

from gateway.http.external_url import url_of_request
from gateway.http.response import JSON_HEADERS, Response
from gateway.http.urls import is_loopback
from gateway.mock.called import read_call
from gateway.serving.incoming_request import IncomingRequest, ignore_arrived
from gateway.serving.route_table import READING, RouteTable
from streams.errors import GatewayError, invalid

PEOPLE: Final[Mapping[str, tuple[str, ...]]] = {"ada": ("ml",), "ben": ("ml",), "eve": ()}
"""The groups of each person."""

POST: Final = ("POST",)
SECONDS: Final = 300
"""Lifetime of tokens. A code lasts one minute, a refresh token a day."""

EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
_HERE: Final = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?(/[!-~]*)?")
_NO_LIBRARY: Final = "the stand-in needs PyJWT to sign tokens: run pip install 'trigate[identity]'"
_PAGE: Final = """<!doctype html><html lang=en><title>Stand-in issuer</title><h1>Sign in</h1>
<p>This is the stand-in of trigate and no real issuer. It asks for no password.</p><ul>{}</ul></html>"""

Claims: TypeAlias = dict[str, Any]
Answer: TypeAlias = Callable[[str, str], Response]
"""Returns the response to a request with an origin, and a body or query. Raises ``GatewayError``."""


class StandInIssuer:
    """The issuer. Its URL is the origin of each request."""

    def __init__(self) -> None:
        self.key_id = secrets.token_hex(8)

    @cached_property
    def _library(self) -> tuple[Any, Any]:
        """PyJWT, and the key. Raises ``GatewayError`` if PyJWT is not installed."""
        try:
            jwt, ec = import_module("jwt"), import_module("cryptography.hazmat.primitives.asymmetric.ec")
        except ImportError:
            raise GatewayError("internal", _NO_LIBRARY, code="server_error") from None
        return jwt, ec.generate_private_key(ec.SECP256R1())

    def sign(self, use: str, seconds: float, claims: Claims) -> str:
        """Return a token of ``claims`` for ``use``, valid for ``seconds``. Raises ``GatewayError``."""
        jwt, key = self._library
        now = int(time.time())
        payload = {"use": use, "iat": now, "exp": now + seconds, **claims}
        token: str = jwt.encode(payload, key, "ES256", {"kid": self.key_id})
        return token

    def read(self, use: str, token: str | None) -> Claims:
        """Return the claims of a valid ``token`` for ``use``. Raises ``GatewayError``."""
        jwt, key = self._library
        try:
            claims: Claims = jwt.decode(token or "", key.public_key(), ["ES256"], {"verify_aud": False})
        except jwt.ExpiredSignatureError:
            raise invalid(f"the {use} has expired", code="invalid_grant") from None
        except jwt.InvalidTokenError:
            claims = {}
        if claims.get("use") != use:
            raise invalid(f"this is no {use} of this issuer, or of its earlier run", code="invalid_grant")
        return claims

    def describe(self, origin: str, query: str) -> Response:
        """Return the discovery document (OpenID Connect Discovery 1.0, RFC 8414)."""
        document = {
            "issuer": origin,
            "authorization_endpoint": f"{origin}/authorize",
            "token_endpoint": f"{origin}/token",
            "jwks_uri": f"{origin}/jwks",
            "registration_endpoint": f"{origin}/register",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token", EXCHANGE],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }
        return _json(document)

    def key_set(self, origin: str, query: str) -> Response:
        """Return the public key (RFC 7517)."""
        jwt, key = self._library
        public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        return _json({"keys": [{**public, "kid": self.key_id, "use": "sig", "alg": "ES256"}]})

    def register(self, origin: str, body: str) -> Response:
        """Return the registration of a client (RFC 7591). The issuer accepts each, and stores none."""
        client = read_call(body.encode()).members
        return _json({**client, "client_id": "mcp-client", "token_endpoint_auth_method": "none"}, 201)

    def authorize(self, origin: str, parameters: str) -> Response:
        """Return the page with the people, or a redirect with a code for the one in ``login_hint``."""
        query = dict(parse_qsl(parameters))
        redirect, challenge = query.get("redirect_uri", ""), query.get("code_challenge", "")
        if not _HERE.fullmatch(redirect):
            raise invalid("redirect_uri must be an http URL of this machine")
        if query.get("response_type") != "code" or query.get("code_challenge_method") != "S256" or not challenge:
            raise invalid("a request for a code, with PKCE (S256), is required")
        person = query.get("login_hint", "")
        if person not in PEOPLE:
            links = {name: html.escape(urlencode({**query, "login_hint": name})) for name in PEOPLE}
            page = _PAGE.format("".join(f'<li><a href="?{link}">{name}</a>' for name, link in links.items()))
            return Response(200, (("content-type", "text/html"),), page.encode())
        kept = {name: query.get(name) for name in ("client_id", "redirect_uri", "resource", "scope", "nonce")}
        code = self.sign("code", 60, {"sub": person, "challenge": challenge, **kept})
        answer = {"code": code, "iss": origin, **({"state": query["state"]} if "state" in query else {})}
        return Response(302, (("location", f"{redirect}{'&' if '?' in redirect else '?'}{urlencode(answer)}"),))

    def grant(self, origin: str, body: str) -> Response:
        """Return tokens for a code, a refresh token or another token (RFC 6749, RFC 8693)."""
        form = dict(parse_qsl(body))
        kind = form.get("grant_type")
        if kind == EXCHANGE:
            grant, audience = self.read("token", form.get("subject_token")), form.get("audience", form.get("resource"))
            return _json({**self._access(origin, grant, audience), "issued_token_type": _ACCESS_TOKEN})
        if kind == "refresh_token":
            grant = self.read("refresh token", form.get("refresh_token"))
        elif kind == "authorization_code":
            grant = self.read("code", form.get("code"))
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != grant["challenge"]:
                raise invalid("the code_verifier does not match the code_challenge", code="invalid_grant")
            if form.get("redirect_uri") != grant["redirect_uri"]:
                raise invalid("the redirect_uri is not that of the code", code="invalid_grant")
        else:
            raise invalid("not a grant_type of the stand-in", code="unsupported_grant_type")
        kept = {name: grant[name] for name in ("sub", "client_id", "resource", "scope", "nonce")}
        tokens = self._access(origin, grant, grant["resource"] or grant["client_id"])
        tokens["refresh_token"] = self.sign("refresh token", 86_400, kept)
        if "openid" in (grant["scope"] or "").split():
            own = {**_claims(origin, grant, grant["client_id"]), "nonce": grant["nonce"]}
            tokens["id_token"] = self.sign("sign-in", SECONDS, own)
        return _json(tokens)

    def _access(self, origin: str, grant: Claims, audience: str | None) -> dict[str, Any]:
        token = self.sign("token", SECONDS, _claims(origin, grant, audience))
        return {"access_token": token, "token_type": "Bearer", "expires_in": SECONDS}


def _claims(origin: str, grant: Claims, audience: str | None) -> Claims:
    name = grant["sub"]
    person = {"sub": name, "email": f"{name}@example.com", "groups": PEOPLE[name]}
    return {"iss": origin, "aud": audience or origin, **person}


def _json(value: Any, status: int = 200) -> Response:
    return Response(status, (*JSON_HEADERS, ("cache-control", "no-store")), msgspec.json.encode(value))


def add_issuer(routes: RouteTable, issuer: StandInIssuer) -> None:
    """Add the paths of ``issuer`` to ``routes``."""
    for methods, path, answer in (
        (READING, "/.well-known/openid-configuration", issuer.describe),
        (READING, "/.well-known/oauth-authorization-server", issuer.describe),
        (READING, "/jwks", issuer.key_set),
        (READING, "/authorize", issuer.authorize),
        (POST, "/token", issuer.grant),
        (POST, "/register", issuer.register),
    ):
        routes.add(path, partial(_respond, answer), methods)


async def _respond(answer: Answer, incoming: IncomingRequest) -> Response:
    """Return the ``answer`` to a request of this machine, otherwise an error.

    A page of another machine can lead its own name to this one, so the host counts, too."""
    try:
        origin, client = url_of_request(incoming.asgi, incoming.headers), incoming.asgi["client"]
        if not _HERE.fullmatch(origin) or client is None or not is_loopback(client[0]):
            text = "the stand-in's issuer is for one machine: use it there, at http://127.0.0.1"
            raise GatewayError("permission", text, code="access_denied")
        body = await incoming.read(ignore_arrived) or incoming.query.encode()
        return answer(origin, body.decode(errors="replace"))
    except GatewayError as error:
        info = error.info
        return _json({"error": info.code or "invalid_request", "error_description": info.message}, info.status)
