"""Items of a request, such as messages, as the JSON of their blocks."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from gateway.features.prompt_caches.digests import digests_of, read_chunks, strict_digest
from gateway.features.prompt_caches.packed_blocks import ROLE_NUMBERS, PackedBlocks, pack_block
from gateway.features.prompt_caches.prompt_blocks import BlockKind, Role, TextChunks
from gateway.features.prompt_caches.structures import MutableStructure
from gateway.features.prompt_caches.tables.kinds import KINDS
from gateway.features.prompt_caches.tables.layouts import LAYOUTS, PromptLayout
from streams.surrogates import decode_or

OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT: Final = msgspec.json.Decoder(str)
_ANY: Final = msgspec.json.Decoder()

_LONGEST_WORD: Final = 64
_QUOTE, _BRACKET = b'"['
_NULL: Final = b"null"
_LABELS: Final[Mapping[Role, bytes]] = {role: role.encode() + b"\0" for role in ROLE_NUMBERS}
_RESULT_ROLES: Final[Mapping[str, Role]] = {"tool_result": "user", "text": "user", "media": "user"}
_PLAIN: Final = frozenset({"type", "text"})

_WORDS: Final = {
    msgspec.json.encode(word): word
    for word in (*KINDS, *(role for layout in LAYOUTS.values() for role in layout.roles))
}
"""Types of blocks and roles of messages by their JSON."""

_MARKED_INSIDE: Final = ("tool_calls", "output")
"""Lists of an item, other than its content, whose members may have marks."""


class RawBlock(MutableStructure):
    """A block's compact JSON without marks; ``text`` is the JSON of its text, if it is one."""

    where: str
    index: int
    within: str
    part: int
    role: Role
    kind: BlockKind
    raw: bytes
    mark: str | None = None
    text: bytes | None = None

    def strict(self, key: bytes) -> bytes:
        """Return the block's strict digest, which only equal JSON shares."""
        return strict_digest(_LABELS[self.role], self.raw, key)

    def pack(self, key: bytes) -> bytes:
        """Return the block's row."""
        role, raw = self.role, self.raw
        strict, loose = digests_of(_LABELS[role], raw, key)
        return pack_block(self.where, self.index, self.within, self.part, role, self.kind, strict, loose, len(raw))

    def chunks(self, key: bytes) -> TextChunks | None:
        text = None if self.text is None else decode_text(self.text, len(self.text))
        return read_chunks(text, key) if text else None


def pack_blocks(
    blocks: Sequence[RawBlock], key: bytes, *, has_chunks: bool = False, parts: bytes = b""
) -> PackedBlocks:
    """Return the digests of ``blocks``; ``has_chunks`` is for system texts, ``parts`` for tools."""
    rows = b"".join([block.pack(key) for block in blocks])
    marks = {number: block.mark for number, block in enumerate(blocks) if block.mark is not None}
    if not has_chunks:
        return PackedBlocks(rows, marks, parts)
    texts = [(number, block.chunks(key)) for number, block in enumerate(blocks)]
    return PackedBlocks(rows, marks, parts, {number: chunks for number, chunks in texts if chunks is not None})


def split_item(layout: PromptLayout, where: str, index: int, raw: bytes) -> list[RawBlock]:
    """Return the blocks of an item of the history, whose JSON is compact."""
    if not raw.startswith(b"{"):
        return [RawBlock(where, index, "", -1, "user", "other", raw)]
    members = OBJECT.decode(raw)
    kind = KINDS.get(decode_word(members.get("type")), "other")
    role = layout.roles.get(decode_word(members.get("role"))) or _RESULT_ROLES.get(kind, "assistant")
    if layout.is_flat:
        return _split_flat(layout, where, index, members, role, kind)
    content = members.get(layout.parts)
    return [] if content is None else split_parts(layout, (where, index, layout.parts), bytes(content), role)


def split_parts(layout: PromptLayout, place: tuple[str, int, str], content: bytes, role: Role) -> list[RawBlock]:
    """Return the blocks of a content, a list of parts or one text. ``place`` is where, index and within."""
    where, index, within = place
    if content.startswith(b'"'):
        return [RawBlock(where, index, "", -1, role, "text", text_part(content), None, content)]
    if not content.startswith(b"["):
        return [] if content == _NULL else [RawBlock(where, index, "", -1, role, "other", content)]
    blocks: list[RawBlock] = []
    for part, raw in enumerate(LIST.decode(content)):
        # A list without an item around it, such as system texts, has no name within one.
        path = (where, index, within, part) if within else (where, part, "", -1)
        block = read_part(layout, path, bytes(raw), role)
        if isinstance(block, str):
            if blocks:
                blocks[-1].mark = block
        else:
            blocks.append(block)
    return blocks


def read_part(layout: PromptLayout, place: tuple[str, int, str, int], raw: bytes, role: Role) -> RawBlock | str:
    """Return the block at ``place``, or the lifetime of a block that is a mark for the one before it."""
    if not raw.startswith(b"{"):
        return RawBlock(*place, role, "other", raw)
    members = OBJECT.decode(raw)
    if layout.mark_block:
        for name in layout.mark_block:
            if name in members:
                return read_mark(members[name]) or ""
    raw, mark = without_marks(layout, raw, members)
    word, text = members.get("type"), members.get("text")
    kind = _kind_by_member(members) if word is None else KINDS.get(decode_word(word), "other")
    is_text = text is not None and memoryview(text)[0] == _QUOTE
    return RawBlock(*place, role, kind, raw, mark, bytes(text or b"") if is_text else None)


def without_marks(layout: PromptLayout, raw: bytes, members: dict[str, msgspec.Raw]) -> tuple[bytes, str | None]:
    """Return an object without its marks, with the lifetime of the last one. Removes them from ``members``, too."""
    content = members.get("content")
    if members.keys().isdisjoint(layout.marks) and (content is None or memoryview(content)[0] != _BRACKET):
        return raw, None
    mark = None
    for name in layout.marks:
        if name in members:
            found = read_mark(members.pop(name))
            mark, raw = mark if found is None else found, b""
    nested, inner = (None, None) if content is None else _without_nested_marks(layout, bytes(content))
    if nested is not None:
        members["content"], raw = msgspec.Raw(nested), b""
        mark = mark if inner is None else inner
    return raw or msgspec.json.encode(members), mark


def _without_nested_marks(layout: PromptLayout, content: bytes) -> tuple[bytes | None, str | None]:
    if not content.startswith(b"[") or not any(b'"%b":' % name.encode() in content for name in layout.marks):
        return None, None
    mark = None
    items: list[Any] = []
    for raw in LIST.decode(content):
        item = bytes(raw)
        if item.startswith(b"{"):
            item, found = without_marks(layout, item, OBJECT.decode(item))
            mark = mark if found is None else found
        items.append(msgspec.Raw(item))
    return msgspec.json.encode(items), mark


def _take_mark(layout: PromptLayout, members: dict[str, msgspec.Raw]) -> str | None:
    """Remove the marks of an item and of its tool calls or its output, and return the lifetime of the last one."""
    mark = None
    for name in _MARKED_INSIDE:
        inner = members.get(name)
        nested, found = (None, None) if inner is None else _without_nested_marks(layout, bytes(inner))
        if nested is not None:
            members[name], mark = msgspec.Raw(nested), found
    for name in layout.marks:
        if name in members:
            found = read_mark(members.pop(name))
            mark = mark if found is None else found
    return mark


def _split_flat(
    layout: PromptLayout, where: str, index: int, members: dict[str, msgspec.Raw], role: Role, kind: BlockKind
) -> list[RawBlock]:
    """Return an item as one block, or as one block for each part if its content has several parts."""
    mark = _take_mark(layout, members)
    content = bytes(members.get(layout.parts, _NULL))
    kept = {
        name: value
        for name, value in members.items()
        if name not in ("role", layout.parts, *layout.left_out)
        and bytes(value[:5] if isinstance(value, bytes) else memoryview(value)[:5]) != _NULL
        and not (name == "type" and kind == "text")
    }
    own: BlockKind = "tool_use" if "tool_calls" in kept else "tool_result" if role == "tool" else kind
    if own == "other" and layout.parts in members:
        own = "text"
    blocks: list[RawBlock] = []
    text = content if content.startswith(b'"') else None
    if content.startswith(b"["):
        blocks = split_parts(layout, (where, index, layout.parts), content, role)
        single = _single_text(blocks)
        if single is not None:
            mark = blocks[0].mark if blocks[0].mark is not None else mark
            content, text, blocks = single, single, []
    if blocks:
        if own == "tool_result":
            for block in blocks:
                block.kind = own
        if kept:
            blocks.append(RawBlock(where, index, "", -1, role, own, msgspec.json.encode(kept)))
        if mark is not None:
            blocks[-1].mark = mark
        return blocks
    if content != _NULL:
        # In the client's order: another order of members is another spelling.
        kept = {name: kept.get(name, msgspec.Raw(content)) for name in members if name in kept or name == layout.parts}
    return [RawBlock(where, index, "", -1, role, own, msgspec.json.encode(kept), mark, text)]


def _single_text(blocks: Sequence[RawBlock]) -> bytes | None:
    """Return the text of a content that is one plain text, which is the same as a string."""
    if len(blocks) != 1 or blocks[0].text is None:
        return None
    return blocks[0].text if OBJECT.decode(blocks[0].raw).keys() == _PLAIN else None


def _kind_by_member(members: Mapping[str, msgspec.Raw]) -> BlockKind:
    """Return the kind of a block without a type."""
    if "thought" in members and bytes(members["thought"]) == b"true":
        return "reasoning"
    return next((KINDS[name] for name in members if name in KINDS), "other")


def text_part(text: bytes) -> bytes:
    """Return the block with a JSON string as its text, which is the same as the string alone."""
    return b'{"type":"text","text":%b}' % text


def read_mark(raw: msgspec.Raw | None) -> str | None:
    """Return the lifetime of a mark, "" if it states none, ``None`` if it is no mark."""
    members = decode_object(raw)
    return (decode_text(members.get("ttl")) or "") if members else None


def decode_word(raw: msgspec.Raw | None) -> str:
    """Return a short JSON string, "" if it is none."""
    if raw is None or len(raw) > _LONGEST_WORD:
        return ""
    data = bytes(raw)
    return _WORDS.get(data) or decode_or(_TEXT.decode, data, "")


def decode_text(raw: msgspec.Raw | bytes | None, most: int = _LONGEST_WORD) -> str | None:
    """Return a JSON string of at most ``most`` bytes, ``None`` if it is none."""
    return None if raw is None or len(raw) > most else decode_or(_TEXT.decode, raw, None)


def decode_object(raw: msgspec.Raw | None) -> dict[str, msgspec.Raw]:
    """Return the members of a JSON object, none if it is no object."""
    return {} if raw is None or bytes(memoryview(raw)[:1]) != b"{" else decode_or(OBJECT.decode, raw, {})
