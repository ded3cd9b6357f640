"""No call of the HTTP API keeps the event loop and its streams waiting, also with thousands of stored clients."""

import contextlib
import csv
import hashlib
import itertools
import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from gateway.config_files.loading import from_mapping
from gateway.features.admin.followed_keys import FollowedKeys
from gateway.features.admin.key_store import KeyStore
from gateway.stores.sqlite import SqliteDatabase
from gateway.viewing.periods import microseconds
from tests.support import in_process
from tests.support.admin import AdminGateway, admin_config, admin_gateway, soon
from tests.support.each_row import each_row
from tests.support.features import has_feature, needs_feature, rows_of
from tests.support.gateway_thread import ThreadGateway
from tests.support.harness import with_ports
from tests.support.loop_steps import check_measured_steps, check_own_steps, gateway_steps

CLIENTS: Final = 3000


@pytest.fixture(scope="module")
def many_clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminGateway]:
    folder = tmp_path_factory.mktemp("many_clients")
    store_clients(folder)
    with admin_gateway(folder) as admin:
        yield admin


def store_clients(folder: Path, clients: int = CLIENTS) -> None:
    """Store many clients, faster than one by one."""

    async def create_tables() -> None:
        store = KeyStore(SqliteDatabase(folder / "state.sqlite"))
        await store.read()
        await store.database.aclose()

    trio.run(create_tables)
    if has_feature("kept_ledger"):
        store_lines(folder)
    rows = [(f"client-{number:05}", json.dumps({"client": item(number)})) for number in range(clients)]
    with contextlib.closing(sqlite3.connect(folder / "state.sqlite")) as db, db:
        db.executemany("INSERT INTO client_keys VALUES (?, ?)", rows)
        db.execute(
            "INSERT INTO key_changes (at, made_by, event, name, about, mark) "
            "VALUES (1, 'test', 'added', 'x', '{}', 'm')"
        )


def store_lines(folder: Path) -> None:
    """Store a line of the ledger for each client."""
    from tests.support.ledger_lines import add_lines, attempt, line  # of a feature, which may be deleted

    began = microseconds(datetime.now(UTC))
    lines = [line(attempt(number), began=began - number, client=f"client-{number:05}") for number in range(CLIENTS)]
    trio.run(add_lines, folder / "state.sqlite", lines)


def item(number: int) -> dict[str, object]:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return {
        "group": "research" if number % 2 else "ci",
        "budgets": ["10 usd/day"],
        "ratelimits": {"requests": "60/m"},
        "keys": [{"sha256": digest}],
    }


@each_row(
    ("caller", "method", "path", "body", "status"),
    [
        ("admin", "GET", "/admin/v1/keys?limit=1000", None, 200),
        ("admin", "GET", "/admin/v1/keys?limit=1000&state=ended", None, 200),
        ("lead", "GET", "/admin/v1/keys?limit=1000&after=client-02000", None, 200),
        ("admin", "GET", "/admin/v1/keys/client-00001", None, 200),
        ("admin", "PUT", "/admin/v1/keys/new", {"group": "ci"}, 201),
        ("lead", "PUT", "/admin/v1/keys/of-lead", {"group": "research", "models": ["small"], "until": soon()}, 201),
        ("admin", "POST", "/admin/v1/keys/client-00001/rotate", {}, 200),
        ("admin", "DELETE", "/admin/v1/keys/client-00002", None, 204),
        ("auditor", "GET", "/admin/v1/groups", None, 200),
        ("auditor", "GET", "/admin/v1/usage?by=key,day", None, 200),
        ("auditor", "GET", "/admin/v1/usage?by=key,day&format=csv", None, 200),
        *rows_of("people", ("auditor", "GET", "/ui/usage?by=key,day", None, 200)),
        ("auditor", "GET", "/admin/v1/audit?limit=1000", None, 200),
        ("admin", "GET", "/key/list?size=100&return_full_object=true", None, 200),
        ("user", "GET", "/me", None, 200),
    ],
)
def test_no_call_keeps_the_loop_busy(many_clients, caller, method, path, body, status):
    many_clients.call(caller, "GET", "/me")  # its modules are imported
    assert isinstance(many_clients.gateway, ThreadGateway)
    with gateway_steps(many_clients.gateway) as steps:
        reply = many_clients.call(caller, method, path, body)
    assert reply.status == status, reply.body
    check_measured_steps(steps)


async def test_no_reload_keeps_the_loop_busy(tmp_path):
    await trio.to_thread.run_sync(store_clients, tmp_path, 3 * CLIENTS)
    database, numbers = SqliteDatabase(tmp_path / "state.sqlite"), itertools.count(100)
    keys = FollowedKeys(KeyStore(database))

    def changed_content() -> dict[str, Any]:
        groups = [{"name": "research"}, {"name": "ci", "budgets": [f"{next(numbers)} usd/day"]}]
        return with_ports(admin_config(tmp_path, client_groups=groups))[0]

    await keys.read(from_mapping(changed_content()))
    async with in_process.gateway(changed_content()) as gateway:

        async def reload() -> None:
            assert await gateway.served.reload(lambda: from_mapping(changed_content()), keys.complete)

        await reload()  # its modules are imported
        await check_own_steps(reload)
        clients = gateway.served.current[0].client_keys
        assert sum(client.source == "state storage" for client in clients) == 3 * CLIENTS
    await database.aclose()


@needs_feature("people")
def test_a_page_of_thousands_of_clients_reports_hidden_rows(many_clients):
    """Ten thousand rows were 7 MB of HTML, which took a second of the event loop (CWE-400)."""
    from gateway.features.people.console.sections import MOST_SHOWN  # which may be deleted

    query = "by=key&since=1d"
    page = many_clients.call("auditor", "GET", f"/ui/usage?{query}").body.decode()
    table = many_clients.call("auditor", "GET", f"/ui/usage?{query}&format=csv").body.decode()
    assert f"This page shows the first {MOST_SHOWN:,} of {CLIENTS:,} rows." in page
    assert page.count('<th scope="row"') == MOST_SHOWN + 1  # and the total
    assert len(list(csv.DictReader(table.splitlines()))) == CLIENTS
