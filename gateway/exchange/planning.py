"""Plans a request: from its body to its candidates in the order of attempts.

``STEPS`` is the whole process, in order: the client's routing options, the permitted targets, the earlier turns, the
suitable targets, and the order within a group. A plan with one target passes all steps unchanged."""

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeAlias

import attrs

from gateway.allowances.reservation import Reservation
from gateway.balancing.affinity import Affinity, find_affinity
from gateway.balancing.balancer import NOTHING_READABLE, has_choice
from gateway.conversations.history import APIS_WITH_TURNS, recall
from gateway.conversations.recorder import UNRECORDED, TurnRecorder
from gateway.conversations.resolved import StateScope, refers_to_stored_object
from gateway.exchange.context import ExchangeContext
from gateway.exchange.planned import PlannedRequest
from gateway.exchange.requested_plan import requested_plan
from gateway.http.headers import Headers
from gateway.http.late_imports import load_module
from gateway.http.offload import offload
from gateway.http.request_scope import RequestScope
from gateway.request.client_request import ClientRequest
from gateway.request.further_models import further_models
from gateway.request.narrowing import FIRST_TARGET_ONLY, narrow
from gateway.request.parse import Incoming, read_incoming
from gateway.request.prepare import prepare, prepare_with_options
from gateway.request.repeatable import is_in_background
from gateway.request.routing_options import (
    NO_OPTIONS,
    ROUTING_HEADERS,
    RoutingOptions,
    read_headers,
    unknown_step_error,
    with_members,
)
from gateway.request.structure import Bounds
from gateway.request.suitability import put_reasoning_readers_first, refuse_images, select_suitable
from gateway.routing.plan import Plan, select_by_kind
from gateway.routing.target import Target
from gateway.seams.edit_sent import RequestEdits
from gateway.seams.hooks import Hooks
from gateway.upstream.response import UpstreamResponse
from providers.apis import CODECS


@attrs.define(eq=False, repr=False, slots=False)  # created for each request; cheaper to construct without slots
class Planning:
    """A request during planning.

    Each of ``steps`` reads the results of earlier steps and adds its own. ``context`` is the exchange's, in strict mode
    if the request selects that. ``state_scope`` has the earlier turns. ``scope`` is the request's. ``reservation`` is
    set if a step has reserved. ``members`` are the configured edits. ``received`` is the request without any edits.
    ``read`` is called once."""

    context: ExchangeContext
    state_scope: StateScope
    scope: RequestScope
    steps: "tuple[PlanningStep, ...]"
    reservation: Reservation | None = None
    options: RoutingOptions = NO_OPTIONS
    turn: TurnRecorder = UNRECORDED
    headers: Headers = ()
    affinity: Affinity | None = None
    replace_ids: Callable[[Target, UpstreamResponse], None] | None = None
    members: RequestEdits | None = None
    received: Incoming = attrs.field(init=False)
    incoming: Incoming = attrs.field(init=False)
    plan: Plan = attrs.field(init=False)

    async def read(self, body: bytes) -> PlannedRequest:
        """Return the request with everything that it refers to, and its plan. Raises ``GatewayError``."""
        api, path = self.context.codec.api, self.context.client_request.path
        self.received = await offload(len(body) // 8, read_incoming, api, body, path)  # only the top level is decoded
        self.incoming = self.received
        for step in self.steps:
            await step(self)
        return self.request()

    def request(self) -> PlannedRequest:
        """Return the request as the steps so far have planned it."""
        incoming, options, members = self.incoming, self.options, self.members
        write = prepare if options is NO_OPTIONS else partial(prepare_with_options, options)
        is_checked = self.context.checks is not None and incoming.body is not self.received.body
        written = partial(write, incoming) if members is None else members.preparation(write, incoming)
        return PlannedRequest(
            incoming, self.plan, written, self.turn, self.headers, affinity=self.affinity, budgets=options.budgets,
            replace_ids=self.replace_ids, members=members, reservation=self.reservation, prepare_from=write,
            original=self.received if is_checked else None,
        )  # fmt: skip


PlanningStep: TypeAlias = Callable[[Planning], Awaitable[None]]
"""Adds one concern to a request. Raises ``GatewayError`` to reject it."""


async def read_routing_options(planning: Planning) -> None:
    """Read the client's routing options from headers, or from a body in another gateway's form."""
    context, incoming = planning.context, planning.incoming
    client_request, request_forms = context.client_request, context.service.hooks.request_forms
    if not request_forms and ROUTING_HEADERS.isdisjoint(dict(client_request.headers)):
        return
    options = read_headers(client_request)
    for forms in request_forms:
        context.record.labels = forms.label(client_request, incoming)
        options = await forms.read_options(client_request, incoming)
    if options is not NO_OPTIONS:
        planning.incoming = await offload(len(incoming.body), options.without_members_in, incoming)
        planning.options, planning.context = options, context.with_strictness(options.strict)
        if options.steps and not context.service.hooks.request_checks:
            raise unknown_step_error(*options.steps[0])


async def find_targets(planning: Planning) -> None:
    """Find the candidates for the requested model that the client may use and that store the objects it refers to."""
    context, owner = planning.context, planning.state_scope.owner
    client, located = context.client_request.client, None
    for kept in context.service.hooks.kept:
        if (located := await kept.locate(owner, client, planning.incoming)) is not None:
            planning.incoming = located.incoming
    plan = requested_plan(context, planning.incoming, planning.options)
    if plan.retries.deadline < math.inf:
        plan = attrs.evolve(plan, deadline=context.service.health.clock() + plan.retries.deadline)
    planning.plan = plan if located is None else located.restrict(plan)
    for kept in context.service.hooks.kept:
        planning.replace_ids = await kept.response_ids(owner, client, planning.incoming)


async def check_further_models(planning: Planning) -> None:
    """Check the other models that a request refers to. Raises ``GatewayError`` (403) if the client may not use one."""
    context, incoming = planning.context, planning.incoming
    if not context.service.authenticator.is_limited(context.client_request.client):
        return
    targets = planning.plan.targets
    for at, name in await offload(len(incoming.body), further_models, incoming):
        for target in targets:
            _check_further_model(context, at, name, target)
    for target in targets:
        if members := planning.options.members_for(target):
            for at, name in further_models(with_members(incoming, members)):
                _check_further_model(context, at, name, target)


async def apply_edits(planning: Planning) -> None:
    """Apply the configured edits for all targets, once.

    They precede earlier turns, which may depend on ``store``. Those for a target follow for each attempt."""
    context, incoming = planning.context, planning.incoming
    (begin_edits,) = context.service.hooks.begin_edits
    edits = begin_edits(context.client_request.client, planning.plan, incoming.api)
    planning.incoming = await offload(len(incoming.body), edits.apply, incoming)
    planning.plan, planning.members = edits.with_lanes(planning.plan), edits


async def recall_turns(planning: Planning) -> None:
    """Load the earlier turns that the request refers to, and keep the targets that can continue them."""
    if planning.incoming.api in APIS_WITH_TURNS:
        limits = planning.context.service.settings.limits
        bounds = Bounds(limits.request_body, limits.elements)
        found = await recall(planning.state_scope, planning.incoming, planning.plan.candidates, bounds)
        planning.plan, planning.incoming = planning.plan.with_candidates(found.candidates), found.incoming
        planning.turn, planning.headers = found.turn, found.headers
    if "background" in planning.incoming.members:
        await _bill_later(planning)


async def _bill_later(planning: Planning) -> None:
    """Bill an answer that its provider continues in the background when it ends, if the gateway can fetch its usage."""
    context, incoming = planning.context, planning.incoming
    if planning.turn.background is None and CODECS[incoming.api].wire.running and is_in_background(incoming):
        for kept in context.service.hooks.kept:
            if kept.bills_runs:
                planning.turn = await kept.record_run(planning.turn, context, planning.state_scope.owner)


async def drop_unsuitable(planning: Planning) -> None:
    """Remove the targets that are known not to support the request. Raises ``GatewayError`` if none does."""
    plan, incoming, client_request = planning.plan, planning.incoming, planning.context.client_request
    if len(plan.candidates) > 1 or plan.candidates[0].target.recipient.quirks.cannot:
        if wanted := frozenset[str]().union(*(one.kinds for one in plan.candidates)):
            kinds_of = (await load_module("gateway.request.request_kinds")).kinds_of  # few routes have kinds
            letters = plan.first.letters_per_token
            kinds = await offload(incoming.size, kinds_of, wanted, incoming, client_request, letters)
            plan = plan.with_candidates(select_by_kind(plan.candidates, kinds))
        planning.plan = await offload(incoming.size, _without_unsuitable, plan, incoming, client_request)
        if planning.options.fallback == "off":
            planning.plan = narrow(planning.plan, FIRST_TARGET_ONLY)


async def order_groups(planning: Planning) -> None:
    """Order the targets of each group by load and by the conversation."""
    plan, incoming, context = planning.plan, planning.incoming, planning.context
    service = context.service
    remote = service.allowances.counters.remote
    if plan.route is None or not has_choice(plan):
        if remote is not None and len(plan.candidates) > 1:
            await remote.read_notes()  # the outages that other gateways have seen
        return
    affinity = await find_affinity(
        plan.route.sticky, planning.state_scope.owner, context.client_request.headers, incoming
    )
    readable = NOTHING_READABLE
    if affinity is not None:
        for find_readable in service.hooks.find_readable:
            readable = await find_readable(context, incoming, plan)
    arrange = partial(service.balancer.arrange, plan, affinity, service.health.clock(), incoming.size // 4, readable)
    arranged = arrange()
    if remote is not None:
        pinned = service.balancer.pinned_places(plan, affinity)
        await remote.read_notes()
        if service.balancer.pinned_places(plan, affinity) != pinned:  # another gateway has the conversation
            arranged = arrange()
    plan = arranged
    ordered = await offload(incoming.size, put_reasoning_readers_first, plan.candidates, incoming)
    planning.plan, planning.affinity = plan.with_candidates(ordered), affinity


STEPS: Final[tuple[PlanningStep, ...]] = (
    read_routing_options, find_targets, check_further_models, recall_turns, drop_unsuitable, order_groups,
)  # fmt: skip
"""The steps before a request is sent, in order. A new concern is a new step in this table."""


def steps_with(hooks: Hooks) -> tuple[PlanningStep, ...]:
    """Return the steps with those of features."""
    edits = (apply_edits,) if hooks.begin_edits else ()
    return (*STEPS[:3], *edits, *hooks.before_turns, recall_turns, *hooks.after_turns, *STEPS[4:])


def _without_unsuitable(plan: Plan, incoming: Incoming, client_request: ClientRequest) -> Plan:
    if refers_to_stored_object(incoming):
        plan = narrow(plan, FIRST_TARGET_ONLY)
    kept = select_suitable(plan.candidates, incoming, client_request)
    refuse_images(kept, incoming)
    return plan.with_candidates(kept)


def _check_further_model(context: ExchangeContext, at: str, name: str, target: Target) -> None:
    if name != target.model:
        context.check_additional_model(at, name, target.entry)
