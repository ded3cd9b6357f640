"""The steps that apply to a request: their session, and the gate of requests that they must check but cannot read."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import trio

from gateway.allowances.runs import run_of
from gateway.config.aliases import Route
from gateway.exchange.context import ExchangeContext
from gateway.exchange.service import Service
from gateway.features.steps.endpoints import CHECKED_ROUTES, closing_step
from gateway.features.steps.loaded import ClientFacts, StepSet
from gateway.features.steps.masks import Placeholders
from gateway.features.steps.session import StepSession
from gateway.features.steps.verdicts import StepRecords, unchecked_content, unchecked_endpoint
from gateway.http.request_scope import RequestScope
from gateway.request.client_request import ClientRequest
from gateway.request.parse import Incoming
from gateway.request.routing_options import Word, read_headers, unknown_step_error
from gateway.seams.running import Running
from trigate.steps import Check


class OpenedSteps(Running):
    """The open steps of one configuration."""

    steps: StepSet


def steps_of(service: Service) -> StepSet:
    """Return the steps of a service that has any."""
    running = service.opened.features["steps"]
    assert isinstance(running, OpenedSteps), "it opens them"
    return running.steps


def begin_session(
    context: ExchangeContext,
    scope: RequestScope,
    endpoint: str,
    incoming: Incoming,
    requested: Sequence[Word] = (),
    route: Route | None = None,
) -> StepSession | None:
    """Return the session of the steps that apply to a request to ``endpoint``, ``None`` if no step does.

    ``route`` is that of its plan, if that is known. ``requested`` are the names of the steps that the client requests,
    with their positions in the request. Raises ``GatewayError`` (400) if the client may not request one."""
    service, client_request, record = context.service, context.client_request, context.record
    configured = steps_of(service)
    model = incoming.model
    run = None
    if configured.needs_run:
        run = record.run = run_of(client_request, incoming)
    client, group = client_request.client, service.authenticator.group_of(client_request.client)
    if requested or not configured.is_for_all:
        models = tuple([name for name in (route and route.name, model) if name])
        places = {name: path for path, name in requested}
        facts = ClientFacts(client, group, models, endpoint, frozenset(places))
        record.requested_steps = facts.requested
        if requested and (unknown := configured.unavailable_names(facts)):
            raise unknown_step_error(places[unknown[0]], unknown[0])
        applied = configured.applied_steps(facts)
    else:
        applied = configured.applied_to_all
    if applied is None:
        return None
    configured.lease(scope)
    records = record.steps if isinstance(record.steps, StepRecords) else None  # those of another request in a batch
    if records is None:
        record.steps = records = StepRecords(configured.hidden)
    common = Check("request", (), client, group, model, None, endpoint, record.id, run)
    placeholders = Placeholders(configured.mask_key, client or "")
    return StepSession(
        applied, common, placeholders, records, scope.nursery.start_soon, context.observers,
        partial(_track_until_cut, context),
    )  # fmt: skip


@contextmanager
def _track_until_cut(context: ExchangeContext, scope: trio.CancelScope) -> Iterator[None]:
    """Let the end of the drain cancel ``scope``, and note that in the record."""
    record, lifecycle = context.record, context.service.lifecycle
    with lifecycle.track_pump(scope):
        try:
            yield
        except trio.Cancelled:
            if lifecycle.is_cut:
                record.shut_down = True
            raise


def admit_kept(service: Service, client_request: ClientRequest, endpoint: str) -> None:
    """Raise ``GatewayError`` (403) if the client's steps must check the objects that a provider stores for
    ``endpoint``, and (400) if the client may not request a step that it requests."""
    steps = steps_of(service)
    for step in steps.steps_for(available_facts(steps, service, client_request, endpoint)):
        if not step.is_observer and not step.only_reports and step.unchecked == "refuse":
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
    context.record.requested_steps = facts.requested
    if route in CHECKED_ROUTES:
        return
    if (step := closing_step(steps, facts)) is not None:
        raise unchecked_endpoint(step.name, endpoint)
