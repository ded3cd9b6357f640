"""The columns of LiteLLM's tables of keys, teams, users and budgets, and the members of their ``metadata``.

Each column is read by another module, or has no configuration, or is lost with a reason. An unknown column with a value
is lost, too. The names are those of LiteLLM's ``schema.prisma``; exports of its API have some more."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, TypeAlias

from gateway.commands.imports.imported_values import word_set
from gateway.commands.imports.litellm_rows import is_set, read_mapping
from gateway.commands.imports.losses import Group

Reason: TypeAlias = tuple[Group, str]

METADATA: Final = "metadata"

_RATES_OF_MODELS: Final = (
    Group.PROTECTION,
    "set `ratelimits` in the entries of these models",
)
_BUDGETS_OF_MODELS: Final = (Group.MONEY, "set `budgets` in the entries of these models")
_PERMISSIONS: Final = (Group.PROTECTION, "a client key has no list of paths or permissions")
_CHECKS: Final = (Group.PROTECTION, "write these checks under `steps`: they are not converted")
_ROUTING: Final = (
    Group.NAMES,
    "one client cannot have its own routing: `model_aliases` and `retries` are for all clients",
)
_ALIASES: Final = (
    Group.NAMES, "a client cannot have its own aliases: write model_aliases, which are for all clients"
)  # fmt: skip
_CACHES: Final = (Group.MONEY, "set `cache` of the client key (docs/caching.md)")
_LOGGED: Final = (Group.LOGS, "a client cannot have its own callbacks: `tracing` and observers are for all clients")
_ALERTED: Final = (Group.TRIFLES, "use the Prometheus rules in deploy/prometheus/alerts.yaml, and Alertmanager")
_INCREASED: Final = (Group.MONEY, "a budget has no temporary increase: set a larger one until then")
_EXPIRY: Final = (Group.PROTECTION, "trigate does not limit how long the provider keeps files: set it there")
_TAGS: Final = (Group.LOGS, "the log has the client and its group, but no tags")
_OWN: Final = (Group.TRIFLES, "the log has the name of the client and its group, but no metadata")
_UNKNOWN: Final = (Group.UNKNOWN, "check in LiteLLM's documentation whether you need this column")


_OF_METADATA: Final[Mapping[str, Reason]] = {
    **dict.fromkeys(
        ("model_rpm_limit", "model_tpm_limit", "model_itpm_limit", "model_otpm_limit", "mcp_rpm_limit"),
        _RATES_OF_MODELS,
    ),
    "tag_rpm_limit": (Group.PROTECTION, "a tag cannot have a limit: give each program its own key with `ratelimits`"),
    **dict.fromkeys(("rpm_limit_type", "tpm_limit_type"), (Group.NAMES, "the limit of a client always applies")),
    "enforced_params": (Group.PROTECTION, "trigate cannot require members of requests: write a step of your own"),
    "require_trace_id": (Group.PROTECTION, "trigate cannot require this header: write a step of your own"),
    **dict.fromkeys(("temp_budget_increase", "temp_budget_expiry"), _INCREASED),
    "throttle_on_budget_exceeded": (Group.NAMES, "if a budget is exhausted, trigate refuses all requests"),
    "allowed_vector_store_indexes": (Group.NAMES, "trigate has no vector stores"),
    **dict.fromkeys(("enforced_batch_output_expires_after", "enforced_file_expires_after"), _EXPIRY),
    "enable_prompt_caching": (Group.MONEY, "if the provider needs marks, set `prompt_cache: {marks: 5m}` in the entry"),
    **dict.fromkeys(
        ("end_user_budget_id", "team_member_budget_id"),
        (Group.MONEY, "a person has no budget of its own: set `budgets` for the key"),
    ),
    "model_max_budget": _BUDGETS_OF_MODELS,
    **dict.fromkeys(("max_iterations", "max_budget_per_session"), (Group.PROTECTION, "set `budgets: [5 usd/run]`")),
    **dict.fromkeys(
        ("disable_global_guardrails", "opted_out_global_guardrails"),
        (Group.NAMES, "a step without `for` applies to all clients: list those that need it under `for`"),
    ),
    "policies": _CHECKS,
    "disable_fallbacks": _ROUTING,
    "model_config": _ROUTING,
    "priority": (Group.PROTECTION, "clients have no priorities: set `ratelimits` for the key"),
    "cache": _CACHES,
    "prompts": (Group.NAMES, "trigate has no prompts"),
    "team_member_key_duration": (Group.TRIFLES, "set `until` for each key"),
    **dict.fromkeys(("logging", "callback_settings", "litellm_disabled_callbacks", "disabled_callbacks"), _LOGGED),
    **dict.fromkeys(("allowed_passthrough_routes", "denied_passthrough_routes"), _PERMISSIONS),
    "secret_manager_settings": (Group.TRIFLES, "secrets come from the environment"),
    **dict.fromkeys(("tags", "spend_logs_metadata"), _TAGS),
    **dict.fromkeys(
        ("soft_budget_alerting_emails", "max_budget_alert_emails", "team_member_max_budget_alert_emails"), _ALERTED
    ),
    **dict.fromkeys(
        ("default_estimated_output_tokens", "default_estimated_output_tokens_per_model"),
        (Group.TRIFLES, "trigate reserves the largest possible number of tokens"),
    ),
}  # fmt: skip
"""The members of ``metadata`` that LiteLLM reads, with the reasons for their loss; others are the operator's own."""

_READ_METADATA: Final = word_set("guardrails scim_active service_account_id")
"""Members that are converted, or that describe a key."""


def _lost_limits(owner: str) -> Mapping[str, Reason]:
    """Return, for each column with a limit of keys and teams, the reason to report if the limit is lost."""
    elsewhere = (Group.PROTECTION, f"its models and limits are in another table: set them for the {owner}")
    return {
        **dict.fromkeys(
            ("rpm_limit", "tpm_limit", "max_parallel_requests"), (Group.PROTECTION, "it is not a whole number")
        ),
        "max_budget": (Group.MONEY, "a budget needs a period: minutes, hours, days or a month, at most 366 days"),
        "soft_budget": (Group.MONEY, "a budget has no second amount for warnings: use an alert on its metric"),
        "model_max_budget": _BUDGETS_OF_MODELS,
        "tpd_limit": (Group.PROTECTION, f"set `budgets: [5M tokens/day]` for the {owner}"),
        "budget_limits": (
            Group.MONEY,
            f"set `budgets` for the {owner}: one of its periods is not minutes, hours, days or a month",
        ),
        **dict.fromkeys(("organization_id", "access_group_ids"), elsewhere),
        "router_settings": _ROUTING,
        "policies": _CHECKS,
        "object_permission_id": _PERMISSIONS,
    }


KEY_REASONS: Final[Mapping[str, Reason]] = {
    **_lost_limits("key"),
    "allowed_routes": _PERMISSIONS, "permissions": _PERMISSIONS,
    "user_id": (Group.MONEY, "its user's budget is in the table LiteLLM_UserTable: set `budgets` for the key"),
    **dict.fromkeys(("org_id", "project_id"), _lost_limits("key")["organization_id"]),
    "team_model_aliases": _ALIASES,
    "agent_id": (Group.PROTECTION, "trigate has no agents with limits: set `ratelimits` for the key"),
    "budget_id": (Group.MONEY, "the budget is in another table: set `budgets` for the key"),
    "budget_fallbacks": (Group.MONEY, "put a budget on the expensive entry, and the cheaper one after it in `targets`"),
    "aliases": _ALIASES,
    "config": _ROUTING,
    "allowed_cache_controls": _CACHES,
    "auto_rotate": (Group.PROTECTION, "the gateway replaces no keys: do it yourself (docs/keys.md)"),
}  # fmt: skip
"""The columns of a key with limits and names, and the reasons for their loss."""

TEAM_REASONS: Final[Mapping[str, Reason]] = {
    **_lost_limits("group"),
    "model_id": _ALIASES,
    "aliases": _ALIASES,
    "default_team_member_models": (Group.PROTECTION, "a person has no models of its own: set `models` for the keys"),
    "allow_team_guardrail_config": (Group.TRIFLES, "teams cannot change steps"),
    "team_member_permissions": (Group.TRIFLES, "only administrators change keys"),
}
"""The columns of a team with limits and names, and the reasons for their loss."""

USER_REASONS: Final[Mapping[str, Reason]] = {
    "organization_id": (Group.PROTECTION, "its models and limits are in another table: set them for the keys"),
    "object_permission_id": _PERMISSIONS,
    "policies": _CHECKS,
    "allowed_cache_controls": _CACHES,
    "model_max_budget": _BUDGETS_OF_MODELS,
}
END_USER_REASONS: Final[Mapping[str, Reason]] = {
    "default_model": (Group.NAMES, "an end user has no model of its own: set it in the program"),
    "models": (Group.PROTECTION, "an end user has no models of its own: set `models` for the program's key"),
    "object_permission_id": _PERMISSIONS,
}
BUDGET_REASONS: Final[Mapping[str, Reason]] = {
    "allowed_models": (Group.PROTECTION, "a budget limits no models: set `models` for the keys"),
    **dict.fromkeys(("temp_budget_increase", "temp_budget_expiry"), _INCREASED),
}

_RECORDS: Final = word_set("created_at created_by updated_at updated_by spend total_spend model_spend budget_reset_at")
"""Columns with times, authors and amounts, which are no settings."""

KEY_COLUMNS: Final = _RECORDS | word_set(
    "token key_name key_alias expires models team_id blocked budget_duration key_type soft_budget_cooldown "
    "settings_updated_at last_active rotation_count rotation_interval last_rotation_at key_rotation_at "
    # members of the API's responses
    "api_key user user_role user_email user_spend team_alias team_spend team_member team_member_spend "
    "team_models team_blocked team_max_budget team_soft_budget team_tpm_limit team_rpm_limit team_tpd_limit "
    "team_metadata team_model_max_budget team_object_permission_id organization_alias project_alias created_by_user "
    "last_refreshed_at litellm_budget_table litellm_organization_table object_permission request_route "
    "is_session_token via_virtual_key"
)
"""The columns of a key that are read elsewhere or have no configuration."""

TEAM_COLUMNS: Final = _RECORDS | word_set(
    "team_id team_alias models blocked budget_duration admins members members_with_roles "
    # members of the API's responses
    "keys keys_count members_count team_memberships litellm_model_table object_permission last_refreshed_at "
    "litellm_organization_table"
)
USER_COLUMNS: Final = _RECORDS | word_set(
    "user_id user_alias user_email models budget_duration rpm_limit tpm_limit max_budget max_parallel_requests team_id "
    "sso_user_id teams user_role password password_reset_required last_breach_check_at"
)
END_USER_COLUMNS: Final = _RECORDS | word_set("user_id alias blocked budget_id allowed_model_region")
BUDGET_COLUMNS: Final = _RECORDS | word_set(
    "budget_id max_budget soft_budget budget_duration tpm_limit rpm_limit tpd_limit max_parallel_requests "
    "model_max_budget"
)


def lost_columns(
    row: Mapping[Any, Any], reasons: Mapping[str, Reason], silent: Collection[str], converted: Collection[str] = ()
) -> Iterator[tuple[str, Reason]]:
    """Yield the columns of ``row`` with a value that the new file lacks, and the members of its metadata."""
    for column, value in row.items():
        if not isinstance(column, str):  # cells of a CSV file without a column
            continue
        if column == METADATA:
            yield from _lost_metadata(value)
        elif column not in silent and column not in converted:
            refuses_batches = column == "tpd_limit" and str(value) == "0" and value is not False
            if is_set(value) or refuses_batches:
                yield column, reasons.get(column, _UNKNOWN)


def _lost_metadata(value: Any) -> Iterator[tuple[str, Reason]]:
    for member, setting in read_mapping(value).items():
        if member not in _READ_METADATA and is_set(setting):
            yield f"{METADATA}.{member}", _OF_METADATA.get(member, _OWN)
