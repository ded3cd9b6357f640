"""The metrics that Prometheus reads at ``GET /metrics``.

Label values come from bounded sets only: the code, the configuration, and the first models of wildcard entries that
responded. A name that a client invents never becomes a series. ``gateway/features/metrics/rows.py`` lists the metrics,
``gateway/features/metrics/shared_metrics.py`` adds up those of workers."""

import contextlib
import os
import resource
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, MutableMapping
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

import gateway
from gateway.config.settings import Config
from gateway.features.metrics import rows
from gateway.features.metrics.feature import FOLDER
from gateway.features.metrics.rows import MetricRow
from gateway.ledger.bill import AttemptRecord, Charge
from gateway.ledger.buckets import GAPS, Buckets
from gateway.ledger.figures import Figures
from gateway.ledger.record import ArrivedRequest, Record
from gateway.logs.masking import Mask
from gateway.named_imports import import_named
from gateway.seams.observe import ExchangeObserver
from gateway.upstream.pool import PoolStats
from providers.apis import CODECS

if TYPE_CHECKING:
    from gateway.config.unlisted import UnlistedClients
    from gateway.features.metrics.registry import Registry
    from gateway.features.prompt_caches.interface import JudgedAttempt

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MAX_MODELS: Final = 100  # named models of wildcard entries
MOST_CLIENTS: Final = 1000  # clients outside of the file: keys come and go while the process runs
LONGEST_NAME: Final = 100  # characters of "provider/model"
NONE: Final = "none"
OTHER: Final = "other"
TOKEN_KINDS: Final = ("input", "cache_read", "cache_write", "output", "reasoning")
_COUNTS: Final = attrgetter(*TOKEN_KINDS)
CONTRADICTION: Final = "unknown:contradiction"
_LIMITS_PER_TURN: Final = 100
"""Limits that are reported before other tasks run. There may be thousands."""
STEP_LABELS: Final = 50
"""The most labels of the findings of one step."""


Key: TypeAlias = tuple[Any, ...]
"""A ``MetricRow`` and the values of its labels."""


class ClientLabels(dict[str | None, str]):
    """The values of the label ``client`` by client name: all clients of the file, and a limited number of others.

    A person counts as its group, or without one as its issuer."""

    def __init__(self) -> None:
        self[None] = NONE
        self._met = 0
        self.people: UnlistedClients | None = None

    def __missing__(self, client: str | None) -> str:
        if client is not None and self.people is not None and (label := self.people.label_of(client)) is not None:
            return label
        if self._met >= MOST_CLIENTS:
            return OTHER
        self._met += 1
        return self.setdefault(client, client or NONE)


class Histograms(dict[Key, Buckets]):
    """The histograms by row and labels."""

    def __missing__(self, key: Key) -> Buckets:
        return self.setdefault(key, Buckets(key[0].bounds))


class Metrics(ExchangeObserver):
    """The metrics of one process, which observe all exchanges.

    ``folder`` is where workers share them, if they do; the environment variable ``FOLDER`` must have named it when the
    process started. ``mask`` recognizes keys, which clients sometimes send as names."""

    def __init__(self, folder: Path | None = None, mask: Mask | None = None) -> None:
        self._folder = folder
        self._mask = mask or Mask()
        self._registry: Registry | None = None
        # By row and labels, whose values are bounded. The last three wait for ``write``, before the first page for the
        # client library, which is slow to import.
        self._children: dict[Key, Any] = {}
        self._counted: defaultdict[Key, float] = defaultdict(float)
        self._timed = Histograms()
        self._gauges: dict[Key, float] = {}
        self._providers: set[str] = set()
        self._models: dict[str | None, tuple[str, str]] = {}  # the labels of each known model
        self._entries: set[str] = set()
        self._routes: set[str] = set()
        self._clients = ClientLabels()
        self._groups: dict[str | None, str] = {}  # group names by client name
        self._shown: dict[str, str] = {}  # the group in each client's info metric
        self._met: dict[str, str | None] = {}  # models of wildcard entries, with the first client of each
        self._queues: set[str] = set()  # entries that had waiting requests
        self._step_labels: dict[str, set[str]] = {}
        self._limits: set[tuple[MetricRow, str, str, str]] = set()  # limits that were reported
        self._cpu = 0.0
        self.gaps = Buckets(GAPS)
        if folder is not None:  # another worker may write the first page
            self.open_registry()
        self.set(rows.WORKERS, 1)
        self.set(rows.BUILD, 1, gateway.__version__)
        for result in ("accepted", "refused"):
            self.add(rows.RELOADS, result, by=0)

    def open_registry(self) -> "Registry":
        """Return the client library's registry. The first call creates it, with the values so far."""
        if self._registry is None:
            self._registry = import_named("gateway.features.metrics.registry:Registry")(self._folder)
            self.write()
        return self._registry

    def permit_names(self, config: Config) -> None:
        """Permit the names in ``config`` as label values from now on."""
        self._providers.update(entry.provider.id for entry in config.all_entries)
        labels = [(entry.provider.id, entry.model) for entry in config.all_entries if not entry.wildcard]
        self._models.update(("/".join(pair), pair) for pair in labels)
        self._entries.update(entry.name for entry in config.all_entries)
        self._routes.update(config.routes)
        self._clients.update((client.name, client.name) for client in config.client_keys if client.source == "file")
        self._permit_clients(config)
        # Prometheus does not see the first event of a counter that starts with it.
        for row in (rows.ATTEMPTS, rows.RETRIES, rows.ESTIMATED):
            for provider in self._providers:
                self.add(row, provider, by=0)
        self.report_queues({entry.name: 0 for entry in config.entries if entry.queue.size})
        for name, route in config.routes.items():
            if any(len(group) > 1 for group in route.groups):
                self.add(rows.STICKY, name, "hit", by=0)
            for word in ("yes", "no"):
                self.add(rows.FALLBACKS, name, word, by=0)
                if route.hedge is not None:
                    self.add(rows.HEDGES, name, word, by=0)
        for api in (NONE, *CODECS):
            self.add(rows.IN_FLIGHT, api, by=0)
        for api in CODECS:
            for provider in self._providers:
                self.add(rows.DROPS, api, provider, by=0)
            for phase in ("waiting", "answering"):
                self.add(rows.DISCONNECTS, api, phase, by=0)

    def _permit_clients(self, config: Config) -> None:
        self._clients.people = config.unlisted
        # The labels of people are names of groups and issuers, unless a client has that name too.
        self._groups = {group.name: group.name for group in config.client_groups if config.unlisted}
        for client in config.client_keys:
            self._groups[client.name] = NONE if client.group is None else client.group.name
        for client in config.client_keys:
            if client.source == "file" or client.name in self._shown:
                self._show_group(client.name)

    def _show_group(self, client: str) -> None:
        """Set the info metric of a client's group, and remove that of its former group."""
        group, former = self._groups.get(client, NONE), self._shown.get(client)
        if former is not None and former != group:
            self.set(rows.CLIENT, 0, client, former)
        self.set(rows.CLIENT, 1, client, group)
        self._shown[client] = group

    def take(self, figures: Figures) -> None:
        """Count and set the ``figures`` that are no part of an exchange."""
        counts, gauges = figures.take()
        for (name, *labels), by in counts.items():
            self.add(rows.BY_NAME[name], *labels, by=by)
        for (name, *labels), value in gauges.items():
            self.set(rows.BY_NAME[name], value, *labels)
        while figures.fields:
            self.count_steps(figures.fields.popleft().get("steps", ()))

    def add(self, row: MetricRow, *labels: str, by: float = 1) -> None:
        """Increase a counter. Like all numbers, the page has it after ``write``."""
        self._counted[row, *labels] += by

    def observe(self, row: MetricRow, value: float, *labels: str) -> None:
        """Add a value to a histogram."""
        self._timed[row, *labels].add(value)

    def set(self, row: MetricRow, value: float, *labels: str) -> None:
        """Set a gauge."""
        self._gauges[row, *labels] = value

    def write(self) -> None:
        """Write all numbers into the client library's metrics, whose locks cost more; none before the first page."""
        if self._registry is None:
            return
        for key, by in self._counted.items():
            self._child_of(key).inc(by)
        for key, buckets in self._timed.items():
            self._child_of(key).add(*buckets.take())
        for key, value in self._gauges.items():
            self._child_of(key).set(value)
        for written in (self._counted, self._timed, self._gauges):
            written.clear()

    def _child_of(self, key: Key) -> Any:
        if (one := self._children.get(key)) is None:
            row, *labels = key
            one = self.open_registry().metrics[row]
            one = self._children[key] = one.labels(*labels) if labels else one
        return one

    # Ends of exchanges

    def observe_exchange(self, record: Record, arrival: ArrivedRequest | None) -> "Metrics":
        """Count the start of an exchange, and observe it."""
        record.gaps = self.gaps
        self._counted[rows.IN_FLIGHT, _endpoint(record)] += 1
        if self._folder is not None:
            self.write()
        return self

    def note_end(self, record: Record, line: Mapping[str, Any]) -> None:
        if record.bill.is_complete and record.target not in self._models:
            self._permit_model(record.target, record.client)
        provider, model = self.target_labels(record.target)
        lane, client, ended, api = record.lane or NONE, self._clients[record.client], line["ended"], _endpoint(record)
        if client not in self._shown:
            self._show_group(client)
        self._counted[rows.IN_FLIGHT, api] -= 1  # on the same page as the other counts
        self._counted[rows.EXCHANGES, api, provider, model, lane, f"{line['status'] // 100}xx", ended, client] += 1
        if record.dropped and not set(record.dropped).issubset(record.by_operator):
            self._counted[rows.DROPS, api, provider] += 1
        if ended == "client_disconnected":
            self._counted[rows.DISCONNECTS, api, "waiting" if record.first_byte is None else "answering"] += 1
        if record.notes:
            self.count_steps(line.get("steps", ()))
        if "cache" in line:
            self._count_cached(record, client, line)
        if record.attempts:
            self._count_call(record, provider, model, line)
            self._observe_times(record, line["duration_ms"] / 1000, (provider, model, lane))
        if self._folder is not None:  # another worker may write the next page
            self.write()

    def count_steps(self, steps: Iterable[Mapping[str, Any]]) -> None:
        """Count the outcomes of steps, in the form of the log's field."""
        for one in steps:
            name, at = one["step"], one["at"]
            self._counted[rows.STEP_OUTCOMES, name, at, one["outcome"]] += 1
            self.observe(rows.STEP_SECONDS, one["ms"] / 1000, name, at)
            if "failure" in one:
                self.add(rows.STEP_FAILURES, name, one["failure"])
            if "labels" in one:
                self._count_findings(name, one["labels"])

    def _count_findings(self, step_name: str, labels: Mapping[str, int]) -> None:
        known = self._step_labels.setdefault(step_name, set())
        for label, count in labels.items():
            if label not in known and len(known) < STEP_LABELS:
                known.add(label)
            self.add(rows.STEP_FINDINGS, step_name, label if label in known else OTHER, by=count)

    def _count_call(self, record: Record, provider: str, model: str, line: Mapping[str, Any]) -> None:
        for one in record.bill.attempt_records:
            if one.requests:
                self._counted[rows.TARGET_ATTEMPTS, self._target(one), one.reason] += 1
            if one.notes:
                self._count_prompt_cache(one, one.notes.get("prompt_caches"), record)
        for charge in record.bill.charges():
            self._count_charge(charge, self._clients[record.client])
        if record.attempts > 1:
            self._count_retries(record, provider)
        else:
            self._counted[rows.ATTEMPTS, provider] += 1
        if line["ended"] == "upstream_error" and record.error is not None:
            self._counted[rows.UPSTREAM_ERRORS, provider, model, record.error.kind] += 1
        if record.bill.usage_or_estimate()[1]:
            self._counted[rows.ESTIMATED, provider] += 1

    def _count_cached(self, record: Record, client: str, line: Mapping[str, Any]) -> None:
        self._counted[rows.CACHE, client, line["cache"]] += 1
        if record.bill.from_cache:
            self._counted[rows.CACHE_SAVED, client] += line.get("saved_usd", 0)
            tokens = line.get("saved_input_tokens", 0) + line.get("saved_output_tokens", 0)
            self._counted[rows.CACHE_SAVED_TOKENS, client] += tokens

    def _count_prompt_cache(self, attempt: AttemptRecord, judged: "JudgedAttempt | None", record: Record) -> None:
        """Count the verdict about the provider's prompt cache."""
        if judged is None:
            return
        where = *self.target_labels(attempt.model), self._clients[record.client]
        verdict, lost = judged.verdict, judged.loss
        self._counted[rows.PROMPT_CACHE_TOKENS, *where, "could", NONE] += verdict.could
        self._counted[rows.PROMPT_CACHE_TOKENS, *where, "read", NONE] += verdict.read or 0
        rest = verdict.missed
        for place, cause in enumerate(verdict.causes):
            rest -= cause.tokens
            self._counted[rows.PROMPT_CACHE_TOKENS, *where, "missed", cause.name] += cause.tokens
            if lost is not None and lost.shares[place]:
                self._counted[rows.PROMPT_CACHE_LOST, *where, cause.name] += lost.shares[place] / 1e9
            if cause.word == CONTRADICTION:
                self._counted[rows.PROMPT_CACHE_CONTRADICTIONS, *where] += 1
        if rest > 0:
            self._counted[rows.PROMPT_CACHE_TOKENS, *where, "missed", NONE] += rest

    def _count_charge(self, charge: Charge, client: str) -> None:
        where, target = self.target_labels(charge.attempt.model), self._target(charge.attempt)
        if charge.cost is not None and charge.cost.grade == "subscription":
            self._counted[rows.ON_SUBSCRIPTION, *where, target, client] += 1
        elif charge.cost is not None:
            self._counted[rows.COST, *where, target, client, charge.cost.grade] += charge.cost.nanos / 1e9
        elif charge.usage.prompt or charge.usage.output or charge.usage.units:
            self._counted[rows.UNPRICED, *where, target] += 1
        usage = charge.usage
        for kind, number in zip(TOKEN_KINDS, _COUNTS(usage), strict=True):
            if number:
                self._counted[rows.TOKENS, *where, client, kind] += number
        for unit, number in charge.usage.units:
            self._counted[rows.BILLED_UNITS, *where, client, unit] += number

    def _count_retries(self, record: Record, provider: str) -> None:
        """Count an exchange with several attempts, whose last one used ``provider``.

        An attempt sends a second request if its connection was closed before it carried anything."""
        sent = [one.provider for one in record.bill.attempt_records if one.requests]
        asked = [provider_id if provider_id in self._providers else OTHER for provider_id in sent]
        asked += [provider] * (record.attempts - len(asked))
        for number, name in enumerate(asked):
            self._counted[rows.ATTEMPTS, name] += 1
            if number:
                self._counted[rows.RETRIES, name] += 1
        route = record.route if record.route in self._routes else NONE
        causes = {one.cause: one for one in record.bill.attempt_records}
        if "fallback" in causes:
            has_helped = record.bill.attempt_records[-1].reason == "ok"
            self._counted[rows.FALLBACKS, route, "yes" if has_helped else "no"] += 1
        if (hedge := causes.get("hedge")) is not None:
            self._counted[rows.HEDGES, route, "yes" if hedge.reason == "ok" else "no"] += 1
        if record.waited:
            self.observe(rows.ATTEMPT_WAIT, record.waited, route)

    def count_landings(self, landings: MutableMapping[tuple[str, Any], int]) -> None:
        """Count and remove ``landings``, by route and by where a turn was served."""
        while landings:
            (route, landed), number = landings.popitem()
            self.add(rows.STICKY, route if route in self._routes else NONE, landed, by=number)

    def _target(self, one: AttemptRecord) -> str:
        return one.target if one.target in self._entries or one.target in self._models else OTHER

    def _observe_times(self, record: Record, duration: float, labels: tuple[str, ...]) -> None:
        self.observe(rows.DURATION, duration, *labels)
        if record.first_byte is not None:
            self.observe(rows.FIRST_BYTE, record.first_byte, *labels)
        wrote = record.bill.characters or record.bill.is_complete  # otherwise an error was written
        if record.first_write is not None and wrote:
            self.observe(rows.FIRST_TOKEN, record.first_write, *labels)

    def _permit_model(self, target: str | None, client: str | None) -> None:
        """Permit a model that responded as a label value, unless it looks like a key or its client has its share.

        A series lasts until the restart. So that no client takes all label values, each may add at most as many as
        then remain free."""
        if target is None or len(target) > LONGEST_NAME or self._mask(target) != target:
            return
        free, own = MAX_MODELS - len(self._met), sum(met == client for met in self._met.values())
        is_shared = len(self._clients) > 2  # there are more labels than "none" and one client
        has_place = own < free if is_shared else free > 0
        provider, _, model = target.partition("/")
        if has_place and provider in self._providers and target.isprintable():
            self._met[target] = client
            self._models[target] = provider, model

    def target_labels(self, target: str | None) -> tuple[str, str]:
        """Return the labels of a record's target, as far as the configuration names it."""
        if (labels := self._models.get(target)) is not None:
            return labels
        if target is None:
            return NONE, NONE
        provider = target.partition("/")[0]
        return provider if provider in self._providers else OTHER, OTHER

    # Gauges

    def measure(self, pool: PoolStats, connections: int, background: int, draining: bool) -> None:
        """Set the gauges of connections, background turns, memory and CPU to their current values, and write all
        numbers."""
        self.set(rows.POOL, pool.active, "active")
        self.set(rows.POOL, pool.idle, "idle")
        self.set(rows.QUEUED, pool.queued)
        self.set(rows.CONNECTIONS, connections)
        self.set(rows.BACKGROUND, background)
        self.set(rows.DRAINING, draining)
        self.set(rows.MEMORY, resident())
        spent = sum(os.times()[:2])
        self.add(rows.CPU, by=spent - self._cpu)
        self._cpu = spent
        self._timed[rows.SILENCE,].merge(*self.gaps.take())
        self.write()

    def report_targets(self, out: Mapping[str, int], outages: Mapping[tuple[str, str], int]) -> None:
        """Report how many targets of each entry are ``out``, and count the new ``outages`` by entry and reason."""
        for entry in self._entries:
            self.set(rows.TARGETS_OUT, out.get(entry, 0), entry)
        for (entry, reason), number in outages.items():
            self.add(rows.OUTAGES, entry, reason, by=number)

    def count_refusals(self, refusals: MutableMapping[tuple[Any, Any], int]) -> None:
        """Count and remove ``refusals``, by the holder of the limit and its kind."""
        while refusals:
            (holder, limit), number = refusals.popitem()
            name = self._clients[holder.name] if holder.kind == "client_keys" else holder.name
            self.add(rows.LIMIT_REFUSALS, holder.kind, name, limit, by=number)

    def report_queues(self, lengths: Mapping[str, int]) -> None:
        """Report how many requests wait at each entry."""
        for entry in (self._queues | set(lengths)) & self._entries:
            self.set(rows.LIMIT_QUEUED, lengths.get(entry, 0), entry)
        self._queues.update(lengths)

    async def report_limits(self, shares: Mapping[tuple[MetricRow, str, str, str], float]) -> None:
        """Report how much of each limit is used: ``shares`` by metric and labels. Lets other tasks run meanwhile.

        A limit that is no longer among them is reported as zero."""
        gone = dict.fromkeys(self._limits - shares.keys(), 0.0)
        self._limits = set(shares)
        for number, ((row, *where), share) in enumerate((*gone.items(), *shares.items())):
            self.set(row, share, *where)
            if number % _LIMITS_PER_TURN == 0:
                self.write()
                await trio.lowlevel.checkpoint()
        self.write()

    def page(self) -> bytes:
        """Return the page for Prometheus, for all workers that share ``folder``. Reads files; may run in a thread."""
        return self.open_registry().page()


def resident() -> int:
    """Return the resident memory of this process in bytes; its maximum if the system does not report it."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def open_metrics(config: Config, mask: Mask | None = None) -> Metrics:
    """Return the metrics of this process."""
    folder = os.environ.get(FOLDER)
    metrics = Metrics(Path(folder) if folder else None, mask)
    metrics.permit_names(config)
    return metrics


def _endpoint(record: Record) -> str:
    """Return the endpoint that the client requested, or its API."""
    return (record.endpoint or record.api) if record.served else NONE
