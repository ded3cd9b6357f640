"""The names of the HTTP API that other features and commands use."""

from collections.abc import Mapping
from typing import cast

from gateway.features.admin.bodies import check_members, read_text
from gateway.features.admin.callers import identify_caller
from gateway.features.admin.calls import (
    NO_CONTENT,
    AdminAnswer,
    AdminCall,
    ApiCalls,
    apply_rights,
    audit_entry,
    in_thread,
    is_person_name,
)
from gateway.features.admin.client_rows import row_of
from gateway.features.admin.errors import not_found, not_permitted
from gateway.features.admin.followed_rights import FollowedRights, RightsNews, replace_row
from gateway.features.admin.key_changes import PREFIX, new_key
from gateway.features.admin.key_storage import unknown_key
from gateway.features.admin.opening import Admin
from gateway.features.admin.pages import page_of, page_size, page_value, read_until
from gateway.features.admin.records import CLOCK_SKEW, AuditEntry, Raise
from gateway.features.admin.rights_rows import accept_any
from gateway.features.admin.rows import RecordTable, RightsTables
from gateway.features.admin.serving import perform
from gateway.features.admin.store import RightsStore, changing, reading
from gateway.features.admin.table import ADMINS, ALL, PAGE, READERS, ROUTES, AdminRoute
from gateway.features.admin.versions import check_match, check_unchanged_since, entity_tag
from gateway.features.admin.visibility import sees_all, sees_group
from gateway.seams.running import Running

__all__ = [
    "ADMINS",
    "ALL",
    "CLOCK_SKEW",
    "NO_CONTENT",
    "PAGE",
    "PREFIX",
    "READERS",
    "ROUTES",
    "Admin",
    "AdminAnswer",
    "AdminCall",
    "AdminRoute",
    "ApiCalls",
    "AuditEntry",
    "FollowedRights",
    "Raise",
    "RecordTable",
    "RightsNews",
    "RightsStore",
    "RightsTables",
    "accept_any",
    "admin_of",
    "apply_rights",
    "audit_entry",
    "changing",
    "check_match",
    "check_members",
    "check_unchanged_since",
    "entity_tag",
    "identify_caller",
    "in_thread",
    "is_person_name",
    "new_key",
    "not_found",
    "not_permitted",
    "page_of",
    "page_size",
    "page_value",
    "perform",
    "read_text",
    "read_until",
    "reading",
    "replace_row",
    "row_of",
    "sees_all",
    "sees_group",
    "unknown_key",
]  # fmt: skip


def admin_of(opened: Mapping[str, Running]) -> Admin | None:
    """Return the API among the features ``opened``, ``None`` without it."""
    return cast("Admin | None", opened.get("admin"))
