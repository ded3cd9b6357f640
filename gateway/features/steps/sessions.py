"""The open steps of a configuration, and the gate of requests that they must check but cannot read."""

from gateway.exchange.context import ExchangeContext
from gateway.exchange.service import Service
from gateway.features.steps.endpoints import CHECKED_ROUTES, closing_step
from gateway.features.steps.loaded import ClientFacts, StepSet
from gateway.features.steps.verdicts import note_requested, unchecked_content, unchecked_endpoint
from gateway.request.client_request import ClientRequest
from gateway.request.routing_options import read_headers, unknown_step_error
from gateway.seams.running import Running


class OpenedSteps(Running):
    """The open steps of one configuration."""

    steps: StepSet


def steps_of(service: Service) -> StepSet:
    """Return the steps of a service that has any."""
    running = service.opened.features["steps"]
    assert isinstance(running, OpenedSteps), "it opens them"
    return running.steps


async def admit_kept(service: Service, client_request: ClientRequest, endpoint: str) -> None:
    """Raise ``GatewayError`` (403) if the client's steps must check the objects that a provider stores for
    ``endpoint``, and (400) if the client may not request a step that it requests."""
    steps = steps_of(service)
    for step in steps.steps_for(available_facts(steps, service, client_request, endpoint)):
        if not step.is_observer and step.refuses_unchecked:
            raise unchecked_content(step.name, "id")


def available_facts(steps: StepSet, service: Service, client_request: ClientRequest, endpoint: str) -> ClientFacts:
    """Return the facts of a request. Raises ``GatewayError`` (400) if its client may not request one of its steps."""
    client, places = client_request.client, {name: path for path, name in read_headers(client_request).steps}
    facts = ClientFacts(client, service.authenticator.group_of(client), (), endpoint, frozenset(places))
    if unknown := steps.unavailable_names(facts):
        raise unknown_step_error(places[unknown[0]], unknown[0])
    return facts


def admit_endpoint(context: ExchangeContext, endpoint: str, route: tuple[str, str] = ("", "")) -> None:
    """Raise ``GatewayError`` (403) if the client's steps must check a request to ``endpoint`` but cannot read it, and
    (400) if the client may not request a step that it requests. ``route`` is the request's method and path."""
    steps = steps_of(context.service)
    facts = available_facts(steps, context.service, context.client_request, endpoint)
    note_requested(context.record, facts.requested)
    if route in CHECKED_ROUTES:
        return
    if (step := closing_step(steps, facts)) is not None:
        checked = ", ".join(" ".join(one) for one in CHECKED_ROUTES if one[1].split("/")[2] == endpoint)
        raise unchecked_endpoint(step.name, endpoint, checked)
