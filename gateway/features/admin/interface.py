"""The names of the HTTP API that other features and commands use."""

from collections.abc import Mapping
from typing import cast

from gateway.features.admin.opening import Admin
from gateway.features.admin.storage import open_key_store, open_people_store
from gateway.seams.running import Running

__all__ = ["Admin", "admin_of", "open_key_store", "open_people_store"]


def admin_of(opened: Mapping[str, Running]) -> Admin | None:
    """Return the API among the features ``opened``, ``None`` without it."""
    return cast("Admin | None", opened.get("admin"))
