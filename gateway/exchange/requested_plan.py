"""The plan for the models that a request names, with the targets that its client may use."""

from functools import partial

from gateway.exchange.context import ExchangeContext
from gateway.request.narrowing import is_router, join_plans, narrow
from gateway.request.parse import Incoming
from gateway.request.routing_options import NO_OPTIONS, RoutingOptions
from gateway.request.tools_in_chat import with_api_for_tools
from gateway.routing.plan import Candidate, Plan, candidates_inside
from streams.errors import GatewayError, invalid


def requested_plan(context: ExchangeContext, incoming: Incoming, options: RoutingOptions) -> Plan:
    """Return the plan for the model or models of a request, and record the first target. Raises ``GatewayError``."""
    record = context.record
    record.requested_model, record.stream = incoming.model, incoming.stream
    if incoming.names_agent:
        plan = _plan_for_agent(context, incoming)
    elif options.names:
        plan = _plan_for_names(context, incoming.model, options)
    else:
        plan = _plan_for_name(context, incoming.model)
    if "tools" in incoming.members:
        plan = plan.with_each_target(partial(with_api_for_tools, incoming))
    if options is not NO_OPTIONS:
        plan = narrow(plan, options)
    record.route = None if plan.route is None else plan.route.name
    target = plan.first
    record.target, record.model, record.provider_api = target.name, target.model, target.api
    return plan


def _plan_for_name(context: ExchangeContext, name: str | None) -> Plan:
    """Return the plan for the model ``name``, with the targets that the client may use. Raises ``GatewayError``."""
    return allowed_plan(context, context.service.router.plan(name, context.codec.api, context.may_use))


def _plan_for_agent(context: ExchangeContext, incoming: Incoming) -> Plan:
    """Return the plan for an agent, with the targets whose provider has the client's API: no other has agents.

    Raises ``GatewayError`` (400) if there are none."""
    member = context.codec.wire.agent_member
    candidates: tuple[Candidate, ...] = ()
    try:
        plan = _plan_for_name(context, incoming.model)
        candidates = tuple(one for one in plan.candidates if one.target.lane == "byte")
    except GatewayError as error:
        if error.info.status != 404:
            raise
    if not candidates:
        found = f"no configured provider serves the agent {(incoming.model or '')[:100]!r}"
        raise invalid(f"{found}: send a model, or add an entry of the agent's provider", member)
    return plan.with_candidates(candidates)


def _plan_for_names(context: ExchangeContext, model: str | None, options: RoutingOptions) -> Plan:
    """Return the plan for the several models that a request lists, each planned as if it were alone.

    Raises ``GatewayError`` (400) with the path of a name that the client may not use."""
    if model and not options.names_are_ours:
        plan = _plan_for_name(context, model)
        if all(is_router(target, options) for target in plan.targets):
            return plan  # the others are names of that router
    plans: list[Plan] = []
    for at, name in options.names:
        try:
            plans.append(_plan_for_name(context, name))
        except GatewayError as error:
            raise invalid(f"{at}: {error.info.message}", at) from None
    context.record.requested_model = plans[0].first.requested_name
    return join_plans(plans, context.service.router.several)


def allowed_plan(context: ExchangeContext, plan: Plan) -> Plan:
    """Return ``plan`` with the targets that the client may use. Raises ``GatewayError`` if there are none, or if it may
    not use a model."""
    authenticator, client_request = context.service.authenticator, context.client_request
    context.record.requested_model = plan.first.requested_name
    candidates = plan.candidates
    if (wall := authenticator.wall(client_request.client)) is not None:
        candidates = candidates_inside(candidates, wall, client_request.client)
    passing = [one for one in candidates if one.target.entry.passthrough_auth]
    credential = client_request.credential if passing else None  # all headers are searched for it
    if passing and len(candidates) > 1:  # a target that needs the client's own key does not exclude others
        usable = [one for one in candidates if not authenticator.lacks_credential(one.target.entry, credential)]
        candidates = candidates if len(usable) == len(candidates) else tuple(usable) or candidates
    if passing or authenticator.is_limited(client_request.client):
        for candidate in candidates:
            one = candidate.target
            passed_on = credential if one.entry.passthrough_auth else None
            authenticator.check(client_request.client, one.requested_name, one.entry, one.model, passed_on)
    return plan.with_candidates(candidates)
