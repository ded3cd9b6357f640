"""Protection against requests that web pages make browsers send.

Without client keys, any page could send requests by forms, images and WebSockets. A page whose host name resolves to
this machine could even read the responses (DNS rebinding: CVE-2024-28224). The guard relies on three facts: pages
cannot choose ``Host``, ``Origin`` and ``Sec-Fetch-Site`` nor omit ``Host``; programs other than browsers send no
``Origin``; no page's host name lacks a dot."""

import re
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

import attrs

from gateway.config.settings import Config
from gateway.http.addresses import parse_ip
from gateway.http.certificates import certificate_names
from streams.errors import GatewayError
from streams.events import ErrorInfo

ANY = "*"

HeaderMap: TypeAlias = Mapping[bytes, bytes]
"""The headers of a request by lower-case name."""

_LOCAL: Final = (".localhost", ".internal")
"""Suffixes of host names that no public DNS resolves: RFC 6761, section 6.3, and ICANN's resolution of 2024-07-29."""

_PAGE: Final = b"document"
_FOREIGN_SITES: Final = (b"cross-site", b"same-site")
_START: Final = "/"
"""The path that sends browsers to a page. Links on other pages may open it."""

_FORWARDED: Final = frozenset(
    (
        b"forwarded", b"via", b"true-client-ip", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip", b"x-forwarded",
        b"forwarded-for", b"x-arr-log-id", b"x-cloud-trace-context", b"do-connecting-ip", b"client-ip",
    )
)  # fmt: skip
_FORWARDED_PREFIXES: Final = (
    b"x-forwarded-", b"x-original-", b"cf-", b"fastly-", b"x-envoy-", b"x-amzn-trace-id", b"fly-", b"x-azure-",
    b"x-appengine-", b"x-vercel-", b"x-nf-", b"x-akamai-", b"x-goog-iap-", b"x-ms-client-principal", b"tailscale-",
    b"ngrok-",
)  # fmt: skip
"""Headers that proxies add and programs on this machine never send."""

_PORT: Final = re.compile(r"(?::[0-9]*)?")
_LONGEST: Final = 255  # characters of a host name (RFC 1035, section 2.3.4)
_CACHED_VERDICTS: Final = 256  # remembered verdicts

_OTHER_NAME: Final = (
    "unknown host name {!r}: use localhost or the gateway's IP address, or add the name to `hosts` in its configuration"
)
_OTHER_ORIGIN: Final = "web pages of {!r} may not use this gateway: add the origin to `cors` in its configuration"
_OTHER_SITE: Final = (
    "web pages of other sites may not use this gateway: add their origins to `cors` in its configuration"
)
_NOT_HERE: Final = (
    "without a key, this page works only on this machine, under localhost or a loopback address: for other machines, "
    "set `ui_key` in the configuration"
)
_OTHER_PAGE: Final = "only the gateway's own pages may send this request, whatever `cors` permits: open the page itself"


@attrs.frozen(eq=False, repr=False)
class _LoopbackEnds:
    """True if each end of a connection is on the loopback interface."""

    client: bool
    server: bool


@attrs.frozen(eq=False, repr=False)
class GuardedPaths:
    """The path ``start`` of a feature and all paths below it, whose requests are always checked.

    Links on other pages may open those in ``pages``: they are for people. If they ``are_views``, browsers may remember
    their password: only the gateway's own pages may use them, and without a key only this machine. ``with_form`` puts
    the error for clients of the paths into their form."""

    start: str
    pages: tuple[str, ...] = ()
    are_views: bool = False
    with_form: Callable[[ErrorInfo], ErrorInfo] | None = None


class PageGuard:
    """The checks of requests by one configuration against hostile pages.

    If clients need a key, only ``hosts`` are checked: pages have no key. WebSockets, ``GuardedPaths`` and requests with
    a client certificate (which browsers send for every page) are always checked."""

    def __init__(self, config: Config, open: Collection[str], guarded: Sequence[GuardedPaths] = ()) -> None:
        """Prepare the checks of ``config``. ``open`` has the paths of probes, which are never checked."""
        self._open = frozenset(open)
        self._guarded = guarded
        self._views = tuple(f"{one.start}/" for one in guarded if one.are_views)
        self._always = tuple(f"{one.start}/" for one in guarded)
        self._pages = frozenset((_START, *(page for one in guarded for page in one.pages)))
        self._keyed = config.asks_for_key
        self._ui_keyed = config.pages_ask_for_key
        self._hosts = frozenset(config.hosts)
        self._origins = frozenset(origin.lower() for origin in config.cors)
        self._public_origin = config.external.origin.encode() or None
        self._is_known_cached: Callable[[bytes, bool], bool] = lru_cache(_CACHED_VERDICTS)(self._is_known)

    def check(self, asgi: Mapping[str, Any], headers: HeaderMap) -> None:
        """Raise ``GatewayError`` (403) for a request or handshake that a page may have made a browser send.

        ``headers`` are the request's headers by lower-case name."""
        path = asgi["path"]
        if path in self._open:
            return
        is_ui = self.is_view(path)
        host = headers.get(b"host", b"")
        if is_ui:
            self._check_viewer(asgi, headers, host)
        elif host and not self._is_known_cached(
            host[: _LONGEST + 9], (end := asgi.get("server")) is None or _is_loopback(end[0])
        ):
            raise _refusal(_OTHER_NAME, host)
        if (b"origin" in headers or b"sec-fetch-site" in headers) and (
            is_ui
            or not self._keyed
            or asgi["type"] == "websocket"
            or f"{path}/".startswith(self._always)
            or certificate_names(asgi)
        ):
            self._check_page(asgi, headers, host, is_ui)

    def is_view(self, path: str) -> bool:
        """Return whether ``path`` is one of ``GuardedPaths`` that ``are_views``."""
        return f"{path}/".startswith(self._views)

    def with_form(self, path: str, error: ErrorInfo) -> ErrorInfo:
        """Return ``error`` in the form of the clients of ``path``."""
        for one in self._guarded:
            if one.with_form is not None and f"{path}/".startswith(f"{one.start}/"):
                error = one.with_form(error)
        return error

    # Checks of the host name

    def _is_known(self, host: bytes, local: bool) -> bool:
        """Return whether the gateway may be requested under the name ``host``. ``local``: at a loopback address.

        A hostile page's name may resolve to a loopback address. Without ``hosts`` only these connections are checked,
        because the gateway cannot know its names on other addresses."""
        if not self._hosts and (self._keyed or not local):
            return True
        name = _host_name(host)
        if name is None:
            return False
        if name in self._hosts or parse_ip(name) is not None or (local and _is_localhost(name)):
            return True
        return not self._hosts and ("." not in name or name.endswith(_LOCAL) or name == _machine())

    def _check_viewer(self, asgi: Mapping[str, Any], headers: HeaderMap, host: bytes) -> None:
        """Check that a request for a view without a key comes from this machine, not through a proxy, and under
        a local name. Raises ``GatewayError`` (403)."""
        if self._ui_keyed:
            if host and self._hosts and not self._is_known_cached(host[: _LONGEST + 9], _loopback_ends(asgi).server):
                raise _refusal(_OTHER_NAME, host)
            return
        ends, name = _loopback_ends(asgi), _host_name(host)
        here = ends.client and ends.server and name is not None and (_is_localhost(name) or _is_loopback(name))
        if not here or any(one in _FORWARDED or one.startswith(_FORWARDED_PREFIXES) for one in headers):
            raise GatewayError("permission", _NOT_HERE)

    # By page

    def _check_page(self, asgi: Mapping[str, Any], headers: HeaderMap, host: bytes, is_ui: bool) -> None:
        method = asgi.get("method", "GET")
        if method == "OPTIONS":  # a preflight, which CORS answers
            return
        is_page = is_ui or asgi["path"] in self._pages
        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
        if origin == b"null" and site == b"same-origin":  # a form on a page with `Referrer-Policy: no-referrer`
            return
        if origin is not None and not self._is_own(origin, host) and (is_ui or not self._may_call(origin)):
            raise GatewayError("permission", _OTHER_PAGE) if is_page else _refusal(_OTHER_ORIGIN, origin)
        if site not in _FOREIGN_SITES:
            return
        if asgi["path"] in self._pages and method in ("GET", "HEAD") and _opens_page(headers):
            return
        if is_ui:
            raise GatewayError("permission", _OTHER_PAGE)
        if not self._may_call(origin):
            raise GatewayError("permission", _OTHER_PAGE if is_page else _OTHER_SITE)

    def _is_own(self, origin: bytes, host: bytes) -> bool:
        """Return whether ``origin`` is the server's own, which some programs other than browsers send.

        A proxy may have changed ``Host``."""
        place = origin.lower().partition(b"://")[2]
        return origin == self._public_origin or place == host.lower() or _host_name(place) in self._hosts

    def _may_call(self, origin: bytes | None) -> bool:
        if ANY in self._origins:
            return True
        return origin is not None and origin.lower().decode("latin-1") in self._origins


def _opens_page(headers: HeaderMap) -> bool:
    """Return whether a browser opens the page for a person, not in a frame of another page."""
    return headers.get(b"sec-fetch-mode") == b"navigate" and headers.get(b"sec-fetch-dest", _PAGE) == _PAGE


def _refusal(text: str, value: bytes) -> GatewayError:
    return GatewayError("permission", text.format(value[:100].decode("latin-1")))


def _host_name(host: bytes) -> str | None:
    """Return the host name or address in a ``Host`` header without its port, ``None`` if it is invalid."""
    text = host.decode("latin-1").lower().strip()
    if text.startswith("["):
        name, bracket, port = text[1:].partition("]")
        return name if bracket and _PORT.fullmatch(port) else None
    name, colon, port = text.partition(":")
    return name.removesuffix(".") or None if len(name) <= _LONGEST and _PORT.fullmatch(colon + port) else None


def _is_localhost(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")


def _loopback_ends(asgi: Mapping[str, Any]) -> _LoopbackEnds:
    client, server = asgi.get("client"), asgi.get("server")
    return _LoopbackEnds(*(end is not None and _is_loopback(str(end[0])) for end in (client, server)))


@lru_cache(_CACHED_VERDICTS)
def _is_loopback(address: str) -> bool:
    found = parse_ip(address)
    return found is not None and found.is_loopback


@lru_cache(1)
def _machine() -> str:
    return socket.gethostname().lower().removesuffix(".")
