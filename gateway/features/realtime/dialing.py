"""The websocket to a provider, opened before the client's handshake is answered, so that failures have an HTTP status
(h2o/h2o#1276, BerriAI/litellm#39851)."""

import math
import time
from typing import Final

import attrs
import trio

from gateway.config.redaction import Secrets
from gateway.exchange.context import ExchangeContext
from gateway.features.realtime.session import MAX_MESSAGE
from gateway.features.realtime.shapes import RealtimeShape
from gateway.http.headers import Headers, upstream_headers, upstream_id
from gateway.http.passing import to_provider
from gateway.request.public_errors import (
    client_headers,
    passthrough_error,
    public_error,
    secrets_of,
    with_passed_headers,
)
from gateway.request.wire import signature_headers
from gateway.routing.target import Target
from gateway.upstream.errors import UpstreamError, with_target_name
from gateway.upstream.request import UpstreamRequest
from gateway.upstream.response import UpstreamResponse
from gateway.upstream.websocket import UpstreamWebSocket, accept_upgrade, handshake
from providers.apis import CODECS
from providers.auth.signer import Credential, secret_parts
from providers.errors.ended import may_accept_new_credential
from streams.errors import GatewayError
from streams.events import ErrorInfo

BETA_HEADER: Final = "openai-beta"

NOT_UPGRADED: Final = (
    "the provider returned status {} to the WebSocket handshake: it may have no WebSocket at this address; check "
    "base_url"
)


@attrs.frozen
class OpenProvider:
    """An open websocket to ``target``; ``secrets`` are the credentials sent, to redact them."""

    socket: UpstreamWebSocket
    target: Target
    secrets: Secrets = attrs.field(repr=False)


class ConnectionAttempt:
    """One attempt to open a websocket to ``target``, without retries: the session is bound to its target.

    ``reports_health`` is false if the client's path or ids determine the provider's response, which is then independent
    of the target's health."""

    def __init__(
        self, context: ExchangeContext, target: Target, shape: RealtimeShape, *, reports_health: bool = True
    ) -> None:
        self._context = context
        self._target = target
        self._shape = shape
        self._reports_health = reports_health
        self._sent_secrets: tuple[str, ...] = ()

    async def connect(self, query: str, protocols: tuple[str, ...]) -> OpenProvider:
        """Open the websocket with ``query`` added to the URL. Raises ``GatewayError`` in the client's form."""
        context, target = self._context, self._target
        url = target.url + (("&" if "?" in target.url else "?") + query if query else "")
        timeouts = target.entry.timeouts
        request = handshake(UpstreamRequest("GET", url, self._headers(), connect_timeout=timeouts.connect), protocols)
        attempt = context.service.health.begin(
            target, context.forwarded_credential(target), added=False, client=context.client_request.client,
            reports=self._reports_health,
        )  # fmt: skip
        try:
            with trio.move_on_after(timeouts.first_byte or math.inf):
                socket = await self._open(context.observers.outgoing(request))
                attempt.mark_started()
                return OpenProvider(socket, target, self._secrets())
            raise GatewayError("timeout", f"the provider did not respond within {timeouts.first_byte:g} s")
        except GatewayError as error:
            info = public_error(error.info, context.codec.api, target, self._secrets())
            attempt.mark_failed(info)
            raise GatewayError.of(info) from error
        finally:
            attempt.close()

    def _headers(self) -> Headers:
        """Return the handshake's headers: those of the client to pass on, and the configured ones."""
        context, target = self._context, self._target
        entry = target.entry
        passing = to_provider(
            CODECS[target.api].wire.client_headers, entry.provider.client_headers, entry.pass_headers,
            entry.passthrough_auth,
        )  # fmt: skip
        own = {*target.signer.names, *(name for name, _ in target.configured_headers)}
        headers = (
            (name, value)
            for name, value in upstream_headers(context.client_request.headers, passing)
            if name not in own and (self._shape.beta or name != BETA_HEADER or "realtime" not in value)
        )
        return (*headers, *target.configured_headers)

    async def _open(self, request: UpstreamRequest) -> UpstreamWebSocket:
        """Open the websocket; if the provider reports an expired credential, retry once with a new one.

        Raises ``GatewayError``."""
        source = self._context.service.credentials.get(self._target.entry.name)
        credential = self._context.credential_for(self._target) if source is None else await source.credential()
        response = await self._send(request, credential)
        if response.status != 101:
            error, ended = await self._read_rejection(response)
            renewed = await source.renew(credential) if source and credential and ended else None
            if renewed is None:
                raise GatewayError.of(error)
            response = await self._send(request, renewed)
            if response.status != 101:
                raise GatewayError.of((await self._read_rejection(response))[0])
        try:
            return accept_upgrade(request, response, MAX_MESSAGE)
        except GatewayError:
            await response.aclose()
            raise

    async def _send(self, request: UpstreamRequest, credential: Credential | None) -> UpstreamResponse:
        context = self._context
        if credential is not None:
            self._sent_secrets += secret_parts(credential)
        headers = (*request.headers, *signature_headers(request, self._target, credential, time.time()))
        out = attrs.evolve(request, headers=headers, on_send=self._on_send)
        try:
            response = await context.service.upstream.send(out)
        except UpstreamError as error:
            raise with_target_name(error, self._target.place) from error.__cause__
        context.record.upstream_id = upstream_id(response.headers)
        context.observers.note_head(out, response)
        return response

    def _on_send(self, request: UpstreamRequest, waited: bool) -> None:
        context, target = self._context, self._target
        context.record.attempts += 1
        context.observers.note_sent(request, waited, target.api, target.entry.provider.id, self._secrets)

    def _secrets(self) -> Secrets:
        return secrets_of(self._target, self._context.client_request.credential, self._sent_secrets)

    async def _read_rejection(self, response: UpstreamResponse) -> tuple[ErrorInfo, bool]:
        """Read a rejected handshake: return the client's error, and whether a new credential may fix it."""
        body = await response.read_error()
        if response.status < 400:  # redirects are not followed with a credential
            return ErrorInfo("upstream", NOT_UPGRADED.format(response.status)), False
        api = self._context.codec.api
        error = CODECS[self._target.api].read_error(response.status, body, response.headers)
        ended = may_accept_new_credential(response.status, error, response.headers)
        passed = client_headers(response.headers, self._target, self._target.lane)
        public = public_error(with_passed_headers(error, passed), api, self._target, self._secrets())
        if public.status == response.status:
            own = passthrough_error(body, api, self._target, self._secrets())
            public = public if own is None else attrs.evolve(public, body=own)
        return public, ended
