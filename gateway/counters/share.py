"""What one of several gateways may use while the store that they share is away: its part of what was left."""

from collections.abc import Mapping, Sequence

import attrs

from gateway.counters.counter import Claim, Counter, Debit, RateCounter, Shortage, SlotCounter, SumCounter
from gateway.counters.memory import LocalCounters
from gateway.counters.steps import State


@attrs.frozen
class Known:
    """What was last heard of ``counter``, at the moment ``heard`` by our clock."""

    counter: Counter
    state: State = (0, 0, 0, 0)
    heard: float = 0.0

    def without(self, held: int) -> "Known":
        """After the end of a claim that has ``held`` so much."""
        value, before, *earlier = self.state
        return attrs.evolve(self, state=(value, max(0, before - held), earlier[0], earlier[1]))

    @property
    def full(self) -> float:
        """Of a rate."""
        return self.state[0]

    @property
    def used(self) -> int:
        """Of a sum, with what earlier slices have used."""
        return int(self.state[0]) + self.state[2]

    @property
    def held(self) -> int:
        return self.state[1] + self.state[3]


class Share:
    """The share of one of ``alive`` processes, of what ``known`` says is left, without what this process has used and
    not told (``untold``); ``ahead`` are the seconds by which the store's clock is. ``open`` are claims of its own that
    are not settled."""

    def __init__(
        self,
        alive: int,
        known: Mapping[bytes, Known],
        untold: Mapping[bytes, int],
        ahead: float,
        open: Sequence[Claim],
    ) -> None:
        self._alive = alive
        self._known = known
        self._untold = untold
        self._counters = LocalCounters()
        self._ahead = ahead
        self._own: dict[bytes, int] = {}
        self._claims: dict[str, Claim] = {}
        self._before = frozenset(claim.id for claim in open)
        self._held: dict[bytes, int] = {}  # by claims that came since
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
        return [_of_whole(whole[one.debit.counter.key], one) for one in short]

    def settle(self, claim: Claim, used: Sequence[int]) -> None:
        """End a claim; those that were reserved before have no rates here."""
        part = self._claims.pop(claim.id, None)
        if part is not None:
            amounts = {debit.counter.key: amount for debit, amount in zip(claim.debits, used, strict=True)}
            self._counters.settle(part, [amounts[debit.counter.key] for debit in part.debits])
            if not self.was_open(claim):
                self._hold(claim, -1)

    def was_open(self, claim: Claim) -> bool:
        """Whether it was reserved before: the store has counted what it holds."""
        return claim.id in self._before

    def held(self, counter: Counter) -> int:
        """What is held of it by claims that were reserved since."""
        return self._held.get(counter.key, 0)

    def _hold(self, claim: Claim, times: int) -> None:
        for debit in claim.debits:
            if not isinstance(debit.counter, RateCounter):
                key, held = debit.counter.key, self.held(debit.counter) + times * debit.amount
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
                    self._counters.fill(counter, known.full - self._ahead)
            case SlotCounter():
                part = attrs.evolve(counter, most=min(counter.most, max(1, counter.most // self._alive)))
            case SumCounter():
                own = self._own.get(counter.key, 0)
                known = known or Known(counter)
                taken = max(own, known.held) + known.used + self._untold.get(counter.key, 0)
                part = attrs.evolve(counter, most=own + max(0, counter.most - taken) // self._alive, earlier=())
        return Debit(part, debit.amount)


def _of_whole(debit: Debit, short: Shortage) -> Shortage:
    """The shortage of a part, as one of the whole: what is not this part's is used."""
    part, counter = short.debit.counter, debit.counter
    if isinstance(part, RateCounter) or isinstance(counter, RateCounter):
        return attrs.evolve(short, debit=debit)
    return Shortage(debit, short.wait, counter.most - part.most + short.used, short.held)
