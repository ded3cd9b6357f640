"""Reader of requests as blocks, for six APIs."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import lru_cache
from typing import Final, TypeAlias, cast

import attrs
import msgspec

from gateway.features.prompt_caches.digests import compact_json, short_digest
from gateway.features.prompt_caches.histories import read_history
from gateway.features.prompt_caches.items import (
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
from gateway.features.prompt_caches.memo import BlockMemo, KnownPart
from gateway.features.prompt_caches.packed_blocks import PackedBlocks, join_blocks
from gateway.features.prompt_caches.prompt_blocks import SETTING, KeyMember, Section
from gateway.features.prompt_caches.prompts import PromptDigest, front_digests
from gateway.features.prompt_caches.structures import Structure, once_property
from gateway.features.prompt_caches.tables.layouts import LAYOUTS, PromptLayout
from providers.catalog.prompt_caching import CachedSection, CachingRow
from streams.events import Api
from streams.surrogates import NOT_JSON

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
    earlier: int = 0,
) -> PromptDigest | None:
    """Return the prompt in a request's ``body``, its bytes or its top-level members, or ``None`` if it has none.

    ``key`` are 32 random bytes, the key of all digests; the workers of a machine share it. ``row`` decides which
    members are in ``PromptDigest.settings``, and which parts are ignored. ``headers`` (lower case) are those of the
    request as sent. Linear in the body's size; text that ``memo`` knows is hashed once and not parsed. ``known`` are
    the parts that ``recognize`` has found in it, ``earlier`` the number of stored items at the start of its history."""
    layout = LAYOUTS.get(api)
    if layout is None:
        return None
    try:
        members = OBJECT.decode(body) if isinstance(body, bytes) else body
        reader = _PromptReader(api, layout, row or _NO_ROW, key, memo, known or _UNKNOWN, earlier)
        return reader.read(members, headers or {})
    except NOT_JSON:
        return None


@attrs.define(repr=False, eq=False, slots=False)
class PromptFront:
    """Everything of a prompt but its history; the fields are those of ``PromptDigest``."""

    tools: PackedBlocks
    system: PackedBlocks
    settings: tuple[KeyMember, ...]
    own_settings: tuple[KeyMember, ...]
    end_mark: str | None
    is_explicit: bool
    lifetime: str | None
    _joined: "tuple[PackedBlocks, PromptFront] | None" = None

    def with_system(self, more: PackedBlocks) -> "PromptFront":
        """Return the front with the system texts of the history."""
        if not more.length:
            return self
        joined = self._joined  # another thread may replace it
        if joined is None or joined[0] is not more:
            joined = self._joined = more, attrs.evolve(self, system=join_blocks((self.system, more)), joined=None)
        return joined[1]

    @once_property
    def digests(self) -> tuple[bytes, bytes, bytes]:
        return front_digests(self.tools.cumulative[-1], self.system.cumulative[-1], self.settings)


class KnownParts(Structure, frozen=True):
    """The parts of a request that were read before, and their bytes in the request."""

    front: PromptFront | None = None
    history: KnownPart[object] | None = None
    size: int = 0


def recognize(
    api: Api,
    members: Mapping[str, msgspec.Raw],
    row: CachingRow | None,
    memo: BlockMemo,
    most: int,
    headers: Mapping[str, str],
) -> KnownParts:
    """Return the parts of a request that ``memo`` knows, which takes a hash of at most ``most`` bytes of each."""
    layout = LAYOUTS.get(api)
    if layout is None:
        return _UNKNOWN
    name, raw = _front_of(api, members, row or _NO_ROW, headers)
    front_size = sum(map(len, raw))
    front = memo.value(name, *raw) if front_size <= most else None
    where, view = _find_history(layout, members)
    history = memo.longest_part(f"{api}:{where}", view, most)
    size = (front_size if front else 0) + (history.length if history else 0)
    return KnownParts(cast("PromptFront | None", front), history, size)


def _front_of(
    api: Api, members: Mapping[str, msgspec.Raw], row: CachingRow, headers: Mapping[str, str]
) -> tuple[Hashable, list[bytes | msgspec.Raw]]:
    """Return a name and the JSON of everything on which a ``PromptFront`` depends; equal pairs have equal fronts."""
    rules = row.settings, row.mark_member, row.lifetime_member
    names, header_names = _front_names(api, *rules)
    present = [name for name in members if name in names]
    found: list[bytes | msgspec.Raw] = [members[name] for name in present]
    if header_names:
        found += [headers.get(name, "").encode() for name in header_names]
    return (api, row.ignores, rules, *present, *map(len, found)), found


@lru_cache(maxsize=256)
def _front_names(
    api: Api, settings: tuple[tuple[str, CachedSection], ...], mark: str | None, lifetime: str | None
) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the members and headers on which a ``PromptFront`` depends."""
    layout, stated = LAYOUTS[api], [name for name, _ in settings]
    paths = [*(path[0] for path in layout.tools), *layout.system, *layout.settings, *stated, mark or "", lifetime or ""]
    members = frozenset(path.partition(".")[0] for path in (*paths, _OPTIONS) if not path.startswith(_HEADER))
    return members, tuple(name.removeprefix(_HEADER) for name in stated if name.startswith(_HEADER))


_UNKNOWN: Final = KnownParts()


class _PromptReader(Structure, frozen=True):
    """The reader of one request."""

    api: Api
    layout: PromptLayout
    row: CachingRow
    key: bytes
    memo: BlockMemo | None
    known: KnownParts
    earlier: int

    def read(self, members: Mapping[str, msgspec.Raw], headers: Mapping[str, str]) -> PromptDigest:
        layout, known = self.layout, self.known
        front = known.front or self._read_front(members, headers)
        where, raw = _find_history(layout, members)
        name = f"{self.api}:{where}"
        history = read_history(layout, where, raw, self.key, self.memo, name, known.history, self.earlier)
        front = front.with_system(history.system)
        return PromptDigest(
            self.api, front.tools, front.system, history.blocks, history.size, front.settings, front.own_settings,
            history.head, history.gap, history.gap_digest, front.end_mark, front.is_explicit, front.lifetime,
            history.has_answer, digests=history.digests, fronts=front.digests,
        )  # fmt: skip

    def _read_front(self, members: Mapping[str, msgspec.Raw], headers: Mapping[str, str]) -> PromptFront:
        """Return everything but the history, from the memo if it was read before."""
        memo, row = self.memo, self.row
        name, raw = ("", []) if memo is None else _front_of(self.api, members, row, headers)
        if memo is not None and (known := memo.value(name, *raw)) is not None:
            return cast("PromptFront", known)
        options = decode_object(members.get(_OPTIONS))
        lifetime = None if row.lifetime_member is None else decode_text(members.get(row.lifetime_member))
        front = PromptFront(
            self._remember("tools", _find(members, self.layout.tools), self._read_tools),
            self._remember("system", _find(members, [(name,) for name in self.layout.system]), self._read_system),
            self._read_settings(members, headers),
            self._read_own_settings(members),
            None if row.mark_member is None else read_mark(members.get(row.mark_member)),
            decode_text(options.get("mode")) == "explicit",
            lifetime or decode_text(options.get("ttl")),
        )
        if memo is not None:
            memo.store(name, raw, front, front.tools.memory_size + front.system.memory_size)
        return front

    def _remember(
        self, section: Section, located: _LocatedList, read: Callable[[str, bytes], PackedBlocks]
    ) -> PackedBlocks:
        """Return the blocks of a section, from the memo if it was read before."""
        where, raw = located[0], bytes(located[1])
        if not raw:
            return _NOTHING
        name = f"{self.api}:{section}:{where}:{self.row.ignores}:{len(raw)}"
        if self.memo is not None and (known := self.memo.value(name, raw)) is not None:
            return cast("PackedBlocks", known)
        blocks = read(where, compact_json(raw))
        if self.memo is not None:
            self.memo.store(name, (raw,), blocks, blocks.memory_size)
        return blocks

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
        """Return the settings that may be part of a cache key. A translated request has them under other names."""
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


def _find_history(layout: PromptLayout, members: Mapping[str, msgspec.Raw]) -> _LocatedList:
    """Return the first list of messages."""
    for name in layout.history:
        if name in members:
            return name, memoryview(members[name])
    return "", memoryview(b"")


def _find(members: Mapping[str, msgspec.Raw], paths: Iterable[tuple[str, ...]]) -> _LocatedList:
    """Return the first member among ``paths``, each the names from the outside in; empty without one."""
    for path in paths:
        inner = members
        for name in path[:-1]:
            inner = decode_object(inner.get(name))
        if (raw := inner.get(path[-1])) is not None:
            return ".".join(path), memoryview(raw)
    return "", memoryview(b"")
