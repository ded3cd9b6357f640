"""A body with other items in one of its lists, for a server that rejects the client's."""

from collections.abc import Callable, Mapping
from typing import Any


def change_items(body: Mapping[str, Any], member: str, change: Callable[[Any], Any]) -> dict[str, list[Any]]:
    """Return the list ``member`` of ``body`` after ``change`` of each item; ``{}`` if there is no list, or nothing
    changes."""
    items = body.get(member)
    if not isinstance(items, list):
        return {}
    changed = [change(item) for item in items]
    return {member: changed} if changed != items else {}
