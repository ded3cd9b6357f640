"""The admin API over several processes: SQLite with two workers in each of two gateways, and PostgreSQL with two
gateways. Changes apply everywhere, simultaneous ones exclude each other, and each is in the audit once."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import pytest

from tests.support.admin import soon
from tests.support.features import needs_feature
from tests.support.harness import (
    Gateway,
    Late,
    Reply,
    config,
    eventually,
    free_port,
    provider,
    retried_when_late,
    running,
)
from tests.support.oidc import OidcProvider, open_provider

pytestmark = [pytest.mark.process, needs_feature("people")]

ADMINS = {f"admin-{number}": f"key-of-admin-{number}-0123456789" for number in range(8)}
HALF_A_SECOND = 0.5
NUMBERS = itertools.count()
RULE = {
    "when": {"groups": "ml"}, "group": "ci", "budgets": ["20 usd/day"], "raise_to": ["60 usd/day"],
    "own_keys": {"most": 3, "longest": "30d"},
}  # fmt: skip


@attrs.frozen
class Place:
    """Gateways over one storage, and the identity provider of their people."""

    gateways: tuple[Gateway, ...]
    identity: OidcProvider

    def call(self, number: int, method: str, path: str, body: Any = None, caller: str = "admin-0") -> Reply:
        """Send a request to one of the gateways on a new connection, which any of its workers may accept."""
        gateway = self.gateways[number % len(self.gateways)]
        return gateway.request(method, path, body, {"authorization": f"Bearer {ADMINS[caller]}"})

    def status_of(self, number: int, key: str) -> int:
        """Return the status of a request with ``key`` for no path: 404 if the key is good."""
        gateway = self.gateways[number % len(self.gateways)]
        return gateway.request("GET", "/nowhere", None, {"authorization": f"Bearer {key}"}).status

    def wait_everywhere(self, key: str, status: int) -> float:
        """Wait until each process answers ``key`` with ``status``, and return the seconds."""
        began, good = time.monotonic(), 0
        while good < 12:  # each process several times
            good = good + 1 if self.status_of(good, key) in (status, 429 if status == 401 else status) else 0
            assert time.monotonic() - began < 10
        return time.monotonic() - began


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.soak)])
def place(request, tmp_path_factory, upstream, storage) -> Iterator[Place]:
    clients = [{"name": name, "key": key, "role": "admin"} for name, key in ADMINS.items()]
    with contextlib.ExitStack() as stack:
        gateways, kept = [], storage(request.param)
        identity = stack.enter_context(open_provider())
        issuer = {"name": "okta", "issuer": identity.issuer, "audience": ["trigate"], "admit": [RULE]}
        for _ in range(2):
            port = free_port()
            settings = config(
                [provider("openai/up", upstream.url, ["chat"], price="free")], port, issuers=[issuer],
                state_storage=kept, stored_keys=True, client_keys=clients, client_groups=[{"name": "ci"}],
            )  # fmt: skip
            workers = "2" if request.param == "sqlite" else "1"
            gateways.append(stack.enter_context(running(settings, port, "--workers", workers)))
        yield Place(tuple(gateways), identity)


@retried_when_late
def test_a_key_works_and_ends_everywhere_within_half_a_second(place):
    path = f"/admin/v1/keys/quick-{next(NUMBERS)}"
    key = place.call(0, "PUT", path, {"group": "ci"}).json["key"]
    took = place.wait_everywhere(key, 404)
    control = place.wait_everywhere(key, 404)  # the same requests without a change
    assert place.call(1, "DELETE", path).status == 204
    ended = place.wait_everywhere(key, 401)
    if max(took, ended) - control >= HALF_A_SECOND + 0.5:
        raise Late(f"{took:.1f} s until the key worked, {ended:.1f} s until it ended, and {control:.1f} s for requests")


def test_a_caller_reads_its_own_change_on_every_process(place):
    for number in range(8):
        path = f"/admin/v1/keys/read-{number}"
        assert place.call(number, "PUT", path, {"group": "ci"}).status == 201
        assert place.call(number + 1, "GET", path).status == 200
        assert f"read-{number}" in {row["name"] for row in place.call(number + 1, "GET", "/admin/v1/keys").json["data"]}
        assert place.call(number + 1, "DELETE", path).status == 204
        assert place.call(number, "GET", path).status == 404


def test_simultaneous_changes_of_one_client_are_in_the_audit_once_each(place):
    def put(number: int) -> int:
        body = {"budgets": [f"{number + 1} tokens/day"]}
        return place.call(number, "PUT", "/admin/v1/keys/raced", body, f"admin-{number % 8}").status

    statuses = at_once(put, 24)
    assert set(statuses) <= {200, 201, 409}
    assert statuses.count(201) == 1
    rows = [row for row in all_rows(place) if row["path"] == "/admin/v1/keys/raced"]
    assert len(rows) == sum(status != 409 for status in statuses)
    last = place.call(0, "GET", "/admin/v1/keys/raced").json
    assert rows[-1]["after"]["budgets"] == last["budgets"]
    chained = itertools.pairwise(rows)
    assert all(before["after"] == after["before"] for before, after in chained), "no change is lost"


def test_the_numbers_of_the_audit_are_in_order_and_unique(place):
    numbers = [row["number"] for row in all_rows(place)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_rate_is_one_for_all_workers(place):
    paths = [f"/admin/v1/keys/none-{number}" for number in range(90)]
    statuses = [place.call(0, "DELETE", path, None, "admin-7").status for path in paths]
    assert statuses.count(404) < 80, "60 and what refills meanwhile"
    assert 429 in statuses


def test_people_are_listed_raised_and_blocked_on_every_process(place):
    token = place.identity.token(sub="ann", groups=["ml"], email="ann@example.com")

    def me(number: int, key: str = token) -> Reply:
        gateway = place.gateways[number % 2]
        return gateway.request("GET", "/me", None, {"authorization": f"Bearer {key}"})

    assert me(0).json["name"] == "okta:ann"
    path = "/admin/v1/people/okta:ann"
    own = place.gateways[0].request("PUT", "/me/keys/script", {}, {"authorization": f"Bearer {token}"}).json["key"]
    listed = place.call(1, "GET", "/admin/v1/people?group=ci&issuer=okta", None, "admin-1").json["data"]
    assert [(row["name"], row["label"]) for row in listed] == [("okta:ann", "ann@example.com")]
    body = {"budgets": ["40 usd/day"], "until": soon(7)}
    assert place.call(1, "PUT", "/admin/v1/raises/okta:ann", body, "admin-1").status == 201
    wait_for = "a raise in every process"
    eventually(lambda: all(amount_of(me(number)) == "40.000000000" for number in range(8)), what=wait_for)
    place.wait_everywhere(own, 404)
    assert place.call(0, "PUT", f"{path}/block", {"reason": "left"}, "admin-1").status == 201
    place.wait_everywhere(own, 401)
    assert me(0).status == me(1).status == 401
    assert place.call(1, "DELETE", f"{path}/block", None, "admin-1").status == 204
    place.wait_everywhere(own, 404)
    assert place.call(1, "DELETE", "/admin/v1/raises/okta:ann", None, "admin-1").status == 204
    assert place.call(0, "DELETE", path, None, "admin-1").status == 204
    who = {(row["who"], row["method"], row["path"]) for row in all_rows(place)}
    assert {("okta:ann", "PUT", "/me/keys/script"), ("admin-1", "PUT", f"{path}/block")} <= who


def amount_of(reply: Reply) -> str:
    amount: str = reply.json["budgets"][0]["amount"]
    return amount


def at_once(work: Callable[[int], int], times: int) -> list[int]:
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(work, range(times)))


def all_rows(place: Place) -> list[dict[str, Any]]:
    found, after = [], "0"
    while after is not None:
        page = place.call(0, "GET", f"/admin/v1/audit?limit=50&after={after}").json
        found += page["data"]
        after = page["next"]
    return found
