"""The cookies of signed-in browsers, and of sign-ins under way.

``__Host-`` makes browsers refuse them from other hosts and subdomains, so no other site can plant one (RFC 6265bis,
section 4.1.3.2). Browsers accept them without TLS only from this machine. Such a cookie belongs to a whole host. Below
a path, ``__Secure-`` replaces the prefix, so that browsers send the cookie to no other program of the host."""

import re
import secrets
from typing import Final

from gateway.http.headers import Headers

SESSION: Final = "__Host-trigate"
SIGN_IN: Final = "__Host-trigate-sign-in"

SIGN_IN_SECONDS: Final = 400 * 86400.0
"""Seconds of the cookie ``SIGN_IN``, the most that browsers permit, so that later sign-ins set no other one."""

_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_MOST: Final = 64 * 1024  # bytes of cookies that are read


def new_cookie_value() -> str:
    """Return a random value of 256 bits."""
    return secrets.token_urlsafe(32)


def read_cookie(headers: Headers, name: str, path: str) -> str | None:
    """Return the value of the cookie ``name`` of the external ``path``.

    Return ``None`` if it is missing, invalid or there twice."""
    values = [value for found, value in _read_cookies(headers) if found == _name_below(path, name)]
    return values[0] if len(values) == 1 else None


def read_sign_in_cookies(headers: Headers, path: str) -> tuple[str, ...]:
    """Return the values of a browser's cookies for sign-ins, usually one.

    Tabs that a browser opens at the same time begin without a cookie, so each of them gets one. Their names differ:
    with one name, only the last tab could sign in."""
    known = dict(_read_cookies(headers))
    return tuple(value for name, value in known.items() if name == _name_below(path, sign_in_cookie(value)))


def sign_in_cookie(value: str) -> str:
    """Return the name of the cookie for sign-ins with ``value``."""
    return f"{SIGN_IN}.{value[:8]}"


def _read_cookies(headers: Headers) -> list[tuple[str, str]]:
    """Return the names and values of the cookies that may be the gateway's."""
    text = ";".join(value for header, value in headers if header == "cookie")[:_MOST]
    pairs = (pair.strip().partition("=") for pair in text.split(";"))
    return [(name, value) for name, _, value in pairs if _VALUE.fullmatch(value)]


def set_cookie(name: str, value: str, seconds: float, path: str) -> tuple[str, str]:
    """Return the header that sets a cookie of the external ``path`` for ``seconds``."""
    pair, limits = f"{_name_below(path, name)}={value}", f"Path={path or '/'}; Max-Age={int(seconds)}"
    return "set-cookie", f"{pair}; {limits}; Secure; HttpOnly; SameSite=Lax"


def _name_below(path: str, name: str) -> str:
    return name.replace("__Host-", "__Secure-") if path else name
