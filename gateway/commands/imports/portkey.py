"""Reads Portkey's configs (https://portkey.ai/docs/api-reference/config-object)."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.commands.imports.foreign_keys import PORTKEY, lose_unknown
from gateway.commands.imports.foreign_models import ForeignModels, ForeignRoute, plain_text
from gateway.commands.imports.imported_values import free_name, items_of, mapping_of, number_of
from gateway.commands.imports.losses import Group
from gateway.config.unknown import snake_case

PORT: Final = 8787
NAME: Final = "portkey"
"""The name for the targets of a config: Portkey selects them for every model."""

_PREFIXES: Final[Mapping[str, str]] = {
    "openai": "openai", "anthropic": "anthropic", "google": "gemini", "vertex-ai": "vertex_ai", "bedrock": "bedrock",
    "azure-openai": "azure", "azure-ai": "azure_ai", "cohere": "cohere", "mistral-ai": "mistral", "groq": "groq",
    "ollama": "ollama", "openrouter": "openrouter", "cerebras": "cerebras", "x-ai": "xai", "deepseek": "deepseek",
    "perplexity-ai": "perplexity", "fireworks-ai": "fireworks_ai", "together-ai": "together_ai",
    "deepinfra": "deepinfra",
}  # fmt: skip
"""LiteLLM's prefixes for Portkey's providers."""

_MEMBERS: Final[Mapping[str, str]] = {
    "api_key": "api_key", "custom_host": "api_base", "aws_access_key_id": "aws_access_key_id",
    "aws_secret_access_key": "aws_secret_access_key", "aws_session_token": "aws_session_token",
    "aws_region": "aws_region_name", "aws_role_arn": "aws_role_name", "aws_external_id": "aws_external_id",
    "vertex_project_id": "vertex_project", "vertex_region": "vertex_location",
    "vertex_service_account_json": "vertex_credentials", "azure_api_version": "api_version",
    "azure_entra_client_id": "client_id", "azure_entra_client_secret": "client_secret",
    "azure_entra_tenant_id": "tenant_id", "openai_organization": "organization", "request_timeout": "timeout",
}  # fmt: skip
_OTHER_NAMES: Final[Mapping[str, str]] = {
    "resource_name": "azure_resource_name", "deployment_id": "azure_deployment_id", "api_version": "azure_api_version",
}  # fmt: skip
_LOST: Final[Mapping[str, tuple[Group, str]]] = {
    "cache": (Group.MONEY, "set `cache: {ttl: 1h}` for a client key or an alias (docs/caching.md)"),
    "on_status_codes": (Group.PROTECTION, "set `when` of the next target, as reasons (docs/routing.md)"),
    "forward_headers": (Group.NAMES, "set `pass_headers` in the entry"),
    "default_params": (Group.NAMES, "set `request: {default: …}` in the entry"),
    "drop_params": (Group.NAMES, "set `request: {drop: …}` in the entry"),
}


def is_portkey(content: Mapping[str, Any]) -> bool:
    """Return whether a file is a config with targets, or one target."""
    is_target = isinstance(content.get("provider"), str) or isinstance(content.get("virtual_key"), str)
    has_targets = isinstance(content.get("targets"), list) and "version" not in content
    return (is_target and "model_providers" not in content) or has_targets


def read_portkey(content: Mapping[str, Any]) -> ForeignModels:
    """Return the parts of a config."""
    found = ForeignModels("Portkey", PORT, sets_members=True)
    content = _with_usual_names(content)
    groups = [*_groups(content, {}, found)]
    lose_unknown(content, PORTKEY, found)
    names = [target for group in groups for target, _ in group]
    if any(name.endswith("/*") for name in names):
        why = "a target without `override_params.model` serves any model: clients request PROVIDER/MODEL"
        found.lose(Group.NAMES, "the choice among the targets", why)
    elif names:
        balance = "weighted" if any(len(group) > 1 for group in groups) else None
        found.routes[NAME] = ForeignRoute(groups, balance)
        found.lose(Group.NAMES, "the models that clients request", f"the config replaces them: clients request {NAME}")
    return found


def _with_usual_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``config`` and its targets with one spelling of each member: Portkey reads camel case as well."""
    found: dict[str, Any] = {}
    for written, value in config.items():
        name = snake_case(written)
        if name == "targets" and isinstance(value, list):
            value = [_with_usual_names(one) if isinstance(one, dict) else one for one in value]
        found.setdefault(_OTHER_NAMES.get(name, name), value)
    return found


def _groups(
    config: Mapping[str, Any], above: Mapping[str, Any], found: ForeignModels
) -> Iterator[list[tuple[str, float | None]]]:
    """Yield the groups of targets in order; ``above`` are the settings of the surrounding config."""
    own = {**above, **{name: value for name, value in config.items() if name not in ("strategy", "targets")}}
    strategy = mapping_of(config.get("strategy"))
    mode = str(strategy.get("mode") or "single")
    found.lose_members(strategy, {"on_status_codes": _LOST["on_status_codes"]})
    targets = [*items_of(config.get("targets"))]
    if not targets:
        name = _add_target(own, found)
        if name is not None:
            weight = config.get("weight")
            yield [(name, weight if isinstance(weight, int | float) else None)]
        return
    if mode == "conditional":
        found.lose(Group.NAMES, "the conditions of strategy", "the model's name selects the target")
    each = [[*_groups(target, own, found)] for target in targets]
    if mode != "loadbalance":
        yield from (group for groups in each for group in groups)
        return
    if any(len(groups) > 1 for groups in each):
        found.lose(Group.PROTECTION, "fallbacks within a load balance", "all targets are in one group")
    yield [target for groups in each for group in groups for target in group]


def _add_target(target: Mapping[str, Any], found: ForeignModels) -> str | None:
    """Add a target, and return the name of its entry; ``None`` if it is lost."""
    provider = str(target.get("provider") or "").removeprefix("@")
    override = dict(mapping_of(target.get("override_params")))
    model = plain_text(override.pop("model", None))
    if model is not None and model.startswith("@") and "/" in model:
        provider, _, model = model[1:].partition("/")
    if target.get("virtual_key") and not target.get("api_key"):
        what = f"the virtual key of a target ({provider or target['virtual_key']})"
        found.lose(Group.NAMES, what, "it is in your Portkey account: set the provider's own key")
    if provider not in _PREFIXES:
        what = f"a target ({provider or target.get('virtual_key') or 'without provider'})"
        found.lose_model(model, what, "trigate import does not know this provider: write an entry")
        return None
    params: dict[str, Any] = {to: target.get(name) for name, to in _MEMBERS.items()}
    if (milliseconds := number_of(params["timeout"])) is not None:
        params["timeout"] = milliseconds / 1000
    if provider == "azure-openai":
        model = plain_text(target.get("azure_deployment_id")) or model
        resource = plain_text(target.get("azure_resource_name"))
        if not (params["api_base"] or resource):
            found.lose_model(model, f"a target ({provider})", "it has no resource_name: write an entry with base_url")
            return None
        params["api_base"] = params["api_base"] or f"https://{resource}.openai.azure.com"
    retry = target.get("retry")
    if isinstance(retry, dict) and isinstance(retry.get("attempts"), int):
        params["num_retries"] = retry["attempts"]
    found.lose_members(target, _LOST, f" of a target ({provider})")
    taken = [one["model_name"] for one in found.items]
    base = f"{provider}/{model or '*'}"
    name = base if model is None else free_name(base, taken)
    if name not in taken:
        found.add_model(name, f"{_PREFIXES[provider]}/{model or '*'}", {**params, **override})
    return name
