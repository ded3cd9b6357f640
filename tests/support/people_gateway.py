"""A gateway whose people sign in at the provider of ``tests/support/oidc.py``."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import httpx2

from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, free_port
from tests.support.oidc import AUDIENCE, CLIENT_ID, CLIENT_SECRET, OidcProvider, open_provider
from tests.support.people_browser import BrowserPage, PeopleBrowser, own_address

DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"

SIGNING_KEY: Final = "c2lnbmluZy1rZXktb2YtdGhlLXRlc3RzLTMyYnl0ZXM="
SCOPES: Final = ("openid", "email", "groups", "offline_access")
PROVIDERS: Final = ({"model": "openai/gpt-4o", "access_key": "provider-key", "base_url": "http://127.0.0.1:9"},)

PEOPLE: Final[Mapping[str, Mapping[str, Any]]] = {
    "ada": {"sub": "00u1", "email": "ada@example.com", "name": "Ada L.", "groups": ["ml"]},
    "lin": {"sub": "00u2", "email": "lin@example.com", "name": "Lin", "groups": ["ml-leads"]},
    "root": {"sub": "00u3", "email": "root@example.com", "name": "Root", "groups": ["platform"]},
    "aud": {"sub": "00u4", "email": "aud@example.com", "name": "Aud", "groups": ["finance"]},
    "eve": {"sub": "00u5", "email": "eve@example.com", "name": "Eve", "groups": ["others"]},
}
"""People by their name on the login page; no rule admits the last one."""

RULES: Final[tuple[Mapping[str, Any], ...]] = (
    {"when": {"groups": "platform"}, "role": "admin"},
    {"when": {"groups": "finance"}, "role": "auditor", "models": []},
    {"when": {"groups": "ml-leads"}, "group": "research", "role": "lead"},
    {"when": {"groups": "ml"}, "group": "research", "budgets": ["20 usd/day"], "raise_to": ["60 usd/day"],
     "own_keys": {"most": 3, "longest": "30d"}},
)  # fmt: skip


def issuer_settings(provider: OidcProvider, name: str = "okta", **more: Any) -> dict[str, Any]:
    """Return the issuer of ``provider``, with sign-in."""
    login = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "scopes": list(SCOPES)}
    settings = {"name": name, "issuer": provider.issuer, "audience": [AUDIENCE], "login": login, "admit": list(RULES)}
    return {key: value for key, value in {**settings, **more}.items() if value is not None}


def people_settings(
    port: int, folder: Path, *issuers: Mapping[str, Any], providers: Any = PROVIDERS, **more: Any
) -> dict[str, Any]:
    """Return the configuration of a gateway at ``port`` whose people come from ``issuers``.

    Keys of ``more`` that are ``None`` are left out."""
    settings = config(
        providers, port,
        **{
            "version": "v0.4.0",
            "public_url": f"http://127.0.0.1:{port}",
            "signing_key": SIGNING_KEY,
            "state_storage": {"type": "sqlite", "path": str(folder / "state.sqlite")},
            "client_groups": [{"name": "research"}],
            "client_keys": [{"name": "ci", "key": "key-of-ci-0123456789abcdef"}],
            "issuers": list(issuers),
            **more,
        },
    )  # fmt: skip
    return {key: value for key, value in settings.items() if value is not None}


@attrs.frozen
class PeopleGateway:
    """A running gateway at ``url``, and the provider of its people."""

    gateway: Gateway
    provider: OidcProvider
    settings: Mapping[str, Any]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.port}"

    @property
    def log(self) -> list[str]:
        return self.gateway.log

    def sign_in(self, user: str, path: str = "/ui/me") -> tuple[PeopleBrowser, BrowserPage]:
        """Return a browser in which ``user`` has signed in, and the page that it shows."""
        browser = PeopleBrowser()
        page = browser.open(f"{self.url}/oauth/login?return={path}")
        assert page.url.startswith(self.provider.issuer), page.text
        return browser, browser.submit(user=user)

    def device_tokens(self, user: str) -> dict[str, Any]:
        """Return the tokens of a program that ``user`` has approved in a browser."""
        program, browser = PeopleBrowser(headers=own_address()), PeopleBrowser()
        granted = program.request("POST", f"{self.url}/oauth/device_authorization", data={"client_id": "test"}).json()
        self.provider.signed_in = user
        browser.open(granted["verification_uri_complete"])
        browser.submit()
        browser.press("decision", "approve")
        form = {"grant_type": DEVICE_GRANT, "device_code": granted["device_code"]}
        found: dict[str, Any] = program.request("POST", f"{self.url}/oauth/token", data=form).json()
        return found

    def refresh(self, token: str) -> httpx2.Response:
        """Return the response to a refresh with ``token`` from a new address."""
        form = {"grant_type": "refresh_token", "refresh_token": token}
        return PeopleBrowser(headers=own_address()).request("POST", f"{self.url}/oauth/token", data=form)

    def status_of(self, credential: str, path: str = "/nowhere", method: str = "GET", body: Any = None) -> int:
        """Return the status of a request with a key or token, by default for no path: 404 if it is good."""
        return self.gateway.request(method, path, body, {"authorization": f"Bearer {credential}"}).status


@contextlib.contextmanager
def people_gateway(folder: Path, **more: Any) -> Iterator[PeopleGateway]:
    """Run a provider, and a gateway whose file trusts it, as ``gateway_of`` does."""
    with open_provider() as provider:
        provider.people.update({name: dict(claims) for name, claims in PEOPLE.items()})
        with gateway_of(folder, provider, **more) as running:
            yield running


@contextlib.contextmanager
def gateway_of(
    folder: Path,
    provider: OidcProvider,
    issuer: Mapping[str, Any] | None = None,
    more_issuers: Sequence[Mapping[str, Any]] = (),
    **more: Any,
) -> Iterator[PeopleGateway]:
    """Run a gateway for the people of ``provider``, whose file has ``more`` keys.

    ``issuer`` has more keys of the issuer; those that are ``None`` are left out."""
    port = free_port()
    settings = people_settings(port, folder, issuer_settings(provider, **(issuer or {})), *more_issuers, **more)
    provider.redirect_uris.add(f"http://127.0.0.1:{port}/oauth/callback")
    with gateway_thread(settings) as gateway:
        yield PeopleGateway(gateway, provider, settings)
