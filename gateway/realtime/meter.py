"""What a session uses, booked when it is known: each answer of the model, and each transcript, is a record of its own.

A session lasts an hour, and what it costs comes in frames: whoever looks at the budget at the handshake alone lets it
be used up as often as there are sessions (headroomlabs-ai/headroom#3579), and whoever counts bytes books nothing
(ChronoAIProject/NyxID#1154, ENTERPILOT/GoModel#750).
"""

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
    ResponseBegun,
    ResponseEnded,
    Resumable,
    Spoken,
    TranscriptBilled,
)
from gateway.routing.target import Target
from providers.catalog.prices import Price, price_of
from streams.errors import GatewayError
from streams.events import ErrorInfo, Usage

MOST_ASKED: Final = 32
"""Answers that may be asked for and not have begun: one at a time is answered, and each holds some of the budget."""

TOO_MANY: Final = "too many answers are asked for that have not begun: wait for those"


class Meter:
    """The meter of one session of ``session``'s client with ``target``. Used by the tasks of that session."""

    def __init__(self, service: Service, session: Record, target: Target) -> None:
        self._service = service
        self._session = session
        self._target = target
        self._asked: deque[Record] = deque()
        self._running: dict[str | None, Record] = {}
        self._ended: deque[str | None] = deque(maxlen=MOST_ASKED)
        self._settled = trio.Event()  # an answer has been, since somebody waits for that
        self._count = 0
        self._prompt = 0  # tokens of the last answer's input: the next has all of that again
        self._heard = 0  # characters that have come since

    def heard(self, characters: int) -> None:
        """The client has sent something of about so many characters of text."""
        self._heard += characters

    async def look(self) -> None:
        """Look whether the client may use any more, and leave everything as it was but for the request that this is.
        Raises ``GatewayError``."""
        reservation = await self._reserve(self._session)
        if reservation is not None:
            reservation.settle(self._session)

    async def ask(self) -> None:
        """The client asks for an answer. Raises ``GatewayError`` where it may use no more."""
        if len(self._asked) >= MOST_ASKED:
            raise GatewayError("rate_limited", TOO_MANY)
        self._asked.append(await self._open())

    async def note(self, notice: Notice) -> None:
        """Book what the provider says. Raises ``GatewayError`` for an answer that has begun unasked, and for which the
        client may use no more."""
        match notice:
            case ResponseBegun(id=id):
                (await self._beginning(id)).answered(200)
            case Spoken(characters=characters):
                record = await self._spoken_by()
                record.bill.said += characters
                record.writes()
                record.wrote()
            case ResponseEnded(id=id, usage=usage, status=status):
                if id is None or id not in self._ended:
                    self._end(await self._ending(id), usage, status)
                    self._ended.append(id)
            case TranscriptBilled(usage=usage, model=model):
                await self._transcribed(usage, model)
            case Resumable():
                pass  # it costs nothing
            case Complaint():
                if self._asked:  # what was asked for does not begin
                    self._drop(self._asked.popleft(), notice)

    async def quiet(self) -> None:
        """Wait until no answer is being given, or asked for."""
        while self._asked or self._running:
            await self._settled.wait()

    def close(self) -> None:
        """The session has ended: settle what has not."""
        for record in (*self._asked, *self._running.values()):
            if not record.bill.said and record.first_byte is None:
                record.bill.tried = ()
            record.bill.asked_size = max(record.bill.asked_size, self._heard)
            self._service.ledger.settle(record, disconnected=True)
        self._asked.clear()
        self._running.clear()

    # Records

    async def _open(self) -> Record:
        """The record of one more answer, with what it is expected to take reserved. Raises ``GatewayError``."""
        record = self._record()
        settled = False
        try:
            record.reservation = await self._reserve(record)
            settled = True
        except GatewayError as error:
            record.failed = error.failed
            record.status = error.failed.status
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
        """What is expected of an answer, reserved; ``None`` where nothing is limited. Raises ``GatewayError``."""
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

    async def _spoken_by(self) -> Record:
        """The record of the answer that is being given."""
        if self._running:
            return next(reversed(self._running.values()))
        await self.note(ResponseBegun())
        return self._running[None]

    async def _beginning(self, id: str | None) -> Record:
        """The record of the answer ``id``, which begins, unless a piece of it has come before. Raises
        ``GatewayError``."""
        if id not in self._running:
            unnamed = self._running.pop(None, None)
            asked = self._asked.popleft() if self._asked and unnamed is None else None
            self._running[id] = unnamed or asked or await self._open()
        return self._running[id]

    async def _ending(self, id: str | None) -> Record:
        """The record of the answer ``id``, which has ended, perhaps without a word of its beginning. It is booked in
        any case: it has been given."""
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
            record.failed = ErrorInfo("upstream", "the provider's response has failed")
        else:
            record.bill.whole = True
        if usage is not None:
            self._prompt, self._heard = usage.prompt, 0
        self._settle(record)

    async def _transcribed(self, usage: Usage | None, model: str | None) -> None:
        record = await self._open_anyway()
        if model is not None:
            self._begin(record, model, price_of(self._target.entry.provider.id, model))
        record.answered(200)
        record.bill.usage, record.reason, record.bill.whole = usage, "transcribed", True
        self._service.ledger.settle(record, disconnected=False)

    def _drop(self, record: Record, complaint: Complaint) -> None:
        """Settle a response that the provider refused: it costs nothing."""
        record.bill.tried = ()
        message = complaint.message[:200] or "the provider refused it"
        record.failed = ErrorInfo("invalid_request", message, log_message=complaint.log_message)
        record.answered(record.failed.status)
        self._settle(record)

    def _settle(self, record: Record) -> None:
        self._service.ledger.settle(record, disconnected=False)
        self._settled.set()
        self._settled = trio.Event()
