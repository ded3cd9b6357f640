"""The first difference of two prompts, in the order in which a provider caches them."""

from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from typing import Final, Literal, TypeAlias

import attrs

from gateway.features.prompt_caches.digests import changed_span
from gateway.features.prompt_caches.prompt_blocks import KeyMember, PromptBlock, Section
from gateway.features.prompt_caches.prompts import PromptDigest
from gateway.features.prompt_caches.tables.layouts import tool_part_path

ChangeKind: TypeAlias = Literal["added", "removed", "reordered", "changed", "respelled"]

DifferentPart: TypeAlias = Literal["tools", "system", "settings", "history"]
"""The cause of a miss, for a difference in one part of a prompt."""

_SECTIONS: Final[tuple[Section, ...]] = ("tools", "system", "history")


@attrs.frozen(repr=False)
class Difference:
    """The first difference of a prompt from an earlier one.

    - ``part``: the cause. ``at``: its place and kind in the words of the newer request, such as
      ``tools[3].description (changed)``, ``tools: 2 added at [14]`` or ``system[0]:0-64 (time)``.
    - ``position``: the last position up to which both are equal.
    - ``least``, ``most``: the bytes of the earlier prompt that are equal at least and at most.
    - ``path``: the path of a value that both requests have, with its ``kind`` of change; "" otherwise."""

    part: DifferentPart
    at: str
    position: int
    least: int
    most: int
    path: str = ""
    kind: ChangeKind = "changed"

    @property
    def rank(self) -> int:
        """The number of its section in the order of caching; a changed setting is before its section."""
        return 0 if self.part == "settings" else _SECTIONS.index(self.part) + 1


def first_difference(old: PromptDigest, new: PromptDigest, until: int | None = None) -> Difference | None:
    """Return the first difference of ``new`` from the blocks of ``old`` before the position ``until``.

    ``None`` if ``new`` begins with all of them. Settings count where their section begins."""
    until = old.end if until is None else min(until, old.end)
    setting = _changed_setting(old, new)
    content = _changed_content(old, new, until)
    if setting is None or (content is not None and content.position < _start_of(old, setting[1])):
        return content
    name, section = setting
    start = min(_start_of(old, section), until)
    return Difference("settings", name, start, old.size_at(start), old.size_at(start))


def is_equal(old: PromptDigest, new: PromptDigest, until: int) -> bool:
    """Return whether ``new`` begins with the blocks of ``old`` before ``until``, by their cumulative digests."""
    if until < old.history_start or old.history_start != new.history_start or until > new.end:
        return False
    if old.section_digests[:2] != new.section_digests[:2]:
        return False
    count = until - old.history_start
    known = old.history_digest(count)
    return known is not None and known == new.history_digest(count)


def changed_members(old: Sequence[KeyMember], new: Sequence[KeyMember]) -> list[tuple[int, str]]:
    """Return the members that differ, each with the number of the first section that it affects, in that order."""
    before = {member.name: member.digest for member in old}
    after = {member.name: member.digest for member in new}
    return sorted(
        (_SECTIONS.index(member.section), member.name)
        for member in (*old, *new)
        if before.get(member.name) != after.get(member.name)
    )


def _changed_setting(old: PromptDigest, new: PromptDigest) -> tuple[str, Section] | None:
    """Return the first setting that differs, with the first section that it affects."""
    if not (changed := changed_members(old.settings, new.settings)):
        return None
    number, name = changed[0]
    return name.removeprefix("header:"), _SECTIONS[number]


def _start_of(prompt: PromptDigest, section: Section) -> int:
    return {"tools": 0, "system": len(prompt.tools), "history": prompt.history_start}[section]


def _changed_content(old: PromptDigest, new: PromptDigest, until: int) -> Difference | None:
    if is_equal(old, new, until):
        return None
    if old.section_digests[0] != new.section_digests[0]:
        found = _changed_tools(old, new)
        return found if found is None or found.position < until else None
    if old.section_digests[1] != new.section_digests[1]:
        found = _changed_system(old, new)
        return found if found is None or found.position < until else None
    return _changed_history(old, new, until - old.history_start)


# Tools

MOST_NAMED: Final = 1000
"""Tools up to which their names are compared, in the event loop. Agents have up to some hundred."""


def _changed_tools(old: PromptDigest, new: PromptDigest) -> Difference | None:
    at = _first_unequal(old.tools, new.tools)
    if at is None:
        return None
    before, after = old.tools[at : at + 1], new.tools[at : at + 1]
    size = old.size_at(at)
    if max(len(old.tools), len(new.tools)) > MOST_NAMED:
        return Difference("tools", f"{(*after, *before)[0].path} (changed)", at, size, size)
    names, new_names = [_tool_name(tool) for tool in old.tools], [_tool_name(tool) for tool in new.tools]
    known, new_known = frozenset(names), frozenset(new_names)
    if before and after and names[at] == new_names[at]:
        kind: ChangeKind = "respelled" if _is_respelled(before[0], after[0]) else "changed"
        path = _changed_part(old, before[0], after[0])
        return Difference("tools", f"{path} ({kind})", at, size, size + before[0].size, path, kind)
    is_known_after = bool(after) and new_names[at] in known
    is_known_before = bool(before) and names[at] in new_known
    if not before or (after and is_known_before and not is_known_after):
        count = _count_while(new_names[at:], lambda name: name not in known)
        return Difference("tools", f"tools: {count} added at [{at}]", at, size, size)
    if not after or (is_known_after and not is_known_before):
        count = _count_while(names[at:], lambda name: name not in new_known)
        return Difference("tools", f"tools: {count} removed at [{at}]", at, size, size)
    kind = "reordered" if is_known_before and is_known_after else "changed"
    return Difference("tools", f"{after[0].path} ({kind})", at, size, size)


def _tool_name(tool: PromptBlock) -> bytes:
    return tool.parts[0] if tool.parts is not None else tool.strict


def _changed_part(old: PromptDigest, before: PromptBlock, after: PromptBlock) -> str:
    """Return the path of the changed part of a tool."""
    parts = zip(before.parts or (), after.parts or (), strict=True)
    numbers = [number for number, (one, other) in enumerate(parts) if one != other]
    inner = tool_part_path(old.api, numbers[0]) if numbers else ""
    return f"{after.path}{inner}"


def _is_respelled(before: PromptBlock, after: PromptBlock) -> bool:
    """Return whether two blocks are equal but for their spelling; blocks without a loose digest are not."""
    return any(after.loose) and before.loose == after.loose


# System texts and messages


def _changed_system(old: PromptDigest, new: PromptDigest) -> Difference | None:
    at = _first_unequal(old.system, new.system)
    if at is None:
        return None
    position = len(old.tools) + at
    return _classify("system", (old.system[at:], new.system[at:]), position, old.size_at(position))


def _changed_history(old: PromptDigest, new: PromptDigest, count: int) -> Difference | None:
    """Return the first difference in the first ``count`` blocks of the history."""
    equal, unequal = 0, count
    for number in _known_positions(old, count):
        if (digest := new.history_digest(number)) is not None and number <= new.history_count:
            if digest != old.history_digest(number):
                unequal = number
                break
            equal = number
        elif number > new.history_count:
            unequal = number
            break
    else:
        if equal == count:
            return None
    position, size = old.history_start + equal, old.size_at(old.history_start + equal)
    before, after = _known_run(old, equal), _known_run(new, equal)
    if before and (after or equal >= new.history_count):
        return _classify("history", (before, after), position, size)
    return Difference(
        "history", _range_path(old, equal, unequal), position, size, old.size_at(old.history_start + unequal)
    )


def _known_positions(prompt: PromptDigest, count: int) -> Iterator[int]:
    """Yield the positions in the history, up to ``count``, whose cumulative digests are known."""
    for number in range(1, count + 1):
        if not (prompt.gap and prompt.head < number < prompt.head + prompt.gap):
            yield number


def _known_run(prompt: PromptDigest, number: int) -> Sequence[PromptBlock]:
    """Return the blocks of the history from ``number`` on, until the gap or the end."""
    if not prompt.gap:
        return prompt.history[number:]
    if number < prompt.head:
        return prompt.history[number : prompt.head]
    return prompt.history[number - prompt.gap :] if number >= prompt.head + prompt.gap else ()


def _range_path(old: PromptDigest, equal: int, unequal: int) -> str:
    """Return the path of the items in a gap, such as ``messages[16..310] (changed)``."""
    last = old.block_before(old.history_start + equal)
    after = old.block_before(old.history_start + unequal + 1) or old.history[-1]
    first = 0 if last is None else last.index + 1
    return f"{after.where}[{first}..{max(after.index - 1, first)}] (changed)"


def _classify(
    part: DifferentPart, blocks: tuple[Sequence[PromptBlock], Sequence[PromptBlock]], position: int, size: int
) -> Difference:
    """Return the difference of two lists of blocks, whose first ones differ."""
    before, after = blocks
    old = before[0] if before else None
    new = after[0] if after else None
    if new is None:
        assert old is not None, "one of them has a block"
        return Difference(part, f"{_item_path(old)} (removed)", position, size, size)
    if old is None:
        return Difference(part, f"{_item_path(new)} (added)", position, size, size)
    dropped, inserted = _find_run(before, after), _find_run(after, before)
    if dropped and inserted:
        return Difference(part, f"{new.path} (reordered)", position, size, size)
    if dropped or _is_earlier(old, new):
        return Difference(part, f"{_item_path(old)} (removed)", position, size, size)
    if inserted or _is_earlier(new, old):
        return Difference(part, f"{_item_path(new)} (added)", position, size, size)
    if _is_respelled(old, new):
        return Difference(part, f"{new.path} (respelled)", position, size, size + old.size, new.path, "respelled")
    span = None if old.chunks is None or new.chunks is None else changed_span(old.chunks, new.chunks)
    if span is None or old.chunks is None:
        return Difference(part, f"{new.path} (changed)", position, size, size + old.size, new.path)
    start, end, kind = span
    scale = old.size / max(old.chunks.length, 1)
    return Difference(
        part, f"{new.path}:{start}-{end} ({kind or 'changed'})", position, size + int(start * scale),
        size + min(int(end * scale), old.size), new.path,
    )  # fmt: skip


def _find_run(blocks: Sequence[PromptBlock], others: Sequence[PromptBlock]) -> int:
    """Return the number of the block after the first one at which ``others`` continue, 0 without one.

    The block after it must be equal too, if both have one, because short blocks repeat."""
    for number in range(1, len(blocks)):
        if blocks[number].strict == others[0].strict:
            following, next_one = blocks[number + 1 : number + 2], others[1:2]
            if not following or not next_one or following[0].strict == next_one[0].strict:
                return number
    return 0


def _is_earlier(block: PromptBlock, other: PromptBlock) -> bool:
    """Return whether ``block`` is at an earlier position, where the other request has no block."""
    return block.where == other.where and (block.index, block.part) < (other.index, other.part)


def _item_path(block: PromptBlock) -> str:
    """Return the path of the whole item, if the block is its first one."""
    return f"{block.where}[{block.index}]" if block.part == 0 and block.index >= 0 else block.path


def _first_unequal(old: Sequence[PromptBlock], new: Sequence[PromptBlock]) -> int | None:
    """Return the number of the first block that differs; ``None`` if all are equal."""
    for number, (one, other) in enumerate(zip(old, new, strict=False)):
        if one.strict != other.strict:
            return number
    return None if len(old) == len(new) else min(len(old), len(new))


def _count_while(names: Sequence[bytes], is_counted: Callable[[bytes], bool]) -> int:
    return sum(1 for _ in takewhile(is_counted, names))
