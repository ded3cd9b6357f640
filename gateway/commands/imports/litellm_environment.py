"""The members of ``litellm_params`` that LiteLLM reads elsewhere: in the variables of the file, or in its settings."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.commands.imports.imported_values import ENVIRONMENT, section_of, text_of
from gateway.commands.imports.litellm_tables import ORIGINS

_ADDRESSES: Final[Mapping[str, Sequence[str]]] = {
    **{prefix: (f"{prefix.upper()}_API_BASE",) for prefix in ORIGINS},
    **dict.fromkeys(("openai", "text-completion-openai"), ("OPENAI_BASE_URL", "OPENAI_API_BASE")),
    "anthropic": ("ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL"),
    "fireworks_ai": ("FIREWORKS_API_BASE",), "ollama_chat": ("OLLAMA_API_BASE",), "cohere_chat": ("COHERE_API_BASE",),
    **dict.fromkeys(("vertex_ai", "vertex_ai_beta"), ("VERTEXAI_API_BASE", "VERTEX_API_BASE")),
    **dict.fromkeys(("bedrock", "bedrock_converse"), ("AWS_BEDROCK_RUNTIME_ENDPOINT",)),
}  # fmt: skip
"""The variables with the address of a provider, by its prefix and in the order of precedence."""

_OTHER_PATHS: Final = frozenset(
    ("gemini", "cohere", "cohere_chat", "jina_ai", "voyage", "vertex_ai", "vertex_ai_beta", "bedrock",
     "bedrock_converse")
)  # fmt: skip
"""Prefixes for which LiteLLM joins the address with other paths than the gateway."""

_OWN_ADDRESS: Final = ("api_base", "base_url", "aws_bedrock_runtime_endpoint")

_LANGFUSE: Final[Mapping[str, tuple[Sequence[str], str, str]]] = {
    "langfuse": (("LANGFUSE_HOST", "LANGFUSE_BASE_URL"), "http://", "https://cloud.langfuse.com"),
    "langfuse_otel": (("LANGFUSE_OTEL_HOST", "LANGFUSE_HOST"), "https://", "https://us.cloud.langfuse.com"),
}
"""The variables with the host, the default scheme and the default host of the callbacks for Langfuse."""


def provider_defaults(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the members that apply to models without them, by the prefix of their provider.

    Vertex AI's members have their older names, because a model's own ``vertex_location`` has precedence."""
    settings, variables = section_of(content, "litellm_settings"), section_of(content, "environment_variables")
    found: dict[str, dict[str, Any]] = {
        prefix: {"api_base": variables[name]}
        for prefix, names in _ADDRESSES.items()
        if prefix not in _OTHER_PATHS and (name := _first_set(names, variables)) is not None
    }
    vertex: dict[str, Any] = {}
    for member, names in (("project", ("VERTEXAI_PROJECT",)), ("location", ("VERTEXAI_LOCATION", "VERTEX_LOCATION"))):
        if value := settings.get(f"vertex_{member}"):
            vertex[f"vertex_ai_{member}"] = value
        elif (variable := _first_set(names, variables)) is not None:
            vertex[f"vertex_ai_{member}"] = f"{ENVIRONMENT}{variable}"
    return {**found, "vertex_ai": vertex, "vertex_ai_beta": vertex}


def with_defaults(params: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``params`` with the members that it lacks; an address has two names."""
    missing = {name: value for name, value in defaults.items() if not params.get(name)}
    if params.get("base_url"):
        missing.pop("api_base", None)
    return {**params, **missing}


def lost_address(variables: Mapping[str, Any], prefix: str, params: Mapping[str, Any]) -> str | None:
    """Return the variable with the address of a model of this provider, if the import cannot convert it."""
    if prefix not in _OTHER_PATHS or any(params.get(member) for member in _OWN_ADDRESS):
        return None
    return _first_set(_ADDRESSES[prefix], variables)


def langfuse_host(callback: str, variables: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the URL of Langfuse for a callback, and whether the file sets it."""
    names, scheme, cloud = _LANGFUSE[callback]
    found = _first_set(names, variables)
    if found is None or (host := text_of(variables[found])) is None:
        return cloud, False
    return (host if host.startswith(("http", "$")) else f"{scheme}{host}").rstrip("/"), True


def _first_set(names: Sequence[str], variables: Mapping[str, Any]) -> str | None:
    return next((name for name in names if variables.get(name)), None)
