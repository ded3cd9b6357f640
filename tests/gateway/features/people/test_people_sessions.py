"""Sessions of people over HTTP during an outage of the storage, and after a reload."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import yaml

from tests.support.harness import Gateway, eventually, free_port, running
from tests.support.oidc import OidcProvider, open_provider
from tests.support.people_browser import PeopleBrowser, own_address
from tests.support.people_gateway import PEOPLE, issuer_settings, people_settings

pytestmark = pytest.mark.process

DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"
FILE_KEY: Final = "key-of-ci-0123456789abcdef"
ADMIN_KEY: Final = "key-of-admin-0123456789abcdef"


@attrs.frozen
class Place:
    """A gateway and its identity provider."""

    gateway: Gateway
    identity: OidcProvider

    def post(self, path: str, **fields: str) -> Any:
        """Send a form from a new address."""
        browser = PeopleBrowser(headers=own_address())
        return browser.request("POST", f"{self.gateway.url}{path}", data=fields)

    def status_of(self, credential: str, path: str = "/nowhere", method: str = "GET", body: Any = None) -> int:
        return self.gateway.request(method, path, body, {"authorization": f"Bearer {credential}"}).status

    def sign_in(self, user: str) -> dict[str, Any]:
        """Return the tokens of a program that ``user`` has approved in a browser."""
        code = self.post("/oauth/device_authorization").json()
        self.identity.signed_in = user
        browser = PeopleBrowser()
        browser.open(code["verification_uri_complete"])
        browser.submit()
        browser.press("decision", "approve")
        reply = self.post("/oauth/token", grant_type=DEVICE_CODE, device_code=code["device_code"])
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    def refresh(self, token: str) -> Any:
        return self.post("/oauth/token", grant_type="refresh_token", refresh_token=token)


@contextlib.contextmanager
def open_place(storage: dict[str, Any], identity: OidcProvider, awaited: str = "/readyz") -> Iterator[Place]:
    port = free_port()
    clients = [{"name": "ci", "key": FILE_KEY}, {"name": "admin", "key": ADMIN_KEY, "role": "admin"}]
    settings = people_settings(port, Path(), issuer_settings(identity), client_keys=clients, state_storage=storage)
    identity.redirect_uris.add(f"http://127.0.0.1:{port}/oauth/callback")
    with running(settings, port, awaited=awaited) as gateway:
        yield Place(gateway, identity)


@pytest.fixture
def identity() -> Iterator[OidcProvider]:
    with open_provider() as provider:
        provider.people.update({name: dict(claims) for name, claims in PEOPLE.items()})
        yield provider


def test_an_outage_of_the_storage_keeps_everything_in_effect_that_was_read(request, storage, identity):
    kept = storage("postgres")
    server = request.getfixturevalue("database_server")
    with open_place(kept, identity) as place:
        tokens = place.sign_in("ada")
        session, token = tokens["access_token"], identity.token(**PEOPLE["ada"])
        own = place.gateway.request("PUT", "/me/keys/laptop", {}, {"authorization": f"Bearer {session}"}).json
        block = "/admin/v1/people/okta:00u2/block"
        assert place.status_of(ADMIN_KEY, block, method="PUT", body={}) in (200, 201)
        blocked = identity.token(**PEOPLE["lin"])
        assert place.status_of(blocked) == 401
        server.stop()
        try:
            log = place.gateway.log
            eventually(lambda: any("cannot be read" in line for line in log), 20)
            for credential in (session, token, own["key"], FILE_KEY):
                assert place.status_of(credential) == 404
            assert place.status_of(blocked) == 401, "the block stays in effect"
            assert place.refresh(tokens["refresh_token"]).status_code == 503
            assert place.post("/oauth/device_authorization").status_code == 503
            assert place.status_of(session, "/me/keys/phone", method="PUT", body={}) == 503
            assert place.status_of(ADMIN_KEY, block, method="DELETE") == 503
            with open_place(kept, identity, "/healthz") as late:
                assert late.gateway.request("GET", "/readyz").status == 503
                assert late.status_of(FILE_KEY) == 404
                assert late.status_of(token) == 503, "it cannot know yet whether the person is blocked"
                server.start()
                eventually(lambda: late.status_of(token) == 404, 20)
                assert late.status_of(blocked) == 401
        finally:
            if server.process is None:
                server.start()
        eventually(lambda: place.refresh(tokens["refresh_token"]).status_code == 200, 20)
        assert place.status_of(ADMIN_KEY, block, method="DELETE") == 204
        assert place.status_of(blocked) == 404, "the change applies immediately in the process that makes it"


def test_a_signing_key_is_not_used_after_a_reload_without_it(tmp_path, identity):
    port, file = free_port(), tmp_path / "trigate.yaml"
    settings = people_settings(port, tmp_path, issuer_settings(identity))
    identity.redirect_uris.add(f"http://127.0.0.1:{port}/oauth/callback")
    file.write_text(yaml.safe_dump(settings))
    with running(file, port) as gateway:
        place = Place(gateway, identity)
        tokens = place.sign_in("ada")
        file.write_text(yaml.safe_dump({**settings, "signing_key": "B" * 43 + "="}))
        assert gateway.pid is not None
        os.kill(gateway.pid, signal.SIGHUP)
        eventually(lambda: any("signing_key changed" in line for line in gateway.log), what="the reload")
        assert place.refresh(tokens["refresh_token"]).status_code == 401
        assert place.refresh(place.sign_in("lin")["refresh_token"]).status_code == 200
