"""Texts with U+0000, which PostgreSQL cannot have, in every place of the HTTP API: mistakes of the caller."""

import re

import pytest

from tests.support.admin import EVERY_ROUTE, AdminGateway, admin_gateway, soon
from tests.support.features import needs_feature

pytestmark = [pytest.mark.server, needs_feature("people")]

BODIES = {
    "raises.put_raise": {"budgets": ["40 usd/day"], "until": soon(9)},
    "litellm.generate_key": {"key_alias": "a\0b"},
    "litellm.update_key": {"key": "a\0b"},
    "litellm.delete_keys": {"key_aliases": ["a\0b"]},
}


@pytest.fixture(scope="module")
def admin(tmp_path_factory, database_server):
    storage = {"type": "postgres", "connection_string": database_server.new_schema()}
    with admin_gateway(tmp_path_factory.mktemp("admin"), state_storage=storage) as running:
        yield running


def callers():
    """Yield callers for ever, each within its rate."""
    number = 0
    while True:
        yield f"setup-{number % 12}"
        number += 1


CALLERS = callers()


def failures_of(admin: AdminGateway, calls):
    found = []
    for verb, path, body in calls:
        caller = "person" if path.startswith("/me") else next(CALLERS)
        reply = admin.call(caller, verb, path, body)
        if reply.status not in (400, 403, 404):
            found.append((verb, path, reply.status, reply.body))
    return found


def test_names_in_paths(admin):
    routes = [one for one in EVERY_ROUTE if "{" in one.path]
    assert routes
    for name in ("a%00b", "okta:a%00b", "group:a%00b"):
        calls = [
            (one.verb, re.sub(r"\{\w+\}", name, one.path), BODIES.get(one.handler, {}) if one.changes else None)
            for one in routes
        ]
        assert not failures_of(admin, calls)


def test_parameters_of_queries(admin):
    calls = [
        (one.verb, f"{re.sub(r'{.*}', 'x', one.path)}?{name}=a%00b", None)
        for one in EVERY_ROUTE
        for name in one.parameters
        if one.verb == "GET"
    ]
    assert calls
    assert not failures_of(admin, calls)


def test_members_of_bodies(admin):
    calls = [
        ("POST", one.path, BODIES[one.handler]) for one in EVERY_ROUTE if one.path.startswith("/key/") and one.changes
    ]
    calls += [
        ("PUT", "/admin/v1/keys/ci", {"models": ["a\0b"]}),
        ("PUT", "/admin/v1/keys/ci", {"group": "a\0b"}),
        ("PUT", "/admin/v1/people/okta:person-1/block", {"reason": "a\0b"}),
        ("PUT", "/me/keys/laptop", {"until": "a\0b"}),
        ("POST", "/key/generate", {"key_alias": "ci", "metadata": {"team": ["a\0b"]}}),
    ]
    assert not failures_of(admin, calls)
