"""The border of exchanges: admitted requests become exchanges, and failures become errors in the client's API."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from gateway.exchange.exchange import Exchange
from gateway.exchange.responding import error_response, open_record
from gateway.exchange.service import Service
from gateway.http.response import Response
from gateway.ledger.record import ArrivedRequest, ResponseForms
from gateway.request.client_request import ClientRequest
from gateway.request.parse import NO_PARAMETERS, PathParameters
from gateway.request.public_errors import MISTAKE
from gateway.serving.incoming_request import IncomingRequest
from providers.neutral.fields import too_deep_error
from streams.errors import GatewayError
from streams.events import Api, ErrorInfo

log = logging.getLogger("trigate")

Admit: TypeAlias = Callable[[Service, IncomingRequest], str | None]
"""A function that admits a request and returns its client's name. Raises ``GatewayError``."""


def admit_by_key(service: Service, incoming: IncomingRequest) -> str | None:
    """Admit a request by its key: the usual ``Admit``."""
    return service.admission.admit(incoming)


async def serve(
    service: Service,
    api: Api,
    incoming: IncomingRequest,
    route: str,
    answer: Callable[[Exchange], Awaitable[Response]],
    *,
    path: PathParameters = NO_PARAMETERS,
    endpoint: str | None = None,
    admit: Admit = admit_by_key,
    forms: ResponseForms | None = None,
) -> Response:
    """Admit ``incoming`` on ``route`` in ``api``, and return the response of ``answer`` to its exchange.

    ``path`` are the parameters in its path, ``forms`` those of errors and headers on it. Never raises:
    failures are responses in the format of ``api``."""
    arrival = ArrivedRequest(incoming.headers, route)
    record = open_record(api, service.ledger, incoming.scope, endpoint=endpoint, arrival=arrival)
    record.forms = forms
    refuse: Callable[[ErrorInfo], Response] = partial(error_response, record)
    try:
        record.client = client = admit(service, incoming)
        for forms_of in () if forms is not None else service.hooks.response_forms:
            record.forms = forms = forms or forms_of(service.allowances, api, client)
        client_request = ClientRequest(incoming.headers, incoming.query, client, path)
        exchange = Exchange(service, api, client_request, incoming.scope, record)
        refuse = exchange.refuse
        return await answer(exchange)
    except GatewayError as error:
        return refuse(error.info)
    except RecursionError:
        return refuse(too_deep_error().info)
    except Exception:  # a bug in the gateway
        log.exception("request %s: unexpected error", incoming.scope.id)
        return refuse(MISTAKE)
