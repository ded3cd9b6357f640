"""The call sites of steps in an exchange: its request, an attempt at one of its targets, and its response.

At the end is the gate of other endpoints, which refuses requests that steps must check but cannot read. Imported only
where steps are configured."""

import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Self, TypeVar

import attrs
import msgspec
import trio

from gateway.allowances.reservation import Reservation
from gateway.allowances.runs import run_of
from gateway.exchange.context import ExchangeContext
from gateway.exchange.noted_prompts import note_original
from gateway.exchange.planned import PlannedRequest, RefusableOrigin, StoppedAnswer
from gateway.exchange.planning import Planning, PlanningStep, recall_turns
from gateway.exchange.reserving import reservation_for, size_of, with_subscription_marks
from gateway.exchange.service import Service
from gateway.features.steps.endpoints import CHECKED_ROUTES, closing_step
from gateway.features.steps.json_texts import NotJson
from gateway.features.steps.loaded import StepSet
from gateway.features.steps.masks import PassageEdit, Placeholders
from gateway.features.steps.request_texts import MOST_TEXTS, RequestTexts
from gateway.features.steps.response_steps import ResponseSteps
from gateway.features.steps.scope import ClientFacts
from gateway.features.steps.session import StepSession
from gateway.features.steps.verdicts import STOPPED, RefusedByStep, StepRecords, unchecked_content, unchecked_endpoint
from gateway.http.offload import offload
from gateway.http.request_scope import RequestScope
from gateway.http.response import JSON_HEADERS, stream_headers
from gateway.request.client_request import ClientRequest
from gateway.request.parse import INPUT, EarlierItems, Incoming, read_incoming
from gateway.request.routing_options import Word, read_headers, unknown_step_error
from gateway.routing.most_useful import most_useful
from gateway.routing.plan import Outcome, Stage
from gateway.routing.target import Target
from gateway.streaming.lane import reframe_for_client
from gateway.streaming.released import ReleasedSource, frame_of
from gateway.streaming.translation import Translation
from providers.neutral.codec import Reply
from streams.errors import GatewayError
from streams.events import AnswerStart, BlockEnd, Event, TextDelta, Usage
from streams.fold import fold
from trigate.steps import Check, Part, Passage

R = TypeVar("R")


class ConversationTexts:
    """The texts of a conversation: those of the request, after those of the earlier turns that the gateway stores.

    ``body`` and ``earlier`` are the request's bytes and stored items with all edits."""

    def __init__(
        self, incoming: Incoming, parts: Collection[Part], body: RequestTexts, earlier: Sequence[RequestTexts]
    ) -> None:
        self.incoming = incoming
        self._parts = parts
        before = [passage for texts in earlier for passage in texts.passages]
        self.passages: Sequence[Passage] = (*before, *body.passages)
        self.unreadable = body.unreadable
        self._body = body
        self._earlier = earlier

    @classmethod
    async def of(cls, incoming: Incoming, parts: Collection[Part]) -> "ConversationTexts":
        """Return the texts of the request and its earlier turns that belong to ``parts``."""
        body = await offload(len(incoming.body), RequestTexts.of, incoming.api, incoming.body, parts, MOST_TEXTS)
        earlier = []
        for turns in incoming.earlier:
            items = await offload(incoming.earlier_size, msgspec.json.encode, {INPUT: turns.items})
            earlier.append(await offload(len(items), RequestTexts.of, turns.api, items, parts))
        return cls(incoming, parts, body, earlier)

    def is_latest(self, passage: Passage) -> bool:
        return self._body.is_latest(passage)

    async def with_edits(self, edits: Sequence[PassageEdit]) -> Self:
        if not self._earlier:
            return await type(self).of(await self._with_body(edits), self._parts)  # type: ignore[return-value]
        own = frozenset(self._body.passages)
        changed = await self._with_body([edit for edit in edits if edit[0] in own])
        if any(edit[0] not in own for edit in edits):
            size = self.incoming.earlier_size
            earlier = await offload(size, _with_all_edits, self.incoming.earlier, self._earlier, edits)
            changed = attrs.evolve(changed, earlier=earlier)
        return await type(self).of(changed, self._parts)  # type: ignore[return-value]

    async def _with_body(self, edits: Sequence[PassageEdit]) -> Incoming:
        if not edits:
            return self.incoming
        body = await offload(self.incoming.size, self._body.replace, edits)
        return await offload(len(body), with_body, self.incoming, body)


def _with_all_edits(
    earlier: Sequence[EarlierItems], texts: Sequence[RequestTexts], edits: Sequence[PassageEdit]
) -> tuple[EarlierItems, ...]:
    return tuple([_with_edits(turns, own, edits) for turns, own in zip(earlier, texts, strict=True)])


def _with_edits(turns: EarlierItems, texts: RequestTexts, edits: Sequence[PassageEdit]) -> EarlierItems:
    passages = frozenset(texts.passages)
    if not (own := [edit for edit in edits if edit[0] in passages]):
        return turns
    return attrs.evolve(turns, items=tuple(msgspec.json.decode(texts.replace(own))[INPUT]))


def with_body(incoming: Incoming, body: bytes) -> Incoming:
    """Return ``incoming`` with another body, which has the same members."""
    read = read_incoming(incoming.api, body)
    return attrs.evolve(incoming, body=body, members=read.members)


class SessionChecks:
    """The steps of one exchange, for its attempts and its response."""

    def __init__(self, session: StepSession, context: ExchangeContext) -> None:
        self.session = session
        self._context = context
        self._by_entries: dict[tuple[str, ...], PlannedRequest] = {}
        self._start_later: Callable[[], object] | None = None

    def start_concurrent_steps(self, texts: ConversationTexts, *, later: bool) -> None:
        """Start the steps that run while the provider works: now, or if ``later`` when ``move_to`` is called."""
        if later and self.session.applied.at_during:
            self._start_later = partial(self.session.start_concurrent_steps, texts)
        else:
            self.session.start_concurrent_steps(texts)

    def move_to(self, scope: RequestScope) -> None:
        self.session.spawn = scope.nursery.start_soon
        if self._start_later is not None:
            self._start_later()

    def response_steps(self, target: Target) -> ResponseSteps | None:
        """Return the steps for the response of ``target``, ``None`` if there is nothing to do."""
        session, restores = self.session, self.restores
        applied = session.applied.for_answers_of(target.entry.name)
        if not applied.steps and not restores and not session.awaits_verdict:
            return None
        keeps_events = self._context.content is not None
        return ResponseSteps(
            session, applied, restores=restores, keeps_events=keeps_events, translates=target.lane == "hub"
        )

    @property
    def may_restore(self) -> bool:
        """Whether masked values may be restored for the client, including those that steps of an entry mask later."""
        applied = self.session.applied
        return self.restores or (applied.restores and bool(applied.for_entries))

    @property
    def restores(self) -> bool:
        """Whether masked values are restored in the response for the client."""
        return self.session.applied.restores and bool(self.session.placeholders.values)

    @property
    def may_hide_later(self) -> bool:
        """Whether a step may mask or refuse the request during the provider's work, or before an attempt."""
        return self.session.applied.may_hide_later

    @property
    def refusal(self) -> GatewayError | None:
        return self.session.refusal if self.session.has_ended_work else None

    async def await_verdict(self) -> None:
        await self.session.await_verdict()

    async def until_refused(self, origin: RefusableOrigin, work: Callable[[], Awaitable[R]]) -> R:
        try:
            return await self.session.until_refused(work)
        except RefusedByStep as refused:
            request = origin.request
            if refused is not self.refusal or refused.stop_text is None or request.prepare_from is None:
                raise
            raise await _stopped_answer(
                self._context, request.incoming, request.plan.first, refused, refused.stop_text, origin.reported_usage
            ) from None

    async def check_for_target(self, request: PlannedRequest, target: Target) -> PlannedRequest:
        """Return ``request`` after the steps that only apply to the entry of ``target``. Raises ``GatewayError``."""
        if not self.session.applied.for_entries:
            return request
        steps = [step for step in self.session.applied.for_entries if step.applies_to_entry(target.entry.name)]
        if not steps or request.prepare_from is None:
            return request
        names, incoming = tuple(step.name for step in steps), request.incoming
        if names not in self._by_entries:
            texts = await ConversationTexts.of(incoming, self.session.parts)
            try:
                texts = await self.session.check_texts(steps, texts)
            except RefusedByStep as refused:
                if refused.stop_text is None:
                    raise
                raise await _stopped_answer(self._context, incoming, target, refused, refused.stop_text) from None
            self._by_entries[names] = request.with_incoming(texts.incoming)
        return self._by_entries[names]


async def begin_checks(planning: Planning) -> None:
    """Find the steps that apply to a request. If they may mask or refuse, the gateway stores its turns itself.

    Raises ``GatewayError``: 400 for an unknown step, 429 or 402 for a client without allowance."""
    incoming = planning.incoming
    session = begin_session(planning.context, planning.scope, incoming.api, incoming, planning.options.steps)
    if session is None:
        return
    checks = SessionChecks(session, planning.context)
    planning.context = planning.context.with_checks(checks)
    if session.applied.enforces:
        planning.state_scope = planning.state_scope.kept_here(refuses_foreign=session.applied.refuses_unchecked)
    planning.reservation = await reserve_first(planning.context, planning.request())


async def recall_and_check(planning: Planning) -> None:
    """Load the earlier turns, then run the steps on the whole conversation. Raises ``GatewayError``."""
    original = planning.incoming
    await recall_turns(planning)
    checks = planning.context.checks
    if not isinstance(checks, SessionChecks):
        return
    session, incoming = checks.session, planning.incoming
    if not (session.applied.at_request or session.applied.at_during):  # nothing sees the request yet
        session.start_concurrent_steps(None)
        return
    try:
        texts = await session.check_texts(
            session.applied.at_request, await ConversationTexts.of(incoming, session.parts)
        )
    except RefusedByStep as refused:
        if refused.stop_text is None:
            raise
        target = planning.plan.first
        raise await _stopped_answer(planning.context, incoming, target, refused, refused.stop_text) from None
    checks.start_concurrent_steps(texts, later=planning.turn.background is not None)
    if texts.incoming is not incoming:
        await _recall_masked(planning, session, original, texts.incoming)


async def _recall_masked(planning: Planning, session: StepSession, original: Incoming, masked: Incoming) -> None:
    """Continue with ``masked``, the conversation with its masks. The recorder of its turn stores only the part that
    the client sent, with the values that are restored for the client."""
    recalled = planning.incoming
    if planning.turn.records:
        if all(original.members.get(name) is recalled.members.get(name) for name in ("input", "messages")):
            kept = {name: masked.members.get(name, raw) for name, raw in original.members.items()}
            own = attrs.evolve(original, body=msgspec.json.encode(kept), members=kept)
        else:  # the body also has turns or items that were stored before
            texts = await ConversationTexts.of(original, session.parts)
            own = (await session.repeat_masks(session.applied.at_request, texts)).incoming
        planning.incoming = await offload(own.size, _with_own_values, own, session)
        await recall_turns(planning)
    planning.incoming = masked


def _with_own_values(incoming: Incoming, session: StepSession) -> Incoming:
    """Return ``incoming`` with the masked values in place of the placeholders that are restored for the client.
    Reasoning stays unchanged, because it may be signed."""
    texts = RequestTexts.of(incoming.api, incoming.body, session.parts)
    edits = session.restoring_edits(one for one in texts.passages if one.part != "reasoning")
    return with_body(incoming, texts.replace(edits)) if edits else incoming


def with_checks(steps: tuple[PlanningStep, ...]) -> tuple[PlanningStep, ...]:
    """Return the ``steps`` of planning with the operator's steps, which see the whole conversation."""
    at = steps.index(recall_turns)
    return (*steps[:at], begin_checks, recall_and_check, *steps[at + 1 :], note_checked_request)


async def note_checked_request(planning: Planning) -> None:
    """Note the original of a changed request for prompt caching."""
    service, record, body = planning.context.service, planning.context.record, planning.incoming.body
    if service.prompt_caching is not None and body is not planning.received.body:
        note_original(service.prompt_caching, record, planning.received)


async def check_items(context: ExchangeContext, scope: RequestScope, body: bytes) -> bytes:
    """Return ``body``, items of a conversation that the gateway will store, with the masks of the steps. Values that
    are restored for the client stay, as in stored turns. Raises ``GatewayError``."""
    api = context.codec.api
    requested = read_headers(context.client_request).steps
    session = begin_session(context, scope, api, Incoming(api, body, {}, None, False), requested)
    if session is None:
        return body
    try:
        texts = await offload(len(body), RequestTexts.of, "conversations", body)
    except NotJson:
        return body  # refused later
    applied = session.applied
    texts = await session.check_texts((*applied.at_request, *applied.at_during), texts)
    shown = (one for one in texts.passages if one.part != "reasoning")
    if edits := await offload(len(texts.body), session.restoring_edits, shown):
        texts = await texts.with_edits(edits)
    return texts.body


def begin_session(
    context: ExchangeContext, scope: RequestScope, endpoint: str, incoming: Incoming, requested: Sequence[Word] = ()
) -> StepSession | None:
    """Return the session of the steps that apply to a request to ``endpoint``, ``None`` if no step does.

    ``requested`` are the names of the steps that the client requests, with their positions in the request. Raises
    ``GatewayError`` (400) if the client may not request one."""
    service, client_request, record = context.service, context.client_request, context.record
    configured = service.steps
    assert configured is not None, "there are steps"
    model = incoming.model
    run = None
    if configured.needs_run:
        run = record.run = run_of(client_request, incoming)
    client, group = client_request.client, service.authenticator.group_of(client_request.client)
    if requested or not configured.is_for_all:
        models = tuple([name for name in (record.route, model) if name])
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
        applied, common, placeholders, records, scope.nursery.start_soon, context.observers.note_hidden,
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
            record.shut_down = record.shut_down or lifecycle.is_cut
            raise


async def _stopped_answer(
    context: ExchangeContext,
    incoming: Incoming,
    target: Target,
    refused: RefusedByStep,
    text: str,
    usage: Usage | None = None,
) -> StoppedAnswer:
    """Return ``text`` as the answer to a refused request, in the client's API and form. ``usage`` is that of the
    cancelled attempt."""
    codec, wire = context.codec, context.codec.wire
    try:
        request = await offload(incoming.size, lambda: incoming.request)
    except GatewayError:  # such as a count of tokens, which may lack ``max_tokens``
        raise refused from None
    reply = Reply(attrs.evolve(request, model=target.requested_name), target.recipient.issuer, int(time.time()))
    start = AnswerStart(model=target.requested_name)
    events: list[Event] = [start, TextDelta(0, text), BlockEnd(0), usage or Usage(), STOPPED]
    feedback = wire.refused_prompt(text)
    if not incoming.stream:
        body = with_members(codec.write_answer(fold(events), reply), feedback)
        return StoppedAnswer(refused.info, body, JSON_HEADERS, events, feedback)
    framing = context.client_request.framing(wire)
    limits = context.service.limits
    lane: Any = Translation(ReleasedSource(), codec.writer(reply), wire, lambda error: error, limits.event)
    if framing is not wire.framing:
        lane = reframe_for_client(lane, wire.framing, framing)
    body = with_members(lane.feed(frame_of(events)) + lane.end() + lane.trailing_bytes(), feedback)
    return StoppedAnswer(refused.info, body, stream_headers(framing), events, feedback)


def with_members(body: bytes, members: Mapping[str, Any]) -> bytes:
    """Return ``body`` with ``members`` at the beginning of its first JSON object."""
    return body.replace(b"{", msgspec.json.encode(members)[:-1] + b",", 1) if members else body


async def reserve_first(context: ExchangeContext, request: PlannedRequest) -> Reservation | None:
    """Reserve the expected usage of ``request`` before any step is called, so that exceeded limits fail first.

    The first target that the client's budgets allow counts. Raises ``GatewayError`` if there is none."""
    service = context.service
    if not service.allowances.has_limits and not request.budgets:
        return None
    run = context.record.run = run_of(context.client_request, request.incoming)
    reservation = context.record.reservation = reservation_for(context, request, run)
    if reservation is None:
        return None
    refusals: list[Outcome] = []
    for target in with_subscription_marks(context, request).plan.targets:
        known = service.rejections.known_omissions(target, context.client_request)
        try:
            prepared = await offload(request.incoming.size, request.prepare, target, known)
        except GatewayError as error:
            if not refusals:  # the next targets are only for the client's budgets
                raise
            refusals.append(Outcome(target, error.info, Stage.PREPARING))
            continue
        size = await offload(prepared.size, size_of, prepared, target.api)
        if (refusal := await reservation.reserve_client(target, size)) is None:
            return reservation
        refusals.append(Outcome(target, refusal, Stage.WAITING, requests=0))
    raise GatewayError.of(most_useful(refusals))


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
