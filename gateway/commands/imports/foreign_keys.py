"""The keys that the import knows in files of agentgateway, Bifrost and Portkey. It lists all others as lost.

A place is the path of a mapping, without the numbers of list items; patterns match whole places, and the first one
applies. A mapping at a place without a row is read or listed as a whole."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, TypeAlias

from gateway.commands.imports.foreign_models import ForeignModels
from gateway.commands.imports.losses import Group

Places: TypeAlias = Sequence[tuple[str, frozenset[str] | None]]
"""The known keys by place; ``None`` if another module lists the unknown ones."""


def _rows(*rows: tuple[str, str | None]) -> Places:
    return tuple((pattern, None if keys is None else frozenset(keys.split())) for pattern, keys in rows)


_TARGET: Final = (
    "strategy targets name index weight retry cache provider virtual_key api_key override_params default_params "
    "drop_params on_status_codes forward_headers custom_host request_timeout aws_access_key_id aws_secret_access_key "
    "aws_session_token aws_region aws_role_arn aws_external_id vertex_project_id vertex_region "
    "vertex_service_account_json azure_resource_name azure_deployment_id azure_api_version azure_entra_client_id "
    "azure_entra_client_secret azure_entra_tenant_id openai_organization before_request_hooks input_guardrails "
    "after_request_hooks output_guardrails"
)
"""The keys of Portkey's targets; a config is the outermost one."""

AGENTGATEWAY: Final = _rows(
    ("", "llm binds mcp frontendPolicies backends routes"),
    ("llm", "port models virtualModels policies guardrails providers"),
    ("llm.policies", None),
    ("llm.policies.apiKey", "keys mode"),
    ("llm.policies.apiKey.keys", "key keyHash metadata allowedModels budgets"),
    ("binds.*.policies.apiKey", "keys mode"),
    ("binds.*.policies.apiKey.keys", "key keyHash metadata"),
    ("llm.providers", "name provider params"),
    ("llm.models", None),
    ("llm.*.params", "model apiKey baseUrl awsRegion vertexProject vertexRegion azureResourceName azureResourceType "
     "azureApiVersion hostOverride pathOverride pathPrefix"),
    ("llm.*.params.apiKey", "file"),
    ("llm.*.provider", None),
    ("llm.*.provider.custom.formats", "type path"),
    ("llm.*.provider.*", "formats"),
    ("llm.models.health", "eviction"),
    ("llm.models.health.eviction", "duration"),
    ("llm.virtualModels", "name routing"),
    ("llm.virtualModels.routing", "weighted failover conditional"),
    ("llm.virtualModels.routing.weighted", "targets"),
    ("llm.virtualModels.routing.weighted.targets", "model weight"),
    ("llm.virtualModels.routing.failover", "targets"),
    ("llm.virtualModels.routing.failover.targets", "model priority"),
    ("binds", "port listeners"),
    ("binds.listeners", "name protocol hostname routes policies"),
    ("binds.listeners.routes", "name ruleName hostnames matches policies backends"),
    ("*.policies.backendAuth", "key aws"),
    ("*.policies.backendAuth.aws", "assumeRole"),
    ("binds.*.policies", None),
    ("binds.listeners.routes.backends", "ai policies weight mcp host dynamic service backend"),
    ("*.ai", "name provider policies groups hostOverride pathOverride pathPrefix"),
    ("*.ai.groups", "providers"),
    ("*.ai.groups.providers", "name provider policies hostOverride pathOverride pathPrefix"),
    ("*.ai*.provider", None),
    ("*.ai*.provider.*", "model region projectId resourceName resourceType host apiVersion"),
)  # fmt: skip

BIFROST: Final = _rows(
    ("", "$schema version providers governance mcp vector_store logs_store auth_config guardrails_config client"),
    ("providers", None),
    *((f"providers.*.{name}", None) for name in (
        "deployments", "aliases", "extra_headers", "proxy_config", "custom_provider_config",
        "concurrency_and_buffer_size",
    )),
    ("providers.*.keys.value", "value env_var from_env ref"),
    ("providers.*.keys.*_config.*", "value env_var from_env ref"),
    ("governance.virtual_keys.value", "value env_var from_env ref"),
    ("providers.*.keys.azure_key_config", "endpoint api_version deployments aliases client_id client_secret tenant_id"),
    ("providers.*.keys.vertex_key_config", "project_id region auth_credentials deployments aliases"),
    ("providers.*.keys.bedrock_key_config", "region access_key secret_key session_token role_arn session_name "
     "external_id deployments aliases"),
    ("providers.*.keys", "id name value models weight enabled aliases deployments blacklisted_models "
     "azure_key_config vertex_key_config bedrock_key_config vllm_key_config ollama_key_config sgl_key_config "
     "use_for_batch_api"),
    ("providers.*.keys.vllm_key_config", "url model_name"), ("providers.*.keys.ollama_key_config", "url"),
    ("providers.*.keys.sgl_key_config", "url"),
    ("providers.*.network_config", "base_url default_request_timeout_in_seconds extra_headers max_retries"),
    ("providers.*", "keys network_config proxy_config concurrency_and_buffer_size custom_provider_config"),
    ("governance", "virtual_keys budgets rate_limits routing_rules"),
    ("governance.virtual_keys", "id name value description is_active provider_configs budget_id rate_limit_id team_id "
     "customer_id"),
    ("governance.virtual_keys.provider_configs", "provider allowed_models"),
    ("governance.budgets", "id max_limit reset_duration virtual_key_id"),
    ("governance.rate_limits", "id request_max_limit request_reset_duration token_max_limit token_reset_duration"),
    ("client", ""),
)  # fmt: skip

PORTKEY: Final = _rows(
    ("*strategy", "mode on_status_codes conditions default"),
    ("*retry", "attempts"),
    ("*cache", None),
    ("*targets", _TARGET),
    ("", _TARGET),
)  # fmt: skip

_REASONS: Final[Mapping[str, tuple[Group, str]]] = {
    name: (group, why)
    for group, why, names in (
        (Group.RESIDENCY, "clients may use every key of the provider: give the entries names of their own, and list "
         "these under `models` of the client key", "key_ids"),
        (Group.NAMES, "the model's name selects the provider", "governance.virtual_keys.provider_configs.weight"),
        (Group.PROTECTION, "with `client_keys`, each request needs one of these keys", "enforce_governance_header "
         "enforce_auth_on_inference allow_direct_keys is_vk_mandatory mode"),
        (Group.PROTECTION, "only client_keys, with keys and certificates, decide who may use the gateway",
         "governance.auth_config"),
        (Group.MONEY, "write a client_group with its budget", "teams customers"),
        (Group.NAMES, "set `cors` at the root", "allowed_origins allowed_headers"),
        (Group.NAMES, "set `limits.request_body`", "max_request_body_size_mb"),
        (Group.NAMES, "keys and providers that were added at run time are in that database: export them first",
         "config_store"),
        (Group.LOGS, "Bedrock gets no metadata of clients; the log has the client", "requestMetadata"),
        (Group.LOGS, "the log has one line for each request, without content", "enable_logging "
         "disable_content_logging log_retention_days"),
        (Group.MONEY, "trigate has a price list of its own, and `price` of an entry (docs/costs.md)", "framework"),
        (Group.TRIFLES, "`circuit` sets when a target is paused; to check your own server, set `probe` in its entry",
         "active restoreHealth consecutiveFailures unhealthyCondition"),
        (Group.TRIFLES, "trigate limits connections and bodies itself: see `limits`", "initial_pool_size "
         "drop_excess_requests server"),
        (Group.PROTECTION, "trigate retries its own list of failures (docs/routing.md)",
         "targets.retry.on_status_codes retry.on_status_codes"),
        (Group.PROTECTION, "`tracing` and /metrics replace otel and telemetry; other plugins have no counterpart",
         "plugins"),
        (Group.NAMES, "it applies to all models of the provider: write it in each entry", "defaults"),
    )
    for name in names.split()
}  # fmt: skip
"""The group and the reason of unknown keys, by the end of their path."""

_UNKNOWN: Final = (Group.UNKNOWN, "check in the documentation whether you need it")


def lose_unknown(content: Any, places: Places, found: ForeignModels) -> None:
    """Record each key of ``content`` that ``places`` do not list, unless it has no value."""
    for place, title in _unknown(content, places, "", ""):
        ends = (place.split(".", start)[-1] for start in range(place.count(".") + 1))
        group, why = next((_REASONS[end] for end in ends if end in _REASONS), _UNKNOWN)
        found.lose(group, title, why)


def _unknown(value: Any, places: Places, place: str, title: str) -> Iterator[tuple[str, str]]:
    """Yield the place and the title of each unknown key in ``value``."""
    if isinstance(value, list):
        for number, one in enumerate(value):
            name = one.get("name") if isinstance(one, dict) else None
            yield from _unknown(one, places, place, f"{title}.{name if isinstance(name, str) and name else number}")
        return
    row = next((row for row in places if fnmatchcase(place, row[0])), None)
    if not isinstance(value, dict) or row is None:
        return
    for key, inner in value.items():
        step, shown = (f"{one}.{key}" if one else str(key) for one in (place, title))
        if row[1] is None or key in row[1]:
            yield from _unknown(inner, places, step, shown)
        elif inner not in (None, "", False, [], {}):
            yield step, shown
