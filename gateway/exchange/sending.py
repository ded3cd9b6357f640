"""The one way to a provider: a request is signed and sent, and once more if its credential had expired.

Attempts of exchanges and websockets of sessions use it."""

import time
from typing import Protocol

import attrs

from gateway.exchange.context import ExchangeContext
from gateway.exchange.disclosure import Disclosure
from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.request.public_errors import passthrough_error
from gateway.request.wire import signature_headers
from gateway.routing.target import Target
from gateway.upstream.errors import UpstreamError, with_target_name
from gateway.upstream.request import UpstreamRequest
from gateway.upstream.response import UpstreamResponse
from providers.auth.signer import Credential, secret_parts
from providers.errors.limits import may_accept_new_credential
from streams.errors import GatewayError
from streams.events import ErrorInfo


class Sendable(Protocol):
    """A request to ``target``, as ``send_signed`` needs it. Its ``disclosure`` collects the sent credentials."""

    context: ExchangeContext
    target: Target
    disclosure: Disclosure

    def ready(self, request: UpstreamRequest, proof: Headers) -> UpstreamRequest:
        """Return ``request`` with the headers of its signature (``proof``), ready to be sent."""

    def note_head(self, response: UpstreamResponse) -> None:
        """Note the head of a response."""

    def is_success(self, response: UpstreamResponse) -> bool: ...

    def read_error(self, response: UpstreamResponse, body: bytes) -> ErrorInfo:
        """Return the error in the response. Raises ``GatewayError`` for an error of the gateway itself."""

    def claim_repetition(self, error: ErrorInfo) -> bool:
        """Note that the request is sent again after ``error``. Return false if it cannot be."""


@attrs.frozen(eq=False, repr=False)
class _Rejection:
    """A provider's ``error`` for the client.

    ``has_expired_credential`` means that the sent credential has expired: a new one may succeed."""

    error: ErrorInfo
    has_expired_credential: bool


async def send_signed(sent: Sendable, request: UpstreamRequest) -> UpstreamResponse:
    """Sign and send ``request``, and return its successful response. Raises ``GatewayError`` in the client's form."""
    source = sent.context.service.credentials.get(sent.target.entry.name)
    credential: Credential | None
    if source is None:
        credential = sent.context.credential_for(sent.target)
    else:
        client_request = sent.context.client_request
        source = source.for_client(client_request.client, client_request.headers)
        credential = await source.credential()
    response = await _sign_and_send(sent, request, credential)
    if sent.is_success(response):
        return response
    refusal, renewed = await _read_refusal(sent, response), None
    if source is not None and credential is not None and refusal.has_expired_credential:
        renewed = await source.renew(credential)
    if renewed is None or not sent.claim_repetition(refusal.error):
        raise GatewayError.of(refusal.error)
    response = await _sign_and_send(sent, request, renewed)
    if not sent.is_success(response):
        raise GatewayError.of((await _read_refusal(sent, response)).error)
    return response


async def _sign_and_send(sent: Sendable, request: UpstreamRequest, credential: Credential | None) -> UpstreamResponse:
    """Sign and send ``request``, and return the head of its response. Raises ``GatewayError``."""
    if credential is not None:
        sent.disclosure.sent_credentials += secret_parts(credential)
    size = len(request.body) // 16  # the most expensive step is a digest
    proof = await offload(size, signature_headers, request, sent.target, credential, time.time())
    out = sent.ready(request, proof)
    try:
        response = await sent.context.service.upstream.send(out)
    except UpstreamError as error:
        raise with_target_name(error, sent.target.place) from error.__cause__
    sent.note_head(response)
    sent.context.observers.note_head(out, response.status, response.headers)
    return response


async def _read_refusal(sent: Sendable, response: UpstreamResponse) -> _Rejection:
    """Read the provider's error response and close it."""
    body = await response.read_error()
    read, disclosure, target = sent.read_error(response, body), sent.disclosure, sent.target
    ended = may_accept_new_credential(response.status, read, response.headers)
    error = disclosure.error(disclosure.error_with_headers(read, response.headers, target.lane))
    if error.status != response.status:
        return _Rejection(error, ended)
    own = passthrough_error(body, sent.context.codec.api, target, disclosure.secrets)
    return _Rejection(error if own is None else attrs.evolve(error, body=own), ended)
