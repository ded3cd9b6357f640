"""One exchange of a person's token at the issuer (RFC 8693)."""

import base64
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote_plus, urlencode

import attrs
import msgspec
import trio

from gateway.features.mcp_sign_in.feature import TokenExchange
from gateway.upstream.client import Upstream
from gateway.upstream.request import UpstreamRequest
from providers.auth.signer import BearerToken
from streams.errors import GatewayError
from streams.surrogates import NOT_JSON

PATIENCE: Final = 10.0
"""Seconds that an exchange may take."""

UNSTATED: Final = 60
"""Seconds for which a token is used if the issuer does not state its lifetime."""

_LONGEST: Final = 64 * 1024
"""Bytes of the issuer's response."""

_GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_KIND: Final = "urn:ietf:params:oauth:token-type:"
_CODE: Final = re.compile(r"[a-z_]{1,60}")
_TOKEN: Final = re.compile(r"[!-~]{1,16384}")

_CHECKS: Final[Mapping[str, str]] = {
    "invalid_client": "client_id and client_secret",
    "unauthorized_client": "at the issuer that it permits the exchange to the client_id",
    "unsupported_grant_type": "that the issuer exchanges tokens (RFC 8693) at the token_url",
    "invalid_request": "audience, resource, scope and subject",
}
"""By error code, what the gateway's operator must check. The person cannot correct these errors."""


@attrs.frozen
class ExchangedToken:
    """A token for a server, valid for ``seconds``."""

    token: BearerToken = attrs.field(repr=False)
    seconds: float


class _Granted(msgspec.Struct):
    access_token: str
    token_type: str
    expires_in: float | None = None


class _Refused(msgspec.Struct):
    error: str = ""


async def exchange_token(upstream: Upstream, settings: TokenExchange, server: str, subject: str) -> ExchangedToken:
    """Exchange the token ``subject`` of a person for one of ``server``.

    Raises ``GatewayError``: 403 if the issuer gives the person no token, 502 or 504 without a usable response."""
    request = _request(settings, subject)
    try:
        with trio.fail_after(PATIENCE):
            async with await upstream.send(request) as response:
                body = await response.read(_LONGEST)
    except trio.TooSlowError:
        raise _failure(server, f"the issuer did not respond within {PATIENCE:g} s", "timeout") from None
    except GatewayError:
        raise _failure(server, "the issuer is unavailable at the token_url of token_exchange") from None
    if response.status == 200:
        return _read_token(server, body, subject)
    try:
        code = msgspec.json.decode(body, type=_Refused).error
    except NOT_JSON:
        code = ""
    if response.status not in (400, 401, 403) or code in _CHECKS or not _CODE.fullmatch(code):
        shown = f" with the error {code}" if _CODE.fullmatch(code) else ""
        check = f"check {_CHECKS.get(code, 'token_url')} of token_exchange"
        raise _failure(server, f"the issuer responded {response.status}{shown}: {check}")
    text = f"the issuer gives you no token for the MCP server {server} ({code}): ask its administrator for access"
    raise GatewayError("permission", text, headers=(("x-should-retry", "false"),))


def _request(settings: TokenExchange, subject: str) -> UpstreamRequest:
    fields = {
        "grant_type": _GRANT,
        "subject_token": subject,
        "subject_token_type": _KIND + settings.subject,
        "audience": settings.audience,
        "resource": settings.resource,
        "scope": settings.scope,
        "client_id": None if settings.client_secret else settings.client_id,
    }
    headers = [("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json")]
    if settings.client_secret:  # RFC 6749, section 2.3.1
        pair = f"{quote_plus(settings.client_id)}:{quote_plus(settings.client_secret)}"
        headers.append(("authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"))
    body = urlencode({name: value for name, value in fields.items() if value is not None}).encode()
    return UpstreamRequest("POST", settings.token_url, tuple(headers), body)


def _read_token(server: str, body: bytes, subject: str) -> ExchangedToken:
    try:
        granted = msgspec.json.decode(body, type=_Granted, strict=False)  # some write numbers as strings
    except NOT_JSON:
        raise _failure(server, "the issuer's response is not a token") from None
    if granted.token_type.lower() != "bearer" or not _TOKEN.fullmatch(granted.access_token):
        raise _failure(server, "the issuer's response is not a bearer token")
    if granted.access_token == subject:
        raise _failure(server, "the issuer returned the person's own token, which no server may get")
    seconds = UNSTATED if granted.expires_in is None else granted.expires_in
    return ExchangedToken(BearerToken(granted.access_token), seconds)


def _failure(server: str, reason: str, kind: str = "upstream") -> GatewayError:
    return GatewayError(kind, f"the gateway has no token for the MCP server {server}: {reason}", reason="credential")  # type: ignore[arg-type]
