"""The HTTP request to a provider: address, headers, body, and signature."""

from typing import Final

import attrs

from gateway.http.headers import Headers, upstream_headers, upstream_query
from gateway.http.passing import translated_header_names
from gateway.request.client_request import ClientRequest
from gateway.routing.target import Target
from gateway.upstream.request import UpstreamRequest
from providers.apis import CODECS
from providers.auth.signer import Credential, UnsignedRequest
from providers.errors.member_paths import BETA
from providers.neutral.codec import Outgoing
from providers.neutral.wire_api import Hosting

_JSON: Final = "application/json"


@attrs.frozen(eq=False, repr=False)
class MediaTypes:
    """The media types of a request's ``body`` (``None`` without one) and of ``accepted`` responses."""

    body: str | None
    accepted: str


def upstream_request(
    outgoing: Outgoing,
    target: Target,
    client_request: ClientRequest,
    stream: bool,
    suffix: str | None = None,
    *,
    method: str = "POST",
    media: MediaTypes | None = None,
) -> UpstreamRequest:
    """Return the unsigned HTTP request.

    The byte lane forwards the permitted headers and query parameters of the client. The hub lane only sends what the
    codec writes, the betas of the model's name, and the account of a client's own credential. Both forward the headers
    in ``pass_headers``. ``suffix`` is the end of the path, by default that of a response; the default of ``media`` is
    JSON and the target's response type."""
    wire = CODECS[target.api].wire
    url = target.answer_addresses[stream] if suffix is None else target.address(suffix)
    headers = outgoing.headers
    if target.lane == "byte":
        headers = (*upstream_headers(client_request.headers, target.passing_headers), *headers)
        if (
            client_request.query
            and target.hosting is None
            and (more := upstream_query(client_request.query, wire.query_members))
        ):
            url += ("&" if "?" in url else "?") + more
    else:
        entry = target.entry
        if entry.pass_headers or entry.passthrough_auth:
            headers = (
                *upstream_headers(
                    client_request.headers, translated_header_names(entry.pass_headers, entry.passthrough_auth)
                ),
                *headers,
            )
        if betas := [beta for beta in target.betas if beta in (client_request.header(BETA) or "")]:
            headers = (*headers, (BETA, ",".join(betas)))
    if wire.default_version and all(name.lower() != wire.version_header for name, _ in headers):
        headers = (*headers, (wire.version_header or "", wire.default_version))
    replaced = target.replaced_headers
    sent_type, accepted = _JSON, target.framing.media_type if stream else _JSON
    if media is not None:
        sent_type, accepted = media.body or "", media.accepted
    headers = (
        *[pair for pair in headers if pair[0].lower() not in replaced],
        *((("content-type", sent_type),) if sent_type else ()),
        ("accept", accepted),
        ("accept-encoding", "identity"),  # compressed events would wait for each other
        *target.configured_headers,
    )
    return UpstreamRequest(method, url, headers, outgoing.body, connect_timeout=target.entry.timeouts.connect)


def move_headers_to_body(request: UpstreamRequest, hosting: Hosting, *, keeps_model: bool) -> UpstreamRequest:
    """Move the headers that the ``hosting`` platform reads from the body into the body."""
    betas = [beta.strip() for name, value in request.headers if name == BETA for beta in value.split(",")]
    return attrs.evolve(
        request,
        headers=tuple(pair for pair in request.headers if pair[0].lower() not in hosting.without_headers),
        body=hosting.body(request.body, betas, keeps_model=keeps_model),
    )


def signature_headers(request: UpstreamRequest, target: Target, credential: Credential | None, at: float) -> Headers:
    """Return the headers that authenticate ``request`` at the Unix time ``at``.

    The method, URL, headers and body must not change afterwards."""
    return target.sign(UnsignedRequest(request.method, request.url, request.headers, request.body), credential, at)
