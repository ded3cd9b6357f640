"""Deletion of old rows by a gateway without issuers: raises that have ended, and the audit after 400 days."""

import contextlib
import sqlite3
import time

import pytest

from gateway.features.admin import sweeping
from gateway.features.admin.sweeping import AUDIT_DAYS, DAY
from tests.support.admin import admin_gateway, soon
from tests.support.harness import eventually


@pytest.mark.parametrize("days", [AUDIT_DAYS - 1, AUDIT_DAYS + 1])
def test_ended_raises_and_old_audit_rows_are_deleted_without_issuers(tmp_path, monkeypatch, days):
    monkeypatch.setattr(sweeping, "SWEEP_SECONDS", 0.02)
    with (
        admin_gateway(tmp_path, issuers=None) as served,
        contextlib.closing(sqlite3.connect(tmp_path / "state.sqlite", isolation_level=None)) as database,
    ):
        for holder in ("user", "group:research"):
            body = {"budgets": ["40 usd/day" if holder == "user" else "4000 usd/month"], "until": soon()}
            assert served.call("admin", "PUT", f"/admin/v1/raises/{holder}", body).status == 201

        def rows(table: str) -> int:
            found: int = database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            return found

        old, ended = time.time() - days * DAY, time.time() - 31 * DAY
        database.execute("UPDATE audit SET at = ? WHERE number = 1", (old,))
        database.execute("UPDATE raises SET until = ? WHERE holder = 'user'", (ended,))
        eventually(lambda: rows("raises") == 1, what="the deletion of the raise that has ended")
        left = 2 if days < AUDIT_DAYS else 1
        eventually(lambda: rows("audit") == rows("audit_digests") == left, what="the deletion of old audit rows")
