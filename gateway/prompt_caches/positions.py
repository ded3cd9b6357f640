"""Positions of a prompt: where later requests recognize it, and where a provider leaves and finds cache entries."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Final

import attrs

from gateway.prompt_caches.digests import short_digest
from gateway.prompt_caches.prompts import DIGEST, HEAD, TAIL, Anchor, PromptBlock, PromptDigest
from providers.catalog.prompt_caching import CachingRow

MOST_ANCHORS: Final = 16
"""The anchors of a request from its end."""

SHORTEST_ANCHOR: Final = 32
"""Bytes of a block that identifies a conversation."""

MOST_LOOKUPS: Final = 64
"""Positions that are looked up for a provider that searches everywhere."""

_UNMARKABLE: Final = frozenset({"reasoning"})
_RUNS: Final = frozenset({"tool_use", "tool_result"})
_ASKING: Final = frozenset({"user", "tool", "system"})


def anchors(prompt: PromptDigest, key: bytes, most: int = MOST_ANCHORS) -> tuple[Anchor, ...]:
    """Return the anchors of ``prompt``, the last first: at most ``most`` from the end, then the first user message.

    The memory registers an exchange by its first and last one. Blocks below 32 bytes are none. The tool results of one
    message, or in a row, count as one block."""
    found = list(_anchors_from_end(prompt, key, most))
    first = next((anchor for anchor in _anchors_from_start(prompt, key)), None)
    if first is not None and all(anchor.position != first.position for anchor in found):
        found.append(first)
    return tuple(found)


def boundary_positions(prompt: PromptDigest, row: CachingRow | None) -> tuple[int, ...]:
    """Return the positions where a successful request leaves entries that the memory registers.

    For rules that need marks, these are the marked blocks. For others, they are the ends of tools, of system and of the
    prompt, and marked blocks."""
    found = set() if row is None else {position for position, _ in marks(prompt, row)}
    if row is None or not (row.needs_marks or prompt.is_explicit):
        # With ends as boundaries, the only one is that of the last message or result, without any the developer's text.
        by_ends = row is not None and row.boundaries == "ends"
        found |= set(_ends(prompt, 1)) or {prompt.history_start} if by_ends else set(_natural_ends(prompt))
    return tuple(sorted(found - {0}))


def lookup_positions(prompt: PromptDigest, row: CachingRow | None) -> tuple[int, ...]:
    """Return the positions where the provider searches for an entry, the deepest first.

    From each mark it goes back ``row.lookup`` positions, where a run of tool calls or of tool results is one. With ends
    as boundaries, it searches at so many of them. Without marks or a stated lookup, these are the last ``MOST_LOOKUPS``
    positions and the ends of system and of tools."""
    if row is not None and row.boundaries == "ends" and row.lookup is not None:
        found = {
            prompt.history_start,
            *_ends(prompt, row.lookup + 1),
            *(position for position, _ in marks(prompt, row)),
        }
    elif row is None or not row.needs_marks or row.lookup is None:
        starts = (
            [prompt.end] if row is None or not row.needs_marks else [position for position, _ in marks(prompt, row)]
        )
        found = {position for start in starts for position in range(max(start - MOST_LOOKUPS, 1), start + 1)}
        if starts:
            found |= set(_natural_ends(prompt)) - {prompt.end}
    else:
        found = {near for position, _ in marks(prompt, row) for near in _positions_before(prompt, position, row.lookup)}
    return tuple(sorted(found - {0}, reverse=True))


def marks(prompt: PromptDigest, row: CachingRow) -> tuple[tuple[int, str], ...]:
    """Return the positions of the marks that the provider knows, with their lifetimes as stated."""
    if not row.takes_marks:
        return ()
    found = dict(prompt.marks)
    if prompt.end_mark is not None and (last := _last_markable(prompt)):
        found.setdefault(last, prompt.end_mark)
    return tuple(sorted(found.items()))


def continue_prompt(parent: PromptDigest, new: PromptDigest, key: bytes) -> PromptDigest:
    """Return ``new``, which has only a turn's new messages, after the messages that its provider keeps from ``parent``.

    For ``previous_response_id``, threads and the turns of a websocket. Tools and system texts that ``new`` does not
    repeat are those of ``parent``, without its ``instructions``, which belong to one response."""
    kept = tuple(block for block in parent.system if block.index >= 0)
    tools, system = new.tools or parent.tools, (*new.system, *kept)
    if new.gap:
        return _continue_long(attrs.evolve(new, tools=tools, system=system, tool_digests=None), parent, key)
    return shorten(
        attrs.evolve(
            new, tools=tools, system=system, history=(*parent.history, *new.history),
            head=parent.head if parent.gap else HEAD, gap=parent.gap, gap_digest=parent.gap_digest,
            gap_size=parent.gap_size, has_answer=True, digests=None, tool_digests=None,
        )
    )  # fmt: skip


def _continue_long(new: PromptDigest, parent: PromptDigest, key: bytes) -> PromptDigest:
    """Return ``new`` after the start of ``parent``; everything between is in the gap."""
    head, tail = parent.history[: parent.head], new.history[new.head :]
    before = parent.history_digest(parent.end - parent.history_start) or b""
    return attrs.evolve(
        new, history=(*head, *tail), head=len(head), has_answer=True, digests=None,
        gap=parent.end - parent.history_start - len(head) + new.head + new.gap,
        gap_digest=blake2b(before + new.gap_digest, digest_size=DIGEST, key=key).digest(),
        gap_size=parent.size_at(parent.end) - parent.size_at(parent.history_start + len(head))
        + new.gap_size + sum(block.size for block in new.history[: new.head]),
    )  # fmt: skip


def shorten(prompt: PromptDigest, most: int = TAIL) -> PromptDigest:
    """Return ``prompt`` with at most the last ``most`` blocks after its head."""
    head, tail = prompt.history[: prompt.head], prompt.history[prompt.head :]
    if len(tail) <= most:
        return prompt
    cut = len(tail) - most
    digest = prompt.history_digest(prompt.head + prompt.gap + cut)
    assert digest is not None, "the gap grows at its end, where the digests are known"
    size = prompt.gap_size + sum(block.size for block in tail[:cut])
    return attrs.evolve(prompt, history=(*head, *tail[cut:]), gap=prompt.gap + cut, gap_digest=digest, gap_size=size)


def lifetime_of(prompt: PromptDigest, row: CachingRow, mark: str | None) -> float | None:
    """Return the lifetime of a boundary in seconds, by its mark or the word of the whole request."""
    for word in (mark, prompt.lifetime):
        if word and word in row.lifetimes:
            return row.lifetimes[word]
    return row.lifetime


def _ends(prompt: PromptDigest, most: int) -> Iterator[int]:
    """Yield the ends of the last ``most`` messages of the user and tool results, the deepest first."""
    for position in range(prompt.end, prompt.history_start, -1):
        block = prompt.block_before(position)
        if most and block is not None and (block.role in _ASKING or block.kind == "tool_result"):
            most -= 1
            yield position
        if not most or (block is None and prompt.gap):
            return


def _natural_ends(prompt: PromptDigest) -> tuple[int, ...]:
    ends = {len(prompt.tools), prompt.history_start, prompt.end}
    return tuple(sorted(ends - {0}))


def _last_markable(prompt: PromptDigest) -> int:
    """Return the position after the last block that can have a mark, 0 without one."""
    for position in range(prompt.end, 0, -1):
        block = prompt.block_before(position)
        if block is not None and block.kind not in _UNMARKABLE:
            return position
    return 0


def _positions_before(prompt: PromptDigest, position: int, most: int) -> Iterator[int]:
    """Yield ``position`` and at most ``most`` earlier ones, where a run of tool calls or of tool results is one."""
    steps, last = 0, ""
    for at in range(position, 0, -1):
        block = prompt.block_before(at)
        kind = "other" if block is None else block.kind
        if last and not (kind == last and kind in _RUNS):
            steps += 1
            if steps > most:
                return
        yield at
        last = kind


def _anchors_from_end(prompt: PromptDigest, key: bytes, most: int) -> Iterator[Anchor]:
    blocks = prompt.history
    at, count = len(blocks) - 1, 0
    while at >= 0 and count < most:
        start = _start_of_results(blocks, at)
        if start >= prompt.head or not prompt.gap or at < prompt.head:
            anchor = _anchor(prompt, key, start, at)
            if anchor is not None:
                count += 1
                yield anchor
        at = start - 1


def _anchors_from_start(prompt: PromptDigest, key: bytes) -> Iterator[Anchor]:
    blocks = prompt.history[: prompt.head]
    for at in range(len(blocks)):
        if (anchor := _anchor(prompt, key, at, at)) is not None:
            yield anchor


def _start_of_results(blocks: Sequence[PromptBlock], at: int) -> int:
    """Return the first of the tool results in a row that end at ``at``; ``at`` itself for another block."""
    while at > 0 and blocks[at].kind == "tool_result" and blocks[at - 1].kind == "tool_result":
        at -= 1
    return at


def _anchor(prompt: PromptDigest, key: bytes, start: int, at: int) -> Anchor | None:
    """Return the anchor of the blocks from ``start`` to ``at`` of the kept history; ``None`` if they cannot be one."""
    blocks = prompt.history
    if blocks[at].role not in _ASKING and blocks[at].kind != "tool_result":
        return None
    if sum(block.size for block in blocks[start : at + 1]) < SHORTEST_ANCHOR:
        return None
    answer = next(
        (blocks[number].strict for number in range(start - 1, -1, -1) if blocks[number].role == "assistant"), b""
    )
    digest = short_digest(b"".join(block.strict for block in blocks[start : at + 1]) + answer, key)
    gap = prompt.gap if at >= prompt.head else 0
    return Anchor(digest, prompt.history_start + at + 1 + gap)
