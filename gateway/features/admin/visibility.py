"""The objects that a caller sees: all, or those of its group."""

from gateway.config.people import Caller


def sees_all(caller: Caller) -> bool:
    """Return whether the caller sees the objects of all groups."""
    return caller.role in ("auditor", "admin")


def sees_group(caller: Caller, group: str | None) -> bool:
    """Return whether the caller sees the objects of ``group``: a lead those of its own."""
    return sees_all(caller) or (caller.role == "lead" and group is not None and group == caller.group)
