"""Positions of a prompt: where later requests recognize it, and where a provider leaves and finds cache entries."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Final

from gateway.features.prompt_caches.conversations import UNKNOWN_RULES
from gateway.features.prompt_caches.prompts import HEAD, UNKNOWN, Anchor, PromptDigest
from gateway.features.prompt_caches.rows import ROW, marks_of, short_digest, strict_at, total_at
from gateway.features.prompt_caches.tables.kinds import REASONING, TEXT, TOOL_RESULT, TOOL_USE, WRAPPER, WRAPPERS
from gateway.features.prompt_caches.tables.layouts import ASSISTANT, SYSTEM, TOOL, USER
from providers.catalog.prompt_caching import CachingRow

MOST_ANCHORS: Final = 16
"""The anchors of a request from its end."""

SHORTEST_ANCHOR: Final = 32
"""Bytes of a block that identifies a conversation."""

MOST_LOOKUPS: Final = 64
"""Positions that are looked up for a provider that searches everywhere."""

ANCHOR: Final = 8
"""Bytes of an anchor's digest."""

_RUNS: Final = (TOOL_USE, TOOL_RESULT)
_ASKING: Final = frozenset((USER, TOOL, SYSTEM))
_ANSWER: Final = bytes((ASSISTANT,))


def each_anchor(prompt: PromptDigest, key: bytes) -> Iterator[Anchor]:
    """Yield the anchors of ``prompt``, the last first.

    These are at most ``MOST_ANCHORS`` from the end, then all messages before the first answer. The memory registers an
    exchange by its last one and by these messages. Texts below 32 bytes are none. The tool results of one message, or
    in a row, count as one block."""
    known = set()
    for anchor in _anchors_from_end(prompt, key, prompt.end):
        known.add(anchor.digest)
        yield anchor
    first = first_anchor(prompt, key)
    if first is not None and first.digest not in known:
        yield first


def last_anchor(prompt: PromptDigest, key: bytes, until: int) -> Anchor | None:
    """Return the last anchor of ``prompt`` up to the position ``until``."""
    return next(_anchors_from_end(prompt, key, until), None) or first_anchor(prompt, key)


def first_anchor(prompt: PromptDigest, key: bytes) -> Anchor | None:
    """Return the anchor (a digest for look-ups) of all messages before the first answer, ``None`` without any.

    Its first blocks alone, such as instructions, may begin many conversations. Text after the last mark may change in
    each turn, so it does not count."""
    count = opening_length(prompt)
    if not count:
        return None
    digests = b"".join([strict_at(prompt.history, number) for number in range(count)])
    return Anchor(short_digest(digests, key, ANCHOR), prompt.history_start + count)


def opening_length(prompt: PromptDigest) -> int:
    """Return the number of blocks of the history before the first answer, up to the last mark among them if any."""
    roles = prompt.history_roles[:HEAD]
    answer = roles.find(ASSISTANT)
    count = len(roles) if answer < 0 else answer
    return len(marks_of(prompt.history[: count * ROW]).rstrip(b"\0")) or count


def boundary_positions(prompt: PromptDigest, row: CachingRow) -> tuple[int, ...]:
    """Return the positions where a successful request leaves entries that the memory registers.

    For rules that need marks, these are the marked blocks. For others, they are the ends of tools, of system and of the
    prompt, and marked blocks."""
    found = {position for position, _ in marks(prompt, row)}
    if not row.needs_marks and (not prompt.is_explicit or row is UNKNOWN_RULES):
        # With ends as boundaries, the only one is that of the last message or result, without any the developer's text.
        if row.boundaries == "ends":
            found |= set(_message_ends(prompt, 1)) or {prompt.history_start}
        else:
            found |= {prompt.tool_count, prompt.history_start, prompt.end}
    return tuple(sorted(found - {0}))


def lookup_positions(prompt: PromptDigest, row: CachingRow) -> tuple[int, ...]:
    """Return the positions where the provider searches for an entry, the deepest first."""
    return tuple(sorted(set(chain.from_iterable(lookup_ranges(prompt, row))) - {0}, reverse=True))


def lookup_ranges(prompt: PromptDigest, row: CachingRow) -> list[Sequence[int]]:
    """Return ranges of the positions where the provider searches for an entry.

    From each mark it goes back ``row.lookup`` positions, where a run of tool calls or of tool results is one. With ends
    as boundaries, it searches at so many of them. Without marks or a stated lookup, these are the last ``MOST_LOOKUPS``
    positions and the ends of system and of tools."""
    if row.boundaries == "ends" and row.lookup is not None:
        ends = prompt.history_start, *_message_ends(prompt, row.lookup + 1)
        return [ends, [position for position, _ in marks(prompt, row)]]
    starts = [prompt.end]
    if row.needs_marks:
        starts = [position for position, _ in marks(prompt, row)]
        if row.lookup is not None:
            return [_positions_before(prompt, start, row.lookup) for start in starts]
    ranges: list[Sequence[int]] = [range(max(start - MOST_LOOKUPS, 1), start + 1) for start in starts]
    return [*ranges, (prompt.tool_count, prompt.history_start)] if starts else []


def marks(prompt: PromptDigest, row: CachingRow) -> tuple[tuple[int, str], ...]:
    """Return the positions of the marks that the provider knows, with their lifetimes as stated."""
    if not row.takes_marks:
        return ()
    found = dict(prompt.marks)
    if prompt.end_mark is not None and (last := _last_markable(prompt)):
        found.setdefault(last, prompt.end_mark)
    return tuple(sorted(found.items()))


def shared_blocks(one: PromptDigest, other: PromptDigest) -> int:
    """Return the number of equal remembered blocks at the beginning of both histories."""
    low, high = 0, min(one.history_count, other.history_count)
    if (end := one.history_end(high)) is not None and end == other.history_end(high):
        return high
    while low < high:  # digests of beginnings are equal up to the first difference
        middle = (low + high + 1) // 2
        at = known_from(one, known_from(other, known_from(one, middle)))
        if at <= high and one.history_end(at) == other.history_end(at):
            low = at
        else:
            high = middle - 1
    return low


def known_from(prompt: PromptDigest, number: int) -> int:
    """Return the first number of blocks, from ``number`` on, whose digest is known."""
    return number if prompt.row_of(number - 1) is not None else HEAD + prompt.gap + 1


def continues(before: PromptDigest, new: PromptDigest, after: int = 0) -> bool:
    """Return whether ``new`` repeats the messages of ``before``, without its last ``after`` blocks.

    The text at its end may differ if an answer follows: programs add text to the newest message only, such as the
    time."""
    shared, count = shared_blocks(before, new), before.history_count
    if shared == count or shared >= max(count - after, opening_length(before)):
        return True
    rest, at = before.roles[before.history_start + shared :], new.history_start + shared
    is_answered = new.roles[at : at + 1] == _ANSWER and before.roles[before.history_start + shared - 1] != ASSISTANT
    return shared > 0 and is_answered and ASSISTANT not in rest


def lifetime_of(prompt: PromptDigest, row: CachingRow, mark: str | None) -> float | None:
    """Return the lifetime of a boundary in seconds, by its mark or the word of the whole request."""
    for word in (mark, prompt.lifetime):
        if word and word in row.lifetimes:
            return row.lifetimes[word]
    return row.lifetime


def _message_ends(prompt: PromptDigest, most: int) -> Iterator[int]:
    """Yield the ends of the last ``most`` messages of the user and tool results, the deepest first."""
    kinds, roles = prompt.kinds, prompt.roles
    for position in range(prompt.end, prompt.history_start, -1):
        kind = kinds[position - 1]
        if not most or kind == UNKNOWN:
            return
        if roles[position - 1] in _ASKING or kind == TOOL_RESULT:
            most -= 1
            yield position


def _last_markable(prompt: PromptDigest) -> int:
    """Return the position after the last block that can have a mark, 0 without one."""
    kinds = prompt.kinds
    return next((at for at in range(prompt.end, 0, -1) if kinds[at - 1] not in (REASONING, UNKNOWN)), 0)


def _positions_before(prompt: PromptDigest, position: int, most: int) -> range:
    """Return ``position`` and at most ``most`` earlier ones, where a run of tool calls or of tool results is one."""
    backwards = prompt.kinds[:position][::-1]
    found = _last_steps(most + 1).match(backwards)
    assert found is not None, "no step matches as well"
    return range(position - found.end() + 1, position + 1)


@cache
def _last_steps(number: int) -> re.Pattern[bytes]:
    """Return the pattern of the kinds of at most ``number`` positions. A run counts as one."""
    runs = b"|".join(re.escape(bytes((kind,))) + b"+" for kind in _RUNS)
    return re.compile(b"(?:%b|.){,%d}" % (runs, number), re.DOTALL)


def _anchors_from_end(prompt: PromptDigest, key: bytes, until: int) -> Iterator[Anchor]:
    kinds, roles = prompt.history_kinds, prompt.history_roles
    first, length, count = HEAD + 1 if prompt.gap else 0, until - prompt.history_start, 0
    at = (length if length <= HEAD else length - prompt.gap) - 1
    while at >= 0 and count < MOST_ANCHORS:
        start = at
        if kinds[at] == TOOL_RESULT:
            while start > 0 and kinds[start - 1] == TOOL_RESULT:
                start -= 1
        if (start < at or kinds[at] == TOOL_RESULT or roles[at] in _ASKING) and not start < first <= at:
            anchor = _anchor(prompt, key, start, at)
            if anchor is not None:
                count += 1
                yield anchor
        at = start - 1


def _anchor(prompt: PromptDigest, key: bytes, start: int, at: int) -> Anchor | None:
    """Return the anchor of the rows from ``start`` to ``at`` of the history; ``None`` if they are too short."""
    rows = prompt.history
    size = total_at(rows, at + 1) - total_at(rows, start)
    if start == at and prompt.history_kinds[at] == TEXT:
        size -= WRAPPERS.get(prompt.api, WRAPPER)
    if size < SHORTEST_ANCHOR:
        return None
    digests = b"".join([strict_at(rows, number) for number in range(start, at + 1)])
    answer = prompt.history_roles.rfind(ASSISTANT, 0, start)
    digest = short_digest(digests + (strict_at(rows, answer) if answer >= 0 else b""), key, ANCHOR)
    return Anchor(digest, prompt.history_start + at + 1 + (prompt.gap if at >= HEAD else 0))
