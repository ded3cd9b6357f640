"""The providers, addresses and credentials of LiteLLM's models: https://docs.litellm.ai/docs/providers."""

import pytest

from gateway.commands.imports.litellm import convert_litellm
from gateway.commands.imports.litellm_tables import TYPES
from gateway.commands.imports.losses import Group
from gateway.config_files.loading import load
from gateway.routing.router import Router
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.litellm_files import convert_file, file_text, item

CLAUDE = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
INLINE = '{"type": "service_account", "private_key": "hush-hush"}'


@each_row(
    ("model", "params", "expected"),
    [
        (f"bedrock/{CLAUDE}", {"aws_region_name": "eu-central-1"},
         {"model": f"amazon_bedrock/{CLAUDE}", "speaks": ["converse"], "region": "eu-central-1"}),
        ("bedrock/converse/us.amazon.nova-pro-v1:0", {"aws_region_name": "os.environ/R"},
         {"model": "amazon_bedrock/us.amazon.nova-pro-v1:0", "speaks": ["converse"], "region": "$R"}),
        ("bedrock/us-east-1/meta.llama3-70b-instruct-v1:0", {},
         {"model": "amazon_bedrock/meta.llama3-70b-instruct-v1:0", "speaks": ["converse"], "region": "us-east-1"}),
        ("bedrock/invoke/anthropic.claude-3-haiku-20240307-v1:0", {},
         {"model": "bedrock_invoke/anthropic.claude-3-haiku-20240307-v1:0", "region": "$AWS_REGION"}),
        ("bedrock/arn:aws:bedrock:us-west-2:1:inference-profile/x", {},
         {"model": "amazon_bedrock/arn:aws:bedrock:us-west-2:1:inference-profile/x", "speaks": ["converse"],
          "region": "us-west-2"}),
        ("anthropic.claude-v2", {"aws_region_name": "us-east-1", "api_key": "os.environ/TOKEN"},
         {"model": "amazon_bedrock/anthropic.claude-v2", "speaks": ["converse"], "region": "us-east-1",
          "access_key": "$TOKEN"}),
        (f"bedrock/{CLAUDE}",
         {"aws_region_name": "eu-central-1", "aws_role_name": "arn:aws:iam::1:role/r", "aws_session_name": "s",
          "aws_external_id": "os.environ/E"},
         {"model": f"amazon_bedrock/{CLAUDE}", "speaks": ["converse"], "region": "eu-central-1",
          "sign_in": {"type": "aws", "role_arn": "arn:aws:iam::1:role/r", "session_name": "s", "external_id": "$E"}}),
        (f"bedrock/{CLAUDE}",
         {"aws_region_name": "eu-central-1", "aws_access_key_id": "os.environ/A",
          "aws_secret_access_key": "hush-hush", "aws_profile_name": "p", "aws_session_name": "s"},
         {"model": f"amazon_bedrock/{CLAUDE}", "speaks": ["converse"], "region": "eu-central-1",
          "sign_in": {"type": "aws", "access_key_id": "$A", "secret_access_key": "$M_AWS_SECRET_ACCESS_KEY"}}),
        (f"bedrock/{CLAUDE}", {"aws_region_name": "eu-central-1", "aws_bedrock_runtime_endpoint": "https://vpce.example"},
         {"model": f"amazon_bedrock/{CLAUDE}", "speaks": ["converse"], "base_url": "https://vpce.example",
          "region": "eu-central-1", "sign_in": "aws"}),
        ("bedrock/amazon.titan-embed-text-v2:0", {"aws_region_name": "us-east-1"},
         {"model": "amazon_bedrock/amazon.titan-embed-text-v2:0", "region": "us-east-1"}),
        ("bedrock/cohere.rerank-v3-5:0", {"aws_region_name": "us-east-1"},
         {"model": "amazon_bedrock/cohere.rerank-v3-5:0", "region": "us-east-1"}),
        ("vertex_ai/text-embedding-005", {"vertex_project": "p", "vertex_location": "us-central1"},
         {"model": "vertex/text-embedding-005", "project": "p", "location": "us-central1", "sign_in": "google"}),
        ("vertex_ai/gemini-2.5-pro",
         {"vertex_project": "p", "vertex_location": "global", "vertex_credentials": "os.environ/F"},
         {"model": "vertex/gemini-2.5-pro", "project": "p", "location": "global",
          "sign_in": {"type": "google", "credentials_file": "$F"}}),
        ("vertex_ai/claude-sonnet-4@20250514", {"vertex_ai_project": "p", "vertex_ai_location": "us-east5"},
         {"model": "vertex/claude-sonnet-4@20250514", "project": "p", "location": "us-east5", "sign_in": "google"}),
        ("vertex_ai/meta/llama-4-maas", {"vertex_project": "p", "vertex_credentials": INLINE},
         {"model": "vertex/meta/llama-4-maas", "project": "p", "location": "$VERTEXAI_LOCATION",
          "sign_in": {"type": "google", "credentials_file": "$M_CREDENTIALS_FILE"}}),
        ("gemini-2.5-flash", {},  # LiteLLM has it at Vertex AI, and gemini/… at AI Studio
         {"model": "vertex/gemini-2.5-flash", "project": "$VERTEXAI_PROJECT", "location": "$VERTEXAI_LOCATION",
          "sign_in": "google"}),
        ("azure/d", {"api_base": "https://x.openai.azure.com", "api_version": "preview", "api_key": "os.environ/K"},
         {"model": "azure_openai/d", "base_url": "https://x.openai.azure.com/openai/v1", "access_key": "$K"}),
        ("azure/responses/d", {"api_base": "https://x.openai.azure.com/", "api_version": "v1"},
         {"model": "azure_openai/d", "base_url": "https://x.openai.azure.com/openai/v1", "speaks": ["responses"],
          "access_key": "$AZURE_API_KEY"}),
        ("azure/d",
         {"api_base": "https://x.openai.azure.com", "tenant_id": "t", "client_id": "c", "client_secret": "hush-hush"},
         {"model": "azure_openai/d", "base_url": "https://x.openai.azure.com",
          "sign_in": {"type": "azure", "tenant_id": "t", "client_id": "c", "client_secret": "$M_CLIENT_SECRET"}}),
        ("azure/d", {"api_base": "https://x.openai.azure.com", "azure_ad_token": "os.environ/T"},
         {"model": "azure_openai/d", "base_url": "https://x.openai.azure.com", "sign_in": "none",
          "headers": {"authorization": "Bearer $T"}}),
        ("azure_ai/claude-opus-4-1",
         {"api_base": "https://x.services.ai.azure.com/anthropic", "api_key": "os.environ/K"},
         {"model": "foundry/claude-opus-4-1", "base_url": "https://x.services.ai.azure.com", "access_key": "$K"}),
        ("openai/x", {"api_base": "http://h:8000", "api_key": "os.environ/K"},
         {"model": "at_root/x", "base_url": "http://h:8000", "access_key": "$K"}),
    ],
)  # fmt: skip
def test_a_model_keeps_its_provider_address_and_credential(model, params, expected):
    _, text, content = convert_file(item("m", model, **params))
    assert content["model_providers"] == [{**expected, "name": "m"}]
    assert "hush-hush" not in text


@each_row(
    ("model", "params", "why"),
    [
        ("bedrock/agent/X/Y", {}, "trigate does not support agent/ at Bedrock"),
        ("bedrock/stability.sd3-large-v1:0", {"mode": "image_generation"}, "does not support image models"),
        ("vertex_ai/imagen-3.0-generate-002", {"vertex_project": "p"}, "does not support image models"),
        ("bedrock/amazon.nova-canvas-v1:0", {}, "does not support image models at this cloud"),
        ("bedrock/us.amazon.nova-reel-v1:0", {}, "does not support video models at this cloud"),
        ("bedrock/stability.sd3-large-v1:0", {}, "does not support image models at this cloud"),
        ("bedrock/amazon.nova-sonic-v1:0", {}, "does not support speech models at this cloud"),
        ("vertex_ai/imagegeneration@006", {}, "does not support image models at this cloud"),
        ("vertex_ai/imagen-4.0-generate-001", {}, "does not support image models at this cloud"),
        ("vertex_ai/veo-3.1-generate-001", {}, "does not support video models at this cloud"),
        ("vertex_ai/multimodalembedding@001", {"vertex_project": "p"}, "which is of the type embedding"),
        ("vertex_ai/1234567890", {"vertex_project": "p"}, "does not support the API of this model"),
        ("vertex_ai/mistral-large@2411", {"vertex_project": "p"}, "does not support the API of this model"),
        ("vertex_ai/gemini-2.5-pro", {"api_base": "https://proxy.example"}, "its `api_base` is not Vertex AI's"),
        ("azure_ai/x", {"api_base": "https://other.example"}, "does not know the paths at this `api_base`"),
        ("azure/x", {"api_base": "https://x.openai.azure.com", "azure_ad_token": "oidc/x"}, "cannot exchange"),
        ("gemini/imagen-4.0-generate-001", {}, "does not support imagen-4.0-generate-001 at Google"),
        ("gemini/imagen-4.0-generate-001", {"mode": "image_generation"}, "which is of the type image"),
        ("os.environ/THE_MODEL", {}, "are in the variable THE_MODEL: write their value"),
        ("anthropic/claude-x", {"mode": "embedding"}, "which is of the type embedding"),
        ("deepseek/whisper-1", {"mode": "audio_transcription"}, "which is of the type transcription"),
    ],
)
def test_a_model_that_its_provider_cannot_serve_is_refused_with_the_reason(model, params, why):
    mode = params.pop("mode", None)
    one = item("m", model, **params) | {"model_info": {} if mode is None else {"mode": mode}}
    result = convert_litellm({"model_list": [one, item("n", "openai/n")]})
    (loss,) = result.missing
    assert why in loss.why
    assert result.missing_names == {"m": loss.what}


@each_row(
    ("base", "path"),
    [("http://h:1", "/chat/completions"), ("http://h:1/", "/chat/completions"),
     ("http://h:1/v1", "/v1/chat/completions"), ("http://h:1/own", "/own/chat/completions")],
)  # fmt: skip
def test_an_address_has_the_same_meaning_as_in_litellm(base, path, tmp_path):
    file = tmp_path / "trigate.yaml"
    file.write_text(convert_file(item("m", "openai/x", api_base=base, api_key="os.environ/K"))[1])
    target = Router(load(file, {"K": "key"})).resolve("m", "chat")
    assert target.url == f"http://h:1{path}"


@each_row(
    "base",
    ["https://aiplatform.googleapis.com/v1/publishers/google", "https://h/v1beta", "https://h/v1", "https://h/own"],
)
def test_gemini_at_an_address_gets_googles_api_there(base, tmp_path):
    """LiteLLM adds `/models/NAME:generateContent` to the address."""
    file = tmp_path / "trigate.yaml"
    text = convert_file(item("m", "gemini/gemini-3-flash", api_base=base, api_key="os.environ/K"))[1]
    file.write_text(text)
    for api in ("chat", "messages", "gemini"):
        target = Router(load(file, {"K": "key"})).resolve("m", api)
        assert target.url == f"{base}/models/gemini-3-flash"  # the operation follows


@pytest.mark.parametrize(
    ("base", "note"), [("https://h", "adds /v1beta"), ("os.environ/B", "if $B has no path"), ("https://h/v1", None)]
)
def test_gemini_at_an_address_without_a_path_is_reported(base, note):
    result = convert_litellm(
        {"model_list": [item("m", "gemini/gemini-3-flash", api_base=base, api_key="os.environ/K")]}
    )
    ((remarks, _),) = result.entries
    assert any(note in remark for remark in remarks) if note else not remarks


@pytest.mark.parametrize(
    ("model", "mode"),
    [("gemini/gemini-3-pro-image-preview", "image_generation"), ("gemini/gemini-2.5-flash-preview-tts", "audio_speech"),
     ("vertex_ai/gemini-3-pro-image-preview", "image_generation")],
)  # fmt: skip
def test_a_model_of_conversations_stays_one_where_only_they_are_served(model, mode):
    one = item("m", model, vertex_project="p", vertex_location="global") | {"model_info": {"mode": mode}}
    result = convert_litellm({"model_list": [one]})
    ((_, found),) = result.entries
    assert "type" not in found
    losses = [(loss.group, loss.what) for loss in result.losses if "requests" in loss.what]
    assert losses == [(Group.NAMES, f"{TYPES[mode]} requests to m")]


def test_entries_without_a_credential_use_the_machines_identity_if_litellm_did():
    base = {"api_base": "https://x.openai.azure.com"}
    settings = {"enable_azure_ad_token_refresh": True}
    result = convert_litellm({"model_list": [item("m", "azure/d", **base)], "litellm_settings": settings})
    assert result.entries[0][1]["sign_in"] == "azure"
    assert "AZURE_API_KEY" not in file_text(result)
    assert result.losses == []


@needs_feature("request_members")
def test_default_members_apply_to_models_that_lack_them():
    shared = {"default_litellm_params": {"aws_region_name": "eu-west-1", "temperature": 0}}
    models = [item("a", f"bedrock/{CLAUDE}"), item("b", f"bedrock/{CLAUDE}", aws_region_name="eu-north-1")]
    content = convert_file(*models, router_settings=shared)[2]
    assert [one["region"] for one in content["model_providers"]] == ["eu-west-1", "eu-north-1"]
    assert content["model_providers"][1]["request"] == {"default": {"temperature": 0}}


def test_an_address_in_the_variables_of_the_file_is_lost_residency():
    variables = {"GEMINI_API_BASE": "https://g.example", "VERTEXAI_LOCATION": "europe-west1", "GEMINI_API_KEY": "k"}
    result = convert_litellm({"model_list": [item("m", "gemini/g")], "environment_variables": variables})
    assert [loss.what for loss in result.losses if loss.group is Group.RESIDENCY] == [
        "environment_variables.GEMINI_API_BASE", "environment_variables.VERTEXAI_LOCATION",
    ]  # fmt: skip


@each_row("key", ["none", "EMPTY", "fake-key"])
def test_a_placeholder_key_is_dropped_with_a_remark(key):
    result = convert_litellm({"model_list": [item("m", "openai/x", api_base="http://h:8000/v1", api_key=key)]})
    ((remarks, found),) = result.entries
    assert "access_key" not in found
    assert [remark for remark in remarks if f"{key} looks like a placeholder" in remark]


@each_row(
    ("model", "api_base", "is_lost"),
    [
        ("openai/text-embedding-3-small", "http://h:8000", True),
        ("openai/text-embedding-3-small", "http://h:8000/v1", False),
        ("openai/whisper-1", "http://h:8000/", True),
        ("openai/gpt-4o", "http://h:8000", False),
    ],
)
def test_an_address_without_a_path_that_gains_one_is_reported(model: str, api_base: str, is_lost: bool):
    result = convert_litellm({"model_list": [item("m", model, api_base=api_base, api_key="os.environ/K")]})
    assert [(loss.group, loss.what) for loss in result.losses] == [(Group.NAMES, "the paths of m")] * is_lost
