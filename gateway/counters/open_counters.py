"""The counters that a configuration selects."""

from typing import TYPE_CHECKING, Final

from gateway.config.state_storage import CounterSettings
from gateway.counters.counter import Counters
from gateway.counters.memory import LocalCounters
from gateway.named_imports import import_named

if TYPE_CHECKING:
    from gateway.shared.tables import SharedTables


def open_counters(settings: CounterSettings, shared: "SharedTables | None" = None) -> Counters:
    """Return the counters for all configurations of this process; ``shared`` is the memory common to all workers.

    Raises ``ImportError`` for a missing package."""
    if settings.type == "memory":
        if shared is None:
            return LocalCounters()
        workers: Counters = import_named("gateway.counters.workers:WorkerCounters")(shared.amounts, shared.clock)
        return workers
    store = import_named(_STORES[settings.type])(settings.url)
    remote: Counters = import_named("gateway.counters.remote:RemoteCounters")(store, settings.when_down)
    return remote


_STORES: Final = {
    "redis": "gateway.counters.redis:RedisCounters",
    "postgres": "gateway.counters.postgres:PostgresCounters",
}
"""The stores of counters, which are imported only when needed: they are large."""
