"""The columns and tables of LiteLLM's database that the import does not convert: those on protection or money have a
reason, others are only listed.

The names are those of LiteLLM's ``schema.prisma``."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from gateway.commands.imports.imported_values import word_set
from gateway.commands.imports.litellm_rows import (
    SETTINGS,
    TABLES,
    UNREADABLE,
    is_set,
    name_list,
    read_mapping,
    read_text,
)
from gateway.commands.imports.litellm_tables import CACHE_ADVICE
from gateway.commands.imports.losses import Group, Loss, Reason

METADATA: Final = "metadata"

_ROWS: Final = (
    (Group.PROTECTION, "set `ratelimits`, `models` or `steps` for the key, its group or the entries",
     "model_rpm_limit model_tpm_limit model_itpm_limit model_otpm_limit mcp_rpm_limit rpm_limit tpm_limit tpd_limit "
     "max_parallel_requests tag_rpm_limit priority agent_id organization_id org_id project_id access_group_ids "
     "object_permission_id allowed_routes permissions allowed_passthrough_routes denied_passthrough_routes guardrails "
     "policies enforced_params require_trace_id default_team_member_models allowed_models auto_rotate max_iterations "
     "max_budget_per_session enforced_batch_output_expires_after enforced_file_expires_after"),
    (Group.MONEY, "set `budgets` for the key, its group or the entries: each needs a period of at most 366 days",
     "max_budget budget_limits soft_budget model_max_budget user_id budget_id budget_fallbacks end_user_budget_id "
     "team_member_budget_id temp_budget_increase temp_budget_expiry"),
    (Group.MONEY, CACHE_ADVICE, "allowed_cache_controls cache"),
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
    "user_role allowed_model_region"
)
"""The columns that are read elsewhere or have no configuration."""

_READ_METADATA: Final = word_set("scim_active service_account_id")
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


def column_losses(
    rows: Iterable[tuple[str, Mapping[str, Any], Collection[str]]], prefix: str, noun: str, table: str
) -> Iterator[Loss]:
    """Yield one loss for each column that the owners of ``rows`` lose: exports can have hundreds of keys.

    Each row has the name of its owner, and its ``converted`` columns. The text has ``prefix`` and a list of owners."""
    owners: dict[tuple[str, Reason], list[str]] = {}
    for name, row, converted in rows:
        for lost in lost_columns(row, converted):
            owners.setdefault(lost, []).append(name)
    for (column, (group, why)), names in owners.items():
        yield Loss(group, f"{column} of {prefix}{name_list(names, noun)}", why, table, tuple(names))


# Tables

PREFIX: Final = "LiteLLM_"
_OWN_WHY: Final = {
    "SSOConfig": "complete the draft of `issuers` in the comments of the new file (docs/people.md)",
    "CacheConfig": CACHE_ADVICE,
}
"""The advice for tables that is not that of their group."""
_WHY: Final = {
    Group.PROTECTION: "set `models`, `ratelimits` or `steps` for the keys and groups, and `issuers` for people",
    Group.MONEY: "set `budgets` for keys, groups or entries; a tag or a person has none",
}
LOST_TABLES: Final[Mapping[str, tuple[Group, str, tuple[str, ...]]]] = {
    "GuardrailsTable": (Group.PROTECTION, "guardrail_name", ()),
    "PolicyTable": (Group.PROTECTION, "policy_name", ()),
    "PolicyAttachmentTable": (Group.PROTECTION, "policy_name", ()),
    "ToolTable": (Group.PROTECTION, "tool_name", ("input_policy", "output_policy", "assignments")),
    "ObjectPermissionTable": (Group.PROTECTION, "", ()),
    "AccessGroupTable": (Group.PROTECTION, "access_group_name", ()),
    "OrganizationTable": (Group.PROTECTION, "organization_alias", ()),
    "ProjectTable": (Group.PROTECTION, "project_alias", ()),
    "SSOConfig": (Group.PROTECTION, "", ()),
    "VerifiedSubject": (Group.PROTECTION, "", ()),
    "JWTKeyMapping": (Group.PROTECTION, "jwt_claim_value", ()),
    "TagTable": (Group.MONEY, "tag_name", ("budget_id", "models")),
    "ModelAccessGroupBudgetTable": (Group.MONEY, "access_group_name", ("budget_id",)),
    "TeamMembership": (Group.MONEY, "user_id", ("budget_id",)),
    "OrganizationMembership": (Group.MONEY, "user_id", ("budget_id",)),
    "CacheConfig": (Group.MONEY, "", ()),
}
"""The tables on protection or money, by their names without ``LiteLLM_``.

Each has its group, and the column with the names of its rows. A row matters if one of the listed columns is set, or if
no columns are listed.
"""

_WITHOUT_SETTINGS: Final = re.compile(
    r"(?:Daily|AutoRouter|AdaptiveRouter|ShadowEval|Lens|Deleted|Retired|Workflow|Telemetry|HealthCheck|Audit|UserNot)\w*"
    r"|(?:Spend|Error)Log\w*|CronJob|ProxyWorkerHeartbeat|BackgroundInteractionSettlement|UISettings|InvitationLink"
    r"|SSOIdentityAssertion|BudgetWindowSpend|ModelTable"
)
"""Tables with logs, statistics and other records, by their names without ``LiteLLM_``."""

_USUAL: Final = ("untrusted",)
"""The policy of a tool that LiteLLM adds when it is first called."""


def is_record(table: str) -> bool:
    """Return whether a table has only logs, statistics and other records."""
    return _WITHOUT_SETTINGS.fullmatch(table.removeprefix(PREFIX)) is not None


def lost_tables(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Loss]:
    """Yield the losses of the tables with rows that are not converted, and are no records."""
    for name, rows in sorted(tables.items()):
        short = name.removeprefix(PREFIX)
        if short in LOST_TABLES:
            group, column, matters = LOST_TABLES[short]
            lost = [row for row in rows if not matters or any(_is_changed(row.get(one)) for one in matters)]
            names = [*dict.fromkeys(filter(None, (read_text(row.get(column)) for row in lost)))]
            why = _OWN_WHY.get(short, _WHY[group])
            if lost:
                listed = f": {name_list(names, 'rows')}" if names else ""
                yield Loss(group, f"the table {name}{listed}", why, name, tuple(names))
        elif rows and name not in (*TABLES, SETTINGS, UNREADABLE) and not is_record(name):
            yield Loss(Group.UNKNOWN, f"the table {name}", place=name)


def _is_changed(value: Any) -> bool:
    return is_set(value) and value not in _USUAL
