"""Requests with a body that has to do with a provider: each is an exchange."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import attrs
from quart_trio import QuartTrio

from gateway.access.authentication import Authenticator
from gateway.access.cors import Cors
from gateway.endpoints.answers import decompressed, open_record
from gateway.endpoints.compact import compact
from gateway.endpoints.count_tokens import count
from gateway.exchange.exchange import Exchange
from gateway.exchange.service import Service
from gateway.http.response import Response
from gateway.ledger.ledger import Ledger
from gateway.request.client_request import ClientRequest
from gateway.request.public_errors import FULL, MISTAKE
from gateway.serving.fast_route import FastRoute, IncomingRequest, QuartRequest, add_fast_route
from gateway.serving.quart_views import add_view
from providers.neutral.fields import too_deep
from streams.errors import GatewayError
from streams.events import Api

log = logging.getLogger("trigate")

ROUTES: Final[Mapping[str, Api]] = {
    "/v1/chat/completions": "chat",
    "/v1/messages": "messages",
    "/v1/responses": "responses",
}

EXCHANGES: Final[Mapping[str, tuple[Api, Callable[[Exchange, bytes], Awaitable[Response]]]]] = {
    **{path: (api, Exchange.answer) for path, api in ROUTES.items()},
    "/v1/messages/count_tokens": ("messages", count),
    "/v1/responses/input_tokens": ("responses", count),
    "/v1/responses/compact": ("responses", compact),
}
"""Paths of requests with a body that has to do with a provider: the client's API, and what answers."""


def add_exchanges(app: QuartTrio, service: Service, ledger: Ledger, door: Authenticator, cors: Cors) -> tuple[str, ...]:
    """Serve ``EXCHANGES``. Returns the names of its routes, which ask for a client's key themselves."""
    for path, (api, answer) in EXCHANGES.items():
        answering = _exchange(service, ledger, door, cors, api, path, answer)
        add_view(app, path, path, _routed(answering), ["POST"])
        if not cors:  # its hooks are Quart's
            add_fast_route(app, path, answering)
    return tuple(EXCHANGES)


def _exchange(
    service: Service,
    ledger: Ledger,
    door: Authenticator,
    cors: Cors,
    api: Api,
    path: str,
    answer: Callable[[Exchange, bytes], Awaitable[Response]],
) -> FastRoute:
    """What answers a request on ``path``, the door included. It raises nothing."""

    async def serve(arrival: IncomingRequest) -> Response:
        record = open_record(api, ledger, arrival.scope)
        asked = ClientRequest(arrival.headers, arrival.query)
        if service.tracing is not None:
            service.tracing.begin(record, asked.headers, path)
        exchange = Exchange(service, api, asked, arrival.scope, record)
        try:
            record.client = door.authenticate(asked.headers)
            if record.client is None:
                cors.admit_unasked(asked.headers)
            else:
                exchange = Exchange(service, api, attrs.evolve(asked, client=record.client), arrival.scope, record)
            if service.full:
                return exchange.refuse(FULL)
            codings = (value for name, value in asked.headers if name == "content-encoding")
            body = await decompressed(codings, arrival.read, service.limits.request_body)
            return await answer(exchange, body)
        except GatewayError as error:
            return exchange.refuse(error.failed)
        except RecursionError:
            return exchange.refuse(too_deep().failed)
        except Exception:  # the border where our own mistake becomes the client's error
            log.exception("request %s: unexpected error", arrival.scope.id)
            return exchange.refuse(MISTAKE)

    return serve


def _routed(answer: FastRoute) -> Callable[[], Awaitable[Response]]:
    """``answer`` as a view of Quart's."""

    async def view() -> Response:
        return await answer(QuartRequest())

    return view
