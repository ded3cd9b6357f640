"""The headers of all pages, and those of browsers that request one."""

import base64

from gateway.http.headers import Headers

GUARDED: Headers = (
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
)
TEXT: Headers = (("content-type", "text/plain; charset=utf-8"), *GUARDED)


def wants_page(headers: Headers) -> bool:
    """Return whether a browser sent the request, to show the response."""
    return any(name == "accept" and "text/html" in value for name, value in headers)


def as_bearer(name: str, value: str) -> tuple[str, str]:
    """Return the header with a password as a bearer key: browsers can only send a key that way (RFC 7617)."""
    if name != "authorization" or value[:6].lower() != "basic ":
        return name, value
    try:
        _, _, password = base64.b64decode(value[6:].strip(), validate=True).decode("latin-1").partition(":")
    except ValueError:  # also for text outside ASCII
        password = ""
    return name, f"Bearer {password}"
