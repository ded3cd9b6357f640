"""Reads Bifrost's ``config.json`` (https://docs.getbifrost.ai/deployment-guides/config-json)."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.commands.imports.foreign_keys import BIFROST, lose_unknown
from gateway.commands.imports.foreign_models import ForeignModels, ForeignRoute, plain_text
from gateway.commands.imports.imported_values import ENVIRONMENT, items_of, mapping_of, number_of
from gateway.commands.imports.losses import Group

PORT: Final = 8080

_PREFIXES: Final[Mapping[str, str]] = {
    "openai": "openai", "anthropic": "anthropic", "gemini": "gemini", "vertex": "vertex_ai", "bedrock": "bedrock",
    "azure": "azure", "cohere": "cohere", "mistral": "mistral", "groq": "groq", "ollama": "ollama",
    "openrouter": "openrouter", "cerebras": "cerebras", "xai": "xai", "perplexity": "perplexity",
    "fireworks": "fireworks_ai", "vllm": "hosted_vllm", "sgl": "hosted_vllm",
}  # fmt: skip
"""LiteLLM's prefixes for Bifrost's providers."""

_VERSIONED: Final = frozenset(
    ("openai", "mistral", "groq", "ollama", "openrouter", "cerebras", "xai", "fireworks", "vllm", "sgl")
)
"""Providers to whose ``base_url`` Bifrost adds ``/v1/chat/completions``.

https://github.com/maximhq/bifrost/blob/main/core/providers/openai/build_request_url_test.go"""

_SELF_HOSTED: Final = ("vllm", "ollama", "sgl")
"""Providers whose keys have an address of their own: ``vllm_key_config: {url: …}``."""

_PERIODS: Final[Mapping[str, str]] = {"1h": "hour", "1d": "day", "1w": "week", "1M": "month", "1m": "1m"}
_RATES: Final[Mapping[str, str]] = {"1m": "/m", "1h": "/h", "1d": "/d"}

_CUSTOM: Final = "custom_provider_config"
_UNREAD: Final[Mapping[str, tuple[Group, str]]] = {
    "proxy_config": (Group.NAMES, "set the variable HTTPS_PROXY for the gateway"),
    "concurrency_and_buffer_size": (Group.TRIFLES, "set `ratelimits: {concurrent: N}` in the entry"),
    _CUSTOM: (Group.TRIFLES, "the entry is one of the provider: set `speaks` or `base_url`"),
}
"""Members of a provider that have no counterpart, with the reason."""

_ROOT: Final[Mapping[str, tuple[Group, str]]] = {
    "mcp": (Group.NAMES, "write `mcp_servers` (docs/mcp.md)"),
    "vector_store": (Group.MONEY, "trigate caches equal requests: set `cache: {ttl: 1h}` (docs/caching.md)"),
    "logs_store": (Group.LOGS, "the log is JSON, one line for each request, without content"),
    "auth_config": (Group.PROTECTION, "only client_keys, with keys and certificates, decide who may use the gateway"),
}


def is_bifrost(content: Mapping[str, Any]) -> bool:
    """Return whether a file has Bifrost's providers: a mapping with keys."""
    providers = content.get("providers")
    return isinstance(providers, dict) and any(
        isinstance(one, dict) and isinstance(one.get("keys"), list) for one in providers.values()
    )


def read_bifrost(content: Mapping[str, Any]) -> ForeignModels:
    """Return the parts of a file of Bifrost."""
    found = ForeignModels("Bifrost", PORT)
    providers = mapping_of(content.get("providers"))
    for provider, settings in providers.items():
        if (kind := _kind_of(provider, settings)) not in _PREFIXES:
            found.lose_model(f"{provider}/*", f"the provider {provider}", "write an entry with its name and base_url")
        elif isinstance(settings, dict):
            _add_provider(provider, kind, settings, found)
    _add_governance(mapping_of(content.get("governance")), {*providers}, found)
    found.lose_members(content, _ROOT)
    if mapping_of(content.get("governance")).get("routing_rules"):
        found.lose(Group.NAMES, "governance.routing_rules", "the model's name selects the target")
    lose_unknown(content, BIFROST, found)
    return found


def _value(given: Any) -> str | None:
    """Return a value in LiteLLM's notation: a text, ``env.NAME``, or an exported ``{value, env_var, from_env}``."""
    if isinstance(given, dict):
        name = given.get("env_var")
        given = f"env.{str(name).removeprefix('env.')}" if name and given.get("from_env") else given.get("value")
    text = plain_text(given)
    return text if text is None or not text.startswith("env.") else ENVIRONMENT + text.removeprefix("env.")


def _kind_of(provider: str, settings: Any) -> str:
    """Return the provider, or the one whose API a provider with another name has."""
    custom = mapping_of(mapping_of(settings).get(_CUSTOM))
    return provider if provider in _PREFIXES else str(custom.get("base_provider_type"))


def _add_provider(provider: str, kind: str, settings: Mapping[str, Any], found: ForeignModels) -> None:
    """Add an entry for each model of each key, and a route for models with several keys."""
    network = mapping_of(settings.get("network_config"))
    served: dict[str, list[tuple[str, float]]] = {}
    listed = [*items_of(settings.get("keys"))]
    keys = [one for one in listed if one.get("enabled") is not False]
    if not listed and (kind in _SELF_HOSTED or kind != provider):
        keys, kind = [{}], "vllm" if kind == "openai" else kind  # these servers need no key
    if not keys:
        why = "all its keys are disabled" if listed else "it has no key: write an entry with `access_key`"
        found.lose_model(f"{provider}/*", f"the provider {provider}", why)
        return
    for number, key in enumerate(keys, 1):
        params = {**_network(kind, network), **_credentials(kind, key)}
        title = str(key.get("name") or number)
        weight = key.get("weight")
        for model, target in _models_of(key):
            name = f"{provider}/{model}"
            shared = any(model in dict(_models_of(other)) for other in keys if other is not key)
            called = f"{name}@{title}" if shared and model != "*" else name
            if shared and model == "*" and name in served:
                what = f"the key {title} of {provider}"
                found.lose(Group.PROTECTION, what, "a pattern can have only one entry: list its `models`")
                continue
            found.add_model(called, f"{_PREFIXES[kind]}/{target}", params)
            served.setdefault(name, []).append((called, weight if isinstance(weight, int | float) else 1))
        if key.get("blacklisted_models"):
            found.lose(Group.PROTECTION, f"blacklisted_models of {provider}", "set `model_names: {refused: […]}`")
    for name, targets in served.items():
        if len(targets) > 1:
            found.routes[name] = ForeignRoute([targets], "weighted")
    found.lose_members(settings if kind == provider else {**settings, _CUSTOM: None}, _UNREAD, f" of {provider}")


def _models_of(key: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the names that a key serves, each with the provider's model: an empty list means all."""
    aliases: dict[str, str] = {}
    for holder in (key, *(mapping_of(key.get(f"{cloud}_key_config")) for cloud in ("azure", "vertex", "bedrock"))):
        for member in ("aliases", "deployments"):
            aliases |= {str(name): str(model) for name, model in mapping_of(holder.get(member)).items()}
    given = key.get("models")
    models = [*dict.fromkeys(map(str, given))] if given and isinstance(given, list) else ["*"]
    if models == ["*"] and (only := plain_text(mapping_of(key.get("vllm_key_config")).get("model_name"))):
        models = [only]
    for model in models:
        yield model, aliases.get(model, model)
    if "*" in models:
        yield from ((name, model) for name, model in aliases.items() if name not in models)


def _address(kind: str, given: Any) -> str | None:
    """Return the address with the version that Bifrost adds, in LiteLLM's notation."""
    base = _value(given)
    return base if not base or kind not in _VERSIONED else base.rstrip("/").removesuffix("/v1") + "/v1"


def _network(kind: str, network: Mapping[str, Any]) -> dict[str, Any]:
    retries = network.get("max_retries")
    return {
        "api_base": _address(kind, network.get("base_url")),
        "timeout": network.get("default_request_timeout_in_seconds"),
        "extra_headers": mapping_of(network.get("extra_headers")),
        **({"num_retries": retries} if isinstance(retries, int) else {}),
    }


def _credentials(kind: str, key: Mapping[str, Any]) -> dict[str, Any]:
    azure, vertex, bedrock = (mapping_of(key.get(f"{cloud}_key_config")) for cloud in ("azure", "vertex", "bedrock"))
    found: dict[str, Any] = {"api_key": _value(key.get("value"))}
    if kind in _SELF_HOSTED and (own := _address(kind, mapping_of(key.get(f"{kind}_key_config")).get("url"))):
        found["api_base"] = own
    match kind:
        case "azure":
            members = ("api_version", "client_id", "client_secret", "tenant_id")
            found |= {"api_base": _value(azure.get("endpoint"))} | {name: _value(azure.get(name)) for name in members}
        case "vertex":
            found = {
                "vertex_project": _value(vertex.get("project_id")),
                "vertex_location": _value(vertex.get("region")),
                "vertex_credentials": _value(vertex.get("auth_credentials")),
            }
        case "bedrock":
            found |= {
                "aws_region_name": _value(bedrock.get("region")),
                "aws_access_key_id": _value(bedrock.get("access_key")),
                "aws_secret_access_key": _value(bedrock.get("secret_key")),
                "aws_session_token": _value(bedrock.get("session_token")),
                "aws_role_name": _value(bedrock.get("role_arn")),
                "aws_session_name": _value(bedrock.get("session_name")),
                "aws_external_id": _value(bedrock.get("external_id")),
            }
    return {name: value for name, value in found.items() if value is not None}


# Governance


def _add_governance(governance: Mapping[str, Any], providers: set[str], found: ForeignModels) -> None:
    budgets = [*items_of(governance.get("budgets"))]
    rates = {str(one.get("id")): one for one in items_of(governance.get("rate_limits"))}
    for key in items_of(governance.get("virtual_keys")):
        name = str(key.get("name") or key.get("id"))
        if key.get("is_active") is False:
            found.notes.append(f"omitted, because the key was invalid already: {name}")
            continue
        item: dict[str, Any] = {}
        models = _allowed_names(key, providers)
        if models == []:
            found.lose(Group.NAMES, f"the key {name}", "it may use no provider")
            continue
        if models is not None:
            item["models"] = models
        own = [one for one in budgets if _is_budget_of(key, one)]
        _add_budgets(name, own, item, found)
        if (rate := rates.get(str(key.get("rate_limit_id")))) is not None:
            _add_rates(name, rate, item, found)
        found.add_client(name, _value(key.get("value")), item)
        for member in ("team_id", "customer_id"):
            if key.get(member):
                found.lose(Group.MONEY, f"{member} of the key {name}", "write a client_group with its budget")


def _is_budget_of(key: Mapping[str, Any], budget: Mapping[str, Any]) -> bool:
    owner, id = budget.get("virtual_key_id"), key.get("budget_id")
    return (owner is not None and owner == key.get("id")) or (id is not None and id == budget.get("id"))


def _allowed_names(key: Mapping[str, Any], providers: set[str]) -> list[str] | None:
    """Return the names that a virtual key may use, ``None`` for all."""
    configs = [*items_of(key.get("provider_configs"))]
    if not configs or any(one.get("provider") == "*" for one in configs):
        return None
    models: list[str] = []
    for one in configs:
        allowed = one.get("allowed_models") or ["*"]
        if isinstance(provider := one.get("provider"), str) and provider in providers and isinstance(allowed, list):
            models += [f"{provider}/{model}" for model in allowed if isinstance(model, str)]
    return models


def _add_budgets(name: str, budgets: list[Mapping[str, Any]], item: dict[str, Any], found: ForeignModels) -> None:
    for budget in budgets:
        amount, period = number_of(budget.get("max_limit")), _PERIODS.get(str(budget.get("reset_duration")))
        if amount is not None and amount > 0 and period is not None:
            item.setdefault("budgets", []).append(f"{amount:.9f}".rstrip("0").rstrip(".") + f" usd/{period}")
        else:
            found.lose(Group.MONEY, f"a budget of the key {name}", "set `budgets: [20 usd/day]` for the key")


def _add_rates(name: str, rate: Mapping[str, Any], item: dict[str, Any], found: ForeignModels) -> None:
    for kind, limit in (("request", "requests"), ("token", "tokens")):
        most, unit = rate.get(f"{kind}_max_limit"), _RATES.get(str(rate.get(f"{kind}_reset_duration")))
        if isinstance(most, int) and most > 0 and unit is not None:
            item.setdefault("ratelimits", {})[limit] = f"{most}{unit}"
        elif most:
            found.lose(Group.PROTECTION, f"{kind}_max_limit of the key {name}", "set `ratelimits` for the key")
