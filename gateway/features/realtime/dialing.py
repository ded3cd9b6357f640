"""The websocket to a provider, opened before the client's handshake is answered, so that failures have an HTTP status
(h2o/h2o#1276, BerriAI/litellm#39851)."""

import math
from typing import Final

import attrs
import trio

from gateway.exchange.context import ExchangeContext
from gateway.exchange.disclosure import Disclosure
from gateway.exchange.sending import send_signed
from gateway.features.realtime.provider_websocket import UpstreamWebSocket, accept_upgrade, handshake
from gateway.features.realtime.session import MAX_MESSAGE
from gateway.features.realtime.shapes import RealtimeShape
from gateway.http.headers import Headers, upstream_headers, upstream_id
from gateway.http.passing import to_provider
from gateway.http.redaction import Secrets
from gateway.routing.target import Target
from gateway.upstream.request import UpstreamRequest
from gateway.upstream.response import UpstreamResponse
from providers.apis import CODECS
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
        self.context = context
        self.target = target
        self.disclosure = Disclosure(target, context)
        self._shape = shape
        self._reports_health = reports_health

    async def connect(self, query: str, protocols: tuple[str, ...]) -> OpenProvider:
        """Open the websocket with ``query`` added to the URL. Raises ``GatewayError`` in the client's form."""
        context, target = self.context, self.target
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
                return OpenProvider(socket, target, self.disclosure.secrets)
            raise GatewayError("timeout", f"the provider did not respond within {timeouts.first_byte:g} s")
        except GatewayError as error:
            info = self.disclosure.error(error.info)
            attempt.mark_failed(info)
            raise GatewayError.of(info) from error
        finally:
            attempt.close()

    def _headers(self) -> Headers:
        """Return the handshake's headers: those of the client to pass on, and the configured ones."""
        context, target = self.context, self.target
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
        """Open the websocket. Raises ``GatewayError``."""
        response = await send_signed(self, request)
        try:
            return accept_upgrade(request, response, MAX_MESSAGE)
        except GatewayError:
            await response.aclose()
            raise

    def ready(self, request: UpstreamRequest, proof: Headers) -> UpstreamRequest:
        return attrs.evolve(request, headers=(*request.headers, *proof), on_send=self._on_send)

    def note_head(self, response: UpstreamResponse) -> None:
        self.context.record.upstream_id = self.disclosure.text(upstream_id(response.headers))

    def is_success(self, response: UpstreamResponse) -> bool:
        return response.status == 101

    def read_error(self, response: UpstreamResponse, body: bytes) -> ErrorInfo:
        if response.status < 400:  # redirects are not followed with a credential
            raise GatewayError("upstream", NOT_UPGRADED.format(response.status))
        return CODECS[self.target.api].read_error(response.status, body, response.headers)

    def claim_repetition(self, error: ErrorInfo) -> bool:
        return True

    def _on_send(self, request: UpstreamRequest, waited: bool) -> None:
        context, target = self.context, self.target
        context.record.attempts += 1
        context.observers.note_sent(
            request, waited, target.api, target.entry.provider.id, lambda: self.disclosure.secrets
        )
