"""Items of a request, such as messages and tools, as the JSON of their blocks."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from gateway.features.prompt_caches.rows import PLACE_NUMBERS, RawBlock
from gateway.features.prompt_caches.tables.kinds import KINDS, MEDIA, OTHER, REASONING, TEXT, TOOL_RESULT, TOOL_USE
from gateway.features.prompt_caches.tables.layouts import ASSISTANT, LAYOUTS, TOOL, USER, PromptLayout
from streams.surrogates import decode_or

OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT: Final = msgspec.json.Decoder(str)

_LONGEST_WORD: Final = 64
_QUOTE, _BRACKET, _BRACE = b'"[{'
_NULL: Final = b"null"
_RESULT_KINDS: Final = frozenset({TOOL_RESULT, TEXT, MEDIA})
"""Kinds of items without a role that are the user's."""
_PLAIN: Final = frozenset({"type", "text"})
_MARKED_INSIDE: Final = ("tool_calls", "output")
"""Lists of an item, other than its content, whose members may have marks."""

_WORDS: Final = {
    msgspec.json.encode(word): word
    for word in (*KINDS, *(role for layout in LAYOUTS.values() for role in layout.roles))
}
"""Types of blocks and roles of messages by their JSON."""

Members = dict[str, msgspec.Raw]


def split_item(layout: PromptLayout, where: str, index: int, raw: bytes) -> list[RawBlock]:
    """Return the blocks of an item of the history, whose JSON is compact."""
    if raw[0] != _BRACE:
        return [RawBlock(PLACE_NUMBERS[where, ""], index, -1, USER, OTHER, raw)]
    members = OBJECT.decode(raw)
    kind = KINDS.get(decode_word(members.get("type")), OTHER)
    role = layout.roles.get(decode_word(members.get("role")))
    if role is None:
        role = USER if kind in _RESULT_KINDS else ASSISTANT
    if layout.is_flat:
        return _split_flat(layout, where, index, members, role, kind)
    content = members.get(layout.parts)
    return [] if content is None else split_parts(layout, where, index, bytes(content), role)


def split_parts(layout: PromptLayout, where: str, index: int, content: bytes, role: int) -> list[RawBlock]:
    """Return the blocks of a content, a list of parts or one text. An ``index`` of -1 is that of no item."""
    if content[0] != _BRACKET:
        if content == _NULL:
            return []
        is_text, place = content[0] == _QUOTE, PLACE_NUMBERS[where, ""]
        if not is_text:
            return [RawBlock(place, index, -1, role, OTHER, content)]
        return [RawBlock(place, index, -1, role, TEXT, text_part(content), None, content)]
    blocks: list[RawBlock] = []
    place = PLACE_NUMBERS[where, "" if index < 0 else layout.parts]
    for part, value in enumerate(LIST.decode(content)):
        path = (place, part, -1) if index < 0 else (place, index, part)
        raw = bytes(value)
        if raw[0] != _BRACE:
            blocks.append(RawBlock(*path, role, OTHER, raw))
            continue
        members = OBJECT.decode(raw)
        if layout.mark_block and (mark := read_mark_block(layout, members)) is not None:
            if blocks:
                blocks[-1].mark = mark
            continue
        is_changed, mark = take_marks(layout, members, ("content",))
        raw = msgspec.json.encode(members) if is_changed else raw
        word, text = members.get("type"), members.get("text")
        kind = _kind_by_member(members) if word is None else KINDS.get(decode_word(word), OTHER)
        own = bytes(text) if text is not None and memoryview(text)[0] == _QUOTE else None
        blocks.append(RawBlock(*path, role, kind, raw, mark, own))
    return blocks


def _split_flat(layout: PromptLayout, where: str, index: int, members: Members, role: int, kind: int) -> list[RawBlock]:
    """Return an item as one block, or as one block for each part if its content has several parts."""
    _, mark = take_marks(layout, members, _MARKED_INSIDE)
    place, content, text = PLACE_NUMBERS[where, ""], bytes(members.get(layout.parts, _NULL)), None
    is_text = kind == TEXT
    left_out = {"role", layout.parts, *layout.left_out, *(("type",) if is_text else ())}
    kept = {name: value for name, value in members.items() if name not in left_out and bytes(value) != _NULL}
    if "tool_calls" in kept:
        kind = TOOL_USE
    elif role == TOOL:
        kind = TOOL_RESULT
    elif kind == OTHER and layout.parts in members:
        kind = TEXT
    if content[0] == _QUOTE:
        text = content
    elif content[0] == _BRACKET and (blocks := split_parts(layout, where, index, content, role)):
        if (text := _single_text(blocks)) is None:
            if kind == TOOL_RESULT:
                for block in blocks:
                    block.kind = kind
            if kept:
                blocks.append(RawBlock(place, index, -1, role, kind, msgspec.json.encode(kept)))
            blocks[-1].mark = mark if mark is not None else blocks[-1].mark
            return blocks
        content, mark = text, blocks[0].mark if blocks[0].mark is not None else mark
    if content != _NULL:
        # In the client's order: another order of members is another spelling.
        kept = {name: kept.get(name, msgspec.Raw(content)) for name in members if name in kept or name == layout.parts}
    return [RawBlock(place, index, -1, role, kind, msgspec.json.encode(kept), mark, text)]


def _single_text(blocks: Sequence[RawBlock]) -> bytes | None:
    """Return the text of a content that is one plain text, which is the same as a string."""
    if len(blocks) != 1 or blocks[0].text is None:
        return None
    return blocks[0].text if OBJECT.decode(blocks[0].raw).keys() == _PLAIN else None


def _kind_by_member(members: Mapping[str, msgspec.Raw]) -> int:
    """Return the kind of a block without a type."""
    if "thought" in members and bytes(members["thought"]) == b"true":
        return REASONING
    return next((KINDS[name] for name in members if name in KINDS), OTHER)


def text_part(text: bytes) -> bytes:
    """Return the block with a JSON string as its text, which is the same as the string alone."""
    return b'{"type":"text","text":%b}' % text


# Marks


def take_marks(layout: PromptLayout, members: Members, nested: Sequence[str] = ()) -> tuple[bool, str | None]:
    """Remove the marks of an object and of the lists ``nested`` in it.

    Return whether there are any, and the lifetime of the last one."""
    is_changed, mark = False, None
    for name in nested:
        if (raw := members.get(name)) is None or memoryview(raw)[0] != _BRACKET:
            continue
        data = bytes(raw)
        if not any(b'"%b":' % one.encode() in data for one in layout.marks):
            continue
        items: list[object] = []
        for item in LIST.decode(data):
            if memoryview(item)[0] == _BRACE:
                inner = OBJECT.decode(item)
                _, found = take_marks(layout, inner, ("content",))
                mark = mark if found is None else found
                items.append(inner)
            else:
                items.append(item)
        is_changed, members[name] = True, msgspec.Raw(msgspec.json.encode(items))
    if members.keys().isdisjoint(layout.marks):
        return is_changed, mark
    for name in layout.marks:
        if name in members:
            found = read_mark(members.pop(name))
            mark = mark if found is None else found
    return True, mark


def read_mark_block(layout: PromptLayout, members: Mapping[str, msgspec.Raw]) -> str | None:
    """Return the lifetime of a block that is a mark for the one before it, ``None`` for another block."""
    for name in layout.mark_block:
        if name in members:
            return read_mark(members[name]) or ""
    return None


def read_mark(raw: msgspec.Raw | None) -> str | None:
    """Return the lifetime of a mark, "" if it states none, ``None`` if it is no mark."""
    members = decode_object(raw)
    return (decode_text(members.get("ttl")) or "") if members else None


# Values


def decode_word(raw: msgspec.Raw | None) -> str:
    """Return a short JSON string, "" if it is none."""
    return "" if raw is None else _WORDS.get(bytes(raw)) or decode_text(raw) or ""


def decode_text(raw: msgspec.Raw | bytes | None, most: int = _LONGEST_WORD) -> str | None:
    """Return a JSON string of at most ``most`` bytes, ``None`` if it is none."""
    return None if raw is None or len(raw) > most else decode_or(_TEXT.decode, raw, None)


def decode_object(raw: msgspec.Raw | None) -> Members:
    """Return the members of a JSON object, none if it is no object."""
    return {} if raw is None or memoryview(raw)[0] != _BRACE else decode_or(OBJECT.decode, raw, {})
