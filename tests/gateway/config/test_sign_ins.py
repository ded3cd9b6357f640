"""``sign_in`` of an entry: its values, its default, and the error if the package for it is missing."""

import sys
from typing import Any

import pytest

from gateway.config.credentials import secrets_in
from gateway.config.settings import Config
from gateway.config.sign_ins import AwsSignIn, AzureSignIn, GoogleSignIn
from gateway.config_files.loading import ConfigError, from_mapping, load
from gateway.config_files.packages import SIGN_IN_MODULES
from gateway.routing.router import Router
from gateway.routing.target import Identity
from gateway.viewing.explained import explain_plan
from providers.auth.signer import AwsKeys

BEDROCK = "https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1"
AZURE = "https://name.openai.azure.com/openai/v1"
FOUNDRY = "https://name.services.ai.azure.com/openai/v1"


def of(model: str = "amazon_bedrock/openai.gpt-oss-120b-1:0", base_url: str = BEDROCK, **more: Any) -> Config:
    return from_mapping(
        {"version": "v0.3.0", "model_providers": [{"model": model, "name": "m", "base_url": base_url, **more}]}
    )


def sign_in(*args: str, **more: Any) -> Any:
    return of(*args, **more).entries[0].sign_in


def test_a_word_and_a_mapping_are_accepted():
    assert sign_in(sign_in="aws") == sign_in(sign_in={"type": "aws"}) == AwsSignIn()
    role = sign_in(
        sign_in={"type": "aws", "region": "eu-west-1", "profile": "p", "role_arn": "arn", "external_id": "e"}
    )
    assert role == AwsSignIn(region="eu-west-1", profile="p", role_arn="arn", external_id="e")
    own = sign_in(sign_in={"type": "aws", "access_key_id": "i", "secret_access_key": "s", "session_token": "t"})
    assert own == AwsSignIn(access_key_id="i", secret_access_key="s", session_token="t")
    assert own.keys == AwsKeys("i", "s", "t")
    google = {"type": "google", "credentials_file": "/a", "scopes": ["b"]}
    assert sign_in("own/m", sign_in=google) == GoogleSignIn(credentials_file="/a", scopes=("b",))
    managed = sign_in("azure/m", AZURE, sign_in={"type": "azure", "identity": "managed", "client_id": "c"})
    assert managed == AzureSignIn(identity="managed", client_id="c")
    secret = {"type": "azure", "tenant_id": "t", "client_id": "c", "client_secret": "s"}
    assert sign_in("azure/m", AZURE, sign_in=secret) == AzureSignIn(tenant_id="t", client_id="c", client_secret="s")


def test_azures_scope_is_that_of_the_address():
    databricks = "https://adb-1.2.azuredatabricks.net/serving-endpoints"
    assert sign_in("own/m", databricks, sign_in="azure").scope == "2ff814a6-3304-4ab8-9cd0-cb1cd6f853ee/.default"
    for host, scope in {
        AZURE: "https://cognitiveservices.azure.com/.default",
        FOUNDRY: "https://ai.azure.com/.default",
        "https://name.openai.azure.us/openai/v1": "https://cognitiveservices.azure.us/.default",
    }.items():
        assert sign_in("azure_openai/m", host, sign_in="azure").scope == scope


def test_a_clouds_own_address_without_a_key_is_signed_in_at():
    assert sign_in() == AwsSignIn()
    assert sign_in("azure_openai/m", AZURE) == AzureSignIn()
    for more in (
        {"access_key": "key"},
        {"passthrough_auth": True},
        {"headers": {"Authorization": "Bearer x"}},
        {"sign_in": "none"},
    ):
        assert sign_in(**more) is None
    assert sign_in(base_url="http://localhost:8000/openai/v1") is None  # a proxy that signs the requests itself
    assert sign_in("openai/m", "https://api.openai.com/v1") is None
    assert of().warnings == ()


def test_the_region_of_an_entry_is_that_of_its_sign_in():
    models = [{"model": "amazon_bedrock/openai.gpt-oss-120b-1:0", "region": "eu-west-1"}]
    (entry,) = from_mapping({"version": "v0.3.0", "model_providers": models}).entries
    assert entry.sign_in == AwsSignIn(region="eu-west-1")
    vertex = [{"model": "vertex/google/gemini-3.5-flash", "project": "p", "location": "europe-west1"}]
    (entry,) = from_mapping({"version": "v0.3.0", "model_providers": vertex}).entries
    assert entry.sign_in == GoogleSignIn()


WRONG = {
    "gcp": "one of aws, google, azure, none",
    ("aws",): "a mapping such as {type: aws",
    "google": "Amazon Bedrock does not support the sign-in google; use one of aws",
    ("type", "gcp"): "one of aws, google, azure",
    ("role_arn", "x"): "sign_in.type: missing",
    ("type", "aws", "tenant_id", "x"): "sign_in.tenant_id: unknown key",
    ("type", "aws", "access_key_id", "x"): "both access_key_id and secret_access_key",
    ("type", "aws", "external_id", "x"): "add role_arn",
    ("type", "azure", "client_secret", "the-secret"): "add tenant_id and client_id",
}


def test_mistakes_in_sign_ins_are_reported_with_their_path_and_without_secrets():
    for given, expected in WRONG.items():
        value = given if isinstance(given, str) else dict(zip(given[::2], given[1::2], strict=False)) or list(given)
        with pytest.raises(ConfigError) as caught:
            of(sign_in=value)
        assert expected in str(caught.value), given
        assert "model_providers[0].sign_in" in str(caught.value)
        assert "the-secret" not in str(caught.value)
    for other in ({"access_key": "k"}, {"passthrough_auth": True}):
        with pytest.raises(ConfigError, match="a request can have only one credential"):
            of(sign_in="aws", **other)
    with pytest.raises(ConfigError, match="OpenAI does not support the sign-in aws; set access_key"):
        from_mapping({"version": "v0.3.0", "model_providers": [{"model": "openai/m", "sign_in": "aws"}]})


@pytest.mark.parametrize("name", SIGN_IN_MODULES)
def test_without_its_package_the_entry_its_line_and_the_package_are_reported(name, monkeypatch, tmp_path):
    for module in SIGN_IN_MODULES.values():
        monkeypatch.setitem(sys.modules, module, None)
    file = tmp_path / "trigate.yaml"
    file.write_text(
        "version: v0.3.0\nmodel_providers:\n  - model: mine/x\n    base_url: http://localhost:1/v1\n"
        f"    sign_in: {name}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    said = str(caught.value)
    assert f"pip install 'trigate[{name}]'" in said
    assert "model_providers[0].sign_in" in said
    assert ":5" in said
    (warning,) = [text for text in of().warnings if "pip install" in text]
    assert warning.startswith("m: ")
    assert of().entries[0].sign_in is None


def test_its_secrets_are_in_no_representation_and_are_looked_for():
    config = of(sign_in={"type": "aws", "access_key_id": "AKIA-mine", "secret_access_key": "my-own-secret"})
    assert {"my-own-secret", "AKIA-mine"} <= set(secrets_in(config))
    assert "my-own-secret" not in repr(config)
    azure = of(
        "azure_openai/m", AZURE,
        sign_in={"type": "azure", "tenant_id": "t", "client_id": "c", "client_secret": "my-own-secret"},
    )  # fmt: skip
    assert "my-own-secret" in secrets_in(azure)
    assert "my-own-secret" not in repr(azure)


def test_accounts_that_sign_in_otherwise_are_others():
    entries = [
        of(sign_in={"type": "aws", "role_arn": "a"}).entries[0],
        of(sign_in={"type": "aws", "role_arn": "b"}).entries[0],
        of(access_key="key").entries[0],
    ]
    assert len({Identity.of(entry, "m").account for entry in entries}) == 3
    assert len({entry.issuer for entry in entries}) == 3
    assert entries[0].issuer == of(sign_in={"type": "aws", "role_arn": "a"}).entries[0].issuer


def test_explain_shows_that_it_is_signed_and_not_with_what():
    told = explain_plan(Router(of(headers={"x-own": "secret"})), "m", "chat", None)
    assert dict(told.headers).keys() == {"authorization", "x-own"}
    assert "secret" not in str(told.headers)
