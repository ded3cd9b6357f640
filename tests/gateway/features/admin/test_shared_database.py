"""The database of a process: all features share its connections, and none depends on the tables of another."""

import contextlib
import os
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.support.admin import ENTRIES, admin_gateway, soon
from tests.support.features import needs_feature
from tests.support.gateway_thread import mock_thread

pytestmark = needs_feature("people")

MOST_FILES = 4
"""The writer, and readers that a request, a poll of keys and a task may need at a time."""


def open_files(path: Path) -> int:
    """Return how often this process has opened ``path``, which is once for each connection."""
    names = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return sum(os.path.realpath(name) == str(path) for name in names)


@pytest.mark.skipif(sys.platform != "linux", reason="counts the open files in /proc")
def test_all_parts_share_the_connections_which_end_last(tmp_path):
    with mock_thread() as mock:
        entries = [{**one, "base_url": mock.url, "state": "ours"} for one in ENTRIES]
        with admin_gateway(tmp_path, model_providers=entries) as admin:
            turn = {"model": "small", "input": "Hi", "store": True}
            for number in range(3):
                first = admin.call("user", "POST", "/v1/responses", turn)
                again = {**turn, "previous_response_id": first.json["id"]}
                assert admin.call("person", "POST", "/v1/responses", turn).status == 200
                assert admin.call("user", "POST", "/v1/responses", again).status == 200
                made = admin.call("admin", "PUT", f"/admin/v1/keys/k{number}", {"group": "research", "until": soon()})
                assert made.status == 201, made.body
                for path in ("/admin/v1/usage", "/admin/v1/people", "/admin/v1/audit", "/v1/files"):
                    assert admin.call("admin", "GET", path).status in (200, 404)
            assert 2 <= open_files(tmp_path / "state.sqlite") <= MOST_FILES
        assert open_files(tmp_path / "state.sqlite") == 0
        assert [line for line in admin.gateway.log if "cannot be read" in line or "closed" in line] == []


def test_tables_of_a_newer_version_stop_only_their_feature_with_a_message(tmp_path):
    with mock_thread() as mock:
        entries = [{**one, "base_url": mock.url, "state": "ours"} for one in ENTRIES]
        with admin_gateway(tmp_path, model_providers=entries) as admin:
            assert admin.call("person", "POST", "/v1/responses", {"model": "small", "input": "Hi"}).status == 200
        with contextlib.closing(sqlite3.connect(tmp_path / "state.sqlite")) as database:
            database.execute("UPDATE added_tables SET version = 99 WHERE name = 'people'")
            database.commit()
        with admin_gateway(tmp_path, model_providers=entries) as admin:
            stored = admin.call("user", "POST", "/v1/responses", {"model": "small", "input": "Hi", "store": True})
            assert stored.status == 200
            found = admin.call("user", "GET", f"/v1/responses/{stored.json['id']}")
            assert found.status == 200
            assert admin.call("admin", "GET", "/admin/v1/usage").status == 200
            refused = admin.call("admin", "GET", "/admin/v1/audit")
            assert (refused.status, "newer version of trigate" in refused.body.decode()) == (503, True)
        assert [line for line in admin.gateway.log if "the people tables" in line and "newer version" in line]
        assert [line for line in admin.gateway.log if "Traceback" in line] == []
