"""Credentials in URLs (some servers take a key as ``?api_key=…``), and whose machine a host is."""

import ipaddress
from collections.abc import Iterator
from urllib.parse import unquote_plus, urlsplit

MASK = "***"


def credentials_in(url: str) -> tuple[str, ...]:
    """The values in the query of ``url`` that may be credentials, as they stand there and as a server reads them."""
    found = (value for name, value in _pairs(url.partition("?")[2]) if not _is_public(name))
    return tuple(text for value in found for text in (value, unquote_plus(value)))


def masked(url: str) -> str:
    """``url`` as it may be shown."""
    where, mark, query = url.partition("?")
    shown = (f"{name}={value if _is_public(name) else MASK}" if name else MASK for name, value in _pairs(query))
    return where + mark + "&".join(shown)


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    """The names and values of a query. What stands alone is a value: it may be the key."""
    for part in filter(None, query.split("&")):
        name, found, value = part.partition("=")
        yield (name, value) if found else ("", part)


def _is_public(name: str) -> bool:
    """Azure's ``api-version``, a date: to mask it would blot out other dates, and what its errors are about."""
    return "version" in name.lower()


def is_loopback(host: str) -> bool:
    """True if ``host``, as it stands in a URL, is this machine for sure."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def crosses_in_clear(url: str) -> bool:
    """True if what is said to the Redis server at ``url`` leaves this machine without encryption."""
    return url.startswith("redis://") and not is_loopback(urlsplit(url).hostname or "localhost")
