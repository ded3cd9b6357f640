"""Rows of the companies that make models, at their own addresses."""

import attrs

from providers.catalog.provider import (
    ALL_THREE,
    ANTHROPIC,
    BEARER,
    CHAT_AND_MESSAGES,
    CHAT_AND_RESPONSES,
    COMPATIBLE,
    ONLY_CHAT,
    ONLY_MESSAGES,
    ONLY_RESPONSES,
    OPENAI,
    CopiedAddress,
    Provider,
    Source,
    sources,
)
from providers.endpoints.embeddings.traits import OPENAIS, EmbeddingTraits
from providers.endpoints.endpoint import STANDARD_PLACES, Place, places
from providers.neutral.quirks import Quirks
from streams.events import APIS

READ = "2026-11-22"

COMPATIBLE_ENDPOINT_NOTE = (
    "Chat and Responses clients are sent to Anthropic's OpenAI-compatible endpoint, which loses thinking, prompt "
    "caching and PDFs; `speaks: [messages]` translates them to the Messages API instead"
)

OPENAI_FAMILIES = (
    "gpt-[!o]*", "gpt-o[!s]*",  # except gpt-oss-*, whose open weights others serve
    "o[1-9]", "o[1-9]-*", "chatgpt-*", "codex-*", "computer-use-*", "ft:*",
)  # fmt: skip

OPENAI_OTHER_FAMILIES = (  # models for other endpoints than conversations
    "text-embedding-3-*", "text-embedding-ada-*", "omni-moderation-*", "text-moderation-*", "whisper-1", "tts-1",
    "tts-1-*", "dall-e-*", "davinci-*", "babbage-*",
)  # fmt: skip

_OPENAI_HEADERS = ("x-oai-attestation", "x-responsesapi-include-timing-metrics")  # Codex's, for OpenAI alone
_SEARCH = Place("/alpha/search", api="responses")
_CODEX = Source("https://github.com/openai/codex/blob/main/codex-rs/codex-api/src/endpoint/search.rs", READ)

_MOONSHOT = "https://platform.kimi.ai/docs/api/overview.md"
_COMPARED = "https://www.developersdigest.tech/reference/api-compatibility/"

_SEARCHES = attrs.evolve(COMPATIBLE, web_search="tool")
_SHORT_NAMES = attrs.evolve(COMPATIBLE, short_tool_names=True)  # mrexodia/ida-pro-mcp#129, QwenLM/Qwen3-VL#2069

MAKERS = (
    Provider(
        "openai", "OpenAI", "https://api.openai.com", speaks=CHAT_AND_RESPONSES, quirks=OPENAI,
        models=(
            "gpt-6-astra", "gpt-6.1-sol", "gpt-6.1-terra", "gpt-6-sol", "gpt-6-luna", "gpt-5.6-sol", "gpt-5.6-terra",
            "gpt-5.6-luna", "gpt-5.5", "gpt-5.4", "gpt-5.4-mini", "gpt-5.4-nano", "gpt-5.3-codex", "gpt-5.2", "gpt-5.1",
            "gpt-5", "gpt-5-mini", "gpt-5-nano", "o3", "gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini",
        ),
        families=(*OPENAI_FAMILIES, *OPENAI_OTHER_FAMILIES), key_env="OPENAI_API_KEY", keeps_turns=("responses",),
        about="Reasoning models use Responses for Messages clients and for tools; `…-codex` and `…-pro` always do: "
        "[speaks](configuration-reference.md#speaks).",
        sources=sources(READ, **dict.fromkeys(
            ("chat", "responses"), "https://developers.openai.com/api/reference/overview"
        )),
        client_headers=_OPENAI_HEADERS,
        endpoints={**STANDARD_PLACES, **places(
            rerank=None, image_variations=None, videos=None,
            realtime_translations=Place("/realtime/translations"), live=Place("/live/sessions"),
            decisions=Place("/decisions"), search=_SEARCH,
            content_provenance_checks=Place("/content_provenance_checks"),
        )},
        embeddings=OPENAIS,
        endpoint_source=Source("https://github.com/openai/openai-python", READ),
    ),
    Provider(
        "anthropic", "Anthropic", "https://api.anthropic.com", speaks=CHAT_AND_MESSAGES, quirks=ANTHROPIC,
        keeps_threads=True, versionless=True,
        # Others have Messages at this path; it does not include Anthropic's own Chat.
        by_path={"/anthropic/v1": {"speaks": ONLY_MESSAGES, "note": ""}},
        models=(
            "claude-fable-5-2", "claude-fable-5-1", "claude-fable-5", "claude-opus-5-5", "claude-opus-5",
            "claude-opus-4-8", "claude-opus-4-7", "claude-opus-4-6", "claude-opus-4-5", "claude-sonnet-5-5",
            "claude-sonnet-5", "claude-sonnet-4-6", "claude-sonnet-4-5", "claude-haiku-5-5", "claude-haiku-4-5",
        ),
        families=("claude-*",), key_env="ANTHROPIC_API_KEY", note=COMPATIBLE_ENDPOINT_NOTE,
        about="`speaks: [messages]` keeps thinking, prompt caching and PDFs for Chat and Responses clients: "
        "[speaks](configuration-reference.md#speaks).",
        sources=sources(
            READ, chat="https://platform.claude.com/docs/en/api/openai-sdk",
            messages="https://platform.claude.com/docs/en/api/messages",
        ),
        endpoints=places(
            files=Place("/files", "anthropic", "messages"),
            message_batches=Place("/messages/batches", "anthropic", "messages"),
        ),
        endpoint_source=Source("https://github.com/anthropics/anthropic-sdk-python", READ),
    ),
    Provider(
        "gemini", "Google", "https://generativelanguage.googleapis.com", prefix="/v1beta/openai",
        speaks={
            "chat": "chat", "interactions": "interactions",
            **dict.fromkeys(("messages", "responses", "gemini", "converse"), "gemini"),
        },
        places={"gemini": "/v1beta", "interactions": "/v1beta"},
        copied=(CopiedAddress(r"/models/(?P<model>[^/]+):\w+", "", keeps_query=False),),
        models=(
            "gemini-4-argon", "gemini-3.8-flash", "gemini-3.6-flash", "gemini-3.1-pro-preview", "gemini-3.5-flash-lite",
            "gemini-3.1-flash-lite",
        ),
        families=("gemini-*", "gemma-*", "deep-research-*", "antigravity-*"), key_env="GEMINI_API_KEY",
        quirks=attrs.evolve(_SEARCHES, fetches_links=False),
        price_list="google", keeps_turns=("interactions",), other_apis=("interactions",),
        about="Its Chat API loses thoughts and their signatures. `speaks: [gemini]` keeps them for Chat clients.",
        sources=sources(
            READ, chat="https://ai.google.dev/gemini-api/docs/openai",
            gemini="https://ai.google.dev/api/generate-content",
            interactions="https://ai.google.dev/api/interactions-api",
        ),
        # "This model only supports Interactions API" (mlcommons/modelbench#1655, BerriAI/litellm#38229)
        by_model=tuple(
            (pattern, {"speaks": dict.fromkeys(APIS, "interactions")})
            for pattern in ("gemini-omni*", "deep-research-*", "antigravity-*")
        ),
        endpoints=places(
            embeddings=Place("/models/{model}:batchEmbedContents", "gemini", "gemini"),
            files=Place("/files", "gemini", "gemini"),
            realtime=Place(
                "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent", "gemini", "gemini", ""
            ),
        ),
        endpoint_source=Source("https://github.com/googleapis/python-genai", READ),
        embeddings=EmbeddingTraits(inputs=100),  # geldata/gel#9032
        by_path={"/v1beta/openai": {"speaks": ONLY_CHAT, "endpoints": places("embeddings")}},
    ),
    # Mistral returns 422 for unknown members (Gitlawb/openclaude#739). It always counts the tokens of streams, and
    # rejects `stream_options` (openai/openai-agents-python#442, avante-corp/avante.nvim#2347).
    Provider(
        "mistral", "Mistral AI", "https://api.mistral.ai",
        quirks=attrs.evolve(COMPATIBLE, refused_fields=("store",), stream_usage=False),
        models=("mistral-large-latest", "mistral-medium-latest", "codestral-latest", "mistral-small-latest"),
        families=(
            "mistral-*", "ministral-*", "magistral-*", "codestral-*", "devstral-*", "pixtral-*", "voxtral-*",
            "open-mistral-*", "open-mixtral-*",
        ),
        key_env="MISTRAL_API_KEY",
        sources=sources(READ, chat="https://docs.mistral.ai/resources/migration-guides.md"),
        endpoints=places(
            "moderations", "speech", "transcriptions", embeddings=Place("/embeddings", "mistral"),
            fim=Place("/fim/completions", "mistral"), files=Place("/files", "mistral"),
            batches=Place("/batch/jobs", "mistral"), chat_moderations=Place("/chat/moderations"),
            classifications=Place("/classifications"), chat_classifications=Place("/chat/classifications"),
            ocr=Place("/ocr"),
        ),
        # aurelio-labs/semantic-router#297, raphaelmansuy/edgequake-llm#74
        embeddings=EmbeddingTraits(inputs=512, tokens=16_384, takes_purpose="never"),
        endpoint_source=Source("https://github.com/mistralai/client-python", READ),
    ),
    Provider(
        "deepseek", "DeepSeek", "https://api.deepseek.com", speaks=CHAT_AND_MESSAGES,
        places={"messages": "/anthropic/v1", "responses": ""}, models=("deepseek-v4-pro", "deepseek-v4-flash"),
        families=("deepseek-*",), key_env="DEEPSEEK_API_KEY", quirks=_SHORT_NAMES,
        about="Also has Responses, which rejects items between a tool call and its result: "
        "`speaks: [chat, messages, responses]`.",
        sources=sources(
            READ, chat=_COMPARED + "deepseek", messages="https://api-docs.deepseek.com/guides/anthropic_api",
            responses="https://github.com/pydantic/pydantic-ai/tree/main/tests/models/cassettes/test_deepseek_responses",
        ),
        endpoints=places(
            completions=Place("/completions", prefix="/beta"), fim=Place("/completions", prefix="/beta"),
        ),
        endpoint_source=Source("https://api-docs.deepseek.com/guides/fim_completion", READ),
    ),
    Provider(
        "xai", "xAI", "https://api.x.ai", speaks=CHAT_AND_RESPONSES, models=("grok-4.7", "grok-4.6", "grok-4.3"),
        families=("grok-*",), key_env="XAI_API_KEY", quirks=_SEARCHES,
        client_headers=("x-grok-conv-id",),  # selects the prompt cache
        price_list="x-ai", about="The gateway does not use its deprecated Messages path.",
        sources=sources(READ, chat=_COMPARED + "xai", responses=_COMPARED + "xai"),
        endpoints=places("image_generations", "image_edits", "files", "batches"),
        endpoint_source=Source("https://docs.x.ai/developers/rest-api-reference/inference", READ),
    ),
    Provider(
        "moonshotai", "Moonshot AI", "https://api.moonshot.ai", speaks=ALL_THREE,
        places={"messages": "/anthropic/v1"}, auth=BEARER, models=("kimi-k3.1-pro", "kimi-k3", "kimi-k2.6"),
        families=("kimi-*", "moonshot-*"), key_env="MOONSHOT_API_KEY",
        sources=sources(READ, chat=_MOONSHOT, responses=_MOONSHOT, messages=_COMPARED + "moonshot"),
    ),
    *(
        Provider(
            id, name, url, prefix="/api/paas/v4", speaks=CHAT_AND_MESSAGES, places={"messages": "/api/anthropic/v1"},
            auth=BEARER, models=("glm-5.3", "glm-5.3-flash"), families=("glm-*",), key_env=key, price_list=prices,
            sources=sources(READ, messages=source),
        )
        for id, name, url, key, prices, source in (
            ("zhipu", "Zhipu AI", "https://open.bigmodel.cn", "ZHIPU_API_KEY", "zhipuai",
             "https://deepwiki.com/foreveryh/claude-code-switch/5.4-zhipu-glm"),
            ("zai", "Z.ai", "https://api.z.ai", "ZAI_API_KEY", "zai",
             "https://jackin.tailrocks.com/guides/authentication/zai/"),
        )
    ),
    Provider(
        "qwen", "Alibaba Cloud", address="https://dashscope-intl.aliyuncs.com", prefix="/compatible-mode/v1",
        speaks=ALL_THREE, families=("qwen-*", "qwen[0-9]*", "qwq-*", "qvq-*", "text-embedding-v[0-9]*"),
        key_env="DASHSCOPE_API_KEY", quirks=_SHORT_NAMES,
        places={"messages": "/apps/anthropic/v1", "responses": "/api/v2/apps/protocols/compatible-mode/v1"},
        sources=sources(
            READ, chat="https://www.alibabacloud.com/help/en/model-studio/first-api-call-to-qwen",
            messages="https://www.alibabacloud.com/help/en/model-studio/anthropic-api-messages",
            responses="https://www.alibabacloud.com/help/en/model-studio/compatibility-with-openai-responses-api",
        ),
        endpoints=places("embeddings"),
        embeddings=EmbeddingTraits(inputs=10),  # OpenSPG/KAG#669
        endpoint_source=Source(
            "https://help.aliyun.com/en/model-studio/embedding-interfaces-compatible-with-openai", READ
        ),
    ),
    Provider("xiaomi", "Xiaomi", "https://api.xiaomimimo.com", speaks=CHAT_AND_MESSAGES, auth=BEARER,
        places={"messages": "/anthropic/v1"}, families=("mimo-*",), key_env="MIMO_API_KEY",
        sources=sources(READ, **dict.fromkeys(
            ("chat", "messages"), "https://docs.rs/rig-core/latest/rig/providers/xiaomimimo/"
        )),
    ),
    Provider(
        "minimax", "MiniMax", "https://api.minimax.io", speaks=ALL_THREE, places={"messages": "/anthropic/v1"},
        auth=BEARER, families=("minimax-*",), key_env="MINIMAX_API_KEY",
        about="In China, set `base_url: https://api.minimaxi.com`.",
        sources=sources(
            READ, chat=_COMPARED + "minimax", responses=_COMPARED + "minimax",
            messages="https://platform.minimax.io/docs/api-reference/text-anthropic-api",
        ),
    ),
    Provider(
        "stepfun", "StepFun", "https://api.stepfun.com", speaks=CHAT_AND_MESSAGES, auth=BEARER, families=("step-*",),
        key_env="STEPFUN_API_KEY", about="Outside China, set `base_url: https://api.stepfun.ai`.",
        sources=sources(READ, **dict.fromkeys(
            ("chat", "messages"), "https://platform.stepfun.com/docs/zh/guides/models/step-3.7-flash"
        )),
    ),
    # It rejects `stream_options` (https://strandsagents.com/docs/user-guide/concepts/model-providers/cohere/).
    Provider(
        "cohere", "Cohere", "https://api.cohere.ai", prefix="/compatibility/v1",
        quirks=attrs.evolve(COMPATIBLE, stream_usage=False), key_env="COHERE_API_KEY",
        copied=(CopiedAddress(r"^/v[12](?:/chat)?", "/compatibility/v1"),),
        families=("command-*", "c4ai-*", "embed-*", "rerank-v*", "rerank-english-*", "rerank-multilingual-*"),
        sources=sources(READ, chat="https://docs.cohere.com/docs/compatibility-api"),
        endpoints=places(
            embeddings=Place("/embed", "cohere", prefix="/v2"), rerank=Place("/rerank", "cohere", prefix="/v2"),
            transcriptions=Place("/audio/transcriptions", "cohere", prefix="/v2"),
        ),
        embeddings=EmbeddingTraits(inputs=96),
        endpoint_source=Source("https://github.com/cohere-ai/cohere-python", READ),
    ),
    # Chat has no /v1, and its streams end without [DONE].
    Provider(
        "perplexity", "Perplexity", "https://api.perplexity.ai", prefix="", speaks=CHAT_AND_RESPONSES,
        places={"responses": "/v1"}, models=("sonar-pro", "sonar"), families=("sonar", "sonar-*"),
        key_env="PERPLEXITY_API_KEY", quirks=attrs.evolve(COMPATIBLE, web_search="always"),
        sources=sources(
            READ, chat="https://docs.perplexity.ai/docs/sonar/openai-compatibility",
            responses="https://docs.perplexity.ai/docs/grounded-llm/openai-compatibility",
        ),
    ),
    # The backend of ChatGPT subscriptions only accepts streamed Responses and sets its own limits
    # (RayBytes/ChatMock#103, liliMozi/openhanako#1899).
    Provider(
        "chatgpt", "ChatGPT", "https://chatgpt.com", prefix="/backend-api/codex", speaks=ONLY_RESPONSES,
        paths={"responses": "/responses"},
        quirks=Quirks(refused_fields=("max_output_tokens", "temperature"), web_search="tool"), key_required=False,
        is_subscription=True, families=OPENAI_FAMILIES, client_headers=_OPENAI_HEADERS, endpoints={"search": _SEARCH},
        endpoint_source=_CODEX,
        about="For ChatGPT subscriptions, with `passthrough_auth: true`.",
    ),
    # These have embeddings and rerank only.
    Provider(
        "jina", "Jina AI", "https://api.jina.ai", families=("jina-*",), key_env="JINA_API_KEY",
        about="Only embeddings and rerank.",
        endpoints=places("rerank", embeddings=Place("/embeddings", "jina")),
        endpoint_source=Source("https://api.jina.ai/redoc", READ),
    ),
    Provider(
        "voyage", "Voyage AI", "https://api.voyageai.com", families=("voyage-*", "rerank-[0-9]*"),
        key_env="VOYAGE_API_KEY", price_list="voyageai",
        about="Only embeddings and rerank. With a MongoDB key, set `base_url: https://ai.mongodb.com`.",
        endpoints=places(embeddings=Place("/embeddings", "voyage"), rerank=Place("/rerank", "voyage")),
        embeddings=EmbeddingTraits(inputs=1000, tokens=120_000),  # lfnovo/esperanto#108; tokens: of its largest models
        endpoint_source=Source("https://github.com/voyage-ai/voyageai-python", READ),
    ),
    Provider("meta", "Meta", families=("muse-*",)),
)  # fmt: skip
