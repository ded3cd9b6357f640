"""The HTTP request to a provider: address, headers, body, and the signature over them."""

from typing import Final

import attrs

from gateway.http.headers import Headers, upstream_headers, upstream_query
from gateway.http.passing import HeaderNames, to_provider, translated
from gateway.request.client_request import ClientRequest
from gateway.routing.target import Target
from gateway.upstream.request import UpstreamRequest
from providers.apis import CODECS
from providers.auth.credential import Credential
from providers.auth.signer import UnsignedRequest
from providers.errors.rejected import BETA
from providers.neutral.codec import Outgoing
from providers.neutral.hosting import Hosting

_JSON: Final = "application/json"


@attrs.frozen(eq=False, repr=False)
class MediaTypes:
    """The types of a request's ``body`` (``None`` without one) and of the answers that are ``accepted``."""

    body: str | None
    accepted: str


def upstream_request(
    outgoing: Outgoing,
    target: Target,
    asked: ClientRequest,
    stream: bool,
    suffix: str | None = None,
    *,
    method: str = "POST",
    media: MediaTypes | None = None,
) -> UpstreamRequest:
    """The HTTP request before it is signed. In the byte lane those of the client's headers and members of its query go
    along that may, in the hub lane only what the codec writes, the betas that the model's name wants, and the account
    of a client's own credential; in both what ``pass_headers`` names. ``suffix`` is the end of the path, by default
    that of an answer; ``media`` are JSON and what the target answers in, where nothing else is said."""
    wire = CODECS[target.api].wire
    url = target.answer_addresses[stream] if suffix is None else target.address(suffix)
    headers = outgoing.headers
    if target.lane == "byte":
        headers = (*upstream_headers(asked.headers, _passing(target)), *headers)
        if asked.query and target.hosting is None and (more := upstream_query(asked.query, wire.query_members)):
            url += ("&" if "?" in url else "?") + more
    else:
        entry = target.entry
        if entry.pass_headers or entry.passthrough_auth:
            headers = (
                *upstream_headers(asked.headers, translated(entry.pass_headers, entry.passthrough_auth)),
                *headers,
            )
        if betas := [beta for beta in target.betas if beta in (asked.header(BETA) or "")]:
            headers = (*headers, (BETA, ",".join(betas)))
    replaced = target.replaced_headers
    if media is None:
        media = MediaTypes(_JSON, target.framing.media_type if stream else _JSON)
    headers = (
        *[pair for pair in headers if pair[0].lower() not in replaced],
        *(() if media.body is None else (("content-type", media.body),)),
        ("accept", media.accepted),
        ("accept-encoding", "identity"),  # compressed events would wait for one another
        *target.configured,
    )
    return UpstreamRequest(method, url, headers, outgoing.body, connect_timeout=target.entry.timeouts.connect)


def hosted(request: UpstreamRequest, hosting: Hosting, *, keeps_model: bool) -> UpstreamRequest:
    """``request`` as its platform takes it: what it wants in the body is there, and no longer in the headers."""
    betas = [beta.strip() for name, value in request.headers if name == BETA for beta in value.split(",")]
    return attrs.evolve(
        request,
        headers=tuple(pair for pair in request.headers if pair[0].lower() not in hosting.without_headers),
        body=hosting.body(request.body, betas, keeps_model=keeps_model),
    )


def _passing(target: Target) -> HeaderNames:
    """The client's headers that go to ``target``."""
    entry = target.entry
    own = CODECS[target.api].wire.client_headers
    return to_provider(own, entry.provider.client_headers, entry.pass_headers, entry.passthrough_auth)


def signature(request: UpstreamRequest, target: Target, credential: Credential | None, at: float) -> Headers:
    """Return the headers that prove who sends ``request``, at ``at`` (Unix seconds). Its method, URL, headers and body
    may not be changed afterwards."""
    return target.sign(UnsignedRequest(request.method, request.url, request.headers, request.body), credential, at)
