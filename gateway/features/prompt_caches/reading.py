"""Reader of requests as prompts, for six APIs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, cast

import msgspec

from gateway.features.prompt_caches.chunks import TextChunks, read_chunks
from gateway.features.prompt_caches.items import (
    LIST,
    OBJECT,
    decode_object,
    decode_text,
    read_mark,
    read_mark_block,
    split_item,
    split_parts,
    take_marks,
    text_part,
)
from gateway.features.prompt_caches.memo import FoundBeginning, PromptMemo, hash_of
from gateway.features.prompt_caches.prompts import HEAD, TAIL, KeyMember, PromptDigest, Section
from gateway.features.prompt_caches.rows import (
    LONGEST,
    PLACE_NUMBERS,
    ROW,
    RawBlock,
    append_rows,
    end_at,
    make_rows,
    marks_of,
    short_digest,
)
from gateway.features.prompt_caches.tables.kinds import OTHER, TEXT
from gateway.features.prompt_caches.tables.layouts import LAYOUTS, SYSTEM, TOOL, USER
from providers.catalog.prompt_caching import CachedSection, CachingRow
from streams.events import Api
from streams.surrogates import NOT_JSON

HEADER: Final = "header:"
"""The beginning of a header's name among the settings of a row."""

_BILLING: Final = "billing_line"
_BILLING_TEXT: Final = b'"x-anthropic-billing-header:'
_DEFERRED: Final = "deferred_tools"
_OPTIONS: Final = "prompt_cache_options"
_SETTING: Final = 8
"""Bytes of the digest of a setting."""

_TEXT: Final = 100
"""Bytes of memory of the chunks of a text, in addition to their own."""

_LISTS: Final[tuple[Section, ...]] = ("tools", "system")
_BETWEEN: Final = b" \t\r\n,"
_MOST_MARKS: Final = 4
"""The last marked items, before which a history has checkpoints: the next request has other marks."""


class ReadList(NamedTuple):
    """The blocks of a list of tools, of system texts or of messages.

    ``parts`` are those of tools. ``system`` are the blocks of that section at the start of messages, which are not in
    ``rows``. ``chunks`` are those of system texts."""

    rows: bytes = b""
    parts: bytes = b""
    system: bytes = b""
    chunks: Mapping[int, TextChunks] = {}

    @property
    def memory_size(self) -> int:
        size = len(self.rows) + len(self.parts) + len(self.system)
        return size + sum([len(one) + _TEXT for one in self.chunks.values()])


class PromptSource:
    """The members of a request that make up its prompt, and the parts of them that ``memo`` knows.

    ``row`` decides which members are in ``PromptDigest.settings``, and which parts are ignored. ``headers`` (lower
    case) are those of the request as sent. The first ``earlier`` items of its history are stored turns. ``found`` is
    the known beginning of its history, if that was searched."""

    def __init__(
        self, api: Api, members: Mapping[str, msgspec.Raw], row: CachingRow, headers: Mapping[str, str],
        memo: PromptMemo[ReadList], earlier: int = 0, found: FoundBeginning[ReadList] | None = None,
    ) -> None:  # fmt: skip
        self._api, self._layout, self._members, self._row = api, LAYOUTS[api], members, row
        self._headers, self._memo, self._earlier = headers, memo, earlier
        self._lists: dict[Section, ReadList] = {}
        self._found = found
        self._is_limited, layout = True, self._layout
        self._located = _find(members, layout.tools), _find(members, layout.system), _find(members, layout.history)

    def look_up(self, most: int | None = None) -> int:
        """Find the known parts, which takes a hash of at most ``most`` bytes of each. Return the bytes of all."""
        size = 0
        for section, (where, view) in zip(_LISTS, self._located, strict=False):
            if section not in self._lists and (most is None or len(view) <= most):
                name = self._api, section, where, self._row.ignores, len(view), hash_of(view)
                if (known := self._memo.value(name)) is not None:
                    self._lists[section] = known
            size += len(view) if section in self._lists else 0
        where, view = self._located[2]
        self._is_limited = most is not None and any(len(one) > most for _, one in self._located)
        if self._found is None:
            self._found = self._memo.find(f"{self._api}:{where}", view, most)
        return size + (self._found.checkpoint.length if self._found else 0)

    def read(self, key: bytes) -> PromptDigest:
        """Return the prompt, in any thread, and store its new parts in the memo.

        Text that the memo knows is hashed once and not parsed."""
        if self._is_limited:
            self.look_up()
        tools, system, history = (
            self._read_list("tools", self._located[0], self._read_tools, key),
            self._read_list("system", self._located[1], self._read_system, key),
            self._read_history(key),
        )
        row, members, chunks = self._row, self._members, dict(system.chunks)
        if history.system:
            first = len(system.rows) // ROW
            chunks |= {first + number: text for number, text in history.chunks.items()}
        options = decode_object(members.get(_OPTIONS))
        lifetime = None if row.lifetime_member is None else decode_text(members.get(row.lifetime_member))
        return PromptDigest(
            self._api, tools.rows, tools.parts, append_rows(system.rows, history.system), chunks,
            self._read_settings(_paths_of(row.settings), key), self._read_settings(_paths_of(_own(self._api)), key),
            None if row.mark_member is None else read_mark(members.get(row.mark_member)),
            decode_text(options.get("mode")) == "explicit", lifetime or decode_text(options.get("ttl")), False,
            history.rows,
        )  # fmt: skip

    # Lists of tools and system texts

    def _read_list(
        self, section: Section, located: tuple[str, memoryview], read: Callable[[str, bytes, bytes], ReadList],
        key: bytes,
    ) -> ReadList:  # fmt: skip
        where, view = located
        if not view:
            return ReadList()
        if (known := self._lists.get(section)) is not None:
            return known
        name = self._api, section, where, self._row.ignores, len(view), hash_of(view)
        value = read(where, compact_json(bytes(view)), key)
        self._memo.store(name, value, value.memory_size)
        return value

    def _read_tools(self, where: str, raw: bytes, key: bytes) -> ReadList:
        blocks: list[RawBlock] = []
        parts: list[bytes] = []

        def add(within: str, index: int, part: int, members: dict[str, msgspec.Raw], raw: bytes) -> None:
            """Add a tool, and the digests of its name, description and schema."""
            if _DEFERRED in self._row.ignores and bytes(members.get("defer_loading", b"")) == b"true":
                return
            is_marked, mark = take_marks(self._layout, members)
            raw = msgspec.json.encode(members) if is_marked else raw
            place = PLACE_NUMBERS[where, within]
            blocks.append(RawBlock(place, index, part, TOOL, OTHER, raw, mark))
            wrapper = next((name for name in self._layout.tool_wrapper if name in members), None)
            inner = members if wrapper is None else decode_object(members[wrapper])
            for words in (("name", "type"), *self._layout.tool_words):
                value = next((bytes(inner[word]) for word in words if word in inner), b"")
                parts.append(short_digest(value, key))

        for index, item in enumerate(LIST.decode(raw) if raw.startswith(b"[") else ()):
            members = decode_object(item)
            if (mark := read_mark_block(self._layout, members)) is not None:
                if blocks:
                    blocks[-1].mark = mark
                continue
            if (nested := next((name for name in self._layout.tool_lists if name in members), None)) is None:
                add("", index, -1, members, bytes(item))
                continue
            for part, inner in enumerate(LIST.decode(members.pop(nested))):
                add(nested, index, part, decode_object(inner), bytes(inner))
            if members:
                add("", index, -1, members, msgspec.json.encode(members))
        return ReadList(make_rows(blocks, key), b"".join(parts))

    def _read_system(self, where: str, raw: bytes, key: bytes) -> ReadList:
        if raw.startswith(b"{"):
            content = bytes(decode_object(msgspec.Raw(raw)).get(self._layout.parts, b"null"))
            blocks = split_parts(self._layout, f"{where}.{self._layout.parts}", -1, content, SYSTEM)
        else:
            blocks = split_parts(self._layout, where, -1, raw, SYSTEM)
        if _BILLING in self._row.ignores:
            blocks = [one for one in blocks if one.text is None or not one.text.startswith(_BILLING_TEXT)]
        return ReadList(make_rows(blocks, key), chunks=_chunks_of(blocks, key))

    # Settings

    def _read_settings(self, paths: Iterable["_SettingPath"], key: bytes) -> tuple[KeyMember, ...]:
        found = []
        for name, section, path, header in paths:
            if header:
                value = self._headers.get(header, "").encode()
            elif path[0] in self._members:
                value = _member_at(self._members, path)
            else:
                continue
            if value and value != b"null":
                found.append(KeyMember(name, section, short_digest(value, key, _SETTING)))
        return tuple(found)

    # The history

    def _read_history(self, key: bytes) -> ReadList:
        """Return the blocks of a list of items, or of a text that is one user message."""
        where, view = self._located[2]
        first, found, layout = bytes(view[:1]), self._found, self._layout
        if first == b'"':
            text, place = bytes(view), PLACE_NUMBERS[where, ""]
            block = RawBlock(place, -1, -1, USER, TEXT, text_part(text), None, text)
            return ReadList(make_rows([block], key))
        if first != b"[":
            return ReadList()
        index, begin, known = 0, 1, ReadList()
        if found is not None:
            index, begin, known = found.checkpoint.items, found.checkpoint.length, found.known.value
            while view[begin] in _BETWEEN:
                begin += 1
        rows = known.rows if found is None else known.rows[: found.checkpoint.count * ROW]
        items, start = LIST.decode(b"[" + bytes(view[begin:])), index
        parts, last, count, system = [rows], rows[-ROW:], len(rows) // ROW, list[RawBlock]()
        places, marked = list[tuple[int, int]](), list[tuple[int, int]]()
        for number, item in enumerate(items):
            raw = compact_json(bytes(item))
            blocks = split_item(layout, where, index, raw)
            index += 1
            if not count and layout.system_roles and blocks and all(one.role == SYSTEM for one in blocks):
                system += blocks
                continue
            # Blocks that will be in the gap are compared by the digests of beginnings only.
            more = make_rows(blocks, key, last, has_loose=count < HEAD or number + TAIL >= len(items))
            if self._earlier and start + number == self._earlier:
                places.append((number, count))
            elif any(marks_of(more)):
                marked.append((number, count))
            parts.append(more)
            last, count = more[-ROW:] or last, count + len(more) // ROW
        read, chunks = (make_rows(system, key), _chunks_of(system, key)) if system else (known.system, known.chunks)
        value = ReadList(b"".join(parts), system=read, chunks=chunks)
        places = sorted({*places, *marked[-_MOST_MARKS:], (len(items), count)})
        self._store(view, begin, items, places, value)
        return value

    def _store(
        self, view: memoryview, begin: int, items: Sequence[msgspec.Raw], places: Iterable[tuple[int, int]],
        value: ReadList,
    ) -> None:  # fmt: skip
        """Store a history with checkpoints after the numbers of items in ``places``, each with its number of blocks."""
        found, name = self._found, f"{self._api}:{self._located[2][0]}"
        first, ends, at, replaces = 0, [0], begin, False
        for item in items:
            while view[at] in _BETWEEN:
                at += 1
            at += len(item)
            ends.append(at)
        if found is not None:
            first, last = found.checkpoint.items, found.known.checkpoints[-1].count
            replaces = end_at(value.rows, last) == end_at(found.known.value.rows, last)
        checkpoints = [(ends[number], first + number, count) for number, count in places if number]
        self._memo.store_list(name, view, checkpoints, value, value.memory_size, found, replaces=replaces)


def members_of(
    api: Api, body: bytes, memo: PromptMemo[ReadList]
) -> tuple[Mapping[str, msgspec.Raw], FoundBeginning[ReadList] | None]:
    """Return the members of a request's ``body``, and the known beginning of its history.

    The beginning of its history that ``memo`` knows is left out while JSON is decoded: to find the end of a list takes
    a millisecond for a megabyte, and its hash 25 microseconds."""
    for name in LAYOUTS[api].history if api in LAYOUTS else ():
        label = b'"%b":' % name.encode()
        start = body.find(label + b"[") + len(label)
        if start < len(label) or (found := memo.find(f"{api}:{name}", memoryview(body)[start:])) is None:
            continue
        rest = start + found.checkpoint.length
        while body[rest] in _BETWEEN:
            rest += 1
        # The list may be a nested one, or not the last one of this name.
        if decode_object(msgspec.Raw(body[:start] + b"[]}")).keys() >= {name}:
            members = OBJECT.decode(b"".join((body[:start], b"[", body[rest:])))
            end = rest + len(members[name]) - 1
            if bytes(members[name]) == b"[" + body[rest:end]:
                return {**members, name: cast("msgspec.Raw", memoryview(body)[start:end])}, found
    return OBJECT.decode(body), None


class _SettingPath(NamedTuple):
    """A setting in a row: the names of a member from the outside in, or a header."""

    name: str
    section: Section
    path: tuple[str, ...]
    header: str


@lru_cache(maxsize=256)
def _paths_of(settings: tuple[tuple[str, CachedSection], ...]) -> tuple[_SettingPath, ...]:
    return tuple(
        _SettingPath(name, section, tuple(name.split(".")), name.removeprefix(HEADER) if HEADER in name else "")
        for name, section in settings
    )


@lru_cache
def _own(api: Api) -> tuple[tuple[str, CachedSection], ...]:
    """Return the settings that may be part of a cache key. A translated request has them under other names."""
    return tuple((name, "history") for name in LAYOUTS[api].settings)


def compact_json(raw: bytes) -> bytes:
    """Return ``raw`` without white space between tokens; unchanged if it is no JSON, or very long."""
    if len(raw) > LONGEST:
        return raw
    try:
        return msgspec.json.format(raw, indent=-1)
    except NOT_JSON:
        return raw


def _chunks_of(blocks: Sequence[RawBlock], key: bytes) -> Mapping[int, TextChunks]:
    texts = ((number, decode_text(one.text, len(one.text or b""))) for number, one in enumerate(blocks))
    return {number: read_chunks(text, key) for number, text in texts if text}


def _member_at(members: Mapping[str, msgspec.Raw], path: Sequence[str]) -> bytes:
    """Return the compact JSON of the member at a path, b"" without one."""
    found = _raw_at(members, path)
    return b"" if found is None else compact_json(bytes(found))


def _raw_at(members: Mapping[str, msgspec.Raw], path: Sequence[str]) -> msgspec.Raw | None:
    for name in path[:-1]:
        members = decode_object(members.get(name))
    return members.get(path[-1])


def _find(members: Mapping[str, msgspec.Raw], paths: Iterable[str]) -> tuple[str, memoryview]:
    """Return the first of ``paths`` that is in ``members``, with its JSON."""
    for path in paths:
        if path in members:
            return path, memoryview(members[path])
        if "." in path and (raw := _raw_at(members, path.split("."))) is not None:
            return path, memoryview(raw)
    return "", memoryview(b"")
