"""The URL at which clients and browsers reach the gateway. Links, redirects, cookies and metadata all use this one.

Below a path, such as ``https://host/llm``, some proxies remove the path from requests and others keep it. Both work: an
adapter removes the path where it is still present, so routes and checks only see paths from the root."""

import re
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import attrs

if TYPE_CHECKING:
    from gateway.http.headers import Adapter, EditHeaders, Headers, RawHeaders

_IN_SCOPE: Final = "trigate.external_url"
"""The key of the configured URL in the ASGI scope of a request."""

_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?")
_UNKNOWN: Final = "http://HOST:PORT"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LINK: Final = re.compile(rb' (?:href|src|action)="(?=/)')


@attrs.frozen(repr=False)
class ExternalUrl:
    """``public_url`` of a configuration, without ``/v1`` and a slash at its end, and its parts.

    Without one, all are empty."""

    url: str = ""
    origin: str = ""
    host: str = ""
    path: str = ""

    def with_links(self, page: bytes) -> bytes:
        """Return ``page`` with the external path before its links, which lead to paths from the root.

        Texts and values in a page have no quotes, so only links match."""
        return _LINK.sub(lambda found: found[0] + self.path.encode(), page) if self.path else page


@lru_cache(16)
def read_external_url(public_url: str | None) -> ExternalUrl:
    if public_url is None:
        return ExternalUrl()
    url = public_url.rstrip("/").removesuffix("/v1")  # of clients' base URLs
    parts = urlsplit(url)
    return ExternalUrl(url, origin_of_url(url), parts.netloc, parts.path)


def origin_of_url(url: str) -> str:
    """Return the origin of ``url`` as browsers write it: lower case, without a default port."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    name = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{name}{port}"


def url_of_request(scope: Mapping[str, Any], headers: "Headers") -> str:
    """Return the gateway's URL as the client sees it: the configured one, else from a valid ``host`` or the scope."""
    if (configured := scope.get(_IN_SCOPE)) is not None:
        return str(configured)
    named = dict(headers)
    host = named.get("host", "")
    if _HOST.fullmatch(host) is None:
        return _UNKNOWN
    secure = "https" in (scope.get("scheme"), named.get("x-forwarded-proto"))
    return f"{'https' if secure else 'http'}://{host}"


def make_url_adapter(external: ExternalUrl) -> "Adapter":
    """Return the adapter for requests to a gateway at ``external``.

    It also accepts the well-known URLs of RFC 8414 and RFC 9728, which have the external path at their end."""
    start = re.compile(rf"/*(/\.well-known/[^/]+)?{re.escape(external.path)}(?=/|$)")
    raw_start = external.path.encode()

    def add_to_redirects(headers: "RawHeaders") -> "RawHeaders":
        """Return ``headers`` with the external path before a redirect to a path from the root."""
        return [
            (name, raw_start + value if name == b"location" and value[:1] == b"/" else value) for name, value in headers
        ]

    def adapt(scope: MutableMapping[str, Any]) -> "EditHeaders | None":
        scope[_IN_SCOPE] = external.url
        if not external.path:
            return None
        path, raw = scope["path"], scope.get("raw_path") or b""
        if (found := start.match(path)) is not None:
            scope["path"] = (found[1] or "") + path[found.end() :] or "/"
            scope["raw_path"] = raw.removeprefix(raw_start)
        return add_to_redirects

    return adapt
