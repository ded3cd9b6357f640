"""The HTTP API while its PostgreSQL server does not respond: each call fails soon, however many wait."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from tests.support.admin import EVERY_ROUTE, admin_gateway, soon
from tests.support.features import needs_feature
from tests.support.postgres import commit_relay

pytestmark = [pytest.mark.server, needs_feature("people")]

SIMULTANEOUS: Final = 10
LONGEST: Final = 22.0
"""Seconds: four operations of at most five seconds each, one after the other, on a busy machine."""

NAMES: Final = {"{name}": "okta:person-1", "{holder}": "okta:person-1", "{id}": "none"}
BODIES: Final = {
    "keys.put_key": {"group": "research", "until": soon()},
    "raises.put_raise": {"budgets": ["40 usd/day"], "until": soon(9)},
}


def path_of(path: str) -> str:
    for name, value in NAMES.items():
        path = path.replace(name, value)
    return path


@pytest.mark.parametrize("verb", ["GET", "changes"])
def test_simultaneous_calls_are_answered_while_the_storage_is_silent(tmp_path, server, verb):
    storage = {"type": "postgres", "connection_string": server.new_schema()}
    routes = [one for one in EVERY_ROUTE if (one.verb == "GET") == (verb == "GET") and not one.path.startswith("/me")]
    calls = [one for one in routes for _ in range(SIMULTANEOUS if one.handler == "keys.list_keys" else 2)]
    with admin_gateway(tmp_path, state_storage=storage) as admin:
        assert admin.call("admin", "GET", "/admin/v1/keys").status == 200
        admin.call("person", "GET", "/nowhere")

        def measure(number: int) -> tuple[str, int, float]:
            route, began = calls[number], time.monotonic()
            body = BODIES.get(route.handler, {}) if route.verb in ("PUT", "POST") else None
            caller = f"setup-{number % 12}"
            status = admin.call(caller, route.verb, path_of(route.path), body).status
            return f"{route.verb} {route.path}", status, time.monotonic() - began

        server.signal_all(signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(len(calls)) as pool:
                found = list(pool.map(measure, range(len(calls))))
        finally:
            server.signal_all(signal.SIGCONT)
        assert all(seconds < LONGEST for _, _, seconds in found), found
        assert {status for _, status, _ in found} <= {200, 400, 404, 503}, found
        assert any(status == 503 for _, status, _ in found)
        assert verb == "GET" or not any(status == 200 for _, status, _ in found), "nothing was changed"


def test_a_change_that_the_storage_did_not_confirm_is_not_called_undone(tmp_path, server):
    with commit_relay(server) as relay:
        storage = {"type": "postgres", "connection_string": relay.url(server.new_schema())}
        with admin_gateway(tmp_path, state_storage=storage) as admin:
            assert admin.call("admin", "PUT", "/admin/v1/keys/before", {}).status == 201
            relay.fate = "cut"
            reply = admin.call("admin", "PUT", "/admin/v1/keys/ci", {})
            relay.fate = ""
            assert (reply.status, reply.json["error"]["code"]) == (503, "in_doubt"), reply.body
            assert "unknown whether the change was made" in reply.json["error"]["message"]
            assert "nothing has changed" not in reply.body.decode()
            assert admin.call("admin", "GET", "/admin/v1/keys/ci").status == 200
            assert admin.call("admin", "PUT", "/admin/v1/keys/ci", {}, if_none_match="*").status == 409
