"""A provider's errors in the form for the client (``providers/errors/failures.py`` has their shapes)."""

import math
import re
from collections.abc import Iterable
from typing import Final

import attrs
import msgspec

from gateway.http.headers import Headers, bounded_waits, passthrough_headers, translated_headers
from gateway.http.passing import translated_header_names
from gateway.http.redaction import FETCHED, Secrets, credentials_among, redact_json, redact_spelled, search_forms
from gateway.http.urls import credentials_in
from gateway.routing.target import LaneName, Target
from providers.apis import CODECS
from providers.auth.signer import secret_parts
from streams.events import STATUS, Api, ErrorInfo
from streams.surrogates import decode_or

MISTAKE = ErrorInfo("internal", "internal error of the gateway; its log has the details")
"""The error for unexpected exceptions."""

OVERLOADED = 529
"""A status of some vendors that clients of other APIs do not know."""

_STATUS_FOR_CLIENTS: Final = {407: 502, 408: 504}
"""The statuses that would concern the client's own connection."""

LAST_STATUS = 599
"""The last valid status of HTTP (RFC 9110, section 15). Some servers send 999 to refuse automated clients."""

NO_SUCH_PATH = (404, 405, 501)
"""Statuses with which a server rejects a path that it does not have, such as counting tokens or compacting."""

# 401 and 403 for the gateway's key mean that the provider rejected the gateway: the client's key is valid, and a retry
# is useless (Claude Code retries a 502 for minutes without the header).
_OURS = ("authentication", "permission")


def secrets_of(target: Target, credential: str | None, sent_credentials: Iterable[str] = ()) -> Secrets:
    """Return the credentials for ``target`` that must not appear anywhere, including the log.

    ``credential`` is the client's credential, ``sent_credentials`` the values in sent requests."""
    own = (*secret_parts(target.credential(credential)), *sent_credentials)
    bare = tuple(word.removeprefix("Bearer ").strip() for word in own)
    return search_forms(
        (
            *bare,
            *FETCHED.words,
            *credentials_among(target.configured_headers),
            *credentials_in(target.entry.base_url or ""),
        )
    )


def client_headers(response: Headers, target: Target, lane: LaneName) -> Headers:
    """Return the headers of a provider's response for its client, whatever the status."""
    entry = target.entry
    if lane == "byte":
        return passthrough_headers(response, target.returned_headers)
    return translated_headers(response, translated_header_names(entry.pass_headers, False))


def with_passed_headers(error: ErrorInfo, client_headers: Headers) -> ErrorInfo:
    """Add to ``error`` the headers in ``client_headers`` that it does not have."""
    known = {name for name, _ in error.headers}
    return attrs.evolve(error, headers=(*error.headers, *(pair for pair in client_headers if pair[0] not in known)))


def public_error(error: ErrorInfo, api: Api, target: Target, secrets: Secrets) -> ErrorInfo:
    """Return the error that a client of ``api`` receives for a provider's failure, without credentials. Idempotent."""
    if error.status in target.recipient.quirks.unavailable_statuses:
        error = attrs.evolve(error, kind="overloaded", status=STATUS["overloaded"], reason="overloaded")
    if error.kind in _OURS:
        if not target.entry.passthrough_auth:
            return ErrorInfo(
                "upstream",
                _denial_message(error, target),
                headers=(("x-should-retry", "false"),),
                reason=error.reason,
                wait=error.wait,
                concerns_all=error.concerns_all,
            )
        if error.reason == "credential":  # the client's own, which no other target would accept
            error = attrs.evolve(error, reason="invalid")
    status = _STATUS_FOR_CLIENTS.get(error.status, error.status)
    if status > LAST_STATUS:
        status = STATUS["upstream"]
    if status == 400 and error.kind == "upstream" and target.lane == "hub":  # only Groq's own clients know its 400
        status = STATUS["upstream"]
    codec = CODECS[api]
    if status == OVERLOADED and status not in codec.wire.own_statuses:
        status = 503
    error = codec.phrase_error(error)
    return attrs.evolve(
        error,
        status=status,
        message=redact_text(error.message, secrets),
        param=error.param and redact_text(_client_param(error.param, api, target), secrets),
        code=error.code and redact_text(error.code, secrets),
        details=redact_json(error.details, secrets),
        headers=tuple((name, redact_text(value, secrets)) for name, value in _retry_headers(error, status)),
    )


def _client_param(param: str, api: Api, target: Target) -> str:
    """Return the client's member for the conversation if ``param`` is the provider's, or a place in it.

    The place itself is left out, because the messages have other positions in the translated request."""
    own, client = (CODECS[one].wire.conversation.member for one in (target.api, api))
    if own == client or target.endpoint_place is not None or re.split(r"[.\[]", param, maxsplit=1)[0] != own:
        return param
    return client


def _denial_message(error: ErrorInfo, target: Target) -> str:
    """Return the message for a rejected credential, or for a refusal whose cause the provider does not state."""
    check = f"check {_credential_setting(target)} of {target.entry.name} in the configuration"
    if error.concerns_all or (error.kind == "authentication" and error.reason == "credential"):
        return f"the provider rejected the gateway's credential: {check}"
    return (
        f"the provider denied access to an object of the request, such as its model, tool or file: correct the request"
        f", or {check}"
    )


def _credential_setting(target: Target) -> str:
    """Return the configuration key of the target's credential."""
    return "access_key" if target.entry.sign_in is None else "sign_in"


def redact_text(text: str, secrets: Secrets) -> str:
    """Return ``text`` after ``redact_spelled``."""
    return redact_spelled(text.encode(errors="surrogatepass"), secrets).decode(errors="surrogatepass")


def passthrough_error(body: bytes, api: Api, target: Target, secrets: Secrets) -> bytes | None:
    """Return the body of a provider's error that can be forwarded, without credentials, or ``None``.

    The API must be the client's, and the body must have the API's shape and the words that its clients act on."""
    if target.lane != "byte":
        return None
    value = decode_or(msgspec.json.decode, body, None)
    if not isinstance(value, dict) or not CODECS[api].is_own_error(value):
        return None
    return redact_spelled(body, secrets)


def _retry_headers(error: ErrorInfo, status: int) -> Headers:
    """Return the headers of ``error`` with a wait if the status is 429 or a translated 529, because Codex gives up
    without one.

    The wait is the provider's, from its headers or its body, and limited. An account without credit has none: clients
    would repeat the request for minutes."""
    headers = bounded_waits(error.headers)
    names = {name for name, _ in headers}
    if status not in (429, 503) or names & {"retry-after", "retry-after-ms"}:
        return headers
    if error.reason == "quota" and error.wait is None:
        return headers if "x-should-retry" in names else (*headers, ("x-should-retry", "false"))
    return (*headers, *bounded_waits((("retry-after", str(math.ceil(error.wait or 1))),)))
