"""The token endpoint: a session's tokens for an approved device code or a refresh token."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from gateway.access.refused_keys import KeyRefused
from gateway.features.people.oauth.context import SignInContext
from gateway.features.people.oauth.errors import OAuthError, json_response
from gateway.features.people.oauth.forms import Form, read_form
from gateway.features.people.sessions import GrantRefused, IssuedTokens
from gateway.http.response import Response
from gateway.serving.incoming_request import PiecesRequest

DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"
REFRESH: Final = "refresh_token"
GRANT_TYPES: Final = (DEVICE_CODE, REFRESH)

_OTHER_GRANT: Final = f"use one of {', '.join(GRANT_TYPES)}; a program with a token of an issuer sends it as its key"

Grant: TypeAlias = Callable[[SignInContext, PiecesRequest, Form], Awaitable[Response]]


async def answer_grant(context: SignInContext, incoming: PiecesRequest) -> Response:
    """Return the tokens for a grant. Raises ``OAuthError`` and ``GatewayError``."""
    form = await read_form(incoming)
    kind = _require(form, "grant_type")
    grant = _GRANTS.get(kind)
    if grant is None:
        raise OAuthError("unsupported_grant_type", _OTHER_GRANT)
    try:
        return await grant(context, incoming, form)
    except GrantRefused as error:
        # Claude Code signs its user out at a 401, so no other failure of a refresh may be one.
        status = 401 if (kind, error.code) == (REFRESH, "invalid_grant") else 400
        refused = OAuthError(error.code, error.description, status)
        raise (refused if error.is_known else _count_guess(context, incoming, refused)) from None


def _count_guess(context: SignInContext, incoming: PiecesRequest, error: OAuthError) -> OAuthError:
    """Count a wrong credential of the sender's address, and return the error for the program.

    An address with too many gets ``slow_down``, after which programs wait longer (RFC 8628, section 3.5)."""
    refused = KeyRefused(error.description, "unknown")
    judged = context.refused.judge(refused, incoming.scope.address, incoming.asgi["path"])
    if judged is refused:
        return error
    return OAuthError("slow_down", judged.info.message, judged.info.status, judged.info.headers)


async def _redeem_device_code(context: SignInContext, incoming: PiecesRequest, form: Form) -> Response:
    """Return the tokens of an approved device code (RFC 8628, section 3.4)."""
    issued = await context.sessions.redeem_device_code(_require(form, "device_code"))
    context.log_event("signed_in", incoming, client=issued.person.name, session=issued.session)
    return _token_response(issued)


async def _refresh(context: SignInContext, incoming: PiecesRequest, form: Form) -> Response:
    """Return the next tokens of a session (RFC 6749, section 6)."""
    return _token_response(await context.sessions.refresh(_require(form, "refresh_token")))


_GRANTS: Final[Mapping[str, Grant]] = {DEVICE_CODE: _redeem_device_code, REFRESH: _refresh}


def _token_response(issued: IssuedTokens) -> Response:
    """Return the response with tokens (RFC 6749, section 5.1)."""
    refresh = {} if issued.refresh_token is None else {"refresh_token": issued.refresh_token}
    tokens = {"access_token": issued.access_token, "token_type": "Bearer", "expires_in": issued.expires_in}
    return json_response({**tokens, **refresh})


def _require(form: Form, name: str) -> str:
    """Return a parameter of ``form``. Raises ``OAuthError`` without one."""
    value = form.get(name, "")
    if not value:
        raise OAuthError("invalid_request", f"the parameter {name} is missing")
    return value
