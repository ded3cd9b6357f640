"""Rows of clouds that serve other makers' models under their own addresses and sign-ins."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs

from providers.auth.signer import API_KEY
from providers.catalog.provider import (
    ANTHROPIC,
    BEARER,
    CHAT_AND_RESPONSES,
    ONLY_MESSAGES,
    OPENAI,
    STANDARD_AUTH,
    STANDARD_PATHS,
    CopiedAddress,
    Provider,
    Source,
    Speaks,
    sources,
)
from providers.catalog.rows.makers import OPENAI_FAMILIES, OPENAI_OTHER_FAMILIES
from providers.endpoints.embeddings.traits import OPENAIS, EmbeddingTraits
from providers.endpoints.endpoint import STANDARD_PLACES, EndpointName, Place, places
from providers.neutral.invoked import INVOKED
from providers.neutral.quirks import Quirks
from providers.neutral.wire_api import Hosting, OperationPath
from streams.events import APIS, Api

READ = "2026-11-22"

_BEDROCK_QUIRKS = Quirks(
    billing_line=False, deferred_tools="found", short_call_ids=False, fetches_links=False
)  # fmt: skip
_BEDROCK: Mapping[str, Any] = {"auth": BEARER, "quirks": _BEDROCK_QUIRKS, "known": _BEDROCK_QUIRKS}
# Vertex does not know `includeServerSideToolInvocations` (googleapis/js-genai, ToolConfig), and its `countTokens`
# expects the request's members unwrapped.
_VERTEX_GEMINI = Quirks(server_tool_invocations=False, wrapped_count=False, web_search="tool")
_CLAUDE_AT_VERTEX = attrs.evolve(_BEDROCK_QUIRKS, web_search="tool")  # as at Anthropic, in its first version
_ONLY_GEMINI: Mapping[Api, Api] = dict.fromkeys(APIS, "gemini")
_ONLY_INTERACTIONS: Mapping[Api, Api] = dict.fromkeys(APIS, "interactions")
_IN_CONVERSE: Speaks = MappingProxyType(dict.fromkeys(APIS, "converse"))
_CONVERSE_ITSELF: Speaks = MappingProxyType({"converse": "converse"})  # boto3 programs receive unchanged bytes
_RUNTIME = "https://docs.aws.amazon.com/bedrock/latest/userguide/inference-responses-api.html"
_CONVERSE = "https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html"
_FOUNDRY = "https://platform.claude.com/docs/en/build-with-claude/claude-in-microsoft-foundry"

_AZURE = "https://learn.microsoft.com/en-us/azure/ai-foundry/openai/latest"
_VERSION = "?api-version=2025-01-01-preview"
_BY_DEPLOYMENT: tuple[EndpointName, ...] = (
    "completions", "embeddings", "speech", "transcriptions", "translations", "image_generations", "image_edits",
)  # fmt: skip
_AS_OPENAI = places(*_BY_DEPLOYMENT, "files", "uploads", "batches", "vector_stores", "containers", "realtime")

_ANTHROPIC = ("anthropic-version",)
VERTEX_CLAUDE = Hosting(
    operations={
        "answer": OperationPath(":rawPredict", ":streamRawPredict"),
        "count": OperationPath("../count-tokens:rawPredict"),
    },
    without=("model", "stream"), adds={"anthropic_version": "vertex-2023-10-16"}, without_headers=_ANTHROPIC,
)  # fmt: skip
"""The differences of Claude on Vertex AI (api7/aisix#443, BYK/loreai#987)."""
INVOKED_CLAUDE = Hosting(
    operations={"answer": OperationPath("/invoke", "/invoke-with-response-stream")},
    without=("model", "stream"), adds={"anthropic_version": "bedrock-2023-05-31"}, betas_member="anthropic_beta",
    without_headers=(*_ANTHROPIC, "anthropic-beta"), framing=INVOKED,
)  # fmt: skip


def _invoked_endpoint(name: EndpointName, shape: str) -> Mapping[str, Any]:
    """Return the changes for models at Bedrock with only the endpoint ``name``, by InvokeModel."""
    return {"endpoints": places(**{name: Place("/model/{model}/invoke", shape, "converse", "")})}


_TITAN = EmbeddingTraits(inputs=1, takes_purpose="never")
# https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed-v4.html: unlike Cohere, it has no base64.
_EMBED = EmbeddingTraits(inputs=96, base64=False, takes_purpose="required")
_PREDICTED = {
    "speaks": _ONLY_GEMINI,
    "endpoints": places(embeddings=Place("/models/{model}:predict", "vertex", "gemini")),
}
_GEMINI_EMBEDDING = EmbeddingTraits(inputs=1, takes_purpose="optional")
_TEXT_EMBEDDING = EmbeddingTraits(inputs=250, tokens=20_000, takes_purpose="optional")

_AT_VERTEX = "/v1/projects/{project}/locations/{location}"
_VERTEX_OPEN = "https://cloud.google.com/vertex-ai/generative-ai/docs/maas/use-open-models"
_VERTEX_CLAUDE = "https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai"
_VERTEX_INTERACTIONS = (
    "https://docs.cloud.google.com/gemini-enterprise-agent-platform/reference/rpc/"
    "google.learning.vertex.api.interactions.v1beta1"
)
_VERTEX_GENERATE = "https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference"
_INVOKE = "https://docs.aws.amazon.com/bedrock/latest/userguide/apis.html"

CLOUDS = (
    # Azure expects keys in `api-key`; Bearer is for Entra tokens (microsoft/teams-sdk#1746). Its newer paths are
    # OpenAI's, with the deployment's name as the model. Rate limits count requested tokens on arrival. Prompts that the
    # content filter rejects are billed (https://learn.microsoft.com/azure/ai-services/openai/how-to/manage-costs).
    Provider(
        "azure_openai", "Azure OpenAI", address="https://NAME.openai.azure.com/openai/v1", prefix="/openai/deployments",
        quirks=OPENAI, paths={"chat": "/{model}/chat/completions?api-version=2025-01-01-preview"},
        auth={"chat": API_KEY}, families=(*OPENAI_FAMILIES, *OPENAI_OTHER_FAMILIES), key_env="AZURE_OPENAI_API_KEY",
        keeps_turns=("responses",),
        price_list="azure", bills_filtered_prompts=True, sign_in=("api_key", "azure"),
        endpoints={
            **places(**{name: Place("/{model}" + STANDARD_PLACES[name].path + _VERSION) for name in _BY_DEPLOYMENT}),
            **{
                name: Place(STANDARD_PLACES[name].path + _VERSION, prefix="/openai")
                for name in ("files", "batches", "vector_stores")
            },
            "realtime": Place("/realtime" + _VERSION, "azure", prefix="/openai"),
        },
        embeddings=OPENAIS, endpoint_source=Source(_AZURE, READ),
        by_path={
            "/openai/v1": {
                "paths": STANDARD_PATHS, "speaks": CHAT_AND_RESPONSES, "endpoints": _AS_OPENAI,
                "auth": MappingProxyType(dict.fromkeys(STANDARD_AUTH, API_KEY)),
            }
        },
        copied=(
            CopiedAddress(r"/openai/deployments/(?P<model>[^/]+)(?:/chat/completions)?", "/openai/deployments"),
            CopiedAddress(r"/openai/responses|^/models(?:/chat/completions)?", "/openai/v1", keeps_query=False),
        ),
        about="The model id is the deployment's name. If `base_url` ends with `/openai/v1`, the gateway uses Azure's "
        "v1 API (Chat and Responses); otherwise the older deployment paths (Chat only). The whole addresses that "
        "Azure's portal shows work, too.",
    ),
    # One resource has OpenAI's paths, with a key in `api-key`, and Anthropic's for Claude.
    Provider(
        "foundry", "Microsoft Foundry", address="https://NAME.services.ai.azure.com", prefix="/openai/v1",
        speaks=CHAT_AND_RESPONSES, quirks=OPENAI, places={"messages": "/anthropic/v1"},
        auth={**dict.fromkeys(STANDARD_AUTH, API_KEY), "messages": STANDARD_AUTH["messages"]},
        by_model=(("*claude-*", {"speaks": ONLY_MESSAGES, "quirks": ANTHROPIC, "known": ANTHROPIC}),),
        key_env="AZURE_FOUNDRY_API_KEY", price_list="azure", sign_in=("api_key", "azure"),
        bills_filtered_prompts=True, endpoints=_AS_OPENAI, embeddings=OPENAIS, endpoint_source=Source(_AZURE, READ),
        about="The model id is the deployment's name. Claude uses Messages; other models use Chat and Responses.",
        sources=sources(READ, messages=_FOUNDRY),
    ),
    Provider(
        "amazon_bedrock", "Amazon Bedrock", "https://bedrock-runtime.{region}.amazonaws.com", prefix="/openai/v1",
        speaks=_IN_CONVERSE, key_env="AWS_BEARER_TOKEN_BEDROCK", price_list="aws", sign_in=("api_key", "aws"),
        places={"messages": "https://bedrock-mantle.{region}.api.aws/anthropic/v1", "converse": ""},
        copied=(CopiedAddress(r"/model/(?P<model>[^/]+)/(?:converse|invoke)[a-z-]*", ""),),
        by_model=(
            ("*amazon.titan-embed-*", {**_invoked_endpoint("embeddings", "amazon"), "embeddings": _TITAN}),
            ("*cohere.embed-*", {**_invoked_endpoint("embeddings", "cohere_invoke"), "embeddings": _EMBED}),
            ("*amazon.rerank-*", _invoked_endpoint("rerank", "amazon")),
            ("*cohere.rerank-*", _invoked_endpoint("rerank", "cohere_invoke")),
            ("*anthropic.claude-*", {"speaks": {**ONLY_MESSAGES, **_CONVERSE_ITSELF}}),
            ("*openai.*", {"speaks": {**CHAT_AND_RESPONSES, **_CONVERSE_ITSELF}}),
        ),
        routes=(
            ("https://bedrock-runtime.{region}.amazonaws.com/openai/v1/", "https://bedrock-mantle.{region}.api.aws/v1/"),
            (".api.aws/openai/v1/", ".api.aws/v1/"),
            (".api.aws/v1/", ".api.aws/openai/v1/"),
        ),
        by_path={
            "/anthropic/v1": {"paths": STANDARD_PATHS, "speaks": ONLY_MESSAGES, **_BEDROCK},
            "/v1": {"paths": STANDARD_PATHS, "speaks": CHAT_AND_RESPONSES, **_BEDROCK},
        },
        about="With a `region`, Claude uses Messages (`bedrock-mantle`), OpenAI's models use "
        "Chat and Responses (`bedrock-runtime`), and all others use Converse.",
        sources=sources(
            READ, chat=_RUNTIME, responses=_RUNTIME, converse=_CONVERSE,
            messages="https://docs.aws.amazon.com/bedrock/latest/userguide/inference-messages-api.html",
        ),
        **_BEDROCK,
    ),
    Provider(
        "bedrock_invoke", "Amazon Bedrock (InvokeModel)", "https://bedrock-runtime.{region}.amazonaws.com", prefix="",
        speaks=ONLY_MESSAGES, paths={**STANDARD_PATHS, "messages": "/model/{model}"},
        hosting={"messages": INVOKED_CLAUDE}, price_list="aws",
        sign_in=("api_key", "aws"),
        about="For accounts that have Claude only in InvokeModel; otherwise use `amazon_bedrock`.",
        sources=sources(READ, messages=_INVOKE), **_BEDROCK,
    ),
    # Claude is available in its maker's API, open models in OpenAI's Chat.
    Provider(
        "vertex", "Vertex AI", "https://{location_host}", prefix=_AT_VERTEX + "/endpoints/openapi", auth=BEARER,
        copied=(CopiedAddress(r"/models/(?P<model>[^/]+):\w+", "", keeps_query=False),),
        hosts={
            "location": {
                "global": "aiplatform.googleapis.com", "us": "aiplatform.us.rep.googleapis.com",
                "eu": "aiplatform.eu.rep.googleapis.com", "": "{}-aiplatform.googleapis.com",
            }
        },
        places={
            "messages": _AT_VERTEX + "/publishers/anthropic", "gemini": _AT_VERTEX + "/publishers/google",
            "interactions": _AT_VERTEX.replace("/v1/", "/v1beta1/"),
        },
        keeps_turns=("interactions",), other_apis=("interactions",),
        paths={**STANDARD_PATHS, "messages": "/models/{model}"}, hosting={"messages": VERTEX_CLAUDE},
        by_model=(
            ("claude-*", {"speaks": ONLY_MESSAGES, "quirks": _CLAUDE_AT_VERTEX, "known": _CLAUDE_AT_VERTEX}),
            ("gemini-embedding-*", {**_PREDICTED, "embeddings": _GEMINI_EMBEDDING}),
            ("text-*embedding-*", {**_PREDICTED, "embeddings": _TEXT_EMBEDDING}),
            ("gemini-omni*", {"speaks": _ONLY_INTERACTIONS}),  # vercel/ai#16550, BerriAI/litellm#38229
            ("gemini-*", {"speaks": _ONLY_GEMINI, "quirks": _VERTEX_GEMINI, "known": _VERTEX_GEMINI}),
        ),
        price_list="google", sign_in=("google", "api_key"),
        about="Needs `project` and `location`. Claude (`claude-opus-4-5@20251101`) uses Messages, Gemini "
        "(`gemini-3.8-flash`) its own API, `gemini-omni-…` Interactions, and open models and `google/gemini-…` Chat.",
        sources=sources(
            READ, chat=_VERTEX_OPEN, messages=_VERTEX_CLAUDE, gemini=_VERTEX_GENERATE,
            interactions=_VERTEX_INTERACTIONS,
        ),
    ),
)  # fmt: skip
