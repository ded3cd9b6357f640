"""The discovery document of an issuer (OpenID Connect Discovery 1.0, RFC 8414), and which URLs the gateway requests.

The document decides where the gateway sends requests, so it must not lead them to other targets: services of this
machine, or the metadata services of clouds, which hand out credentials to any process. `trigate check` and each request
apply the same rules."""

import ipaddress
import socket
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from gateway.http.addresses import parse_ip
from gateway.http.urls import is_loopback

WELL_KNOWN: Final = "/.well-known/openid-configuration"


class BadDocument(Exception):
    """An error: a document of an issuer is unusable. The message is the reason, for the end of a sentence."""


def runs_on_this_machine(issuer_url: str) -> bool:
    """Return whether an issuer's URL is on a loopback address."""
    try:
        return is_this_machine(urlsplit(issuer_url).hostname or "")
    except ValueError:
        return False


@attrs.frozen(repr=False)
class IssuerMetadata:
    """The endpoints of an issuer, ``None`` for those that it does not have.

    ``wants_secret_in_body``: its token endpoint accepts the client's secret in the form only. ``sends_issuer``: its
    redirects have ``iss`` (RFC 9207)."""

    issuer: str
    jwks_uri: str | None = None
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    wants_secret_in_body: bool = False
    sends_issuer: bool = False


_ENDPOINTS: Final = (
    "jwks_uri", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "end_session_endpoint",
)  # fmt: skip


def read_metadata(document: Any, issuer_url: str) -> IssuerMetadata:
    """Return the endpoints in the discovery document of the issuer at ``issuer_url``. Raises ``BadDocument``."""
    if not isinstance(document, dict):
        raise BadDocument("it is not a JSON object")
    if document.get("issuer") != issuer_url:
        raise BadDocument("its `issuer` is not the configured one: copy it exactly, final slash included")
    local = runs_on_this_machine(issuer_url)
    found = {name: _endpoint(document, name, local) for name in _ENDPOINTS}
    methods = document.get("token_endpoint_auth_methods_supported")
    known = methods if isinstance(methods, list) else []
    return IssuerMetadata(
        issuer_url,
        **found,
        wants_secret_in_body="client_secret_post" in known and "client_secret_basic" not in known,
        sends_issuer=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _endpoint(document: dict[str, Any], name: str, issuer_is_local: bool) -> str | None:
    url = document.get(name)
    if url is not None and not isinstance(url, str):
        raise BadDocument(f"its `{name}` is not text")
    problem = None if url is None else url_problem(url, may_be_local=issuer_is_local)
    if problem is not None:
        raise BadDocument(f"`{name}`: {problem}")
    return url


# URLs


_METADATA: Final = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200")))
"""Metadata services at addresses that are not link-local: AWS's over IPv6, and Alibaba's."""


def is_permitted_address(address: str) -> bool:
    """Return whether the gateway may connect to an IP address on behalf of an issuer."""
    parsed = parse_ip(address)
    return parsed is None or not (parsed.is_link_local or parsed.is_unspecified or parsed in _METADATA)


def url_problem(url: str, *, may_be_local: bool) -> str | None:
    """Return the reason why the gateway does not request ``url``, for the end of a sentence; ``None`` if it does.

    It requests HTTPS, and HTTP on this machine. With ``may_be_local`` the URL may lead to this machine."""
    try:
        parts = urlsplit(url)
        host, _ = _usual_spelling(parts.hostname or ""), parts.port
    except ValueError:
        return "it has an invalid URL"
    if not host or parts.username is not None or parts.fragment or not url.isascii() or not url.isprintable():
        return "it has an invalid URL"
    local = is_this_machine(host)
    if local and not may_be_local:
        return "it leads to this machine, and the issuer runs elsewhere"
    if not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        return "it has a URL without HTTPS"
    if not is_permitted_address(host):
        return "it leads to a link-local or unspecified address, or to the metadata service of a cloud"
    return None


def is_this_machine(host: str) -> bool:
    """Return whether ``host`` is a loopback address, also an IPv4 one in the form of IPv6, or ``localhost``."""
    parsed = parse_ip(host)
    return is_loopback(host if parsed is None else str(parsed))


def _usual_spelling(host: str) -> str:
    """Return an IPv4 address with four numbers, which resolvers also read as ``0xa9fea9fe`` or ``127.1``."""
    try:
        return socket.inet_ntoa(socket.inet_aton(host)) if host[:1].isdigit() else host
    except OSError:
        return host
