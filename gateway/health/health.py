"""The health of all targets: which are unavailable and until when, and the budget for additional requests.

A place (endpoint, credential and model) has a ``Circuit`` in a table. Its account (endpoint and credential) has another
one for what all its models share: an exhausted quota, a rejected credential.
"""

import enum
import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs
import trio

from gateway.config.attempts import CircuitSettings, Retries
from gateway.config.settings import Config
from gateway.health.circuit import (
    STEP,
    Circuit,
    Failure,
    Standing,
    after_failure,
    after_good,
    first_trial,
    is_shut,
    is_tried,
    is_unsteady,
    left_by,
    let_in,
    process_of,
    reopened,
    standing,
    with_counts,
    with_trial,
    without_trial,
)
from gateway.health.probes import Prober, probes_of
from gateway.health.retry_budget import RetryBudget
from gateway.health.states import KEPT, OwnStates, States
from gateway.health.transitions import TransitionLog, utc
from gateway.routing.identity import Identity
from gateway.routing.plan import Outage
from gateway.routing.target import Target
from streams.events import UNAVAILABLE, ErrorInfo, FailureReason

MOST_TOLD: Final = 1024
"""Places whose told limits are remembered, the latest of them."""


class ToldLimits:
    """The places that are going to refuse the next request, by their own account, by ``clock`` (seconds). It is the
    time until a limit is full again that is told, and it is less than that until one request passes: so they are
    passed over, but not refused."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.places: dict[bytes, Outage] = {}

    def heard(self, place: bytes, told: tuple[FailureReason, float] | None) -> None:
        """A good answer of ``place`` has told that of its limits."""
        self.places.pop(place, None)
        if told is not None:
            reason, wait = told
            self.places[place] = Outage(reason, self._clock() + wait)
            if len(self.places) > MOST_TOLD:
                del self.places[next(iter(self.places))]

    def outage(self, place: bytes) -> Outage | None:
        """Why ``place`` is better passed over now."""
        found = self.places.get(place)
        if found is not None and found.until <= self._clock():
            del self.places[place]
            return None
        return found


OF_THE_ACCOUNT: Final[frozenset[FailureReason]] = frozenset(("quota", "credential"))
"""The reasons that say something about all models of a credential (openclaw/openclaw#30030)."""


@attrs.frozen
class TargetState:
    """The state of a target for operators: the names of its entry and of itself, why it is unavailable, and for how
    many more ``seconds``. ``key`` is its place's."""

    entry: str
    target: str
    state: Standing
    reason: FailureReason | None = None
    seconds: float = 0.0
    key: bytes = b""

    def fields(self, at: float) -> dict[str, Any]:
        """Return the state for JSON, at a Unix time in seconds."""
        if self.state == "in":
            return {"target": self.target, "state": self.state}
        until = utc(at + self.seconds)
        return {"target": self.target, "state": self.state, "reason": self.reason, "until": until,
                "seconds": round(self.seconds, 1)}  # fmt: skip


class MetPlace:
    """A place that this process has sent requests to: its names, the good answers that its circuit does not have yet,
    and the attempt whose answer began last."""

    def __init__(self, entry: str, name: str, identity: Identity, probe: bytes | None, budget: RetryBudget) -> None:
        self.entry = entry
        self.name = name
        self.key = identity.place
        self.account = identity.account
        self.keys = (identity.place, identity.account) if probe is None else (identity.place, identity.account, probe)
        self.budget = budget
        self.good = 0
        self.told_at = 0.0
        self.latest: OpenAttempt | None = None


class _Phase(enum.Enum):
    SENT = "sent"
    BEGUN = "begun"
    FAILED = "failed"
    CLOSED = "closed"


class OpenAttempt:
    """A request to a target, from its start to the last byte of its answer. Its owner calls ``began`` and ``failed`` as
    that happens, and ``close`` once at the end. An attempt that is closed without either says nothing about its
    target: the client left, or the request was wrong. ``overtaken``: another request became the trial of the target
    first."""

    def __init__(self, health: "Health", target: Target, place: MetPlace, sent: float) -> None:
        self.target = target
        self.place = place
        self.sent = sent
        self.trial = 0
        self.overtaken = False
        self.phase = _Phase.SENT
        self.before: Circuit | None = None  # the circuit that its good answer has closed
        self._health = health

    def began(self) -> None:
        """Note that the first content has arrived, or a whole answer."""
        if self.phase is _Phase.SENT:
            self.phase = _Phase.BEGUN
            self._health._began(self)

    def failed(self, failed: ErrorInfo) -> None:
        """Note that the provider failed, before the first content or after it. Only reasons of ``UNAVAILABLE`` count,
        and no credential of the client's own."""
        reason = failed.reason
        if reason not in UNAVAILABLE or self.phase in (_Phase.FAILED, _Phase.CLOSED):
            return
        if reason == "credential" and self.target.entry.passthrough_auth:
            return
        self._health._failed(self, reason, failed)
        self.phase = _Phase.FAILED

    def close(self) -> None:
        """End the attempt."""
        if self.trial:
            self._health._give_back(self)
        self.phase = _Phase.CLOSED


class Health:
    """The health of all targets, by ``clock`` (seconds). Used from the trio thread only."""

    def __init__(
        self,
        clock: Callable[[], float] = trio.current_time,
        states: States | None = None,
        workers: int = 1,
    ) -> None:
        """``workers`` is the number of processes that share ``states``."""
        self.clock = clock
        self.told = ToldLimits(clock)
        self.transitions = TransitionLog()
        self._states: States = states or OwnStates()
        self._get = self._states.get
        self._workers = workers
        self._process = os.getpid()
        self._trials: Iterator[int] = itertools.count(first_trial(self._process))
        self._circuit = CircuitSettings()
        self._retries = Retries()
        self._entries: dict[str, Identity] = {}
        self._accounts: dict[bytes, list[str]] = {}
        self._places: dict[bytes, MetPlace] = {}
        self._budgets: dict[str, RetryBudget] = {}
        self._troubled: dict[bytes, None] = {}  # keys of circuits of which this process has seen a failure
        self.prober = Prober(self._states, clock, self.transitions)
        self._probes: Mapping[str, bytes] = {}  # the keys of the circuits of those that are probed, by endpoint

    def follow(self, config: Config) -> None:
        """Apply the settings of ``config``. Targets that it has, too, keep their state; but outages that only people
        can fix are tried again immediately."""
        again = bool(self._entries)
        self._circuit, self._retries = config.circuit, config.retries or Retries()
        self._entries = {entry.name: Identity.of(entry, entry.model) for entry in config.entries}
        self._accounts = {}
        for name, identity in self._entries.items():
            self._accounts.setdefault(identity.account, []).append(name)
        self._places.clear()  # with them their names; what they have not told yet is of a few seconds
        endpoints = {identity.endpoint for identity in self._entries.values()}
        self._budgets = {name: budget for name, budget in self._budgets.items() if name in endpoints}
        self.prober.probes = probes_of(config)
        self._probes = {endpoint: probe.key for endpoint, probe in self.prober.probes.items()}
        keys = {key for one in self._entries.values() for key in (one.account, one.place)}
        self._states.name({*keys, *self._probes.values()})
        if again:
            self._let_in(keys)

    def _let_in(self, keys: set[bytes]) -> None:
        known = [key for key in keys if (row := self._get(key)) is not None and row.reason is not None]
        if known:
            now = self.clock()
            for key in known:
                self._states.update(key, lambda circuit: let_in(circuit, now))

    # What a policy asks

    def outage(self, target: Target, credential: str | None, *, alone: bool = False) -> Outage | None:
        """Return why ``target`` should not get a request now; ``credential`` is the client's own, if it is passed on.
        ``alone``: no other target is left, so that it gets one whenever that may help.

        The next request for which ``begin`` is called is the trial of a target whose time is over: a caller that waits
        after ``None`` calls this again before."""
        identity = target.identity
        if target.entry.passthrough_auth:
            identity = identity.with_credential(credential)
        place, account = self._get(identity.place), self._get(identity.account)
        if (account is None or account.reason is None) and (place is None or place.reason is None) and not self._probes:
            return None
        if alone:
            return self._shut(identity)
        known = self._known(self._keys(identity))
        return self._outage(known, target.entry.circuit or self._circuit) if known else None

    def _keys(self, identity: Identity) -> tuple[bytes, ...]:
        """Return the keys of a place's circuits: its own, its account's, and that of its server if it is probed."""
        probe = self._probes.get(identity.endpoint)
        return (identity.place, identity.account) if probe is None else (identity.place, identity.account, probe)

    def _known(self, keys: tuple[bytes, ...]) -> list[tuple[bytes, Circuit]]:
        """Return the circuits that are not closed."""
        return [(key, row) for key in keys if (row := self._get(key)) is not None and row.reason is not None]

    def _outage(self, known: list[tuple[bytes, Circuit]], settings: CircuitSettings) -> Outage | None:
        """Return the outage of the circuit that is unavailable for the longest time, or that has a trial."""
        now = self.clock()
        known = [(key, self._without_the_dead(key, row)) for key, row in known]
        found = [(standing(row, now), key, row) for key, row in known]
        out = [(key, row) for state, key, row in found if state == "out"]
        out = out or [(key, row) for state, key, row in found if state == "tried"]
        if not out:
            return None
        _, row = max(out, key=lambda pair: pair[1].until)
        assert row.reason is not None
        unsteady = all(is_unsteady(row, now, settings) for _, row in out)
        return Outage(row.reason, row.until, tried=is_tried(row, now), unsteady=unsteady)

    def _without_the_dead(self, key: bytes, row: Circuit) -> Circuit:
        """Return ``row`` without the trial of a worker that died."""
        process = process_of(row.trial)
        if not row.trial or process == self._process or _is_alive(process):
            return row
        return self._states.update(key, lambda circuit: left_by(circuit, process))[1]

    def _shut(self, identity: Identity) -> Outage | None:
        """Return the outage of a provider's ``retry-after``, or after a rejected credential."""
        now = self.clock()
        for key, row in self._known((identity.place, identity.account)):
            if is_shut(row, now):
                reason: FailureReason = "credential" if key == identity.account else "rate_limited"
                return Outage(reason, row.shut, tried=is_tried(row, now))
        return None

    def may_add(self, target: Target) -> bool:
        """Return whether the retry budget allows an additional request: a retry, a fallback or a hedge."""
        share = (target.entry.retries or self._retries).budget
        return self._budget(target.identity.endpoint).may_add(self.clock(), share)

    # What happens

    def begin(self, target: Target, credential: str | None, *, added: bool) -> OpenAttempt:
        """Begin a request to ``target``, ``added`` to those of clients or not. If the target is unavailable or due, and
        no other request is its trial, this one is: a request that waits until a target is due begins before it
        waits."""
        identity = target.identity
        if target.entry.passthrough_auth:
            identity = identity.with_credential(credential)
        place = self._places.get(identity.place) or self._meet(target, identity)
        now = self.clock()
        if added:
            place.budget.added(now)
        else:
            place.budget.brought(now)
        attempt = OpenAttempt(self, target, place, now)
        for key in place.keys:
            if (row := self._get(key)) is not None and row.reason is not None:
                self._try(attempt, key, now)
        return attempt

    def wait(self, attempt: OpenAttempt) -> float:
        """Return the seconds until the place of a waiting ``attempt`` is due, which may have grown meanwhile."""
        until = [row.until for _, row in self._known(attempt.place.keys)]
        return max(max(until, default=0.0) - self.clock(), 0.0)

    def _try(self, attempt: OpenAttempt, key: bytes, now: float) -> None:
        attempt.trial = trial = attempt.trial or next(self._trials)
        _, after = self._states.update(key, lambda circuit: with_trial(circuit, now, trial))
        attempt.overtaken |= after.trial not in (0, trial)

    def _began(self, attempt: OpenAttempt) -> None:
        place, now = attempt.place, self.clock()
        place.good += 1
        place.latest = attempt
        if now >= place.told_at:
            self._count(place, now)
        row = self._get(place.key)
        if row is not None and (row.reason is not None or row.failures):
            attempt.before = self._good(attempt, place.key, now)
        for key in place.keys[1:]:
            if (row := self._get(key)) is not None and row.reason is not None:
                self._good(attempt, key, now)

    def _good(self, attempt: OpenAttempt, key: bytes, now: float) -> Circuit:
        """Apply a good answer to the circuit of ``key``, and return the circuit before it."""
        sent, trial = attempt.sent, attempt.trial
        before, after = self._states.update(key, lambda circuit: after_good(circuit, now, sent, trial))
        self._tell(attempt, key, before, after, now)
        return before

    def _count(self, place: MetPlace, now: float) -> None:
        """Add the good answers so far to the circuit: now and then, because that costs more than counting."""
        good, place.good = place.good, 0
        place.told_at = now + STEP
        self._states.update(place.key, lambda circuit: with_counts(circuit, now, good))

    def _failed(self, attempt: OpenAttempt, reason: FailureReason, failed: ErrorInfo) -> None:
        place, now = attempt.place, self.clock()
        settings = attempt.target.entry.circuit or self._circuit
        failure = Failure(reason, failed.wait, now, attempt.sent, attempt.trial)
        if attempt.phase is _Phase.BEGUN:
            place.good -= 1
        self._count(place, now)
        before = attempt.before if place.latest is attempt else None
        key = place.account if reason in OF_THE_ACCOUNT else place.key

        def change(circuit: Circuit) -> Circuit:
            circuit = circuit if before is None or key != place.key else reopened(circuit, before)
            return after_failure(circuit, failure, settings)

        self._remember(key)
        self._tell(attempt, key, *self._states.update(key, change), now)

    def _give_back(self, attempt: OpenAttempt) -> None:
        """The trial of ``attempt`` is over, where it has had no verdict: the next request tries."""
        trial, attempt.trial = attempt.trial, 0
        for key in attempt.place.keys:
            if (row := self._get(key)) is not None and row.trial == trial:
                self._states.update(key, lambda circuit: without_trial(circuit, trial))

    def _tell(self, attempt: OpenAttempt, key: bytes, before: Circuit, after: Circuit, now: float) -> None:
        place = attempt.place
        names = self._accounts.get(key, [place.name]) if key == place.account else [place.name]
        self.transitions.tell(key, place.entry, names, before, after, now)

    def _remember(self, key: bytes) -> None:
        self._troubled.pop(key, None)
        self._troubled[key] = None
        if len(self._troubled) > KEPT:
            del self._troubled[next(iter(self._troubled))]

    def _meet(self, target: Target, identity: Identity) -> MetPlace:
        probe, budget = self._probes.get(identity.endpoint), self._budget(identity.endpoint)
        place = MetPlace(target.entry.name, target.place, identity, probe, budget)
        self._places[identity.place] = place
        if len(self._places) > KEPT:
            del self._places[next(iter(self._places))]
        return place

    def _budget(self, endpoint: str) -> RetryBudget:
        if (found := self._budgets.get(endpoint)) is None:
            found = self._budgets[endpoint] = RetryBudget(self._workers)
        return found

    # What people see

    def target_states(self) -> tuple[TargetState, ...]:
        """Where each entry's target stands, and each further place that is not in: a model of a wildcard entry, or a
        client's own credential."""
        now = self.clock()
        found = [self._state(name, name, self._keys(one), now) for name, one in self._entries.items()]
        keys = {one.place for one in self._entries.values()}
        for one in self._places.values() if self._troubled else ():
            if one.key not in keys and (one.key in self._troubled or one.account in self._troubled):
                state = self._state(one.entry, one.name, one.keys, now)
                if state.state != "in":
                    found.append(state)
        return tuple(found)

    def _state(self, entry: str, name: str, keys: tuple[bytes, ...], now: float) -> TargetState:
        rows = [row for _, row in self._known(keys) if standing(row, now) != "in"]
        if not rows:
            return TargetState(entry, name, "in", key=keys[0])
        row = max(rows, key=lambda row: row.until)
        return TargetState(entry, name, standing(row, now), row.reason, max(row.until - now, 0.0), keys[0])


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is somebody else's: numbers are used again
    return True
