"""Counters that several gateways share in a remote store.

One task sends steps for all requests of this process: each step is one round trip with all pending reservations and
settlements. Steps are numbered, and the store repeats its reply to a step that is sent again, so a lost reply does not
debit twice (BerriAI/litellm#30460). A store that has lost steps was emptied or restored: the task sends all open claims
and known sums again, which neither lowers nor doubles them (BerriAI/litellm#28247, #30684). Until all other processes
have done the same, amounts used since then are reserved instead of added, because raised sums would include them."""

import itertools
import logging
import os
import random
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import attrs
import trio

from gateway.counters.chosen import MOST_CHOSEN, ChosenInStore
from gateway.counters.counter import (
    MOST_TOTAL,
    Claim,
    Counter,
    Debit,
    Level,
    OnSettled,
    RateCounter,
    Shortage,
    SumCounter,
    bounded_amount,
)
from gateway.counters.counter_store import CounterStore, CounterStoreUnavailable, SendStep
from gateway.counters.delayed_amounts import DelayedAmounts
from gateway.counters.known_states import KnownState, KnownStates
from gateway.counters.notes import PER_STEP as NOTES_PER_STEP
from gateway.counters.notes import SharedNotes
from gateway.counters.refreshes import PER_STEP as REFRESHES_PER_STEP
from gateway.counters.refreshes import PendingRefreshes, StepRefreshes
from gateway.counters.share import Share
from gateway.counters.shortages import rate_shortage, room_shortage, shortage_of, unrefilled_units
from gateway.counters.steps import CountingStep, State, StepReply, decode_reply, encode_step, is_complete
from gateway.counters.unsent import UnsentCounts
from streams.surrogates import NOT_JSON

log = logging.getLogger("trigate.counters")

LEASE: Final = 30.0
"""Seconds after which a silent process counts as dead; processes send four times as often."""
LIMIT: Final = 0.25
"""Seconds that the first request waits, in addition to two round trips, before the store counts as unavailable."""
_SLICES: Final = 10
"""The parts of that limit. A part does not count more than its length, however late this process resumes."""
_CONNECT_TIMEOUT: Final = 3.0
"""Seconds to connect and for a step. No request waits for them: a slow step still ends the outage."""
_CONFIRM: Final = 1.0
"""Seconds to wait until the store confirms the amounts of lines of the ledger."""
_RESERVATIONS_PER_STEP: Final = 64
"""Reservations per step."""
_MOST_EARLIER_SUMS: Final = 10_000
"""Counters whose earlier sums are remembered."""
_FRESH: Final = 1.0
"""Seconds for which a known level proves that a counter is full."""
_REFRESH: Final = 5.0
"""Seconds between refreshes of a counter in use."""
_READ_NOTES: Final = 1.0
"""Seconds between steps that read the notes of other gateways, if nothing else is to send."""
_DELAYED_PER_STEP: Final = 200
"""Claims of delayed amounts that end in one step, because a store performs nothing else meanwhile."""


@attrs.define(eq=False, repr=False)
class _PendingReservation:
    """A reservation in transit. ``short`` is the store's reply; ``given_up`` means that no request waits for it."""

    claims: Sequence[Claim]
    names: tuple[str, ...]
    done: trio.Event = attrs.field(factory=trio.Event)
    short: Sequence[Shortage] | None = None
    given_up: bool = False


@attrs.define(eq=False, repr=False)
class _OpenClaim:
    """An open claim, and its name in the store."""

    claim: Claim
    name: str


@attrs.frozen(eq=False, repr=False)
class _Batch:
    """A sent step, with the reservations that wait for its reply."""

    step: CountingStep
    text: bytes
    waiting: Sequence[_PendingReservation]
    refreshes: StepRefreshes


class RemoteCounters:
    """Counters in ``store``.

    While it is unavailable, each gateway uses its share of the remaining amounts, or refuses. ``run`` must run while
    the counters are in use."""

    def __init__(
        self,
        store: CounterStore,
        when_down: Literal["share", "refuse"] = "share",
        *,
        lease: float = LEASE,
        limit: float = LIMIT,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        most_chosen: int = MOST_CHOSEN,
    ) -> None:
        self._store = store
        self._when_down = when_down
        self._lease = lease
        self._limit = limit
        self._round_trip = 0.0  # the shortest so far
        self._clock = clock
        self._callbacks: list[OnSettled] = []
        self.notes = SharedNotes(lambda: self._wake.set())
        self._has_unread_notes = False
        self._numbers = itertools.count(1)
        self._name = _new_name()
        self._former: list[str] = []
        self._step = 0
        self._joining = True
        self._sent: _Batch | None = None
        self._wake = trio.Event()
        self._leaving = False
        self._left = trio.Event()
        self._waiting: deque[_PendingReservation] = deque()
        self._open: dict[str, _OpenClaim] = {}
        self._unsent = UnsentCounts()
        self._delayed = DelayedAmounts()
        self._delays_until = 0.0
        self._in_transit: dict[bytes, tuple[Counter, int]] = {}  # amounts added and in transit
        self._known = KnownStates()
        self._refreshes = PendingRefreshes()
        self._earlier_sums: OrderedDict[bytes, tuple[float, Sequence[int]]] = OrderedDict()
        self._chosen = ChosenInStore(most_chosen, self.now)
        self._alive = 1
        # Seconds by which the store's Unix time is ahead of ``clock``; until it replies, that of ``wall``.
        self._clock_offset = wall() - clock()
        self._tried = trio.Event()  # set when the store has replied, or is unavailable
        self._share: Share | None = None  # set while the store is unavailable
        self._away_since = 0.0
        self._outage_reservations = 0

    @property
    def remote(self) -> "RemoteCounters":
        return self

    @property
    def is_away(self) -> bool:
        return self._share is not None

    def now(self) -> float:
        return self._clock() + self._clock_offset

    def state(self) -> Mapping[str, Any]:
        """Return the state of the connection for people: the store, and the number of processes that use it."""
        found = {"store": self._store.title, "state": "away" if self.is_away else "shared", "processes": self._alive}
        return {**found, "away_seconds": round(self._clock() - self._away_since, 1)} if self.is_away else found

    def take_outage_reservations(self) -> int:
        """Return how many reservations were decided without the store since the last call."""
        taken, self._outage_reservations = self._outage_reservations, 0
        return taken

    # For requests

    async def reserve(self, claims: Sequence[Claim]) -> Sequence[Shortage]:
        if short := self._chosen.shortages_of(claims):
            return short
        if self._share is not None:
            return await self._reserve_alone(claims)
        waiting = _PendingReservation(claims, tuple(str(next(self._numbers)) for _ in claims))
        self._waiting.append(waiting)
        self._wake.set()
        try:
            await self._wait_for(waiting.done)
        except trio.Cancelled:
            self._give_up(waiting)
            raise
        if waiting.short is None:
            self._give_up(waiting)
            self._start_outage(f"no response for {self._patience:.2g} s")
            return await self._reserve_alone(claims)
        return waiting.short

    def settle(self, claim: Claim, used: Sequence[int]) -> None:
        held = self._open.pop(claim.id, None)
        if held is None:
            return
        is_counted = self._share is None or self._share.was_reserved_before(claim)
        for debit, amount in zip(claim.debits, map(bounded_amount, used), strict=True):
            if isinstance(debit.counter, RateCounter):
                self._unsent.add(debit.counter, amount - debit.amount)
            elif isinstance(debit.counter, SumCounter):
                self._unsent.add(debit.counter, amount)
            if is_counted:
                self._known.release(debit)
        self._unsent.end(held.name, refund=False)
        self._refreshes.add(debit.counter for debit in claim.debits)
        if self._share is not None:
            self._share.settle(claim, used)
        self._wake.set()
        for callback in self._callbacks:
            callback(claim, used)

    def level(self, counter: Counter) -> Level:
        known = self._known.get(counter.key) or KnownState(counter)
        added = self._unconfirmed_amount(counter)
        if isinstance(counter, RateCounter):
            return Level(max(0, unrefilled_units(counter, known.full, self.now()) + added))
        alone = 0 if self._share is None else self._share.held_amount(counter)
        return Level(known.used_amount + added, known.held_amount + alone)

    async def refresh(self, counters: Sequence[Counter]) -> bool:
        if self.is_away:
            return False
        fresh = self._clock() - _FRESH
        wanted = [
            one for one in counters
            if (known := self._known.get(one.key)) is None
            or known.received_at < fresh
            or self._unconfirmed_amount(one)  # what others settle at the same time is in neither process's level
        ]  # fmt: skip
        return (not wanted or await self._await_refresh(wanted)) and not self.is_away and not self._delayed

    async def earlier_sums(self, counter: SumCounter) -> Sequence[int] | None:
        if (found := self._fresh_earlier_sums(counter)) is not None:
            return found
        if self.is_away:
            return None
        states = {key: self._known.get(key) for key in counter.earlier}
        known = [state.counter for state in states.values() if state is not None]
        new = [attrs.evolve(counter, key=key, earlier=()) for key, state in states.items() if state is None]
        if not await self._await_refresh((*known, *new)) or self.is_away:
            return None
        if (found := self._fresh_earlier_sums(counter)) is None:  # unless another request has read them meanwhile
            refreshed = map(self._known.get, counter.earlier)
            found = [0 if state is None else int(state.state[0]) for state in refreshed]
            for unused in new:  # they need no regular refreshes
                if (state := self._known.get(unused.key)) is not None and state.counter is unused:
                    self._known.forget(unused)
            self._earlier_sums[counter.key] = self._clock(), found
            if len(self._earlier_sums) > _MOST_EARLIER_SUMS:
                self._earlier_sums.popitem(last=False)
        return found

    async def _await_refresh(self, counters: Iterable[Counter]) -> bool:
        """Request the levels of ``counters``, and return whether they arrived in time."""
        self._refreshes.add(counters)
        refreshed = self._refreshes.event()
        self._wake.set()
        return await self._wait_for(refreshed)

    @property
    def _patience(self) -> float:
        """The limit with two round trips: a reservation may have to wait until a step in transit has returned."""
        return self._limit + 2 * self._round_trip

    async def _wait_for(self, event: trio.Event) -> bool:
        """Wait for ``event`` within the limit, and return whether it happened.

        The limit is divided, because a deadline would count the time for which this process did not run: the store
        would seem unavailable on a busy machine although its reply has arrived."""
        for _ in range(_SLICES):
            with trio.move_on_after(self._patience / _SLICES):
                await event.wait()
                break
        return event.is_set()

    async def read_notes(self) -> None:
        """Write this process's notes and read those of others, unless the store is unavailable or too slow."""
        if not self.is_away:
            await self._await_refresh(())

    async def wait_until_confirmed(self) -> None:
        with trio.move_on_after(_CONFIRM):
            while not (self.is_away or self._left.is_set() or await self._await_refresh(())):
                pass

    def _fresh_earlier_sums(self, counter: SumCounter) -> Sequence[int] | None:
        received_at, found = self._earlier_sums.get(counter.key, (0.0, None))
        return found if self._clock() - received_at < _FRESH else None

    def _unconfirmed_amount(self, counter: Counter) -> int:
        """Return the amount used of ``counter`` that the store has not confirmed."""
        found = (amounts.get(counter.key) for amounts in (self._unsent.added, self._in_transit, self._delayed.unseen))
        return sum(one[1] for one in found if one is not None)

    def shortage_for(self, debit: Debit) -> Shortage | None:
        counter = debit.counter
        known = self._known.get(counter.key) or KnownState(counter, received_at=self._clock())
        fresh = self._clock() - known.received_at < _FRESH and self._share is None
        if isinstance(counter, RateCounter):
            return rate_shortage(counter, debit, known.full, self.now()) if fresh else None
        short = room_shortage(debit, counter.most, known.used_amount, known.held_amount)
        return short if short is not None and (fresh or short.is_lasting) else None

    def raise_to(self, counter: SumCounter, used: int) -> None:
        later = self._unsent.added_amount(counter) + self._delayed.amount(counter.key)  # a step raises before it adds
        self._unsent.raise_to(counter, min(used, MOST_TOTAL) - later)
        self._wake.set()

    def on_settled(self, callback: OnSettled) -> None:
        self._callbacks.append(callback)

    # While the store is unavailable

    def _start_outage(self, why: str) -> None:
        if self._share is not None:
            return
        open = [one.claim for one in self._open.values()]
        used = {**self._in_transit, **self._unsent.added, **self._delayed.unseen}
        unconfirmed = {key: self._unconfirmed_amount(counter) for key, (counter, _) in used.items()}
        self._share = Share(self._alive, self._known, unconfirmed, self._clock_offset, open)
        self._away_since = self._clock()
        self._tried.set()
        instead = (
            "this process applies its share of each limit"
            if self._when_down == "share"
            else "requests with limits are rejected"
        )
        log.warning("the store of the shared counters (%s) is unavailable; %s: %s", self._store.title, instead, why)

    def _end_outage(self) -> None:
        if self._share is None:
            return
        self._share = None
        log.warning(
            "the store of the shared counters (%s) is available again after %.1f s; usage in the meantime is added",
            self._store.title, self._clock() - self._away_since,
        )  # fmt: skip

    async def _reserve_alone(self, claims: Sequence[Claim]) -> Sequence[Shortage]:
        """Reserve without the store."""
        assert self._share is not None
        self._outage_reservations += 1
        if self._when_down == "refuse":
            levels = [(debit, self.level(debit.counter)) for claim in claims for debit in claim.debits]
            return [Shortage(debit, 1.0, level.used, level.held, "store_away") for debit, level in levels]
        if short := await self._share.reserve(claims):
            return short
        for claim in claims:
            name = str(next(self._numbers))
            self._open[claim.id] = _OpenClaim(claim, name)
            self._unsent.held[name] = claim
            for debit in claim.debits:
                if isinstance(debit.counter, RateCounter):
                    self._unsent.add(debit.counter, debit.amount)
        return ()

    def _give_up(self, waiting: _PendingReservation) -> None:
        """Abandon a reservation that no request waits for, and return what it reserved."""
        waiting.given_up = True
        if waiting in self._waiting:
            self._waiting.remove(waiting)
        if waiting.short is not None and not waiting.short:
            for claim in waiting.claims:
                if (held := self._open.pop(claim.id, None)) is not None:
                    self._unsent.end(held.name, refund=True)
        self._wake.set()

    # The task that sends steps

    async def read_clock(self) -> None:
        """Wait until the store has replied or is unavailable, so that ``now`` is its time if it replies."""
        with trio.move_on_after(_CONNECT_TIMEOUT):
            await self._tried.wait()

    async def run(self) -> None:
        """Send steps to the store while the counters are in use. Never raises."""
        wait = 0.1
        while not self._leaving or not self.is_synced:
            try:
                with trio.CancelScope(deadline=trio.current_time() + _CONNECT_TIMEOUT) as scope:
                    async with self._store.connect() as send:
                        scope.deadline = float("inf")
                        wait = 0.1
                        await self._serve(send)
                        break
                raise CounterStoreUnavailable("it accepted no connection in time")
            except CounterStoreUnavailable as error:
                self._lose_connection(str(error))
            if self._leaving:
                break
            await trio.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(2 * wait, 2.0)
        self._left.set()

    async def finish(self) -> None:
        """Send what the store does not know yet, for at most one second, and sign this process off."""
        self._leaving = True
        self._wake.set()
        with trio.move_on_after(1.0, shield=True):
            await self._left.wait()

    @property
    def is_synced(self) -> bool:
        """Whether the store knows everything that happened here."""
        return not (self._has_news or self._delayed)

    @property
    def _has_news(self) -> bool:
        """True if this process has something to send to the store now."""
        is_due = self._delayed and self._clock() >= self._delays_until
        return bool(self._waiting or self._unsent or self._sent or is_due or self.notes or self._has_unread_notes)

    async def _serve(self, send: SendStep) -> None:
        """Send steps until this process stops. Raises ``CounterStoreUnavailable``."""
        lost = 0
        while True:
            if self._sent is None:
                if not self._has_news and not self._refreshes and not self._joining and not self._leaving:
                    pause = min(self._lease / 4, _REFRESH if self._known else self._lease)
                    pause = min(pause, _READ_NOTES) if self.notes.has_readers else pause
                    if self._delayed:
                        pause = min(pause, self._delays_until - self._clock())
                    with trio.move_on_after(max(pause, 0.0)):
                        await self._wake.wait()
                self._wake = trio.Event()
                self._sent = self._next_batch()
            batch = self._sent
            began = self._clock()
            data = await send(batch.text, max(_CONNECT_TIMEOUT, self._limit))
            took = self._clock() - began
            self._round_trip = min(self._round_trip or took, took)
            try:
                reply = decode_reply(data)
            except NOT_JSON:
                raise CounterStoreUnavailable("its responses are from another version of trigate") from None
            if not reply.lost and not is_complete(reply, batch.step):
                raise CounterStoreUnavailable("its responses are from another version of trigate")
            if reply.lost:
                lost += 1
                self._join_again(batch)
                if lost > 3:
                    raise CounterStoreUnavailable("it loses data")
                continue
            lost = 0
            self._process_reply(batch, reply)
            if batch.step.leaves:
                return

    def _next_batch(self) -> _Batch:
        """Return the next step with everything pending."""
        count = min(len(self._waiting), _RESERVATIONS_PER_STEP)
        waiting = [self._waiting.popleft() for _ in range(count)]
        self._delay_amounts()
        unsent, self._unsent = self._unsent, UnsentCounts()
        raised: list[tuple[Counter, float]] = [*unsent.raised.values()]
        holds, ended, joins = unsent.held, unsent.ended, self._joining
        if joins:
            holds = {held.name: held.claim for held in self._open.values()} | self._delayed.claims
            ended = {}  # an abandoned name releases everything it held
            raised += [(known.counter, known.state[0]) for known in self._known]
        self._refreshes.add(self._known.received_before(self._clock() - _REFRESH, self.now(), REFRESHES_PER_STEP))
        refreshes = self._refreshes.take()
        leaves = self._leaving and not self._waiting and not self._delayed  # open claims are released with the name
        step = CountingStep(
            name=self._name, number=self._step + 1, lease=self._lease, joins=joins, leaves=leaves,
            former=tuple(self._former) if joins else (), raised=raised, holds=holds, ended=ended,
            added=list(unsent.added.values()),
            reserved=[list(zip(one.names, one.claims, strict=True)) for one in waiting],
            looked=refreshes.counters,
            noted=self.notes.take(), read_to=self.notes.read_to,
        )  # fmt: skip
        self._in_transit = unsent.added
        return _Batch(step, encode_step(step), waiting, refreshes)

    def _delay_amounts(self) -> None:
        """Reserve the used amounts of sums instead of adding them, while other processes may raise these sums.

        Afterwards, add them and release what they have reserved."""
        if self._clock() >= self._delays_until or self._leaving:
            for claim in list(itertools.islice(self._delayed.claims.values(), _DELAYED_PER_STEP)):
                for seen in self._delayed.end(claim):
                    self._known.release(seen)
                for debit in claim.debits:
                    self._unsent.add(debit.counter, debit.amount)
                self._unsent.ended[claim.id] = False
            return
        if used := self._unsent.take_sums():
            name = str(next(self._numbers))
            self._unsent.held[name] = claim = Claim(name, tuple(Debit(*one) for one in used))
            self._delayed.add(claim)

    def _process_reply(self, batch: _Batch, reply: StepReply) -> None:
        self._sent = None
        self._in_transit = {}
        self._step = batch.step.number
        self._alive = max(1, reply.alive)
        self._clock_offset = reply.time - self._clock()
        self._tried.set()
        if batch.step.joins:
            self._joining = False
            self._former.clear()
        for (counter, _), state in zip(batch.step.added, reply.added, strict=True):
            self._update_known(counter, state)
        for waiting, (taken, states) in zip(batch.waiting, reply.reserved, strict=True):
            self._finish_reservation(waiting, bool(taken), states, reply.time)
        for counter, state in zip(batch.step.looked, reply.looked, strict=False):
            self._update_known(counter, state)
        self.notes.receive(reply.noted, reply.read_to)
        self._has_unread_notes = reply.read_to - batch.step.read_to >= NOTES_PER_STEP
        batch.refreshes.release()
        self._end_outage()

    def _finish_reservation(
        self, waiting: _PendingReservation, is_reserved: bool, states: Sequence[State], time: float
    ) -> None:
        debits = [debit for claim in waiting.claims for debit in claim.debits]
        for debit, state in zip(debits, states, strict=True):
            self._update_known(debit.counter, state)
        if waiting.given_up:
            if is_reserved:
                self._unsent.ended.update(dict.fromkeys(waiting.names, True))
            return
        if is_reserved:
            for claim, name in zip(waiting.claims, waiting.names, strict=True):
                self._open[claim.id] = _OpenClaim(claim, name)
            waiting.short = ()
        else:
            waiting.short = [
                found for debit, state in zip(debits, states, strict=True) if (found := shortage_of(debit, state, time))
            ]
        waiting.done.set()

    def _update_known(self, counter: Counter, state: State) -> None:
        self._delayed.see(counter.key)
        unused = state[0] <= (self.now() if isinstance(counter, RateCounter) else 0)
        if unused and not any(state[1:]):
            self._known.forget(counter)
        else:
            self._known.note(KnownState(counter, state, self._clock()))

    def _join_again(self, batch: _Batch) -> None:
        """Join the store under a new name after it lost steps, and send everything again.

        That includes the last step sent, because no reply covered it."""
        log.warning(
            "the store of the shared counters (%s) lost data; the gateway sends its own counts again", self._store.title
        )
        if self._alive > 1 or self._clock() < self._delays_until:
            # Connected processes send a step within a quarter of the lease; a process that reconnects later than this
            # may still swallow charges.
            self._delays_until = self._clock() + self._lease / 3
        self._former.append(self._name)
        self._name, self._step, self._joining, self._sent = _new_name(), 0, True, None
        self._in_transit = {}
        for counter, amount in batch.step.added:
            self._unsent.add(counter, amount)
        for counter, value in batch.step.raised:
            if isinstance(counter, SumCounter):
                self._unsent.raise_to(counter, int(value))
        for waiting in reversed(batch.waiting):
            if not waiting.given_up:
                self._waiting.appendleft(waiting)
        self._refreshes.put_back(batch.refreshes)
        self.notes.read_again(batch.step.noted)
        self._unsent.held.clear()  # joining sends all open claims

    def _lose_connection(self, why: str) -> None:
        """Handle a lost connection. The next connection repeats the sent step; waiting requests are decided without
        it."""
        self._start_outage(why)
        if self._sent is not None:
            self._sent.refreshes.release()
        everybody = (*(self._sent.waiting if self._sent is not None else ()), *self._waiting)
        self._waiting.clear()
        self._refreshes.release()
        for waiting in everybody:
            waiting.given_up = True
            waiting.done.set()


def _new_name() -> str:
    """Return a name that no other process has or had."""
    return os.urandom(8).hex()
