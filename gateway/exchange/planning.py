"""The planning of a request: from its body to the places where it may go, in the order in which they are asked.

Each step takes a plan and gives a plan: what the client may reach, what it wishes for this request, what it goes on
from, who can answer it at all, and which of a group is next. A plan for one place passes through all of them as it is.
"""

import math
from functools import partial

import attrs

from gateway.balancing.affinity import Affinity, find_affinity
from gateway.balancing.balancer import has_choice
from gateway.config.settings import Route
from gateway.conversations.history import recall
from gateway.conversations.resolved import StateScope, kept_elsewhere
from gateway.exchange.context import ExchangeContext
from gateway.exchange.kept_ids import showing, with_native_ids
from gateway.exchange.planned import PlannedRequest
from gateway.http.offload import offload
from gateway.request.further_models import further_models
from gateway.request.narrowing import ONE_PLACE, is_router, joined, narrow
from gateway.request.parse import Incoming, read_incoming
from gateway.request.prepare import prepare, prepare_wished
from gateway.request.router_bodies import read_wishes
from gateway.request.structure import Bounds
from gateway.request.suitability import readers_first, refuse_images, suitable
from gateway.request.tools_in_chat import where_tools_are_taken
from gateway.request.wishes import NO_WISHES, WISH_HEADERS, Wishes, with_members
from gateway.routing.plan import Plan
from gateway.routing.target import Target
from gateway.routing.walls import walled
from streams.errors import GatewayError, invalid


class Planning:
    """Plans one request. ``context`` is the exchange's, stricter once the request has wished that."""

    def __init__(self, context: ExchangeContext, memory: StateScope) -> None:
        self.context = context
        self._memory = memory

    async def read(self, body: bytes) -> PlannedRequest:
        """The request with all that it refers to, and its plan. Raises ``GatewayError``."""
        api, path = self.context.codec.api, self.context.asked.path
        incoming = await offload(len(body) // 2, read_incoming, api, body, path)  # the top alone is decoded
        service, asked = self.context.service, self.context.asked
        wishes, forms = NO_WISHES, service.router.client_routing
        if forms or not WISH_HEADERS.isdisjoint(dict(asked.headers)):
            wishes = await offload(len(body) // 2 if forms else 0, read_wishes, asked, incoming, forms)
        if wishes is not NO_WISHES:
            incoming = await offload(len(body), wishes.stripped, incoming)
            self.context = self.context.stricter(wishes.strict)
        if service.accounts.wraps and service.accounts.may_be_in(incoming.body):
            kept = await with_native_ids(self.context, self._memory.owner, incoming)
            incoming = kept.incoming
            plan = kept.among(self._plan(incoming, wishes))
        else:
            plan = self._plan(incoming, wishes)
        shows = showing(self.context, self._memory.owner, incoming) if service.accounts.wraps else None
        if service.authenticator.is_limited(asked.client):
            await self._check_further_models(incoming, plan, wishes)
        if plan.retries.deadline < math.inf:
            plan = attrs.evolve(plan, deadline=service.health.clock() + plan.retries.deadline)
        found = await recall(self._memory, incoming, plan.candidates, self._bounds())
        plan, incoming = plan.among(found.candidates), found.incoming
        if len(plan.candidates) > 1 or plan.candidates[0].target.recipient.quirks.cannot:
            plan = await offload(incoming.size, self._suited, plan, incoming)
        written = partial(prepare, incoming) if wishes is NO_WISHES else partial(prepare_wished, wishes, incoming)
        affinity = None
        if plan.route is not None:
            plan, affinity = await self._balanced(plan, plan.route, incoming)
        turn, headers, budgets = found.turn, found.headers, wishes.budgets
        return PlannedRequest(incoming, plan, written, turn, headers, affinity=affinity, budgets=budgets, shows=shows)

    async def _balanced(self, plan: Plan, route: Route, incoming: Incoming) -> tuple[Plan, Affinity | None]:
        """The plan with the targets of each group in order, and the conversation by which that was found."""
        if not has_choice(plan):
            return plan, None
        service = self.context.service
        affinity = await find_affinity(route.sticky, self._memory.owner, self.context.asked.headers, incoming)
        plan = service.balancer.arrange(plan, affinity, service.health.clock(), incoming.size // 4)
        ordered = await offload(incoming.size, readers_first, plan.candidates, incoming)
        return plan.among(ordered), affinity

    def _suited(self, plan: Plan, incoming: Incoming) -> Plan:
        """The plan without the targets that cannot answer the request, as far as that is known. Raises ``GatewayError``
        where certainly none of them can."""
        if kept_elsewhere(incoming):
            plan = narrow(plan, ONE_PLACE)
        kept = suitable(plan.candidates, incoming, self.context.asked)
        refuse_images(kept, incoming)
        return plan.among(kept)

    def _bounds(self) -> Bounds:
        limits = self.context.service.limits
        return Bounds(limits.request_body, limits.elements)

    def _plan(self, incoming: Incoming, wishes: Wishes) -> Plan:
        """Raises ``GatewayError``, also for a client that may not go where the plan leads."""
        record = self.context.record
        record.asked, record.stream = incoming.model, incoming.stream
        plan = self._named(incoming.model, wishes) if wishes.names else self._plan_for(incoming.model)
        if "tools" in incoming.members:
            plan = plan.with_each(partial(where_tools_are_taken, incoming))
        if wishes is not NO_WISHES:
            plan = narrow(plan, wishes)
        record.route = None if plan.route is None else plan.route.name
        target = plan.first
        record.target, record.model, record.provider_api = target.name, target.model, target.api
        return plan

    def _plan_for(self, name: str | None) -> Plan:
        """The plan for one name, as far as the client may go where it leads. Raises ``GatewayError``."""
        service, client = self.context.service, self.context.asked.client
        may = partial(service.authenticator.can_use, client)
        return allowed_plan(self.context, service.router.plan(name, self.context.codec.api, may))

    def _named(self, model: str | None, wishes: Wishes) -> Plan:
        """The plan for the names that the request lists, each as if it had been asked for alone. Raises
        ``GatewayError`` (400) with the place of one that the client cannot have."""
        if model and not wishes.names_are_ours:
            plan = self._plan_for(model)
            if all(is_router(target, wishes) for target in plan.targets):
                return plan  # the others are that router's own
        plans: list[Plan] = []
        for at, name in wishes.names:
            try:
                plans.append(self._plan_for(name))
            except GatewayError as error:
                raise invalid(f"{at}: {error.failed.message}", at) from None
        self.context.record.asked = plans[0].first.asked
        return joined(plans, self.context.service.router.several)

    async def _check_further_models(self, incoming: Incoming, plan: Plan, wishes: Wishes) -> None:
        """Raises ``GatewayError`` (403) for a model that the request names beside its own, and its client may not
        use."""
        for at, name in await offload(len(incoming.body), further_models, incoming):
            for target in plan.targets:
                self._check_further_model(at, name, target)
        for target in plan.targets:
            if members := wishes.members_for(target):
                for at, name in further_models(with_members(incoming, members)):
                    self._check_further_model(at, name, target)

    def _check_further_model(self, at: str, name: str, target: Target) -> None:
        if name != target.model:
            client = self.context.asked.client
            self.context.service.authenticator.check_further(client, at, name, target.entry)


def allowed_plan(context: ExchangeContext, plan: Plan) -> Plan:
    """``plan`` as far as the client may go where it leads. Raises ``GatewayError`` where it may go nowhere, or may not
    use a model."""
    authenticator, asked = context.service.authenticator, context.asked
    context.record.asked = plan.first.asked
    candidates = plan.candidates
    if (wall := authenticator.wall(asked.client)) is not None:
        candidates = walled(candidates, wall, asked.client)
    passing = [one for one in candidates if one.target.entry.passthrough_auth]
    credential = asked.credential if passing else None  # it is searched in all headers
    if passing and len(candidates) > 1:  # a target that needs the client's own key does not keep others from it
        usable = [one for one in candidates if not authenticator.is_misplaced(one.target.entry, credential)]
        candidates = candidates if len(usable) == len(candidates) else tuple(usable) or candidates
    if passing or authenticator.is_limited(asked.client):
        for candidate in candidates:
            one = candidate.target
            passed_on = credential if one.entry.passthrough_auth else None
            authenticator.check(asked.client, one.asked, one.entry, one.model, passed_on)
    return plan.among(candidates)
