"""The part of the remaining amounts that one of several gateways may use while the shared store is unavailable."""

from collections.abc import Mapping, Sequence

import attrs

from gateway.counters.counter import Claim, Counter, Debit, RateCounter, Shortage, SlotCounter, SumCounter
from gateway.counters.known_states import KnownState, KnownStates
from gateway.counters.memory import LocalCounters


class Share:
    """The share of one of ``alive`` processes in the remaining amounts.

    ``known`` has the last known states, ``unconfirmed`` the amounts that this process used and has not reported.
    ``clock_offset`` is how many seconds the store's clock is ahead. ``open`` are this process's open claims."""

    def __init__(
        self,
        alive: int,
        known: KnownStates,
        unconfirmed: Mapping[bytes, int],
        clock_offset: float,
        open: Sequence[Claim],
    ) -> None:
        self._alive = alive
        self._known = known
        self._unconfirmed = unconfirmed
        self._counters = LocalCounters()
        self._clock_offset = clock_offset
        self._own: dict[bytes, int] = {}
        self._claims: dict[str, Claim] = {}
        self._before = frozenset(claim.id for claim in open)
        self._held: dict[bytes, int] = {}  # held by claims reserved during the outage
        for claim in open:
            debits = tuple(debit for debit in claim.debits if not isinstance(debit.counter, RateCounter))
            for debit in debits:
                self._own[debit.counter.key] = self._own.get(debit.counter.key, 0) + debit.amount
            self._counters.hold(Claim(claim.id, debits))
            self._claims[claim.id] = Claim(claim.id, debits)

    async def reserve(self, claims: Sequence[Claim]) -> Sequence[Shortage]:
        parts = [Claim(claim.id, tuple(map(self._part, claim.debits))) for claim in claims]
        short = await self._counters.reserve(parts)
        if not short:
            self._claims.update((part.id, part) for part in parts)
            for claim in claims:
                self._hold(claim, 1)
            return ()
        whole = {debit.counter.key: debit for claim in claims for debit in claim.debits}
        return [_shortage_of_whole(whole[one.debit.counter.key], one) for one in short]

    def settle(self, claim: Claim, used: Sequence[int]) -> None:
        """Settle a claim; rates of claims reserved before the outage are not counted here."""
        part = self._claims.pop(claim.id, None)
        if part is not None:
            amounts = {debit.counter.key: amount for debit, amount in zip(claim.debits, used, strict=True)}
            self._counters.settle(part, [amounts[debit.counter.key] for debit in part.debits])
            if not self.was_reserved_before(claim):
                self._hold(claim, -1)

    def was_reserved_before(self, claim: Claim) -> bool:
        """Return whether the claim was reserved before the outage, so the store counts it."""
        return claim.id in self._before

    def held_amount(self, counter: Counter) -> int:
        """Return the amount of ``counter`` held by claims reserved during the outage."""
        return self._held.get(counter.key, 0)

    def _hold(self, claim: Claim, times: int) -> None:
        for debit in claim.debits:
            if not isinstance(debit.counter, RateCounter):
                key, held = debit.counter.key, self.held_amount(debit.counter) + times * debit.amount
                self._held[key] = held
                if not held:
                    del self._held[key]

    def _part(self, debit: Debit) -> Debit:
        counter, known = debit.counter, self._known.get(debit.counter.key)
        match counter:
            case RateCounter():
                amount, burst = max(1, counter.amount // self._alive), max(1, counter.burst // self._alive)
                part: Counter = attrs.evolve(counter, amount=amount, burst=burst)
                if known is not None:
                    self._counters.fill(counter, known.full - self._clock_offset)
            case SlotCounter():
                part = attrs.evolve(counter, most=min(counter.most, max(1, counter.most // self._alive)))
            case SumCounter():
                own = self._own.get(counter.key, 0)
                known = known or KnownState(counter)
                taken = max(own, known.held_amount) + known.used_amount + self._unconfirmed.get(counter.key, 0)
                part = attrs.evolve(counter, most=own + max(0, counter.most - taken) // self._alive, earlier=())
        return Debit(part, debit.amount)


def _shortage_of_whole(debit: Debit, short: Shortage) -> Shortage:
    """Return the shortage of a share as a shortage of the whole: the other shares count as used."""
    part, counter = short.debit.counter, debit.counter
    if isinstance(part, RateCounter) or isinstance(counter, RateCounter):
        return attrs.evolve(short, debit=debit)
    return Shortage(debit, short.wait, counter.most - part.most + short.used, short.held)
