"""The columns and tables of LiteLLM's database that the import does not convert: those that limit or cost something
have a reason, others are only listed.

The names are those of LiteLLM's ``schema.prisma``; exports of its API have some more columns."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from gateway.commands.imports.imported_values import word_set
from gateway.commands.imports.litellm_rows import is_set, name_list, read_mapping, read_text
from gateway.commands.imports.losses import Group, Loss, Reason

METADATA: Final = "metadata"

_STEPS: Final = "write these checks under `steps` (docs/steps.md)"
_BUDGETS: Final = "set `budgets` for the key or its group"

_ROWS: Final = (
    (Group.PROTECTION, "set `ratelimits` in the entries of these models",
     "model_rpm_limit model_tpm_limit model_itpm_limit model_otpm_limit mcp_rpm_limit"),
    (Group.PROTECTION, "set `ratelimits` for the key or its group",
     "rpm_limit tpm_limit max_parallel_requests tag_rpm_limit priority agent_id"),
    (Group.PROTECTION, "set `budgets: [5M tokens/day]` for the key or its group", "tpd_limit"),
    (Group.PROTECTION, "its models and limits are in another table: set them for the key or its group",
     "organization_id org_id project_id access_group_ids object_permission_id"),
    (Group.PROTECTION, "a client key has no list of paths or permissions",
     "allowed_routes permissions allowed_passthrough_routes denied_passthrough_routes"),
    (Group.PROTECTION, _STEPS, "policies enforced_params require_trace_id"),
    (Group.PROTECTION, "set `models` for the keys", "default_team_member_models allowed_models"),
    (Group.PROTECTION, "the gateway replaces no keys: do it yourself (docs/keys.md)", "auto_rotate"),
    (Group.PROTECTION, "set `budgets: [5 usd/run]`", "max_iterations max_budget_per_session"),
    (Group.PROTECTION, "the provider keeps files as long as you set it there",
     "enforced_batch_output_expires_after enforced_file_expires_after"),
    (Group.MONEY, "a budget needs a period: minutes, hours, days or a month, at most 366 days",
     "max_budget budget_limits"),
    (Group.MONEY, "a budget has no second amount for warnings: use an alert on its metric", "soft_budget"),
    (Group.MONEY, "set `budgets` in the entries of these models", "model_max_budget"),
    (Group.MONEY, _BUDGETS, "user_id budget_id budget_fallbacks end_user_budget_id team_member_budget_id "
     "temp_budget_increase temp_budget_expiry"),
    (Group.MONEY, "set `cache` of the client key (docs/caching.md)", "allowed_cache_controls cache"),
    (Group.NAMES, "", "router_settings config model_config disable_fallbacks team_model_aliases model_id aliases "
     "rpm_limit_type tpm_limit_type throttle_on_budget_exceeded allowed_vector_store_indexes prompts "
     "disable_global_guardrails opted_out_global_guardrails default_model"),
    (Group.LOGS, "", "logging callback_settings litellm_disabled_callbacks disabled_callbacks tags "
     "spend_logs_metadata"),
    (Group.TRIFLES, "", "allow_team_guardrail_config team_member_permissions team_member_key_duration "
     "secret_manager_settings soft_budget_alerting_emails max_budget_alert_emails enable_prompt_caching "
     "team_member_max_budget_alert_emails default_estimated_output_tokens default_estimated_output_tokens_per_model"),
)  # fmt: skip
_REASONS: Final[Mapping[str, Reason]] = {name: (group, why) for group, why, names in _ROWS for name in names.split()}

SILENT: Final = word_set(
    # Times, authors, amounts and names, which are no settings
    "created_at created_by updated_at updated_by spend total_spend model_spend budget_reset_at token key_name "
    "key_type soft_budget_cooldown settings_updated_at last_active rotation_count rotation_interval last_rotation_at "
    "key_rotation_at user_alias user_email alias sso_user_id password password_reset_required last_breach_check_at "
    # Columns that are read elsewhere
    "key_alias expires models team_id blocked budget_duration team_alias admins members members_with_roles teams "
    "user_role allowed_model_region "
    # Members of the API's responses
    "api_key user user_spend team_spend team_member team_member_spend team_models team_blocked team_max_budget "
    "team_soft_budget team_tpm_limit team_rpm_limit team_tpd_limit team_metadata team_model_max_budget "
    "team_object_permission_id organization_alias project_alias created_by_user last_refreshed_at "
    "litellm_budget_table litellm_organization_table object_permission request_route is_session_token "
    "via_virtual_key keys keys_count members_count team_memberships litellm_model_table"
)
"""The columns that are read elsewhere or have no configuration."""

_READ_METADATA: Final = word_set("guardrails scim_active service_account_id")
"""Members of ``metadata`` that are converted, or that describe a key."""


def lost_columns(row: Mapping[Any, Any], converted: Collection[str] = ()) -> Iterator[tuple[str, Reason]]:
    """Yield the columns of ``row`` with a value that the new file lacks, and the members of its metadata."""
    for column, value in row.items():
        if column == METADATA:
            for member, setting in read_mapping(value).items():
                if member not in _READ_METADATA and is_set(setting):
                    yield f"{METADATA}.{member}", _REASONS.get(member, (Group.TRIFLES, ""))
        elif isinstance(column, str) and column not in SILENT and column not in converted:
            refuses_batches = column == "tpd_limit" and str(value) == "0" and value is not False
            if is_set(value) or refuses_batches:
                yield column, _REASONS.get(column, (Group.UNKNOWN, ""))


# Tables

PREFIX: Final = "LiteLLM_"
SETTINGS: Final = f"{PREFIX}Config"
"""The table with settings that were changed at run time."""
SECTIONS: Final = ("general_settings", "router_settings", "litellm_settings")
"""The sections of that table that LiteLLM adds to those of its file."""


@attrs.frozen
class LostTable:
    """A table on protection or money without a counterpart. ``noun`` describes its rows, ``name`` is their column.

    If ``matters`` lists columns, only rows with one of them set are lost."""

    group: Group
    noun: str
    why: str
    name: str = ""
    matters: tuple[str, ...] = ()


_PEOPLE: Final = "people sign in with `issuers` (docs/people.md)"
LOST_TABLES: Final[Mapping[str, LostTable]] = {
    "GuardrailsTable": LostTable(Group.PROTECTION, "guardrails", _STEPS, "guardrail_name"),
    "PolicyTable": LostTable(Group.PROTECTION, "policies", _STEPS, "policy_name"),
    "PolicyAttachmentTable": LostTable(Group.PROTECTION, "attachments of policies", _STEPS, "policy_name"),
    "ToolTable": LostTable(
        Group.PROTECTION, "policies of tools", _STEPS, "tool_name", ("input_policy", "output_policy", "assignments")
    ),
    "ObjectPermissionTable": LostTable(Group.PROTECTION, "permissions", "a client key has only `models`"),
    "AccessGroupTable": LostTable(
        Group.PROTECTION, "access groups", "list their models under `models` of the keys", "access_group_name"
    ),
    "OrganizationTable": LostTable(
        Group.PROTECTION, "organizations", "set their limits for groups and keys", "organization_alias"
    ),
    "ProjectTable": LostTable(Group.PROTECTION, "projects", "set their limits for keys", "project_alias"),
    "SSOConfig": LostTable(Group.PROTECTION, "settings of single sign-on", _PEOPLE),
    "VerifiedSubject": LostTable(Group.PROTECTION, "people of an identity provider", _PEOPLE),
    "JWTKeyMapping": LostTable(Group.PROTECTION, "keys that tokens select", _PEOPLE, "jwt_claim_value"),
    "TagTable": LostTable(
        Group.MONEY, "budgets and models of tags", "a tag has none: give each program its own key", "tag_name",
        ("budget_id", "models"),
    ),
    "ModelAccessGroupBudgetTable": LostTable(
        Group.MONEY, "budgets of access groups", "set `budgets` in the entries", "access_group_name", ("budget_id",)
    ),
    "TeamMembership": LostTable(Group.MONEY, "budgets of team members", _BUDGETS, "user_id", ("budget_id",)),
    "OrganizationMembership": LostTable(
        Group.MONEY, "budgets of members of organizations", _BUDGETS, "user_id", ("budget_id",)
    ),
    "CacheConfig": LostTable(Group.MONEY, "settings of the cache", "set `cache` (docs/caching.md)"),
}  # fmt: skip
"""Tables by their names without ``LiteLLM_``."""

WITHOUT_SETTINGS: Final = word_set(
    "SpendLogs ErrorLogs AuditLog HealthCheckTable TelemetryReport SpendLogGuardrailIndex SpendLogToolIndex "
    "DailyUserSpend DailyGlobalSpend DailyOrganizationSpend DailyEndUserSpend DailyAgentSpend DailyTeamSpend "
    "DailyTagSpend DailyGuardrailMetrics DailyGuardrailUsageUnits DailyPolicyMetrics DailyToolSpend "
    "DailyModelUsage DailyGatewayRequests DailyGatewayFailedRequests DailyRequestErrors AdaptiveRouterState "
    "AdaptiveRouterSession AutoRouterBaselineComparison AutoRouterBaselineObservation AutoRouterSession "
    "AutoRouterUserSession AutoRouterDailySpend ShadowEvalJob ShadowEvalAttempt ShadowEvalFunnel LensRun LensReview "
    "LensWorker LensDataset LensTraceSignal DeletedTeamTable DeletedVerificationToken RetiredAgent "
    "RetiredAgentIdentity CronJob ProxyWorkerHeartbeat WorkflowRun WorkflowEvent WorkflowMessage "
    "BackgroundInteractionSettlement UISettings InvitationLink UserNotifications SSOIdentityAssertion "
    "BudgetWindowSpend ModelTable"
)
"""Tables with logs, statistics and other records, by their names without ``LiteLLM_``."""

_USUAL: Final = ("untrusted",)
"""The policy of a tool that LiteLLM adds when it is first called."""


def lost_tables(tables: Mapping[str, Sequence[Mapping[str, Any]]], read: Sequence[str]) -> Iterator[Loss]:
    """Yield the losses of the tables with rows that are not in ``read``, and are not without settings."""
    for name, rows in sorted(tables.items()):
        short = name.removeprefix(PREFIX)
        if name == SETTINGS:
            yield from _lost_settings(rows)
        elif (table := LOST_TABLES.get(short)) is not None:
            lost = [row for row in rows if not table.matters or any(_is_changed(row.get(one)) for one in table.matters)]
            names = [*dict.fromkeys(filter(None, (read_text(row.get(table.name)) for row in lost)))]
            listed = f": {name_list(names, 'rows')}" if names else ""
            if lost:
                yield Loss(table.group, f"{table.noun} in the database{listed}", table.why)
        elif rows and name not in read and short not in WITHOUT_SETTINGS:
            yield Loss(Group.UNKNOWN, f"the table {name}")


def _is_changed(value: Any) -> bool:
    return is_set(value) and value not in _USUAL


def _lost_settings(rows: Sequence[Mapping[str, Any]]) -> Iterator[Loss]:
    """Yield the losses of the table of settings, without the sections that ``stored_settings`` returns."""
    for row in rows:
        section, value = read_text(row.get("param_name")), row.get("param_value")
        what = f"{section} in the database"
        if section == "environment_variables" and is_set(value):
            why = "their values are encrypted: set these variables where trigate starts"
            names = ", ".join(sorted(read_mapping(value)))
            yield Loss(Group.NAMES, f"{section} ({names}) in the database", why)
        elif section not in SECTIONS and is_set(value):
            is_sign_in = section == "sso_config"
            yield Loss(Group.PROTECTION, what, _PEOPLE) if is_sign_in else Loss(Group.UNKNOWN, what)


def stored_settings(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the settings in the table of settings by their section in LiteLLM's file."""
    sections = {read_text(row.get("param_name")): read_mapping(row.get("param_value")) for row in rows}
    return {section: settings for section, settings in sections.items() if section in SECTIONS}
