"""The gate of endpoints other than conversations: it refuses requests that steps must check and cannot. Imported only
where steps are configured."""

from gateway.exchange.context import ExchangeContext
from gateway.request.routing_options import read_headers, unknown_step_error
from gateway.steps.endpoints import CHECKED_ROUTES, closing_step
from gateway.steps.scope import ClientFacts
from gateway.steps.verdicts import unchecked_endpoint


def check_endpoint(context: ExchangeContext, endpoint: str, route: tuple[str, str] = ("", "")) -> None:
    """Raise ``GatewayError`` if the client's steps must check a request to ``endpoint`` and cannot (403), or if it
    requests a step that it cannot have (400). ``route`` is its method and path."""
    service, client_request = context.service, context.client_request
    if service.steps is None:
        return
    client, group = client_request.client, service.authenticator.group_of(client_request.client)
    places = {name: path for path, name in read_headers(client_request).steps}
    facts = ClientFacts(client, group, (), endpoint, frozenset(places))
    if unknown := service.steps.unavailable(facts):
        raise unknown_step_error(places[unknown[0]], unknown[0])
    if route in CHECKED_ROUTES:
        return
    if (step := closing_step(service.steps, facts)) is not None:
        raise unchecked_endpoint(step.name, endpoint)
