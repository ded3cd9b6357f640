"""Clients of Azure OpenAI and LiteLLM, with the paths and key headers that ``compatibility`` accepts."""

import json
from typing import Any

import pytest
from openai import AzureOpenAI, OpenAI

from tests.support.compatible_forms import AZURE, HELLO, OTHER, compatible_requests
from tests.support.each_row import each_row
from tests.support.features import has_feature, needs_feature, rows_of
from tests.support.gateway_thread import gateway_thread, mock_thread, serve_module
from tests.support.harness import config, provider, refusing_port

KEY = "sk-compatible-1234567890"
BEARER = {"authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def mock():
    with mock_thread() as found:
        yield found


@pytest.fixture(scope="module")
def settings(mock):
    entries = [
        provider("compatible/mock-small", f"{mock.url}/v1", name="demo", price={"input": 1, "output": 2}),
        provider("compatible/team/model", f"{mock.url}/v1", name="team/model"),
    ]
    return config(entries, client_keys=[{"name": "a", "key": KEY}])


@serve_module
def plain(settings):
    return settings


@pytest.fixture(scope="module", params=[{}, {"cors": ["https://app.example"]}], ids=["fast", "cors"])
def gateway(settings, request):
    with gateway_thread({**settings, "compatibility": ["azure", "litellm"], **request.param}) as found:
        yield found


REQUESTS = compatible_requests(KEY)


@each_row(("path", "body", "headers"), REQUESTS)
def test_their_paths_and_keys_work(gateway, path, body, headers):
    reply = gateway.request("POST", path, body, headers)
    assert reply.status == 200, reply.body
    assert KEY not in "".join(gateway.log)


@each_row(("path", "body", "headers"), REQUESTS)
def test_they_work_only_if_configured(plain, path, body, headers):
    assert plain.request("POST", path, body, headers).status in (401, 404)


@pytest.mark.parametrize("azure", [True, False], ids=["azure", "litellm"])
def test_each_server_has_only_its_own_forms(settings, azure):
    with gateway_thread({**settings, "compatibility": ["azure" if azure else "litellm"]}) as found:
        chat = found.request("POST", f"{AZURE}/chat/completions", OTHER, {"api-key": KEY})
        litellm = found.request("POST", "/v1/chat/completions", HELLO, {"x-litellm-api-key": KEY})
        anthropic = found.request("POST", "/anthropic/v1/messages", {**HELLO, "max_tokens": 9}, BEARER)
        lists = [found.request("GET", path, headers=BEARER).status for path in rows_of("model_lists", "/v1/model/info")]
    assert chat.status == 200
    assert (litellm.status, anthropic.status) == ((401, 404) if azure else (200, 200))
    assert {*lists} <= {404 if azure else 200}
    assert ("x-litellm-call-id" in dict(chat.headers)) is not azure


def test_a_wrong_key_is_refused_on_every_path(gateway):
    for path, body, headers in REQUESTS:
        wrong = {name: value.replace(KEY, "sk-wrong-1234567890") for name, value in headers.items()}
        reply = gateway.request("POST", path.replace(KEY, "sk-wrong-1234567890"), body, wrong)
        assert reply.status == 401, path


def test_the_sdk_of_azure_works(gateway):
    azure: dict[str, Any] = {"api_key": KEY, "api_version": "2024-10-21", "max_retries": 0}
    messages: list[Any] = [{"role": "user", "content": "Hello"}]
    with (
        AzureOpenAI(azure_endpoint=gateway.url, **azure) as client,
        AzureOpenAI(azure_endpoint=gateway.url, azure_deployment="demo", **azure) as deployed,
        OpenAI(base_url=f"{gateway.url}/openai/v1/", api_key=KEY, max_retries=0) as newer,
    ):
        assert client.chat.completions.create(model="demo", messages=messages).choices[0].message.content
        chunks = client.chat.completions.create(model="demo", messages=messages, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert client.embeddings.create(model="demo", input="Hello").data[0].embedding
        assert deployed.chat.completions.create(model="ignored", messages=messages).choices[0].message.content
        assert newer.responses.create(model="demo", input="Hello", store=False).output_text
        if has_feature("model_lists"):
            assert "demo" in [model.id for model in newer.models.list()]


def test_programs_read_litellms_headers(gateway):
    reply = gateway.request("POST", "/v1/chat/completions", HELLO, BEARER)
    headers = dict(reply.headers)
    assert headers["x-litellm-call-id"] == headers["x-request-id"]
    assert headers["x-litellm-response-cost"] == headers["x-trigate-cost"]
    assert float(headers["x-litellm-response-cost"]) > 0
    assert headers["x-litellm-model-id"] == headers["x-trigate-target"]
    assert (headers["x-litellm-model-group"], headers["x-litellm-model-name"]) == ("demo", "mock-small")
    assert (headers["x-litellm-attempted-fallbacks"], headers["x-litellm-attempted-retries"]) == ("0", "0")
    assert 0 < float(headers["x-litellm-response-duration-ms"]) < 60_000


def test_programs_notice_a_fallback_by_the_group_that_answered(settings):
    """LiteLLM counts another model of the same name as a retry, and another name as a fallback."""
    with refusing_port() as refused:
        away = [provider("compatible/mock-small", f"http://127.0.0.1:{refused}/v1", name=name) for name in ("x", "y")]
        spare = settings["model_providers"][0]
        own = {
            **settings, "model_providers": [*away, spare], "compatibility": ["litellm"],
            "model_aliases": {"best": {"targets": [["x", "y"], "demo"]}, "good": {"targets": [["x", "y"], "demo"]}},
            "retries": {"attempts": 5},
        }  # fmt: skip
        with gateway_thread(own) as found:
            reply = found.request("POST", "/v1/chat/completions", {**HELLO, "model": "best"}, BEARER)
    headers = dict(reply.headers)
    assert reply.status == 200
    assert headers["x-litellm-model-group"] == "demo"
    assert (headers["x-litellm-attempted-fallbacks"], headers["x-litellm-attempted-retries"]) == ("1", "1")


@needs_feature("model_lists")
@pytest.mark.parametrize("path", ["/model/info", "/v1/model/info"])
def test_the_list_of_models_has_prices(gateway, path):
    found = json.loads(gateway.request("GET", path, headers=BEARER).body)
    demo = next(row for row in found["data"] if row["model_name"] == "demo")
    assert demo["litellm_params"] == {"model": "compatible/mock-small"}
    assert demo["model_info"]["input_cost_per_token"] == pytest.approx(1e-6)
    assert demo["model_info"]["output_cost_per_token"] == pytest.approx(2e-6)
    assert demo["model_info"]["mode"] == "chat"
    assert gateway.request("GET", path).status == 401


@needs_feature("model_lists")
def test_the_list_of_names_has_the_providers_and_prices_of_each(gateway):
    found = json.loads(gateway.request("GET", "/model_group/info", headers=BEARER).body)["data"]
    assert {row["model_group"] for row in found} == {"demo", "team/model"}
    only = json.loads(gateway.request("GET", "/model_group/info?model_group=demo", headers=BEARER).body)["data"]
    assert only == [row for row in found if row["model_group"] == "demo"]
    assert only[0]["providers"] == ["compatible"]
    assert only[0]["input_cost_per_token"] == pytest.approx(1e-6)
    assert gateway.request("GET", "/model_group/info").status == 401


@needs_feature("model_lists")
def test_one_model_is_listed_by_its_id(gateway):
    found = json.loads(gateway.request("GET", "/v1/model/info?litellm_model_id=demo", headers=BEARER).body)["data"]
    assert [row["model_name"] for row in found] == ["demo"]


@needs_feature("model_lists")
def test_a_client_sees_only_its_own_models_in_the_list(settings):
    keys = [{"name": "a", "key": KEY, "models": ["demo"]}]
    with gateway_thread({**settings, "client_keys": keys, "compatibility": ["litellm"]}) as found:
        listed = json.loads(found.request("GET", "/v1/model/info", headers=BEARER).body)["data"]
        refused = found.request("POST", "/openai/deployments/team/model/chat/completions", HELLO, BEARER)
    assert [row["model_name"] for row in listed] == ["demo"]
    assert refused.status == 403  # the deployment counts, not the model in the body


def test_a_deployment_limits_and_logs_the_model_that_it_names(settings):
    with gateway_thread({**settings, "compatibility": ["azure"]}) as found:
        found.request("POST", f"{AZURE}/chat/completions", OTHER, BEARER)
    (line,) = [json.loads(one) for one in found.log if '"event":"exchange"' in one]
    assert (line["model"], line["target"]) == ("demo", "compatible/mock-small")


@each_row("body", [b"", b"[]", b'{"model": '])
def test_a_broken_body_at_a_deployment_is_the_clients_mistake(gateway, body):
    for endpoint in ("chat/completions", "embeddings"):
        assert gateway.request("POST", f"{AZURE}/{endpoint}", body, BEARER).status == 400


@needs_feature("pass_through")
def test_an_entry_with_pass_through_keeps_its_prefix(settings, mock):
    entry = provider("anthropic/claude-sonnet-4-5", mock.url, name="anthropic", passthrough=True)
    own = {**settings, "model_providers": [*settings["model_providers"], entry], "compatibility": ["litellm"]}
    with gateway_thread(own) as found:
        body = {**HELLO, "model": "claude-sonnet-4-5", "max_tokens": 9}
        found.request("POST", "/anthropic/v1/messages", body, BEARER)
    (line,) = [json.loads(one) for one in found.log if '"event":"exchange"' in one]
    assert line.get("endpoint") == "passthrough"
