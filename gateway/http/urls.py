"""Credentials in URLs (some servers accept ``?api_key=…``), and whether a host is this machine."""

import ipaddress
from collections.abc import Iterator
from urllib.parse import unquote_plus, urlsplit

MASK = "***"


def credentials_in(url: str) -> tuple[str, ...]:
    """Return possible credentials in the query of ``url``, as written and as servers decode them."""
    found = (value for name, value in _query_pairs(url.partition("?")[2]) if not _is_public(name))
    return tuple(text for value in found for text in (value, unquote_plus(value)))


def mask_url(url: str) -> str:
    """Return ``url`` with masked credentials."""
    where, mark, query = url.partition("?")
    shown = (f"{name}={value if _is_public(name) else MASK}" if name else MASK for name, value in _query_pairs(query))
    return where + mark + "&".join(shown)


def _query_pairs(query: str) -> Iterator[tuple[str, str]]:
    """Yield the names and values of a query; a part without a name is a value, because it may be a key."""
    for part in filter(None, query.split("&")):
        name, found, value = part.partition("=")
        yield (name, value) if found else ("", part)


def _is_public(name: str) -> bool:
    """Return whether the parameter is public, such as Azure's ``api-version``, whose masking would also mask dates."""
    return "version" in name.lower()


def is_loopback(host: str) -> bool:
    """Return whether ``host`` in a URL is certainly this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def crosses_in_clear(url: str) -> bool:
    """Return whether traffic to the Redis server at ``url`` leaves this machine unencrypted."""
    return url.startswith("redis://") and not is_loopback(urlsplit(url).hostname or "localhost")


def host_of_url(url: str) -> str:
    """Return the host of ``url`` in lower case, empty for an invalid one."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""
