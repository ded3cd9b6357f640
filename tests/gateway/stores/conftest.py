"""A PostgreSQL server for the tests of stores."""

import itertools
from collections.abc import Iterator

import pytest

from tests.support import postgres


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    with postgres.server_or_skip() as running:
        yield running


SCHEMAS = itertools.count()


@pytest.fixture
def database(request) -> str:
    """The connection string of an empty place on the server."""
    name = f"t{next(SCHEMAS)}"
    server = request.getfixturevalue("server")
    server.sql(f"CREATE SCHEMA {name}")
    return f"{server.url}&options=-csearch_path%3D{name}"
