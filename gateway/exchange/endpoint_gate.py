"""The gate of endpoints other than conversations. It refuses requests that steps must check but cannot read. Imported
only where steps are configured."""

from gateway.exchange.context import ExchangeContext
from gateway.exchange.service import Service
from gateway.request.client_request import ClientRequest
from gateway.request.routing_options import read_headers, unknown_step_error
from gateway.steps.endpoints import CHECKED_ROUTES, closing_step
from gateway.steps.loaded import StepSet
from gateway.steps.scope import ClientFacts
from gateway.steps.verdicts import unchecked_content, unchecked_endpoint


def refuse_kept_by_provider(service: Service, client_request: ClientRequest, endpoint: str) -> None:
    """Raise ``GatewayError`` (403) if the client's steps must check the objects that a provider stores for
    ``endpoint``, and (400) if the client may not request a step that it requests."""
    if service.steps is None:
        return
    facts = _available_facts(service.steps, service, client_request, endpoint)
    for step in service.steps.steps_for(facts):
        if not step.is_observer and not step.only_reports and step.unchecked == "refuse":
            raise unchecked_content(step.name, "id")


def _available_facts(steps: StepSet, service: Service, client_request: ClientRequest, endpoint: str) -> ClientFacts:
    """Return the facts of a request. Raises ``GatewayError`` (400) if its client may not request one of its steps."""
    client, places = client_request.client, {name: path for path, name in read_headers(client_request).steps}
    facts = ClientFacts(client, service.authenticator.group_of(client), (), endpoint, frozenset(places))
    if unknown := steps.unavailable_names(facts):
        raise unknown_step_error(places[unknown[0]], unknown[0])
    return facts


def check_endpoint(context: ExchangeContext, endpoint: str, route: tuple[str, str] = ("", "")) -> None:
    """Raise ``GatewayError`` (403) if the client's steps must check a request to ``endpoint`` but cannot read it, and
    (400) if the client may not request a step that it requests. ``route`` is the request's method and path."""
    service, client_request = context.service, context.client_request
    if service.steps is None:
        return
    facts = _available_facts(service.steps, service, client_request, endpoint)
    context.record.requested_steps = facts.requested
    if route in CHECKED_ROUTES:
        return
    if (step := closing_step(service.steps, facts)) is not None:
        raise unchecked_endpoint(step.name, endpoint)
