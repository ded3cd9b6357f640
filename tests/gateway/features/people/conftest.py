"""Databases with the tables of people, shared by the tests of people."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.features.admin.tables import PEOPLE_TABLES
from gateway.stores.sql import Database


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
def open_database(request, tmp_path) -> Callable[..., Database]:
    """Return a function that opens one place once more, by default with the tables of people."""
    place = request.getfixturevalue("database") if request.param == "postgres" else tmp_path / "state.sqlite"

    def open_again(added: Any = PEOPLE_TABLES) -> Database:
        if request.param == "sqlite":
            from gateway.stores.sqlite import SqliteDatabase

            return SqliteDatabase(place, added)
        from gateway.stores.postgres import PostgresDatabase

        return PostgresDatabase(place, most=2, added=added)

    return open_again
