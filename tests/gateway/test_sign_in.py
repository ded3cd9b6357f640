"""Sign-ins at clouds through a complete gateway, over real sockets: endpoints that verify the caller, and models that
accept only credentials of these endpoints (``tests/support/clouds.py``)."""

import contextlib
import hashlib
import http.client
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
import botocore.credentials
import google.auth.compute_engine._metadata as google_metadata
import google.oauth2.credentials
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.app import whole_app
from gateway.config_files.loading import from_mapping
from gateway.config_reports.changes import changes
from gateway.exchange.service import Service
from gateway.open_service import open_service
from gateway.serving.lifecycle import Lifecycle
from gateway.sign_in.refreshed import PAUSE, RefreshedCredential
from gateway.sign_in.sources import sources_of
from tests.support.certificates import LOOPBACK, Authority
from tests.support.clouds import OWN_KEYS, REGION, ROLE, Clouds
from tests.support.features import has_feature
from tests.support.gateway_thread import app_thread
from tests.support.harness import PATIENCE, config, request
from tests.support.upstreams import serve_upstream

(OWN_ID, OWN_SECRET) = next(iter(OWN_KEYS.items()))
OWN = {"AWS_ACCESS_KEY_ID": OWN_ID, "AWS_SECRET_ACCESS_KEY": OWN_SECRET}


@pytest.fixture(scope="module")
def served_clouds() -> Iterator[Clouds]:
    with serve_upstream(Clouds) as clouds:
        yield clouds


@pytest.fixture
def clouds(served_clouds, monkeypatch, tmp_path) -> Clouds:
    """Return the clouds, with an environment that has no settings of other clouds."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "GCE_", "IDENTITY_", "MSI_")) or name.lower().endswith(
            "_proxy"
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    served_clouds.fresh()
    return served_clouds


@attrs.frozen
class Gateway:
    port: int
    service: Service
    lifecycle: Lifecycle

    def ask(self, model: str = "m", stream: bool = False, **headers: str) -> tuple[int, bytes]:
        body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Hi"}]}
        reply = request(f"http://127.0.0.1:{self.port}", "POST", "/v1/chat/completions", body, headers, PATIENCE)
        return reply.status, reply.body

    def burst(self, number: int, model: str = "m") -> list[int]:
        with ThreadPoolExecutor(number) as pool:
            return list(pool.map(lambda _: self.ask(model)[0], range(number)))

    def pass_pause(self) -> None:
        """Continue as if the last fetch was a while ago."""
        self.pass_time(PAUSE + 1)

    def pass_time(self, seconds: float) -> None:
        clock = self.source.clock
        self.source.clock = lambda: clock() + seconds

    @property
    def source(self) -> RefreshedCredential:
        found = self.service.credentials["m"]
        assert isinstance(found, RefreshedCredential)
        return found


@contextlib.contextmanager
def gateway(
    clouds: Clouds, sign_in: Any, provider: str = "mine/x", end: str = "/v1", record: Path | None = None, **more: Any
) -> Iterator[Gateway]:
    """Run a gateway on a thread whose model ``m`` has the setting ``sign_in``."""
    entry = {"model": provider, "name": "m", "base_url": clouds.url + end, "speaks": ["chat"], "sign_in": sign_in}
    settings = from_mapping(config([entry, *more.pop("others", ())], 1, state_storage={"type": "none"}, **more))
    lifecycle = Lifecycle()
    service = open_service(settings, lifecycle, None, False, {} if record is None else {"record": record})
    with app_thread(whole_app(settings, service), lifecycle) as port:
        yield Gateway(port, service, lifecycle)


# The cases of each sign-in: the environment, the settings of the entry, and the endpoint for credentials


@attrs.frozen
class Case:
    sign_in: Any
    asked: str | None
    prepare: Callable[[pytest.MonkeyPatch, Clouds, Path], None] = lambda env, clouds, folder: None
    provider: str = "mine/x"


def aws(**more: Any) -> dict[str, Any]:
    return {"type": "aws", "region": REGION, **more}


def variables(**values: str) -> Callable[..., None]:
    def prepare(env: pytest.MonkeyPatch, clouds: Clouds, folder: Path) -> None:
        (folder / "pod").write_text("the-pods-token")
        for name, value in values.items():
            env.setenv(name, value.format(url=clouds.url, host=f"127.0.0.1:{clouds.port}", folder=folder))

    return prepare


def profile(*lines: str) -> Callable[..., None]:
    def prepare(env: pytest.MonkeyPatch, clouds: Clouds, folder: Path) -> None:
        text = "\n".join(lines).format(url=clouds.url, id=OWN_ID, secret=OWN_SECRET, folder=folder)
        (folder / "config").write_text(text)
        env.setenv("AWS_ENDPOINT_URL_STS", clouds.url)
        env.setenv("AWS_ENDPOINT_URL_SSO", clouds.url)
        cache = folder / "sso"
        cache.mkdir()
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        token = {"accessToken": "the-sso-token", "expiresAt": until, "startUrl": "https://s.example/start"}
        name = hashlib.sha1(b"https://s.example/start").hexdigest()
        (cache / f"{name}.json").write_text(json.dumps(token))
        env.setattr(botocore.credentials.SSOProvider, "_SSO_TOKEN_CACHE_DIR", str(cache))
        script = folder / "helper"
        keys = {"Version": 1, "AccessKeyId": OWN_ID, "SecretAccessKey": OWN_SECRET}
        script.write_text(f"#!/bin/sh\necho '{json.dumps(keys)}'\n")
        script.chmod(0o700)

    return prepare


@cache
def account_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def service_account(env: pytest.MonkeyPatch, clouds: Clouds, folder: Path) -> None:
    key = account_key()
    clouds.service_account = key.public_key()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    file = {
        "type": "service_account", "client_email": "models@project.iam.gserviceaccount.com", "private_key": pem,
        "private_key_id": "k1", "token_uri": f"{clouds.url}/token", "project_id": "project",
    }  # fmt: skip
    (folder / "key.json").write_text(json.dumps(file))
    env.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(folder / "key.json"))


def workload_identity(env: pytest.MonkeyPatch, clouds: Clouds, folder: Path) -> None:
    (folder / "subject").write_text("the-workloads-token")
    pool = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/mine"
    file = {
        "type": "external_account", "audience": pool, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{clouds.url}/v1/token", "credential_source": {"file": str(folder / "subject")},
    }  # fmt: skip
    (folder / "pool.json").write_text(json.dumps(file))
    env.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(folder / "pool.json"))
    env.setenv("GOOGLE_CLOUD_PROJECT", "project")


def person(env: pytest.MonkeyPatch, clouds: Clouds, folder: Path) -> None:
    """Write the credentials file of ``gcloud auth application-default login``."""
    file = {
        "type": "authorized_user", "client_id": "gcloud", "client_secret": "no-secret",
        "refresh_token": "the-persons-own", "quota_project_id": "the-persons-project",
    }  # fmt: skip
    (folder / "person.json").write_text(json.dumps(file))
    env.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(folder / "person.json"))
    env.setenv("GOOGLE_CLOUD_PROJECT", "project")
    env.setattr(google.oauth2.credentials, "_GOOGLE_OAUTH2_TOKEN_ENDPOINT", f"{clouds.url}/token")


def google_machine(env: pytest.MonkeyPatch, clouds: Clouds, folder: Path) -> None:
    env.setattr(google_metadata, "_GCE_METADATA_HOST", f"127.0.0.1:{clouds.port}")
    env.setenv("GCE_METADATA_IP", f"127.0.0.1:{clouds.port}")
    env.setenv("GOOGLE_CLOUD_PROJECT", "project")


CASES = {
    "AWS, an instance": Case(
        aws(), "/latest/meta-data/iam/security-credentials/the-role",
        variables(AWS_EC2_METADATA_SERVICE_ENDPOINT="{url}", AWS_EC2_METADATA_DISABLED="false"),
    ),
    "AWS, a container": Case(
        aws(), "/container",
        variables(
            AWS_CONTAINER_CREDENTIALS_FULL_URI="{url}/container",
            AWS_CONTAINER_AUTHORIZATION_TOKEN="the-containers-token",
        ),
    ),
    "AWS, a role": Case(
        aws(role_arn=ROLE, external_id="the-external-id"), "/", variables(AWS_ENDPOINT_URL_STS="{url}", **OWN)
    ),
    "AWS, the role of a profile": Case(
        aws(profile="p"), "/",
        profile(
            "[profile base]", "aws_access_key_id = {id}", "aws_secret_access_key = {secret}", "[profile p]",
            f"role_arn = {ROLE}", "source_profile = base", "external_id = the-external-id", f"region = {REGION}",
        ),
    ),
    "AWS, web identity": Case(
        aws(), "/",
        variables(
            AWS_ENDPOINT_URL_STS="{url}", AWS_WEB_IDENTITY_TOKEN_FILE="{folder}/pod", AWS_ROLE_ARN=ROLE,
            AWS_REGION=REGION,
        ),
    ),
    "AWS, SSO": Case(
        aws(profile="p"), "/federation/credentials",
        profile(
            "[profile p]", "sso_start_url = https://s.example/start", f"sso_region = {REGION}",
            "sso_account_id = 123456789012", "sso_role_name = models",
        ),
    ),
    "Google, a service account": Case("google", "/token", service_account),
    "Google, a person": Case("google", "/token", person),
    "Google, workload identity": Case("google", "/v1/token", workload_identity),
    "Google, a machine": Case(
        "google", "/computeMetadata/v1/instance/service-accounts/default/token", google_machine
    ),
    "Azure, App Service": Case(
        {"type": "azure", "identity": "managed"}, "/msi/token",
        variables(IDENTITY_ENDPOINT="{url}/msi/token", IDENTITY_HEADER="the-identity-header"),
    ),
    "Azure, a machine": Case(
        {"type": "azure", "identity": "managed", "client_id": "own"}, "/metadata/identity/oauth2/token",
        variables(AZURE_POD_IDENTITY_AUTHORITY_HOST="{url}"),
    ),
    "Azure, what is found": Case(
        "azure", "/msi/token",
        variables(IDENTITY_ENDPOINT="{url}/msi/token", IDENTITY_HEADER="the-identity-header"),
    ),
}  # fmt: skip
"""The cases whose credentials expire."""


BURSTS = {"AWS, an instance": 12}


@pytest.mark.parametrize("name", CASES)
def test_many_requests_make_one_fetch_and_renew_a_revoked_credential_once(name, clouds, monkeypatch, tmp_path, caplog):
    """All requests with the same refused credential share its renewal (openclaw/openclaw#30030)."""
    case, many = CASES[name], BURSTS.get(name, 2)
    case.prepare(monkeypatch, clouds, tmp_path)
    with gateway(clouds, case.sign_in) as asked:
        assert asked.burst(many) == [200] * many, caplog.text
        assert (clouds.asked.count(case.asked), len(clouds.given)) == (1, 1)
        clouds.revoked.update(clouds.given)
        asked.pass_pause()
        assert asked.burst(many) == [200] * many, caplog.text
        assert (clouds.asked.count(case.asked), len(clouds.given)) == (2, 2)
        clouds.refuses_all = True
        asked.pass_pause()
        before = len(clouds.models)
        status, body = asked.ask()
        told = json.loads(body)["error"]["message"]
        assert status == 502
        assert told == "the provider rejected the gateway's credential: check sign_in of m in the configuration"
        assert (len(clouds.given), len(clouds.models) - before) == (3, 2)  # one renewal, and another refusal
        for token in clouds.given:
            assert token not in caplog.text


STATIC = {
    "variables": Case(aws(), None, variables(**OWN)),
    "a shared file": Case(
        aws(), None, profile("[default]", "aws_access_key_id = {id}", "aws_secret_access_key = {secret}")
    ),
    "a process": Case(aws(profile="p"), None, profile("[profile p]", "credential_process = {folder}/helper")),
    "the entry": Case(aws(access_key_id=OWN_ID, secret_access_key=OWN_SECRET), None),
    "a Bedrock API key": Case(aws(), None, variables(AWS_BEARER_TOKEN_BEDROCK="a-bedrock-api-key")),
}
"""The cases with keys of AWS that do not expire."""


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.process if name == "a process" else (), id=name)
        for name, case in STATIC.items()
    ],
)
def test_keys_that_do_not_expire_also_sign_requests(case, clouds, monkeypatch, tmp_path, caplog):
    case.prepare(monkeypatch, clouds, tmp_path)
    clouds.given.append("a-bedrock-api-key")
    with gateway(clouds, case.sign_in, provider="amazon_bedrock/openai.gpt-oss-120b-1:0", end="/openai/v1") as asked:
        assert asked.ask("m", authorization="Bearer forged", **{"x-amz-date": "forged"})[0] == 200, caplog.text
    (seen,) = clouds.models
    assert len([value for name, value in seen.headers if name in ("authorization", "x-amz-date")]) <= 2
    assert clouds.asked == []


MODELS = (
    "anthropic.claude-opus-4-6-v1:0", "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    f"arn:aws:bedrock:{REGION}:123456789012:inference-profile/eu.anthropic.claude-haiku-4-5-20251001-v1:0",
    f"arn:aws:bedrock:{REGION}:123456789012:application-inference-profile/a1b2c3d4",
    f"arn:aws:bedrock:{REGION}::foundation-model/anthropic.claude-3-haiku-20240307-v1:0",
    "own model +~%41(ä)",
)  # fmt: skip


def test_the_signature_is_valid_for_every_form_of_model_id(clouds, monkeypatch, tmp_path, caplog):
    """envoyproxy/ai-gateway#1332, crmne/ruby_llm#803, anthropics/anthropic-sdk-go#185, cloudflare/ai#583."""
    variables(**OWN)(monkeypatch, clouds, tmp_path)
    entry = {"base_url": clouds.url, "sign_in": aws()}
    others = [{**entry, "model": f"bedrock_invoke/{model}", "name": f"m{i}"} for i, model in enumerate(MODELS)]
    with gateway(clouds, aws(), others=others) as asked:
        for i, model in enumerate(MODELS):
            assert asked.ask(f"m{i}")[0] == 200, (model, caplog.text)
    paths = [seen.path for seen in clouds.models]
    assert paths == [f"/model/{quote(model, safe=':@')}/invoke" for model in MODELS]


def test_the_signature_of_a_fallback_to_bedrock_covers_the_request_to_bedrock(clouds, monkeypatch, tmp_path, caplog):
    """Headers of the first target's attempt broke the signature of the second (BerriAI/litellm#13738)."""
    variables(**OWN)(monkeypatch, clouds, tmp_path)
    first = {"model": "other/x", "name": "o", "base_url": f"{clouds.url}/v1", "access_key": "no-such-key"}
    with gateway(clouds, aws(), others=[first], model_aliases={"both": {"targets": ["o", "m"]}}) as asked:
        assert asked.ask("both")[0] == 200, caplog.text
    refused, taken = clouds.models
    assert refused.header("authorization") == "Bearer no-such-key"
    assert [value for name, value in taken.headers if name == "content-type"] == ["application/json"]


@pytest.mark.parametrize(
    ("sign_in", "prepare"),
    [
        ({"tenant_id": "the-tenant", "client_id": "the-application", "client_secret": "the-secret-of-the-application"},
         variables()),
        ({"identity": "workload", "tenant_id": "the-tenant", "client_id": "the-application"},
         variables(AZURE_FEDERATED_TOKEN_FILE="{folder}/pod")),
    ],
    ids=["a secret", "workload identity"],
)  # fmt: skip
def test_entra_is_queried_over_tls(sign_in, prepare, clouds, monkeypatch, tmp_path, caplog):
    prepare(monkeypatch, clouds, tmp_path)
    authority = Authority(tmp_path)
    pair = authority.pair("entra", *LOOPBACK)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.root))
    with serve_upstream(Clouds, tls=pair) as entra:
        entra.given = clouds.given
        there = f"https://localhost:{entra.port}"
        with gateway(clouds, {"type": "azure", "authority": there, **sign_in}) as asked:
            assert asked.burst(3) == [200] * 3, caplog.text
        assert entra.asked.count("/the-tenant/oauth2/v2.0/token") == 1
    assert "the-secret-of-the-application" not in caplog.text


@pytest.mark.parametrize("name", ["AWS, a container", "Google, a service account", "Azure, App Service"])
def test_fetched_credentials_are_in_no_recording_or_page(name, clouds, monkeypatch, tmp_path, caplog):
    """A provider may repeat it in a stream's error or in the header of a good response."""
    case, folder = CASES[name], tmp_path / "recorded"
    case.prepare(monkeypatch, clouds, tmp_path)
    with gateway(clouds, case.sign_in, record=folder) as asked:
        assert asked.ask(stream=True)[0] == 200
        clouds.revoked.update(clouds.given)
        asked.pass_pause()
        assert asked.ask(stream=True)[0] == 200
        clouds.refuses_all = True
        asked.pass_pause()
        said = asked.ask(stream=True)[1]
        connection = http.client.HTTPConnection("127.0.0.1", asked.port, timeout=PATIENCE)
        connection.request("GET", "/ui/events")
        response = connection.getresponse()
        said += b"".join(response.read1() for _ in range(2))
        connection.close()
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert len(files) > 6 or not has_feature("recording")
    hidden = [*clouds.given, *(secret for secret, _ in clouds.secrets.values())]
    assert len(hidden) >= 3
    for secret in hidden:
        assert secret.encode() not in said
        assert secret not in caplog.text
        assert [file.name for file in files if secret.encode() in file.read_bytes()] == []


def test_a_persons_requests_use_the_quota_of_their_project(clouds, monkeypatch, tmp_path):
    person(monkeypatch, clouds, tmp_path)
    with gateway(clouds, "google") as asked:
        assert asked.ask(**{"x-goog-user-project": "a-clients-own"})[0] == 200
    (seen,) = clouds.models
    assert [value for name, value in seen.headers if name == "x-goog-user-project"] == ["the-persons-project"]


def test_without_credentials_the_next_target_answers(clouds, monkeypatch, tmp_path, caplog):
    service_account(monkeypatch, clouds, tmp_path)
    clouds.down = 400
    clouds.given.append("another-key")
    other = {"model": "other/x", "name": "o", "base_url": f"{clouds.url}/v1", "access_key": "another-key"}
    with gateway(clouds, "google", others=[other], model_aliases={"both": {"targets": ["m", "o"]}}) as asked:
        status, body = asked.ask("m")
        assert (status, "could not sign in" in json.loads(body)["error"]["message"]) == (502, True)
        assert "invalid_grant" not in body.decode()
        assert asked.burst(3, "both") == [200] * 3
    assert len(clouds.models) == 3
    assert len(clouds.asked) == 1  # the target is in cooldown for a while
    assert "invalid_grant" in caplog.text
    assert "sign-in failed" in caplog.text


def test_a_reload_keeps_the_existing_credential(clouds, monkeypatch, tmp_path):
    google_machine(monkeypatch, clouds, tmp_path)
    entry = {"model": "mine/x", "name": "m", "base_url": f"{clouds.url}/v1", "sign_in": "google"}
    settings = [from_mapping(config([entry], 1, drain=drain)) for drain in ("1s", "2s")]
    before = sources_of(settings[0], {})
    assert sources_of(settings[1], before)["m"] is before["m"]
    other = from_mapping(config([{**entry, "sign_in": "azure"}], 1, drain="1s"))
    assert sources_of(other, before)["m"] is not before["m"]
    assert [str(one) for one in changes(settings[0], other)] == ["~ model m: sign_in google → azure"]
