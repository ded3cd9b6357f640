"""The counters that a configuration selects."""

from typing import TYPE_CHECKING, assert_never

from gateway.config.counters import CounterSettings
from gateway.counters.counter import Counters
from gateway.counters.memory import LocalCounters

if TYPE_CHECKING:
    from gateway.counters.counter_store import CounterStore
    from gateway.shared.tables import SharedTables


def open_counters(settings: CounterSettings, shared: "SharedTables | None" = None) -> Counters:
    """Return the counters for all configurations of this process; ``shared`` is the memory common to all workers.

    Raises ``ImportError`` for a missing package."""
    if settings.type == "memory":
        if shared is None:
            return LocalCounters()
        from gateway.counters.workers import WorkerCounters

        return WorkerCounters(shared.amounts, shared.clock)
    from gateway.counters.remote import RemoteCounters

    return RemoteCounters(_store(settings), settings.when_down)


def _store(settings: CounterSettings) -> "CounterStore":
    assert settings.url is not None
    match settings.type:
        case "redis":
            from gateway.counters.redis import RedisCounters  # imported only when needed: it is large

            return RedisCounters(settings.url)
        case "postgres":
            from gateway.counters.postgres import PostgresCounters

            return PostgresCounters(settings.url)
        case "memory":
            raise ValueError("memory is not a store")
    assert_never(settings.type)
