"""The secret stores of AWS, Google and Azure: their requests and responses, as their API references state them."""

import json

import pytest

from configfile.stored_secrets import StoredSecret
from gateway.config_files.loading import from_mapping
from gateway.features.secret_stores.clouds import azure_request, google_request
from gateway.features.secret_stores.fetching import SecretUnreadable, SecretVersion
from gateway.features.secret_stores.stores import SecretStores
from gateway.sign_in import refreshed
from tests.support.each_row import each_row
from tests.support.secret_store import AWS_ENV, AWS_KEYS, open_stores


@pytest.fixture
def aws(monkeypatch):
    with open_stores() as stores:
        for name, value in {**AWS_ENV, "AWS_ENDPOINT_URL_SECRETS_MANAGER": stores.url}.items():
            monkeypatch.setenv(name, value)
        yield stores


@pytest.mark.parametrize("id", ["prod/openai", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod-x1"])
async def test_a_secret_of_aws_is_read_with_a_signed_request(aws, id):
    aws.secrets[id] = {"key": "sk-aws"}
    member, whole = StoredSecret("aws_secret", f"{id}#key"), StoredSecret("aws_secret", id)
    content = {"version": "v0.4.0", "model_providers": [{"model": "openai/a", "access_key": {"aws_secret": id}}]}
    async with SecretStores(from_mapping(content)) as stores:
        found = await stores.read([member, whole])
        assert found.versions[member].text == "sk-aws"
        assert json.loads(found.versions[whole].text) == {"key": "sk-aws"}
        assert len(aws.calls) == 1
        lost = await stores.read([StoredSecret("aws_secret", "another")])
    (reason,) = lost.reasons.values()
    assert "ResourceNotFoundException: Secrets Manager can't find the specified secret." in str(reason)
    assert not reason.temporary


async def test_credentials_of_aws_that_were_replaced_before_they_expire_are_fetched_again(aws, monkeypatch, tmp_path):
    """Credentials in a file have no known expiry: the gateway used the old ones until its restart."""
    monkeypatch.setattr(refreshed, "PAUSE", 0.0)  # seconds between two fetches
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file := tmp_path / "credentials"))
    monkeypatch.setitem(AWS_KEYS, "AKIAOLDOLDOLDOLDOLD1", "old/secret")
    lines = "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n"
    file.write_text(lines.format("AKIAOLDOLDOLDOLDOLD1", "old/secret"))
    secret = StoredSecret("aws_secret", "prod")
    aws.secrets["prod"] = {"key": "sk-aws"}
    content = {"version": "v0.4.0", "model_providers": [{"model": "openai/a", "access_key": {"aws_secret": "prod"}}]}
    async with SecretStores(from_mapping(content)) as stores:
        assert secret in (await stores.read([secret])).versions
        monkeypatch.delitem(AWS_KEYS, "AKIAOLDOLDOLDOLDOLD1")
        file.write_text(lines.format(*next(iter(AWS_KEYS.items()))))
        found = await stores.read([secret])
        assert secret in found.versions, str(found.reasons[secret])


def test_a_pinned_version_of_a_secret_of_google_is_requested():
    pinned = google_request(StoredSecret("google_secret", "projects/p/secrets/s/versions/3"))
    assert pinned.make("token")[0].url.endswith("/secrets/s/versions/3:access")


@each_row("value", [{}, {"payload": 1}, {"payload": {"data": "!"}}, {"payload": {"data": "/w=="}}])
def test_a_response_of_google_without_text_is_no_secret(value):
    secret = StoredSecret("google_secret", "projects/p/secrets/s")
    with pytest.raises(SecretUnreadable, match=r"not text|empty"):
        google_request(secret).read(value).member(secret)


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        ("mine.vault.azure.net", "https://vault.azure.net/.default"),
        ("MINE.vault.azure.cn", "https://vault.azure.cn/.default"),
        ("mine.vault.usgovcloudapi.net", "https://vault.usgovcloudapi.net/.default"),
    ],
)
def test_a_secret_of_azure_is_requested_for_its_cloud(host, scope):
    request = azure_request(StoredSecret("azure_secret", f"https://{host}/secrets/openai#key"))
    assert request.sign_in.scope == scope
    unsigned, signer = request.make("token")
    assert unsigned.url == f"https://{host}/secrets/openai?api-version=7.4"
    assert signer.sign(unsigned, "token", 0.0) == (("authorization", "Bearer token"),)
    found = request.read({"value": '{"key": "sk-azure"}', "attributes": {"created": 1700000000}})
    assert found.member(StoredSecret("azure_secret", f"https://{host}/secrets/openai#key")) == SecretVersion(
        "sk-azure", 1700000000.0
    )


@each_row("host", ["evil.example", "vault.azure.net.evil.example", "mine.vault.azure.net.", "10.0.0.1"])
def test_a_token_of_azure_goes_only_to_its_vaults(host):
    with pytest.raises(SecretUnreadable, match="is not a vault of Azure"):
        azure_request(StoredSecret("azure_secret", f"https://{host}/secrets/a"))
