"""The parts of a service, each opened from a configuration, or ``None`` if the configuration does not need it.

A part with an argument ``before`` continues the one of an earlier configuration."""

import os
import sys
from typing import TYPE_CHECKING

from gateway.access.shares import Shares, UpstreamShare
from gateway.allowances.allowances import Allowances
from gateway.allowances.queue import Queueing
from gateway.allowances.seeds import budgets_of, raise_to_opening
from gateway.allowances.shared_queue import LOCAL_POLL, REMOTE_POLL, SharedQueues
from gateway.config.settings import Config
from gateway.counters.counter import Counters
from gateway.counters.open_counters import open_counters
from gateway.health.health import Health
from gateway.health.states import SharedStates
from gateway.ledger.ledger import Ledger
from gateway.log_output.terminal import Printer
from gateway.open_store import missing_package
from gateway.seams.identify import ClientSource
from gateway.seams.observers import Observation
from gateway.serving.lifecycle import Lifecycle
from gateway.upstream.client import Upstream
from gateway.upstream.framing import MAX_CHUNK

if TYPE_CHECKING:
    from gateway.shared.tables import SharedTables


def open_ledger(config: Config, readable: bool | None, lifecycle: Lifecycle) -> Ledger:
    """Return the ledger, whose open exchanges ``lifecycle`` settles at the end. Its lines are for people if they are
    ``readable``, by default on a terminal."""
    is_readable = sys.stderr.isatty() if readable is None else readable
    ledger = Ledger(Printer.of(sys.stderr).exchange if is_readable else None)
    ledger.observe = Observation()
    ledger.mask.apply_config(config)
    lifecycle.on_flush(ledger.flush)
    return ledger


def open_allowances(config: Config, shared: "SharedTables | None", clients: ClientSource) -> Allowances:
    """Return the limits of clients and targets, with the budgets of ``clients``. Raises ``ConfigError``."""
    counters = _open_counters(config, shared)
    return Allowances(config, counters, queues=_shared_queues(counters, shared), amounts=clients)


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


def raise_new_budgets(config: Config, allowances: Allowances, before: Allowances | None = None) -> None:
    """Raise the spent part of budgets that are new since ``before`` to the opening spend."""
    if not config.opening_spend:
        return
    raise_to_opening(allowances, budgets_of(allowances, before), config.opening_spend)


def _open_counters(config: Config, shared: "SharedTables | None") -> Counters:
    try:
        return open_counters(config.counters, shared)
    except ImportError:
        raise missing_package(config, "counters.type", config.counters.type) from None


def _shared_queues(counters: Counters, shared: "SharedTables | None") -> Queueing | None:
    """Return the queues that all workers share, or ``None`` if this is the only process."""
    if shared is None:
        return None
    is_alive, seat = shared.memory.has_seat, shared.seat
    poll = LOCAL_POLL if counters.remote is None else REMOTE_POLL
    return SharedQueues(counters, shared.queues, seat, os.getpid(), is_alive, shared.clock, poll)


def max_chunk(config: Config) -> int:
    """Return the largest permitted chunk of a provider's stream in bytes. The length of a stream is unlimited, and the
    lane limits its events."""
    return max(config.limits.answer, MAX_CHUNK)
