"""Sessions of people over HTTP during an outage of the storage, and after a reload."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.harness import eventually, free_port, running
from tests.support.oidc import OidcProvider, open_provider
from tests.support.people_gateway import PEOPLE, PeopleGateway, issuer_settings, people_settings

pytestmark = pytest.mark.process

FILE_KEY: Final = "key-of-ci-0123456789abcdef"
ADMIN_KEY: Final = "key-of-admin-0123456789abcdef"


@contextlib.contextmanager
def open_place(storage: dict[str, Any], identity: OidcProvider, awaited: str = "/readyz") -> Iterator[PeopleGateway]:
    port = free_port()
    clients = [{"name": "ci", "key": FILE_KEY}, {"name": "admin", "key": ADMIN_KEY, "role": "admin"}]
    settings = people_settings(port, Path(), issuer_settings(identity), client_keys=clients, state_storage=storage)
    identity.redirect_uris.add(f"http://127.0.0.1:{port}/oauth/callback")
    with running(settings, port, awaited=awaited) as gateway:
        yield PeopleGateway(gateway, identity, settings)


@pytest.fixture
def identity() -> Iterator[OidcProvider]:
    with open_provider() as provider:
        provider.people.update({name: dict(claims) for name, claims in PEOPLE.items()})
        yield provider


def test_an_outage_of_the_storage_keeps_everything_in_effect_that_was_read(request, storage, identity):
    kept = storage("postgres")
    server = request.getfixturevalue("database_server")
    with open_place(kept, identity) as place:
        tokens = place.device_tokens("ada")
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
            assert place.gateway.request("POST", "/oauth/device_authorization").status == 503
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
        place = PeopleGateway(gateway, identity, settings)
        tokens = place.device_tokens("ada")
        file.write_text(yaml.safe_dump({**settings, "signing_key": "B" * 43 + "="}))
        assert gateway.pid is not None
        os.kill(gateway.pid, signal.SIGHUP)
        eventually(lambda: any("signing_key changed" in line for line in gateway.log), what="the reload")
        assert place.refresh(tokens["refresh_token"]).status_code == 401
        assert place.refresh(place.device_tokens("lin")["refresh_token"]).status_code == 200
