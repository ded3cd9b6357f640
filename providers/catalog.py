"""Model providers as rows of data: where they are, which wire APIs they speak and how they want to be spoken to.

A new OpenAI-compatible provider is one row. Hosts and paths are those of the providers' own documentation; what a
server refuses is in its ``Quirks``, with the public thread that showed it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

import attrs

from providers.quirks import Quirks
from streams.events import APIS, Api

Auth: TypeAlias = Literal["bearer", "x-api-key", "api-key"]
Speaks: TypeAlias = Mapping[Api, Api]

STANDARD_PATHS: Mapping[Api, str] = MappingProxyType(
    {"chat": "/chat/completions", "messages": "/messages", "responses": "/responses"}
)
STANDARD_AUTH: Mapping[Api, Auth] = MappingProxyType({"chat": "bearer", "messages": "x-api-key", "responses": "bearer"})
BEARER: Mapping[Api, Auth] = MappingProxyType(dict.fromkeys(APIS, "bearer"))

# The API of the client -> the API that the provider is asked in.
ONLY_CHAT: Speaks = MappingProxyType({"chat": "chat", "messages": "chat", "responses": "chat"})
CHAT_AND_RESPONSES: Speaks = MappingProxyType({"chat": "chat", "messages": "chat", "responses": "responses"})
CHAT_AND_MESSAGES: Speaks = MappingProxyType({"chat": "chat", "messages": "messages", "responses": "chat"})
ONLY_RESPONSES: Speaks = MappingProxyType(dict.fromkeys(APIS, "responses"))
ALL_THREE: Speaks = MappingProxyType({api: api for api in APIS})
NOTHING_YET: Speaks = MappingProxyType({})

COMPATIBLE = Quirks(
    max_tokens_field="max_tokens", developer_role=False, short_call_ids=False, billing_line=False,
    deferred_tools="found",
)  # fmt: skip
"""What nearly every compatible server takes: it knows ``max_tokens`` and the role ``system``
(editor-code-assistant/eca#231, earendil-works/pi#1048), and searches no tools."""

ROUTER = Quirks(short_call_ids=False, billing_line=False)
"""A service that passes requests on to the makers of models."""

COMPATIBLE_ENDPOINT_NOTE = (
    "Chat and Responses clients are sent to Anthropic's OpenAI-compatible endpoint, which loses thinking, prompt "
    "caching and PDFs; `speaks: [messages]` translates them to the Messages API instead"
)


@attrs.frozen
class Provider:
    """One provider. ``base_url`` None means that the config must give one.

    ``paths`` are suffixes to the prefix (``{model}`` stands for the model id); ``speaks`` maps a client's API to the
    API that the provider is asked in, and is empty where no codec speaks the provider's API yet. ``models`` are
    well-known ids for ``GET /v1/models``, not a claim of completeness. ``note`` is shown by ``check`` where the config
    leaves ``speaks`` at its default. ``keeps_responses``: whether its Responses API stores answers, so that a client
    can go on from one; ``keeps_threads``: the same of Messages.
    """

    id: str
    display_name: str
    base_url: str | None = None
    prefix: str = "/v1"
    paths: Mapping[Api, str] = STANDARD_PATHS
    speaks: Speaks = ONLY_CHAT
    auth: Mapping[Api, Auth] = STANDARD_AUTH
    quirks: Quirks = COMPATIBLE
    models: tuple[str, ...] = ()
    key_env: str | None = None
    key_required: bool = True
    note: str = ""
    keeps_responses: bool = False
    keeps_threads: bool = False


_ROWS = (
    Provider(
        "openai", "OpenAI", "https://api.openai.com", speaks=CHAT_AND_RESPONSES, quirks=Quirks(),
        models=(
            "gpt-5.4", "gpt-5.1", "gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano",
            "gpt-4o", "gpt-4o-mini", "o4-mini", "o3",
        ),
        key_env="OPENAI_API_KEY", keeps_responses=True,
    ),
    Provider(
        "anthropic", "Anthropic", "https://api.anthropic.com", speaks=CHAT_AND_MESSAGES, quirks=Quirks(),
        keeps_threads=True,
        models=(
            "claude-opus-4-7", "claude-sonnet-4-6", "claude-sonnet-4-5", "claude-haiku-4-5", "claude-sonnet-4-20250514",
        ),
        key_env="ANTHROPIC_API_KEY", note=COMPATIBLE_ENDPOINT_NOTE,
    ),
    Provider(
        "gemini", "Google", "https://generativelanguage.googleapis.com", prefix="/v1beta/openai",
        models=("gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite"), key_env="GEMINI_API_KEY",
    ),
    Provider(
        "groq", "Groq", "https://api.groq.com", prefix="/openai/v1",
        models=("openai/gpt-oss-120b", "openai/gpt-oss-20b", "llama-3.3-70b-versatile", "llama-3.1-8b-instant"),
        key_env="GROQ_API_KEY",
    ),
    # Mistral answers 422 to members that it does not know (Gitlawb/openclaude#739). A token limit under the wrong name
    # is left for it to refuse: dropping that would change what the client pays for.
    Provider(
        "mistral", "Mistral AI", "https://api.mistral.ai",
        quirks=attrs.evolve(COMPATIBLE, refused_fields=("store",)),
        models=("mistral-large-latest", "mistral-medium-latest", "mistral-small-latest", "codestral-latest"),
        key_env="MISTRAL_API_KEY",
    ),
    Provider(
        "deepseek", "DeepSeek", "https://api.deepseek.com", models=("deepseek-chat", "deepseek-reasoner"),
        key_env="DEEPSEEK_API_KEY",
    ),
    Provider(
        "xai", "xAI", "https://api.x.ai", speaks=CHAT_AND_RESPONSES, models=("grok-4.3", "grok-4"),
        key_env="XAI_API_KEY",
    ),
    Provider("together_ai", "Together AI", "https://api.together.xyz", key_env="TOGETHER_API_KEY"),
    Provider("moonshotai", "Moonshot AI", "https://api.moonshot.ai", key_env="MOONSHOT_API_KEY"),
    Provider("zhipu", "Zhipu AI", "https://open.bigmodel.cn", prefix="/api/paas/v4", key_env="ZHIPU_API_KEY"),
    Provider("qwen", "Alibaba Cloud", prefix="/compatible-mode/v1", key_env="DASHSCOPE_API_KEY"),
    # Azure takes its keys in `api-key`; Bearer is for Entra tokens (microsoft/teams-sdk#1746).
    Provider(
        "azure_openai", "Azure OpenAI", prefix="/openai/deployments", quirks=Quirks(),
        paths={"chat": "/{model}/chat/completions?api-version=2025-01-01-preview"}, auth={"chat": "api-key"},
        key_env="AZURE_OPENAI_API_KEY", keeps_responses=True,
    ),
    Provider("ollama", "Ollama", key_required=False),
    Provider(
        "amazon_bedrock", "Amazon Bedrock", prefix="", paths={}, speaks=NOTHING_YET, auth={},
        key_env="AWS_BEARER_TOKEN_BEDROCK",
    ),
    Provider("plano", "Plano", "https://archfc.katanemo.dev", key_required=False),
    Provider("github", "GitHub Models", "https://models.github.ai", prefix="/inference", key_env="GITHUB_TOKEN"),
    Provider("xiaomi", "Xiaomi", "https://api.xiaomimimo.com", key_env="MIMO_API_KEY"),
    Provider("digitalocean", "DigitalOcean", "https://inference.do-ai.run", key_env="DIGITALOCEAN_API_KEY"),
    # The backend of ChatGPT subscriptions takes streamed Responses only and sets its own limits (RayBytes/ChatMock#103,
    # liliMozi/openhanako#1899).
    Provider(
        "chatgpt", "ChatGPT", "https://chatgpt.com", prefix="/backend-api/codex", speaks=ONLY_RESPONSES,
        paths={"responses": "/responses"},
        quirks=Quirks(refused_fields=("max_output_tokens", "temperature")), key_required=False,
    ),
    Provider(
        "vercel", "Vercel AI Gateway", "https://ai-gateway.vercel.sh", speaks=ALL_THREE, quirks=ROUTER,
        key_env="AI_GATEWAY_API_KEY",
    ),
    # OpenRouter's Messages endpoint takes its keys as Bearer only.
    Provider(
        "openrouter", "OpenRouter", "https://openrouter.ai", prefix="/api/v1", auth=BEARER,
        key_env="OPENROUTER_API_KEY",
    ),
    Provider("edenai", "Eden AI", "https://api.edenai.run", prefix="/v3", key_env="EDENAI_API_KEY"),
    # No /v1, and the stream ends without [DONE].
    Provider(
        "perplexity", "Perplexity", "https://api.perplexity.ai", prefix="", models=("sonar", "sonar-pro"),
        key_env="PERPLEXITY_API_KEY",
    ),
    Provider("astraflow", "Astraflow"),
    Provider("astraflow_cn", "Astraflow"),
    Provider("meta", "Meta"),
    Provider("minimax", "MiniMax"),
)  # fmt: skip

CATALOG: Mapping[str, Provider] = MappingProxyType({row.id: row for row in _ROWS})

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "amazon": "amazon_bedrock",
        "arch": "plano",
        "azure": "azure_openai",
        "bedrock": "amazon_bedrock",
        "claude": "anthropic",
        "do": "digitalocean",
        "do_ai": "digitalocean",
        "google": "gemini",
        "mistralai": "mistral",
        "moonshot": "moonshotai",
        "together": "together_ai",
        "x-ai": "xai",
    }
)


def find(provider_id: str) -> Provider | None:
    """The row of a provider by its id or an alias of it."""
    return CATALOG.get(ALIASES.get(provider_id, provider_id))


def generic(provider_id: str, interface: Provider | None = None) -> Provider:
    """A provider that the catalogue does not know, which speaks like ``interface`` (by default: OpenAI's Chat alone).

    It has no host of its own, and it is not the interface's maker: the tolerant quirks are taken for OpenAI's."""
    if interface is None:
        return Provider(provider_id, provider_id, key_required=False)
    quirks = COMPATIBLE if interface.quirks in (Quirks(), ROUTER) else interface.quirks
    return attrs.evolve(
        interface, id=provider_id, display_name=provider_id, base_url=None, quirks=quirks, models=(), key_env=None,
        key_required=False, note="", keeps_responses=False, keeps_threads=False,
    )  # fmt: skip


def url_for(base_url: str | None, provider: Provider, api: Api, model: str) -> str:
    """Where ``provider`` is asked in ``api`` for ``model``.

    A path in ``base_url`` replaces the provider's prefix, a query in it (Azure's ``api-version``) the path's own;
    scheme, host and port are always those of ``base_url``. Raises ``LookupError`` if the provider has no path for
    ``api`` or neither it nor the caller has a base URL.
    """
    base = base_url or provider.base_url
    if base is None:
        raise LookupError(f"{provider.id} has no base URL of its own")
    parts = urlsplit(base)
    path, _, query = provider.paths[api].partition("?")
    prefix = parts.path.rstrip("/") or provider.prefix
    path = path.replace("{model}", quote(model, safe=""))
    return urlunsplit((parts.scheme, parts.netloc, prefix + path, parts.query or query, ""))
