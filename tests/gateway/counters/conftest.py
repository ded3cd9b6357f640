"""The stores for the tests of counters."""

from collections.abc import Iterator

import pytest

from gateway.counters.counter_store import CounterStore
from tests.support import redis


@pytest.fixture(scope="module", autouse=True)
def collect_connections() -> Iterator[None]:
    yield
    redis.collect_left_open()


@pytest.fixture
def store(kind, request) -> CounterStore | None:
    """Return the store that several processes share. The fixture is synchronous: an async one loses a skip's reason."""
    if kind == "redis":
        from gateway.counters.redis import RedisCounters

        server = request.getfixturevalue("redis_server")
        server.say("FLUSHALL")
        return RedisCounters(server.url)
    if kind == "postgres":
        from gateway.counters.postgres import PostgresCounters

        return PostgresCounters(request.getfixturevalue("database"))
    return None
