"""Billing of a realtime session while it runs: each response of the model, and each transcript, has a record.

A session lasts up to an hour. A budget check at the handshake alone would let it be exceeded by any number of sessions
(headroomlabs-ai/headroom#3579), and counting bytes would bill nothing (ChronoAIProject/NyxID#1154,
ENTERPILOT/GoModel#750)."""

import contextlib
import math
from collections import deque
from typing import Final

import attrs
import trio

from gateway.allowances.expected import RequestSize
from gateway.allowances.reservation import CountedAs, Payer, Reservation
from gateway.exchange.service import Service
from gateway.features.realtime.notices import (
    FrameRejected,
    Notice,
    OutputPiece,
    ResponseEnded,
    ResponseStarted,
    Resumable,
    TranscriptBilled,
    TranscriptFailed,
    TranscriptStarted,
)
from gateway.ledger.bill import CHARACTERS_PER_TOKEN, AttemptRecord
from gateway.ledger.record import Record
from gateway.request.prepared import UNSPECIFIED, RequestedOutput
from gateway.routing.target import Target
from providers.endpoints.media_tokens import TOKENS_A_SECOND, length_usage
from streams.errors import GatewayError
from streams.events import ErrorInfo, Usage

MAX_REQUESTED: Final = 32
"""Responses that a client may request before they start: the provider handles one at a time, and each reserves
budget. It is also the most responses and the most transcripts in progress."""

MAX_UNREQUESTED: Final = 100
"""The most responses and transcripts in ``UNREQUESTED_SECONDS`` that a provider starts without a request: five times as
many as fast speech has. Each has a log line."""

UNREQUESTED_SECONDS: Final = 10.0

MILLISECONDS_PER_TOKEN: Final = 1000 // TOKENS_A_SECOND
"""The length of audio that is one token of input."""

TOO_MANY_REQUESTED: Final = "too many requested responses have not started yet: wait for them"
TOO_MANY_UNREQUESTED: Final = (
    f"the provider sent more than {MAX_UNREQUESTED} unrequested responses or transcripts"
    f" in {UNREQUESTED_SECONDS:.0f} seconds"
)


class Meter:
    """A meter that bills one session with ``target``, from what its frames report.

    ``session`` is the session's own record, from which the records of responses take client and route."""

    def __init__(self, service: Service, session: Record, target: Target) -> None:
        self._service = service
        self._session = session
        self._target = target
        self._requested: deque[Record] = deque()
        self._running: dict[str | None, Record] = {}
        self._ended_ids: deque[str | None] = deque(maxlen=MAX_REQUESTED)
        self._response_settled = trio.Event()  # set when a response ends
        self._count = 0
        self._unrequested = 0  # since ``_unrequested_since``
        self._unrequested_since = -math.inf
        self._transcripts: dict[str, Record] = {}  # those in progress, by the audio's item
        self._audio_characters = 0  # characters of audio that are not transcribed yet
        self._prompt_tokens = 0  # tokens of the last response's input, which the next one repeats
        self._input_characters = 0  # characters received since

    def add_input(self, characters: int, *, is_audio: bool = False) -> None:
        """Count ``characters`` of client input, which may be audio."""
        self._input_characters += characters
        self._audio_characters += characters if is_audio else 0

    async def check_allowed(self) -> None:
        """Count one request of the client, and check that its limits allow any more. Raises ``GatewayError``."""
        reservation = await self._reserve(self._session)
        if reservation is not None:
            reservation.settle(delivered=False)

    async def request_response(self) -> None:
        """Reserve the usage of a response that the client requests. Raises ``GatewayError`` if a limit is reached."""
        if len(self._requested) >= MAX_REQUESTED:
            raise GatewayError("rate_limited", TOO_MANY_REQUESTED)
        self._requested.append(await self._open_reserved())

    async def process(self, notice: Notice) -> None:
        """Record or bill the event ``notice``.

        Raises ``GatewayError`` if the provider works without a request, and a limit of the client is reached or the
        provider does so too often (``upstream``); the client is charged for it all the same."""
        match notice:
            case ResponseStarted(id=id):
                await self._start_response(id)
            case OutputPiece(characters=characters):
                record = await self._current_record()
                record.bill.characters += characters
                record.mark_write_started()
                record.mark_write_finished()
            case ResponseEnded(id=id, usage=usage, status=status):
                if id is None or id not in self._ended_ids:
                    self._ended_ids.append(id)
                    await self._end_response(id, usage, status)
            case TranscriptStarted(item=item, model=model):
                await self._start_transcript(item, model)
            case TranscriptBilled(usage=usage, model=model, item=item, reason=reason):
                await self._bill_transcript(usage, model, item or "", reason)
            case TranscriptFailed(item=item):
                if (transcript := self._transcripts.pop(item, None)) is not None:
                    transcript.bill.attempt_records = ()
                    self._service.ledger.settle(transcript, disconnected=False)
            case Resumable():
                pass  # free of charge
            case FrameRejected():
                if self._requested:  # a requested response will not begin
                    self._settle_rejected(self._requested.popleft(), notice)

    async def wait_until_idle(self) -> None:
        """Wait until every requested response has ended."""
        while self._requested or self._running:
            await self._response_settled.wait()

    def close(self, error: ErrorInfo | None = None, *, drained: bool = False) -> None:
        """Settle all open records at the end of the session: ``error`` if the provider ended it, ``drained`` if the
        process did."""
        for record in (*self._requested, *self._running.values(), *self._transcripts.values()):
            if not record.bill.characters and record.first_byte is None:
                record.bill.attempt_records = ()
            record.bill.request_size = max(record.bill.request_size, self._input_characters)
            record.shut_down = drained
            if error is not None:
                record.error, record.status = error, record.status or error.status
            self._service.ledger.settle(record, disconnected=True)
        self._requested.clear()
        self._running.clear()
        self._transcripts.clear()

    # Records

    async def _open_reserved(self) -> Record:
        """Return a new record of a response, with its expected usage reserved. Raises ``GatewayError``."""
        record = self._new_record()
        is_reserved = False
        try:
            record.reservation = await self._reserve(record)
            is_reserved = True
        except GatewayError as error:
            record.error = error.info
            record.status = error.info.status
            raise
        finally:
            if not is_reserved:
                self._service.ledger.settle(record, disconnected=True)
        self._mark_attempted(record, self._target)
        return record

    async def _open_unrequested(
        self, target: Target, requested_output: RequestedOutput = UNSPECIFIED, counted_as: CountedAs = CountedAs.ANSWER
    ) -> tuple[Record, GatewayError | None]:
        """Return the record of work that the provider does without a request, and the error if a limit is reached or
        there is too much of it.

        The record is charged in either case."""
        record, refusal, is_open = self._new_record(), None, False
        try:
            try:
                record.reservation = await self._reserve(record, target, requested_output, counted_as)
            except GatewayError as error:
                refusal = error
                with contextlib.suppress(GatewayError):  # only if the counters are unavailable
                    record.reservation = await self._reserve(record, target, requested_output, CountedAs.STARTED)
            is_open = True
        finally:
            if not is_open:
                self._service.ledger.settle(record, disconnected=True)
        self._mark_attempted(record, target)
        record.mark_answered(200)
        if self._count_unrequested():
            refusal = GatewayError("upstream", TOO_MANY_UNREQUESTED)
        return record, refusal

    def _count_unrequested(self) -> bool:
        """Count work without a request, and return whether there is too much of it."""
        now = trio.current_time()
        if now >= self._unrequested_since + UNREQUESTED_SECONDS:
            self._unrequested, self._unrequested_since = 0, now
        self._unrequested += 1
        return self._unrequested > MAX_UNREQUESTED

    def _new_record(self) -> Record:
        self._count += 1
        session, target = self._session, self._target
        id = f"{session.id}-{self._count}"
        record = self._service.ledger.open(id, session.api, endpoint=session.endpoint)
        record.client, record.address, record.requested_model = session.client, session.address, session.requested_model
        record.target, record.model, record.provider_api = target.name, target.model, target.api
        record.route, record.lane, record.stream = session.route, "byte", True
        record.project, record.run, record.labels = session.project, session.run, session.labels
        record.bill.request_size = self._prompt_tokens * CHARACTERS_PER_TOKEN + self._input_characters
        return record

    def _mark_attempted(self, record: Record, target: Target) -> None:
        record.attempts = 1
        record.bill.attempt_records = (
            AttemptRecord(
                self._target.place,
                target.entry.provider.id,
                target.api,
                "byte",
                committed=True,
                model=target.name,
                price=target.price,
            ),
        )

    async def _reserve(
        self,
        record: Record,
        target: Target | None = None,
        requested_output: RequestedOutput = UNSPECIFIED,
        counted_as: CountedAs = CountedAs.ANSWER,
    ) -> Reservation | None:
        """Reserve the expected usage of a response; return ``None`` without limits. Raises ``GatewayError``."""
        allowances, target = self._service.allowances, target or self._target
        if not (allowances.of_client(record.client) or allowances.of_target(target)):
            return None
        tokens = self._audio_tokens if counted_as is CountedAs.ADDITIONAL else self._expected_tokens()
        payer = Payer(record.client, record.run)
        reservation = Reservation(allowances, payer, record.bill, counted_as=counted_as)
        result = await reservation.reserve(target, RequestSize(tokens, requested_output), queues=False)
        if isinstance(result, ErrorInfo):
            reservation.settle(delivered=False)
            raise GatewayError.of(result)
        return reservation

    def _expected_tokens(self) -> int:
        return max(1, self._prompt_tokens + self._input_characters // CHARACTERS_PER_TOKEN)

    @property
    def _audio_tokens(self) -> int:
        """The estimated tokens of the audio that is not transcribed yet."""
        return max(1, self._audio_characters // CHARACTERS_PER_TOKEN)

    async def _current_record(self) -> Record:
        if self._running:
            return next(reversed(self._running.values()))
        await self.process(ResponseStarted())
        return self._running[None]

    async def _start_response(self, id: str | None) -> None:
        """Open the record of response ``id``, unless it already runs. Raises ``GatewayError``."""
        refusal = None
        if id not in self._running:
            record = self._running.pop(None, None)
            if record is None and self._requested:
                record = self._requested.popleft()
            if record is None:
                record, refusal = await self._open_unrequested(self._target)
            self._running[id] = record
            if len(self._running) > MAX_REQUESTED:  # they never end at this provider
                self._service.ledger.settle(self._running.pop(next(iter(self._running))), disconnected=False)
        self._running[id].mark_answered(200)
        if refusal is not None:
            raise refusal

    async def _end_response(self, id: str | None, usage: Usage | None, status: str | None) -> None:
        """Bill response ``id``, which has ended. Raises ``GatewayError`` if it had neither a request nor a start."""
        record, refusal = self._take_ended_record(id), None
        if record is None:
            record, refusal = await self._open_unrequested(self._target)
        record.upstream_id = id
        self._settle_ended(record, usage, status)
        if refusal is not None:
            raise refusal

    def _take_ended_record(self, id: str | None) -> Record | None:
        """Remove and return the record of response ``id``, which has ended; ``None`` if none was started."""
        if id in self._running:
            return self._running.pop(id)
        if None in self._running:
            return self._running.pop(None)
        if self._running and id is None:
            return self._running.popitem()[1]
        return self._requested.popleft() if self._requested else None

    def _settle_ended(self, record: Record, usage: Usage | None, status: str | None) -> None:
        record.bill.usage, record.reason = usage, status
        if record.first_byte is None:
            record.mark_answered(200)
        if status == "failed":
            record.error = ErrorInfo("upstream", "the provider's response failed")
        else:
            record.bill.is_complete = True
        if usage is None:  # it is estimated, with the input that arrived meanwhile: a translation is one long answer
            record.bill.request_size = max(record.bill.request_size, self._input_characters)
        else:
            self._prompt_tokens, self._input_characters = usage.prompt, 0
        self._settle(record)

    async def _start_transcript(self, item: str, model: str) -> None:
        """Reserve the expected usage of a transcript by ``model`` that has started. Raises ``GatewayError``."""
        if item in self._transcripts:
            return
        while len(self._transcripts) >= MAX_REQUESTED:  # they never end at this provider
            self._service.ledger.settle(self._transcripts.pop(next(iter(self._transcripts))), disconnected=False)
        self._transcripts[item], refusal = await self._open_transcript(model)
        if refusal is not None:
            raise refusal

    async def _bill_transcript(self, usage: Usage | None, model: str | None, item: str, reason: str) -> None:
        """Bill a transcript or other work.

        Raises ``GatewayError`` if it had not been reserved and a limit is reached."""
        record, refusal = self._transcripts.pop(item, None), None
        if record is None:
            record, refusal = await self._open_transcript(model)
        record.bill.usage, record.reason, record.bill.is_complete = usage or record.bill.usage, reason, True
        self._service.ledger.settle(record, disconnected=False)
        if refusal is not None:
            raise refusal

    async def _open_transcript(self, model: str | None) -> tuple[Record, GatewayError | None]:
        """Return the record of a transcript of all audio since the last one, as ``_open_unrequested`` does."""
        tokens = self._audio_tokens
        expected = length_usage(tokens * MILLISECONDS_PER_TOKEN, by_tokens=False)
        # The words of a transcript have fewer tokens than its audio.
        requested_output = RequestedOutput(max_tokens=tokens, units=expected.units)
        record, refusal = await self._open_unrequested(self._transcriber(model), requested_output, CountedAs.ADDITIONAL)
        record.bill.usage = attrs.evolve(expected, input=tokens)
        record.bill.request_size, self._audio_characters = self._audio_characters, 0
        return record, refusal

    def _transcriber(self, model: str | None) -> Target:
        """Return the target with the transcriber ``model``, at its own price if the price list has one."""
        target = self._target
        if model is None or model == target.model:
            return target
        listed = attrs.evolve(target, model=model, entry=attrs.evolve(target.entry, price=None))
        return listed if listed.price is not None else attrs.evolve(target, model=model)

    def _settle_rejected(self, record: Record, rejected: FrameRejected) -> None:
        """Settle a requested response that the provider rejected, at no cost."""
        record.bill.attempt_records = ()
        message = rejected.message[:200] or "the provider rejected it"
        record.error = ErrorInfo("invalid_request", message, log_message=rejected.log_message)
        record.mark_answered(record.error.status)
        self._settle(record)

    def _settle(self, record: Record) -> None:
        self._service.ledger.settle(record, disconnected=False)
        self._response_settled.set()
        self._response_settled = trio.Event()
