"""The health of all targets: which are unavailable and until when, and the shares of additional requests.

A place (endpoint, credential and model) has a ``Circuit`` in a table. Its account (endpoint and credential) has another
one for what all its models share: an exhausted quota, a rejected credential. With several clients, a failure that the
request itself may have caused opens a circuit for its client only, until another client confirms it."""

import enum
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar

import attrs
import msgspec
import trio

from configfile.stored_secrets import UnreadText
from gateway.config.attempts import CircuitSettings, Retries
from gateway.config.model_entry import ModelEntry
from gateway.config.settings import Config
from gateway.health.circuit import (
    LONGEST_WAIT,
    STEP,
    Availability,
    Circuit,
    Failure,
    after_failure,
    after_success,
    allow_trial,
    availability,
    first_trial,
    has_trial,
    is_blocked,
    is_out,
    is_unsteady,
    undo_success,
    with_counts,
    with_outage,
    with_trial,
    without_trial,
)
from gateway.health.reported_limits import ReportedLimits
from gateway.health.retry_shares import RetryShares
from gateway.health.states import LONGEST_NAME, MOST_UNLISTED, LocalStates, States
from gateway.health.transitions import TransitionLog, utc
from gateway.health.witnesses import CircuitsByClient, ClientCircuits, Sighting, Witnesses, shorten_wait
from gateway.routing.plan import Outage
from gateway.routing.target import Identity, Target, digest
from streams.events import UNAVAILABLE, ErrorInfo, FailureReason
from streams.surrogates import NOT_JSON

if TYPE_CHECKING:
    from gateway.shared.notes import Notes

Table: TypeAlias = States | ClientCircuits
"""Circuits of all clients or of one."""

ACCOUNT_REASONS: Final[frozenset[FailureReason]] = frozenset(("quota", "credential"))
"""Reasons that concern all models of a credential (openclaw/openclaw#30030)."""

OF_REQUEST_REASONS: Final[frozenset[FailureReason]] = frozenset(("credential", "gone"))
"""Reasons that even a single client confirms with another request only: a provider's 403 or 404 often concerns an
object in the request."""


_OUTAGE: Final = "outage"
"""The kind of the notes of outages. A note's lifetime is that of its outage."""


class NotedOutage(msgspec.Struct, array_like=True, frozen=True):
    """An outage as other gateways read it: the key of its circuit, its reason, and the ``client`` that alone has it.

    ``blocked`` are the seconds for which even requests without another target are not sent."""

    key: str
    reason: FailureReason
    blocked: float
    client: str | None


@attrs.frozen(repr=False)
class TargetState:
    """The state of a target for operators, its reason, and its remaining ``seconds``.

    ``entry`` and ``target`` are names; ``key`` identifies its place."""

    entry: str
    target: str
    state: Availability
    reason: FailureReason | None = None
    seconds: float = 0.0
    key: bytes = b""

    def fields(self, at: float) -> dict[str, Any]:
        """Return the state for JSON at a Unix time in seconds."""
        if self.state == "in":
            return {"target": self.target, "state": self.state}
        until = utc(at + self.seconds)
        return {"target": self.target, "state": self.state, "reason": self.reason, "until": until,
                "seconds": round(self.seconds, 1)}  # fmt: skip


class _NamedOutage(Protocol):
    @property
    def target(self) -> str: ...

    @property
    def reason(self) -> FailureReason | None: ...


N = TypeVar("N", bound=_NamedOutage)


def without_covered(outages: Sequence[N]) -> list[N]:
    """Return ``outages`` without the models of a wildcard that is unavailable for the same reason."""
    wildcards = [one for one in outages if one.target.endswith("/*")]
    return [one for one in outages if not any(_covers(wildcard, one) for wildcard in wildcards)]


def _covers(wildcard: N, other: N) -> bool:
    is_other = wildcard.target != other.target
    return is_other and wildcard.reason == other.reason and other.target.startswith(wildcard.target[:-1])


class UsedPlace:
    """A place that this process has sent requests to: names, successes not yet in its circuit, and its latest
    response."""

    def __init__(self, entry: str, name: str, identity: Identity, probe: bytes | None, shares: RetryShares) -> None:
        self.entry = entry
        self.name = name
        self.key = identity.place
        self.account = identity.account
        self.keys = (identity.place, identity.account) if probe is None else (identity.place, identity.account, probe)
        self.retry_shares = shares
        self.good = 0
        self.next_count_at = 0.0
        self.latest: OpenAttempt | None = None


class _Phase(enum.Enum):
    SENT = "sent"
    STARTED = "begun"
    FAILED = "failed"
    UNREPORTED = "unreported"


class OpenAttempt:
    """A request to a target, from its start to the last byte of its response.

    Its owner calls ``mark_started`` and ``mark_failed`` as these happen, and ``close`` once. ``mark_failed`` may follow
    ``close``, because it may be known late that a response was not complete. An attempt without either is no evidence
    about its target: the client left, or the request was invalid. The same applies to one without ``reports``.
    ``is_overtaken`` means that another request became the trial first."""

    def __init__(
        self, health: "Health", entry: ModelEntry, place: UsedPlace, sent: float, client: str | None, reports: bool
    ) -> None:
        self.entry = entry  # a place remembers its latest attempt, and a target's name may have megabytes
        self.place = place
        self.sent = sent
        self.client = client
        self.trial = 0
        self.is_overtaken = False
        self.phase = _Phase.SENT if reports else _Phase.UNREPORTED
        self.before: Circuit | None = None  # the circuit before its success closed it
        self.own_before: Circuit | None = None  # the same of its client's circuit
        self._health = health

    def mark_started(self) -> None:
        """Record that the first content or a whole response has arrived."""
        if self.phase is _Phase.SENT:
            self.phase = _Phase.STARTED
            self._health._mark_started(self)

    def mark_failed(self, error: ErrorInfo, body: int | None = None) -> None:
        """Record that the provider failed, before or after the first content. ``body`` is its request's fingerprint.

        Only reasons in ``UNAVAILABLE`` count, and no credential of the client's own."""
        reason = error.reason
        if reason not in UNAVAILABLE or self.phase in (_Phase.FAILED, _Phase.UNREPORTED):
            return
        if reason == "credential" and self.entry.passthrough_auth:
            return
        self._health._mark_failed(self, reason, error, body)
        self.phase = _Phase.FAILED

    def close(self) -> None:
        """End the attempt."""
        if self.trial:
            self._health._release_trial(self)


class Health:
    """The health of all targets, by ``clock`` (seconds). Used from the trio thread only."""

    def __init__(
        self,
        clock: Callable[[], float] = trio.current_time,
        states: States | None = None,
        workers: int = 1,
    ) -> None:
        """Make the health of targets, whose ``states`` a number of ``workers`` share."""
        self.clock = clock
        self.reported_limits = ReportedLimits(clock)
        self.transitions = TransitionLog()
        self.states: States = states or LocalStates()
        self._get = self.states.get
        self._workers = workers
        self._trials: Iterator[int] = itertools.count(first_trial(os.getpid()))
        self._circuit = CircuitSettings()
        self._retries = Retries()
        self._identities: dict[str, Identity] = {}
        self._accounts: dict[bytes, list[str]] = {}
        self._places: dict[bytes, UsedPlace] = {}
        self._retry_shares: dict[str, RetryShares] = {}
        self._own = CircuitsByClient()
        self._witnesses = Witnesses()
        self._has_several_clients = False
        self._failed_keys: dict[bytes, None] = {}  # keys of circuits for which this process has seen a failure
        self._notes: Notes | None = None
        self.entries: tuple[ModelEntry, ...] = ()
        self.probed: Mapping[str, bytes] = {}
        """The circuit keys of servers whose entries have ``probe``, by endpoint."""

    def apply_config(self, config: Config) -> None:
        """Apply the settings of ``config``.

        Targets that remain keep their state, but outages that only people can fix are tried again immediately."""
        again = bool(self._identities)
        self._circuit, self._retries = config.circuit, config.retries or Retries()
        self._has_several_clients = config.has_several_clients
        self._identities = {entry.name: Identity.of(entry, entry.model) for entry in config.entries}
        self._accounts = {}
        for name, identity in self._identities.items():
            self._accounts.setdefault(identity.account, []).append(name)
        self._places.clear()  # with them go their names, and uncounted successes of a few seconds
        endpoints = {identity.endpoint for identity in self._identities.values()}
        self._retry_shares = {name: one for name, one in self._retry_shares.items() if name in endpoints}
        self.entries = config.entries
        probed = (self._identities[one.name].endpoint for one in config.entries if _is_probed(one))
        self.probed = {endpoint: digest(b"probe", endpoint.encode()) for endpoint in probed}
        keys = {key for one in self._identities.values() for key in (one.account, one.place)}
        self.states.set_listed({*keys, *self.probed.values()})
        if again:
            self._allow_trials(keys)
        for entry in config.entries:
            if isinstance(entry.key, UnreadText):
                self._mark_keyless(self._identities[entry.name].account)

    def _mark_keyless(self, account: bytes) -> None:
        """Mark an account as unavailable, because its key could not be read from its secret store."""
        now = self.clock()
        failure = Failure("credential", None, now, now)
        self._remember_failure(account)
        self.states.update(account, lambda circuit: after_failure(circuit, failure, self._circuit))

    def _allow_trials(self, keys: set[bytes]) -> None:
        now = self.clock()
        for own in self._own.values():
            for key in [*own.rows]:
                own.update(key, lambda circuit: allow_trial(circuit, now))
        known = [key for key in keys if (row := self._get(key)) is not None and row.reason is not None]
        for key in known:
            self.states.update(key, lambda circuit: allow_trial(circuit, now))

    # For other gateways

    def share_outages(self, notes: "Notes") -> None:
        """Share the outages with other gateways through ``notes``."""
        self._notes = notes
        notes.add_reader(_OUTAGE, self._apply_noted_outage)

    def _write_outage(self, key: bytes, client: str | None, circuit: Circuit, now: float) -> None:
        if self._notes is None or circuit.reason is None or not is_out(circuit, now):
            return
        noted = NotedOutage(key.hex(), circuit.reason, max(circuit.blocked_until - now, 0.0), client)
        name = key if client is None else digest(key, client.encode(errors="surrogatepass"))
        self._notes.write(_OUTAGE, name, msgspec.json.encode(noted).decode(), circuit.until - now)

    def _apply_noted_outage(self, name: bytes, value: str, seconds: float) -> None:
        try:
            noted = msgspec.json.decode(value, type=NotedOutage)
        except NOT_JSON:  # another version's
            return
        key, now = bytes.fromhex(noted.key), self.clock()
        table = self.states if noted.client is None else self._own.add(noted.client)
        until = now + min(seconds, LONGEST_WAIT)
        blocked_until = min(now + noted.blocked, until)
        before, after = table.update(key, lambda circuit: with_outage(circuit, noted.reason, until, blocked_until, now))
        self._remember_failure(key)
        names = [name for name, one in self._identities.items() if key in (one.place, one.account)]
        if names and after is not before:
            self.transitions.log_noted_outage(names, noted.client, before, after, now)

    # For routing

    def outage(
        self, target: Target, credential: str | None, *, alone: bool = False, client: str | None = None
    ) -> Outage | None:
        """Return the outage for which ``target`` should not get a request of ``client`` now, else ``None``.

        ``credential`` is the client's own, if it is passed on. ``alone`` means that no other target is left, so only
        hopeless attempts are refused. The next ``begin`` is the trial of a target whose time has passed; a caller that
        waits after ``None`` must call this again."""
        identity = target.identity
        if target.entry.passthrough_auth:
            identity = identity.with_credential(credential)
        place, account = self._get(identity.place), self._get(identity.account)
        are_closed = (account is None or account.reason is None) and (place is None or place.reason is None)
        if are_closed and not self.probed and client not in self._own:
            return None
        if alone:
            return self._blocking_outage(identity, client)
        known = self._open_circuits(self._keys(identity), client)
        return self._outage([row for _, row in known], target.entry.circuit or self._circuit) if known else None

    def _keys(self, identity: Identity) -> tuple[bytes, ...]:
        """Return the keys of a place's circuits: its own, its account's, and its server's if it is probed."""
        probe = self.probed.get(identity.endpoint)
        return (identity.place, identity.account) if probe is None else (identity.place, identity.account, probe)

    def _open_circuits(self, keys: tuple[bytes, ...], client: str | None) -> list[tuple[bytes, Circuit]]:
        """Return the circuits that are not closed, of all clients and of ``client``."""
        return [(key, row) for table in self._tables(client) for key, row in _not_closed(table, keys)]

    def _tables(self, client: str | None) -> tuple[Table, ...]:
        """Return the tables with circuits for requests of ``client``."""
        return (self.states, self._own[client]) if client in self._own else (self.states,)

    def _outage(self, known: Iterable[Circuit], settings: CircuitSettings) -> Outage | None:
        """Return the outage of the circuit that is unavailable longest, or that has a trial."""
        now = self.clock()
        found = [(availability(row, now), row) for row in known]
        out = [row for state, row in found if state == "out"] or [row for state, row in found if state == "tried"]
        if not out:
            return None
        row = max(out, key=lambda row: row.until)
        assert row.reason is not None
        unsteady = all(is_unsteady(row, now, settings) for row in out)
        return Outage(row.reason, row.until, tried=has_trial(row, now), unsteady=unsteady)

    def _blocking_outage(self, identity: Identity, client: str | None) -> Outage | None:
        """Return the outage from a provider's ``retry-after``, or after a rejected credential."""
        now = self.clock()
        for key, row in self._open_circuits((identity.place, identity.account), client):
            if is_blocked(row, now):
                of_credential = key == identity.account or row.reason == "credential"
                reason: FailureReason = "credential" if of_credential else "rate_limited"
                shorter = row.blocked_until < row.until
                return Outage(reason, row.blocked_until, tried=has_trial(row, now), alone=shorter)
        return None

    def may_add(self, target: Target, client: str | None = None) -> bool:
        """Return whether the retry budget allows ``client`` an additional request: a retry, a fallback or a hedge."""
        share = (target.entry.retries or self._retries).budget
        return self._shares_at(target.identity.endpoint).may_add(self.clock(), share, client)

    # Events

    def begin(
        self, target: Target, credential: str | None, *, added: bool, client: str | None = None, reports: bool = True
    ) -> OpenAttempt:
        """Start a request of ``client`` to ``target``; ``added`` if it is in addition to those that clients sent.

        If the target is unavailable or due without a trial, this request is the trial, if it ``reports`` its outcome. A
        request that waits for a target begins before it waits."""
        identity = target.identity
        if target.entry.passthrough_auth:
            identity = identity.with_credential(credential)
        place = self._places.get(identity.place) or self._add_place(target, identity)
        now = self.clock()
        if added:
            place.retry_shares.count_additional(now, client)
        else:
            place.retry_shares.count_client_request(now, client)
        attempt = OpenAttempt(self, target.entry, place, now, client, reports)
        if reports:
            if client in self._own and self._claim_own_trial(attempt, self._own[client], now):
                return attempt
            for key in place.keys:
                if (row := self._get(key)) is not None and row.reason is not None:
                    self._claim_trial(attempt, self.states, key, now)
        return attempt

    def _claim_own_trial(self, attempt: OpenAttempt, own: ClientCircuits, now: float) -> bool:
        """Make ``attempt`` the trial of its client's circuits.

        Return whether one has not ended its outage: then the attempt is no trial for other clients, whose turn its
        failures must not take."""
        found = _not_closed(own, attempt.place.keys)
        for key, _ in found:
            self._claim_trial(attempt, own, key, now)
        return any(is_out(row, now) for _, row in found)

    def _claim_trial(self, attempt: OpenAttempt, table: Table, key: bytes, now: float) -> None:
        attempt.trial = trial = attempt.trial or next(self._trials)
        _, after = table.update(key, lambda circuit: with_trial(circuit, now, trial))
        attempt.is_overtaken |= after.trial not in (0, trial)

    def _mark_started(self, attempt: OpenAttempt) -> None:
        place, now = attempt.place, self.clock()
        place.good += 1
        place.latest = attempt
        if now >= place.next_count_at:
            self._flush_successes(place, now)
        row = self._get(place.key)
        if row is not None and (row.reason is not None or row.failures):
            attempt.before = self._apply_success(attempt, self.states, place.key, now)
        for key in place.keys[1:]:
            if (row := self._get(key)) is not None and row.reason is not None:
                self._apply_success(attempt, self.states, key, now)
        if self._witnesses.last:
            self._witnesses.forget(place.keys)
        if attempt.client in self._own:
            own = self._own[attempt.client]
            if place.key in own.rows:
                attempt.own_before = self._apply_success(attempt, own, place.key, now)
                own.update(place.key, lambda circuit: with_counts(circuit, now, 1))
                self._own.drop_empty(attempt.client)

    def _apply_success(self, attempt: OpenAttempt, table: Table, key: bytes, now: float) -> Circuit:
        """Apply a success to the circuit of ``key``, and return the circuit before it."""
        sent, trial = attempt.sent, attempt.trial
        before, after = table.update(key, lambda circuit: after_success(circuit, now, sent, trial))
        self._log_transition(attempt, table, key, before, after, now)
        return before

    def _flush_successes(self, place: UsedPlace, now: float) -> None:
        """Add the accumulated successes to the circuit, occasionally, because that costs more than counting."""
        good, place.good = place.good, 0
        place.next_count_at = now + STEP
        self.states.update(place.key, lambda circuit: with_counts(circuit, now, good))

    def _mark_failed(self, attempt: OpenAttempt, reason: FailureReason, error: ErrorInfo, body: int | None) -> None:
        place, now = attempt.place, self.clock()
        failure = Failure(reason, error.wait, now, attempt.sent, attempt.trial)
        if attempt.phase is _Phase.STARTED:
            place.good -= 1
            if attempt.own_before is not None and attempt.client in self._own:
                self._own[attempt.client].update(place.key, lambda circuit: with_counts(circuit, now, -1))
        if place.good:
            self._flush_successes(place, now)
        key = place.account if reason in ACCOUNT_REASONS else place.key
        is_alone = not self._has_several_clients or attempt.client is None
        if error.concerns_all or (is_alone and reason not in OF_REQUEST_REASONS):
            self._fail(attempt, self.states, key, failure)
            return
        sighting = Sighting(None if is_alone else attempt.client, body, place.key, reason, now)
        earlier = self._witnesses.find_confirmed(key, sighting)
        if not is_alone or earlier is None:
            table = self.states if is_alone else self._own.add(attempt.client)
            self._fail(attempt, table, place.key, shorten_wait(failure))
        if earlier is not None:  # seen with one model only, the failure may be that model's
            self._fail(attempt, self.states, place.key if earlier.place == place.key else key, failure)

    def _fail(self, attempt: OpenAttempt, table: Table, key: bytes, failure: Failure) -> None:
        """Apply a failure to the circuit of ``key``."""
        settings = attempt.entry.circuit or self._circuit
        before = attempt.before if table is self.states else attempt.own_before
        if attempt.place.latest is not attempt or key != attempt.place.key:
            before = None

        def change(circuit: Circuit) -> Circuit:
            circuit = circuit if before is None else undo_success(circuit, before)
            return after_failure(circuit, failure, settings)

        if table is self.states:
            self._remember_failure(key)
        before_change, after = table.update(key, change)
        self._log_transition(attempt, table, key, before_change, after, failure.at)
        self._write_outage(key, None if table is self.states else attempt.client, after, failure.at)

    def _release_trial(self, attempt: OpenAttempt) -> None:
        """Release the trial of ``attempt`` if it ended without a result, so that the next request is the trial."""
        trial, attempt.trial = attempt.trial, 0
        for table in self._tables(attempt.client):
            for key, row in _not_closed(table, attempt.place.keys):
                if row.trial == trial:
                    table.update(key, lambda circuit: without_trial(circuit, trial))

    def _log_transition(
        self, attempt: OpenAttempt, table: Table, key: bytes, before: Circuit, after: Circuit, now: float
    ) -> None:
        place = attempt.place
        if table is not self.states:
            self.transitions.log_client_change(place.name, str(attempt.client), before, after, now)
            return
        names = self._accounts.get(key, [place.name]) if key == place.account else [place.name]
        self.transitions.log_change(key, place.entry, names, before, after, now)

    def _remember_failure(self, key: bytes) -> None:
        self._failed_keys.pop(key, None)
        self._failed_keys[key] = None
        if len(self._failed_keys) > MOST_UNLISTED:
            del self._failed_keys[next(iter(self._failed_keys))]

    def _add_place(self, target: Target, identity: Identity) -> UsedPlace:
        probe, shares = self.probed.get(identity.endpoint), self._shares_at(identity.endpoint)
        place = UsedPlace(target.entry.name, target.place[:LONGEST_NAME], identity, probe, shares)
        self._places[identity.place] = place
        if len(self._places) > MOST_UNLISTED:
            del self._places[next(iter(self._places))]
        return place

    def _shares_at(self, endpoint: str) -> RetryShares:
        if (found := self._retry_shares.get(endpoint)) is None:
            found = self._retry_shares[endpoint] = RetryShares(self._workers)
        return found

    # For operators

    def target_states(self) -> tuple[TargetState, ...]:
        """Return the state of each entry's target, and of other places that are unavailable.

        Others are models of wildcard entries, and clients' own credentials."""
        now = self.clock()
        found = [self._state(name, name, self._keys(one), now) for name, one in self._identities.items()]
        keys = {one.place for one in self._identities.values()}
        for one in self._places.values() if self._failed_keys else ():
            if one.key not in keys and (one.key in self._failed_keys or one.account in self._failed_keys):
                state = self._state(one.entry, one.name, one.keys, now)
                if state.state != "in":
                    found.append(state)
        return tuple(found)

    def clients_out(self) -> Counter[bytes]:
        """Return by the key of a place the number of clients for which it is unavailable, but not for all others."""
        now = self.clock()
        return Counter(
            key
            for own in self._own.values()
            for key, row in own.rows.items()
            if availability(row, now) in ("out", "tried")
        )

    def _state(self, entry: str, name: str, keys: tuple[bytes, ...], now: float) -> TargetState:
        rows = [row for _, row in _not_closed(self.states, keys) if availability(row, now) != "in"]
        if not rows:
            return TargetState(entry, name, "in", key=keys[0])
        row = max(rows, key=lambda row: row.until)
        return TargetState(entry, name, availability(row, now), row.reason, max(row.until - now, 0.0), keys[0])


def _is_probed(entry: ModelEntry) -> bool:
    return entry.probe is not None and (entry.base_url or entry.provider.base_url) is not None


def _not_closed(table: Table, keys: Iterable[bytes]) -> list[tuple[bytes, Circuit]]:
    return [(key, row) for key in keys if (row := table.get(key)) is not None and row.reason is not None]
