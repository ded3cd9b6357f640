"""Counters that several gateways share, in a store that is asked over a connection.

One task asks, for all requests of this process: each step takes along whatever has come up meanwhile, reservations and
settlements, and is one round trip. Steps are numbered, and the store does each once and answers it again if it is sent
again: so a step whose answer was lost debits once (BerriAI/litellm#30460). A store that has lost steps of ours has come
back empty or old: it is told anew what is held and how far each sum had come, which lowers and doubles nothing
(BerriAI/litellm#28247, #30684).
"""

import itertools
import logging
import os
import random
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Literal, Protocol, TypeAlias

import attrs
import msgspec
import trio

from gateway.counters.counter import (
    Claim,
    Counter,
    Debit,
    Level,
    RateCounter,
    Shortage,
    SumCounter,
    Tell,
)
from gateway.counters.looks import AT_ONCE as LOOKS_AT_ONCE
from gateway.counters.looks import PendingLooks, StepLooks
from gateway.counters.share import Known, Share
from gateway.counters.shortages import level_of, rate_shortage, room_shortage, shortage_of
from gateway.counters.steps import CountingStep, State, StepReply, answers, decoded, encoded

log = logging.getLogger("trigate.counters")

LEASE: Final = 30.0
"""Seconds after which a process that says nothing counts as dead; it says something four times as often."""
LIMIT: Final = 0.25
"""Seconds that a request waits for the store, once: then it is away."""
_PATIENCE: Final = 3.0
"""Seconds for a connection, and for the first step on it: no request waits for them."""
_AT_ONCE: Final = 64
"""Reservations in one step."""
_REMEMBERED: Final = 10_000
"""Counters of which it is remembered how far they had come."""
_FRESH: Final = 1.0
"""Seconds for which what was heard of a counter still says that it is full."""
_REFRESH: Final = 5.0
"""Seconds after which a counter that is in use is looked at again."""

AskStore: TypeAlias = Callable[[bytes, float], Awaitable[bytes]]
"""Ask for a step, and wait for so many seconds at most."""


class StoreAway(Exception):
    """The store cannot be reached, or does not do what it is asked. The words are for the operator: without secrets."""


class CounterStore(Protocol):
    """A store that does steps, each at once and one after the other."""

    @property
    def title(self) -> str:
        """What it is called in the log."""
        ...

    def connect(self) -> AbstractAsyncContextManager[AskStore]:
        """A connection. Raises ``StoreAway``, as asking does; a step that is cancelled may have been done."""
        ...


@attrs.define(eq=False)
class _Waiting:
    """A reservation on its way. ``short`` is the store's answer; ``given_up``: nobody waits for that any longer."""

    claims: Sequence[Claim]
    names: tuple[str, ...]
    done: trio.Event = attrs.field(factory=trio.Event)
    short: Sequence[Shortage] | None = None
    given_up: bool = False


@attrs.define(eq=False)
class _Open:
    """A claim that is not settled, and the name under which the store knows it."""

    claim: Claim
    name: str


@attrs.frozen(eq=False)
class _Batch:
    """A step with those who wait for its answer, as it was sent."""

    step: CountingStep
    text: bytes
    waiting: Sequence[_Waiting]
    looks: StepLooks


class RemoteCounters:
    """Counters in ``store``. While that is away each gateway goes on with its share of what was left, or refuses.
    ``run`` has to run as long as it is used."""

    def __init__(
        self,
        store: CounterStore,
        when_down: Literal["share", "refuse"] = "share",
        *,
        lease: float = LEASE,
        limit: float = LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._when_down = when_down
        self._lease = lease
        self._limit = limit
        self._clock = clock
        self._tell: list[Tell] = []
        self._numbers = itertools.count(1)
        self._name = _new_name()
        self._former: list[str] = []
        self._step = 0
        self._joining = True
        self._sent: _Batch | None = None
        self._wake = trio.Event()
        self._leaving = False
        self._left = trio.Event()
        self._waiting: deque[_Waiting] = deque()
        self._open: dict[str, _Open] = {}
        self._unknown: dict[str, Claim] = {}  # what is held and the store does not know of, by names
        self._ended: dict[str, bool] = {}  # names of what is not held any longer; true: not even its rates were used
        self._added: dict[bytes, tuple[Counter, int]] = {}
        self._telling: dict[bytes, tuple[Counter, int]] = {}  # what was added and is on its way
        self._raised: dict[bytes, tuple[SumCounter, int]] = {}
        self._known: OrderedDict[bytes, Known] = OrderedDict()
        self._looks = PendingLooks()
        self._alive = 1
        self._ahead = 0.0  # seconds by which the store's clock is ahead of ours
        self._share: Share | None = None  # there while the store is away
        self._away_since = 0.0
        self._alone = 0

    @property
    def is_away(self) -> bool:
        return self._share is not None

    def state(self) -> Mapping[str, Any]:
        """For people: where is counted, and how many processes do so."""
        found = {"store": self._store.title, "state": "away" if self.is_away else "shared", "processes": self._alive}
        return {**found, "away_seconds": round(self._clock() - self._away_since, 1)} if self.is_away else found

    def take_alone(self) -> int:
        """How many reservations have been decided without the store since the last time."""
        taken, self._alone = self._alone, 0
        return taken

    # What requests do

    async def reserve(self, claims: Sequence[Claim]) -> Sequence[Shortage]:
        if self._share is not None:
            return await self._decide(claims)
        waiting = _Waiting(claims, tuple(str(next(self._numbers)) for _ in claims))
        self._waiting.append(waiting)
        self._wake.set()
        try:
            with trio.move_on_after(self._limit):
                await waiting.done.wait()
        except trio.Cancelled:
            self._give_up(waiting)
            raise
        if waiting.short is None:
            self._give_up(waiting)
            self._go_alone(f"no answer for {self._limit:g} s")
            return await self._decide(claims)
        return waiting.short

    def settle(self, claim: Claim, used: Sequence[int]) -> None:
        held = self._open.pop(claim.id, None)
        if held is None:
            return
        is_counted = self._share is None or self._share.was_open(claim)
        for debit, amount in zip(claim.debits, used, strict=True):
            if isinstance(debit.counter, RateCounter):
                self._add(debit.counter, amount - debit.amount)
            elif isinstance(debit.counter, SumCounter):
                self._add(debit.counter, amount)
            if is_counted and (known := self._known.get(debit.counter.key)) is not None:
                self._known[debit.counter.key] = known.without(debit.amount)
        self._end(held, refund=False)
        self._looks.want(debit.counter for debit in claim.debits)
        if self._share is not None:
            self._share.settle(claim, used)
        self._wake.set()
        for tell in self._tell:
            tell(claim)

    def level(self, counter: Counter) -> Level:
        known = self._known.get(counter.key) or Known(counter)
        added = self._untold(counter)
        if isinstance(counter, RateCounter):
            return Level(max(0, level_of(counter, known.full, self._now()) + added))
        alone = 0 if self._share is None else self._share.held(counter)
        return Level(known.used + added, known.held + alone)

    async def look(self, counters: Sequence[Counter]) -> None:
        fresh = self._clock() - _FRESH
        wanted = [one for one in counters if (known := self._known.get(one.key)) is None or known.heard < fresh]
        if not wanted or self.is_away:
            return
        self._looks.want(wanted)
        heard = self._looks.event()
        self._wake.set()
        with trio.move_on_after(self._limit):
            await heard.wait()

    def _untold(self, counter: Counter) -> int:
        """What was used of it and the store has not confirmed."""
        return sum(found[counter.key][1] for found in (self._added, self._telling) if counter.key in found)

    def room(self, debit: Debit) -> Shortage | None:
        counter = debit.counter
        known = self._known.get(counter.key) or Known(counter, heard=self._clock())
        fresh = self._clock() - known.heard < _FRESH and self._share is None
        if isinstance(counter, RateCounter):
            return rate_shortage(counter, debit, known.full, self._now()) if fresh else None
        short = room_shortage(debit, counter.most, known.used, known.held)
        return short if short is not None and (fresh or short.is_lasting) else None

    def raise_to(self, counter: SumCounter, used: int) -> None:
        _, before = self._raised.get(counter.key, (counter, 0))
        _, added = self._added.get(counter.key, (counter, 0))  # a step raises first
        self._raised[counter.key] = counter, max(before, used - added)
        self._wake.set()

    def on_settled(self, tell: Tell) -> None:
        self._tell.append(tell)

    # While the store is away

    def _go_alone(self, why: str) -> None:
        if self._share is not None:
            return
        open = [one.claim for one in self._open.values()]
        untold = {key: self._untold(counter) for key, (counter, _) in {**self._telling, **self._added}.items()}
        self._share = Share(self._alive, self._known, untold, self._ahead, open)
        self._away_since = self._clock()
        instead = (
            "limits are held by this process' share" if self._when_down == "share" else "what is limited is refused"
        )
        log.warning("the shared counters (%s) are away, %s: %s", self._store.title, instead, why)

    def _come_back(self) -> None:
        if self._share is None:
            return
        self._share = None
        log.warning(
            "the shared counters (%s) are back after %.1f s; what was used meanwhile is added",
            self._store.title, self._clock() - self._away_since,
        )  # fmt: skip

    async def _decide(self, claims: Sequence[Claim]) -> Sequence[Shortage]:
        """Reserve without the store."""
        assert self._share is not None
        self._alone += 1
        if self._when_down == "refuse":
            debits = (debit for claim in claims for debit in claim.debits)
            return [Shortage(debit, 1.0, *self._counted(debit.counter), "store_away") for debit in debits]
        if short := await self._share.reserve(claims):
            return short
        for claim in claims:
            name = str(next(self._numbers))
            self._open[claim.id] = _Open(claim, name)
            self._unknown[name] = claim
            for debit in claim.debits:
                if isinstance(debit.counter, RateCounter):
                    self._add(debit.counter, debit.amount)
        return ()

    def _counted(self, counter: Counter) -> tuple[int, int]:
        level = self.level(counter)
        return level.used, level.held

    def _add(self, counter: Counter, amount: int) -> None:
        if amount:
            _, before = self._added.get(counter.key, (counter, 0))
            self._added[counter.key] = counter, before + amount

    def _end(self, held: _Open, *, refund: bool) -> None:
        if self._unknown.pop(held.name, None) is None:
            self._ended[held.name] = refund

    def _give_up(self, waiting: _Waiting) -> None:
        """Nobody waits for its answer: what it takes goes back."""
        waiting.given_up = True
        if waiting in self._waiting:
            self._waiting.remove(waiting)
        if waiting.short is not None and not waiting.short:
            for claim in waiting.claims:
                if (held := self._open.pop(claim.id, None)) is not None:
                    self._end(held, refund=True)
        self._wake.set()

    # The task that asks

    async def run(self) -> None:
        """Ask the store, as long as this process counts. Never raises."""
        wait = 0.1
        while not self._leaving or self._has_news():
            try:
                with trio.CancelScope(deadline=trio.current_time() + _PATIENCE) as scope:
                    async with self._store.connect() as ask:
                        scope.deadline = float("inf")
                        wait = 0.1
                        await self._serve(ask)
                        break
                raise StoreAway("no connection in time")
            except StoreAway as error:
                self._lose(str(error))
            if self._leaving:
                break
            await trio.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(2 * wait, 2.0)
        self._left.set()

    async def finish(self) -> None:
        """Tell the store what it does not know yet, for a second at most, and that this process is going."""
        self._leaving = True
        self._wake.set()
        with trio.move_on_after(1.0, shield=True):
            await self._left.wait()

    @property
    def has_told_all(self) -> bool:
        """Whether the store knows of all that has happened here."""
        return not self._has_news()

    def _has_news(self) -> bool:
        return bool(self._waiting or self._added or self._ended or self._unknown or self._raised or self._sent)

    async def _serve(self, ask: AskStore) -> None:
        """Ask until this process goes. Raises ``StoreAway``."""
        lost = 0
        while True:
            if self._sent is None:
                if not self._has_news() and not self._looks and not self._joining and not self._leaving:
                    with trio.move_on_after(min(self._lease / 4, _REFRESH if self._known else self._lease)):
                        await self._wake.wait()
                self._wake = trio.Event()
                self._sent = self._next()
            batch = self._sent
            nobody_waits = self._share is not None or batch.step.joins
            said = await ask(batch.text, max(_PATIENCE, self._limit) if nobody_waits else self._limit)
            try:
                reply = decoded(said)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                raise StoreAway("its answers are another version's") from None
            if not reply.lost and not answers(reply, batch.step):
                raise StoreAway("its answers are another version's")
            if reply.lost:
                lost += 1
                self._join_again(batch)
                if lost > 3:
                    raise StoreAway("it forgets what it was told")
                continue
            lost = 0
            self._hear(batch, reply)
            if batch.step.leaves:
                return

    def _next(self) -> _Batch:
        """The next step, with all that has come up."""
        count = min(len(self._waiting), _AT_ONCE)
        waiting = [self._waiting.popleft() for _ in range(count)]
        joins = self._joining
        if joins:
            holds = {held.name: held.claim for held in self._open.values()}
            self._ended.clear()  # of a name that is given up with all that is held under it
        else:
            holds = self._unknown
        raised: list[tuple[Counter, float]] = [*self._raised.values()]
        if joins:
            raised += [(known.counter, known.state[0]) for known in self._known.values()]
        self._looks.want(self._stale())
        looks = self._looks.take()
        leaves = self._leaving and not self._waiting  # what is open goes back with its name
        step = CountingStep(
            name=self._name, number=self._step + 1, lease=self._lease, joins=joins, leaves=leaves,
            former=tuple(self._former) if joins else (), raised=raised, holds=holds, ended=self._ended,
            added=list(self._added.values()),
            reserved=[list(zip(one.names, one.claims, strict=True)) for one in waiting],
            looked=looks.counters,
        )  # fmt: skip
        self._telling = self._added
        self._unknown, self._ended, self._added, self._raised = {}, {}, {}, {}
        return _Batch(step, encoded(step), waiting, looks)

    def _stale(self) -> list[Counter]:
        """Return counters of which nothing was heard for a while, and forget those whose period is over."""
        limit, now = self._clock() - _REFRESH, self._now()
        unheard = itertools.takewhile(lambda one: one.heard < limit, self._known.values())
        stale = list(itertools.islice(unheard, LOOKS_AT_ONCE))
        for one in stale:
            if isinstance(one.counter, SumCounter) and one.counter.until <= now:
                del self._known[one.counter.key]
        return [one.counter for one in stale if one.counter.key in self._known]

    def _hear(self, batch: _Batch, reply: StepReply) -> None:
        """Take in the answer to a step."""
        self._sent = None
        self._telling = {}
        self._step = batch.step.number
        self._alive = max(1, reply.alive)
        self._ahead = reply.time - self._clock()
        if batch.step.joins:
            self._joining = False
            self._former.clear()
        for (counter, _), state in zip(batch.step.added, reply.added, strict=True):
            self._know(counter, state)
        for waiting, (taken, states) in zip(batch.waiting, reply.reserved, strict=True):
            self._answer(waiting, bool(taken), states, reply.time)
        for counter, state in zip(batch.step.looked, reply.looked, strict=False):
            self._know(counter, state)
        batch.looks.release()
        self._come_back()

    def _answer(self, waiting: _Waiting, taken: bool, states: Sequence[State], time: float) -> None:
        debits = [debit for claim in waiting.claims for debit in claim.debits]
        for debit, state in zip(debits, states, strict=True):
            self._know(debit.counter, state)
        if waiting.given_up:
            if taken:
                self._ended.update(dict.fromkeys(waiting.names, True))
            return
        if taken:
            for claim, name in zip(waiting.claims, waiting.names, strict=True):
                self._open[claim.id] = _Open(claim, name)
            waiting.short = ()
        else:
            waiting.short = [
                found for debit, state in zip(debits, states, strict=True) if (found := shortage_of(debit, state, time))
            ]
        waiting.done.set()

    def _know(self, counter: Counter, state: State) -> None:
        unused = state[0] <= (self._now() if isinstance(counter, RateCounter) else 0)
        if unused and not any(state[1:]):
            self._known.pop(counter.key, None)
            return
        self._known[counter.key] = Known(counter, state, self._clock())
        self._known.move_to_end(counter.key)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _join_again(self, batch: _Batch) -> None:
        """The store has lost steps of ours: under another name it is told anew what there is. What was sent last is
        told again, too: it was in none of the answers."""
        log.warning("the shared counters (%s) have lost what they were told; they are told again", self._store.title)
        self._former.append(self._name)
        self._name, self._step, self._joining, self._sent = _new_name(), 0, True, None
        self._telling = {}
        for counter, amount in batch.step.added:
            self._add(counter, amount)
        for counter, value in batch.step.raised:
            if isinstance(counter, SumCounter):
                _, before = self._raised.get(counter.key, (counter, 0))
                self._raised[counter.key] = counter, max(before, int(value))
        for waiting in reversed(batch.waiting):
            if not waiting.given_up:
                self._waiting.appendleft(waiting)
        self._looks.put_back(batch.looks)
        self._unknown.clear()  # a join tells of all that is open

    def _lose(self, why: str) -> None:
        """The connection is lost. The step that was sent is sent again on the next one: whoever waits does not."""
        self._go_alone(why)
        if self._sent is not None:
            self._sent.looks.release()
        everybody = (*(self._sent.waiting if self._sent is not None else ()), *self._waiting)
        self._waiting.clear()
        self._looks.release()
        for waiting in everybody:
            waiting.given_up = True
            waiting.done.set()

    def _now(self) -> float:
        return self._clock() + self._ahead


def _new_name() -> str:
    """A name that no other process has, nor has had."""
    return os.urandom(8).hex()
