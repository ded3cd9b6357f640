"""Positions of a prompt: where later requests recognize it, and where a provider leaves and finds cache entries."""

import re
from collections.abc import Iterator
from functools import cache
from hashlib import blake2b
from typing import Final

from gateway.features.prompt_caches.digests import short_digest
from gateway.features.prompt_caches.packed_blocks import (
    KIND_NUMBERS,
    ROLE_NUMBERS,
    UNKNOWN,
    PackedBlocks,
    join_blocks,
    pack_block,
)
from gateway.features.prompt_caches.prompt_blocks import DIGEST, HEAD, LOOSE, SETTING, TAIL
from gateway.features.prompt_caches.prompts import Anchor, PromptDigest
from gateway.features.prompt_caches.tables.kinds import WRAPPER, WRAPPERS
from providers.catalog.prompt_caching import CachingRow

MOST_ANCHORS: Final = 16
"""The anchors of a request from its end."""

SHORTEST_ANCHOR: Final = 32
"""Bytes of a block that identifies a conversation."""

MOST_LOOKUPS: Final = 64
"""Positions that are looked up for a provider that searches everywhere."""

_TEXT: Final = KIND_NUMBERS["text"]
_REASONING: Final = KIND_NUMBERS["reasoning"]
_RESULT: Final = KIND_NUMBERS["tool_result"]
_RUNS: Final = frozenset({KIND_NUMBERS["tool_use"], _RESULT})
_ASKING: Final = frozenset(ROLE_NUMBERS[role] for role in ("user", "tool", "system"))
_ASSISTANT: Final = ROLE_NUMBERS["assistant"]
_ANSWER: Final = bytes((_ASSISTANT,))


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
    digests = b"".join([one for one, _ in prompt.history.digests_and_sizes(0, count)])
    return Anchor(short_digest(digests, key, SETTING), prompt.history_start + count)


def opening_length(prompt: PromptDigest) -> int:
    """Return the number of blocks of the history before the first answer, up to the last mark among them if any."""
    count = min(prompt.head, prompt.history.length)
    answer = prompt.history.roles.find(_ASSISTANT, 0, count)
    count = count if answer < 0 else answer
    return max([number + 1 for number in prompt.history.marks if number < count], default=count)


def boundary_positions(prompt: PromptDigest, row: CachingRow | None) -> tuple[int, ...]:
    """Return the positions where a successful request leaves entries that the memory registers.

    For rules that need marks, these are the marked blocks. For others, they are the ends of tools, of system and of the
    prompt, and marked blocks."""
    found = set() if row is None else {position for position, _ in marks(prompt, row)}
    if row is None or not (row.needs_marks or prompt.is_explicit):
        # With ends as boundaries, the only one is that of the last message or result, without any the developer's text.
        by_ends = row is not None and row.boundaries == "ends"
        found |= set(_message_ends(prompt, 1)) or {prompt.history_start} if by_ends else set(_natural_ends(prompt))
    return tuple(sorted(found - {0}))


def lookup_positions(prompt: PromptDigest, row: CachingRow | None) -> tuple[int, ...]:
    """Return the positions where the provider searches for an entry, the deepest first.

    From each mark it goes back ``row.lookup`` positions, where a run of tool calls or of tool results is one. With ends
    as boundaries, it searches at so many of them. Without marks or a stated lookup, these are the last ``MOST_LOOKUPS``
    positions and the ends of system and of tools."""
    if (known := prompt.known_lookups.get(id(row))) is None:
        known = prompt.known_lookups[id(row)] = _lookup_positions(prompt, row)
    return known


def _lookup_positions(prompt: PromptDigest, row: CachingRow | None) -> tuple[int, ...]:
    if row is not None and row.boundaries == "ends" and row.lookup is not None:
        found = {
            prompt.history_start,
            *_message_ends(prompt, row.lookup + 1),
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
        found = set()
        for position, _ in marks(prompt, row):
            found.update(_positions_before(prompt, position, row.lookup))
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
    """Return the whole prompt of ``new``, a request with only the new messages: its provider keeps those of ``parent``.

    For ``previous_response_id``, threads and the turns of a websocket. Tools and system texts that ``new`` does not
    repeat are those of ``parent``, without its ``instructions``, which belong to one response."""
    kept = (number for number, block in enumerate(parent.system) if block.index >= 0)
    tools = new.tools or parent.tools
    system = join_blocks((new.system, *(_single_block(parent.system, number) for number in kept)))
    if new.gap:
        return _continue_long(new.replace(tools=tools, system=system, fronts=None), parent, key)
    return shorten(
        new.replace(
            tools=tools, system=system, history=join_blocks((parent.history, new.history)),
            history_size=parent.history_size + new.history_size, head=parent.head if parent.gap else HEAD,
            gap=parent.gap, gap_digest=parent.gap_digest, has_answer=True, digests=None, fronts=None,
        )
    )  # fmt: skip


def continue_unknown(response: bytes, new: PromptDigest, key: bytes) -> PromptDigest:
    """Return the prompt ``new`` with a placeholder for its history, which is unknown.

    The placeholder is ``response``, the digest of the id of the response that ``new`` continues. It becomes part of
    each prefix, so that no other history has an equal one."""
    row = pack_block("", -1, "", -1, "assistant", "other", response, bytes(LOOSE), 0)
    earlier = PromptDigest(new.api, PackedBlocks(), PackedBlocks(), PackedBlocks(row), 0)
    return continue_prompt(earlier, new, key)


def _single_block(blocks: PackedBlocks, number: int) -> PackedBlocks:
    found = blocks.cut(number, number + 1)
    chunks = blocks.chunks.get(number)
    return found if chunks is None else PackedBlocks(found.rows, found.marks, chunks={0: chunks})


def _continue_long(new: PromptDigest, parent: PromptDigest, key: bytes) -> PromptDigest:
    """Return ``new`` after the start of ``parent``; everything between is in the gap."""
    head = parent.history.cut(0, parent.head)
    tail = new.history.cut(new.head, len(new.history))
    before = parent.history_digest(parent.history_count) or b""
    return new.replace(
        history=join_blocks((head, tail)), history_size=parent.history_size + new.history_size, head=len(head),
        has_answer=True, digests=None, gap=parent.history_count - len(head) + new.head + new.gap,
        gap_digest=blake2b(before + new.gap_digest, digest_size=DIGEST, key=key).digest(),
    )  # fmt: skip


def shared_blocks(one: PromptDigest, other: PromptDigest) -> int:
    """Return the number of equal remembered blocks at the beginning of both histories."""
    low, high = 0, min(one.history_count, other.history_count)
    if (digest := one.history_digest(high)) is not None and digest == other.history_digest(high):
        return high
    while low < high:  # cumulative digests are equal up to the first difference
        middle = (low + high + 1) // 2
        at = _known_from(one, _known_from(other, _known_from(one, middle)))
        if at <= high and one.history_digest(at) == other.history_digest(at):
            low = at
        else:
            high = middle - 1
    return low


def _known_from(prompt: PromptDigest, number: int) -> int:
    """Return the first number of blocks, from ``number`` on, whose cumulative digest is known."""
    is_forgotten = prompt.digests is None and prompt.head < number < prompt.head + prompt.gap
    return prompt.head + prompt.gap if is_forgotten else number


def continues(before: PromptDigest, new: PromptDigest, after: int = 0) -> bool:
    """Return whether ``new`` repeats the messages of ``before``, without its last ``after`` blocks.

    The text at its end may differ if an answer follows: programs add text to the newest message only, such as the
    time."""
    shared, count = shared_blocks(before, new), before.history_count
    if shared == count or shared >= max(count - after, opening_length(before)):
        return True
    rest, at = before.roles[before.history_start + shared :], new.history_start + shared
    is_answered = new.roles[at : at + 1] == _ANSWER and before.roles[before.history_start + shared - 1] != _ASSISTANT
    return shared > 0 and is_answered and _ASSISTANT not in rest


def shorten(prompt: PromptDigest, most: int = TAIL) -> PromptDigest:
    """Return ``prompt`` with at most the last ``most`` blocks after its head."""
    blocks = prompt.history
    cut = len(blocks) - prompt.head - most
    if cut <= 0:
        return prompt
    digest = prompt.history_digest(prompt.head + prompt.gap + cut)
    assert digest is not None, "the gap grows at its end, where the digests are known"
    kept = join_blocks((blocks.cut(0, prompt.head), blocks.cut(prompt.head + cut, len(blocks))))
    return prompt.replace(history=kept, gap=prompt.gap + cut, gap_digest=digest)


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
        if roles[position - 1] in _ASKING or kind == _RESULT:
            most -= 1
            yield position


def _natural_ends(prompt: PromptDigest) -> tuple[int, ...]:
    ends = {len(prompt.tools), prompt.history_start, prompt.end}
    return tuple(sorted(ends - {0}))


def _last_markable(prompt: PromptDigest) -> int:
    """Return the position after the last block that can have a mark, 0 without one."""
    kinds = prompt.kinds
    return next((at for at in range(prompt.end, 0, -1) if kinds[at - 1] not in (_REASONING, UNKNOWN)), 0)


def _positions_before(prompt: PromptDigest, position: int, most: int) -> range:
    """Return ``position`` and at most ``most`` earlier ones, where a run of tool calls or of tool results is one."""
    backwards = prompt.kinds[:position][::-1]
    found = _last_steps(most + 1).match(backwards)
    assert found is not None, "no step matches as well"
    return range(position - found.end() + 1, position + 1)


@cache
def _last_steps(number: int) -> re.Pattern[bytes]:
    """Return the pattern of the kinds of at most ``number`` positions. A run counts as one."""
    runs = b"|".join(re.escape(bytes((kind,))) + b"+" for kind in sorted(_RUNS))
    return re.compile(b"(?:%b|.){,%d}" % (runs, number), re.DOTALL)


def _anchors_from_end(prompt: PromptDigest, key: bytes, until: int) -> Iterator[Anchor]:
    kinds, roles = prompt.history.kinds, prompt.history.roles
    length = until - prompt.history_start
    at, count = length - 1 - (prompt.gap if length > prompt.head else 0), 0
    while at >= 0 and count < MOST_ANCHORS:
        start = at
        if kinds[at] == _RESULT:
            while start > 0 and kinds[start - 1] == _RESULT:
                start -= 1
        elif roles[at] not in _ASKING:
            at -= 1
            continue
        if start >= prompt.head or not prompt.gap or at < prompt.head:
            anchor = _anchor(prompt, key, start, at)
            if anchor is not None:
                count += 1
                yield anchor
        at = start - 1


def _anchor(prompt: PromptDigest, key: bytes, start: int, at: int) -> Anchor | None:
    """Return the anchor of the blocks from ``start`` to ``at`` of the kept history; ``None`` if they are too short."""
    blocks = prompt.history
    if start == at:
        digests, size = blocks.strict(at), blocks.size(at)
        if blocks.kinds[at] == _TEXT:
            size -= WRAPPERS.get(prompt.api, WRAPPER)
    else:
        several = [*blocks.digests_and_sizes(start, at + 1)]
        digests, size = b"".join([one for one, _ in several]), sum([one for _, one in several])
    if size < SHORTEST_ANCHOR:
        return None
    answer = blocks.roles.rfind(_ASSISTANT, 0, start)
    digest = short_digest(digests + (blocks.strict(answer) if answer >= 0 else b""), key, SETTING)
    gap = prompt.gap if at >= prompt.head else 0
    return Anchor(digest, prompt.history_start + at + 1 + gap)
