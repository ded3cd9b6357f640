"""Vault and OpenBao, as https://developer.hashicorp.com/vault/api-docs describes their API, over real sockets."""

import os
from pathlib import Path
from typing import Any

import pytest
import trio

from configfile.stored_secrets import StoredSecret
from gateway.config_files.loading import Config, from_mapping
from gateway.features.secret_stores import vault
from gateway.features.secret_stores.feature import VaultSettings
from gateway.features.secret_stores.fetching import SecretUnreadable
from gateway.features.secret_stores.stores import SecretReadings, SecretStores
from gateway.features.secret_stores.vault import VaultClient
from tests.support.each_row import each_row
from tests.support.secret_store import FIXED_TOKEN, NAMESPACE, POD_TOKEN, ROLE, SecretStoreServer, open_stores

PLACE = "secret/team/trigate"
KEY = StoredSecret("vault", f"{PLACE}#openai")
OTHER = StoredSecret("vault", f"{PLACE}#other")
LOGIN, RENEWAL = "/v1/auth/kubernetes/login", "/v1/auth/token/renew-self"


@pytest.fixture
def server():
    with open_stores() as stores:
        stores.secrets[PLACE] = {"openai": "sk-1\n", "other": "o-1", "number": 5, "empty": " "}
        yield stores


def pod_token(folder: Path) -> str:
    file = folder / "pod-token"
    file.write_text(POD_TOKEN)
    return str(file)


def config(server: SecretStoreServer, folder: Path, **vault: Any) -> Config:
    vault = vault or {"role": ROLE, "pod_token": pod_token(folder)}
    return from_mapping(
        {
            "version": "v0.4.0",
            "model_providers": [{"model": "openai/a", "access_key": {"vault": KEY.place}}],
            "secret_stores": {"vault": {"url": server.url, **vault}},
        }
    )


def client(server: SecretStoreServer, folder: Path, now: list[float], **vault: Any) -> VaultClient:
    vault = vault or {"role": ROLE, "pod_token": Path(pod_token(folder))}
    return VaultClient(VaultSettings(url=server.url, **vault), lambda: now[0])


async def read(config: Config, *secrets: StoredSecret) -> SecretReadings:
    async with SecretStores(config) as stores:
        return await stores.read(secrets)


async def test_members_of_one_path_are_read_with_one_request(server, tmp_path):
    found = await read(config(server, tmp_path), KEY, OTHER)
    assert {secret.member: version.text for secret, version in found.versions.items()} == {
        "openai": "sk-1", "other": "o-1",
    }  # fmt: skip
    assert found.versions[KEY].created == pytest.approx(server.created, abs=1)
    assert server.calls == [LOGIN, f"/v1/secret/data/{PLACE.partition('/')[2]}"]


async def test_a_configured_token_reads_without_a_sign_in(server, tmp_path):
    found = await read(config(server, tmp_path, token=FIXED_TOKEN), KEY)
    assert found.versions[KEY].text == "sk-1"
    assert server.count(LOGIN) == 0


async def test_requests_name_the_namespace(server, tmp_path):
    server.namespace = NAMESPACE
    assert (await read(config(server, tmp_path, token=FIXED_TOKEN, namespace=NAMESPACE), KEY)).versions
    assert (await read(config(server, tmp_path, token=FIXED_TOKEN), KEY)).reasons


async def test_a_token_is_renewed_after_two_thirds_of_its_lifetime(server, tmp_path):
    now = [0.0]
    server.lease = 900
    async with client(server, tmp_path, now) as vault:
        await vault.read(KEY)
        now[0] = 599.0
        await vault.read(KEY)
        assert (server.count(LOGIN), server.count(RENEWAL)) == (1, 0)
        now[0] = 601.0
        await vault.read(KEY)
        assert (server.count(LOGIN), server.count(RENEWAL)) == (1, 1)
        now[0] = 601.0 + 599.0
        await vault.read(KEY)
        assert server.count(RENEWAL) == 1, "it is valid for as long again"


@pytest.mark.parametrize("reason", ["renewal refused", "not renewable", "revoked"])
async def test_the_gateway_signs_in_again_when_a_token_cannot_be_renewed(server, tmp_path, reason):
    now = [0.0]
    server.lease, server.renewable = 900, reason != "not renewable"
    async with client(server, tmp_path, now) as vault:
        await vault.read(KEY)
        now[0] = 1.0 if reason == "revoked" else 601.0
        if reason != "not renewable":
            server.revoke_tokens()
        assert (await vault.read(KEY)).text
        assert server.count(LOGIN) == 2


@each_row(
    ("place", "words"),
    [
        (f"{PLACE}#missing", "it has no member missing with a text"),
        (f"{PLACE}#number", "it has no member number with a text"),
        (f"{PLACE}#empty", "its value is empty"),
        ("secret/nobody#a", "the store does not have it"),
        ("secret/gone#a", "its last version was deleted"),
        ("../sys/seal#a", "the store does not have it"),
    ],
)
async def test_a_secret_that_cannot_be_read_is_explained(server, tmp_path, place, words):
    server.deleted.add("secret/gone")
    secret = StoredSecret("vault", place)
    found = await read(config(server, tmp_path), secret, KEY)
    assert str(found.reasons[secret]) == words
    assert not found.reasons[secret].temporary
    assert found.versions[KEY].text == "sk-1", "the others are read"


async def test_a_sign_in_that_is_refused_is_explained(server, tmp_path):
    file = tmp_path / "pod-token"
    file.write_text("another pod")
    found = await read(config(server, tmp_path, role=ROLE, pod_token=str(file)), KEY)
    assert str(found.reasons[KEY]) == "the sign-in failed: the store returns status 403: permission denied"
    missing = await read(config(server, tmp_path, role=ROLE, pod_token=str(tmp_path / "none")), KEY)
    assert "cannot read the pod's token" in str(missing.reasons[KEY])


async def test_a_pods_token_on_a_file_system_that_does_not_respond_is_an_outage(server, tmp_path, monkeypatch):
    monkeypatch.setattr(vault, "PATIENCE", 0.1)
    file = tmp_path / "pod-token"
    os.mkfifo(file)
    settings = config(server, tmp_path, role=ROLE, pod_token=str(file))
    try:
        with trio.fail_after(5):
            found = await read(settings, KEY)
    finally:
        os.close(os.open(file, os.O_WRONLY | os.O_NONBLOCK))  # ends the read
    assert found.reasons[KEY].temporary
    assert str(found.reasons[KEY]) == f"cannot read the pod's token in {file}: no response within 0.1 s"


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_an_outage_is_temporary(server, tmp_path, status):
    server.down = status
    found = await read(config(server, tmp_path), KEY)
    assert found.reasons[KEY].temporary
    assert f"status {status}: the store is sealed" in str(found.reasons[KEY])


@pytest.mark.parametrize("signs_in", [False, True])
async def test_an_error_that_repeats_the_credential_does_not_show_it(server, tmp_path, signs_in):
    server.down, server.echoes = 500, True
    how = {"role": ROLE, "pod_token": pod_token(tmp_path)} if signs_in else {"token": FIXED_TOKEN}
    reason = str((await read(config(server, tmp_path, **how), KEY)).reasons[KEY])
    assert "[redacted]" in reason
    assert FIXED_TOKEN not in reason
    assert POD_TOKEN not in reason


async def test_an_unavailable_server_is_a_temporary_failure(tmp_path):
    with open_stores() as server:
        settings = config(server, tmp_path)
    found = await read(settings, KEY)
    assert isinstance(found.reasons[KEY], SecretUnreadable)
    assert found.reasons[KEY].temporary
