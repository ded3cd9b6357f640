"""The gate of endpoints other than conversations: it refuses requests that steps must check and cannot. Imported only
where steps are configured."""

from gateway.exchange.context import ExchangeContext
from gateway.exchange.service import Service
from gateway.request.client_request import ClientRequest
from gateway.request.routing_options import read_headers, unknown_step_error
from gateway.steps.endpoints import CHECKED_ROUTES, closing_step
from gateway.steps.scope import ClientFacts
from gateway.steps.verdicts import unchecked_content, unchecked_endpoint


def refuse_kept_by_provider(service: Service, client_request: ClientRequest, endpoint: str) -> None:
    """Raise ``GatewayError`` (403) if the client's steps must check what a provider stores for ``endpoint``."""
    if service.steps is None:
        return
    facts = _facts(service, client_request, endpoint)
    for step in service.steps.for_exchange(facts):
        if not step.is_observer and not step.only_reports and step.unchecked == "refuse":
            raise unchecked_content(step.name, "id")


def _facts(service: Service, client_request: ClientRequest, endpoint: str) -> ClientFacts:
    client, words = client_request.client, frozenset(name for _, name in read_headers(client_request).steps)
    return ClientFacts(client, service.authenticator.group_of(client), (), endpoint, words)


def check_endpoint(context: ExchangeContext, endpoint: str, route: tuple[str, str] = ("", "")) -> None:
    """Raise ``GatewayError`` if the client's steps must check a request to ``endpoint`` and cannot (403), or if it
    requests a step that it cannot have (400). ``route`` is its method and path."""
    service, client_request = context.service, context.client_request
    if service.steps is None:
        return
    places = {name: path for path, name in read_headers(client_request).steps}
    facts = _facts(service, client_request, endpoint)
    context.record.requested_steps = frozenset(places)
    if unknown := service.steps.unavailable(facts):
        raise unknown_step_error(places[unknown[0]], unknown[0])
    if route in CHECKED_ROUTES:
        return
    if (step := closing_step(service.steps, facts)) is not None:
        raise unchecked_endpoint(step.name, endpoint)
