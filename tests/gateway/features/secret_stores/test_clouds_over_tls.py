"""The secret stores of Google and Azure over TLS, by their own host names, with a server that does as they document.

https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access,
https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret"""

import base64
import json
import socket
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
import trio
from cryptography import x509

from configfile.stored_secrets import StoredSecret
from gateway.config_files.loading import from_mapping
from gateway.features.secret_stores.stores import SecretStores
from gateway.sign_in.refreshed import Fetched
from tests.support.certificates import Authority
from tests.support.http_servers import QuietHandler, http_server

GOOGLE, AZURE = "secretmanager.googleapis.com", "mine.vault.azure.net"
SECRETS = {
    "google": StoredSecret("google_secret", "projects/p/secrets/openai"),
    "azure": StoredSecret("azure_secret", f"https://{AZURE}/secrets/openai"),
}
MISSING = {
    "google": (StoredSecret("google_secret", "projects/p/secrets/other"), "NOT_FOUND: Secret not found"),
    "azure": (StoredSecret("azure_secret", f"https://{AZURE}/secrets/other"), "SecretNotFound: A secret was not found"),
}


@attrs.define
class Clouds:
    """Google's and Azure's stores on one port. ``token`` is the one that they accept, ``seen`` the requested URLs."""

    port: int = 0
    token: str = "t1"
    value: str = "sk-1"
    seen: list[str] = attrs.field(factory=list)
    fetched: int = 0

    def fetch(self) -> Fetched:
        """Return the token of this machine, as the clouds' libraries do."""
        self.fetched += 1
        return Fetched(self.token)

    def answer(self, host: str, path: str, authorization: str | None) -> tuple[int, Any]:
        self.seen.append(f"{host}{path}")
        is_google = host == GOOGLE
        if authorization != f"Bearer {self.token}":
            error = {"code": 401, "message": "invalid token", "status": "UNAUTHENTICATED"}
            return 401, {"error": error if is_google else {"code": "Unauthorized", "message": "AKV10000"}}
        if is_google and path == "/v1/projects/p/secrets/openai/versions/latest:access":
            data = base64.b64encode(self.value.encode()).decode()
            return 200, {"name": "projects/1/secrets/openai/versions/3", "payload": {"data": data, "dataCrc32c": "1"}}
        if host == AZURE and path == "/secrets/openai?api-version=7.4":
            return 200, {
                "value": self.value,
                "id": f"https://{AZURE}/secrets/openai/1",
                "attributes": {"created": 1.7e9},
            }
        error = {"code": 404, "message": "Secret not found", "status": "NOT_FOUND"}
        return 404, {"error": error if is_google else {"code": "SecretNotFound", "message": "A secret was not found"}}


class _Handler(QuietHandler):
    clouds: Clouds

    def do_GET(self) -> None:
        host = self.headers["host"].partition(":")[0]
        status, value = self.clouds.answer(host, self.path, self.headers.get("authorization"))
        self.respond(status, json.dumps(value).encode())


class Resolver(trio.abc.HostnameResolver):
    """A resolver that leads both host names to the local server."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        assert host in (GOOGLE, AZURE, GOOGLE.encode(), AZURE.encode())
        assert int(port) == 443
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", self._port))]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise OSError


@pytest.fixture
def root(tmp_path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def clouds(root, monkeypatch) -> Iterator[Clouds]:
    found = Clouds()
    pair = root.pair("clouds", x509.DNSName(GOOGLE), x509.DNSName(AZURE))
    handler = type("_Bound", (_Handler,), {"clouds": found})
    with http_server(handler, pair) as host:
        found.port = int(host.rpartition(":")[2])
        monkeypatch.setattr("gateway.features.secret_stores.clouds.fetch_function", lambda sign_in: found.fetch)
        monkeypatch.setattr("gateway.sign_in.refreshed.PAUSE", 0.0)  # between two fetches of a token
        yield found


def stores_of(root: Authority, clouds: Clouds) -> SecretStores:
    trio.socket.set_custom_hostname_resolver(Resolver(clouds.port))
    content = {"version": "v0.4.0", "model_providers": [{"model": "openai/a", "access_key": "k"}],
               "overrides": {"upstream_tls_ca_path": str(root.root)}}  # fmt: skip
    return SecretStores(from_mapping(content))


@pytest.mark.parametrize("cloud", SECRETS)
async def test_a_secret_is_read_again_after_its_change_and_with_a_new_token_after_the_end_of_the_old(
    clouds, root, cloud
):
    secret = SECRETS[cloud]
    async with stores_of(root, clouds) as stores:
        assert (await stores.read([secret])).versions[secret].text == "sk-1"
        clouds.value = "sk-2"
        assert (await stores.read([secret])).versions[secret].text == "sk-2"
        assert (len(clouds.seen), clouds.fetched) == (2, 1)
        clouds.token = "t2"
        assert (await stores.read([secret])).versions[secret].text == "sk-2"
    assert clouds.fetched == 2


@pytest.mark.parametrize("cloud", MISSING)
async def test_a_missing_secret_has_the_reason_of_its_store(clouds, root, cloud):
    secret, reason = MISSING[cloud]
    async with stores_of(root, clouds) as stores:
        found = await stores.read([secret])
    assert found.versions == {}
    assert reason in str(found.reasons[secret])
    assert not found.reasons[secret].temporary
    assert "t1" not in str(found.reasons[secret])


@pytest.mark.parametrize("cloud", SECRETS)
async def test_a_store_with_another_certificate_gets_no_token(clouds, root, cloud, tmp_path):
    other = Authority(tmp_path / "other") if (tmp_path / "other").mkdir() is None else root
    async with stores_of(other, clouds) as stores:
        found = await stores.read([SECRETS[cloud]])
    assert found.versions == {}
    assert found.reasons[SECRETS[cloud]].temporary
    assert clouds.seen == []
