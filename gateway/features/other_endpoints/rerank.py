"""Rerank (``/v1/rerank``, ``/v2/rerank`` and others), translated between the shapes of clients and providers."""

from collections.abc import Mapping
from functools import partial

from gateway.http.offload import offload
from gateway.relay.answers import AnswerFilter, HeldAnswer, PassedAnswer, ResponseReader
from gateway.relay.relaying import InboundRequest, RelayedRequest, without_rejected
from gateway.request.parse import Incoming
from gateway.request.prepare import credential_paths, omit_paths
from gateway.request.prepared import Prepared
from gateway.routing.target import Omissions, Target
from providers.endpoints.rerank import (
    SHAPES,
    RerankCosts,
    RerankShape,
    WantedRanking,
    read_costs,
    read_wanted_ranking,
    shape_of_client,
    translate_answer,
    translates_answer,
    write_rerank,
)
from providers.errors.answer_form import FORMS
from providers.neutral.codec import Outgoing
from providers.neutral.draft import Draft
from streams.events import Usage


async def read_rerank(inbound: InboundRequest, names: Mapping[str, str]) -> RelayedRequest:
    """Read a rerank request in the form of any provider."""
    incoming = await inbound.read_json()
    shape = shape_of_client(inbound.arrival.asgi["path"], incoming.members)
    plan = inbound.plan(inbound.model_of(incoming), _shapes_like(shape))
    incoming = await inbound.apply_edits(incoming, plan)
    wanted = await offload(incoming.size, _read_wanted, incoming, shape)
    planned = inbound.plan_json(incoming, plan, partial(prepare_rerank, incoming, wanted))
    limits, id = inbound.context.service.settings.limits, inbound.scope.id

    def filter(target: Target) -> AnswerFilter:
        source = shape_of(target)
        if not translates_answer(wanted, source):
            return PassedAnswer(RerankUsageReader(), limits.event, form=FORMS["rerank"])
        return HeldAnswer(partial(_translate, wanted=wanted, source=source, target=target, id=id), limits.answer)

    return RelayedRequest(planned, filter)


def _read_wanted(incoming: Incoming, shape: RerankShape) -> WantedRanking:
    return read_wanted_ranking(Draft(incoming.json), shape)


def _shapes_like(shape: RerankShape) -> frozenset[str]:
    """Return the names of shapes whose requests are like those of ``shape``."""
    return frozenset(name for name, other in SHAPES.items() if other.form == shape.form)


def shape_of(target: Target) -> RerankShape:
    """Return the shape of ``target``'s endpoint."""
    place = target.endpoint_place
    return SHAPES["openai" if place is None or place.shape not in SHAPES else place.shape]


def prepare_rerank(incoming: Incoming, wanted: WantedRanking, target: Target, omissions: Omissions) -> Prepared:
    """Return the request in the shape of ``target``. Raises ``GatewayError`` (400)."""
    draft = Draft(incoming.json)
    omit_paths(draft, credential_paths(target), "provider")
    body, edits = write_rerank(draft, wanted, shape_of(target), target.model)
    if omissions.paths:
        return without_rejected(Draft.of(body), target, omissions, edits)
    return Prepared(Outgoing(body, edits=edits))


def _translate(
    body: bytes, wanted: WantedRanking, source: RerankShape, target: Target, id: str
) -> tuple[bytes, Usage | None]:
    out, costs = translate_answer(body, source, wanted, target.model, id)
    return out, usage_of(costs)


class RerankUsageReader(ResponseReader):
    """A reader of the usage in a rerank response."""

    usage: Usage | None = None

    def read_whole(self, value: object) -> None:
        self.usage = usage_of(read_costs(value))


def usage_of(costs: RerankCosts) -> Usage:
    """Return ``costs`` as usage; one search if they report none."""
    searches = 1 if costs.searches is None else costs.searches
    is_estimated = costs.searches is None and costs.tokens is None and costs.nanos is None
    units = (("search", searches),)
    return Usage(input=costs.tokens or 0, reported_nanos=costs.nanos, units=units, estimated=is_estimated)
