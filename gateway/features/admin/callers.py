"""Callers: the client of a key or token, the person of a cookie, or the operator."""

import hashlib
import hmac
from typing import Final

from gateway.access.authentication import Authenticator
from gateway.config.people import Caller
from gateway.config.settings import Config
from gateway.exchange.service import Service
from gateway.features.admin.calls import additions_in
from gateway.http.headers import PLAIN_KEYS, Headers
from gateway.serving.incoming_request import IncomingRequest

OPERATOR: Final = Caller(None, "auditor", None, "operator", "ui_key")
"""The holder of the ``ui_key``, who reads what an auditor reads and changes nothing."""

NOBODY: Final = Caller(None, "user", None, "key")
"""The caller of a gateway without client keys."""


async def identify_caller(config: Config, service: Service, incoming: IncomingRequest) -> Caller:
    """Return the caller of a request. Raises ``GatewayError`` (401, 403, 429, 503) and ``Unavailable``.

    A browser's cookie counts for requests without a key."""
    if config.ui_key is not None and _has_key(incoming.headers, config.ui_key):
        return OPERATOR
    for part in additions_in(service):
        if (caller := await part.caller(config, service, incoming)) is not None:
            return caller
    return caller_named(service.authenticator, service.admission.authenticate(incoming))


def caller_named(authenticator: Authenticator, name: str | None) -> Caller:
    """Return the client or person ``name``, whose credential the current request has."""
    if name is None:
        return NOBODY
    rights = None if authenticator.people is None else authenticator.people.sent_rights(name)
    if rights is not None:
        return rights.caller
    return Caller(name, authenticator.role_of(name), authenticator.group_of(name), "key", name)


def _has_key(headers: Headers, digest: bytes) -> bool:
    """Return whether a key in ``headers`` has this digest."""
    bearers = [value[7:] for name, value in headers if name == "authorization" and value[:7].lower() == "bearer "]
    keys = (*bearers, *(value for name, value in headers if name in PLAIN_KEYS))
    digests = [hashlib.sha256(key.strip().encode("latin-1", "replace")).digest() for key in keys]
    return any(hmac.compare_digest(one, digest) for one in digests)
