"""Edits of undecoded JSON at a path. Only the objects on the path are decoded; everything else keeps its bytes."""

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

import msgspec

from providers.neutral.draft import Draft
from providers.neutral.fields import parse_json

Path: TypeAlias = tuple[str, ...]
"""Names of members from the outside in, with ``[]`` for every item of an array."""

EVERY: Final = "[]"

Change: TypeAlias = Callable[[msgspec.Raw | None], msgspec.Raw | None]
"""A function from a member's JSON to the new one. ``None`` is an absent member; the same object means no change."""

_NULL: Final = b"null"


def is_absent(raw: msgspec.Raw | None) -> bool:
    """Return whether a member is absent or null, which are equal."""
    return raw is None or bytes(memoryview(raw)[:4]) == _NULL


def encode(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def change_member(draft: Draft, path: Path, change: Change) -> bool:
    """Apply ``change`` to every member at ``path``, and return whether anything changed.

    Missing objects on the path are created if the change adds a member. Raises ``GatewayError`` (400) for invalid JSON
    text.
    """
    before = draft.raw(path[0])
    after = change_at(before, path[1:], change)
    if after is before:
        return False
    draft.put(path[0], after)
    return True


def _may_have(raw: msgspec.Raw, name: str) -> bool:
    """Return whether a member ``name`` may be within ``raw``, whose items take long to decode.

    A client may write a name with escapes."""
    text = bytes(raw)
    return name == EVERY or f'"{name}"'.encode() in text or b"\\u00" in text


def remove_members(draft: Draft, paths: Iterable[Path]) -> bool:
    """Remove all members at ``paths``, and return whether there were any. Raises as ``change_member`` does."""
    changed = [
        change_member(draft, path, lambda raw: None)
        for path in paths
        if (raw := draft.raw(path[0])) is not None and (EVERY not in path or _may_have(raw, path[-1]))
    ]
    return any(changed)


def change_members(draft: Draft, paths: Iterable[Path], change: Change) -> bool:
    """Apply ``change`` at all ``paths``, and return whether anything changed. Raises as ``change_member`` does."""
    changed = [change_member(draft, path, change) for path in paths]
    return any(changed)


def change_at(raw: msgspec.Raw | None, path: Path, change: Change) -> msgspec.Raw | None:
    """Return ``raw`` with ``change`` applied to every member at ``path``.

    Returns ``raw`` itself if nothing changed, and ``None`` if nothing is left of it.
    """
    if not path:
        return change(raw)
    if path[0] == EVERY:
        return _change_items(raw, path[1:], change)
    if is_absent(raw):
        members: dict[str, msgspec.Raw] = {}
    elif _first_byte(raw) == b"{":
        members = parse_json(raw, dict[str, msgspec.Raw]) if raw is not None else {}
    else:
        return raw
    before = members.get(path[0])
    after = change_at(before, path[1:], change)
    if after is before:
        return raw
    if after is None:
        del members[path[0]]
    else:
        members[path[0]] = after
    return encode(members) if members else None


def _change_items(raw: msgspec.Raw | None, path: Path, change: Change) -> msgspec.Raw | None:
    if raw is None or _first_byte(raw) != b"[":
        return raw
    items = parse_json(raw, list[msgspec.Raw])
    changed = [change_at(item, path, change) for item in items]
    if all(new is old for new, old in zip(changed, items, strict=True)):
        return raw
    # An item without any member left stays, because others may count on its position.
    return encode([msgspec.Raw(b"{}") if new is None and path else new for new in changed if path or new is not None])


def has_member(draft: Draft, path: Path) -> bool:
    """Return whether a member at ``path`` exists and is not null."""
    found = False

    def note(raw: msgspec.Raw | None) -> msgspec.Raw | None:
        nonlocal found
        found = found or not is_absent(raw)
        return raw

    change_member(draft, path, note)
    return found


def _first_byte(raw: msgspec.Raw | None) -> bytes:
    return b"" if raw is None else bytes(memoryview(raw)[:1])
