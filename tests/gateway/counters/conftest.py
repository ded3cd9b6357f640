"""Servers for the tests of counters."""

from collections.abc import Iterator

import pytest

from tests.gateway.stores.conftest import database, server
from tests.support import redis

__all__ = ["database", "redis_server", "server"]


@pytest.fixture(scope="session")
def redis_server() -> Iterator[redis.RedisServer]:
    bin = redis.binary()
    if bin is None:
        pytest.skip(redis.MISSING)
    with redis.running_redis(bin) as running:
        yield running
