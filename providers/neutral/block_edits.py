"""Edits of blocks in a client's own messages, for APIs with messages of blocks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from providers.neutral.fields import generic_path, join_path

Changes: TypeAlias = tuple[Mapping[str, Any], tuple[str, ...]]
"""The changed members of a request, and the paths of dropped parts."""

ChangeBlocks: TypeAlias = Callable[[Sequence[Any], str], tuple[list[Any], Iterable[str]]]
"""A function that returns the new blocks at a path, and the paths of lost ones."""


def change_messages(body: Mapping[str, Any], member: str, inner: str, change: ChangeBlocks) -> Changes:
    """Return the changed members after ``change`` of the list ``inner`` in each message of ``member``.

    Messages that become empty are removed, because no API accepts them.
    """
    messages = body.get(member)
    if not isinstance(messages, list):
        return {}, ()
    written: list[Any] = []
    dropped: dict[str, None] = {}
    is_changed = False
    for i, message in enumerate(messages):
        blocks = message.get(inner) if isinstance(message, dict) else None
        kept, lost = (
            change(blocks, join_path(join_path(member, i), inner)) if isinstance(blocks, list) else (blocks, ())
        )
        if kept == blocks:
            written.append(message)
            continue
        is_changed = True
        dropped |= dict.fromkeys(map(generic_path, lost))
        if kept:
            written.append({**message, inner: kept})
    return ({member: written} if is_changed else {}), tuple(dropped)


def each_block(change: Callable[[dict[str, Any]], list[Any]], loss_member: str = "") -> ChangeBlocks:
    """Return a change that replaces each block by ``change(block)``.

    Empty replacements are reported as losses, at the block's member ``loss_member`` if given.
    """

    def change_all(blocks: Sequence[Any], at: str) -> tuple[list[Any], list[str]]:
        kept: list[Any] = []
        lost: list[str] = []
        for i, block in enumerate(blocks):
            into = change(block) if isinstance(block, dict) else [block]
            if not into:
                lost.append(join_path(join_path(at, i), loss_member) if loss_member else join_path(at, i))
            kept.extend(into)
        return kept, lost

    return change_all
