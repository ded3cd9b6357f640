"""The usage of a session, billed as it becomes known: each response of the model, and each transcript, has a record.

A session lasts up to an hour. A budget check at the handshake alone would let it be exceeded by any number of sessions
(headroomlabs-ai/headroom#3579), and counting bytes would bill nothing (ChronoAIProject/NyxID#1154,
ENTERPILOT/GoModel#750)."""

from collections import deque
from typing import Final

import trio

from gateway.allowances.expected import UNSPECIFIED
from gateway.allowances.reservation import Payer, Reservation
from gateway.exchange.service import Service
from gateway.ledger.bill import CHARACTERS_PER_TOKEN, Tried
from gateway.ledger.record import Record
from gateway.realtime.notices import (
    Complaint,
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

MOST_ASKED: Final = 32
"""Responses that may be requested and not begun: they are answered one at a time, and each reserves budget."""

TOO_MANY: Final = "too many requested responses have not started yet: wait for them"


class Meter:
    """The meter of one session of ``session``'s client with ``target``, used by the session's tasks."""

    def __init__(self, service: Service, session: Record, target: Target) -> None:
        self._service = service
        self._session = session
        self._target = target
        self._asked: deque[Record] = deque()
        self._running: dict[str | None, Record] = {}
        self._ended: deque[str | None] = deque(maxlen=MOST_ASKED)
        self._settled = trio.Event()  # set when a response ends
        self._count = 0
        self._prompt = 0  # tokens of the last response's input, which the next one repeats
        self._heard = 0  # characters received since

    def add_input(self, characters: int) -> None:
        """Count ``characters`` of client input."""
        self._heard += characters

    async def check_allowed(self) -> None:
        """Check that the client may use any more, and reserve nothing but the request itself. Raises
        ``GatewayError``."""
        reservation = await self._reserve(self._session)
        if reservation is not None:
            reservation.settle(self._session)

    async def ask(self) -> None:
        """Reserve for a response that the client requests. Raises ``GatewayError`` if it may use no more."""
        if len(self._asked) >= MOST_ASKED:
            raise GatewayError("rate_limited", TOO_MANY)
        self._asked.append(await self._open())

    async def note(self, notice: Notice) -> None:
        """Bill what the provider reports.

        Raises ``GatewayError`` for a response that began unrequested if the client may use no more."""
        match notice:
            case ResponseStarted(id=id):
                (await self._starting_record(id)).answered(200)
            case OutputPiece(characters=characters):
                record = await self._current_record()
                record.bill.said += characters
                record.writes()
                record.wrote()
            case ResponseEnded(id=id, usage=usage, status=status):
                if id is None or id not in self._ended:
                    self._end(await self._ended_record(id), usage, status)
                    self._ended.append(id)
            case TranscriptBilled(usage=usage, model=model):
                await self._bill_transcript(usage, model)
            case Resumable():
                pass  # free of charge
            case Complaint():
                if self._asked:  # a requested response will not begin
                    self._drop(self._asked.popleft(), notice)

    async def wait_until_idle(self) -> None:
        """Wait until no response is in progress or requested."""
        while self._asked or self._running:
            await self._settled.wait()

    def close(self) -> None:
        """Settle everything open at the end of the session."""
        for record in (*self._asked, *self._running.values()):
            if not record.bill.said and record.first_byte is None:
                record.bill.tried = ()
            record.bill.asked_size = max(record.bill.asked_size, self._heard)
            self._service.ledger.settle(record, disconnected=True)
        self._asked.clear()
        self._running.clear()

    # Records

    async def _open(self) -> Record:
        """Return the record of another response with its expected usage reserved. Raises ``GatewayError``."""
        record = self._record()
        settled = False
        try:
            record.reservation = await self._reserve(record)
            settled = True
        except GatewayError as error:
            record.failed = error.info
            record.status = error.info.status
            raise
        finally:
            if not settled:
                self._service.ledger.settle(record, disconnected=True)
        self._begin(record)
        return record

    def _record(self) -> Record:
        self._count += 1
        session, target = self._session, self._target
        record = self._service.ledger.open(f"{session.id}-{self._count}", session.api)
        record.endpoint = session.endpoint
        record.client, record.address, record.asked = session.client, session.address, session.asked
        record.target, record.model, record.provider_api = target.name, target.model, target.api
        record.route, record.lane, record.stream = session.route, "byte", True
        record.bill.asked_size = self._prompt * CHARACTERS_PER_TOKEN + self._heard
        return record

    def _begin(self, record: Record, model: str | None = None, price: Price | None = None) -> None:
        target = self._target
        record.attempts = 1
        record.bill.tried = (
            Tried(
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
            allowances, Payer(record.client, record.run), record.bill, self._expected(), UNSPECIFIED
        )
        taken = await reservation.take(target, queues=False)
        if isinstance(taken, ErrorInfo):
            reservation.settle(record)
            raise GatewayError.of(taken)
        return reservation

    def _expected(self) -> int:
        return max(1, self._prompt + self._heard // CHARACTERS_PER_TOKEN)

    async def _current_record(self) -> Record:
        """Return the record of the current response."""
        if self._running:
            return next(reversed(self._running.values()))
        await self.note(ResponseStarted())
        return self._running[None]

    async def _starting_record(self, id: str | None) -> Record:
        """Return the record of response ``id``, which begins now, or began with an earlier piece. Raises
        ``GatewayError``."""
        if id not in self._running:
            unnamed = self._running.pop(None, None)
            asked = self._asked.popleft() if self._asked and unnamed is None else None
            self._running[id] = unnamed or asked or await self._open()
        return self._running[id]

    async def _ended_record(self, id: str | None) -> Record:
        """Return the record of response ``id``, which has ended, perhaps without a beginning; it is billed in any
        case."""
        if id in self._running:
            return self._running.pop(id)
        if None in self._running:
            return self._running.pop(None)
        if self._running and id is None:
            return self._running.popitem()[1]
        return self._asked.popleft() if self._asked else await self._open_anyway()

    async def _open_anyway(self) -> Record:
        try:
            return await self._open()
        except GatewayError:
            record = self._record()
            self._begin(record)
            return record

    def _end(self, record: Record, usage: Usage | None, status: str | None) -> None:
        record.bill.usage, record.reason = usage, status
        if record.first_byte is None:
            record.answered(200)
        if status == "failed":
            record.failed = ErrorInfo("upstream", "the provider's response failed")
        else:
            record.bill.whole = True
        if usage is not None:
            self._prompt, self._heard = usage.prompt, 0
        self._settle(record)

    async def _bill_transcript(self, usage: Usage | None, model: str | None) -> None:
        record = await self._open_anyway()
        if model is not None:
            self._begin(record, model, price_of(self._target.entry.provider.id, model))
        record.answered(200)
        record.bill.usage, record.reason, record.bill.whole = usage, "transcribed", True
        self._service.ledger.settle(record, disconnected=False)

    def _drop(self, record: Record, complaint: Complaint) -> None:
        """Settle a response that the provider rejected, at no cost."""
        record.bill.tried = ()
        message = complaint.message[:200] or "the provider rejected it"
        record.failed = ErrorInfo("invalid_request", message, log_message=complaint.log_message)
        record.answered(record.failed.status)
        self._settle(record)

    def _settle(self, record: Record) -> None:
        self._service.ledger.settle(record, disconnected=False)
        self._settled.set()
        self._settled = trio.Event()
