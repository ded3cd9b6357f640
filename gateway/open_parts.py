"""The parts of a service, each opened from a configuration, or ``None`` if the configuration does not need it.

A part with an argument ``before`` continues the one of an earlier configuration."""

import os
from typing import TYPE_CHECKING

from configfile.keys import part_of
from gateway.access.authentication import Authenticator
from gateway.access.shares import Shares, UpstreamShare
from gateway.allowances.allowances import Allowances
from gateway.allowances.queue import Queueing
from gateway.allowances.raises import Raises
from gateway.config.loading import Config
from gateway.counters.counter import Counters
from gateway.counters.open_counters import open_counters
from gateway.features.live_view.feature import LiveViewKeys
from gateway.features.live_view.live import LiveView, NoLiveView, open_live_view
from gateway.features.tracing.feature import TracingKeys
from gateway.health.health import Health
from gateway.health.states import SharedStates
from gateway.ledger.ledger import Ledger
from gateway.open_store import missing_package
from gateway.seams.identify import ClientSource
from gateway.seams.observe import Observation, observation_of
from gateway.serving.lifecycle import Lifecycle
from gateway.telemetry.tap import ExchangeTracer
from gateway.upstream.client import Upstream
from gateway.upstream.framing import MAX_CHUNK

if TYPE_CHECKING:
    from gateway.features.steps.loaded import StepSet
    from gateway.features.steps.observers import FinishedRecords
    from gateway.shared.tables import SharedTables
    from gateway.telemetry.content import ContentKeeper


def open_ledger(config: Config, readable: bool | None, lifecycle: Lifecycle) -> Ledger:
    """Return the ledger, whose open exchanges ``lifecycle`` settles at the end."""
    ledger = Ledger(readable)
    ledger.observe = Observation()
    ledger.mask.apply_config(config)
    lifecycle.on_flush(ledger.flush)
    return ledger


def open_allowances(config: Config, shared: "SharedTables | None", clients: ClientSource) -> Allowances:
    """Return the limits of clients and targets, with the raises of ``clients``. Raises ``ConfigError``."""
    counters, raises = _open_counters(config, shared), Raises(lambda: clients.raises)
    return Allowances(config, counters, queues=_shared_queues(counters, shared), raises=raises)


def open_health(config: Config, shared: "SharedTables | None") -> Health:
    """Return the health of the targets, which ``shared`` shares with other workers."""
    health = Health() if shared is None else Health(shared.clock, SharedStates(shared.circuits), shared.workers)
    health.apply_config(config)
    return health


def open_upstream(config: Config, shares: Shares) -> Upstream:
    """Return the connections to providers, which the clients' ``shares`` divide."""
    return Upstream(
        max_connections=config.limits.upstream_connections,
        max_chunk=max_chunk(config),
        share=UpstreamShare(config, shares),
        ca_path=str(config.ca_path) if config.ca_path else None,
    )


def open_observers(
    steps: "StepSet | None",
    authenticator: Authenticator,
    ledger: Ledger,
    finished: "FinishedRecords | None" = None,
    contents: "ContentKeeper | None" = None,
) -> "tuple[FinishedRecords | None, ContentKeeper | None]":
    """Return the collectors of finished exchanges and of their texts, ``None`` if nothing needs them.

    ``finished`` and ``contents`` of an earlier configuration use the observers of ``steps`` from now on."""
    if finished is None and (steps is None or not any(step.is_observer for step in steps.steps)):
        return None, contents
    from gateway.features.steps.observers import FinishedRecords
    from gateway.telemetry.content import ContentKeeper

    if finished is None:
        finished = FinishedRecords(ledger.figures)
        observation_of(ledger).observes.append(finished.observe)
        ledger.finishers.append(finished.finish)
    finished.use(steps, authenticator.find_group)
    if contents is None and steps is not None and any(step.wants_content for step in steps.steps):
        contents = ContentKeeper()
        observation_of(ledger).observes.insert(0, contents.observe)  # before the observers that read the texts
        contents.add(finished.wants_content)
    return finished, contents


def open_traced_texts(
    config: Config,
    authenticator: Authenticator,
    ledger: Ledger,
    tracing: ExchangeTracer,
    contents: "ContentKeeper | None",
) -> "ContentKeeper | None":
    """Return the collector of texts, which also collects those for ``tracing``, if the configuration wants them."""
    settings = part_of(config, TracingKeys).tracing
    patterns = () if settings is None else settings.content
    if not tracing.is_active or not patterns:
        return contents
    from gateway.features.steps.scope import matches
    from gateway.features.tracing.tracing import Tracing
    from gateway.telemetry.content import ContentKeeper

    assert isinstance(tracing, Tracing)
    if contents is None:
        contents = ContentKeeper()
        observation_of(ledger).observes.insert(0, contents.observe)
    tracing.shows_group = lambda group: matches(patterns, (group,))
    tracing.use_groups(authenticator.find_group)
    contents.add(tracing.wants_content)
    return contents


def raise_new_budgets(config: Config, allowances: Allowances, before: Allowances | None = None) -> None:
    """Raise the spent part of budgets that are new since ``before`` to the opening spend."""
    if not config.opening_spend:
        return
    from gateway.allowances.seeds import budgets_of, raise_to_opening

    raise_to_opening(allowances, budgets_of(allowances, before), config.opening_spend)


def open_tracer(config: Config, ledger: Ledger) -> ExchangeTracer:
    """Return the tracer of exchanges and add it to the observers of ``ledger``.

    It does nothing unless the configuration or the environment names a collector."""
    if part_of(config, TracingKeys).tracing is None and not any(
        name.startswith("OTEL_EXPORTER_OTLP_") for name in os.environ
    ):
        return ExchangeTracer()
    from gateway.features.tracing.tracing import Tracing, open_tracing

    tracing = open_tracing(config, ledger)
    if isinstance(tracing, Tracing):
        observation_of(ledger).observes.append(tracing.observe)
    return tracing


def _open_counters(config: Config, shared: "SharedTables | None") -> Counters:
    try:
        return open_counters(config.counters, shared)
    except ImportError:
        raise missing_package(config, "counters.type", config.counters.type) from None


def _shared_queues(counters: Counters, shared: "SharedTables | None") -> Queueing | None:
    """Return the queues that all workers share, or ``None`` if this is the only process."""
    if shared is None:
        return None
    from gateway.allowances.shared_queue import LOCAL_POLL, REMOTE_POLL, SharedQueues

    is_alive, seat = shared.memory.has_seat, shared.seat
    poll = LOCAL_POLL if counters.remote is None else REMOTE_POLL
    return SharedQueues(counters, shared.queues, seat, os.getpid(), is_alive, shared.clock, poll)


def max_chunk(config: Config) -> int:
    """Return the largest permitted chunk of a provider's stream in bytes. The length of a stream is unlimited, and the
    lane limits its events."""
    return max(config.limits.answer, MAX_CHUNK)


def open_configured_view(
    config: Config, ledger: Ledger, before: LiveView | NoLiveView | None = None
) -> LiveView | NoLiveView:
    """Return the live view, which keeps no texts if it shows none."""
    keys = part_of(config, LiveViewKeys)
    shows = keys.answers != "none"
    keep, prompts = keys.ui_keep and shows, keys.ui_prompts and shows
    return open_live_view(ledger, bool(keys.ui), before, keep=keep, prompts=prompts)
