"""The metrics that Prometheus reads at ``GET /metrics``.

Labels have values from bounded sets only: those of the code, those that the configuration names, and of the models of
wildcard entries the first that have answered. What a client makes up never becomes a series. ``ROWS`` is all there is;
``docs/metrics.md``, the dashboard and the alert rules are held to it by tests.

Workers of one supervisor add theirs up: ``gateway/telemetry/shared_metrics.py``.
"""

import contextlib
import os
import resource
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs

import gateway
from gateway.config.loading import Config
from gateway.ledger.buckets import GAPS, Buckets
from gateway.ledger.record import Charge, Record, Tried
from gateway.logs.masking import Mask
from gateway.telemetry.shared_metrics import FOLDER, WorkersCollector, add_to_file
from gateway.upstream.pool import PoolStats
from providers.apis import CODECS

if TYPE_CHECKING:  # imported where it is used: who switches metrics off does not pay for it
    from prometheus_client import CollectorRegistry

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MOST_MET: Final = 100  # models of wildcard entries with names of their own
MOST_CLIENTS: Final = 1000  # clients that are no file's: keys come and go while it runs
LONGEST_NAME: Final = 100  # characters of "provider/model"
NONE: Final = "none"
OTHER: Final = "other"

Kind: TypeAlias = Literal["counter", "histogram", "sum", "greatest", "latest"]
"""The last three are gauges, by what becomes of the numbers of several workers: of what these count together the one
that was asked last is right."""

_WAITS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_LONG: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_LAGS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


@attrs.frozen
class MetricRow:
    """One metric. ``bounds`` are those of a histogram's buckets."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


_WHERE: Final = ("provider", "model")

EXCHANGES = MetricRow(
    "trigate_exchanges_total", "counter", "Exchanges that have ended, also those that were refused.",
    ("api", *_WHERE, "lane", "status", "ended", "client"),
)  # fmt: skip
IN_FLIGHT = MetricRow("trigate_exchanges_in_flight", "sum", "Exchanges that are going on.", ("api",))
FIRST_BYTE = MetricRow(
    "trigate_first_byte_seconds", "histogram", "From the request to the first byte of its answer, or keep-alive.",
    (*_WHERE, "lane"), _WAITS,
)  # fmt: skip
FIRST_TOKEN = MetricRow(
    "trigate_first_token_seconds", "histogram", "From the request to the first content of its stream.",
    (*_WHERE, "lane"), _WAITS,
)  # fmt: skip
DURATION = MetricRow(
    "trigate_duration_seconds", "histogram", "From the request to the end of its answer.", (*_WHERE, "lane"), _LONG
)
SILENCE = MetricRow(
    "trigate_write_gap_seconds", "histogram",
    "Between two writes of a stream, less the time that its client took to read.", bounds=GAPS,
)  # fmt: skip
TOKENS = MetricRow(
    "trigate_tokens_total", "counter", "Tokens, of answers that broke off as far as they came.",
    (*_WHERE, "client", "kind"),
)  # fmt: skip
BILLED_UNITS = MetricRow(
    "trigate_units_total", "counter", "What is billed beside tokens: pictures, seconds of sound, characters, searches.",
    (*_WHERE, "client", "unit"),
)  # fmt: skip
ESTIMATED = MetricRow(
    "trigate_usage_estimated_total", "counter",
    "Exchanges whose tokens are estimated: the answer broke off, or nobody counted.", ("provider",),
)  # fmt: skip
COST = MetricRow(
    "trigate_cost_dollars_total", "counter",
    "What attempts have cost, those included whose answers went to nobody, as far as there is a price.",
    (*_WHERE, "target", "client", "grade"),
)  # fmt: skip
UNPRICED = MetricRow(
    "trigate_unpriced_total", "counter", "Attempts that took tokens whose price nobody knows: no sum has them.",
    (*_WHERE, "target"),
)  # fmt: skip
ON_SUBSCRIPTION = MetricRow(
    "trigate_subscription_total", "counter", "Attempts that a subscription paid for: no sum of costs includes them.",
    (*_WHERE, "target", "client"),
)  # fmt: skip
LIMIT_REFUSALS = MetricRow(
    "trigate_limit_refusals_total", "counter",
    "Requests for which there was no room in what their client may use, and attempts for which there was none in what "
    "an entry may be given: those go on to the next target.",
    ("holder_kind", "holder", "limit"),
)  # fmt: skip
BUDGET_USED = MetricRow(
    "trigate_budget_used_ratio", "latest",
    "The part of each budget that is spent in its period; above 1 where answers cost more than was expected of them.",
    ("holder_kind", "holder", "budget"),
)  # fmt: skip
BUDGET_HELD = MetricRow(
    "trigate_budget_held_ratio", "latest",
    "The part of each budget that is reserved by requests under way, or set aside for batches.",
    ("holder_kind", "holder", "budget"),
)  # fmt: skip
LIMIT_QUEUED = MetricRow(
    "trigate_limit_queued", "sum", "Requests that wait for their place at an entry, in its `queue`.", ("entry",)
)
LIMIT_USED = MetricRow(
    "trigate_limit_used_ratio", "latest",
    "The part of each rate that has not refilled yet, and of each number of requests at once that is taken.",
    ("holder_kind", "holder", "limit"),
)  # fmt: skip
DROPS = MetricRow(
    "trigate_dropped_total", "counter", "Requests of which something could not be carried to the provider.",
    ("api", "provider"),
)  # fmt: skip
UPSTREAM_ERRORS = MetricRow(
    "trigate_upstream_errors_total", "counter", "Exchanges that a provider, or the way to it, has failed.",
    (*_WHERE, "error"),
)  # fmt: skip
DISCONNECTS = MetricRow(
    "trigate_disconnects_total", "counter", "Clients that left before the end of their answer.", ("api", "phase")
)
ATTEMPTS = MetricRow(
    "trigate_upstream_attempts_total", "counter", "Requests that were sent to providers.", ("provider",)
)
RETRIES = MetricRow(
    "trigate_upstream_retries_total",
    "counter",
    "Those of them that were not the first of their exchange.",
    ("provider",),
)
STICKY = MetricRow(
    "trigate_sticky_turns_total", "counter",
    "Turns of conversations that a group has answered, by whether it was the target with their prompt in its cache.",
    ("route", "landed"),
)  # fmt: skip
TARGETS_OUT = MetricRow(
    "trigate_targets_out", "greatest",
    "Targets that are not asked now: 1 for an entry, of a wildcard entry the number of its models.", ("entry",),
)  # fmt: skip
OUTAGES = MetricRow("trigate_target_outages_total", "counter", "How often a target was taken out.", ("entry", "reason"))
TARGET_ATTEMPTS = MetricRow(
    "trigate_target_attempts_total", "counter", "Requests that were sent to each target, by what became of them.",
    ("target", "reason"),
)  # fmt: skip
FALLBACKS = MetricRow(
    "trigate_fallbacks_total", "counter", "Exchanges whose first target failed and that went on to another one.",
    ("route", "answered"),
)  # fmt: skip
HEDGES = MetricRow(
    "trigate_hedges_total", "counter", "Second attempts beside a slow first one, by whether theirs was the answer.",
    ("route", "won"),
)  # fmt: skip
ATTEMPT_WAIT = MetricRow(
    "trigate_attempt_wait_seconds", "histogram",
    "What exchanges have waited between attempts, or for a target that was out; those that did not are not in it.",
    ("route",), _WAITS,
)  # fmt: skip
POOL = MetricRow("trigate_upstream_connections", "sum", "Connections to providers.", ("state",))
SHARE_REFUSALS = MetricRow(
    "trigate_share_refusals_total", "counter", "Requests that were refused because their client had its share already.",
    ("share",),
)  # fmt: skip
QUEUED = MetricRow("trigate_upstream_queued", "sum", "Requests that wait for a connection to a provider.")
CONNECTIONS = MetricRow("trigate_client_connections", "sum", "Clients' connections, idle ones included.")
BACKGROUND = MetricRow("trigate_background_turns", "sum", "Responses that are being made in the background.")
STORE_ENTRIES = MetricRow(
    "trigate_store_entries", "greatest",
    "What is kept in `state_storage`: turns, what belongs to them, and conversations.",
)  # fmt: skip
STORE_BYTES = MetricRow("trigate_store_bytes", "greatest", "What that takes, as `max_bytes` counts it.")
STORE_LIMIT = MetricRow("trigate_store_limit_bytes", "greatest", "`max_bytes`; 0 where there is none.")
LEDGER_LOST = MetricRow(
    "trigate_ledger_lines_lost_total", "counter",
    "Exchanges that are in the log and missing from the kept ledger: the database was away for too long.",
)  # fmt: skip
LEDGER_FOLDED = MetricRow(
    "trigate_ledger_lines_folded_total", "counter",
    "Lines that the kept ledger has in sums alone: there were more than `ledger.max_bytes`, or the database was away.",
)  # fmt: skip
KEYS_STALE = MetricRow(
    "trigate_stored_keys_stale_seconds", "greatest",
    "Since when the keys in `state_storage` cannot be read: those that were read last go on.",
)  # fmt: skip
COUNTERS_AWAY = MetricRow(
    "trigate_counters_away", "sum",
    "Processes that do not reach the store of `counters`, and hold limits by their share.",
)  # fmt: skip
COUNTED_ALONE = MetricRow(
    "trigate_counted_alone_total", "counter",
    "Requests whose limits were decided without the store of `counters`, or refused for want of it.",
)  # fmt: skip
CACHE = MetricRow(
    "trigate_cache_requests_total", "counter", "Requests whose name or client uses the cache of answers.",
    ("client", "outcome"),
)  # fmt: skip
CACHE_SAVED = MetricRow(
    "trigate_cache_saved_dollars_total", "counter",
    "What the answers out of the cache would have cost, as far as there is a price.", ("client",),
)  # fmt: skip
CACHE_SAVED_TOKENS = MetricRow(
    "trigate_cache_saved_tokens_total", "counter", "The tokens that they would have taken, input and output.",
    ("client",),
)  # fmt: skip
CACHE_FAILURES = MetricRow(
    "trigate_cache_failures_total", "counter",
    "How often the store of answers was away, or had no answer within 50 ms: then their providers are asked.",
)  # fmt: skip
LAG = MetricRow(
    "trigate_event_loop_lag_seconds",
    "histogram",
    "How late a task runs that has asked for half a second.",
    bounds=_LAGS,
)
MEMORY = MetricRow("trigate_memory_bytes", "sum", "Resident memory of the workers.")
CPU = MetricRow("trigate_cpu_seconds_total", "counter", "Processor time of the workers.")
WORKERS = MetricRow("trigate_workers", "sum", "Worker processes.")
DRAINING = MetricRow("trigate_draining", "sum", "Those of them that take no more requests and finish what they have.")
RELOADS = MetricRow(
    "trigate_config_reloads_total", "counter", "Configurations taken over, or refused, since the start.", ("result",)
)
SPANS = MetricRow(
    "trigate_spans_dropped_total", "counter", "Spans that were not exported: the queue was full, or nobody took them."
)
CLIENT = MetricRow(
    "trigate_client_info", "greatest",
    "1 for each client that has been seen, with its group. Join it to any metric with the label `client`.",
    ("client", "group"),
)  # fmt: skip
BUILD = MetricRow("trigate_build_info", "greatest", "1, with the version.", ("version",))

ROWS: Final = (
    EXCHANGES, IN_FLIGHT, FIRST_BYTE, FIRST_TOKEN, SILENCE, DURATION, TOKENS, BILLED_UNITS, ESTIMATED, COST,
    UNPRICED, ON_SUBSCRIPTION,
    BUDGET_USED, BUDGET_HELD, LIMIT_USED, LIMIT_QUEUED, LIMIT_REFUSALS, DROPS, UPSTREAM_ERRORS,
    DISCONNECTS, SHARE_REFUSALS, ATTEMPTS, RETRIES, TARGET_ATTEMPTS, FALLBACKS, HEDGES, ATTEMPT_WAIT, STICKY,
    TARGETS_OUT, OUTAGES, POOL, QUEUED, CONNECTIONS, BACKGROUND, STORE_ENTRIES, STORE_BYTES, STORE_LIMIT,
    LEDGER_LOST, LEDGER_FOLDED, KEYS_STALE, COUNTERS_AWAY, COUNTED_ALONE,
    CACHE, CACHE_SAVED, CACHE_SAVED_TOKENS, CACHE_FAILURES, LAG, MEMORY, CPU, WORKERS, DRAINING, RELOADS, SPANS,
    CLIENT, BUILD,
)  # fmt: skip


class ClientLabels(dict[str | None, str]):
    """The values of the label ``client``, by the names of clients: those of the file, and the first so many others."""

    def __init__(self) -> None:
        self[None] = NONE
        self._met = 0

    def __missing__(self, client: str | None) -> str:
        if self._met >= MOST_CLIENTS:
            return OTHER
        self._met += 1
        return self.setdefault(client, client or NONE)


class Metrics:
    """The numbers of one process, and an ``Observer`` of its ledger. ``folder`` is where workers share them, if they
    do: the environment variable ``FOLDER`` must say so too, and have said so when the process started. ``mask`` knows
    keys, which clients mix up with names."""

    def __init__(self, folder: Path | None = None, mask: Mask | None = None) -> None:
        from prometheus_client import CollectorRegistry

        self._folder = folder
        self._mask = mask or Mask()
        self._registry = CollectorRegistry()
        self._made = {row: _made(row, self._registry) for row in ROWS}
        self._children: dict[tuple[str, ...], Any] = {}  # by row and labels, whose values are of closed sets
        self._providers: set[str] = set()
        self._models: set[str] = set()
        self._entries: set[str] = set()
        self._routes: set[str] = set()
        self._clients = ClientLabels()
        self._groups: dict[str | None, str] = {}  # group names by client name
        self._shown: dict[str, str] = {}  # the group with which each client label has its info metric
        self._met: dict[str, str | None] = {}  # models of wildcard entries, and the client that used each first
        self._queues: set[str] = set()  # entries at which somebody has waited
        self._limits: set[tuple[MetricRow, str, str, str]] = set()  # that have been seen
        self._cpu = 0.0
        self.gaps = Buckets(GAPS)
        self.set(WORKERS, 1)
        self.set(BUILD, 1, gateway.__version__)
        for good in (True, False):
            self.add(RELOADS, _result(good), by=0)

    def know(self, config: Config) -> None:
        """The names in ``config`` are values of labels from now on."""
        self._providers.update(entry.provider.id for entry in config.entries)
        self._models.update(f"{entry.provider.id}/{entry.model}" for entry in config.entries if not entry.wildcard)
        self._entries.update(entry.name for entry in config.entries)
        self._routes.update(config.routes)
        self._clients.update((client.name, client.name) for client in config.client_keys if client.source == "file")
        self._groups = {client.name: client.group.name for client in config.client_keys if client.group is not None}
        for client in config.client_keys:
            if client.source == "file" or client.name in self._shown:
                self._show_group(client.name)
        # A counter that begins with its first event hides it: Prometheus sees no rise from nothing to one.
        for row in (ATTEMPTS, RETRIES, ESTIMATED):
            for provider in self._providers:
                self.add(row, provider, by=0)
        self.look_at_queues({entry.name: 0 for entry in config.entries if entry.queue.size})
        for name, route in config.routes.items():
            if any(len(group) > 1 for group in route.groups):
                self.add(STICKY, name, "hit", by=0)
            for word in ("yes", "no"):
                self.add(FALLBACKS, name, word, by=0)
                if route.hedge is not None:
                    self.add(HEDGES, name, word, by=0)
        self._made[IN_FLIGHT].labels(NONE)
        for api in CODECS:
            self._made[IN_FLIGHT].labels(api)
            for provider in self._providers:
                self.add(DROPS, api, provider, by=0)
            for phase in ("waiting", "answering"):
                self.add(DISCONNECTS, api, phase, by=0)

    def _show_group(self, client: str) -> None:
        """Set the info metric of the client with this label. A client that changed its group leaves the former one."""
        group, former = self._groups.get(client, NONE), self._shown.get(client)
        if former is not None and former != group:
            self.set(CLIENT, 0, client, former)
        self.set(CLIENT, 1, client, group)
        self._shown[client] = group

    def reloaded(self, good: bool) -> None:
        """Count that the configuration was read anew."""
        self.add(RELOADS, _result(good))

    def look_at_keys(self, stale: float) -> None:
        self.set(KEYS_STALE, stale)

    def add(self, row: MetricRow, *labels: str, by: float = 1) -> None:
        """``row`` is a counter."""
        self._of(row, labels).inc(by)

    def set(self, row: MetricRow, value: float, *labels: str) -> None:
        """``row`` is a gauge."""
        self._of(row, labels).set(value)

    def see(self, row: MetricRow, value: float, *labels: str) -> None:
        """``row`` is a histogram."""
        self._of(row, labels).observe(value)

    def _of(self, row: MetricRow, labels: tuple[str, ...]) -> Any:
        key = (row.name, *labels)
        if (one := self._children.get(key)) is None:
            made = self._made[row]
            one = self._children[key] = made.labels(*labels) if labels else made
        return one

    # What becomes of exchanges

    def opened(self, record: Record) -> None:
        record.gaps = self.gaps
        self._of(IN_FLIGHT, (_asked_in(record),)).inc()

    def settled(self, record: Record, line: Mapping[str, Any]) -> None:
        if record.whole:
            self._meet(record.target, record.client)
        provider, model = self.where(record.target)
        lane, client, ended, api = record.lane or NONE, self._clients[record.client], line["ended"], _asked_in(record)
        if client not in self._shown:
            self._show_group(client)
        self._of(IN_FLIGHT, (api,)).dec()
        self.add(EXCHANGES, api, provider, model, lane, f"{line['status'] // 100}xx", ended, client)
        if record.dropped:
            self.add(DROPS, api, provider)
        if ended == "client_disconnected":
            self.add(DISCONNECTS, api, "waiting" if record.first_byte is None else "answering")
        if record.cache is not None and record.cache != "off":
            self._cached(record, client, line)
        if record.attempts:
            self._called(record, provider, model, line)
            self._timed(record, line["duration_ms"] / 1000, (provider, model, lane))

    def _called(self, record: Record, provider: str, model: str, line: Mapping[str, Any]) -> None:
        for one in record.tried:
            self.add(TARGET_ATTEMPTS, self._target(one), one.reason)
        for charge in record.charges():
            self._charged(charge, self._clients[record.client])
        if record.attempts > 1:
            self._tried_again(record, provider)
        else:
            self.add(ATTEMPTS, provider)
        if line["ended"] == "upstream_error" and record.failed is not None:
            self.add(UPSTREAM_ERRORS, provider, model, record.failed.kind)
        usage, estimated = record.counted()
        if estimated:
            self.add(ESTIMATED, provider)
        for kind in ("input", "cache_read", "cache_write", "output", "reasoning"):
            if number := getattr(usage, kind, None):
                self.add(TOKENS, provider, model, self._clients[record.client], kind, by=number)
        for unit, number in () if usage is None else usage.units:
            self.add(BILLED_UNITS, provider, model, self._clients[record.client], unit, by=number)

    def _cached(self, record: Record, client: str, line: Mapping[str, Any]) -> None:
        self.add(CACHE, client, record.cache or NONE)
        if record.cache == "hit":
            self.add(CACHE_SAVED, client, by=line.get("saved_usd", 0))
            tokens = line.get("saved_input_tokens", 0) + line.get("saved_output_tokens", 0)
            self.add(CACHE_SAVED_TOKENS, client, by=tokens)

    def _charged(self, charge: Charge, client: str) -> None:
        where, target = self.where(charge.tried.model), self._target(charge.tried)
        if charge.cost is not None and charge.cost.grade == "subscription":
            self.add(ON_SUBSCRIPTION, *where, target, client)
        elif charge.cost is not None:
            self.add(COST, *where, target, client, charge.cost.grade, by=charge.cost.nanos / 1e9)
        elif charge.usage.prompt or charge.usage.output or charge.usage.units:
            self.add(UNPRICED, *where, target)

    def _tried_again(self, record: Record, provider: str) -> None:
        """Count an exchange of several attempts. ``provider`` is its last one; a connection that was closed before it
        had carried anything takes a second request of the same attempt."""
        asked = [one.provider if one.provider in self._providers else OTHER for one in record.tried]
        asked += [provider] * (record.attempts - len(asked))
        for number, name in enumerate(asked):
            self.add(ATTEMPTS, name)
            if number:
                self.add(RETRIES, name)
        route = record.route if record.route in self._routes else NONE
        causes = {one.cause: one for one in record.tried}
        if "fallback" in causes:
            self.add(FALLBACKS, route, "yes" if record.tried[-1].reason == "ok" else "no")
        if (hedge := causes.get("hedge")) is not None:
            self.add(HEDGES, route, "yes" if hedge.reason == "ok" else "no")
        if record.waited:
            self.see(ATTEMPT_WAIT, record.waited, route)

    def look_at_conversations(self, landings: MutableMapping[tuple[str, Any], int]) -> None:
        """Take ``landings``, by route and where a turn was answered."""
        while landings:
            (route, landed), number = landings.popitem()
            self.add(STICKY, route if route in self._routes else NONE, landed, by=number)

    def _target(self, one: Tried) -> str:
        return one.target if one.target in self._entries or one.target in self._models else OTHER

    def _timed(self, record: Record, duration: float, labels: tuple[str, ...]) -> None:
        self.see(DURATION, duration, *labels)
        if record.first_byte is not None:
            self.see(FIRST_BYTE, record.first_byte, *labels)
        if record.first_write is not None and (record.said or record.whole):  # else it was an error that was written
            self.see(FIRST_TOKEN, record.first_write, *labels)

    def _meet(self, target: str | None, client: str | None) -> None:
        """Make a model that has answered a value of labels, if it looks like no key and its client may add one more.

        A series lasts until the restart. So that no client takes all places for itself, each takes at most as many as
        it leaves free.
        """
        if target is None or target in self._models or len(target) > LONGEST_NAME or self._mask(target) != target:
            return
        free, own = MOST_MET - len(self._met), sum(met == client for met in self._met.values())
        is_shared = len(self._clients) > 2  # the labels of more than "none" and one client
        has_place = own < free if is_shared else free > 0
        if has_place and target.partition("/")[0] in self._providers and target.isprintable():
            self._met[target] = client
            self._models.add(target)

    def where(self, target: str | None) -> tuple[str, str]:
        """The labels for a record's target, as far as the configuration names it."""
        if target is None:
            return NONE, NONE
        provider, _, model = target.partition("/")
        return provider if provider in self._providers else OTHER, model if target in self._models else OTHER

    # What there is at a moment

    def look(self, pool: PoolStats, connections: int, background: int, draining: bool) -> None:
        """Measure what nobody reports when it changes."""
        self.set(POOL, pool.active, "active")
        self.set(POOL, pool.idle, "idle")
        self.set(QUEUED, pool.queued)
        self.set(CONNECTIONS, connections)
        self.set(BACKGROUND, background)
        self.set(DRAINING, draining)
        self.set(MEMORY, resident())
        spent = sum(os.times()[:2])
        self.add(CPU, by=spent - self._cpu)
        self._cpu = spent
        self._made[SILENCE].add(*self.gaps.taken())

    def look_at_targets(self, out: Mapping[str, int], outages: Mapping[tuple[str, str], int]) -> None:
        """Take down how many targets of each entry are ``out``, and what has come to the ``outages`` by entry and
        reason since the last look."""
        for entry in self._entries:
            self.set(TARGETS_OUT, out.get(entry, 0), entry)
        for (entry, reason), number in outages.items():
            self.add(OUTAGES, entry, reason, by=number)

    def look_at_refusals(self, refusals: MutableMapping[tuple[Any, Any], int]) -> None:
        """Take ``refusals``, by the holder whose limit it was and what of."""
        while refusals:
            (holder, limit), number = refusals.popitem()
            self.add(LIMIT_REFUSALS, holder.kind, holder.name, limit, by=number)

    def look_at_queues(self, lengths: Mapping[str, int]) -> None:
        """Take down how many requests wait at each entry."""
        for entry in (self._queues | set(lengths)) & self._entries:
            self.set(LIMIT_QUEUED, lengths.get(entry, 0), entry)
        self._queues.update(lengths)

    def look_at_limits(self, shares: Mapping[tuple[MetricRow, str, str, str], float]) -> None:
        """Take down how much of each limit is used: ``shares`` by metric and labels. A limit that is not among them any
        more stands at nothing."""
        for row, *where in self._limits - set(shares):
            self.set(row, 0, *where)
        for (row, *where), share in shares.items():
            self.set(row, share, *where)
        self._limits.update(shares)

    def page(self) -> bytes:
        """The page for Prometheus: of all workers that share ``folder``. Reads files; may be called in a thread."""
        from prometheus_client import CollectorRegistry, generate_latest

        if self._folder is None:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        registry.register(WorkersCollector(self._folder))
        return generate_latest(registry)


class NoMetrics:
    """The ``Metrics`` of a process that has them switched off: they count nothing, and nobody can read them."""

    def know(self, config: Config) -> None:
        return

    def reloaded(self, good: bool) -> None:
        return

    def look_at_keys(self, stale: float) -> None:
        return

    def add(self, row: MetricRow, *labels: str, by: float = 1) -> None:
        return


def _made(row: MetricRow, registry: "CollectorRegistry") -> Any:
    import prometheus_client

    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each
    match row.kind:
        case "counter":
            return prometheus_client.Counter(row.name, row.meaning, row.labels, registry=registry)
        case "histogram":
            return _filled_in_bulk()(row.name, row.meaning, row.labels, registry=registry, buckets=row.bounds)
        case kind:
            mode: Any = _MODES[kind]
            return prometheus_client.Gauge(row.name, row.meaning, row.labels, registry=registry, multiprocess_mode=mode)


_MODES: Final = {"sum": "livesum", "greatest": "livemax", "latest": "livemostrecent"}
"""The client library's words for what becomes of the numbers of several workers."""


def _filled_in_bulk() -> Any:
    from prometheus_client import Histogram

    class Filled(Histogram):
        def add(self, counts: list[int], total: float) -> None:
            """Many measurements at once, as a ``Buckets`` has them."""
            self._sum.inc(total)
            for bucket, count in zip(self._buckets, counts, strict=True):
                if count:
                    bucket.inc(count)

    return Filled


def resident() -> int:
    """Bytes of memory that this process holds; where the system does not say, the most that it ever held."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _result(good: bool) -> str:
    return "accepted" if good else "refused"


def tell_reload(folder: Path, good: bool) -> None:
    """``Metrics.reloaded`` of a supervisor, which judges for its workers and has no numbers of its own."""
    from prometheus_client.mmap_dict import mmap_key

    name, labels = RELOADS.name, list(RELOADS.labels)
    key = mmap_key(name.removesuffix("_total"), name, labels, [_result(good)], RELOADS.meaning)
    add_to_file(folder, "counter_supervisor.db", {key: 1})


def open_metrics(config: Config, mask: Mask | None = None) -> Metrics | NoMetrics:
    """The numbers of this process."""
    if config.metrics == "off":
        return NoMetrics()
    folder = os.environ.get(FOLDER)
    metrics = Metrics(Path(folder) if folder else None, mask)
    metrics.know(config)
    return metrics


def _asked_in(record: Record) -> str:
    """What its client asks for: an endpoint, or an answer in its API."""
    return (record.endpoint or record.api) if record.served else NONE
