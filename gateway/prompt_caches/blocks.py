"""Reader of requests as blocks, for six APIs."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias, cast

import attrs
import msgspec

from gateway.prompt_caches.digests import UNDECODABLE, compact_json, short_digest
from gateway.prompt_caches.histories import read_history
from gateway.prompt_caches.items import (
    LIST,
    OBJECT,
    RawBlock,
    decode_object,
    decode_text,
    pack_blocks,
    read_mark,
    split_parts,
    without_marks,
)
from gateway.prompt_caches.memo import BlockMemo, KnownPart
from gateway.prompt_caches.packed_blocks import PackedBlocks, join_blocks
from gateway.prompt_caches.packing import pack, unpack
from gateway.prompt_caches.positions import anchors, boundary_positions, continue_prompt, lookup_positions
from gateway.prompt_caches.prompt_blocks import SETTING, KeyMember, Section
from gateway.prompt_caches.prompts import PromptDigest
from gateway.prompt_caches.tables.layouts import LAYOUTS, PromptLayout
from providers.catalog.prompt_caching import CachingRow
from streams.events import Api

__all__ = [
    "BlockMemo",
    "anchors",
    "boundary_positions",
    "continue_prompt",
    "lookup_positions",
    "pack",
    "read_prompt",
    "unpack",
]

_BILLING: Final = "billing_line"
_BILLING_TEXT: Final = b'"x-anthropic-billing-header:'
_DEFERRED: Final = "deferred_tools"
_HEADER: Final = "header:"
_OPTIONS: Final = "prompt_cache_options"
_NO_ROW: Final = CachingRow()
_NOTHING: Final = PackedBlocks()


_LocatedList: TypeAlias = tuple[str, memoryview]
"""The path of a member, and its JSON."""


def read_prompt(
    api: Api,
    body: bytes | Mapping[str, msgspec.Raw],
    row: CachingRow | None,
    key: bytes,
    *,
    headers: Mapping[str, str] | None = None,
    memo: BlockMemo | None = None,
    known: "KnownParts | None" = None,
) -> PromptDigest | None:
    """Return the prompt in a request's ``body``, its bytes or its top-level members, or ``None`` if it has none.

    ``key`` are 32 random bytes, the key of all digests; the workers of a machine share it. ``row`` decides which
    members are in ``PromptDigest.settings``, and which parts are ignored. ``headers`` (lower case) are those of the
    request as sent. Linear in the body's size; text that ``memo`` knows is hashed once and not parsed. ``known`` are
    the parts that ``recognize`` has found in it."""
    layout = LAYOUTS.get(api)
    if layout is None:
        return None
    try:
        members = OBJECT.decode(body) if isinstance(body, bytes) else body
        return _PromptReader(api, layout, row or _NO_ROW, key, memo, known or _UNKNOWN).read(members, headers or {})
    except UNDECODABLE:
        return None


@attrs.frozen(repr=False, eq=False)
class KnownParts:
    """The parts of a request that were read before, and their bytes in the request."""

    tools: PackedBlocks | None = None
    system: PackedBlocks | None = None
    history: KnownPart[object] | None = None
    size: int = 0


def recognize(
    api: Api, members: Mapping[str, msgspec.Raw], row: CachingRow | None, memo: BlockMemo, most: int
) -> KnownParts:
    """Return the parts of a request that ``memo`` knows, which takes a hash of at most ``most`` bytes of each."""
    layout = LAYOUTS.get(api)
    if layout is None:
        return _UNKNOWN
    reader = _PromptReader(api, layout, row or _NO_ROW, b"", memo, _UNKNOWN)
    sections: tuple[Section, Section] = ("tools", "system")
    found = [(name, reader.find(name, members)) for name in sections]
    (tools, tool_size), (system, system_size) = (
        (reader.recognize(name, one), len(one[1])) if len(one[1]) <= most else (None, 0) for name, one in found
    )
    where, raw = reader.find("history", members)
    history = memo.longest_part(f"{api}:{where}", raw, most)
    size = (tool_size if tools else 0) + (system_size if system else 0) + (history.length if history else 0)
    return KnownParts(tools, system, history, size)


_UNKNOWN: Final = KnownParts()


@attrs.frozen(repr=False, eq=False)
class _PromptReader:
    """The reader of one request."""

    api: Api
    layout: PromptLayout
    row: CachingRow
    key: bytes
    memo: BlockMemo | None
    known: KnownParts

    def find(self, section: Section, members: Mapping[str, msgspec.Raw]) -> _LocatedList:
        """Return the list of a section."""
        if section == "tools":
            return _find(members, self.layout.tools)
        return _find(members, [(name,) for name in getattr(self.layout, section)])

    def recognize(self, section: Section, located: _LocatedList) -> PackedBlocks | None:
        """Return the blocks of a section that was read before."""
        known = None if self.memo is None else self.memo.value(self._memo_name(section, located), bytes(located[1]))
        return cast("PackedBlocks | None", known)

    def _memo_name(self, section: Section, located: _LocatedList) -> str:
        return f"{self.api}:{section}:{located[0]}:{self.row.ignores}"

    def read(self, members: Mapping[str, msgspec.Raw], headers: Mapping[str, str]) -> PromptDigest:
        layout, row = self.layout, self.row
        known = self.known
        tools = known.tools or self._remember("tools", self.find("tools", members), self._read_tools)
        system = known.system or self._remember("system", self.find("system", members), self._read_system)
        where, raw = self.find("history", members)
        history = read_history(layout, where, raw, self.key, self.memo, f"{self.api}:{where}", known.history)
        options = decode_object(members.get(_OPTIONS))
        lifetime = None if row.lifetime_member is None else decode_text(members.get(row.lifetime_member))
        return PromptDigest(
            self.api, tools, join_blocks((system, history.system)) if history.system else system, history.blocks,
            history.size, self._read_settings(members, headers), self._read_own_settings(members), history.head,
            history.gap, history.gap_digest,
            end_mark=None if row.mark_member is None else read_mark(members.get(row.mark_member)),
            is_explicit=decode_text(options.get("mode")) == "explicit",
            lifetime=lifetime or decode_text(options.get("ttl")), has_answer=history.has_answer,
            digests=history.digests,
        )  # fmt: skip

    def _remember(
        self, section: Section, located: _LocatedList, read: Callable[[str, bytes], PackedBlocks]
    ) -> PackedBlocks:
        """Return the blocks of a section, from the memo if it was read before."""
        where, raw = located[0], bytes(located[1])
        if not raw:
            return _NOTHING
        known = self.recognize(section, located)
        if known is None:
            known = read(where, compact_json(raw))
            if self.memo is not None:
                self.memo.store(self._memo_name(section, located), raw, known, len(known.rows))
        return known

    def _read_tools(self, where: str, raw: bytes) -> PackedBlocks:
        blocks: list[RawBlock] = []
        parts: list[bytes] = []
        for index, item in enumerate(LIST.decode(raw) if raw.startswith(b"[") else ()):
            members = decode_object(item)
            if any(name in members for name in self.layout.mark_block):
                if blocks:
                    mark = next((read_mark(members[name]) for name in self.layout.mark_block if name in members), None)
                    blocks[-1].mark = mark or ""
                continue
            nested = next((name for name in self.layout.tool_lists if name in members), None)
            if nested is None:
                self._read_tool((where, index, "", -1), bytes(item), blocks, parts)
                continue
            for part, inner in enumerate(LIST.decode(members[nested])):
                self._read_tool((where, index, nested, part), bytes(inner), blocks, parts)
            if len(members) > 1:
                others = {name: value for name, value in members.items() if name != nested}
                self._read_tool((where, index, "", -1), msgspec.json.encode(others), blocks, parts)
        return pack_blocks(blocks, self.key, parts=b"".join(parts))

    def _read_tool(
        self, place: tuple[str, int, str, int], raw: bytes, blocks: list[RawBlock], parts: list[bytes]
    ) -> None:
        """Add a tool to ``blocks``, and the digests of its name, description and schema to ``parts``."""
        members = decode_object(msgspec.Raw(raw))
        if _DEFERRED in self.row.ignores and bytes(members.get("defer_loading", b"")) == b"true":
            return
        raw, mark = without_marks(self.layout, raw, members)
        blocks.append(RawBlock(*place, "tool", "other", raw, mark))
        wrapper = next((name for name in self.layout.tool_wrapper if name in members), None)
        inner = members if wrapper is None else decode_object(members[wrapper])
        values = (
            next((bytes(inner[word]) for word in words if word in inner), b"")
            for words in (("name", "type"), *self.layout.tool_words)
        )
        parts.extend(short_digest(value, self.key) for value in values)

    def _read_system(self, where: str, raw: bytes) -> PackedBlocks:
        found: list[RawBlock]
        if raw.startswith(b"{"):
            content = bytes(decode_object(msgspec.Raw(raw)).get(self.layout.parts, b"null"))
            found = split_parts(self.layout, (f"{where}.{self.layout.parts}", -1, ""), content, "system")
        else:
            found = split_parts(self.layout, (where, -1, ""), raw, "system")
        ignores = _BILLING in self.row.ignores
        kept = [
            block
            for block in found
            if not (ignores and block.text is not None and block.text.startswith(_BILLING_TEXT))
        ]
        return pack_blocks(kept, self.key, has_chunks=True)

    def _read_settings(self, members: Mapping[str, msgspec.Raw], headers: Mapping[str, str]) -> tuple[KeyMember, ...]:
        found = []
        for name, section in self.row.settings:
            if name.startswith(_HEADER):
                found.append((name, section, headers.get(name.removeprefix(_HEADER), "").encode()))
            elif name.partition(".")[0] in members:
                found.append((name, section, _member_at(members, name)))
        return self._key_members(found)

    def _read_own_settings(self, members: Mapping[str, msgspec.Raw]) -> tuple[KeyMember, ...]:
        """Return the members that may be in a key; a translation writes them as other members."""
        present = [name for name in self.layout.settings if name.partition(".")[0] in members]
        return self._key_members([(name, "history", _member_at(members, name)) for name in present])

    def _key_members(self, members: Iterable[tuple[str, Section, bytes]]) -> tuple[KeyMember, ...]:
        return tuple(
            KeyMember(name, section, short_digest(value, self.key, SETTING))
            for name, section, value in members
            if value and value != b"null"
        )


def _member_at(members: Mapping[str, msgspec.Raw], path: str) -> bytes:
    """Return the compact JSON of the member at a dotted path, b"" without one."""
    for name in (names := path.split("."))[:-1]:
        members = decode_object(members.get(name))
    found = members.get(names[-1])
    return b"" if found is None else compact_json(bytes(found))


def _find(members: Mapping[str, msgspec.Raw], paths: Iterable[tuple[str, ...]]) -> _LocatedList:
    """Return the first member among ``paths``, each the names from the outside in; empty without one."""
    for path in paths:
        inner = members
        for name in path[:-1]:
            inner = decode_object(inner.get(name))
        if (raw := inner.get(path[-1])) is not None:
            return ".".join(path), memoryview(raw)
    return "", memoryview(b"")
