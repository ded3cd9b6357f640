"""Sends samples to their second targets as exchanges of their own, and compares the answers."""

import contextlib
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import attrs
import msgspec
import trio

from gateway.conversations.recorder import UNRECORDED
from gateway.exchange.exchange import Exchange
from gateway.exchange.planned import PlannedRequest
from gateway.exchange.responding import open_record
from gateway.exchange.service import Service
from gateway.features.shadow.feature import client_of
from gateway.features.shadow.sampling import Sample, can_be_repeated
from gateway.http.offload import offload
from gateway.http.request_scope import RequestScope
from gateway.http.response import Truncated, as_pieces
from gateway.ledger.figures import Figures
from gateway.ledger.record import Record
from gateway.request.parse import Incoming
from gateway.request.routing_options import with_members
from gateway.routing.plan import Plan
from gateway.seams.observe import ExchangeObserver
from gateway.seams.observed_texts import ObservedTexts, TextRoom
from gateway.seams.observers import Observers, join_observers
from gateway.shared.owned_entries import OwnedEntries
from providers.apis import CODECS
from streams.answer_differences import AnswerDifference, compare_answers
from streams.errors import GatewayError
from streams.events import ErrorInfo

log = logging.getLogger("trigate")

CONCURRENT: Final = 4
"""Samples that a process sends at the same time."""
MOST: Final = 100
"""Samples that wait to be sent. If there are more, the client with the most loses its oldest."""
MOST_BYTES: Final = 32 * 2**20
"""Bytes of the waiting samples."""

_EXPECTED: Final = ("model in the answer",)
"""Parts of answers in which two models always differ."""


class Comparison(ExchangeObserver):
    """Adds the result of a comparison to the log line of the exchange with the second target."""

    def __init__(self, sample: Sample) -> None:
        self._facts = {"of": sample.context.id, "route": sample.name}
        self.differences: Sequence[AnswerDifference] | None = None

    def fields(self, record: Record) -> Mapping[str, Any]:
        if self.differences is None:
            return {"shadow": self._facts}
        return {"shadow": {**self._facts, "differences": [attrs.asdict(one) for one in self.differences]}}


class Sending:
    """The samples of a process that wait for their turn, with their ``figures``. ``room`` is for running exchanges.

    Clients take turns, so that none of them prevents the samples of others."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self.room = TextRoom()
        self._waiting: OwnedEntries[str | None, Sample, tuple[Service, Sample]] = OwnedEntries(
            MOST_BYTES, on_drop=lambda waiting: self._count(waiting[1], "dropped")
        )
        self._idle = trio.lowlevel.ParkingLot()
        self._has_ended = False

    def submit(self, service: Service, sample: Sample) -> None:
        """Let ``sample`` wait until ``service`` sends it, or drop it."""
        size = max(sample.size, MOST_BYTES // MOST)
        if self._has_ended or size > MOST_BYTES:
            self._count(sample, "dropped")
            return
        self._waiting.put(sample.context.client_request.client, sample, (service, sample), size)
        self._idle.unpark()

    def _count(self, sample: Sample, outcome: str) -> None:
        self._figures.add("trigate_shadow_answers_total", sample.name, outcome)

    async def run(self, ending: trio.Event) -> None:
        """Send samples until ``ending`` is set."""
        async with trio.open_nursery() as nursery:
            for _ in range(CONCURRENT):
                nursery.start_soon(self._send_each)
            await ending.wait()
            self._has_ended = True
            nursery.cancel_scope.cancel()

    async def _send_each(self) -> None:
        while True:
            while not self._waiting:
                await self._idle.park()
            service, sample = self._waiting.take_next()
            try:
                self._count(sample, await self._send(service, sample))
            except Exception:  # the boundary: a bug must end only this sample
                log.exception("the sample of request %s failed", sample.context.id)

    async def _send(self, service: Service, sample: Sample) -> str:
        """Send ``sample``, compare its answer with that of the client, and return the outcome."""
        client, context = client_of(sample.name), sample.context
        if sample.planned is None or not await offload(sample.size, can_be_repeated, sample.planned):
            return "unrepeatable"
        if service.allowances.is_exhausted(client, sample.target):
            return "unpaid"
        async with trio.open_nursery() as nursery:
            scope = RequestScope(nursery, f"{context.id[:100]}-shadow")
            record = open_record(context.codec.api, service.ledger, scope)
            record.client, record.requested_model = client, sample.target.requested_name
            failure: ErrorInfo | None = None
            texts, outcome = ObservedTexts(record, self.room, lambda client: True), Comparison(sample)
            join_observers(record, outcome)
            try:
                try:
                    failure = await _answer(service, sample, sample.planned, scope, record, texts)
                except trio.Cancelled:  # the process ends
                    record.shut_down = True
                    raise
                finally:
                    texts.settle()
                outcome.differences = await offload(texts.size + sample.size, partial(_compare, sample, texts))
            finally:
                scope.close()
            nursery.cancel_scope.cancel()
        for one in outcome.differences or ():
            part = one.part.partition(" of ")[0]
            self._figures.add("trigate_shadow_differences_total", sample.name, part, one.effect)
        if outcome.differences is None:
            return "unpaid" if failure is not None and failure.kind == "billing" else "failed"
        return "different" if outcome.differences else "alike"


async def _answer(
    service: Service, sample: Sample, planned: PlannedRequest, scope: RequestScope, record: Record, texts: ObservedTexts
) -> ErrorInfo | None:
    """Let ``texts`` observe the answer of the second target, and return its error."""
    sent = sample.context.client_request
    headers = tuple(pair for pair in sent.headers if not pair[0].startswith("x-trigate-"))
    client_request = attrs.evolve(sent, headers=headers, client=client_of(sample.name))
    exchange = Exchange(service, sample.context.codec.api, client_request, scope, record)
    if sample.context.checks is None:
        join_observers(record, texts)
    else:  # no step has checked this answer, so that no other observer may see it
        exchange.context = attrs.evolve(exchange.context, observers=Observers([texts]))
    incoming = await offload(sample.size, _unstored, planned.incoming)
    record.stream = incoming.stream
    request = attrs.evolve(
        planned.with_incoming(incoming), plan=Plan.once(sample.target), turn=UNRECORDED, headers=(), affinity=None,
        budgets=(), reservation=None, original=None, replace_ids=None,
    )  # fmt: skip
    exchange.context.observers.note_request(client_request, incoming.body, is_turn=True)
    texts.note_resolved(incoming)
    try:
        response = await exchange.answer_to(await exchange.start_origin(request))
    except GatewayError as error:
        response = exchange.refuse(error.info)
    if sample.context.checks is not None and isinstance(response.body, bytes):  # it goes to the observers of its record
        texts.note_response(response.status, response.headers, response.body, is_answer=response.error is None)
    with contextlib.suppress(Truncated):  # the record has the failure
        async with as_pieces(response.body) as pieces:
            async for _ in pieces:
                pass
    return response.failure


def _unstored(incoming: Incoming) -> Incoming:
    """Return ``incoming`` with ``store`` off if its provider might store the response, which no client could delete."""
    if "store" not in incoming.members and not CODECS[incoming.api].wire.stores_unasked:
        return incoming
    return with_members(incoming, {**incoming.members, "store": msgspec.Raw(b"false")})


def _compare(sample: Sample, texts: ObservedTexts) -> Sequence[AnswerDifference] | None:
    """Return the differences of the answers, ``None`` if there is no second answer."""
    if not sample.answers or not texts.answers:
        return None
    found = compare_answers(sample.answers[0], texts.answers[0], exact=False)
    return [one for one in found if one.part not in _EXPECTED]
