"""The reservation of a request in its allowances: made before it is sent, and settled when it ends.

The client's share is reserved once, the target's for each attempt; the first attempt reserves both in one step. Every
end of a request settles all open claims exactly once."""

import enum
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import attrs
import trio

from gateway.allowances.allowance import Allowance, Consumption, counted_amount
from gateway.allowances.allowances import Allowances
from gateway.allowances.budgets import BudgetAllowance
from gateway.allowances.expected import RequestSize, dearest_nanos, expected_usage
from gateway.allowances.levels import count_refusal
from gateway.allowances.refusals import over_own_budget_error, refusal_error, unpriced_error
from gateway.config.amounts import dollars
from gateway.counters.counter import Claim, Counter, Counters, Debit, Shortage, SlotCounter, SumCounter, new_claim
from gateway.http.headers import Headers
from gateway.ledger.bill import AttemptRecord, Bill, Charge
from gateway.request.routing_options import RequestBudget
from gateway.routing.target import Target
from streams.errors import GatewayError
from streams.events import ErrorInfo, Usage

BUDGET_LEFT: Final = "x-trigate-budget-left"
RUN_LEFT: Final = "x-trigate-run-left"


def budget_left_headers(left: Iterable[tuple[BudgetAllowance, int]]) -> Headers:
    """Return the headers ``x-trigate-budget-left`` and ``x-trigate-run-left`` for budgets and their remaining amounts.

    Amounts are in nano-dollars or tokens; the headers read ``usd/day=12.4, tokens/30d=80000`` and ``4.21 usd``. If
    several budgets have the same unit and period, the smallest remainder counts."""
    least: dict[tuple[str, str], int] = {}
    for budget, amount in left:
        name = budget.budget.currency, budget.text.rpartition("/")[2]
        least[name] = min(amount, least.get(name, amount))
    periods = [
        f"{unit}/{time}={_format_amount(unit, amount)}" for (unit, time), amount in least.items() if time != "run"
    ]
    runs = [f"{_format_amount(unit, amount)} {unit}" for (unit, time), amount in least.items() if time == "run"]
    found = ((BUDGET_LEFT, ", ".join(periods)), (RUN_LEFT, ", ".join(runs)))
    return tuple(header for header in found if header[1])


def _format_amount(unit: str, amount: int) -> str:
    amount = max(0, amount)
    return dollars(amount) if unit == "usd" else str(amount)


LONGEST_WAIT: Final = 5.0
"""Seconds that a request waits if only reservations of other requests block it: most use less than they reserve
(BerriAI/litellm#27735)."""

_FRESH: Final = 0.1
"""The age in seconds at which the sums set aside for batches are read again before a refusal.

Repeated refused requests therefore do not cause a read each."""

_NOTHING: Final = Consumption(Usage(), requests=0)

SOMETHING: Final = Consumption(Usage(input=1), 1)
"""The budget required for work of unknown cost."""


@attrs.frozen(eq=False, repr=False)
class _ClaimPair:
    """The two claims of a reservation, and the allowances of their debits in the same order.

    ``amounts`` is for rates and budgets. ``places`` is for simultaneous requests, released before the last bytes are
    sent."""

    amounts: Claim
    places: Claim
    allowances: tuple[Allowance, ...]
    place_allowances: tuple[Allowance, ...]

    @classmethod
    def of(cls, pairs: Sequence[tuple[Allowance, Debit]]) -> "_ClaimPair | None":
        """Return new claims for ``pairs``, ``None`` if there are no pairs."""
        if not pairs:
            return None
        places = [pair for pair in pairs if isinstance(pair[1].counter, SlotCounter)]
        amounts = [pair for pair in pairs if not isinstance(pair[1].counter, SlotCounter)]
        claims = [new_claim(*(debit for _, debit in found)) for found in (amounts, places)]
        return cls(claims[0], claims[1], tuple(one for one, _ in amounts), tuple(one for one, _ in places))

    @property
    def claims(self) -> list[Claim]:
        """The claims that have debits."""
        return [one for one in (self.amounts, self.places) if one.debits]

    @property
    def allowance_by_debit(self) -> Mapping[Debit, Allowance]:
        pairs = (*zip(self.amounts.debits, self.allowances, strict=True),
                 *zip(self.places.debits, self.place_allowances, strict=True))  # fmt: skip
        return dict(pairs)

    def settle(self, counters: Counters, consumption: Consumption) -> None:
        """Count ``consumption``, and release places that are still reserved."""
        self.release_places(counters)
        if self.amounts.debits:
            used = [counted_amount(one.measure, consumption, count_cached=one.count_cached) for one in self.allowances]
            counters.settle(self.amounts, used)

    def release_places(self, counters: Counters) -> None:
        if self.places.debits:
            counters.settle(self.places, [0] * len(self.places.debits))


class Grant:
    """The part of a target's allowances that one attempt has reserved. Call ``end`` if its response is not used."""

    def __init__(self, reservation: "Reservation", claim_pair: _ClaimPair) -> None:
        self._reservation = reservation
        self.claim_pair = claim_pair

    def end(self, charge: Charge | None) -> None:
        """Settle an attempt that cost ``charge``; ``None`` if it was not sent."""
        self._reservation.end(self, charge)


class QueuedAttempt:
    """An attempt that waits in its target's queue and has reserved nothing of the target yet."""

    def __init__(self, reservation: "Reservation", target: Target, expected: Consumption) -> None:
        self._reservation = reservation
        self._target = target
        self._expected = expected

    async def wait(self, until: float) -> Grant | ErrorInfo:
        """Wait for room until ``until`` (trio's clock), and return the grant or the error.

        On cancellation nothing is reserved and the attempt leaves the queue."""
        return await self._reservation.queue(self._target, self._expected, until)


class CountedAs(enum.Enum):
    """How a request counts."""

    ANSWER = "answer"
    """A model generates a response: everything counts."""
    REQUEST = "request"
    """No model generates, as in token counting: only the request itself counts."""
    BEGINNING = "beginning"
    """A request that starts work billed later: budgets need room for its expected cost."""
    LATER = "later"
    """A request about earlier output: nothing is reserved, and usage in its response is charged."""
    ADDITIONAL = "additional"
    """Work in addition to a response of the same session: it takes no place of a simultaneous request."""
    STARTED = "started"
    """Work that a provider has started: no limit refuses it, nothing is reserved, and everything is charged."""


_WITHOUT_PLACE: Final = frozenset((CountedAs.ADDITIONAL, CountedAs.STARTED))
"""Kinds of work that are no simultaneous requests of their own."""


@attrs.frozen(eq=False, repr=False)
class Payer:
    """The client that pays for a request (``None`` without a name), and the run that the request belongs to."""

    client: str | None
    run: str | None = None


class Reservation:
    """The reservation of one request that ``payer`` pays for.

    ``bill`` collects its charges. ``budgets`` are the client's own limits for it, ``by_header`` the allowances that its
    headers select, ``begins`` the expected cost of the work that it starts. It waits for room until
    ``deadline`` (trio's clock) at the latest."""

    def __init__(
        self,
        allowances: Allowances,
        payer: Payer,
        bill: Bill,
        budgets: Sequence[RequestBudget] = (),
        counted_as: CountedAs = CountedAs.ANSWER,
        by_header: Sequence[Allowance] = (),
        begins: Consumption = SOMETHING,
        deadline: float = math.inf,
    ) -> None:
        self._allowances = allowances
        self._client_name, self._run = payer.client, payer.run
        self._bill = bill
        self._budgets = budgets
        self._counted_as = counted_as
        self._by_header = by_header
        self._begins = begins
        self._deadline = deadline
        self.at = allowances.now()
        self.wait_seconds = 0.0
        self._client: list[_ClaimPair] = []
        self._answers = 1  # of the last attempt
        self._grants: list[Grant] = []
        self._finished: tuple[AttemptRecord, ...] = ()  # the attempts of earlier parts of the response

    # Before a request is sent

    def begin_part(self) -> None:
        """Reserve from now on in addition to the charges so far, because another part of the same response follows."""
        self._finished = self._bill.attempt_records

    async def reserve_part(self, target: Target, nanos: int) -> None:
        """Begin a part of the response that costs ``nanos`` and comes from no model, and reserve it for the client.

        Raises ``GatewayError`` if the client may use no more. ``target`` is the model that requested it."""
        self.begin_part()
        expected = Consumption(Usage(), nanos, 0)
        refusal = self._over_own_budget_error(target, expected) if self._budgets else None
        refusal = refusal or await self._reserve_for_client(target, expected)
        if refusal is not None:
            raise GatewayError.of(refusal)

    async def reserve(
        self, target: Target, size: RequestSize, *, queues: bool = True, is_hedge: bool = False
    ) -> Grant | QueuedAttempt | ErrorInfo | None:
        """Reserve for an attempt of ``size`` at ``target``, and what the client has not reserved for it yet.

        A hedge costs as much in addition to the running attempt.

        Return the grant to end, ``None`` if the target has no allowances, or an error if the target is unavailable now
        or costs more than the client's budgets in dollars allow. If the target has a queue with room, the attempt must
        wait in it, unless ``queues`` is false. Raises ``GatewayError`` if the client may use no more at any target. On
        cancellation nothing is reserved."""
        self._check_priced(target)
        expected = self._expected_consumption(target, size)
        if self._budgets and (error := self._over_own_budget_error(target, expected)) is not None:
            return error
        claim_pair = self._target_claims(target, expected)
        return await self._reserve(target, expected, claim_pair, queues=queues, is_hedge=is_hedge)

    async def reserve_client(self, target: Target, size: RequestSize | None) -> ErrorInfo | None:
        """Reserve for the client alone what an attempt of ``size`` at ``target`` would use, because its response may
        come from elsewhere; without a size, only a request.

        Return an error if the target costs more than the client's budgets in dollars allow. Raises ``GatewayError`` if
        the client may use no more at any target. On cancellation nothing is reserved."""
        self._check_priced(target)
        expected = Consumption(Usage()) if size is None else self._expected_consumption(target, size)
        return await self._reserve_for_client(target, expected)

    async def _reserve_for_client(self, target: Target, expected: Consumption) -> ErrorInfo | None:
        refusal = await self._reserve(target, expected, None, queues=False)
        return refusal if isinstance(refusal, ErrorInfo) else None

    async def _reserve(
        self,
        target: Target,
        expected: Consumption,
        claim_pair: _ClaimPair | None,
        *,
        queues: bool,
        is_hedge: bool = False,
    ) -> Grant | QueuedAttempt | ErrorInfo | None:
        """Reserve ``claim_pair`` at ``target`` and the client's part, with the results and errors of ``reserve``."""
        # Without its place in the queue it would overtake waiting requests.
        if queues and claim_pair is not None and self._allowances.queues.waiting(target):
            return await self._queue_up(target, expected) or await self._counted_refusal_error(
                _with_allowances(claim_pair, self._current_shortages(claim_pair))
            )
        full: Counter | None = None
        while True:
            version, client = self._allowances.batch_reserves.version, self._client_claims(expected, is_hedge=is_hedge)
            claims = [claim for one in (client, claim_pair) if one is not None for claim in one.claims]
            if not claims:
                return None
            short = await self._allowances.counters.reserve(claims)
            may_fit = (
                self._may_fit_without_batches(short, client, claim_pair) if short else self._begins is not SOMETHING
            )
            if may_fit and await self._released_as_outdated(version, () if short else claims):
                claim_pair = None if claim_pair is None else self._target_claims(target, expected)
                continue
            if not short:
                if client is not None:
                    self._client.append(client)
                if full is not None:  # there may be room for others that wait for it
                    self._allowances.room.wake(full)
                return None if claim_pair is None else self._grant(claim_pair)
            if client is None or not (client_shortages := _shortages_of(client, short)):
                queued = await self._queue_up(target, expected) if queues else None
                return queued or await self._counted_refusal_error(_with_allowances(claim_pair, short))
            client_shortages = self._without_own_claims(client_shortages)
            full = client_shortages[0].debit.counter
            if _may_pass_soon(client_shortages) and await self._wait_for_room(full):
                continue
            refusal = await self._counted_refusal_error(_with_allowances(client, client_shortages))
            if refusal.reason is None:  # it would be the same at any target
                raise GatewayError.of(refusal)
            return refusal

    async def _wait_for_room(self, full: Counter) -> bool:
        """Wait until ``full`` may have room. Return false if the request has waited for ``LONGEST_WAIT`` at all targets
        together, or its deadline has passed."""
        began = trio.current_time()
        until = min(began + LONGEST_WAIT - self.wait_seconds, self._deadline)
        has_room = await self._allowances.room.wait(full, self._client_name, until)
        self.wait_seconds += trio.current_time() - began
        return has_room

    def _may_fit_without_batches(self, short: Sequence[Shortage], *claim_pairs: _ClaimPair | None) -> bool:
        """Return whether the end of a batch may have freed the missing room; other processes may already know."""
        pairs = [pair for one in claim_pairs if one is not None for pair in _with_allowances(one, short)]
        return any(isinstance(one, BudgetAllowance) and one.set_aside and found.is_lasting for one, found in pairs)

    async def _released_as_outdated(self, version: int, claims: Sequence[Claim]) -> bool:
        """Read the sums set aside, and return whether they changed since ``version``.

        If they changed or the read fails, release ``claims``, which were reserved with the old sums."""
        batch_reserves, stays = self._allowances.batch_reserves, False
        try:
            await batch_reserves.refresh(0.0 if claims else _FRESH)
            stays = batch_reserves.version == version
        finally:  # also on cancellation
            for claim in () if stays else claims:
                self._allowances.counters.settle(claim, [0] * len(claim.debits))
        return not stays

    async def _queue_up(self, target: Target, expected: Consumption) -> QueuedAttempt | ErrorInfo | None:
        """Reserve for the client, and return the attempt's place in the queue for ``target``; ``None`` if it is
        full, and an error as ``reserve_client`` does."""
        queues = self._allowances.queues
        if not queues.has_room(target, self._client_name):
            return None
        if (refusal := await self._reserve_for_client(target, expected)) is not None:
            return refusal
        return QueuedAttempt(self, target, expected) if queues.has_room(target, self._client_name) else None

    async def queue(self, target: Target, expected: Consumption, until: float) -> Grant | ErrorInfo:
        """Wait in the queue for ``target``, as ``QueuedAttempt.wait`` does."""
        last: list[_ClaimPair] = []

        async def take() -> Sequence[Shortage]:
            found = self._target_claims(target, expected)
            assert found is not None, "it has allowances: that is why there is a queue"
            last[:] = [found]
            return await self._allowances.counters.reserve(found.claims)

        short = await self._allowances.queues.wait(target, self._client_name, take, until)
        (claim_pair,) = last
        if short:
            return await self._counted_refusal_error(_with_allowances(claim_pair, short))
        return self._grant(claim_pair)

    def _check_priced(self, target: Target) -> None:
        """Raise ``GatewayError`` if money is limited and ``target`` has no known price."""
        if self._counted_as in (CountedAs.ANSWER, CountedAs.ADDITIONAL):
            check_priced(self._allowances, self._client_name, target, self.at, self._run)

    def _current_shortages(self, claim_pair: _ClaimPair) -> list[Shortage]:
        """Return the current shortages of ``claim_pair``; at least one, for the full queue."""
        counters = self._allowances.counters
        debits = tuple(claim_pair.allowance_by_debit)
        found = [short for one in debits if (short := counters.shortage_for(one)) is not None]
        return found or [Shortage(debits[0], None, 0, 0)]

    async def _counted_refusal_error(self, short: Sequence[tuple[Allowance, Shortage]]) -> ErrorInfo:
        count_refusal(self._allowances.refusals, short)
        return refusal_error([(one, await self._with_earlier_sums(shortage)) for one, shortage in short])

    async def _with_earlier_sums(self, shortage: Shortage) -> Shortage:
        """Return ``shortage``; of an exhausted rolling budget with the amounts by which it refills."""
        counter = shortage.debit.counter
        if not shortage.is_lasting or not isinstance(counter, SumCounter) or not counter.earlier:
            return shortage
        return attrs.evolve(shortage, earlier=await self._allowances.counters.earlier_sums(counter))

    def _grant(self, claim_pair: _ClaimPair) -> Grant:
        grant = Grant(self, claim_pair)
        self._grants.append(grant)
        return grant

    def _client_claims(self, expected: Consumption, *, is_hedge: bool = False) -> _ClaimPair | None:
        """Return claims for what the client has not reserved yet; an attempt at another target may need more."""
        if self._bill.attempt_records:
            spent = self._spent_before()
            expected = Consumption(spent.usage + expected.usage, spent.nanos + expected.nanos, expected.requests)
        pairs = self._debits((*self._allowances.of_client(self._client_name), *self._by_header), expected)
        if not self._client:
            return _ClaimPair.of(pairs)
        held = self._held_amounts()
        if is_hedge:  # it takes no other place of a simultaneous request, but may be billed as well
            held = {counter: amount for counter, amount in held.items() if not isinstance(counter, SumCounter)}
        return _ClaimPair.of(
            [
                (one, attrs.evolve(debit, amount=more))
                for one, debit in pairs
                if (more := debit.amount - held.get(debit.counter, 0)) > 0
            ]
        )

    def _spent_before(self) -> Consumption:
        """Return the consumption by earlier parts of the response, and by failed attempts that providers may bill."""
        charges = self._bill.charges()
        return _consumption_of([one for one in charges if not one.attempt.committed or one.attempt in self._finished])

    def _held_amounts(self) -> Mapping[Counter, int]:
        """Return what the request itself has reserved for the client."""
        held: dict[Counter, int] = {}
        for claim in (claim for claim_pair in self._client for claim in claim_pair.claims):
            for debit in claim.debits:
                held[debit.counter] = held.get(debit.counter, 0) + debit.amount
        return held

    def _without_own_claims(self, short: Sequence[Shortage]) -> list[Shortage]:
        """Return ``short`` with what the request itself has reserved as used, because it cannot wait for its own
        end."""
        own = self._held_amounts()
        parts = [(one, min(own.get(one.debit.counter, 0), one.held)) for one in short]
        return [attrs.evolve(one, used=one.used + part, held=one.held - part) for one, part in parts]

    def _target_claims(self, target: Target, expected: Consumption) -> _ClaimPair | None:
        return _ClaimPair.of(self._debits(self._allowances.of_target(target), expected))

    def _debits(self, allowances: Sequence[Allowance], expected: Consumption) -> list[tuple[Allowance, Debit]]:
        """Return what a request that consumes ``expected`` needs of ``allowances``."""
        pairs: list[tuple[Allowance, Debit]] = []
        for one in allowances:
            if self._counted_as is CountedAs.REQUEST and one.measure not in ("requests", "concurrent"):
                continue
            if self._counted_as in _WITHOUT_PLACE and one.measure == "concurrent":
                continue
            if (counter := one.counter(self.at, self._run)) is not None:
                # Provider rates do not apply to batches.
                begins = self._counted_as is CountedAs.BEGINNING and isinstance(counter, SumCounter)
                needed = self._begins if begins else expected
                pairs.append((one, Debit(counter, counted_amount(one.measure, needed, count_cached=one.count_cached))))
        return pairs

    def _expected_consumption(self, target: Target, size: RequestSize) -> Consumption:
        """Return the expected consumption of an attempt of ``size`` at ``target``."""
        self._answers = size.output.answers
        if self._counted_as is CountedAs.LATER:
            return Consumption(Usage())
        if self._counted_as is CountedAs.STARTED:
            return _NOTHING
        if self._counted_as is CountedAs.BEGINNING:
            return SOMETHING
        reserve, outputs = self._allowances.reserve, self._allowances.outputs
        usage = expected_usage(reserve, outputs, self._client_name, target, size)
        if target.price is None:
            return Consumption(usage, requests=size.requests)
        # The provider may process the request at either tier, and with each of its models.
        usages = (usage,) if size.output.tier is None else (usage, attrs.evolve(usage, tier=size.output.tier))
        nanos = max(dearest_nanos(target, size.output, used) for used in usages)
        return Consumption(usage, nanos, size.requests)

    def _over_own_budget_error(self, target: Target, expected: Consumption) -> ErrorInfo | None:
        """Return the error if the request may exceed its client's own budgets at ``target``, earlier attempts
        included."""
        if self._counted_as is not CountedAs.ANSWER:
            return None
        spent = _consumption_of(self._bill.charges())
        needed = Consumption(spent.usage + expected.usage, spent.nanos + expected.nanos)
        return over_own_budget_error(self._budgets, needed, target.place, priced=target.price is not None)

    # While the response is sent

    def budget_texts(self, record: object = None) -> tuple[str, ...]:
        """Return the client's budgets that the exchange counts for, as in the configuration."""
        return tuple(dict.fromkeys(one.text for one, _, _ in self._budget_counters(None)))

    def budget_headers(self, *, delivered: bool, failed: bool) -> Headers:
        """Return the headers with the client's remaining budgets.

        A whole response is already charged; for a stream, its reservation is. ``failed``: no attempt will follow."""
        level = self._allowances.counters.level
        found: list[tuple[BudgetAllowance, int]] = []
        is_known = self._bill.is_complete or failed  # no attempt is in progress
        for one, counter, back in self._budget_counters(self._charged_consumption(delivered) if is_known else None):
            now = level(counter)
            found.append((one, one.most - now.used - now.held + back))
        return budget_left_headers(found) if found else ()

    def _budget_counters(self, consumption: Consumption | None) -> Iterator[tuple[BudgetAllowance, SumCounter, int]]:
        """Yield the client's budgets with their counters and the part of its reservation that is not needed: without
        ``consumption``, which is then unknown, none."""
        seen = self._allowances.visible_to(self._client_name)
        if not self._client:
            for one in seen:
                if isinstance(one, BudgetAllowance) and (counter := one.counter(self.at, self._run)) is not None:
                    yield one, counter, 0
            return
        reserved: dict[SumCounter, tuple[BudgetAllowance, int]] = {}
        for client in self._client:
            for allowance, debit in zip(client.allowances, client.amounts.debits, strict=True):
                of = debit.counter
                if allowance in seen and isinstance(allowance, BudgetAllowance) and isinstance(of, SumCounter):
                    reserved[of] = allowance, debit.amount + (reserved[of][1] if of in reserved else 0)
        for counter, (budget, amount) in reserved.items():
            used = amount if consumption is None else counted_amount(budget.measure, consumption, count_cached=False)
            yield budget, counter, amount - used

    # At the end

    def release_places(self) -> None:
        """Release the simultaneous requests just before the last bytes are sent.

        A client that then sends its next request does not exceed its limit."""
        self.release_client_places()
        for grant in self._grants:
            grant.claim_pair.release_places(self._allowances.counters)

    def release_client_places(self) -> None:
        """Release the client's simultaneous requests. Its targets' are still in progress."""
        for claim_pair in self._client:
            claim_pair.release_places(self._allowances.counters)

    def end(self, grant: Grant, charge: Charge | None) -> None:
        """Settle what an attempt has reserved; later calls do nothing."""
        if grant in self._grants:
            self._grants.remove(grant)
            consumption = _NOTHING if charge is None else _consumption_of([charge])
            grant.claim_pair.settle(self._allowances.counters, consumption)

    def settle(self, *, delivered: bool) -> None:
        """Settle all open claims once the exchange has ended. ``delivered``: its client received a part of a response,
        or its work was booked."""
        bill = self._bill
        charges = bill.charges()
        committed = next((one for one in charges if one.attempt.committed), None)
        # A model generated it, as one response.
        answered = not bill.from_cache and bill.booked is None and self._counted_as is CountedAs.ANSWER
        model = None if committed is None else committed.attempt.model
        if committed is not None and model is not None and bill.is_complete and answered:
            self._allowances.outputs.learn(self._client_name, model, committed.usage.output // self._answers)
        for grant in tuple(self._grants):
            self.end(grant, committed)
        if not self._client:
            return
        (first, *others), self._client = self._client, []
        sent = max((1, *(one.requests for one in bill.attempt_records)))  # a cached response counts, too
        first.settle(self._allowances.counters, attrs.evolve(self._charged_consumption(delivered), requests=sent))
        for other in others:  # the first one counts everything
            other.settle(self._allowances.counters, _NOTHING)

    def _charged_consumption(self, delivered: bool) -> Consumption:
        """Return the consumption that the client is charged for."""
        charged = delivered or self._allowances.charges_undelivered
        return _consumption_of(self._bill.charges()) if charged else _NOTHING


def check_priced(allowances: Allowances, client: str | None, target: Target, at: float, run: str | None) -> None:
    """Raise ``GatewayError`` if a budget in dollars applies to the request of ``run`` but ``target`` has no known
    price."""
    if target.price is not None or not allowances.refuses_unpriced:
        return
    limits = (*allowances.of_client(client), *allowances.of_target(target))
    if any(one.measure == "usd" and one.counter(at, run) is not None for one in limits):
        raise GatewayError.of(unpriced_error(target))


def _consumption_of(charges: Sequence[Charge]) -> Consumption:
    if len(charges) == 1:
        charge = charges[0]
        return Consumption(charge.usage, 0 if charge.cost is None else charge.cost.nanos, charge.attempt.requests)
    total = Usage()
    nanos = 0
    for charge in charges:
        total += charge.usage
        nanos += 0 if charge.cost is None else charge.cost.nanos
    return Consumption(total, nanos)


def _shortages_of(claim_pair: _ClaimPair, short: Sequence[Shortage]) -> list[Shortage]:
    """Return those of ``short`` that belong to ``claim_pair``."""
    return [one for one in short if one.debit in claim_pair.allowance_by_debit]


def _may_pass_soon(short: Sequence[Shortage]) -> bool:
    """Return whether only reservations of other requests block this one."""
    sums = (isinstance(one.debit.counter, SumCounter) and not one.is_lasting for one in short)
    return all(sums) and all(one.cause == "no_room" for one in short)


def _with_allowances(claim_pair: _ClaimPair | None, short: Sequence[Shortage]) -> list[tuple[Allowance, Shortage]]:
    assert claim_pair is not None
    return [
        (claim_pair.allowance_by_debit[one.debit], one) for one in short if one.debit in claim_pair.allowance_by_debit
    ]
