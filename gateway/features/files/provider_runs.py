"""The bills of answers that a provider continues in the background.

The exchange that starts such a run costs nothing itself. Once the run has ended, it is billed as an exchange of its
own: when its client fetches, follows, cancels or deletes it, or when the gateway queries the provider. This module is
imported with the first run."""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import quote

import attrs
import msgspec
import trio

from gateway.allowances.expected import AT_FIRST, RequestSize
from gateway.allowances.reservation import CountedAs, Payer, Reservation
from gateway.conversations.deadline import store_deadline
from gateway.conversations.recorder import TurnRecorder
from gateway.exchange.context import ExchangeContext, attempt_record
from gateway.exchange.planned import PlannedRequest
from gateway.exchange.service import Service
from gateway.features.files.opening import stored_objects_of
from gateway.http.late_imports import load_module
from gateway.http.offload import offload
from gateway.http.response import Response
from gateway.kept_objects.pending import PendingBatch
from gateway.kept_objects.provider_runs import FIRST_QUERY_SECONDS, UNREAD_SECONDS, ProviderRun, ProviderRuns
from gateway.ledger.bill import Booking
from gateway.ledger.record import Record
from gateway.routing.target import Target
from gateway.stores.errors import InDoubt, Unavailable
from gateway.streaming.lane import StreamProgress
from gateway.upstream.request import UpstreamRequest
from gateway.upstream.response import UpstreamResponse
from providers.apis import CODECS
from providers.auth.signer import UnsignedRequest
from providers.catalog.prices import cost_of
from providers.endpoints.endpoint import EndpointName
from providers.neutral.codec import Reply, Writer
from streams.errors import GatewayError
from streams.events import Api, ErrorInfo, Usage
from streams.fold import Answer
from streams.surrogates import NOT_JSON

log = logging.getLogger("trigate.state")

QUERY_INTERVAL: Final = 15.0
"""Seconds between two reads of the stored runs."""

_GONE: Final = (404, 410)
_FETCH_SECONDS: Final = 60.0


# The state of a run


class _RunHead(msgspec.Struct):
    status: str = ""


_HEAD: Final = msgspec.json.Decoder(_RunHead)


@attrs.frozen(eq=False, repr=False)
class RunState:
    """A provider's report on a run: whether it ``is_over``, and its usage so far."""

    is_over: bool
    usage: Usage | None = None


def read_state(api: Api, body: bytes) -> RunState | None:
    """Return the state in an answer object of ``api``, ``None`` if ``body`` is no such object."""
    codec = CODECS[api]
    try:
        status = _HEAD.decode(body).status
        events = codec.read_answer(body, texts=False, checked=False)
    except (GatewayError, *NOT_JSON):
        return None
    if not status:
        return None
    usage = [event for event in events if isinstance(event, Usage)]
    return RunState(status not in codec.wire.running, usage[-1] if usage else None)


# The exchange that starts a run


class StartedRun(TurnRecorder):
    """The recorder of a background answer, which stores its run as soon as the client may know its id.

    A stream that the client reads to its end is billed in its own exchange. ``inner`` stores the turn's owner."""

    records = True

    def __init__(self, inner: TurnRecorder, context: ExchangeContext, owner: str, runs: ProviderRuns) -> None:
        self._inner = inner
        self._context = context
        self._owner = owner
        self._runs = runs
        self._target: Target | None = None
        self._run: ProviderRun | None = None
        self._is_settled = False

    @property
    def continues(self) -> bool:
        return self._inner.continues

    def reply(self, reply: Reply) -> Reply:
        return self._inner.reply(reply)

    def writer(self, writer: Writer) -> Writer:
        return self._inner.writer(writer)

    def record_target(self, target: Target, writer: Writer | None = None) -> None:
        self._target = target
        self._inner.record_target(target, writer)

    def may_pass(self, data: bytes, progress: StreamProgress) -> bool:
        is_due = progress.committed and (self._run is None or progress.over) and not self._is_settled
        return self._inner.may_pass(data, progress) and not is_due

    async def persist(self, data: bytes, progress: StreamProgress) -> bytes:
        if self._run is None:
            await self._store(progress.start.id)
        self._is_settled = self._run is None or progress.over
        if self._run is not None and progress.end is not None and progress.usage is not None:
            self._context.bill.billed = await claim(self._context.service, self._runs, self._run)
            await release(self._context.service, self._run)  # this exchange still has its own reservation
        return await self._inner.persist(data, progress)

    async def persist_partial(self, id: str) -> None:
        if self._run is None:
            await self._store(id)
        await self._inner.persist_partial(id)

    async def persist_whole(self, body: bytes, answer: Answer) -> bytes:
        return await self._inner.persist_whole(body, answer)  # it is over, and billed in its own exchange

    async def persist_failure(self, id: str, error: ErrorInfo) -> ErrorInfo | None:
        await self._store(id)
        has_begun = self._run is not None and error.native and error.reason is None  # as the client requested
        await self._inner.persist_failure(id, error)
        return None if has_begun else error

    async def _store(self, id: str) -> None:
        """Store the run, which is billed later. On failure, this exchange bills an estimate."""
        target, record, service = self._target, self._context.record, self._context.service
        if not id or target is None or target.entry.passthrough_auth:
            return
        now, bill = time.time(), self._context.bill
        run = ProviderRun(
            id, self._owner, target.entry.name, target.api, target.model, record.id, now, now + FIRST_QUERY_SECONDS,
            record.requested_model, record.client, record.run, bill.estimated_input(),
            bill.expected_background_tokens or AT_FIRST, record.project,
        )  # fmt: skip
        try:
            with store_deadline("store the background answer", shield=True):
                doubt = None
                try:
                    await self._runs.add(run)
                except InDoubt as error:
                    doubt = error
                if doubt is not None:
                    await self._runs.claim(run)  # if it is stored, no query may bill it
                    raise doubt
                self._run, bill.billed = run, False
        except GatewayError as error:
            log.warning("%s: its cost is estimated: %s", record.id, error.info.loggable_message)
            return
        if payers := service.allowances.payers(record.client, target):
            usage = Usage(input=run.input, output=run.output)
            nanos = 0 if target.price is None else cost_of(target.price, usage, estimated=True).nanos
            pending = PendingBatch(payers, nanos, run.input + run.output)
            await stored_objects_of(service).pending.add(run.owner, run.id, pending)


class FollowedRun(TurnRecorder):
    """The recorder of a run's stream that its client follows to the end, which bills the run."""

    records = True

    def __init__(self, service: Service, owner: str, id: str) -> None:
        self._service = service
        self._owner = owner
        self._id = id
        self._is_settled = False

    def may_pass(self, data: bytes, progress: StreamProgress) -> bool:
        return self._is_settled or not progress.over

    async def persist(self, data: bytes, progress: StreamProgress) -> bytes:
        self._is_settled = True
        if progress.end is not None and progress.usage is not None:
            await settle(self._service, self._owner, self._id, RunState(is_over=True, usage=progress.usage))
        return data


def unread_batch(
    context: ExchangeContext, id: str, owner: str, api: Api, endpoint: EndpointName, target: Target
) -> ProviderRun:
    """Return a batch that the provider created with ``id``, as a run that the gateway queries two days later."""
    record, due = context.record, time.time() + UNREAD_SECONDS
    return ProviderRun(
        id, owner, target.entry.name, api, target.model, record.id, due, due, record.requested_model, record.client,
        record.run, project=record.project, endpoint=endpoint,
    )  # fmt: skip


# Bills


def runs_of(service: Service) -> ProviderRuns | None:
    """Return the runs that are not billed, ``None`` without storage."""
    inventory = stored_objects_of(service).inventory
    return None if inventory is None else ProviderRuns(inventory)


async def find_run(service: Service, owner: str, id: str) -> ProviderRun | None:
    """Return the unbilled run ``id`` of ``owner``, ``None`` without one, or if the storage is unavailable."""
    runs = runs_of(service)
    if runs is None:
        return None
    try:
        with store_deadline("look up the background answer"):
            return await runs.find(owner, id)
    except GatewayError as error:
        log.warning("the background answer %s cannot be billed now: %s", id, error.info.loggable_message)
        return None


async def send_about_run(
    service: Service,
    api: Api,
    run: tuple[str, str],
    planned: PlannedRequest,
    send: Callable[[PlannedRequest], Awaitable[Response]],
) -> Response:
    """Send ``planned``, a request about ``run``, and return the provider's response.

    If the answer continued in the background, its end is billed. Raises ``GatewayError``."""
    if planned.incoming.stream:
        planned = attrs.evolve(planned, turn=FollowedRun(service, *run))
    left = await begin_deletion(service, *run) if planned.method == "DELETE" else None
    response = await send(planned)
    if left is not None:
        unbilled, state = left
        await bill(service, unbilled, None if state is None else state.usage)
    elif isinstance(response.body, bytes):
        await settle(service, *run, read_state(api, response.body))
    return response


async def settle(service: Service, owner: str, id: str, state: RunState | None) -> None:
    """Bill the run ``id`` of ``owner`` if ``state`` shows its end and no process has billed it. Raises nothing."""
    if state is not None and state.is_over and (run := await find_run(service, owner, id)) is not None:
        await bill(service, run, state.usage)


async def begin_deletion(service: Service, owner: str, id: str) -> tuple[ProviderRun, RunState | None] | None:
    """Bill the run ``id`` of ``owner`` if it is over, before its client deletes it at the provider.

    Return the run and its state if it is not over, or cannot be fetched: it is billed after the deletion."""
    run = await find_run(service, owner, id)
    target = None if run is None else target_of(service, run)
    if run is None or target is None:
        return None
    state = await fetch_state(service, target, run)
    if state is None or not state.is_over:
        return run, state
    await bill(service, run, state.usage)
    return None


async def bill(service: Service, run: ProviderRun, usage: Usage | None) -> None:
    """Bill ``run`` unless a process has billed it, by its estimate without ``usage``. Raises nothing.

    Cancellation does not end it: a claimed run would cost nothing."""
    runs, target = runs_of(service), target_of(service, run)
    if runs is None or target is None:
        return
    with trio.CancelScope(shield=True):
        if not await claim(service, runs, run):
            return
        estimated = usage is None
        if usage is None:
            usage = Usage(input=run.input, output=run.output, estimated=True)
        known = target.price is not None or usage.reported_nanos is not None
        cost = cost_of(target.price, usage, estimated=estimated) if known else None
        await settle_run(service, run, target, Booking(usage, cost))
        await release(service, run)  # the budgets have counted its cost


async def settle_run(service: Service, run: ProviderRun, target: Target, booking: Booking) -> None:
    """Bill ``booking`` for ``run``, which this process has claimed, as an exchange of its own. Raises nothing."""
    suffix = "run" if run.endpoint is None else "batch"
    record = service.ledger.open(f"{run.request_id}-{suffix}", run.api, endpoint=run.endpoint)
    record.client, record.requested_model = run.client, run.requested_model
    record.run, record.project = run.run, run.project
    record.target, record.model, record.provider_api, record.lane = target.name, target.model, target.api, "byte"
    record.attempts = 1
    record.bill.attempt_records = (attempt_record(target, "ok", "byte", committed=True),)
    record.bill.is_complete = True
    record.bill.book(attrs.evolve(booking, id=run.id))
    record.mark_answered(200)
    try:
        record.reservation = await _reserve(service, record, target)
    except GatewayError as error:  # the counters are unavailable
        log.warning("%s does not count towards limits: %s", record.id, error.info.loggable_message)
    finally:
        service.ledger.settle(record, disconnected=False)


async def claim(service: Service, runs: ProviderRuns, run: ProviderRun) -> bool:
    """Return whether this process bills ``run``. Raises nothing."""
    try:
        with store_deadline("claim the background answer", shield=True):
            is_first = await runs.claim(run)
    except GatewayError as error:
        log.warning("the background answer %s cannot be billed now: %s", run.id, error.info.loggable_message)
        return False
    try:
        with store_deadline("remove the background answer", shield=True):
            await runs.remove(run)
    except GatewayError as error:  # it is billed now, and removed after its next query
        log.warning("%s", error.info.loggable_message)
    return is_first


async def release(service: Service, run: ProviderRun) -> None:
    """Release the expected cost of ``run``. Raises nothing."""
    if service.allowances.batch_reserves.is_wanted:
        await stored_objects_of(service).pending.remove(run.owner, run.id)


async def _reserve(service: Service, record: Record, target: Target) -> Reservation | None:
    """Return the reservation that charges a run which has ended, ``None`` without limits. Raises ``GatewayError``."""
    allowances = service.allowances
    if not (allowances.of_client(record.client) or allowances.of_target(target)):
        return None
    payer = Payer(record.client, record.run)
    reservation = Reservation(allowances, payer, record.bill, counted_as=CountedAs.STARTED)
    await reservation.reserve(target, RequestSize(0), queues=False)
    return reservation


# Queries of the provider


def target_of(service: Service, run: ProviderRun) -> Target | None:
    """Return the target of ``run``, ``None`` if its entry no longer exists or serves the API."""
    for target in service.router.storing_targets(run.api):
        if target.entry.name == run.entry:
            return attrs.evolve(target, model=run.model)
    return None


async def fetch_state(service: Service, target: Target, run: ProviderRun) -> RunState | None:
    """Return the state of ``run`` at its provider, ``None`` if it cannot be fetched now.

    A run that no longer exists there is over, and its usage is unknown."""
    try:
        with trio.fail_after(_FETCH_SECONDS):
            async with await send_query(service, target, run.api, quote(run.id, safe="")) as response:
                if response.status in _GONE:
                    return RunState(is_over=True)
                body = await response.read(service.settings.limits.answer)
                return await offload(len(body), read_state, run.api, body) if response.status == 200 else None
    except (GatewayError, trio.TooSlowError):
        return None


async def send_query(service: Service, target: Target, api: Api, path: str) -> UpstreamResponse:
    """Send a GET request to ``path`` below the URL of ``target``. Raises ``GatewayError``."""
    wire = CODECS[api].wire
    version = () if wire.version_header is None else ((wire.version_header, wire.default_version),)
    headers = (("accept", "application/json"), ("accept-encoding", "identity"), *version, *target.configured_headers)
    url, mark, query = target.url.partition("?")
    url = f"{url}/{path}{mark}{query}"
    source = service.credentials.get(target.entry.name)
    credential = target.credential(None) if source is None else await source.credential()
    signed = target.sign(UnsignedRequest("GET", url, headers, b""), credential, time.time())
    request = UpstreamRequest("GET", url, (*headers, *signed), connect_timeout=target.entry.timeouts.connect)
    return await service.upstream.send(request)


async def query_due_runs(service: Service, runs: ProviderRuns, *, warns: bool = True) -> bool:
    """Query the runs that are due, and bill those that are over or too old. Raises nothing.

    Return whether the storage is available; otherwise log that if it ``warns``."""
    try:
        with store_deadline("read the background answers"):
            due = await runs.take_due()
    except GatewayError as error:
        if warns:
            log.warning("%s", error.info.loggable_message)
        return False
    for run in due:
        if run.endpoint is not None:
            await _bill_unread_batch(service, runs, run)
            continue
        if (target := target_of(service, run)) is None:
            continue
        state = await fetch_state(service, target, run)
        if run.is_too_old or (state is not None and state.is_over):
            await bill(service, run, None if state is None else state.usage)
    return True


async def _bill_unread_batch(service: Service, runs: ProviderRuns, batch: ProviderRun) -> None:
    """Bill a batch that no request has billed. Raises nothing."""
    code = await load_module("gateway.features.files.unread_batches")
    try:
        await code.bill_unread_batch(service, runs, batch)
    except (GatewayError, Unavailable, trio.TooSlowError) as error:
        log.warning("the batch %s cannot be billed now: %s", batch.id, str(error) or "timeout")


async def query_runs(service: Service) -> None:
    """Query the runs whose clients do not fetch their ends, until another configuration replaces this one."""
    runs, replaced, is_available = runs_of(service), service.replaced.of(None), True
    while runs is not None and not replaced.is_set():
        with trio.move_on_after(QUERY_INTERVAL):
            await replaced.wait()
            return
        is_available = await query_due_runs(service, runs, warns=is_available)
