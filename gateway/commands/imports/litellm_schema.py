"""The tables of LiteLLM's database that the import does not convert: those with settings, and those without.

The names are those of LiteLLM's ``schema.prisma``. A table that this module lacks is lost if it has rows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from gateway.commands.imports.litellm_budgets import name_list
from gateway.commands.imports.litellm_rows import is_set, read_mapping, read_text
from gateway.commands.imports.litellm_tables import NO_COUNTERPART, REASONS
from gateway.commands.imports.losses import Group, Loss

PREFIX: Final = "LiteLLM_"


@attrs.frozen
class LostTable:
    """A table with settings that have no counterpart. ``noun`` describes its rows, ``name`` is a column for messages.

    If ``matters`` lists columns, only rows with one of them set are lost."""

    group: Group
    noun: str
    why: str
    name: str | None = None
    matters: tuple[str, ...] = ()


_STEPS = "write these checks under `steps`: they are not converted"
_NONE = "trigate has no counterpart"
_TAGGED = "a tag has no budget: give each program its own key with `budgets`"
_MEMBERS = "a person in a team has no budget of its own: set `budgets` for the keys"
_ORGANIZED = "an organization has no limits of its own: set them for its groups and keys"
_SERVED = "clients must upload or create them again at the provider (docs/endpoints.md)"
_SERVERS = "list each server with an address in `mcp_servers` (docs/mcp.md)"
_PEOPLE = "people sign in with `issuers` (docs/people.md)"
_LENS = "trigate does not rate conversations: write an observer (docs/steps.md)"

LOST: Final[Mapping[str, LostTable]] = {
    "LiteLLM_GuardrailsTable": LostTable(Group.PROTECTION, "guardrails", _STEPS, "guardrail_name"),
    "LiteLLM_PolicyTable": LostTable(Group.PROTECTION, "policies", _STEPS, "policy_name"),
    "LiteLLM_PolicyAttachmentTable": LostTable(Group.PROTECTION, "attachments of policies", _STEPS, "policy_name"),
    "LiteLLM_ObjectPermissionTable": LostTable(
        Group.PROTECTION, "permissions for models, tools and other objects", "a client key has only `models`"
    ),
    "LiteLLM_OrganizationTable": LostTable(Group.PROTECTION, "organizations", _ORGANIZED, "organization_alias"),
    "LiteLLM_ProjectTable": LostTable(
        Group.PROTECTION, "projects", "a project has no limits of its own: set them for its keys", "project_alias"
    ),
    "LiteLLM_SSOConfig": LostTable(Group.PROTECTION, "settings of single sign-on", _PEOPLE),
    "LiteLLM_VerifiedSubject": LostTable(Group.PROTECTION, "people of an identity provider", _PEOPLE),
    "LiteLLM_JWTKeyMapping": LostTable(
        Group.NAMES, "keys that tokens select", "admit the tokens with `issuers` (docs/people.md)", "jwt_claim_value"
    ),
    "LiteLLM_CredentialsTable": LostTable(
        Group.NAMES, "credentials", "they are encrypted: set `access_key` in the entries", "credential_name"
    ),
    "LiteLLM_UserProviderCredentials": LostTable(
        Group.NAMES, "providers' keys of people", "clients can send their own key: set `passthrough_auth` in the entry"
    ),
    "LiteLLM_AccessGroupTable": LostTable(
        Group.NAMES, "access groups", "list their models under `models` of the keys", "access_group_name"
    ),
    "LiteLLM_AgentsTable": LostTable(Group.NAMES, "agents", _NONE, "agent_name"),
    "LiteLLM_AgentIdentity": LostTable(Group.NAMES, "identities of agents", _NONE),
    "LiteLLM_MCPServerTable": LostTable(Group.NAMES, "MCP servers", _SERVERS, "server_name"),
    "LiteLLM_MCPToolsetTable": LostTable(Group.NAMES, "sets of MCP tools", _NONE, "toolset_name"),
    "LiteLLM_MCPUserCredentials": LostTable(Group.NAMES, "people's credentials for MCP servers", _SERVERS),
    "LiteLLM_MCPUserEnvVars": LostTable(Group.NAMES, "people's variables for MCP servers", _SERVERS),
    "LiteLLM_MCPServerOAuthClient": LostTable(Group.NAMES, "OAuth clients of MCP servers", _SERVERS),
    "LiteLLM_PromptTable": LostTable(Group.NAMES, "prompts", _NONE, "prompt_id"),
    "LiteLLM_SearchToolsTable": LostTable(Group.NAMES, "search tools", _NONE, "search_tool_name"),
    "LiteLLM_SkillsTable": LostTable(Group.NAMES, "skills", _NONE),
    "LiteLLM_ClaudeCodePluginTable": LostTable(Group.NAMES, "plugins of Claude Code", _NONE, "name"),
    "LiteLLM_MemoryTable": LostTable(Group.NAMES, "memories", _NONE),
    "LiteLLM_ManagedFileTable": LostTable(Group.NAMES, "files of clients", _SERVED),
    "LiteLLM_ManagedFileContentTable": LostTable(Group.NAMES, "contents of files", _SERVED),
    "LiteLLM_ManagedObjectTable": LostTable(Group.NAMES, "batches and other jobs of clients", _SERVED),
    "LiteLLM_ManagedVectorStoreTable": LostTable(Group.NAMES, "vector stores of clients", _NONE),
    "LiteLLM_ManagedVectorStoresTable": LostTable(Group.NAMES, "vector stores", _NONE, "vector_store_name"),
    "LiteLLM_ManagedVectorStoreIndexTable": LostTable(Group.NAMES, "indexes of vector stores", _NONE, "index_name"),
    "LiteLLM_TagTable": LostTable(
        Group.MONEY, "budgets and models of tags", _TAGGED, "tag_name", ("budget_id", "models")
    ),
    "LiteLLM_ModelAccessGroupBudgetTable": LostTable(
        Group.MONEY, "budgets of access groups", "set `budgets` in the entries of their models", "access_group_name",
        ("budget_id",),
    ),
    "LiteLLM_TeamMembership": LostTable(Group.MONEY, "budgets of team members", _MEMBERS, "user_id", ("budget_id",)),
    "LiteLLM_OrganizationMembership": LostTable(
        Group.MONEY, "budgets of members of organizations", _MEMBERS, "user_id", ("budget_id",)
    ),
    "LiteLLM_CacheConfig": LostTable(Group.MONEY, "settings of the cache", REASONS["cache"][1]),
    "LiteLLM_ToolTable": LostTable(
        Group.PROTECTION, "policies of tools", _STEPS, "tool_name", ("input_policy", "output_policy", "assignments")
    ),
    "LiteLLM_ConfigOverrides": LostTable(
        Group.TRIFLES, "settings of secret managers", "secrets come from the environment", "config_type"
    ),
    "LiteLLM_Lens": LostTable(Group.LOGS, "ratings of conversations", _LENS),
    "LiteLLM_LensSignalConfig": LostTable(Group.LOGS, "signals of conversations", _LENS),
    "LiteLLM_LensIngestionKey": LostTable(Group.LOGS, "keys of programs that send traces", _LENS),
}  # fmt: skip
"""The tables with settings that the import does not convert."""


def _tables(text: str) -> frozenset[str]:
    return frozenset(f"{PREFIX}{name}" for name in text.split())


SETTINGS: Final = f"{PREFIX}Config"
"""The table with settings that were changed at run time."""
SECTIONS: Final = ("general_settings", "router_settings", "litellm_settings")
"""The sections of that table that LiteLLM adds to those of its file."""
_VARIABLES: Final = "environment_variables"
_PAGES: Final = (Group.TRIFLES, "the live view is at /ui")
_PRICES: Final = (Group.TRIFLES, "trigate has its own list (docs/costs.md)")
_OTHER_SECTIONS: Final[Mapping[str, tuple[Group, str]]] = {
    _VARIABLES: (Group.NAMES, "their values are encrypted: set these variables where trigate starts"),
    "sso_config": (Group.PROTECTION, _PEOPLE),
    "cloudzero_settings": (Group.LOGS, "send the log there yourself"),
    **dict.fromkeys(("ui_settings", "ui_theme_config"), _PAGES),
    **dict.fromkeys(("anthropic_beta_headers_reload_config", "model_cost_map_reload_config"), _PRICES),
}

NO_SETTINGS: Final[Mapping[str, frozenset[str]]] = {
    "logs and statistics": _tables(
        "SpendLogs ErrorLogs AuditLog HealthCheckTable TelemetryReport SpendLogGuardrailIndex SpendLogToolIndex "
        "DailyUserSpend DailyGlobalSpend DailyOrganizationSpend DailyEndUserSpend DailyAgentSpend DailyTeamSpend "
        "DailyTagSpend DailyGuardrailMetrics DailyGuardrailUsageUnits DailyPolicyMetrics DailyToolSpend "
        "DailyModelUsage DailyGatewayRequests DailyGatewayFailedRequests DailyRequestErrors"
    ),
    "what its routers have learned": _tables(
        "AdaptiveRouterState AdaptiveRouterSession AutoRouterBaselineComparison AutoRouterBaselineObservation "
        "AutoRouterSession AutoRouterUserSession AutoRouterDailySpend ShadowEvalJob ShadowEvalAttempt ShadowEvalFunnel"
    ),
    "ratings that exist": _tables("LensRun LensReview LensWorker LensDataset LensTraceSignal"),
    "deleted rows": _tables("DeletedTeamTable DeletedVerificationToken RetiredAgent RetiredAgentIdentity"),
    "jobs and workers": _tables(
        "CronJob ProxyWorkerHeartbeat WorkflowRun WorkflowEvent WorkflowMessage BackgroundInteractionSettlement"
    ),
    "its web pages": _tables("UISettings InvitationLink UserNotifications SSOIdentityAssertion"),
    "the spend of `budget_limits`, whose budgets start anew": _tables("BudgetWindowSpend"),
    "aliases of teams, which the import reads with the teams": _tables("ModelTable"),
}
"""The tables without settings, by their content."""

WITHOUT_SETTINGS: Final = frozenset().union(*NO_SETTINGS.values())

READ_WHOLE: Final = frozenset((SETTINGS, *(name for name, table in LOST.items() if table.name or table.matters)))
"""The tables whose rows are read for messages; of the others only the existence of rows matters."""

_USUAL: Final = ("untrusted",)
"""The policy of a tool that LiteLLM adds when it is first called."""


def lost_tables(tables: Mapping[str, Sequence[Mapping[str, Any]]], read: Sequence[str]) -> Iterator[Loss]:
    """Yield the losses of the tables with rows that are not in ``read``, and are not without settings."""
    for name, rows in sorted(tables.items()):
        if name == SETTINGS:
            yield from _lost_settings(rows)
        elif (table := LOST.get(name)) is not None:
            lost = [row for row in rows if not table.matters or any(_is_changed(row.get(one)) for one in table.matters)]
            if lost:
                yield Loss(table.group, f"{table.noun} in the database{_names_text(table, lost)}", table.why)
        elif rows and name not in read and name not in WITHOUT_SETTINGS:
            why = "trigate import does not know this table: check in LiteLLM's documentation whether you need it"
            yield Loss(Group.UNKNOWN, f"the table {name}", why)


def _is_changed(value: Any) -> bool:
    return is_set(value) and value not in _USUAL


def _names_text(table: LostTable, rows: Sequence[Mapping[str, Any]]) -> str:
    names = [read_text(row.get(table.name)) for row in rows] if table.name else []
    return f": {name_list([*dict.fromkeys(filter(None, names))], 'rows')}" if any(names) else ""


def _lost_settings(rows: Sequence[Mapping[str, Any]]) -> Iterator[Loss]:
    """Yield the losses of the table of settings, without the sections that ``stored_settings`` returns."""
    for row in rows:
        section, value = read_text(row.get("param_name")), row.get("param_value")
        if section in SECTIONS or not is_set(value):
            continue
        names = f" ({', '.join(sorted(read_mapping(value)))})" if section == _VARIABLES else ""
        group, why = _OTHER_SECTIONS.get(section, NO_COUNTERPART)
        yield Loss(group, f"{section}{names} in the database", why)


def stored_settings(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the settings in the table of settings by their section in LiteLLM's file."""
    sections = {read_text(row.get("param_name")): read_mapping(row.get("param_value")) for row in rows}
    return {section: settings for section, settings in sections.items() if section in SECTIONS}
