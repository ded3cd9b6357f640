"""The catalogue of model providers: their URLs, wire APIs and quirks.

A new compatible provider is one row in a module of ``providers/catalog/rows``.
"""

from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

import attrs

from providers.catalog.provider import ANTHROPIC, COMPATIBLE, OPENAI, ROUTER, Provider
from providers.catalog.rows.clouds import CLOUDS
from providers.catalog.rows.hosts import HOSTS
from providers.catalog.rows.makers import MAKERS
from providers.catalog.rows.own_servers import OWN_SERVERS
from providers.endpoints.endpoint import STANDARD_PLACES
from providers.neutral.quirks import Quirks

CATALOG: Mapping[str, Provider] = MappingProxyType({row.id: row for row in (*MAKERS, *HOSTS, *CLOUDS, *OWN_SERVERS)})

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "amazon": "amazon_bedrock",
        "arch": "plano",
        "azure": "azure_openai",
        "bedrock": "amazon_bedrock",
        "claude": "anthropic",
        "dashscope": "qwen",
        "do": "digitalocean",
        "do_ai": "digitalocean",
        "fireworks_ai": "fireworks",
        "google": "gemini",
        "google-vertex": "vertex",
        "google_vertex": "vertex",
        "grok": "xai",
        "hosted_vllm": "vllm",
        "jina_ai": "jina",
        "kimi": "moonshotai",
        "llama.cpp": "llama_cpp",
        "llamacpp": "llama_cpp",
        "lmstudio": "lm_studio",
        "mistralai": "mistral",
        "moonshot": "moonshotai",
        "nvidia_nim": "nvidia",
        "together": "together_ai",
        "vertex_ai": "vertex",
        "voyageai": "voyage",
        "x-ai": "xai",
        "z-ai": "zai",
    }
)


def find(provider_id: str) -> Provider | None:
    """Return the row of a provider by its id or an alias, or ``None``."""
    return CATALOG.get(ALIASES.get(provider_id, provider_id))


def maker(model: str) -> Provider | None:
    """Return the row of the first provider with ``model`` in one of its families, or ``None``."""
    return next((row for row in CATALOG.values() if row.has(model)), None)


def generic(provider_id: str, interface: Provider | None = None, base_url: str | None = None) -> Provider:
    """Return a row for a provider outside the catalogue, which speaks like ``interface`` (by default OpenAI's Chat).

    OpenAI's own hosts are OpenAI, whatever the provider's name. Otherwise:

    It has all of OpenAI's endpoints and no host. It is not the interface's maker, so it gets the tolerant quirks
    instead of OpenAI's. They are a guess: used for requests that the gateway writes, not to change a client's own
    requests.
    """
    own = CATALOG["openai"]
    if interface in (None, own) and _is_host_of(base_url, own):
        return attrs.evolve(
            own, id=provider_id, display_name=provider_id, base_url=None, key_env=None, key_required=False, about="",
        )  # fmt: skip
    if interface is None:
        return Provider(
            provider_id, provider_id, key_required=False, known=Quirks(stream_usage=False),
            places={"gemini": "/v1beta", "converse": ""}, sign_in=("api_key", "aws", "google", "azure"),
            endpoints=STANDARD_PLACES,
        )  # fmt: skip
    quirks = COMPATIBLE if interface.quirks in (OPENAI, ANTHROPIC, Quirks(), ROUTER) else interface.quirks
    return attrs.evolve(
        interface, id=provider_id, display_name=provider_id, base_url=None, quirks=quirks, models=(), families=(),
        key_env=None, key_required=False, note="", keeps_turns=(), keeps_threads=False, about="",
        client_headers=(), price_list=provider_id, sources={}, endpoint_source=None,
    )  # fmt: skip


def _is_host_of(base_url: str | None, row: Provider) -> bool:
    """Return whether ``base_url`` is at the host of ``row`` or one of its regions.

    OpenAI's are ``us``, ``eu``, ``ae``, ``au``, ``in`` and ``jp`` (``openai/_data_residency.py`` of the openai package,
    3.54, November 2026).
    """
    host, own = urlsplit(base_url or "").hostname or "", urlsplit(row.base_url or "").hostname or ""
    return bool(own) and (host == own or host.endswith(f".{own}"))
