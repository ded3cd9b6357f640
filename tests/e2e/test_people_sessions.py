"""Sessions of people over HTTP: simultaneous refreshes at two gateways with two workers each, and outages of the
storage and of the identity provider."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from tests.support.harness import Gateway, eventually, free_port, running
from tests.support.oidc import Fault, OidcProvider, open_provider
from tests.support.people_browser import PeopleBrowser, own_address
from tests.support.people_gateway import PEOPLE, issuer_settings, people_settings

pytestmark = pytest.mark.process

DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"
EXCHANGE: Final = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
}
FILE_KEY: Final = "key-of-ci-0123456789abcdef"
ADMIN_KEY: Final = "key-of-admin-0123456789abcdef"


@attrs.frozen
class Place:
    """Gateways at one public URL, with one storage and one identity provider."""

    gateways: tuple[Gateway, ...]
    settings: dict[str, Any]
    identity: OidcProvider

    def post(self, number: int, path: str, **fields: str) -> Any:
        """Send a form to one of the gateways, from an address of its own."""
        browser = PeopleBrowser(headers=own_address())
        gateway = self.gateways[number % len(self.gateways)]
        return browser.request("POST", f"http://127.0.0.1:{gateway.port}{path}", data=fields)

    def status_of(self, credential: str, number: int = 0, path: str = "/v1/models", **more: Any) -> int:
        gateway = self.gateways[number % len(self.gateways)]
        headers = {"authorization": f"Bearer {credential}"}
        return gateway.request(more.get("method", "GET"), path, more.get("body"), headers).status

    def sign_in(self, user: str) -> dict[str, Any]:
        """Return the tokens of a program that ``user`` has approved in a browser."""
        code = self.post(1, "/oauth/device_authorization").json()
        self.identity.signed_in = user
        browser = PeopleBrowser()
        browser.open(code["verification_uri_complete"])
        browser.submit()
        browser.press("decision", "approve")
        reply = self.post(1, "/oauth/token", grant_type=DEVICE_CODE, device_code=code["device_code"])
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    def refresh(self, token: str, number: int = 0) -> Any:
        return self.post(number, "/oauth/token", grant_type="refresh_token", refresh_token=token)


@contextlib.contextmanager
def places(
    storage: dict[str, Any], identity: OidcProvider, count: int, workers: int, awaited: str = "/readyz", **more: Any
) -> Iterator[Place]:
    port = free_port()
    clients = [{"name": "ci", "key": FILE_KEY}, {"name": "admin", "key": ADMIN_KEY, "role": "admin"}]
    settings = people_settings(
        port, Path(), issuer_settings(identity), client_keys=clients, **{**more, "state_storage": storage}
    )
    identity.redirect_uris.add(f"http://127.0.0.1:{port}/oauth/callback")
    with contextlib.ExitStack() as stack:
        gateways = []
        for number in range(count):
            own_port = port if number == 0 else free_port()
            listeners = [{**settings["listeners"][0], "port": own_port}]
            own = {**settings, "listeners": listeners}
            gateways.append(stack.enter_context(running(own, own_port, "--workers", str(workers), awaited=awaited)))
        yield Place(tuple(gateways), settings, identity)


@pytest.fixture
def identity() -> Iterator[OidcProvider]:
    with open_provider() as provider:
        provider.people.update({name: dict(claims) for name, claims in PEOPLE.items()})
        yield provider


@pytest.mark.parametrize(
    ("kind", "workers"),
    [
        pytest.param("sqlite", 2, marks=pytest.mark.soak),
        pytest.param("postgres", 2, marks=[pytest.mark.soak, pytest.mark.server]),
        pytest.param("postgres", 1, marks=pytest.mark.server),
    ],
)
def test_simultaneous_refreshes_in_several_processes_agree(kind, workers, storage, identity):
    with places(storage(kind), identity, 2, workers) as place:
        tokens = place.sign_in("ada")
        for _ in range(2):
            before = identity.count("/token")
            with ThreadPoolExecutor(12) as pool:
                replies = list(pool.map(lambda number: place.refresh(tokens["refresh_token"], number), range(12)))  # noqa: B023
            assert {reply.status_code for reply in replies} == {200}
            found = [reply.json() for reply in replies]
            assert len({one["refresh_token"] for one in found}) == 1, "a program may keep any of them"
            assert identity.count("/token") == before + 1, "the issuer's refresh token works once"
            assert {place.status_of(one["access_token"], i) for i, one in enumerate(found)} == {200}
            tokens = found[0]


def test_a_person_who_left_loses_access_with_the_next_refresh_at_any_gateway(storage, identity):
    with places(storage("sqlite"), identity, 2, 1) as place:
        tokens = place.sign_in("ada")
        assert place.status_of(tokens["access_token"], 1) == 200
        identity.revoked.add("ada")
        refused = place.refresh(tokens["refresh_token"], 1)
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_grant")
        for number in range(2):
            eventually(lambda i=number: place.status_of(tokens["access_token"], i) == 401, 5)


def test_an_outage_of_the_identity_provider_keeps_sessions(storage, identity):
    with places(storage("sqlite"), identity, 1, 1) as place:
        tokens = place.sign_in("ada")
        identity.go_down()
        assert place.refresh(tokens["refresh_token"]).status_code == 503
        assert place.status_of(tokens["access_token"]) == 200
        identity.faults.clear()
        assert place.refresh(tokens["refresh_token"]).status_code == 200


def test_an_outage_of_the_storage_keeps_everything_in_effect_that_was_read(request, storage, identity):
    kept = storage("postgres")
    server = request.getfixturevalue("database_server")
    with places(kept, identity, 1, 1) as place:
        tokens = place.sign_in("ada")
        session, token = tokens["access_token"], identity.token(**PEOPLE["ada"])
        own = place.gateways[0].request("PUT", "/me/keys/laptop", {}, {"authorization": f"Bearer {session}"}).json
        block = "/admin/v1/people/okta:00u2/block"
        assert place.status_of(ADMIN_KEY, 0, block, method="PUT", body={}) in (200, 201)
        blocked = identity.token(**PEOPLE["lin"])
        assert place.status_of(blocked) == 401
        server.stop()
        try:
            log = place.gateways[0].log
            eventually(lambda: any("cannot be read" in line for line in log), 20)
            for credential in (session, token, own["key"], FILE_KEY):
                assert place.status_of(credential) == 200
            assert place.status_of(blocked) == 401, "the block stays in effect"
            assert place.refresh(tokens["refresh_token"]).status_code == 503
            assert place.post(0, "/oauth/token", **EXCHANGE, subject_token=token).status_code == 503
            assert place.post(0, "/oauth/device_authorization").status_code == 503
            assert place.status_of(session, 0, "/me/keys/phone", method="PUT", body={}) == 503
            assert place.status_of(ADMIN_KEY, 0, block, method="DELETE") == 503
            with places(kept, identity, 1, 1, awaited="/healthz") as late:
                assert late.gateways[0].request("GET", "/readyz").status == 503
                assert late.status_of(FILE_KEY) == 200
                assert late.status_of(token) == 503, "it cannot know yet whether the person is blocked"
                server.start()
                eventually(lambda: late.status_of(token) == 200, 20)
                assert late.status_of(blocked) == 401
        finally:
            if server.process is None:
                server.start()
        eventually(lambda: place.refresh(tokens["refresh_token"]).status_code == 200, 20)
        assert place.status_of(ADMIN_KEY, 0, block, method="DELETE") == 204
        assert place.status_of(blocked) == 200, "the change applies immediately in the process that makes it"


@pytest.mark.soak  # it waits for seconds; tests/gateway/people/test_sessions.py lets a process without a socket die
def test_a_session_survives_the_death_of_a_gateway_during_its_refresh(storage, identity):
    """A process that dies after it has contacted the issuer holds up the next refresh for some seconds only."""
    hold = threading.Event()
    with places(storage("sqlite"), identity, 2, 2) as place:
        tokens = place.sign_in("ada")
        identity.rotates = False  # the dead process takes a rotated token with it
        tokens = place.refresh(tokens["refresh_token"]).json()
        identity.faults["/token"] = Fault(hold=hold)
        before = identity.count("/token")
        with ThreadPoolExecutor(1) as pool:
            lost = pool.submit(place.refresh, tokens["refresh_token"], 0)
            eventually(lambda: identity.count("/token") > before, 10)
            for pid in children_of(place.gateways[0].pid):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(Exception):
                lost.result(30)
        hold.set()
        identity.faults.clear()
        began = time.monotonic()
        eventually(lambda: place.refresh(tokens["refresh_token"], 1).status_code == 200, 30)
        assert time.monotonic() - began < 20


def children_of(pid: int | None) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]
