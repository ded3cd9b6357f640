"""Billing of a realtime session while it runs: each response of the model, and each transcript, has a record.

A session lasts up to an hour. A budget check at the handshake alone would let it be exceeded by any number of sessions
(headroomlabs-ai/headroom#3579), and counting bytes would bill nothing (ChronoAIProject/NyxID#1154,
ENTERPILOT/GoModel#750)."""

from collections import deque
from typing import Final

import trio

from gateway.allowances.expected import UNSPECIFIED
from gateway.allowances.reservation import Payer, Reservation
from gateway.exchange.service import Service
from gateway.ledger.bill import CHARACTERS_PER_TOKEN, AttemptRecord
from gateway.ledger.record import Record
from gateway.realtime.notices import (
    FrameRejected,
    Notice,
    OutputPiece,
    ResponseEnded,
    ResponseStarted,
    Resumable,
    TranscriptBilled,
)
from gateway.routing.target import Target
from providers.catalog.prices import Price, price_of
from streams.errors import GatewayError
from streams.events import ErrorInfo, Usage

MAX_REQUESTED: Final = 32
"""Responses that a client may request before they start: the provider handles one at a time, and each reserves
budget."""

TOO_MANY_REQUESTED: Final = "too many requested responses have not started yet: wait for them"


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
        self._prompt_tokens = 0  # tokens of the last response's input, which the next one repeats
        self._input_characters = 0  # characters received since

    def add_input(self, characters: int) -> None:
        """Count ``characters`` of client input."""
        self._input_characters += characters

    async def check_allowed(self) -> None:
        """Count one request of the client, and check that its limits allow any more. Raises ``GatewayError``."""
        reservation = await self._reserve(self._session)
        if reservation is not None:
            reservation.settle(self._session)

    async def request_response(self) -> None:
        """Reserve the usage of a response that the client requests. Raises ``GatewayError`` if a limit is reached."""
        if len(self._requested) >= MAX_REQUESTED:
            raise GatewayError("rate_limited", TOO_MANY_REQUESTED)
        self._requested.append(await self._open_reserved())

    async def process(self, notice: Notice) -> None:
        """Record or bill the event ``notice``.

        Raises ``GatewayError`` if a response starts without a request and a limit of the client is reached."""
        match notice:
            case ResponseStarted(id=id):
                (await self._starting_record(id)).mark_answered(200)
            case OutputPiece(characters=characters):
                record = await self._current_record()
                record.bill.characters += characters
                record.mark_write_started()
                record.mark_write_finished()
            case ResponseEnded(id=id, usage=usage, status=status):
                if id is None or id not in self._ended_ids:
                    self._settle_ended(await self._take_ended_record(id), usage, status)
                    self._ended_ids.append(id)
            case TranscriptBilled(usage=usage, model=model):
                await self._bill_transcript(usage, model)
            case Resumable():
                pass  # free of charge
            case FrameRejected():
                if self._requested:  # a requested response will not begin
                    self._settle_rejected(self._requested.popleft(), notice)

    async def wait_until_idle(self) -> None:
        """Wait until every requested response has ended."""
        while self._requested or self._running:
            await self._response_settled.wait()

    def close(self) -> None:
        """Settle all open records at the end of the session."""
        for record in (*self._requested, *self._running.values()):
            if not record.bill.characters and record.first_byte is None:
                record.bill.attempt_records = ()
            record.bill.request_size = max(record.bill.request_size, self._input_characters)
            self._service.ledger.settle(record, disconnected=True)
        self._requested.clear()
        self._running.clear()

    # Records

    async def _open_reserved(self) -> Record:
        """Return a new record of a response, with its expected usage reserved. Raises ``GatewayError``."""
        record = self._new_record()
        is_reserved = False
        try:
            record.reservation = await self._reserve(record)
            is_reserved = True
        except GatewayError as error:
            record.failed = error.info
            record.status = error.info.status
            raise
        finally:
            if not is_reserved:
                self._service.ledger.settle(record, disconnected=True)
        self._mark_attempted(record)
        return record

    def _new_record(self) -> Record:
        self._count += 1
        session, target = self._session, self._target
        record = self._service.ledger.open(f"{session.id}-{self._count}", session.api)
        record.endpoint = session.endpoint
        record.client, record.address, record.requested_model = session.client, session.address, session.requested_model
        record.target, record.model, record.provider_api = target.name, target.model, target.api
        record.route, record.lane, record.stream = session.route, "byte", True
        record.bill.request_size = self._prompt_tokens * CHARACTERS_PER_TOKEN + self._input_characters
        return record

    def _mark_attempted(self, record: Record, model: str | None = None, price: Price | None = None) -> None:
        target = self._target
        record.attempts = 1
        record.bill.attempt_records = (
            AttemptRecord(
                target.place,
                target.entry.provider.id,
                target.api,
                "byte",
                committed=True,
                model=target.name if model is None else f"{target.entry.provider.id}/{model}",
                price=target.price if model is None else price,
            ),
        )

    async def _reserve(self, record: Record) -> Reservation | None:
        """Reserve the expected usage of a response; return ``None`` without limits. Raises ``GatewayError``."""
        allowances, target = self._service.allowances, self._target
        if not (allowances.of_client(record.client) or allowances.of_target(target)):
            return None
        reservation = Reservation(
            allowances, Payer(record.client, record.run), record.bill, self._expected_tokens(), UNSPECIFIED
        )
        result = await reservation.reserve(target, queues=False)
        if isinstance(result, ErrorInfo):
            reservation.settle(record)
            raise GatewayError.of(result)
        return reservation

    def _expected_tokens(self) -> int:
        return max(1, self._prompt_tokens + self._input_characters // CHARACTERS_PER_TOKEN)

    async def _current_record(self) -> Record:
        """Return the record of the current response."""
        if self._running:
            return next(reversed(self._running.values()))
        await self.process(ResponseStarted())
        return self._running[None]

    async def _starting_record(self, id: str | None) -> Record:
        """Return the record of response ``id``, which starts now or already runs. Raises ``GatewayError``."""
        if id not in self._running:
            without_id = self._running.pop(None, None)
            requested = self._requested.popleft() if self._requested and without_id is None else None
            self._running[id] = without_id or requested or await self._open_reserved()
        return self._running[id]

    async def _take_ended_record(self, id: str | None) -> Record:
        """Remove and return the record of response ``id``, which has ended; open one if none was started."""
        if id in self._running:
            return self._running.pop(id)
        if None in self._running:
            return self._running.pop(None)
        if self._running and id is None:
            return self._running.popitem()[1]
        return self._requested.popleft() if self._requested else await self._open_anyway()

    async def _open_anyway(self) -> Record:
        try:
            return await self._open_reserved()
        except GatewayError:
            record = self._new_record()
            self._mark_attempted(record)
            return record

    def _settle_ended(self, record: Record, usage: Usage | None, status: str | None) -> None:
        record.bill.usage, record.reason = usage, status
        if record.first_byte is None:
            record.mark_answered(200)
        if status == "failed":
            record.failed = ErrorInfo("upstream", "the provider's response failed")
        else:
            record.bill.is_complete = True
        if usage is not None:
            self._prompt_tokens, self._input_characters = usage.prompt, 0
        self._settle(record)

    async def _bill_transcript(self, usage: Usage | None, model: str | None) -> None:
        record = await self._open_anyway()
        if model is not None:
            self._mark_attempted(record, model, price_of(self._target.entry.provider.id, model))
        record.mark_answered(200)
        record.bill.usage, record.reason, record.bill.is_complete = usage, "transcribed", True
        self._service.ledger.settle(record, disconnected=False)

    def _settle_rejected(self, record: Record, rejected: FrameRejected) -> None:
        """Settle a requested response that the provider rejected, at no cost."""
        record.bill.attempt_records = ()
        message = rejected.message[:200] or "the provider rejected it"
        record.failed = ErrorInfo("invalid_request", message, log_message=rejected.log_message)
        record.mark_answered(record.failed.status)
        self._settle(record)

    def _settle(self, record: Record) -> None:
        self._service.ledger.settle(record, disconnected=False)
        self._response_settled.set()
        self._response_settled = trio.Event()
