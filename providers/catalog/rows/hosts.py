"""Rows of services that host models of several makers, or forward requests to them."""

import attrs

from providers.catalog.provider import (
    ALL_THREE,
    BEARER,
    CHAT_AND_MESSAGES,
    COMPATIBLE,
    ONLY_MESSAGES,
    ROUTER,
    CopiedAddress,
    Provider,
    Source,
    sources,
)
from providers.endpoints.endpoint import Place, places
from providers.neutral.quirks import Quirks

READ = "2026-11-22"

APP_HEADERS = ("http-referer", "x-title")
"""Headers that identify the client's app (https://openrouter.ai/docs/app-attribution)."""

CLAUDE = "*claude-*"

_COMPARED = "https://www.developersdigest.tech/reference/api-compatibility/"
_CLOUDFLARE = "https://developers.cloudflare.com/changelog/post/2026-05-21-rest-api/"
_FIREWORKS = "https://docs.fireworks.ai/tools-sdks/anthropic-compatibility"
_SNOWFLAKE = "https://docs.snowflake.com/en/user-guide/snowflake-cortex/cortex-rest-api"
_DATABRICKS = "https://docs.databricks.com/aws/en/machine-learning/model-serving/query-anthropic-messages"

HOSTS = (
    # Groq returns 400 for more than one choice (https://console.groq.com/docs/openai), and 498 while its flex tier is
    # full (https://console.groq.com/docs/flex-processing).
    Provider(
        "groq", "Groq", "https://api.groq.com", prefix="/openai/v1",
        quirks=attrs.evolve(COMPATIBLE, cannot=("choices",), unavailable_statuses=(498,)),
        models=(
            "openai/gpt-oss-120b", "openai/gpt-oss-20b", "qwen/qwen3.8-27b", "llama-3.3-70b-versatile",
            "llama-3.1-8b-instant",
        ),
        key_env="GROQ_API_KEY",
        about="Also has Responses, without state: `speaks: [chat, responses]`.",
        sources=sources(READ, chat="https://console.groq.com/docs/openai"),
        endpoints=places("embeddings", "speech", "transcriptions", "translations", "files", "batches"),
        endpoint_source=Source("https://github.com/groq/groq-python", READ),
    ),
    Provider(
        "together_ai", "Together AI", "https://api.together.xyz", key_env="TOGETHER_API_KEY", price_list="together",
        endpoints=places(
            "embeddings", "completions", "image_generations", "speech", "transcriptions", "translations", "files",
            "batches", "rerank",
        ),
        endpoint_source=Source("https://github.com/togethercomputer/together-py", READ),
    ),
    Provider(
        "fireworks", "Fireworks AI", "https://api.fireworks.ai", prefix="/inference/v1", speaks=CHAT_AND_MESSAGES,
        auth=BEARER, key_env="FIREWORKS_API_KEY",
        sources=sources(READ, chat=_COMPARED + "fireworks", messages=_FIREWORKS),
        endpoints=places("embeddings", "completions"),
        endpoint_source=Source("https://docs.fireworks.ai/guides/querying-embeddings-models", READ),
    ),
    Provider(
        "cerebras", "Cerebras", "https://api.cerebras.ai", key_env="CEREBRAS_API_KEY",
        sources=sources(READ, chat=_COMPARED + "cerebras"),
    ),
    Provider(
        "nvidia", "NVIDIA", "https://integrate.api.nvidia.com", key_env="NVIDIA_API_KEY",
        sources=sources(READ, chat="https://ai-sdk.dev/providers/openai-compatible-providers/nim"),
        endpoints=places("embeddings"),
        endpoint_source=Source("https://posit-dev.github.io/raghilda/reference/embedding.EmbeddingNVIDIA.html", READ),
    ),
    Provider(
        "huggingface", "Hugging Face", "https://router.huggingface.co", key_env="HF_TOKEN",
        sources=sources(READ, chat="https://tabby.tabbyml.com/docs/references/models-http-api/huggingface/"),
    ),
    Provider(
        "github", "GitHub Models", "https://models.github.ai", prefix="/inference", key_env="GITHUB_TOKEN",
        sources=sources(READ, chat="https://docs.github.com/en/github-models/quickstart"),
        endpoints=places("embeddings"),
        endpoint_source=Source("https://github.com/github/codespaces-models/pull/28", READ),
    ),
    # Messages is available for Claude only.
    Provider(
        "databricks", "Databricks", address="https://WORKSPACE.cloud.databricks.com", prefix="/serving-endpoints",
        places={"messages": "/serving-endpoints/anthropic/v1"}, auth=BEARER, key_env="DATABRICKS_TOKEN",
        by_model=((CLAUDE, {"speaks": ONLY_MESSAGES}),), sign_in=("api_key", "azure"),
        copied=(CopiedAddress(r"/serving-endpoints/(?P<model>[^/]+)/invocations", "/serving-endpoints"),),
        about="Claude uses Messages, other models use Chat.",
        sources=sources(READ, chat=_DATABRICKS, messages=_DATABRICKS),
    ),
    Provider(
        "snowflake", "Snowflake Cortex", address="https://ACCOUNT.snowflakecomputing.com", prefix="/api/v2/cortex/v1",
        auth=BEARER, key_env="SNOWFLAKE_PAT", by_model=((CLAUDE, {"speaks": ONLY_MESSAGES}),),
        about="Claude uses Messages, other models use Chat.",
        sources=sources(READ, chat=_SNOWFLAKE, messages=_SNOWFLAKE),
    ),
    Provider(
        "cloudflare", "Cloudflare", address="https://api.cloudflare.com/client/v4/accounts/ACCOUNT/ai/v1",
        speaks=ALL_THREE, all_in_chat=True, quirks=ROUTER, auth=BEARER, key_env="CLOUDFLARE_API_TOKEN",
        sources=sources(READ, chat=_CLOUDFLARE, messages=_CLOUDFLARE, responses=_CLOUDFLARE),
        endpoints=places("embeddings"),
        endpoint_source=Source(
            "https://developers.cloudflare.com/workers-ai/configuration/open-ai-compatibility", READ
        ),
    ),
    Provider(
        "vercel", "Vercel AI Gateway", "https://ai-gateway.vercel.sh", speaks=ALL_THREE, quirks=ROUTER,
        key_env="AI_GATEWAY_API_KEY", client_headers=APP_HEADERS,
        sources=sources(
            READ, chat="https://vercel.com/docs/ai-gateway/sdks-and-apis/openai-chat-completions",
            messages="https://vercel.com/docs/ai-gateway/anthropic-compat",
            responses="https://vercel.com/docs/ai-gateway/sdks-and-apis/responses",
        ),
        endpoints=places("embeddings"),
        endpoint_source=Source(
            "https://vercel.com/docs/ai-gateway/sdks-and-apis/openai-chat-completions/embeddings", READ
        ),
    ),
    # OpenRouter's Messages endpoint only accepts Bearer keys. Its Chat accepts both names of the token limit, the
    # role `developer`, and the `images` of earlier answers (`ChatAssistantImages` of its API).
    Provider(
        "openrouter", "OpenRouter", "https://openrouter.ai", prefix="/api/v1", speaks=ALL_THREE, all_in_chat=True,
        auth=BEARER, quirks=attrs.evolve(COMPATIBLE, message_images=True, web_search="openrouter"),
        known=Quirks(web_search="openrouter"),
        key_env="OPENROUTER_API_KEY",
        client_headers=(*APP_HEADERS, "x-openrouter-title", "x-openrouter-categories"),
        sources=sources(READ, **dict.fromkeys(("chat", "messages", "responses"), _COMPARED + "openrouter")),
        endpoints=places(
            "embeddings", "speech", "transcriptions", "files", image_generations=Place("/images"),
            rerank=Place("/rerank", "cohere"),
        ),
        endpoint_source=Source("https://openrouter.ai/docs/api_reference/embeddings", READ),
    ),
    Provider(
        "deepinfra", "DeepInfra", "https://api.deepinfra.com", prefix="/v1/openai", key_env="DEEPINFRA_API_KEY",
        endpoints=places(
            "embeddings", rerank=Place("/inference/{model}", "deepinfra", prefix="/v1"),
        ),
        endpoint_source=Source("https://deepinfra.com/docs/openai_api", READ),
    ),
    Provider("edenai", "Eden AI", "https://api.edenai.run", prefix="/v3", key_env="EDENAI_API_KEY"),
    Provider("digitalocean", "DigitalOcean", "https://inference.do-ai.run", key_env="DIGITALOCEAN_API_KEY"),
    Provider("plano", "Plano", "https://archfc.katanemo.dev", key_required=False),
    Provider("astraflow", "Astraflow"),
    Provider("astraflow_cn", "Astraflow"),
)  # fmt: skip
