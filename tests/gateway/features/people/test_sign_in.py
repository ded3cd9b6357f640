"""Sign-in with two workers: any of them completes what another has begun, and each knows when a session has ended."""

import time

import pytest

from tests.support.harness import free_port, running
from tests.support.oidc import open_provider
from tests.support.people_browser import PeopleBrowser
from tests.support.people_gateway import PEOPLE, PeopleGateway, issuer_settings, people_settings

pytestmark = pytest.mark.process

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
REVOKED_SECONDS = 0.5


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


def seconds_until(browser, url, expected, headers=None) -> float:
    """Return the seconds until both workers respond with ``expected``."""
    began = time.monotonic()
    while statuses(browser, url, 12, headers) != {expected}:
        assert time.monotonic() - began < 10, "a worker does not know of the change"
    return time.monotonic() - began


def test_any_worker_completes_a_device_flow_and_ends_its_session(gateway):
    browser, _ = gateway.sign_in("ada")
    granted = browser.request("POST", f"{gateway.url}/oauth/device_authorization").json()
    browser.open(granted["verification_uri_complete"])
    browser.submit()
    browser.press("decision", "approve")
    form = {"grant_type": DEVICE_CODE, "device_code": granted["device_code"]}
    tokens = browser.request("POST", f"{gateway.url}/oauth/token", data=form).json()
    for _ in range(6):
        form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        tokens = browser.request("POST", f"{gateway.url}/oauth/token", data=form).json()
    program, headers = PeopleBrowser(), {"authorization": f"Bearer {tokens['access_token']}"}
    assert statuses(program, f"{gateway.url}/nowhere", headers=headers) == {404}
    assert program.request("POST", f"{gateway.url}/oauth/logout", headers).status_code == 204
    taken = seconds_until(program, f"{gateway.url}/nowhere", 401, headers)
    assert taken < 4 * REVOKED_SECONDS, taken  # the machine may be busy
    assert statuses(browser, f"{gateway.url}/me") == {200}, "the browser's session has ended too"


def test_a_sign_out_reaches_both_workers(gateway):
    browser, _ = gateway.sign_in("lin")
    cookies = dict(browser.cookies)
    browser.open(f"{gateway.url}/oauth/logout")
    browser.submit()
    other = PeopleBrowser(cookies=cookies)
    taken = seconds_until(other, f"{gateway.url}/me", 401)
    assert taken < 4 * REVOKED_SECONDS, taken
