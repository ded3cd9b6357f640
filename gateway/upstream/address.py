"""The address of a provider: a URL split for the connection and the request."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import quote, urlsplit

import attrs

from gateway.upstream.errors import misconfigured

PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}

NO_ADDRESS = "the provider's address is not an http or https URL with a host; correct base_url in the configuration"

_HOST = re.compile(r"[!-~]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # urlsplit silently removes some of them
# Printable characters that a URL contains without encoding (https://url.spec.whatwg.org/#percent-encoded-bytes).
_QUERY: Final = "".join(char for char in map(chr, range(0x21, 0x7F)) if char not in '"#<>')
_PATH: Final = "".join(char for char in _QUERY if char not in "?`{}")


@attrs.frozen(repr=False)
class Origin:
    """A server (RFC 6454). ``host`` is a name or an address without brackets."""

    scheme: str
    host: str
    port: int

    @property
    def secure(self) -> bool:
        return self.scheme == "https"

    @property
    def authority(self) -> bytes:
        """The host and port in the form of a ``CONNECT``."""
        return f"{self._bracketed_host}:{self.port}".encode("ascii")

    @property
    def host_header(self) -> bytes:
        """The value of ``host``, without the scheme's default port."""
        return self._bracketed_host.encode("ascii") if self.port == PORTS[self.scheme] else self.authority

    @property
    def _bracketed_host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


@attrs.frozen(repr=False)
class Address:
    """A split URL. ``target`` is its path and query for the first line of a request, ``host_header`` its origin's."""

    origin: Origin
    target: bytes
    host_header: bytes = attrs.field(init=False)

    @host_header.default
    def _of_origin(self) -> bytes:
        return self.origin.host_header

    @property
    def absolute(self) -> bytes:
        """The target of a request to a proxy (RFC 9112, section 3.2.2)."""
        return b"%b://%b%b" % (self.origin.scheme.encode("ascii"), self.host_header, self.target)


@lru_cache(maxsize=256)
def parse_address(url: str) -> Address:
    """Split ``url`` into its origin and the target of a request.

    Raises ``UpstreamError``, which does not quote ``url``, because it may contain a password."""
    origin = parse_origin(url)
    if origin is None:
        raise misconfigured(NO_ADDRESS)
    parts = urlsplit(url)
    target = quote(parts.path or "/", safe=_PATH) + (f"?{quote(parts.query, safe=_QUERY)}" if parts.query else "")
    return Address(origin, target.encode("ascii"))


def parse_origin(url: str) -> Origin | None:
    """Return the server of an http or https URL, or ``None`` if ``url`` is invalid."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if parts.scheme not in PORTS or not _HOST.fullmatch(host) or _CONTROL.search(url):
        return None
    return Origin(parts.scheme, host, PORTS[parts.scheme] if port is None else port)
