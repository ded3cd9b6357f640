"""The check of relayed requests by steps. Imported only where steps are configured."""

from collections.abc import Sequence
from functools import partial
from typing import Self, TypeVar

import attrs

from gateway.allowances.reservation import Reservation
from gateway.allowances.runs import run_of
from gateway.exchange.checking import SessionChecks
from gateway.exchange.checking import begin_session as find_session
from gateway.exchange.planned import PlannedRequest
from gateway.exchange.reserving import reservation_for, size_of
from gateway.http.offload import offload
from gateway.relay.relaying import InboundRequest, replace_model
from gateway.request.parse import Incoming, read_non_conversation
from gateway.request.router_bodies import GUARDRAILS, read_guardrails
from gateway.request.routing_options import Word, read_headers, with_members
from gateway.routing.plan import Plan
from gateway.routing.target import NOTHING
from gateway.steps.json_texts import NotJson
from gateway.steps.request_texts import RequestTexts
from gateway.steps.session import CheckedTexts, PassageEdit, StepSession
from streams.errors import invalid
from trigate.steps import Passage


class EndpointTexts:
    """The texts of a JSON request to an endpoint. ``incoming`` is the request with all edits."""

    def __init__(self, endpoint: str, incoming: Incoming, texts: RequestTexts) -> None:
        self.incoming = incoming
        self.passages: Sequence[Passage] = texts.passages
        self.unreadable = texts.unreadable
        self._endpoint = endpoint
        self._texts = texts

    @classmethod
    async def of(cls, endpoint: str, incoming: Incoming) -> Self:
        try:
            return cls(endpoint, incoming, await offload(incoming.size, RequestTexts.of, endpoint, incoming.body))
        except NotJson as error:
            raise invalid(f"the request body is not valid JSON: {error}") from None

    def is_latest(self, passage: Passage) -> bool:
        return self._texts.is_latest(passage)

    async def with_edits(self, edits: Sequence[PassageEdit]) -> Self:
        incoming = self.incoming
        body = await offload(incoming.size, self._texts.replace, edits)
        read = await offload(len(body), read_non_conversation, incoming.api, body)
        return await self.of(self._endpoint, attrs.evolve(incoming, body=body, members=read.members))


T = TypeVar("T", bound=CheckedTexts)


async def check_json(inbound: InboundRequest, incoming: Incoming, plan: Plan) -> Incoming:
    """Return ``incoming``, a request for one of the targets of ``plan``, with the masks of its steps.

    Raises ``GatewayError``: first for a client without allowance, then for a refusal."""
    requested: tuple[Word, ...] = ()
    if GUARDRAILS in incoming.members and "litellm" in inbound.context.service.router.client_routing:
        requested = read_guardrails(incoming)
        members = {name: raw for name, raw in incoming.members.items() if name != GUARDRAILS}
        incoming = await offload(incoming.size, with_members, incoming, members)
    session = begin_session(inbound, incoming, requested)
    if session is None:
        return incoming
    reservation = await reserve_first(inbound, inbound.plan_json(incoming, plan, partial(replace_model, incoming)))
    inbound.exchange.use_checks(SessionChecks(session, inbound.context), reservation)
    texts = await EndpointTexts.of(inbound.exchange.record.endpoint or "", incoming)
    return (await check_texts(session, texts, plan)).incoming


def begin_session(inbound: InboundRequest, incoming: Incoming, requested: tuple[Word, ...] = ()) -> StepSession | None:
    """Return the session of the steps that apply to a request, ``None`` without any. Its body requests ``requested``.

    The endpoint is that of the path, because a completion with a ``suffix`` would count as another endpoint's.

    Raises ``GatewayError`` (400) for an unknown step."""
    exchange = inbound.exchange
    words = (*read_headers(exchange.context.client_request).steps, *requested)
    return find_session(exchange.context, exchange.scope, exchange.record.endpoint or "", incoming, words)


async def reserve_first(inbound: InboundRequest, request: PlannedRequest) -> Reservation | None:
    """Reserve the expected usage of ``request`` before any step is called, so that exceeded limits fail first."""
    context, incoming = inbound.context, request.incoming
    if not context.service.allowances.has_limits:
        return None
    run = context.record.run = run_of(context.client_request, incoming)
    reservation = context.record.reservation = reservation_for(context, request, run)
    if reservation is None:
        return None
    inbound.scope.on_last_bytes(reservation.release_places)
    target = request.plan.first
    prepared = await offload(incoming.size, request.prepare, target, NOTHING)
    await reservation.reserve_client(target, await offload(prepared.size, size_of, prepared, target.api))
    return reservation


async def check_texts(session: StepSession, texts: T, plan: Plan) -> T:
    """Return ``texts`` with the masks of the steps. A step for some entries applies if ``plan`` has one of them.

    Raises ``GatewayError``."""
    entries = [target.entry.name for target in plan.targets]
    steps = [step for step in session.steps if step.at("request") and any(map(step.applies_to_entry, entries))]
    checked = await session.check_texts(steps, texts)
    session.start_concurrent_steps(checked)
    return checked
