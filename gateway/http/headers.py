"""Headers that cross the gateway, by direction (RFC 9110 section 7.6.1 and what the providers' SDKs read)."""

from collections.abc import Iterable

Headers = tuple[tuple[str, str], ...]

_HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "trailers", "transfer-encoding", "upgrade",
}  # fmt: skip

# Credentials are ours to give, never the client's to leak; the rest describes the client's connection, not the request.
_NOT_UPSTREAM = _HOP_BY_HOP | {
    "authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "host", "content-length", "content-encoding",
    "accept-encoding", "expect", "forwarded", "via", "x-real-ip", "x-request-id", "remote-addr",
    "origin", "referer",  # of the page that called us: Anthropic refuses what seems to come from a browser
}  # fmt: skip
_NOT_UPSTREAM_PREFIXES = ("x-forwarded-", "x-trigate-", "x-arch-", "x-plano-", "access-control-", "sec-")

_NOT_DOWNSTREAM = _HOP_BY_HOP | {
    "set-cookie", "server", "date", "content-type", "content-length", "content-encoding", "alt-svc",
    "strict-transport-security", "x-request-id", "request-id", "vary", "cache-control", "x-accel-buffering",
}  # fmt: skip
_NOT_DOWNSTREAM_PREFIXES = ("access-control-", "x-trigate-")

_TELLING = {"retry-after", "retry-after-ms", "x-should-retry"}
_TELLING_PREFIXES = ("anthropic-ratelimit-", "x-ratelimit-")


def upstream_headers(client: Iterable[tuple[str, str]], foreign: tuple[str, ...]) -> Headers:
    """The client's headers for an upstream of its own API (the byte lane). ``foreign`` are beginnings of names
    that mean something to other APIs alone."""
    headers = tuple(client)
    named = _named(headers)
    return tuple(
        (name, value)
        for name, value in headers
        if name not in _NOT_UPSTREAM
        and name not in named
        and not name.startswith((*_NOT_UPSTREAM_PREFIXES, *foreign))
        and value.isprintable()
    )


def upstream_query(client: str, foreign: frozenset[str]) -> str:
    """The client's query string for an upstream of its own API, without the members that mean something to other APIs
    alone."""
    if not client:
        return client
    return "&".join(pair for pair in client.split("&") if pair.partition("=")[0] not in foreign)


def passthrough_headers(upstream: Headers) -> Headers:
    """The upstream's headers for a client of its own API (the byte lane)."""
    named = _named(upstream)
    return tuple(
        (name, value)
        for name, value in upstream
        if name not in _NOT_DOWNSTREAM and name not in named and not name.startswith(_NOT_DOWNSTREAM_PREFIXES)
    )


def _named(headers: Headers) -> set[str]:
    """The headers that ``Connection`` names, which are hop-by-hop too."""
    return {token.strip().lower() for name, value in headers if name == "connection" for token in value.split(",")}


def translated_headers(upstream: Headers) -> Headers:
    """The headers that a client of another API still needs: waits and limits."""
    return tuple((name, value) for name, value in upstream if name in _TELLING or name.startswith(_TELLING_PREFIXES))


def upstream_id(upstream: Headers) -> str | None:
    """The provider's own id of the request."""
    return next((value for name, value in upstream if name in ("request-id", "x-request-id")), None)


def as_text(pairs: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Headers from the wire, names in lower case."""
    return tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in pairs)


def says_close(pairs: Iterable[tuple[bytes, bytes]]) -> bool:
    """True if the connection ends with the message that has these headers, names in lower case (RFC 9112, section
    9.6)."""
    values = [value for name, value in pairs if name == b"connection"]
    return bool(values) and b"close" in map(bytes.strip, b",".join(values).lower().split(b","))


def paths_header(paths: tuple[str, ...], limit: int = 2000) -> str:
    """The value of ``x-trigate-dropped`` or ``x-trigate-adapted``, within ``limit``."""
    return header_safe(",".join(first_paths(paths, limit)))


def first_paths(paths: tuple[str, ...], limit: int = 2000) -> tuple[str, ...]:
    """As many of ``paths`` as fit into 2 kB, then how many more (``+3``): clients choose names and number."""
    if sum(map(len, paths)) + len(paths) - 1 <= limit:
        return paths
    kept: list[str] = []
    size = 0
    for path in paths:
        if size + len(path) + 1 > limit:
            break
        kept.append(path)
        size += len(path) + 1
    return (*kept, f"+{len(paths) - len(kept)}")


def header_safe(text: str) -> str:
    """``text`` as a header's value: names that a client or a config gave must not end the header."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if " " <= char <= "~" else "?" for char in text)
