"""Fixtures for the tests of the gateway: a clock, and one server of each database for a whole run."""

import itertools
from collections.abc import Iterator

import pytest

from tests.support import postgres, redis
from tests.support.set_clock import SetClock
from tests.support.settled_lines import LoggedExchanges

SCHEMAS = itertools.count()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def exchanges(caplog) -> LoggedExchanges:
    return LoggedExchanges(caplog)


@pytest.fixture(scope="session")
def server(database_server) -> postgres.Server:
    return database_server


@pytest.fixture
def database(request) -> str:
    """Return the connection string of an empty schema on the PostgreSQL server."""
    name = f"t{next(SCHEMAS)}"
    server = request.getfixturevalue("server")
    server.sql(f"CREATE SCHEMA {name}")
    return f"{server.url}&options=-csearch_path%3D{name}"


@pytest.fixture(scope="session")
def redis_server() -> Iterator[redis.RedisServer]:
    if (bin := redis.binary()) is None:
        pytest.skip(redis.MISSING)
    with redis.running_redis(bin) as running:
        yield running
