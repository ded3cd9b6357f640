"""The proxies of the environment: ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``ALL_PROXY``, with the exceptions in
``NO_PROXY``."""

import base64
import ipaddress
import os
import re
import sys
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import attrs

from gateway.http.addresses import IpNetwork
from gateway.upstream.address import Origin, parse_origin
from gateway.upstream.errors import misconfigured

BAD_PROXY = "the proxy in the gateway's environment is not an http or https URL; correct HTTPS_PROXY or ALL_PROXY"

_ENTRY = re.compile(r"(?:(?P<scheme>[a-z]+)://)?(?P<name>[^:/\[\]]*)(?::(?P<port>\d{1,5}))?")


@attrs.frozen
class Proxy:
    """An HTTP proxy, with its value of ``proxy-authorization``, if any."""

    origin: Origin
    authorization: bytes | None = attrs.field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> "Proxy":
        """Return the proxy at ``url``. Raises ``UpstreamError``, which does not quote ``url``, because it may contain a
        password."""
        origin = parse_origin(url)
        if origin is None:
            raise misconfigured(BAD_PROXY)
        parts = urlsplit(url)
        if not parts.username:
            return cls(origin)
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return cls(origin, b"Basic " + base64.b64encode(pair.encode()))


def proxy_headers(proxy: Proxy) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers for the proxy itself."""
    return () if proxy.authorization is None else ((b"Proxy-Authorization", proxy.authorization),)


@attrs.frozen(repr=False)
class Exemption:
    """One entry of ``NO_PROXY``: a network, or a name and its subdomains. Empty values and ``None`` match
    everything."""

    scheme: str
    host: re.Pattern[str] | IpNetwork | None
    port: int | None

    def fits(self, origin: Origin) -> bool:
        return (
            self.scheme in ("", "all", origin.scheme)
            and self.port in (None, origin.port)
            and (self.host is None or _is_in(origin.host, self.host))
        )

    @classmethod
    def parse(cls, entry: str) -> "Exemption | None":
        """Return the exemption of an entry, or ``None`` for an invalid entry, which curl and Go also skip."""
        try:
            return cls("", ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False), None)
        except ValueError:
            found = _ENTRY.fullmatch(entry.lower())
        if found is None:
            return None
        name, port = found["name"], found["port"]
        # .example.com and *.example.com match subdomains only; example.com also matches itself.
        below = r"(?:.+\.)" if name.startswith((".", "*.")) else r"(?:.+\.)?"
        host = re.compile(below + re.escape(name.removeprefix("*").removeprefix(".")))
        return cls(found["scheme"] or "", host if name else None, int(port) if port else None)


def _is_in(host: str, where: re.Pattern[str] | IpNetwork) -> bool:
    if isinstance(where, re.Pattern):
        return where.fullmatch(host) is not None
    try:
        return ipaddress.ip_address(host) in where
    except ValueError:
        return False


class ProxyRules:
    """Chooses a proxy for each server.

    ``variables`` are the proxies' URLs by scheme, and the exceptions under ``no``. An invalid URL fails only the
    requests that need it."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        entries = [entry.strip() for entry in variables.get("no", "").split(",")]
        self._urls = {} if "*" in entries else {name: url for name, url in variables.items() if url and name != "no"}
        self._exempt = [found for entry in entries if entry and (found := Exemption.parse(entry)) is not None]
        self._parsed: dict[str, Proxy] = {}

    @classmethod
    def of_environment(cls) -> "ProxyRules":
        """Return the rules of the environment's variables, in either case, and on macOS and Windows of the system."""
        if sys.platform == "linux" and not any(name.lower().endswith("_proxy") for name in os.environ):
            return cls({})
        from urllib.request import getproxies  # slow to import

        return cls(getproxies())

    def proxy_for(self, origin: Origin) -> Proxy | None:
        """Return the proxy for ``origin``, or ``None`` for a direct connection. Raises ``UpstreamError``."""
        url = self._urls.get(origin.scheme) or self._urls.get("all")
        if url is None or any(one.fits(origin) for one in self._exempt):
            return None
        if url not in self._parsed:
            self._parsed[url] = Proxy.parse(url if "://" in url else f"http://{url}")
        return self._parsed[url]


@attrs.frozen(repr=False)
class UpstreamRoute:
    """The route to ``origin``, direct or through ``proxy``. A connection serves requests of one route only."""

    origin: Origin
    proxy: Proxy | None = None

    @property
    def is_tunnel(self) -> bool:
        """Whether the proxy forwards encrypted bytes (``CONNECT``)."""
        return self.proxy is not None and self.origin.secure

    @property
    def is_forwarding(self) -> bool:
        """Whether the proxy receives and forwards the request itself."""
        return self.proxy is not None and not self.origin.secure
