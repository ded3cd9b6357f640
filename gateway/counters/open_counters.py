"""The counters that a configuration asks for."""

from gateway.config.allowances import CounterSettings
from gateway.counters.counter import Counters
from gateway.counters.memory import LocalCounters
from gateway.counters.workers import WorkerCounters
from gateway.shared.tables import SharedTables


def open_counters(settings: CounterSettings, shared: SharedTables | None = None) -> Counters:
    """Where all configurations of this process count; ``shared`` is what it has in common with other workers."""
    return LocalCounters() if shared is None else WorkerCounters(shared.amounts, shared.clock)
