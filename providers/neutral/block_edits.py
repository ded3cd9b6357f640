"""Edits of the blocks in a client's own messages, for APIs whose messages are lists of blocks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from providers.neutral.fields import generic, join

Changes: TypeAlias = tuple[Mapping[str, Any], tuple[str, ...]]
"""The members of a request that changed, and the paths of what was dropped."""

ChangeBlocks: TypeAlias = Callable[[Sequence[Any], str], tuple[list[Any], Iterable[str]]]
"""Returns what becomes of the blocks at a path, and the paths of those that are lost."""


def changed_messages(body: Mapping[str, Any], member: str, inner: str, change: ChangeBlocks) -> Changes:
    """Change the list ``inner`` of each message in ``member``. A message that is left empty goes too: no API takes one
    without content."""
    messages = body.get(member)
    if not isinstance(messages, list):
        return {}, ()
    written: list[Any] = []
    dropped: dict[str, None] = {}
    is_changed = False
    for i, message in enumerate(messages):
        blocks = message.get(inner) if isinstance(message, dict) else None
        kept, lost = change(blocks, join(join(member, i), inner)) if isinstance(blocks, list) else (blocks, ())
        if kept == blocks:
            written.append(message)
            continue
        is_changed = True
        dropped |= dict.fromkeys(map(generic, lost))
        if kept:
            written.append({**message, inner: kept})
    return ({member: written} if is_changed else {}), tuple(dropped)


def each_block(change: Callable[[dict[str, Any]], list[Any]], named: str = "") -> ChangeBlocks:
    """Return the change that puts ``change(block)`` in the place of each block. A block for which that is nothing is
    lost, and reported with its member ``named`` if that is given."""

    def changed(blocks: Sequence[Any], at: str) -> tuple[list[Any], list[str]]:
        kept: list[Any] = []
        lost: list[str] = []
        for i, block in enumerate(blocks):
            into = change(block) if isinstance(block, dict) else [block]
            if not into:
                lost.append(join(join(at, i), named) if named else join(at, i))
            kept.extend(into)
        return kept, lost

    return changed
