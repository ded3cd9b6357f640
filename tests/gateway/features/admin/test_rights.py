"""Every role on every path and verb of the HTTP API: each cell of the table is asserted, refused or served.

In LiteLLM, untested cells were holes: updates checked less than creations (BerriAI/litellm#8029), and another role
reached some paths (BerriAI/litellm#7336)."""

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count, cycle
from typing import Any, Final

import attrs
import pytest

from gateway.features.admin.table import AdminRoute, matches_of
from tests.support.admin import EVERY_ROUTE, PEOPLE, SETUP, AdminGateway, admin_gateway, soon
from tests.support.each_row import each_row
from tests.support.features import has_feature
from tests.support.harness import Reply

if not has_feature("people"):
    pytest.skip("the table has the calls of people, too", allow_module_level=True)

VERBS: Final = ("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS")
CALLERS: Final[Mapping[str, str]] = {
    "user": "user", "lead": "lead", "auditor": "auditor", "admin": "admin", "operator": "auditor",
    "person": "user", "lead person": "lead", "auditor person": "auditor", "admin person": "admin",
}  # fmt: skip
"""The role of each caller: clients of the file, the ``ui_key``, and people with tokens of an issuer."""

NUMBERS: Final = count()


@attrs.frozen
class Good:
    """A request of a route that succeeds for each role of the table.

    ``prepare`` makes the object whose name fills the path's variable; ``status`` is the success."""

    status: int = 200
    body: Callable[[str], Any] = lambda name: None
    prepare: Callable[[AdminGateway, str, str], None] = lambda gateway, setup, name: None
    name: str | None = None
    is_person: bool = False
    query: str = ""


def make_key(gateway: AdminGateway, setup: str, name: str) -> None:
    body = {"group": "research", "until": soon()}
    assert gateway.call(setup, "PUT", f"/admin/v1/keys/{name}", body).status == 201


def make_person(gateway: AdminGateway, setup: str, name: str) -> None:
    gateway.note_person(name)


def make_blocked(gateway: AdminGateway, setup: str, name: str) -> None:
    assert gateway.call(setup, "PUT", f"/admin/v1/people/{name}/block", {}).status == 201


def make_session(gateway: AdminGateway, setup: str, name: str) -> None:
    from gateway.features.people.records import IssuerSession, PersonSession, SeenPerson  # which may be deleted

    now, session = time.time(), f"session-{name}"
    person = SeenPerson(name, "okta", "", {}, "research", "user", now, now)
    origin = IssuerSession(session, name, "okta", {}, None, now)
    stored = PersonSession(session, session, name, "device", "test", "", now, now + 600, now + 60, now)
    assert gateway.stored(lambda store: store.sign_in(person, origin, stored))


def make_raise(gateway: AdminGateway, setup: str, name: str) -> None:
    make_person(gateway, setup, name)
    assert gateway.call(setup, "PUT", f"/admin/v1/raises/{name}", raise_body(name)).status == 201


def raise_body(name: str) -> dict[str, Any]:
    return {"budgets": ["40 usd/day"], "until": soon(7)}


GOOD: Final[Mapping[tuple[str, str], Good]] = {
    ("GET", "/me"): Good(),
    ("GET", "/me/usage"): Good(),
    ("GET", "/admin/v1/keys"): Good(),
    ("GET", "/admin/v1/keys/{name}"): Good(prepare=make_key),
    ("PUT", "/admin/v1/keys/{name}"): Good(201, lambda _: {"group": "research", "until": soon()}),
    ("DELETE", "/admin/v1/keys/{name}"): Good(204, prepare=make_key),
    ("POST", "/admin/v1/keys/{name}/rotate"): Good(200, lambda _: {}, make_key),
    ("GET", "/admin/v1/groups"): Good(),
    ("GET", "/admin/v1/groups/{name}"): Good(name="research"),
    ("GET", "/admin/v1/usage"): Good(),
    ("GET", "/admin/v1/people"): Good(),
    ("GET", "/admin/v1/people/{name}"): Good(prepare=make_person, is_person=True),
    ("DELETE", "/admin/v1/people/{name}"): Good(204, prepare=make_person, is_person=True),
    ("PUT", "/admin/v1/people/{name}/block"): Good(201, lambda _: {}, is_person=True),
    ("DELETE", "/admin/v1/people/{name}/block"): Good(204, prepare=make_blocked, is_person=True),
    ("DELETE", "/admin/v1/people/{name}/sessions"): Good(204, prepare=make_session, is_person=True),
    ("GET", "/admin/v1/raises"): Good(),
    ("GET", "/admin/v1/raises/{holder}"): Good(prepare=make_raise, is_person=True),
    ("PUT", "/admin/v1/raises/{holder}"): Good(201, raise_body, make_person, is_person=True),
    ("DELETE", "/admin/v1/raises/{holder}"): Good(204, prepare=make_raise, is_person=True),
    ("GET", "/admin/v1/audit"): Good(),
    ("POST", "/key/generate"): Good(200, lambda name: {"key_alias": name}),
    ("GET", "/key/info"): Good(query="?key=admin"),
    ("GET", "/key/list"): Good(),
    ("POST", "/key/update"): Good(200, lambda name: {"key": name, "rpm_limit": 5}, make_key),
    ("POST", "/key/delete"): Good(200, lambda name: {"key_aliases": [name]}, make_key),
}

KEY_ROUTES: Final = [route for route in EVERY_ROUTE if not route.of_person]
OWN_ROUTES: Final = [route for route in EVERY_ROUTE if route.of_person]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminGateway]:
    with admin_gateway(tmp_path_factory.mktemp("rights")) as served:
        yield served


def path_of(route: AdminRoute, name: str) -> str:
    return "/".join(name if step.startswith("{") else step for step in f"/{'/'.join(route.steps)}".split("/"))


def error_code(reply: Reply) -> str:
    assert set(reply.json) == {"error", "request_id"}
    assert set(reply.json["error"]) == {"type", "code", "message", "param"}
    assert reply.headers["x-request-id"] == reply.json["request_id"]
    return str(reply.json["error"]["code"])


def send_good(gateway: AdminGateway, caller: str | None, verb: str, route: AdminRoute) -> tuple[Reply, Good]:
    """Send the good request of ``route`` with this verb, after its preparation."""
    good, number = GOOD[route.verb, route.path], next(NUMBERS)
    name = good.name or f"{'okta:' if good.is_person else ''}made-{number}"
    if verb == route.verb:
        good.prepare(gateway, f"setup-{number % SETUP}", name)
    body = good.body(name) if verb == route.verb else None
    query = good.query if verb == route.verb else ""
    return gateway.call(caller, verb, path_of(route, name) + query, body), good


def test_the_table_has_a_good_request_for_each_route():
    assert GOOD.keys() == {(route.verb, route.path) for route in KEY_ROUTES}


CELLS: Final = [(route, caller, role) for route in KEY_ROUTES for caller, role in CALLERS.items()]


@pytest.mark.parametrize("cells", [CELLS[::2], pytest.param(CELLS, marks=pytest.mark.soak)], ids=len)
def test_each_role_has_exactly_the_rights_in_the_table(gateway, cells):
    """The gate tries every second caller of a route, by turns."""
    for route, caller, role in cells:
        reply, good = send_good(gateway, caller, route.verb, route)
        if role in route.roles and (caller, route.path) not in NOT_FOR:
            assert reply.status == good.status, (route, caller, reply.body)
        else:
            assert reply.status == 403, (route, caller, reply.body)
            assert error_code(reply) in ("role_needed", "no_client")


NOT_FOR: Final = {("operator", "/me/usage")}
"""Cells of the ``ui_key``, which is no client."""


TURNS: Final = cycle(CALLERS)
"""The next caller of a verb that no role may use."""


@each_row("path", sorted({route.path for route in KEY_ROUTES}), every=3)
def test_other_verbs_are_refused_for_every_role(gateway, path):
    route = next(route for route in KEY_ROUTES if route.path == path)
    allowed = {one.route.verb for one in matches_of(route.steps, EVERY_ROUTE)}
    for verb in VERBS:
        if verb in allowed or (verb == "HEAD" and "GET" in allowed):
            continue
        caller = next(TURNS)
        reply, _ = send_good(gateway, caller, verb, route)
        assert reply.status == 405, (verb, caller, reply.body)
        assert verb not in reply.headers["allow"].split(", ")
        assert set(reply.headers["allow"].split(", ")) >= allowed


@each_row("caller", [None, "stranger"])
@each_row("path", [*sorted({route.path for route in EVERY_ROUTE}), "/admin/v1/nothing", "/admin", "/team/new"], every=3)
def test_without_a_valid_credential_every_path_is_401(gateway, caller, path):
    for verb in ("GET", "PUT", "POST", "DELETE", "PATCH"):
        reply = gateway.call(caller, verb, path.replace("{name}", "x"), None)
        assert reply.status in (401, 429), (verb, reply.body)  # 429 after many wrong keys
        assert error_code(reply) in ("invalid_credential", "rate_limited")


WITHOUT_BODY: Final = {"rotate": 200, "block": 201}
"""Routes whose body has no settings that would be lost, by the end of their path, and their status."""


@each_row("route", [route for route in KEY_ROUTES if route.verb in ("PUT", "POST")], ids=lambda route: route.handler)
def test_a_request_that_has_lost_its_body_changes_nothing(gateway, route):
    good, number = GOOD[route.verb, route.path], next(NUMBERS)
    name, caller = f"{'okta:' if good.is_person else ''}made-{number}", f"setup-{number % SETUP}"
    good.prepare(gateway, caller, name)
    reply = gateway.call(caller, route.verb, path_of(route, name))
    expected = WITHOUT_BODY.get(route.steps[-1], 400)
    assert reply.status == expected, reply.body
    if expected == 400:
        assert error_code(reply) == "invalid_json"
        assert "the body is missing" in reply.json["error"]["message"]


def test_a_head_request_is_a_get_without_a_body(gateway):
    reply = gateway.call("admin", "HEAD", "/admin/v1/groups")
    assert (reply.status, reply.body) == (200, b"")


@each_row("caller", CALLERS)
def test_an_unknown_path_and_an_object_out_of_sight_are_the_same_404(gateway, caller):
    unknown = gateway.call(caller, "GET", "/admin/v1/nothing")
    assert (unknown.status, error_code(unknown)) == (404, "unknown_path")
    if CALLERS[caller] == "user":
        return
    assert gateway.call(caller, "GET", "/admin/v1/keys/nobody-has-this").status == 404


@each_row("route", OWN_ROUTES)
def test_only_people_have_keys_and_sessions_of_their_own(gateway, route):
    for caller in CALLERS:
        reply = gateway.call(caller, route.verb, path_of(route, f"none-{route.verb}"))
        if caller in PEOPLE:
            expected = {"GET": (200,), "DELETE": (404,), "PUT": (201, 403)}  # not every rule permits own keys
            assert reply.status in expected[route.verb], (caller, reply.body)
        else:
            assert (reply.status, error_code(reply)) == (403, "no_person"), caller


@pytest.mark.parametrize("more", [{}, {"stored_keys": False}, {"state_storage": None, "stored_keys": False}])
def test_without_issuers_no_client_has_its_own_keys_and_sessions(tmp_path, more):
    with admin_gateway(tmp_path, issuers=None, **more) as admin:
        for route in OWN_ROUTES:
            reply = admin.call("admin", route.verb, path_of(route, "none"), {} if route.verb == "PUT" else None)
            assert (reply.status, error_code(reply)) == (403, "no_person"), (route, reply.body)
