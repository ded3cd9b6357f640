"""Model providers as rows of data: where they are, which wire APIs they speak and how they want to be spoken to.

A new OpenAI-compatible provider is one row. Hosts and paths are those of the providers' own documentation; what a
server refuses is in its ``Quirks``, with the public thread that showed it.
"""

import fnmatch
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

import attrs

from providers.auth.keys import API_KEY, BEARER_TOKEN, X_API_KEY, X_GOOG_API_KEY, HeaderKey
from providers.auth.signer import Signer
from providers.neutral.hosting import Hosting
from providers.neutral.quirks import Quirks
from streams.events import APIS, Api

Speaks: TypeAlias = Mapping[Api, Api]

_LONGEST = 200  # characters of a model's id; what a client asks for may be megabytes

STANDARD_PATHS: Mapping[Api, str] = MappingProxyType(
    {
        "chat": "/chat/completions",
        "messages": "/messages",
        "responses": "/responses",
        "gemini": "/models/{model}",
        "converse": "/model/{model}",
    }
)
STANDARD_AUTH: Mapping[Api, HeaderKey] = MappingProxyType(
    {
        "chat": BEARER_TOKEN,
        "messages": X_API_KEY,
        "responses": BEARER_TOKEN,
        "gemini": X_GOOG_API_KEY,
        "converse": BEARER_TOKEN,
    }
)
BEARER: Mapping[Api, Signer] = MappingProxyType(dict.fromkeys(APIS, BEARER_TOKEN))

# The API of the client -> the API that the provider is asked in.
ONLY_CHAT: Speaks = MappingProxyType({"chat": "chat", "messages": "chat", "responses": "chat"})
CHAT_AND_RESPONSES: Speaks = MappingProxyType({"chat": "chat", "messages": "chat", "responses": "responses"})
CHAT_AND_MESSAGES: Speaks = MappingProxyType({"chat": "chat", "messages": "messages", "responses": "chat"})
ONLY_RESPONSES: Speaks = MappingProxyType(dict.fromkeys(APIS, "responses"))
ALL_THREE: Speaks = MappingProxyType({api: api for api in APIS})
NOTHING_YET: Speaks = MappingProxyType({})
ONLY_MESSAGES: Speaks = MappingProxyType(dict.fromkeys(APIS, "messages"))

NOTHING_ELSE: Mapping[str, Mapping[str, Any]] = MappingProxyType({})

COMPATIBLE = Quirks(
    max_tokens_field="max_tokens", developer_role=False, short_call_ids=False, billing_line=False,
    deferred_tools="found",
)  # fmt: skip
"""What nearly every compatible server takes: it knows ``max_tokens`` and the role ``system``
(editor-code-assistant/eca#231, earendil-works/pi#1048), and searches no tools."""

OPENAI = Quirks(counts_cached=True)
"""OpenAI itself: caching changes nothing about its rates
(https://platform.openai.com/docs/guides/prompt-caching, What about rate limits)."""

ROUTER = Quirks(short_call_ids=False, billing_line=False)
"""A service that passes requests on to the makers of models."""

APP_HEADERS = ("http-referer", "x-title")
"""Which program asks: https://openrouter.ai/docs/app-attribution"""

_BEDROCK_QUIRKS = Quirks(billing_line=False, deferred_tools="found", short_call_ids=False)
_BEDROCK = {"auth": BEARER, "quirks": _BEDROCK_QUIRKS, "known": _BEDROCK_QUIRKS}

LOCAL = "On this machine, unless `base_url` says where. New versions speak more: `speaks: [chat, messages, responses]`."

COMPATIBLE_ENDPOINT_NOTE = (
    "Chat and Responses clients are sent to Anthropic's OpenAI-compatible endpoint, which loses thinking, prompt "
    "caching and PDFs; `speaks: [messages]` translates them to the Messages API instead"
)


@attrs.frozen
class Provider:
    """One provider. ``base_url`` None means that the config must give one.

    ``paths`` are suffixes to the prefix (``{model}`` stands for the model id); ``speaks`` maps a client's API to the
    API that the provider is asked in, and is empty where no codec speaks the provider's API yet; ``auth`` says for each
    of the latter who signs its requests. ``models`` are well-known ids for ``GET /v1/models``, the most able first, not
    a claim of completeness; ``families`` are shell patterns of the ids that its models have, those of next year too
    (``has`` says what they match). ``note`` is shown by ``check`` where the config leaves ``speaks`` at its default.
    ``keeps_responses``: whether its Responses API stores answers, so that a client can go on from one;
    ``keeps_threads``: the same of Messages.

    ``address`` is what a base URL of one's own looks like, where there is none for all. ``by_path`` is what is
    different where the path of the base URL ends so, as changes to the row; the longest end comes first. ``today`` is
    what to write in the meantime, where no codec speaks the provider's own API; ``about`` goes into the page of
    providers. ``hosting``: how it serves an API of another maker, where that is not as its maker does.
    ``client_headers`` are headers of clients that mean something to it alone. ``price_list`` is its name in the list of
    prices.
    """

    id: str
    display_name: str
    base_url: str | None = None
    prefix: str = "/v1"
    paths: Mapping[Api, str] = STANDARD_PATHS
    speaks: Speaks = ONLY_CHAT
    auth: Mapping[Api, Signer] = STANDARD_AUTH
    quirks: Quirks = COMPATIBLE
    models: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    key_env: str | None = None
    key_required: bool = True
    note: str = ""
    keeps_responses: bool = False
    keeps_threads: bool = False
    known: Quirks = attrs.field(default=attrs.Factory(lambda self: self.quirks, takes_self=True))
    """Those of its quirks that are known and not guessed, by which a request of its own API is edited."""

    address: str = ""
    by_path: Mapping[str, Mapping[str, Any]] = NOTHING_ELSE
    today: str = ""
    about: str = ""
    client_headers: tuple[str, ...] = ()
    hosting: Mapping[Api, Hosting] = MappingProxyType({})
    price_list: str = attrs.field(default=attrs.Factory(lambda self: self.id, takes_self=True))

    @property
    def local(self) -> bool:
        """True if it is a server that people run themselves, here unless the config says where."""
        return urlsplit(self.base_url or "").hostname == "localhost"

    def at(self, base_url: str | None) -> "Provider":
        """The row for a provider that is asked at ``base_url``."""
        path = urlsplit(base_url or "").path.rstrip("/")
        changes = next((changes for end, changes in self.by_path.items() if path.endswith(end)), None)
        return self if changes is None else attrs.evolve(self, by_path=NOTHING_ELSE, **changes)

    def has(self, model: str) -> bool:
        """True if ``model``, in upper or lower case, is an id of one of the provider's families.

        An id with a slash is a router's, and one with a colon a tag of a local server (``deepseek-r1:70b``): they
        belong to a family only where its pattern has that character too."""
        if len(model) > _LONGEST:
            return False
        name = model.lower()
        return any(
            fnmatch.fnmatchcase(name, family) and all(mark in family or mark not in name for mark in "/:")
            for family in self.families
        )


OPENAI_FAMILIES = (
    "gpt-[!o]*", "gpt-o[!s]*",  # all but gpt-oss-*, whose weights are open: others serve it
    "o[1-9]", "o[1-9]-*", "chatgpt-*", "codex-*", "computer-use-*", "ft:*",
)  # fmt: skip


_ROWS = (
    Provider(
        "openai", "OpenAI", "https://api.openai.com", speaks=CHAT_AND_RESPONSES, quirks=OPENAI,
        models=(
            "gpt-6-astra", "gpt-6.1-sol", "gpt-6.1-terra", "gpt-6-sol", "gpt-6-luna", "gpt-5.6-sol", "gpt-5.6-terra",
            "gpt-5.6-luna", "gpt-5.5", "gpt-5.4", "gpt-5.4-mini", "gpt-5.4-nano", "gpt-5.3-codex", "gpt-5.2", "gpt-5.1",
            "gpt-5", "gpt-5-mini", "gpt-5-nano", "o3", "gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini",
        ),
        families=OPENAI_FAMILIES, key_env="OPENAI_API_KEY", keeps_responses=True,
        about="Reasoning models are asked in Responses for Messages clients and for tools, `…-codex` and `…-pro` "
        "always: [speaks](configuration.md#speaks).",
    ),
    Provider(
        "anthropic", "Anthropic", "https://api.anthropic.com", speaks=CHAT_AND_MESSAGES, quirks=Quirks(),
        keeps_threads=True,
        models=(
            "claude-fable-5-2", "claude-fable-5-1", "claude-fable-5", "claude-opus-5-5", "claude-opus-5",
            "claude-opus-4-8", "claude-opus-4-7", "claude-opus-4-6", "claude-opus-4-5", "claude-sonnet-5-5",
            "claude-sonnet-5", "claude-sonnet-4-6", "claude-sonnet-4-5", "claude-haiku-5-5", "claude-haiku-4-5",
        ),
        families=("claude-*",), key_env="ANTHROPIC_API_KEY", note=COMPATIBLE_ENDPOINT_NOTE,
        about="`speaks: [messages]` keeps thinking, prompt caching and PDFs for Chat and Responses clients: "
        "[speaks](configuration.md#speaks).",
    ),
    Provider(
        "gemini", "Google", "https://generativelanguage.googleapis.com", prefix="/v1beta/openai",
        models=(
            "gemini-4-argon", "gemini-3.8-flash", "gemini-3.6-flash", "gemini-3.1-pro-preview", "gemini-3.5-flash-lite",
            "gemini-3.1-flash-lite",
        ),
        families=("gemini-*", "gemma-*"), key_env="GEMINI_API_KEY", price_list="google",
    ),
    # Groq answers 400 to more than one choice (https://console.groq.com/docs/openai).
    Provider(
        "groq", "Groq", "https://api.groq.com", prefix="/openai/v1",
        quirks=attrs.evolve(COMPATIBLE, cannot=("choices",)),
        models=(
            "openai/gpt-oss-120b", "openai/gpt-oss-20b", "qwen/qwen3.8-27b", "llama-3.3-70b-versatile",
            "llama-3.1-8b-instant",
        ),
        key_env="GROQ_API_KEY",
    ),
    # Mistral answers 422 to members that it does not know (Gitlawb/openclaude#739). It counts the tokens of streams
    # unasked, and refuses to be asked (openai/openai-agents-python#442, avante-corp/avante.nvim#2347).
    Provider(
        "mistral", "Mistral AI", "https://api.mistral.ai",
        quirks=attrs.evolve(COMPATIBLE, refused_fields=("store",), stream_usage=False),
        models=("mistral-large-latest", "mistral-medium-latest", "codestral-latest", "mistral-small-latest"),
        families=(
            "mistral-*", "ministral-*", "magistral-*", "codestral-*", "devstral-*", "pixtral-*", "voxtral-*",
            "open-mistral-*", "open-mixtral-*",
        ),
        key_env="MISTRAL_API_KEY",
    ),
    Provider(
        "deepseek", "DeepSeek", "https://api.deepseek.com", models=("deepseek-v4-pro", "deepseek-v4-flash"),
        families=("deepseek-*",), key_env="DEEPSEEK_API_KEY",
    ),
    Provider(
        "xai", "xAI", "https://api.x.ai", speaks=CHAT_AND_RESPONSES, models=("grok-4.7", "grok-4.6", "grok-4.3"),
        families=("grok-*",), key_env="XAI_API_KEY", client_headers=("x-grok-conv-id",),  # finds the prompt cache
        price_list="x-ai",
    ),
    Provider(
        "together_ai", "Together AI", "https://api.together.xyz", key_env="TOGETHER_API_KEY", price_list="together",
    ),
    Provider(
        "moonshotai", "Moonshot AI", "https://api.moonshot.ai", models=("kimi-k3.1-pro", "kimi-k3", "kimi-k2.6"),
        families=("kimi-*", "moonshot-*"), key_env="MOONSHOT_API_KEY",
    ),
    Provider(
        "zhipu", "Zhipu AI", "https://open.bigmodel.cn", prefix="/api/paas/v4", models=("glm-5.3", "glm-5.3-flash"),
        families=("glm-*",), key_env="ZHIPU_API_KEY", price_list="zhipuai",
    ),
    Provider(
        "qwen", "Alibaba Cloud", address="https://dashscope-intl.aliyuncs.com", prefix="/compatible-mode/v1",
        families=("qwen-*", "qwen[0-9]*", "qwq-*", "qvq-*"), key_env="DASHSCOPE_API_KEY",
    ),
    # Azure takes its keys in `api-key`; Bearer is for Entra tokens (microsoft/teams-sdk#1746). Its newer paths are
    # OpenAI's own, with the deployment's name as the model. Rates count what a request asks for, as it arrives.
    Provider(
        "azure_openai", "Azure OpenAI", address="https://NAME.openai.azure.com/openai/v1", prefix="/openai/deployments",
        quirks=OPENAI, paths={"chat": "/{model}/chat/completions?api-version=2025-01-01-preview"},
        auth={"chat": API_KEY}, families=OPENAI_FAMILIES, key_env="AZURE_OPENAI_API_KEY", keeps_responses=True,
        price_list="azure",
        by_path={
            "/openai/v1": {
                "paths": STANDARD_PATHS, "speaks": CHAT_AND_RESPONSES,
                "auth": MappingProxyType(dict.fromkeys(APIS, API_KEY)),
            }
        },
        about="The model id is the deployment's name. With `/openai/v1` at the end of `base_url` it is Azure's v1 API "
        "(Chat and Responses); without it the older paths by deployment, in Chat alone.",
    ),
    *(
        Provider(id, name, f"http://localhost:{port}", key_required=False, about=LOCAL)
        for id, name, port in (
            ("ollama", "Ollama", 11434), ("lm_studio", "LM Studio", 1234), ("llama_cpp", "llama.cpp", 8080),
            ("vllm", "vLLM", 8000),
        )
    ),
    Provider(
        "amazon_bedrock", "Amazon Bedrock", address="https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1",
        prefix="", paths={}, speaks=NOTHING_YET, auth={}, key_env="AWS_BEARER_TOKEN_BEDROCK", price_list="aws",
        by_path={
            "/anthropic/v1": {"paths": STANDARD_PATHS, "speaks": ONLY_MESSAGES, **_BEDROCK},
            "/v1": {"paths": STANDARD_PATHS, "speaks": CHAT_AND_RESPONSES, **_BEDROCK},
        },
        today="give it a base_url that it can be spoken to at, such as "
        "https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1 (GPT and open models) or "
        "https://bedrock-mantle.us-east-1.api.aws/anthropic/v1 (Claude), and a Bedrock API key",
        about="Its own API (Converse) is not spoken yet. Its OpenAI paths (`…/openai/v1`, and `…/v1` on "
        "`bedrock-mantle`) and its Messages path for Claude (`…/anthropic/v1` on `bedrock-mantle`) are, with a Bedrock "
        "API key.",
    ),
    Provider("plano", "Plano", "https://archfc.katanemo.dev", key_required=False),
    Provider("github", "GitHub Models", "https://models.github.ai", prefix="/inference", key_env="GITHUB_TOKEN"),
    Provider("xiaomi", "Xiaomi", "https://api.xiaomimimo.com", families=("mimo-*",), key_env="MIMO_API_KEY"),
    Provider("digitalocean", "DigitalOcean", "https://inference.do-ai.run", key_env="DIGITALOCEAN_API_KEY"),
    # The backend of ChatGPT subscriptions takes streamed Responses only and sets its own limits (RayBytes/ChatMock#103,
    # liliMozi/openhanako#1899).
    Provider(
        "chatgpt", "ChatGPT", "https://chatgpt.com", prefix="/backend-api/codex", speaks=ONLY_RESPONSES,
        paths={"responses": "/responses"},
        quirks=Quirks(refused_fields=("max_output_tokens", "temperature")), key_required=False,
        families=OPENAI_FAMILIES, about="The backend of subscriptions: `passthrough_auth: true`.",
    ),
    Provider(
        "vercel", "Vercel AI Gateway", "https://ai-gateway.vercel.sh", speaks=ALL_THREE, quirks=ROUTER,
        key_env="AI_GATEWAY_API_KEY", client_headers=APP_HEADERS,
    ),
    # OpenRouter's Messages endpoint takes its keys as Bearer only. Its Chat knows both names of the token limit and the
    # role `developer`.
    Provider(
        "openrouter", "OpenRouter", "https://openrouter.ai", prefix="/api/v1", auth=BEARER, known=Quirks(),
        key_env="OPENROUTER_API_KEY", client_headers=(*APP_HEADERS, "x-openrouter-title", "x-openrouter-categories"),
    ),
    Provider("edenai", "Eden AI", "https://api.edenai.run", prefix="/v3", key_env="EDENAI_API_KEY"),
    # No /v1, and the stream ends without [DONE].
    Provider(
        "perplexity", "Perplexity", "https://api.perplexity.ai", prefix="", models=("sonar-pro", "sonar"),
        families=("sonar", "sonar-*"), key_env="PERPLEXITY_API_KEY",
    ),
    Provider("astraflow", "Astraflow"),
    Provider("astraflow_cn", "Astraflow"),
    Provider("meta", "Meta", families=("muse-*",)),
    Provider("minimax", "MiniMax", families=("minimax-*",)),
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
        "grok": "xai",
        "hosted_vllm": "vllm",
        "kimi": "moonshotai",
        "llama.cpp": "llama_cpp",
        "llamacpp": "llama_cpp",
        "lmstudio": "lm_studio",
        "mistralai": "mistral",
        "moonshot": "moonshotai",
        "together": "together_ai",
        "x-ai": "xai",
    }
)


def find(provider_id: str) -> Provider | None:
    """The row of a provider by its id or an alias of it."""
    return CATALOG.get(ALIASES.get(provider_id, provider_id))


def maker(model: str) -> Provider | None:
    """The row of the first provider that has ``model`` in one of its families."""
    return next((row for row in CATALOG.values() if row.has(model)), None)


def generic(provider_id: str, interface: Provider | None = None) -> Provider:
    """A provider that the catalogue does not know, which speaks like ``interface`` (by default: OpenAI's Chat alone).

    It has no host of its own, and it is not the interface's maker: the tolerant quirks are taken for OpenAI's. That is
    a guess, good for a request that we write, and none by which to change what a client has written."""
    if interface is None:
        return Provider(provider_id, provider_id, key_required=False, known=Quirks(stream_usage=False))
    quirks = COMPATIBLE if interface.quirks in (OPENAI, Quirks(), ROUTER) else interface.quirks
    return attrs.evolve(
        interface, id=provider_id, display_name=provider_id, base_url=None, quirks=quirks, models=(), families=(),
        key_env=None, key_required=False, note="", keeps_responses=False, keeps_threads=False, today="", about="",
        client_headers=(), price_list=provider_id,
    )  # fmt: skip


def url_for(base_url: str | None, provider: Provider, api: Api, model: str) -> str:
    """The URL at which ``provider`` takes requests of ``api`` for ``model``.

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
