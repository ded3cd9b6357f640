"""Databases with the tables of people, and a browser without JavaScript, shared by the tests of people."""

from collections.abc import Callable, Iterator

import pytest

from gateway.stores.database import Database
from tests.support.browser import Page, browsing


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
def open_database(request, tmp_path) -> Callable[..., Database]:
    """Return a function that opens one place once more."""
    place = request.getfixturevalue("database") if request.param == "postgres" else tmp_path / "state.sqlite"

    def open_again() -> Database:
        if request.param == "sqlite":
            from gateway.stores.sqlite import SqliteDatabase

            return SqliteDatabase(place)
        from gateway.stores.postgres import PostgresDatabase

        return PostgresDatabase(place)

    return open_again


@pytest.fixture
def page() -> Iterator[Page]:
    with browsing() as page:
        page.send("Emulation.setScriptExecutionDisabled", value=True)  # of the pages; the tests' own scripts still run
        yield page
