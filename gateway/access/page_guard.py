"""Pages in browsers: which may read our responses (CORS, https://fetch.spec.whatwg.org), and the guard against others.

A gateway that lets requests in without a key lets in what any page makes a browser send, by forms, images and
WebSockets, and everything that a page may read whose own name points at this machine (DNS rebinding: CVE-2024-28224).
A page can neither choose ``Host``, ``Origin`` and ``Sec-Fetch-Site`` nor leave out the first, programs that are no
browsers send no ``Origin``, and no page has a name without a dot.
"""

import re
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

import attrs

from gateway.config.settings import Config
from gateway.http.addresses import parse_ip
from gateway.http.certificates import shown_in
from gateway.http.headers import Headers
from streams.errors import GatewayError

ANY = "*"

_METHODS = "GET, POST, OPTIONS"
_ALLOWED = (
    "authorization", "content-type", "x-api-key", "anthropic-version", "anthropic-beta", "x-request-id",
    "x-trigate-key", "x-trigate-strict", "x-goog-api-key", "x-goog-api-client",
)  # fmt: skip
_ALLOWED_PREFIXES = ("x-trigate-", "x-stainless-", "anthropic-", "openai-")  # what the SDKs add in a browser
_REMEMBERED = "600"  # seconds; browsers cap it themselves


class Cors:
    """The origins that may read our answers: ``*`` for all, none for no cross-origin requests at all."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origin.lower() for origin in origins)

    def __bool__(self) -> bool:
        return bool(self._origins)

    def preflight(self, origin: str | None, requested: str) -> Headers:
        """The headers of the answer to ``OPTIONS`` before a request with the header names in ``requested``."""
        allowed = self._origin(origin)
        if not allowed:
            return self._vary()
        wished = (name.strip().lower() for name in requested.split(","))
        more = (name for name in wished if name.isascii() and name.startswith(_ALLOWED_PREFIXES))
        names = dict.fromkeys((*_ALLOWED, *sorted(more)))
        return (
            *allowed,
            ("access-control-allow-methods", _METHODS),
            ("access-control-allow-headers", ", ".join(names)),
            ("access-control-max-age", _REMEMBERED),
            *self._vary(),
        )

    def answered(self, origin: str | None, names: Iterable[str]) -> Headers:
        """Headers to add to an answer with the headers ``names``: a browser's script sees those that are named."""
        allowed = self._origin(origin)
        if not allowed:
            return self._vary()
        exposed = ", ".join(dict.fromkeys(name.lower() for name in names))
        return (*allowed, ("access-control-expose-headers", exposed), *self._vary())

    def _origin(self, origin: str | None) -> Headers:
        if origin is None or not self._origins:
            return ()
        if ANY in self._origins:
            return (("access-control-allow-origin", ANY),)
        return (("access-control-allow-origin", origin),) if origin.lower() in self._origins else ()

    def _vary(self) -> Headers:
        """Whatever origin asked: a cache must not give one origin's answer to another."""
        return () if ANY in self._origins or not self._origins else (("vary", "Origin"),)


Named: TypeAlias = Mapping[bytes, bytes]
"""The headers of a request by their names in lower case."""

_LOCAL: Final = (".localhost", ".internal")
"""Ends of names that no public DNS answers: RFC 6761, section 6.3, and ICANN's resolution of 2024-07-29."""

_OTHERS: Final = (b"cross-site", b"same-site")
_PAGES: Final = frozenset(("/", "/ui", "/ui/"))
"""Where a link of another page may lead: what is there is for people, and does nothing."""

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
"""Headers that a proxy adds, of which no program on this machine has any."""

_PORT: Final = re.compile(r"(?::[0-9]*)?")
_LONGEST: Final = 255  # characters of a name (RFC 1035, section 2.3.4)
_KNOWN: Final = 256  # verdicts that are remembered

_OTHER_NAME: Final = (
    "the gateway is not called {!r}: call it by localhost or by its address, or add the name to hosts in its "
    "configuration"
)
_OTHER_ORIGIN: Final = "pages of the origin {!r} may not connect: the configuration names under cors those that may"
_OTHER_SITE: Final = "pages of other sites may not connect: the configuration names under cors those that may"
_NOT_HERE: Final = (
    "the live view shows itself without a key on this machine alone, under localhost or a loopback address: set ui_key "
    "in the configuration to see it from elsewhere"
)
_OTHER_PAGE: Final = "the live view answers its own page only"


@attrs.frozen
class _Ends:
    """Whether each end of a connection is on the loopback interface."""

    client: bool
    server: bool


class PageGuard:
    """What holds for requests by one configuration. Where clients need a key, that is what no page has, and only
    ``hosts`` are asked for; WebSockets and the live view, which a browser may show a remembered password, are guarded
    always, and so is what comes with a client's certificate, which a browser shows for every page."""

    def __init__(self, config: Config, open: Collection[str]) -> None:
        """``open`` are the paths of probes, which anybody may ask in any name."""
        self._open = frozenset(open)
        self._keyed = config.asks_for_key
        self._ui_keyed = self._keyed or config.ui_key is not None
        self._hosts = frozenset(config.hosts)
        self._origins = frozenset(origin.lower() for origin in config.cors)
        self._knows: Callable[[bytes, bool], bool] = lru_cache(_KNOWN)(self._is_known)

    def check(self, asgi: Mapping[str, Any], named: Named) -> None:
        """Raises ``GatewayError`` (403) for the request or handshake of an ASGI scope that a page may have made a
        browser send. ``named`` are its headers."""
        path = asgi["path"]
        if path in self._open:
            return
        is_ui = is_live_view(path)
        host = named.get(b"host", b"")
        if is_ui:
            self._check_viewer(asgi, named, host)
        elif host and not self._knows(
            host[: _LONGEST + 9], (end := asgi.get("server")) is None or _is_loopback(end[0])
        ):
            raise _refused(_OTHER_NAME, host)
        if (b"origin" in named or b"sec-fetch-site" in named) and (
            is_ui or not self._keyed or asgi["type"] == "websocket" or shown_in(asgi)
        ):
            self._check_page(asgi, named, host, is_ui)

    # By name

    def _is_known(self, host: bytes, local: bool) -> bool:
        """``local``: the connection has come to a loopback address, to which any page's name may have been made to
        point. Without ``hosts`` those alone are guarded: elsewhere nothing says which names are right."""
        if not self._hosts and (self._keyed or not local):
            return True
        name = _name(host)
        if name is None:
            return False
        if name in self._hosts or parse_ip(name) is not None or (local and _is_localhost(name)):
            return True
        return not self._hosts and ("." not in name or name.endswith(_LOCAL) or name == _machine())

    def _check_viewer(self, asgi: Mapping[str, Any], named: Named, host: bytes) -> None:
        """Without a key: both ends of the connection are this machine's, nobody else asks through it, and the name is
        this machine's too."""
        if self._ui_keyed:
            if host and self._hosts and not self._knows(host[: _LONGEST + 9], _ends(asgi).server):
                raise _refused(_OTHER_NAME, host)
            return
        ends, name = _ends(asgi), _name(host)
        here = ends.client and ends.server and name is not None and (_is_localhost(name) or _is_loopback(name))
        if not here or any(one in _FORWARDED or one.startswith(_FORWARDED_PREFIXES) for one in named):
            raise GatewayError("permission", _NOT_HERE)

    # By page

    def _check_page(self, asgi: Mapping[str, Any], named: Named, host: bytes, is_ui: bool) -> None:
        method = asgi.get("method", "GET")
        if method == "OPTIONS":  # the question whether a page may ask; CORS answers it
            return
        origin = named.get(b"origin")
        if origin is not None and not self._is_own(origin, host) and (is_ui or not self._may_call(origin)):
            raise GatewayError("permission", _OTHER_PAGE) if is_ui else _refused(_OTHER_ORIGIN, origin)
        if named.get(b"sec-fetch-site") not in _OTHERS:
            return
        if named.get(b"sec-fetch-mode") == b"navigate" and asgi["path"] in _PAGES and method in ("GET", "HEAD"):
            return
        if is_ui:
            raise GatewayError("permission", _OTHER_PAGE)
        if not self._may_call(origin):
            raise GatewayError("permission", _OTHER_SITE)

    def _is_own(self, origin: bytes, host: bytes) -> bool:
        """Some clients that are no browser send the server's own origin. A proxy may have changed ``Host``."""
        place = origin.lower().partition(b"://")[2]
        return place == host.lower() or _name(place) in self._hosts

    def _may_call(self, origin: bytes | None) -> bool:
        if ANY in self._origins:
            return True
        return origin is not None and origin.lower().decode("latin-1") in self._origins


def is_live_view(path: str) -> bool:
    """Whether ``path`` is one of the live view's."""
    return path == "/ui" or path.startswith("/ui/")


def _refused(text: str, value: bytes) -> GatewayError:
    return GatewayError("permission", text.format(value[:100].decode("latin-1")))


def _name(host: bytes) -> str | None:
    """The name or the address in a ``Host`` without its port, ``None`` where there is none that could be right."""
    text = host.decode("latin-1").lower().strip()
    if text.startswith("["):
        name, bracket, port = text[1:].partition("]")
        return name if bracket and _PORT.fullmatch(port) else None
    name, colon, port = text.partition(":")
    return name.removesuffix(".") or None if len(name) <= _LONGEST and _PORT.fullmatch(colon + port) else None


def _is_localhost(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")


def _ends(asgi: Mapping[str, Any]) -> _Ends:
    client, server = asgi.get("client"), asgi.get("server")
    return _Ends(*(end is not None and _is_loopback(str(end[0])) for end in (client, server)))


@lru_cache(_KNOWN)
def _is_loopback(address: str) -> bool:
    found = parse_ip(address)
    return found is not None and found.is_loopback


@lru_cache(1)
def _machine() -> str:
    return socket.gethostname().lower().removesuffix(".")
