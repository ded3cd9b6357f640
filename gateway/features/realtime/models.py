"""Selection of a session's target, and the rule for models in its frames."""

from collections.abc import Collection, Iterator
from typing import Final

import attrs

from gateway.exchange.conditions import single_target
from gateway.exchange.context import ExchangeContext
from gateway.exchange.requested_plan import allowed_plan
from gateway.ledger.record import Record
from gateway.relay.endpoint_plans import endpoint_plan
from gateway.routing.plan import Plan
from gateway.routing.target import Target
from gateway.viewing.listed_models import list_models
from providers.endpoints.endpoint import EndpointName
from streams.errors import GatewayError, invalid

ENDPOINT: Final[EndpointName] = "realtime"

MAX_SEARCHED: Final = 200
"""Model names searched for the only entry with realtime."""

MISSING_MODEL: Final = (
    "the model is missing: add ?model=NAME (Azure's clients: ?deployment=NAME). ?intent=transcription needs no "
    "model if only one provider has realtime models"
)
_OTHER_MODEL: Final = "{} has a different model than this session ({!r}): open another session for it"
_OTHER_API: Final = "the provider of {!r} uses another realtime API: use a client for that API"


def session_target(
    context: ExchangeContext, model: str | None, shapes: Collection[str], endpoint: EndpointName = ENDPOINT
) -> Target:
    """Return the session's target for ``model`` whose realtime API is in ``shapes``, and record it.

    Raises ``GatewayError``."""
    plan = _plan(context, model, shapes, endpoint)
    service = context.service
    if plan.route is not None:
        plan = service.balancer.arrange(plan, None, service.health.clock())
    target, record = single_target(context, plan), context.record
    record.route = None if plan.route is None else plan.route.name
    record.target, record.model, record.provider_api, record.lane = target.name, target.model, target.api, "byte"
    return target


def _plan(
    context: ExchangeContext, model: str | None, shapes: Collection[str], endpoint: EndpointName = ENDPOINT
) -> Plan:
    router = context.service.router
    plan = allowed_plan(context, endpoint_plan(router, model, endpoint, frozenset(shapes), context.may_use))
    candidates = tuple(
        one for one in plan.candidates
        if one.target.endpoint_place is not None and one.target.endpoint_place.shape in shapes
    )  # fmt: skip
    if not candidates:
        raise invalid(_OTHER_API.format(model), "model")
    return plan.with_candidates(candidates)


def only_target(context: ExchangeContext, shapes: Collection[str]) -> Target:
    """Return the target for a session without a model, if the client can use only one provider with realtime models.

    Raises ``GatewayError``."""
    targets = list(_all_targets(context, shapes))
    if len({(one.entry.provider.id, one.entry.base_url, one.entry.key) for one in targets}) != 1:
        raise invalid(MISSING_MODEL, "model")
    return session_target(context, targets[0].requested_name, shapes)


def _all_targets(context: ExchangeContext, shapes: Collection[str]) -> Iterator[Target]:
    service, client = context.service, context.client_request.client
    for model in list_models(service.router)[:MAX_SEARCHED]:
        if service.authenticator.can_use(client, model.id):
            try:
                yield _plan(_with_throwaway_record(context), model.id, shapes).first
            except GatewayError:
                continue


def _with_throwaway_record(context: ExchangeContext) -> ExchangeContext:
    """Return ``context`` with a throwaway record, because planning writes to it."""
    return attrs.evolve(context, record=Record(context.id, context.codec.api))


@attrs.frozen
class SessionModels:
    """The rule for models in a session with ``target``: a ``ModelRule``.

    ``is_fixed`` means that the client chose the model when it connected, so frames cannot change it. ``endpoint`` is
    the kind of session."""

    context: ExchangeContext
    target: Target
    shapes: Collection[str]
    is_fixed: bool = True
    endpoint: EndpointName = ENDPOINT

    def provider_name(self, at: str, name: str) -> str:
        if name in (self.target.requested_name, self.target.model):
            return self.target.model
        plan = _plan(_with_throwaway_record(self.context), name, self.shapes, self.endpoint)
        for one in plan.targets:
            if one.entry == self.target.entry and (one.model == self.target.model or not self.is_fixed):
                return one.model
        raise invalid(_OTHER_MODEL.format(at, self.target.requested_name), at)

    def check_other(self, at: str, name: str) -> None:
        self.context.check_additional_model(at, name, self.target.entry)
