"""Callers: the client of a key or token, the person of a cookie, or the operator."""

import hashlib
import hmac

from gateway.config.settings import Config
from gateway.config.unlisted import Caller
from gateway.exchange.service import Service
from gateway.features.admin.calls import additions_in
from gateway.http.headers import PLAIN_KEYS, Headers
from gateway.serving.incoming_request import IncomingRequest
from gateway.viewing.callers import OPERATOR, caller_named


async def identify_caller(config: Config, service: Service, incoming: IncomingRequest) -> Caller:
    """Return the caller of a request. Raises ``GatewayError`` (401, 403, 429, 503) and ``Unavailable``.

    A browser's cookie counts for requests without a key."""
    if config.ui_key is not None and _has_key(incoming.headers, config.ui_key):
        return OPERATOR
    for part in additions_in(service):
        if (caller := await part.caller(config, service, incoming)) is not None:
            return caller
    return caller_named(service.authenticator, service.admission.authenticate(incoming))


def _has_key(headers: Headers, digest: bytes) -> bool:
    """Return whether a key in ``headers`` has this digest."""
    bearers = [value[7:] for name, value in headers if name == "authorization" and value[:7].lower() == "bearer "]
    keys = (*bearers, *(value for name, value in headers if name in PLAIN_KEYS))
    digests = [hashlib.sha256(key.strip().encode("latin-1", "replace")).digest() for key in keys]
    return any(hmac.compare_digest(one, digest) for one in digests)
