"""One request's way through its allowances: reserved before it is sent, settled once it has ended.

What its client may use is reserved once, what a target may be given for each attempt: the first of both in one step.
Whatever ends the request settles all that is still open, exactly once.
"""

import enum
import itertools
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import attrs
import trio

from gateway.allowances.allowance import Allowance, Consumption, measured
from gateway.allowances.allowances import Allowances
from gateway.allowances.budgets import BudgetAllowance
from gateway.allowances.expected import UNSAID, AskedOutput, expected_usage
from gateway.allowances.refusals import check_priced, refusal, too_dear
from gateway.allowances.standing import count_refusal
from gateway.config.amounts import dollars
from gateway.counters.counter import Claim, Counters, Debit, Shortage, SlotCounter, SumCounter
from gateway.http.headers import Headers
from gateway.ledger.bill import Bill, Charge
from gateway.ledger.record import Record
from gateway.request.wishes import RequestBudget
from gateway.routing.target import Target
from providers.catalog.prices import cost_of
from streams.errors import GatewayError
from streams.events import ErrorInfo, Usage

BUDGET_LEFT: Final = "x-trigate-budget-left"
RUN_LEFT: Final = "x-trigate-run-left"


def left_headers(left: Iterable[tuple[BudgetAllowance, int]]) -> Headers:
    """``x-trigate-budget-left: usd/day=12.4, tokens/30d=80000`` and ``x-trigate-run-left: 4.21 usd``, of budgets and
    what each has left, in nano-dollars or tokens. Of several for the same time, as a client's and its group's, it is
    the least: no more can be spent."""
    least: dict[tuple[str, str], int] = {}
    for budget, amount in left:
        name = budget.budget.currency, budget.text.rpartition("/")[2]
        least[name] = min(amount, least.get(name, amount))
    periods = [f"{unit}/{time}={_number(unit, amount)}" for (unit, time), amount in least.items() if time != "run"]
    runs = [f"{_number(unit, amount)} {unit}" for (unit, time), amount in least.items() if time == "run"]
    found = ((BUDGET_LEFT, ", ".join(periods)), (RUN_LEFT, ", ".join(runs)))
    return tuple(header for header in found if header[1])


def _number(unit: str, amount: int) -> str:
    amount = max(0, amount)
    return dollars(amount) if unit == "usd" else str(amount)


LONGEST_WAIT: Final = 5.0
"""Seconds that a request waits for others to end where nothing but what they have reserved stands in its way: what is
reserved is more than most use (BerriAI/litellm#27735)."""

_PROCESS: Final = secrets.token_hex(8)
_numbers: Final = itertools.count()
"""With which claims are named: a request's id may be its client's, who may send it twice."""

_FRESH: Final = 0.1
"""Seconds that what is set aside for batches may be old before a request is refused for it: whoever asks in vain, and
again and again, is not to have it read each time."""

_NOTHING: Final = Consumption(Usage(), requests=0)

SOMETHING: Final = Consumption(Usage(input=1), 1)
"""What work needs of a budget of which nobody knows how much it will be."""


@attrs.frozen
class _Taken:
    """Two claims with the allowances that their debits are of, in their order: the ``amounts`` of rates and budgets,
    and the ``places`` among requests at once, which are released before the answer's last bytes are sent."""

    amounts: Claim
    places: Claim
    allowances: tuple[Allowance, ...]
    place_allowances: tuple[Allowance, ...]

    @classmethod
    def of(cls, pairs: Sequence[tuple[Allowance, Debit]]) -> "_Taken | None":
        """Return the claims of ``pairs``, which have new names; ``None`` of nothing."""
        if not pairs:
            return None
        places = [pair for pair in pairs if isinstance(pair[1].counter, SlotCounter)]
        amounts = [pair for pair in pairs if not isinstance(pair[1].counter, SlotCounter)]
        claims = [
            Claim(f"{_PROCESS}-{next(_numbers)}", tuple(debit for _, debit in found)) for found in (amounts, places)
        ]
        return cls(claims[0], claims[1], tuple(one for one, _ in amounts), tuple(one for one, _ in places))

    @property
    def claims(self) -> list[Claim]:
        """Those that have debits."""
        return [one for one in (self.amounts, self.places) if one.debits]

    @property
    def named(self) -> Mapping[Debit, Allowance]:
        """The allowance of each debit."""
        pairs = (*zip(self.amounts.debits, self.allowances, strict=True),
                 *zip(self.places.debits, self.place_allowances, strict=True))  # fmt: skip
        return dict(pairs)

    def settle(self, counters: Counters, consumption: Consumption) -> None:
        """Count ``consumption``, and release the places that were not released before."""
        self.release_places(counters)
        if self.amounts.debits:
            used = [measured(one.measure, consumption, count_cached=one.count_cached) for one in self.allowances]
            counters.settle(self.amounts, used)

    def release_places(self, counters: Counters) -> None:
        if self.places.debits:
            counters.settle(self.places, [0] * len(self.places.debits))


class Grant:
    """What one attempt has taken of its target's allowances. ``end`` is for one whose answer goes to nobody."""

    def __init__(self, reservation: "Reservation", taken: _Taken) -> None:
        self._reservation = reservation
        self.taken = taken

    def end(self, charge: Charge | None) -> None:
        """The attempt is over and has cost ``charge``; without one it was not sent."""
        self._reservation.end(self, charge)


class Queued:
    """An attempt that has taken nothing of its target yet, and has a place in the queue before that."""

    def __init__(self, reservation: "Reservation", target: Target, expected: Consumption) -> None:
        self._reservation = reservation
        self._target = target
        self._expected = expected

    async def wait(self, until: float) -> Grant | ErrorInfo:
        """Wait for room, until a moment of trio's clock: what it has taken then, or why it cannot be made. Cancelled,
        it has taken nothing and left the queue."""
        return await self._reservation.queue(self._target, self._expected, until)


class CountedAs(enum.Enum):
    """What a request counts as."""

    ANSWER = "answer"
    """A model answers: all of it."""
    REQUEST = "request"
    """A request that no model answers, as for the number of its tokens: it takes its place and nothing else."""
    BEGINNING = "beginning"
    """A request with which work begins that is paid for later: budgets need room for what that is expected to be."""
    LATER = "later"
    """A request about what a model has answered before: nothing is expected of it, and what its answer tells is
    taken."""


@attrs.frozen
class Payer:
    """The client that a request counts for, ``None`` where it has no name, and what it calls the run that it belongs
    to."""

    client: str | None
    run: str | None = None


class Reservation:
    """What one request of ``payer``, with its ``bill``, may use. ``expected_input`` are its tokens, about, ``asked`` is
    what it says of its output, ``budgets`` what its client lets it cost; ``by_header`` are the allowances that a header
    of its names; ``begins`` is the work that begins with it, about."""

    def __init__(
        self,
        allowances: Allowances,
        payer: Payer,
        bill: Bill,
        expected_input: int,
        asked: AskedOutput = UNSAID,
        budgets: Sequence[RequestBudget] = (),
        counted_as: CountedAs = CountedAs.ANSWER,
        by_header: Sequence[Allowance] = (),
        begins: Consumption = SOMETHING,
    ) -> None:
        self._allowances = allowances
        self._client_name, self._run = payer.client, payer.run
        self._bill = bill
        self._input = expected_input
        self._asked = asked
        self._budgets = budgets
        self._counted_as = counted_as
        self._by_header = by_header
        self._begins = begins
        self.at = allowances.now()
        self._client: _Taken | None = None
        self._grants: list[Grant] = []

    # Before a request is sent

    async def take(self, target: Target, *, queues: bool = True) -> Grant | Queued | ErrorInfo | None:
        """Reserve for an attempt at ``target``, and for the client where that has not been done: what the attempt has
        to end, ``None`` where its target has no allowances, or why the target cannot be asked now. Where that has a
        queue with room the attempt has to wait in it, unless it is one that never ``queues``. Raises ``GatewayError``
        where the client may use no more. Cancelled, it has taken nothing."""
        self._check_priced(target)
        expected = self._expected(target)
        if self._budgets and (dear := self._too_dear(target, expected)) is not None:
            return dear
        return await self._take(target, expected, self._wanted(target, expected), queues=queues)

    async def take_client(self, target: Target) -> None:
        """Reserve for the client alone what an answer of ``target`` is expected to take: it may come from elsewhere.
        Raises ``GatewayError`` where the client may use no more. Cancelled, it has taken nothing."""
        self._check_priced(target)
        expected = self._expected(target)
        if self._client_wanted(expected) is not None:
            await self._take(target, expected, None, queues=False)

    async def _take(
        self, target: Target, expected: Consumption, wanted: _Taken | None, *, queues: bool
    ) -> Grant | Queued | ErrorInfo | None:
        """Reserve ``wanted`` of the allowances of ``target``, and what the client needs, as ``take`` does."""
        if queues and wanted is not None and self._allowances.queues.waiting(target):  # it would overtake them
            return await self._queue_up(target, expected) or self._refused(_named(wanted, self._room(wanted)))
        until = trio.current_time() + LONGEST_WAIT
        while True:
            version, client = self._allowances.aside.version, self._client_wanted(expected)
            claims = [claim for one in (client, wanted) if one is not None for claim in one.claims]
            if not claims:
                return None
            short = await self._allowances.counters.reserve(claims)
            hangs = self._hangs_on_batches(short, client, wanted) if short else self._begins is not SOMETHING
            if hangs and await self._is_news(version, () if short else claims):
                wanted = None if wanted is None else self._wanted(target, expected)
                continue
            if not short:
                self._client = client or self._client
                return None if wanted is None else self._granted(wanted)
            if client is None or not (mine := _of(client, short)):
                queued = await self._queue_up(target, expected) if queues else None
                return queued or self._refused(_named(wanted, short))
            if not _may_pass_soon(mine) or not await self._allowances.room.wait(until):
                raise GatewayError.of(self._refused(_named(client, mine)))

    def _hangs_on_batches(self, short: Sequence[Shortage], *taken: _Taken | None) -> bool:
        """Whether there would perhaps be room without the batches that go on: others may have heard of their ends."""
        named = [pair for one in taken if one is not None for pair in _named(one, short)]
        return any(isinstance(one, BudgetAllowance) and one.set_aside and found.is_lasting for one, found in named)

    async def _is_news(self, version: int, claims: Sequence[Claim]) -> bool:
        """Look at what is set aside: whether that is something else than it was by that ``version``. The ``claims``
        that were taken by it are given back then."""
        aside, stays = self._allowances.aside, False
        try:
            await aside.look(0.0 if claims else _FRESH)
            stays = aside.version == version
        finally:  # cancelled, too
            for claim in () if stays else claims:
                self._allowances.counters.settle(claim, [0] * len(claim.debits))
        return not stays

    async def _queue_up(self, target: Target, expected: Consumption) -> Queued | None:
        """The place of an attempt in the queue before ``target``, for which its client has what it needs; ``None``
        where there is none."""
        if not self._allowances.queues.has_room(target, self._client_name):
            return None
        if (client := self._client_wanted(expected)) is not None:
            if short := await self._allowances.counters.reserve(client.claims):
                raise GatewayError.of(self._refused(_named(client, short)))
            self._client = client
        return Queued(self, target, expected)

    async def queue(self, target: Target, expected: Consumption, until: float) -> Grant | ErrorInfo:
        """Wait in the queue before ``target``, as ``Queued`` says."""
        wanted: list[_Taken] = []

        async def take() -> Sequence[Shortage]:
            found = self._wanted(target, expected)
            assert found is not None, "it has allowances: that is why there is a queue"
            wanted[:] = [found]
            return await self._allowances.counters.reserve(found.claims)

        short = await self._allowances.queues.wait(target, self._client_name, take, until)
        (taken,) = wanted
        return self._refused(_named(taken, short)) if short else self._granted(taken)

    def _check_priced(self, target: Target) -> None:
        """Raise ``GatewayError`` where money is limited and nobody knows what ``target`` costs."""
        if self._counted_as is CountedAs.ANSWER:
            check_priced(self._allowances, self._client_name, target, self.at, self._run)

    def _room(self, wanted: _Taken) -> list[Shortage]:
        """What ``wanted`` would be short of now: a place in the queue at least."""
        counters = self._allowances.counters
        debits = tuple(wanted.named)
        found = [short for one in debits if (short := counters.room(one)) is not None]
        return found or [Shortage(debits[0], None, 0, 0)]

    def _refused(self, short: Sequence[tuple[Allowance, Shortage]]) -> ErrorInfo:
        count_refusal(self._allowances.refusals, short)
        return refusal(short)

    def _granted(self, wanted: _Taken) -> Grant:
        grant = Grant(self, wanted)
        self._grants.append(grant)
        return grant

    def _client_wanted(self, expected: Consumption) -> _Taken | None:
        if self._client is not None:
            return None
        return self._claim((*self._allowances.of_client(self._client_name), *self._by_header), expected)

    def _wanted(self, target: Target, expected: Consumption) -> _Taken | None:
        return self._claim(self._allowances.of_target(target), expected)

    def _claim(self, allowances: Sequence[Allowance], expected: Consumption) -> _Taken | None:
        pairs: list[tuple[Allowance, Debit]] = []
        for one in allowances:
            if self._counted_as is CountedAs.REQUEST and one.measure not in ("requests", "concurrent"):
                continue
            if (counter := one.counter(self.at, self._run)) is not None:
                # The rates of providers are not those of batches.
                begins = self._counted_as is CountedAs.BEGINNING and isinstance(counter, SumCounter)
                needed = self._begins if begins else expected
                pairs.append((one, Debit(counter, measured(one.measure, needed, count_cached=one.count_cached))))
        return _Taken.of(pairs)

    def _expected(self, target: Target) -> Consumption:
        """What an answer of ``target`` will take, about."""
        if self._counted_as is CountedAs.LATER:
            return Consumption(Usage())
        if self._counted_as is CountedAs.BEGINNING:
            return SOMETHING
        usage, price = self._usage(target), target.price
        cost = None if price is None else cost_of(price, usage)
        return Consumption(usage, 0 if cost is None else cost.nanos)

    def _usage(self, target: Target) -> Usage:
        reserve, outputs = self._allowances.reserve, self._allowances.outputs
        return expected_usage(reserve, outputs, self._client_name, target, self._asked, self._input)

    def _too_dear(self, target: Target, expected: Consumption) -> ErrorInfo | None:
        """Why it may not go to ``target`` for what its client lets it cost, earlier attempts included."""
        if self._counted_as is not CountedAs.ANSWER:
            return None
        spent = _consumed(self._bill.charges())
        needed = Consumption(spent.usage + expected.usage, spent.nanos + expected.nanos)
        return too_dear(self._budgets, needed, target.place, priced=target.price is not None)

    # While it is answered

    def left(self, record: Record) -> Headers:
        """The headers that tell the client what is left of its budgets: for a whole answer behind it, for a stream
        behind what is reserved for it."""
        level = self._allowances.counters.level
        found: list[tuple[BudgetAllowance, int]] = []
        for one, counter, back in self._budget_counters(record):
            now = level(counter)
            found.append((one, one.most - now.used - now.held + back))
        return left_headers(found) if found else ()

    def _budget_counters(self, record: Record) -> Iterator[tuple[BudgetAllowance, SumCounter, int]]:
        """The client's budgets with their counters, and what of its own reservation goes back as far as is known."""
        if (client := self._client) is None:
            for one in self._allowances.seen_by(record.client):
                if isinstance(one, BudgetAllowance) and (counter := one.counter(self.at, record.run)) is not None:
                    yield one, counter, 0
            return
        known = record.bill.whole or record.failed is not None  # no attempt goes on
        consumption = self._charged(record) if known else None
        seen = self._allowances.seen_by(record.client)
        for allowance, debit in zip(client.allowances, client.amounts.debits, strict=True):
            if allowance in seen and isinstance(allowance, BudgetAllowance) and isinstance(debit.counter, SumCounter):
                used = (
                    debit.amount
                    if consumption is None
                    else measured(allowance.measure, consumption, count_cached=False)
                )
                yield allowance, debit.counter, debit.amount - used

    # At the end

    def release_places(self) -> None:
        """Release the places among requests at once, because the answer's last bytes are about to be sent: a client
        that sends its next request then is not one too many."""
        for taken in (self._client, *(grant.taken for grant in self._grants)):
            if taken is not None:
                taken.release_places(self._allowances.counters)

    def end(self, grant: Grant, charge: Charge | None) -> None:
        """Settle what an attempt has taken; once."""
        if grant in self._grants:
            self._grants.remove(grant)
            consumption = _NOTHING if charge is None else _consumed([charge])
            grant.taken.settle(self._allowances.counters, consumption)

    def settle(self, record: Record) -> None:
        """Settle all that is open, once: the exchange has ended."""
        charges = record.bill.charges()
        committed = next((one for one in charges if one.tried.committed), None)
        answered = record.cache != "hit" and record.bill.booked is None  # by a model, with one answer
        if committed is not None and record.bill.whole and record.target is not None and answered:
            output = committed.usage.output // self._asked.answers
            self._allowances.outputs.learn(record.client, record.target, output)
        for grant in tuple(self._grants):
            self.end(grant, committed)
        if (client := self._client) is None:
            return
        self._client = None
        consumption = self._charged(record)
        client.settle(self._allowances.counters, attrs.evolve(consumption, requests=1))

    def _charged(self, record: Record) -> Consumption:
        """What its client is charged for."""
        charged = record.delivered or self._allowances.charges_undelivered
        return _consumed(record.bill.charges()) if charged else _NOTHING


def _consumed(charges: Sequence[Charge]) -> Consumption:
    if len(charges) == 1:
        charge = charges[0]
        return Consumption(charge.usage, 0 if charge.cost is None else charge.cost.nanos)
    total = Usage()
    nanos = 0
    for charge in charges:
        total += charge.usage
        nanos += 0 if charge.cost is None else charge.cost.nanos
    return Consumption(total, nanos)


def _of(taken: _Taken, short: Sequence[Shortage]) -> list[Shortage]:
    """Those of ``short`` that are of ``taken``."""
    return [one for one in short if one.debit in taken.named]


def _may_pass_soon(short: Sequence[Shortage]) -> bool:
    """Whether nothing but the reservations of others stands in the way."""
    sums = (isinstance(one.debit.counter, SumCounter) and not one.is_lasting for one in short)
    return all(sums) and all(one.cause == "no_room" for one in short)


def _named(taken: _Taken | None, short: Sequence[Shortage]) -> list[tuple[Allowance, Shortage]]:
    """Each shortage with its allowance."""
    assert taken is not None
    return [(taken.named[one.debit], one) for one in short if one.debit in taken.named]
