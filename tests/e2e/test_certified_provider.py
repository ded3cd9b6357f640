"""People of an identity provider that others wrote and the OpenID Foundation certified: sign-in, refresh, tokens."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.clients import install
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, free_port
from tests.support.oidc import AUDIENCE
from tests.support.people import bearer
from tests.support.people_browser import PeopleBrowser
from tests.support.people_gateway import people_settings

PROVIDER = install.CACHE / "node/node_modules/oidc-provider"
pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        not PROVIDER.exists() or shutil.which("node") is None,
        reason="oidc-provider is not installed: just clients claude",
    ),
]
SECRET = "s3cret of the/client+%:"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@contextlib.contextmanager
def certified_provider(gateway_url: str, access_tokens: str) -> Iterator[str]:
    """Run the provider, and yield its issuer."""
    port = free_port()
    program = Path(install.CACHE / "node/programs/oidc_provider.mjs")
    program.parent.mkdir(exist_ok=True)
    program.write_text((install.HERE / "programs/oidc_provider.mjs").read_text())
    command = ["node", str(program), str(port), gateway_url, access_tokens]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


@contextlib.contextmanager
def gateway_before(folder: Path, access_tokens: str = "jwt") -> Iterator[tuple[Gateway, str]]:
    """Run a gateway whose people sign in at the provider, and yield it with the issuer."""
    port = free_port()
    with certified_provider(f"http://127.0.0.1:{port}", access_tokens) as url:
        registered = {"client_id": "trigate-client", "client_secret": SECRET}
        login = {
            **registered, "scopes": ["openid", "email", "groups", "offline_access"], "params": {"prompt": "consent"},
        }  # fmt: skip
        found = {
            "name": "op", "issuer": url, "audience": [AUDIENCE], "login": login,
            "admit": [{"when": {"groups": "ml"}, "group": "research"}, {"when": {"sub": "machine"}}],
        }  # fmt: skip
        with gateway_thread(people_settings(port, folder, found)) as gateway:
            yield gateway, url


def sign_in(gateway: Gateway, user: str) -> PeopleBrowser:
    """Sign in at the provider's own pages, and agree there."""
    browser = PeopleBrowser()
    browser.open(f"{gateway.url}/oauth/login?return=/oauth/logout")
    browser.submit(login=user, password="any")
    browser.submit()
    return browser


def test_a_person_signs_in_and_a_program_with_it(tmp_path: Path):
    with gateway_before(tmp_path) as (gateway, _):
        browser = sign_in(gateway, "ada")
        me = browser.request("GET", f"{gateway.url}/me").json()
        assert (me["name"], me["group"], me["credential"]) == ("op:ada", "research", "session")

        device = httpx2.post(f"{gateway.url}/oauth/device_authorization").json()
        browser.open(device["verification_uri_complete"])
        browser.submit()
        browser.press("decision", "approve")
        grant = {"grant_type": DEVICE_GRANT, "device_code": device["device_code"]}
        tokens = httpx2.post(f"{gateway.url}/oauth/token", data=grant).json()
        for _ in range(3):  # the provider's refresh tokens rotate, too
            refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
            response = httpx2.post(f"{gateway.url}/oauth/token", data=refresh)
            assert response.status_code == 200, response.text
            tokens = response.json()
        assert gateway.request("GET", "/v1/models", headers=bearer(tokens["access_token"])).status == 200


def test_a_person_without_a_rule_is_told_so(tmp_path: Path):
    with gateway_before(tmp_path) as (gateway, _):
        page = sign_in(gateway, "eve").page
        assert page is not None
        assert page.status == 403
        assert "No rule of the issuer op admits" in page.text


@pytest.mark.parametrize(("access_tokens", "status"), [("jwt", 200), ("opaque", 401)])
def test_only_signed_access_tokens_are_accepted(tmp_path: Path, access_tokens: str, status: int):
    with gateway_before(tmp_path, access_tokens) as (gateway, url):
        form = {"grant_type": "client_credentials", "scope": "llm"}
        found = httpx2.post(f"{url}/token", data=form, auth=("machine", "s3cret+of+the%2Fclient%2B%25%3A")).json()
        assert (found["access_token"].count(".") == 2) == (access_tokens == "jwt")
        assert gateway.request("GET", "/v1/models", headers=bearer(found["access_token"])).status == status
        assert gateway.request("GET", "/v1/models", headers=bearer(found["access_token"] + "A")).status == 401
