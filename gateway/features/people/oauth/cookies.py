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
"""Seconds of the cookie ``SIGN_IN``, the most that browsers permit. Tabs that a browser restores after a session share
it; otherwise each would set another one, and only the last could sign in."""

_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_MOST: Final = 64 * 1024  # bytes of cookies that are read


def new_cookie_value() -> str:
    """Return a random value of 256 bits."""
    return secrets.token_urlsafe(32)


def read_cookie(headers: Headers, name: str, path: str) -> str | None:
    """Return the value of the cookie ``name`` of the external ``path``.

    Return ``None`` if it is missing, invalid or there twice."""
    name = _name_below(path, name)
    text = ";".join(value for header, value in headers if header == "cookie")[:_MOST]
    pairs = (pair.strip().partition("=") for pair in text.split(";"))
    values = [value for found, _, value in pairs if found == name]
    return values[0] if len(values) == 1 and _VALUE.fullmatch(values[0]) else None


def set_cookie(name: str, value: str, seconds: float, path: str) -> tuple[str, str]:
    """Return the header that sets a cookie of the external ``path`` for ``seconds``."""
    pair, limits = f"{_name_below(path, name)}={value}", f"Path={path or '/'}; Max-Age={int(seconds)}"
    return "set-cookie", f"{pair}; {limits}; Secure; HttpOnly; SameSite=Lax"


def delete_cookie(name: str, path: str) -> tuple[str, str]:
    """Return the header that deletes a cookie."""
    return set_cookie(name, "", 0, path)


def _name_below(path: str, name: str) -> str:
    return name.replace("__Host-", "__Secure-") if path else name
