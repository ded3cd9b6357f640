"""The members of ``litellm_params`` that LiteLLM reads elsewhere: in the variables of the file, or in its settings."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.commands.imports.imported_values import ENVIRONMENT, section_of, text_of

VERTEX_SETTINGS: Final = frozenset(("litellm_settings.vertex_project", "litellm_settings.vertex_location"))
"""The settings that ``provider_defaults`` reads, by their path."""

_VERTEX: Final[Mapping[str, Sequence[str]]] = {
    "project": ("VERTEXAI_PROJECT",),
    "location": ("VERTEXAI_LOCATION", "VERTEX_LOCATION"),
}
"""The variables of Vertex AI's members, in the order of precedence."""

_OPENAI: Final = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
_ADDRESSES: Final[Mapping[str, Sequence[str]]] = {
    "openai": _OPENAI, "text-completion-openai": _OPENAI,
    "anthropic": ("ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL"),
    "groq": ("GROQ_API_BASE",), "mistral": ("MISTRAL_API_BASE",), "codestral": ("CODESTRAL_API_BASE",),
    "deepseek": ("DEEPSEEK_API_BASE",), "xai": ("XAI_API_BASE",), "together_ai": ("TOGETHER_AI_API_BASE",),
    "moonshot": ("MOONSHOT_API_BASE",), "openrouter": ("OPENROUTER_API_BASE",),
    "perplexity": ("PERPLEXITY_API_BASE",), "dashscope": ("DASHSCOPE_API_BASE",),
    "vercel_ai_gateway": ("VERCEL_AI_GATEWAY_API_BASE",),
    "ollama": ("OLLAMA_API_BASE",), "ollama_chat": ("OLLAMA_API_BASE",), "hosted_vllm": ("HOSTED_VLLM_API_BASE",),
    "lm_studio": ("LM_STUDIO_API_BASE",), "llamafile": ("LLAMAFILE_API_BASE",),
    "openai_like": ("OPENAI_LIKE_API_BASE",), "litellm_proxy": ("LITELLM_PROXY_API_BASE",),
    "fireworks_ai": ("FIREWORKS_API_BASE",), "deepinfra": ("DEEPINFRA_API_BASE",),
    "cerebras": ("CEREBRAS_API_BASE",), "nvidia_nim": ("NVIDIA_NIM_API_BASE",), "sambanova": ("SAMBANOVA_API_BASE",),
}  # fmt: skip
"""The variables with the address of a provider, by its prefix and in the order of precedence."""

_OTHER_ADDRESSES: Final[Mapping[str, Sequence[str]]] = {
    "gemini": ("GEMINI_API_BASE",), "cohere": ("COHERE_API_BASE",), "cohere_chat": ("COHERE_API_BASE",),
    "jina_ai": ("JINA_AI_API_BASE",), "voyage": ("VOYAGE_API_BASE",),
    **dict.fromkeys(("vertex_ai", "vertex_ai_beta"), ("VERTEXAI_API_BASE", "VERTEX_API_BASE")),
    **dict.fromkeys(("bedrock", "bedrock_converse"), ("AWS_BEDROCK_RUNTIME_ENDPOINT",)),
}  # fmt: skip
"""Variables like those of ``_ADDRESSES``, whose values LiteLLM joins with other paths than the gateway."""

_OWN_ADDRESS: Final = ("api_base", "base_url", "aws_bedrock_runtime_endpoint")

_LANGFUSE: Final[Mapping[str, tuple[Sequence[str], str, str]]] = {
    "langfuse": (("LANGFUSE_HOST", "LANGFUSE_BASE_URL"), "http://", "https://cloud.langfuse.com"),
    "langfuse_otel": (("LANGFUSE_OTEL_HOST", "LANGFUSE_HOST"), "https://", "https://us.cloud.langfuse.com"),
}
"""The variables with the host, the default scheme and the default host of the callbacks for Langfuse."""


def provider_defaults(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the members that apply to models without them, by the prefix of their provider.

    Vertex AI's members have their older names, because a model's own ``vertex_location`` has precedence."""
    settings, variables = section_of(content, "litellm_settings"), read_variables(content)
    vertex = {
        f"vertex_ai_{member}": value
        for member, names in _VERTEX.items()
        if (value := settings.get(f"vertex_{member}") or _variable(names, variables))
    }
    addresses = {
        prefix: {"api_base": variables[found]}
        for prefix, names in _ADDRESSES.items()
        if (found := _first_set(names, variables)) is not None
    }
    return {**addresses, "vertex_ai": vertex, "vertex_ai_beta": vertex}


def with_defaults(params: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``params`` with the members that it lacks; an address has two names."""
    missing = {name: value for name, value in defaults.items() if not params.get(name)}
    if params.get("base_url"):
        missing.pop("api_base", None)
    return {**params, **missing}


def lost_address(variables: Mapping[str, Any], prefix: str, params: Mapping[str, Any]) -> str | None:
    """Return the variable with the address of a model of this provider, if the import cannot convert it."""
    if any(params.get(member) for member in _OWN_ADDRESS):
        return None
    return _first_set(_OTHER_ADDRESSES.get(prefix, ()), variables)


def langfuse_host(callback: str, variables: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the URL of Langfuse for a callback, and whether the file sets it."""
    names, scheme, cloud = _LANGFUSE[callback]
    found = _first_set(names, variables)
    if found is None or (host := text_of(variables[found])) is None:
        return cloud, False
    return (host if host.startswith(("http", "$")) else f"{scheme}{host}").rstrip("/"), True


def read_variables(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the variables that LiteLLM sets from the file."""
    return section_of(content, "environment_variables")


def _first_set(names: Sequence[str], variables: Mapping[str, Any]) -> str | None:
    return next((name for name in names if variables.get(name)), None)


def _variable(names: Sequence[str], variables: Mapping[str, Any]) -> str | None:
    found = _first_set(names, variables)
    return None if found is None else f"{ENVIRONMENT}{found}"
