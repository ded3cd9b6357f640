"""The token endpoint: a session's token for an approved device code, a refresh token, or another issuer's token."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from gateway.access.refused_keys import KeyRefused
from gateway.endpoints.oauth.context import SignInContext, program_of
from gateway.endpoints.oauth.errors import OAuthError, json_response
from gateway.endpoints.oauth.forms import Form, read_form
from gateway.http.response import Response
from gateway.people.rules import NotAdmitted
from gateway.people.sessions import GrantRefused, IssuedTokens, PersonBlocked
from gateway.people.token_format import is_signed_token
from gateway.people.tokens import CannotJudge, Claims, TokenRefused
from gateway.serving.incoming_request import PiecesRequest

DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"
REFRESH: Final = "refresh_token"
EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
GRANT_TYPES: Final = (DEVICE_CODE, REFRESH, EXCHANGE)

_ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
_SUBJECT_TYPES: Final = (
    "urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token", _ACCESS_TOKEN,
)  # fmt: skip
_NO_TOKEN: Final = "the subject_token is not a signed token (JWT)"
_RESULT_TYPES: Final = (_ACCESS_TOKEN, "urn:ietf:params:oauth:token-type:jwt")

Grant: TypeAlias = Callable[[PiecesRequest, Form], Awaitable[Response]]


class TokenGrants:
    """The grants of the token endpoint for one configuration."""

    def __init__(self, context: SignInContext) -> None:
        self._context = context
        with_login: Mapping[str, Grant] = {DEVICE_CODE: self._redeem_device_code, REFRESH: self._refresh}
        self._grants: Mapping[str, Grant] = {**(with_login if context.login_issuers else {}), EXCHANGE: self._exchange}

    async def answer(self, incoming: PiecesRequest) -> Response:
        """Return the tokens for a grant. Raises ``OAuthError`` and ``GatewayError``."""
        form = await read_form(incoming)
        kind = _require(form, "grant_type")
        grant = self._grants.get(kind)
        if grant is None:
            raise OAuthError("unsupported_grant_type", f"use one of {', '.join(self._grants)}")
        try:
            return await grant(incoming, form)
        except OAuthError as error:
            raise self._count_wrong_credential(incoming, error) from None

    def _count_wrong_credential(self, incoming: PiecesRequest, error: OAuthError) -> OAuthError:
        """Count a wrong credential of the sender's address, and return the error for the program.

        An address with too many gets ``slow_down``, after which programs wait longer (RFC 8628, section 3.5)."""
        if not error.is_guess:
            return error
        refused = KeyRefused(error.description, "unknown")
        judged = self._context.refused.judge(refused, incoming.scope.address, incoming.asgi["path"])
        if judged is refused:
            return error
        return OAuthError("slow_down", judged.info.message, judged.info.status, judged.info.headers)

    async def _redeem_device_code(self, incoming: PiecesRequest, form: Form) -> Response:
        """Return the tokens of an approved device code (RFC 8628, section 3.4)."""
        try:
            issued = await self._context.sessions.redeem_device_code(_require(form, "device_code"))
        except GrantRefused as error:
            raise OAuthError(error.code, error.description, is_guess=not error.is_known) from None
        self._context.log_event("signed_in", incoming, client=issued.person.name, session=issued.session)
        return _token_response(issued)

    async def _refresh(self, incoming: PiecesRequest, form: Form) -> Response:
        """Return the next tokens of a session (RFC 6749, section 6).

        Claude Code signs its user out at a 401, so any other failure must not be one."""
        try:
            issued = await self._context.sessions.refresh(_require(form, "refresh_token"))
        except GrantRefused as error:
            status = 401 if error.code == "invalid_grant" else 400
            raise OAuthError(error.code, error.description, status, is_guess=not error.is_known) from None
        return _token_response(issued)

    async def _exchange(self, incoming: PiecesRequest, form: Form) -> Response:
        """Exchange a valid token of an issuer for one of the gateway, without a refresh token (RFC 8693)."""
        token = _require(form, "subject_token")
        if _require(form, "subject_token_type") not in _SUBJECT_TYPES:
            raise OAuthError("invalid_request", f"use a subject_token_type of {', '.join(_SUBJECT_TYPES)}")
        if form.get("requested_token_type", _ACCESS_TOKEN) not in _RESULT_TYPES:
            raise OAuthError("invalid_request", f"use the requested_token_type {_ACCESS_TOKEN}")
        if "actor_token" in form:
            raise OAuthError("invalid_request", "the gateway does not support actor_token")
        claims = await self._verify(token)
        try:
            issued = await self._context.sessions.exchange(
                claims.issuer, claims.values, program=program_of(incoming.headers),
                address=incoming.scope.address or "",
            )  # fmt: skip
        except NotAdmitted as error:
            raise OAuthError("invalid_grant", error.info.message) from None
        except PersonBlocked as error:
            raise OAuthError("invalid_grant", str(error)) from None
        return _token_response(issued, issued_token_type=_ACCESS_TOKEN)

    async def _verify(self, token: str) -> Claims:
        """Return the claims of a valid token of an issuer. Raises ``OAuthError``.

        A token of the gateway itself is no issuer's, so it cannot prolong its session."""
        if not is_signed_token(token):  # an opaque one would be sent to the issuer's introspection
            raise OAuthError("invalid_grant", _NO_TOKEN, is_guess=True)
        issuers, now = self._context.issuers, time.time()
        await issuers.prepare(token, now)
        try:
            claims = issuers.check(token, now)
        except TokenRefused as error:
            raise OAuthError("invalid_grant", error.message, is_guess=error.reason != "expired") from None
        except CannotJudge as error:
            raise OAuthError("temporarily_unavailable", str(error), 503, (("retry-after", "5"),)) from None
        assert claims is not None, "it is a signed token"
        return claims


def _token_response(issued: IssuedTokens, **more: str) -> Response:
    """Return the response with tokens (RFC 6749, section 5.1)."""
    refresh = {} if issued.refresh_token is None else {"refresh_token": issued.refresh_token}
    tokens = {"access_token": issued.access_token, "token_type": "Bearer", "expires_in": issued.expires_in}
    return json_response({**tokens, **refresh, **more})


def _require(form: Form, name: str) -> str:
    """Return a parameter of ``form``. Raises ``OAuthError`` without one."""
    value = form.get(name, "")
    if not value:
        raise OAuthError("invalid_request", f"the parameter {name} is missing")
    return value
