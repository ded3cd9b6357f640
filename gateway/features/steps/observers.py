"""Passes the records of finished exchanges to observers, in batches and from bounded queues. No exchange waits.

The texts of a record are written in a thread, after the end of its exchange. Masking steps of the moment ``finished``
change them for the observers after them."""

import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, Self, TypeAlias

import attrs
import trio

from gateway.config.patterns import matches
from gateway.features.steps.answer_texts import AnswerTexts
from gateway.features.steps.json_texts import NotJson
from gateway.features.steps.loaded import AppliedSteps, ClientFacts, LoadedStep, StepSet
from gateway.features.steps.masks import Placeholders
from gateway.features.steps.request_texts import RequestTexts
from gateway.features.steps.runner import StepFailed, call_function, call_within_deadline, log_limited
from gateway.features.steps.session import CheckedTexts, StepSession
from gateway.features.steps.shapes import array
from gateway.features.steps.tables import answer_table_for, table_for
from gateway.features.steps.verdicts import StepRecords, records_of, unavailable
from gateway.http.threads import call_in_thread
from gateway.ledger.figures import Figures
from gateway.ledger.record import ArrivedRequest, Record
from gateway.seams.observed_texts import ObservedTexts, TextRoom
from streams.errors import GatewayError
from trigate.steps import Check, Finished, Moment

RECORDS: Final = 1000
"""Records that wait for one observer."""
BYTES: Final = 16 * 2**20
"""Bytes of the records that wait for one observer."""
BATCH: Final = 100
"""The most records of one call."""
WAIT: Final = 1.0
"""Seconds that the first record of a batch waits for others."""
RECORD_SIZE: Final = 1024
"""Estimated bytes of a record without texts."""

LostReason: TypeAlias = Literal["full", "error", "deadline", "shutdown"]
"""The reason why an observer did not get a record. ``full``: too many were waiting."""


@attrs.frozen(eq=False, repr=False)
class PendingRecord:
    """A record that waits, with the texts of its exchange and the masking steps that apply to it."""

    finished: Finished
    content: ObservedTexts | None
    masks: tuple[LoadedStep, ...]
    size: int = RECORD_SIZE


class ObserverQueue:
    """The records that wait for one observer. ``lost`` is called with the number of records that it does not get."""

    def __init__(
        self,
        step: LoadedStep,
        complete: Callable[[PendingRecord], Any],
        lost: Callable[[str, LostReason, int], object],
        release: Callable[[], object],
    ) -> None:
        """Make a queue. ``complete`` adds the texts to a record; each added record has one call of ``release``."""
        self.step = step
        self._complete = complete
        self._lost = lost
        self._release = release
        self._waiting: deque[PendingRecord] = deque()
        self._bytes = 0
        self._first_at = 0.0
        self._filled = trio.Event()
        self._is_flushing = False
        self._is_closed = False
        self._is_calling = False
        self._idle = trio.Event()

    def add(self, record: PendingRecord) -> bool:
        """Add ``record``, and return whether there was room for it.

        In a full queue, the client with most of it loses its newest record to the record of another client."""
        if self._is_closed:
            self._lost(self.step.name, "shutdown", 1)
            return False
        if self._is_full(record) and not self._make_room(record):
            self._lost(self.step.name, "full", 1)
            return False
        if not self._waiting:
            self._first_at = trio.current_time()
        self._waiting.append(record)
        self._bytes += record.size
        if len(self._waiting) in (1, BATCH):
            self._filled.set()
        return True

    def _is_full(self, record: PendingRecord) -> bool:
        return len(self._waiting) >= RECORDS or self._bytes + record.size > BYTES

    def _make_room(self, record: PendingRecord) -> bool:
        """Remove the newest records of the client with over half of the queue, if that is another client."""
        sizes: Counter[str | None] = Counter()
        for one in self._waiting:
            sizes[one.finished.client] += one.size
        client, size = max(sizes.items(), key=lambda item: item[1], default=(None, 0))
        if client is None or client == record.finished.client or size * 2 <= self._bytes:
            return False
        for at in range(len(self._waiting) - 1, -1, -1):
            if not self._is_full(record):
                break
            if self._waiting[at].finished.client == client:
                self._bytes -= self._waiting[at].size
                del self._waiting[at]
                self._lost(self.step.name, "full", 1)
                self._release()
        return not self._is_full(record)

    async def run(self) -> None:
        """Call the observer with batches until cancelled. Never raises."""
        while True:
            await self._next_batch()
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            self._bytes -= sum(one.size for one in batch)
            self._first_at = trio.current_time()
            self._is_calling = True
            try:
                await self._call(batch)
            finally:
                self._is_calling = False
                for _ in batch:
                    self._release()
                if not self._waiting:
                    self._idle.set()

    async def _next_batch(self) -> None:
        """Wait for a full batch, or for the time of the first record in it."""
        while not self._waiting:
            self._filled = trio.Event()
            await self._filled.wait()
        with trio.move_on_at(self._first_at + WAIT):
            while len(self._waiting) < BATCH and not self._is_flushing:
                self._filled = trio.Event()
                await self._filled.wait()

    async def _call(self, batch: Sequence[PendingRecord]) -> None:
        """Call the observer with ``batch``; a failure is logged without texts, and the batch is lost."""
        step = self.step

        async def call() -> None:
            await call_function(step, None, [await self._complete(one) for one in batch])

        try:
            await call_within_deadline(step, call)
        except StepFailed as failed:
            reason: LostReason = "deadline" if failed.reason == "deadline" else "error"
            self._lost(step.name, reason, len(batch))
            text = "the observer %s failed, and does not get its records again: %s"
            log_limited(step, reason, logging.ERROR, text, failed.detail)
        except BaseException:
            self._lost(step.name, "shutdown", len(batch))
            raise

    async def flush(self) -> None:
        """Wait until the observer has all records, without waiting for full batches."""
        self._is_flushing = True
        self._filled.set()
        while self._waiting or self._is_calling:
            self._idle = trio.Event()
            await self._idle.wait()

    def close(self) -> None:
        """Drop the records that still wait, and all later ones."""
        self._is_closed = True
        count, self._bytes = len(self._waiting), 0
        self._waiting.clear()
        if count:
            self._lost(self.step.name, "shutdown", count)
        for _ in range(count):
            self._release()


class ObserverQueues:
    """The queues of all observers of one configuration, to which an exchange belongs that starts with it.

    ``finishers`` has ``finish`` while they are in use. ``room`` is that of the texts of all configurations."""

    def __init__(
        self, steps: StepSet, figures: Figures, finishers: list[Callable[[float], Awaitable[None]]], room: TextRoom
    ) -> None:
        self.steps = steps
        self.room = room
        self.group_of: Callable[[str | None], str | None] = lambda client: None
        """Returns the group of a client."""
        self._figures = figures
        self._finishers = finishers
        self._masks = tuple(step for step in steps.observers if not step.is_observer)
        self._queues = [
            ObserverQueue(step, self._complete, self._count_lost, steps.release)
            for step in steps.observers
            if step.is_observer
        ]
        self._scope = trio.CancelScope()

    def use(self, group_of: Callable[[str | None], str | None]) -> None:
        """Use the queues for new exchanges, whose clients have the groups of ``group_of``."""
        self.group_of = group_of
        if self.finish not in self._finishers:
            self._finishers.append(self.finish)

    def observe(self, record: Record, arrived: ArrivedRequest | None = None) -> "FinishedExchange":
        """Observe the exchange of ``record``."""
        self.steps.acquire()
        return FinishedExchange(record, self)

    def _count_lost(self, name: str, reason: LostReason, count: int) -> None:
        """Count records that the observer ``name`` does not get."""
        self._figures.add("trigate_step_records_lost_total", name, reason, by=count)

    def wants_content(self, client: str | None) -> bool:
        """Return whether an observer may want the texts of a client's requests."""
        group = self.group_of(client)
        scopes = (one.step.settings.scope for one in self._queues if one.step.wants_content)
        return any(matches(one.clients, (client,)) and matches(one.groups, (group,)) for one in scopes)

    def add(self, record: Record, line: Mapping[str, Any], content: ObservedTexts | None) -> None:
        """Add a finished exchange to the queues of the observers that apply to it."""
        names = (None if record.route is None else record.route, record.requested_model)
        records = records_of(record)
        facts = ClientFacts(
            record.client, self.group_of(record.client), tuple(name for name in names if name),
            record.endpoint or record.api, frozenset() if records is None else records.requested,
        )  # fmt: skip
        chosen = [one for one in self._queues if _applies(one.step, facts, record)]
        if not chosen:
            return
        finished = finished_record(record, line, facts.group)
        for queue in chosen:
            own = content if queue.step.wants_content else None
            if own is not None and own.is_lost:
                self._count_lost(queue.step.name, "full", 1)
                continue
            before = () if own is None else [one for one in self._masks if one.order < queue.step.order]
            masks = tuple(one for one in before if _applies(one, facts, record))
            if queue.add(PendingRecord(finished, own, masks, RECORD_SIZE + (0 if own is None else own.size))):
                self.steps.acquire()

    async def _complete(self, pending: PendingRecord) -> Finished:
        """Return the record with its texts. A text that a step refuses, or could not check, is left out."""
        content, finished = pending.content, pending.finished
        if content is None:
            return finished
        request, response = await call_in_thread(lambda: (content.request, content.response))
        if pending.masks:
            records = StepRecords()
            session = _RecordSession.of(finished, self.steps.mask_key, records)
            request, response = await session.mask_texts(pending.masks, request, response)
            self._figures.fields.append(records.fields())
        return attrs.evolve(
            finished,
            request=None if request is None else request.decode("utf-8", "replace"),
            response=None if response is None else response.decode("utf-8", "replace"),
        )

    async def run(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                for queue in self._queues:
                    nursery.start_soon(queue.run)

    async def finish(self, seconds: float) -> None:
        """Pass all waiting records to the observers, for at most ``seconds``, and close the queues."""
        with trio.move_on_after(seconds, shield=True):
            async with trio.open_nursery() as nursery:
                for queue in self._queues:
                    nursery.start_soon(queue.flush)
        self.close()

    def close(self) -> None:
        """Drop the records that still wait, and refer to the steps no longer."""
        self._scope.cancel()
        for queue in self._queues:
            queue.close()
        if self.finish in self._finishers:
            self._finishers.remove(self.finish)


def _applies(step: LoadedStep, facts: ClientFacts, record: Record) -> bool:
    if not step.applies(facts):
        return False
    if not step.is_for_some_entries:
        return True
    tried = record.bill.attempt_records
    names = (tried[-1].target if tried else None, record.target)
    return any(name is not None and step.applies_to_entry(name) for name in names)


def finished_record(record: Record, line: Mapping[str, Any], group: str | None) -> Finished:
    """Return the record of an ended exchange with its log ``line``, without texts."""
    duration = time.perf_counter() - record.began
    records = records_of(record)
    outcomes: Mapping[str, str] = {} if records is None else records.outcomes
    return Finished(
        record.id, record.client, group, line["api"], record.endpoint, line.get("model"), line.get("target"),
        record.model, line["status"], line["ended"], time.time() - duration, duration, record.first_write,
        line.get("input_tokens", 0), line.get("cached_tokens", 0), line.get("output_tokens", 0), line.get("cost_usd"),
        record.run, outcomes, line.get("error"),
    )  # fmt: skip


class _RecordSession(StepSession):
    """The session of a finished record. A text that a step could not check is left out, even if the step only
    reports. Content that no step can read is no part of it."""

    @classmethod
    def of(cls, finished: Finished, key: bytes, records: StepRecords) -> Self:
        common = Check(
            "finished", (), finished.client, finished.group, finished.model, finished.target,
            finished.endpoint or finished.api, finished.request_id, finished.run,
        )  # fmt: skip
        return cls(AppliedSteps(()), common, Placeholders(key, finished.client or ""), records, lambda _: None)

    def note_failure(self, failed: StepFailed, at: Moment = "response") -> None:
        super().note_failure(failed, at)
        if failed.step.settings.unchecked == "refuse":
            raise unavailable(failed.step.name, failed.reason, failed.retry_after)

    def note_unreadable(self, step: LoadedStep, texts: CheckedTexts, at: Moment) -> None:
        return

    async def mask_texts(
        self, steps: Sequence[LoadedStep], request: bytes | None, response: bytes | None
    ) -> tuple[bytes | None, bytes | None]:
        """Return both texts with their masks, ``None`` in place of a text that a step refuses or could not check."""
        answers = answer_table_for(self.api)
        events = attrs.evolve(answers, shape=array(answers.shape))  # the response of a stream may be a list of these
        request = await self._mask(steps, partial(RequestTexts, table_for(self.api)), request)
        return request, await self._mask(steps, partial(AnswerTexts, events), response)

    async def _mask(
        self, steps: Sequence[LoadedStep], read: Callable[[bytes], RequestTexts], body: bytes | None
    ) -> bytes | None:
        try:
            texts = None if body is None else await call_in_thread(partial(read, body))
            return None if texts is None else (await self.check_texts(steps, texts, "finished")).body
        except (GatewayError, NotJson):
            return None


class FinishedExchange(ObservedTexts):
    """The exchange that becomes a record for the observers in ``queues``."""

    def __init__(self, record: Record, queues: ObserverQueues) -> None:
        super().__init__(record, queues.room, queues.wants_content)
        self._queues = queues

    @property
    def keeps_refused(self) -> bool:  # type: ignore[override]
        return self._wants(self._record.client)

    def note_end(self, record: Record, line: Mapping[str, Any]) -> None:
        self.settle()
        self._queues.add(record, line, self if self.is_wanted else None)
        self._queues.steps.release()
