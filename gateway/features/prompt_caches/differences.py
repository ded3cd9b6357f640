"""The first difference of two prompts, in the order in which a provider caches them."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Final, Literal, TypeAlias

import attrs

from gateway.features.prompt_caches.chunks import TextChunks, changed_span, length_of
from gateway.features.prompt_caches.positions import known_from, shared_blocks
from gateway.features.prompt_caches.prompts import HEAD, KeyMember, PromptDigest, Section
from gateway.features.prompt_caches.rows import LOOSE, PLACES, ROW, PromptBlock, block_at, end_at, strict_at
from gateway.features.prompt_caches.tables.layouts import tool_part_path

DifferentPart: TypeAlias = Literal["tools", "system", "settings", "history"]
"""The cause of a miss, for a difference in one part of a prompt."""

_SECTIONS: Final[tuple[Section, ...]] = ("tools", "system", "history")

MOST_NAMED: Final = 1000
"""Tools up to which their names are compared, in the event loop. Agents have up to some hundred."""


@attrs.frozen(repr=False)
class Difference:
    """The first difference of a prompt from an earlier one.

    - ``part``: the cause. ``at``: its place and kind in the words of the newer request, such as
      ``tools[3].description (changed)``, ``tools: 2 added at [14]`` or ``system[0]:0-64 (time)``.
    - ``position``: the last position up to which both are equal.
    - ``least``, ``most``: the bytes of the earlier prompt that are equal at least and at most.
    - ``path``: the path of a value that both requests have; "" otherwise."""

    part: DifferentPart
    at: str
    position: int
    least: int
    most: int
    path: str = ""

    @property
    def rank(self) -> int:
        """The number of its section in the order of caching; a changed setting is before its section."""
        return 0 if self.part == "settings" else _SECTIONS.index(self.part) + 1


def first_difference(old: PromptDigest, new: PromptDigest, until: int | None = None) -> Difference | None:
    """Return the first difference of ``new`` from the blocks of ``old`` before the position ``until``.

    ``None`` if ``new`` begins with all of them. Settings count where their section begins."""
    until = old.end if until is None else min(until, old.end)
    content = _changed_content(old, new, until)
    if not (changed := changed_members(old.settings, new.settings)):
        return content
    section, name = changed[0]
    start = min((0, old.tool_count, old.history_start)[section], until)
    if content is not None and content.position < start:
        return content
    return Difference("settings", name.removeprefix("header:"), start, old.size_at(start), old.size_at(start))


def changed_members(old: Sequence[KeyMember], new: Sequence[KeyMember]) -> list[tuple[int, str]]:
    """Return the members that differ, each with the number of the first section that it affects, in that order."""
    before = {member.name: member.digest for member in old}
    after = {member.name: member.digest for member in new}
    return sorted(
        (_SECTIONS.index(member.section), member.name)
        for member in (*old, *new)
        if before.get(member.name) != after.get(member.name)
    )


def _changed_content(old: PromptDigest, new: PromptDigest, until: int) -> Difference | None:
    if old.ends[0] != new.ends[0]:
        found = _changed_tools(old, new)
    elif old.ends[1] != new.ends[1]:
        at = _equal_rows(old.system, new.system)
        found = _classify("system", old, new, (old.system, new.system), at, old.tool_count + at)
    else:
        return _changed_history(old, new, until - old.history_start)
    return found if found.position < until else None


def _equal_rows(old: bytes, new: bytes) -> int:
    """Return the number of rows up to which two sections have the same ends; the first difference is after it."""
    low, high = 0, min(len(old), len(new)) // ROW
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if end_at(old, middle) == end_at(new, middle) else (low, middle - 1)
    return low


# Tools


def _changed_tools(old: PromptDigest, new: PromptDigest) -> Difference:
    at = _equal_rows(old.tools, new.tools)
    before, after = (block_at(rows, at) if at * ROW < len(rows) else None for rows in (old.tools, new.tools))
    size = old.size_at(at)
    if max(old.tool_count, new.tool_count) > MOST_NAMED:
        path = (after or before or block_at(new.tools, 0)).path
        return Difference("tools", f"{path} (changed)", at, size, size)
    names, new_names = _tool_names(old), _tool_names(new)
    if before is not None and after is not None and names[at] == new_names[at]:
        kind, path = (
            "respelled" if _is_respelled(before, after) else "changed",
            after.path + _changed_part(old, new, at),
        )
        return Difference("tools", f"{path} ({kind})", at, size, old.size_at(at + 1), path)
    known, new_known = frozenset(names), frozenset(new_names)
    is_new = after is not None and new_names[at] not in known
    is_gone = before is not None and names[at] not in new_known
    if before is None or (is_new and not is_gone):
        count = len([*takewhile(lambda name: name not in known, new_names[at:])])
        return Difference("tools", f"tools: {count} added at [{at}]", at, size, size)
    if after is None or (is_gone and not is_new):
        count = len([*takewhile(lambda name: name not in new_known, names[at:])])
        return Difference("tools", f"tools: {count} removed at [{at}]", at, size, size)
    return Difference("tools", f"{after.path} ({'changed' if is_new or is_gone else 'reordered'})", at, size, size)


def _tool_names(prompt: PromptDigest) -> list[bytes]:
    return [prompt.tool_parts[at : at + LOOSE] for at in range(0, len(prompt.tool_parts), 3 * LOOSE)]


def _changed_part(old: PromptDigest, new: PromptDigest, at: int) -> str:
    """Return the path from a tool to its changed part, "" if it is another one."""
    for number in range(3):
        start = (3 * at + number) * LOOSE
        if old.tool_parts[start : start + LOOSE] != new.tool_parts[start : start + LOOSE]:
            return tool_part_path(old.api, number)
    return ""


def _is_respelled(before: PromptBlock, after: PromptBlock) -> bool:
    """Return whether two blocks are equal but for their spelling; blocks without a loose digest are not."""
    return any(after.loose) and before.loose == after.loose


# System texts and messages


def _changed_history(old: PromptDigest, new: PromptDigest, count: int) -> Difference | None:
    """Return the first difference in the first ``count`` blocks of the history."""
    equal = min(shared_blocks(old, new), count)
    if equal == count:
        return None
    position = old.history_start + equal
    before, after = old.row_of(equal), new.row_of(equal)
    if before is None or after is None:
        end = min(position - equal + known_from(old, equal + 1), old.end)
        return Difference("history", _range_path(old, position, end), position, old.size_at(position), old.size_at(end))
    return _classify("history", old, new, (_known_run(old, before), _known_run(new, after)), 0, position)


def _known_run(prompt: PromptDigest, row: int) -> bytes:
    """Return the rows of the history from ``row`` on, until the gap or the end."""
    return prompt.history[row * ROW : HEAD * ROW if prompt.gap and row < HEAD else None]


def _range_path(old: PromptDigest, start: int, end: int) -> str:
    """Return the path of the items in a gap, such as ``messages[16..310]``, with its kind."""
    last, after = old.block_before(start), old.block_before(end)
    assert after is not None, "it ends behind the gap"
    first = 0 if last is None else last.number + 1
    return f"{PLACES[after.place][0]}[{first}..{max(after.number, first)}] (changed)"


def _classify(
    part: DifferentPart, prompt: PromptDigest, other: PromptDigest, rows: tuple[bytes, bytes], at: int, position: int
) -> Difference:
    """Return the difference of two runs of rows, whose first different ones are at ``at``."""
    size = prompt.size_at(position)
    old, new = (block_at(each, at) if at * ROW < len(each) else None for each in rows)
    if new is None or old is None:
        only, kind = (old, "removed") if new is None else (new, "added")
        assert only is not None, "one of them has a block"
        return Difference(part, f"{_item_path(only)} ({kind})", position, size, size)
    before, after = rows[0][at * ROW :], rows[1][at * ROW :]
    is_dropped, is_inserted = _continues_later(before, after), _continues_later(after, before)
    if is_dropped and is_inserted:
        return Difference(part, f"{new.path} (reordered)", position, size, size)
    if is_dropped or _is_earlier(old, new):
        return Difference(part, f"{_item_path(old)} (removed)", position, size, size)
    if is_inserted or _is_earlier(new, old):
        return Difference(part, f"{_item_path(new)} (added)", position, size, size)
    end = prompt.size_at(position + 1)
    if _is_respelled(old, new):
        return Difference(part, f"{new.path} (respelled)", position, size, end, new.path)
    texts: tuple[TextChunks | None, ...] = (None, None)
    if part == "system":
        texts = prompt.chunks.get(at), other.chunks.get(at)
    if texts[0] is None or texts[1] is None or (span := changed_span(texts[0], texts[1])) is None:
        return Difference(part, f"{new.path} (changed)", position, size, end, new.path)
    first, last, value = span
    scale = (end - size) / max(length_of(texts[0]), 1)
    return Difference(
        part, f"{new.path}:{first}-{last} ({value or 'changed'})", position, min(size + int(first * scale), end),
        min(size + int(last * scale), end), new.path,
    )  # fmt: skip


def _continues_later(rows: bytes, others: bytes) -> bool:
    """Return whether ``others`` continue after the first block of ``rows``.

    The block after it must be equal too, if both have one, because short blocks repeat."""
    first, second, count = strict_at(others, 0), strict_at(others, 1), len(rows) // ROW
    for number in range(1, count):
        if strict_at(rows, number) == first:
            following = strict_at(rows, number + 1)
            if not following or not second or following == second:
                return True
    return False


def _is_earlier(block: PromptBlock, other: PromptBlock) -> bool:
    """Return whether ``block`` is at an earlier position, where the other request has no block."""
    is_same = PLACES[block.place][0] == PLACES[other.place][0]
    return is_same and (block.number, block.part) < (other.number, other.part)


def _item_path(block: PromptBlock) -> str:
    """Return the path of the whole item, if the block is its first one."""
    return block.item_path if block.part == 0 and block.number >= 0 else block.path
