"""The discovery document of an issuer (OpenID Connect Discovery 1.0, RFC 8414), and which URLs the gateway requests.

The document decides where the gateway sends requests, so it must not lead them to other targets: services of this
machine, or the metadata services of clouds, which hand out credentials to any process."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from gateway.features.people.issuer_urls import is_this_machine, url_problem

WELL_KNOWN: Final = "/.well-known/openid-configuration"


class BadDocument(Exception):
    """An error: a document or URL of an issuer is unusable. The message is the reason, for the end of a sentence."""


def check_url(url: str, issuer_is_local: bool) -> str:
    """Return ``url`` if the gateway may request it: HTTPS, or HTTP on this machine if the issuer runs there too.

    Raises ``BadDocument``."""
    if (problem := url_problem(url, may_be_local=issuer_is_local)) is not None:
        raise BadDocument(problem)
    return url


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


def _endpoint(document: Mapping[str, Any], name: str, issuer_is_local: bool) -> str | None:
    url = document.get(name)
    if url is None:
        return None
    if not isinstance(url, str):
        raise BadDocument(f"its `{name}` is not text")
    try:
        return check_url(url, issuer_is_local)
    except BadDocument as error:
        raise BadDocument(f"`{name}`: {error}") from None
