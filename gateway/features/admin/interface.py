"""The names of the HTTP API that other features and commands use."""

from collections.abc import Mapping
from typing import cast

from gateway.features.admin.bodies import read_text
from gateway.features.admin.callers import identify_caller
from gateway.features.admin.calls import (
    AdminAnswer,
    AdminCall,
    ApiCalls,
    audit_entry,
    check_unchanged_since,
    in_thread,
)
from gateway.features.admin.client_rows import row_of
from gateway.features.admin.errors import not_found, not_permitted
from gateway.features.admin.followed_rights import FollowedRights, RightsNews
from gateway.features.admin.key_changes import PREFIX, new_key
from gateway.features.admin.key_storage import unknown_key
from gateway.features.admin.opening import Admin
from gateway.features.admin.pages import is_newest_first, read_period, read_until
from gateway.features.admin.serving import perform
from gateway.features.admin.store import RightsStore
from gateway.features.admin.sweeping import DAY, sweep_regularly, sweep_rights
from gateway.features.admin.table import ADMINS, ALL, FOUND, PAGE, READERS, ROUTES, AdminRoute
from gateway.seams.running import Running


def admin_of(opened: Mapping[str, Running]) -> Admin | None:
    """Return the API among the features ``opened``, ``None`` without it."""
    return cast("Admin | None", opened.get("admin"))
