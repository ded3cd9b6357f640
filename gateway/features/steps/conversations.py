"""Steps in the exchange of a conversation: its request, its attempts and its response."""

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import partial
from itertools import repeat
from typing import Self, TypeVar

import attrs
import msgspec
import trio

from gateway.allowances.runs import run_of
from gateway.config.aliases import Route
from gateway.exchange.context import ExchangeContext
from gateway.exchange.exchange import Exchange
from gateway.exchange.origin import AnswerOrigin
from gateway.exchange.planned import PlannedRequest
from gateway.exchange.planning import Planning, recall_turns
from gateway.exchange.reserving import reserve_first
from gateway.exchange.stopped_answer import stopped_answer
from gateway.features.steps.answer_texts import is_sound
from gateway.features.steps.checked_stream import CheckedBody, CheckedStream
from gateway.features.steps.json_texts import NotJson
from gateway.features.steps.loaded import AppliedSteps, ClientFacts
from gateway.features.steps.masks import PassageEdit, Placeholders
from gateway.features.steps.relayed_bodies import RelayedBody
from gateway.features.steps.request_texts import MOST_TEXTS, RequestTexts
from gateway.features.steps.response_steps import ResponseSteps
from gateway.features.steps.session import StepSession
from gateway.features.steps.sessions import steps_of
from gateway.features.steps.verdicts import STOPPED, RefusedByStep, StepRecords, applied_records, note_requested
from gateway.http.offload import offload
from gateway.http.request_scope import RequestScope
from gateway.request.parse import INPUT, EarlierItems, Incoming, read_incoming
from gateway.request.routing_options import Word, read_headers, unknown_step_error
from gateway.routing.target import Target
from gateway.seams.observers import UNOBSERVED
from gateway.seams.open_response import OpenedResponse, StreamTransform, Transform
from streams.errors import GatewayError
from streams.events import ErrorInfo, Usage
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
        self.body = incoming.body
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
        incoming = self.incoming
        if self._earlier:
            size = incoming.earlier_size
            earlier = await offload(size, list, map(_with_edits, incoming.earlier, self._earlier, repeat(edits)))
            incoming = attrs.evolve(incoming, earlier=tuple(earlier))
        if own := _edits_of(self._body, edits) if self._earlier else edits:
            body = await offload(incoming.size, self._body.replace, own)
            incoming = await offload(len(body), with_body, incoming, body)
        return await type(self).of(incoming, self._parts)  # type: ignore[return-value]


def _edits_of(texts: RequestTexts, edits: Sequence[PassageEdit]) -> list[PassageEdit]:
    passages = frozenset(texts.passages)
    return [edit for edit in edits if edit[0] in passages]


def _with_edits(turns: EarlierItems, texts: RequestTexts, edits: Sequence[PassageEdit]) -> EarlierItems:
    if not (own := _edits_of(texts, edits)):
        return turns
    return attrs.evolve(turns, items=tuple(msgspec.json.decode(texts.replace(own))[INPUT]))


def with_body(incoming: Incoming, body: bytes) -> Incoming:
    """Return ``incoming`` with another body, which has the same members."""
    read = read_incoming(incoming.api, body)
    return attrs.evolve(incoming, body=body, members=read.members)


class AttemptSteps(ResponseSteps):
    """The steps for a response, with its transforms."""

    def open_stream(self, opened: OpenedResponse) -> StreamTransform:
        return CheckedBody(self, opened) if opened.framing is None else CheckedStream(self, opened)

    def open_body(self, opened: OpenedResponse) -> Transform:
        """Return the transform of a response, which is held until its steps have checked all of it. Steps that only
        report hold nothing."""
        is_readable = not is_sound(opened.api, opened.content_type)  # no step can read sound
        return RelayedBody(self, opened, holds=self.holds_responses and is_readable)


class SessionChecks(StepSession):
    """The steps of one exchange, for its request, its attempts and its response.

    ``original`` is the request of a conversation without its earlier turns. ``start_later`` starts what waits for
    ``move_to``."""

    def __init__(
        self,
        context: ExchangeContext,
        scope: RequestScope,
        applied: AppliedSteps,
        common: Check,
        placeholders: Placeholders,
        records: StepRecords,
    ) -> None:
        super().__init__(
            applied, common, placeholders, records, self._start_task, context.observers,
            partial(_track_until_cut, context),
        )  # fmt: skip
        self._nursery = scope.nursery
        self._tasks: set[trio.CancelScope] = set()
        self._outlives_client = False
        self.original: Incoming | None = None
        self.start_later: Callable[[], object] | None = None
        self._context = context
        self._by_entries: dict[tuple[str, ...], PlannedRequest] = {}

    def _start_task(self, task: Callable[[], Awaitable[object]]) -> None:
        self._nursery.start_soon(self._run_task, task)

    async def _run_task(self, task: Callable[[], Awaitable[object]]) -> None:
        with trio.CancelScope(shield=self._outlives_client) as scope:
            self._tasks.add(scope)
            try:
                await task()
            finally:
                self._tasks.remove(scope)

    @contextmanager
    def outliving_client(self) -> Iterator[None]:
        self._let_outlive_client(True)
        try:
            yield
        finally:
            self._let_outlive_client(False)

    def _let_outlive_client(self, value: bool) -> None:
        self._outlives_client = value
        for scope in self._tasks:
            scope.shield = value

    def move_to(self, scope: RequestScope) -> None:
        self._nursery = scope.nursery
        if self.start_later is not None:
            self.start_later()

    def response_checks(self, target: Target) -> AttemptSteps | None:
        """Return the steps for the response of ``target``, ``None`` if there is nothing to do."""
        restores, applied = self.restores, self.applied.for_answers_of(target.entry.name)
        if not applied.steps and not restores and not self.awaits_verdict:
            return None
        keeps_events = self._context.observers.reads_events
        return AttemptSteps(
            self, applied, restores=restores, keeps_events=keeps_events, translates=target.lane == "hub"
        )

    @property
    def restores(self) -> bool:
        """Whether masked values are restored in the response for the client."""
        return self.applied.restores and bool(self.placeholders.values)

    @property
    def may_hide_later(self) -> bool:
        """Whether a step may mask or refuse the request during the provider's work, or before an attempt."""
        return self.applied.may_hide_later

    def is_refusal(self, error: ErrorInfo) -> bool:
        return self.records.is_refusal(error)

    async def until_refused(self, origin: AnswerOrigin, work: Callable[[], Awaitable[R]]) -> R:
        try:
            return await self.work_until_refused(work)
        except RefusedByStep as refused:
            request = origin.request
            if refused is not self.refusal or request.prepare_from is None:
                raise
            raise await self.answer_to(refused, request.incoming, request.plan.first, origin.reported_usage) from None

    async def answer_to(
        self, refused: RefusedByStep, incoming: Incoming, target: Target, usage: Usage | None = None
    ) -> GatewayError:
        """Return the answer that the step gives in place of ``refused``, else that itself. ``usage`` is that of the
        cancelled attempt."""
        if refused.stop_text is None:
            return refused
        return await stopped_answer(self._context, incoming, target, refused, refused.stop_text, STOPPED, usage)

    async def check_more(self, incoming: Incoming, target: Target) -> Incoming:
        applied = self.applied
        self._by_entries.clear()  # it has the request without these turns
        if not (applied.at_request or applied.at_during):
            return incoming
        texts = await ConversationTexts.of(incoming, self.parts)
        try:
            return (await self.check_texts((*applied.at_request, *applied.at_during), texts)).incoming
        except RefusedByStep as refused:
            raise await self.answer_to(refused, incoming, target) from None

    def hidden_again(self, text: str) -> str:
        return self.placeholders.hidden_again(text) if self.restores else text

    async def check_copy(self, request: PlannedRequest, target: Target) -> PlannedRequest:
        session = copy(self)
        session.records, session.placeholders = StepRecords(), self.placeholders.without_values()
        session._observers, session._by_entries = UNOBSERVED, {}
        return await session.check_for_target(request, target)

    async def check_for_target(self, request: PlannedRequest, target: Target) -> PlannedRequest:
        """Return ``request`` after the steps that only apply to the entry of ``target``. Raises ``GatewayError``."""
        if not self.applied.for_entries:
            return request
        steps = [step for step in self.applied.for_entries if step.applies_to_entry(target.entry.name)]
        if not steps or request.prepare_from is None:
            return request
        names, incoming = tuple(step.name for step in steps), request.incoming
        if names not in self._by_entries:
            texts = await ConversationTexts.of(incoming, self.parts)
            try:
                texts = await self.check_texts(steps, texts)
            except RefusedByStep as refused:
                raise await self.answer_to(refused, incoming, target) from None
            self._by_entries[names] = request.with_incoming(texts.incoming)
        return self._by_entries[names]


def begin_session(
    context: ExchangeContext,
    scope: RequestScope,
    endpoint: str,
    incoming: Incoming,
    requested: Sequence[Word] = (),
    route: Route | None = None,
) -> SessionChecks | None:
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
        note_requested(record, facts.requested)
        if requested and (unknown := configured.unavailable_names(facts)):
            raise unknown_step_error(places[unknown[0]], unknown[0])
        applied = configured.applied_steps(facts)
    else:
        applied = configured.applied_to_all
    if applied is None:
        return None
    configured.lease(scope)
    records = applied_records(record, configured.hidden)
    common = Check("request", (), client, group, model, None, endpoint, context.id, run)
    placeholders = Placeholders(configured.mask_key, client or "")
    return SessionChecks(context, scope, applied, common, placeholders, records)


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


async def begin_checks(planning: Planning) -> None:
    """Find the steps that apply to a request. If they may mask or refuse, the gateway stores its turns itself.

    Raises ``GatewayError`` (400) for an unknown step."""
    incoming = planning.incoming
    route, words = planning.plan.route, planning.options.steps
    session = begin_session(planning.context, planning.scope, incoming.api, incoming, words, route)
    if session is None:
        return
    session.original = incoming
    planning.context = planning.context.with_checks(session)
    if session.applied.enforces:
        planning.state_scope = planning.state_scope.kept_here(refuses_foreign=session.applied.refuses_unchecked)


async def check_turns(planning: Planning) -> None:
    """Run the steps on the whole conversation. Raises ``GatewayError``, also 429 or 402 for a client without
    allowance."""
    session, incoming = planning.context.checks, planning.incoming
    if not isinstance(session, SessionChecks):
        return
    planning.reservation = await reserve_first(planning.context, planning.request())
    if not (session.applied.at_request or session.applied.at_during):  # nothing sees the request yet
        session.start_concurrent_steps(None)
        return
    try:
        texts = await session.check_texts(
            session.applied.at_request, await ConversationTexts.of(incoming, session.parts)
        )
    except RefusedByStep as refused:
        raise await session.answer_to(refused, incoming, planning.plan.first) from None
    if planning.turn.background is None:
        session.start_concurrent_steps(texts)
    else:
        session.start_later = partial(session.start_concurrent_steps, texts)
    if texts.incoming is not incoming:
        await _recall_masked(planning, session, texts.incoming)


async def _recall_masked(planning: Planning, session: SessionChecks, masked: Incoming) -> None:
    """Continue with ``masked``, the conversation with its masks. The recorder of its turn stores only the part that
    the client sent, with the values that are restored for the client."""
    original, recalled = session.original, planning.incoming
    if planning.turn.records and original is not None:
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


async def check_items(exchange: Exchange, body: bytes) -> bytes:
    """Return ``body``, items of a conversation that the gateway will store, with the masks of the steps. Values that
    are restored for the client stay, as in stored turns. Raises ``GatewayError``."""
    context = exchange.context
    api, requested = context.codec.api, read_headers(context.client_request).steps
    session = begin_session(context, exchange.scope, api, Incoming(api, body, {}, None, False), requested)
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
