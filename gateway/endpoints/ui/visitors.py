"""Visitors of the live view: whoever shows a key; where there are none, whoever the page guard has let through."""

import base64
import binascii
import hashlib
import hmac
import math
from typing import Final

import attrs

from gateway.access.authentication import Authenticator
from gateway.access.refused_keys import KeyRefused
from gateway.http.headers import Headers

_ASK: Final = (("www-authenticate", 'Basic realm="trigate", charset="UTF-8"'),)
_KEY_WANTED: Final = "a key is required: the ui_key, or one of the client_keys, as the password (any user name)"


@attrs.frozen
class Visitor:
    """``client`` is whose exchanges may be seen, ``None`` for all; ``by`` is what let it in, for the audit, and is good
    for ``seconds_left``."""

    client: str | None = None
    by: str = "this machine"
    seconds_left: float = math.inf


def admit(headers: Headers, authenticator: Authenticator, ui_key: bytes | None, keys: bool) -> Visitor:
    """The visitor whose request has ``headers``. ``ui_key`` is the digest of the key for everything; ``keys`` says
    that there are client keys, whose holders see their own exchanges.

    Raises ``GatewayError`` (401), which never repeats a key."""
    return _holder(headers, authenticator, ui_key, keys) if ui_key is not None or keys else Visitor()


def _holder(headers: Headers, authenticator: Authenticator, ui_key: bytes | None, keys: bool) -> Visitor:
    shown = tuple(_as_bearer(name, value) for name, value in headers)
    given = [value[7:].strip() for name, value in shown if name == "authorization" and value[:7].lower() == "bearer "]
    for key in given:
        if ui_key is not None and hmac.compare_digest(hashlib.sha256(key.encode("latin-1")).digest(), ui_key):
            return Visitor(by="ui_key")
    if keys:
        try:
            return Visitor(authenticator.authenticate(shown), "client key", authenticator.seconds_left(shown))
        except KeyRefused as error:
            raise KeyRefused(error.failed.message, error.reason, error.client, headers=_ASK) from None
    raise KeyRefused(_KEY_WANTED, "unknown" if given else "missing", headers=_ASK)


def _as_bearer(name: str, value: str) -> tuple[str, str]:
    """A browser can show a key as a password only (RFC 7617)."""
    if name != "authorization" or value[:6].lower() != "basic ":
        return name, value
    try:
        _, _, password = base64.b64decode(value[6:].strip(), validate=True).decode("latin-1").partition(":")
    except binascii.Error:
        password = ""
    return name, f"Bearer {password}"
