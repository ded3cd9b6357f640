"""Sign-in with two workers: any of them completes what another has begun, and each knows when a session has ended."""

import time

import pytest

from tests.support.harness import free_port, running
from tests.support.oidc import open_provider
from tests.support.people_browser import PeopleBrowser
from tests.support.people_gateway import PEOPLE, PeopleGateway, issuer_settings, people_settings

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with open_provider() as provider:
        provider.people.update({name: dict(claims) for name, claims in PEOPLE.items()})
        port = free_port()
        provider.redirect_uris.add(f"http://127.0.0.1:{port}/oauth/callback")
        settings = people_settings(port, tmp_path_factory.mktemp("people"), issuer_settings(provider))
        with running(settings, port, "--workers", "2") as process:
            yield PeopleGateway(process, provider, settings)


def statuses(browser, url, count=24, headers=None) -> set[int]:
    """Return the statuses of ``count`` requests, each over a new connection, so both workers get some."""
    return {browser.request("GET", url, headers).status_code for _ in range(count)}


def test_any_worker_completes_a_device_flow_and_ends_its_session(gateway):
    browser, _ = gateway.sign_in("ada")
    tokens = gateway.device_tokens("ada")
    for _ in range(6):
        tokens = gateway.refresh(tokens["refresh_token"]).json()
    program, headers = PeopleBrowser(), {"authorization": f"Bearer {tokens['access_token']}"}
    assert statuses(program, f"{gateway.url}/nowhere", headers=headers) == {404}
    assert program.request("POST", f"{gateway.url}/oauth/logout", headers).status_code == 204
    began = time.monotonic()
    while statuses(program, f"{gateway.url}/nowhere", 12, headers) != {401}:
        assert time.monotonic() - began < 20, "a worker does not know of the end"
    assert statuses(browser, f"{gateway.url}/me") == {200}, "the browser's session has ended too"
