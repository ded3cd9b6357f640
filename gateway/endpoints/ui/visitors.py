"""Visitors of the live view: whoever shows a key, or sits at this machine where there are no keys."""

import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from typing import Any, Final

import attrs

from gateway.access.authentication import Authenticator
from gateway.http.headers import Headers
from streams.errors import GatewayError

_ASK: Final = (("www-authenticate", 'Basic realm="trigate", charset="UTF-8"'),)
_FORWARDED: Final = frozenset(("forwarded", "x-forwarded-for", "x-real-ip", "via"))
_KEY_WANTED: Final = "a key is required: the ui_key, or one of the client_keys, as the password (any user name)"
_NOT_HERE: Final = (
    "the live view shows itself without a key on this machine alone, under localhost or a loopback address: set ui_key "
    "in the configuration to see it from elsewhere"
)
_OTHER_PAGE: Final = "the live view answers its own page only"


@attrs.frozen
class Visitor:
    """``client`` is whose exchanges may be seen, ``None`` for all."""

    client: str | None = None


def admit(
    scope: Mapping[str, Any], headers: Headers, authenticator: Authenticator, ui_key: bytes | None, keys: bool
) -> Visitor:
    """The visitor of an ASGI request. ``ui_key`` is the digest of the key for everything; ``keys`` says that there are
    client keys, whose holders see their own exchanges.

    Raises ``GatewayError`` (401, 403), which never repeats a key."""
    named = dict(headers)
    if named.get("sec-fetch-site") in ("cross-site", "same-site") and named.get("sec-fetch-mode") != "navigate":
        raise GatewayError("permission", _OTHER_PAGE)
    if ui_key is not None or keys:
        return _holder(headers, authenticator, ui_key, keys)
    if not _is_at_home(scope, named):
        raise GatewayError("permission", _NOT_HERE)
    return Visitor()


def _holder(headers: Headers, authenticator: Authenticator, ui_key: bytes | None, keys: bool) -> Visitor:
    shown = tuple(_as_bearer(name, value) for name, value in headers)
    given = [value[7:].strip() for name, value in shown if name == "authorization" and value[:7].lower() == "bearer "]
    for key in given:
        if ui_key is not None and hmac.compare_digest(hashlib.sha256(key.encode("latin-1")).digest(), ui_key):
            return Visitor()
    if keys:
        try:
            return Visitor(authenticator.authenticate(shown))
        except GatewayError as error:
            raise GatewayError("authentication", error.failed.message, headers=_ASK) from None
    raise GatewayError("authentication", _KEY_WANTED, headers=_ASK)


def _as_bearer(name: str, value: str) -> tuple[str, str]:
    """A browser can show a key as a password only (RFC 7617)."""
    if name != "authorization" or value[:6].lower() != "basic ":
        return name, value
    try:
        _, _, password = base64.b64decode(value[6:].strip(), validate=True).decode("latin-1").partition(":")
    except binascii.Error:
        password = ""
    return name, f"Bearer {password}"


def _is_at_home(scope: Mapping[str, Any], named: Mapping[str, str]) -> bool:
    """True if both ends of the connection are this machine's, nobody else is asking through it, and the name is this
    machine's too: another page's name may have been made to point here."""
    ends = (scope.get("client"), scope.get("server"))
    here = all(end is not None and _is_loopback(str(end[0])) for end in ends)
    host = named.get("host", "").rpartition(":")[0] or named.get("host", "")
    if named.get("host", "").endswith("]"):
        host = named["host"]
    local = host.lower() == "localhost" or _is_loopback(host.strip("[]"))
    return here and local and not _FORWARDED & set(named)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
