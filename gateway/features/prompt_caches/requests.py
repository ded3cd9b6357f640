"""Reader of the prompts of sent requests, with a memo of each client's earlier ones."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import islice
from typing import Final, TypeAlias

import msgspec
from msgspec import structs

from gateway.features.prompt_caches.conversations import Parent, RememberedPrompts
from gateway.features.prompt_caches.memo import PromptMemo
from gateway.features.prompt_caches.memory import PromptMemory
from gateway.features.prompt_caches.positions import boundary_positions, each_anchor, last_anchor, lifetime_of
from gateway.features.prompt_caches.prompts import LARGEST, Anchor, PromptDigest
from gateway.features.prompt_caches.reading import HEADER, PromptSource, ReadList, members_of
from gateway.features.prompt_caches.rows import RawBlock, make_rows
from gateway.features.prompt_caches.structures import Structure
from gateway.features.prompt_caches.tables.kinds import OTHER
from gateway.features.prompt_caches.tables.layouts import ASSISTANT, LAYOUTS
from gateway.http.offload import LARGE, offload
from providers.catalog.prompt_caching import CachedSection, CachingRow
from streams.events import Api
from streams.surrogates import NOT_JSON, decode_or

_LAST: Final = 2
"""The anchors at the end of a prompt that are read with it."""

_MOST_MEMOS: Final = 128
"""Clients whose messages are recognized without parsing them."""

MOST_MEMO_BYTES: Final = 32 * 2**20
"""Bytes of memory of the digests by which they are recognized."""

_LARGE_MEMO: Final = MOST_MEMO_BYTES // _MOST_MEMOS
"""Bytes of memory up to which the memo of each client may have digests."""

_MOST_HASHED: Final = 2**20
"""Bytes that are hashed in the thread of the event loop, in less than a millisecond."""

_MAX_TEXT: Final = 4096
_CONTINUED: Final = ("previous_response_id", "previous_interaction_id")
"""Members by which the provider adds earlier turns."""

_DIAGNOSES: Final = (("diagnostics", "previous_message_id"), ("prompt_cache_options", "comparison_response_id"))
"""Members that request a provider's diagnosis of a miss, each with its member for the id of the earlier response."""

Members: TypeAlias = Mapping[str, msgspec.Raw]


class SentRequest(Structure, frozen=True):
    """The parts of an attempt's request on which the caching of its prompt depends.

    ``client`` is the client whose earlier exchanges count. ``body`` is the sent body or its members, ``headers`` are
    the sent ones in lower case. ``client_members`` are those of the client's request in ``client_api``, or a
    function for them; ``None`` if they were sent unchanged but for the model. Their history begins with
    ``client_earlier`` stored items. ``account`` identifies the server, the
    credential and the model, ``target`` is the entry's name, ``session`` the client program's name for its session,
    ``sent`` the time on the memory's clock. ``is_diagnosed``: its entry requests diagnoses, for which the next request
    needs its response's id."""

    client: str
    api: Api
    body: bytes | Members
    headers: Mapping[str, str]
    row: CachingRow
    account: bytes
    target: str
    sent: float
    client_api: Api
    client_members: Members | Callable[[], Members] | None = None
    requested_model: str | None = None
    session: str | None = None
    edits: tuple[str, ...] = ()
    move: str = ""
    is_diagnosed: bool = False
    client_earlier: int = 0

    @property
    def key_headers(self) -> tuple[str | None, ...]:
        """The headers that are in the provider's key."""
        return tuple([self.headers.get(name) for name in _header_names(self.row.settings)])


@lru_cache(maxsize=256)
def _header_names(settings: tuple[tuple[str, CachedSection], ...]) -> tuple[str, ...]:
    """Return the names of the headers among the settings of a row."""
    return tuple(name.removeprefix(HEADER) for name, _ in settings if name.startswith(HEADER))


class ReadPrompts(Structure, frozen=True):
    """The prompt of a request as sent, and as the client wrote it, with everything that takes longer for larger ones.

    ``anchors`` are the last two of the client's prompt, the last first; ``anchor`` is the last one up to its deepest
    boundary, ``None`` without one. ``boundaries`` are the positions where it leaves entries if it succeeds, in order,
    with their lifetimes. The provider adds the turns up to the response ``earlier``. ``members`` are those of the sent
    body, ``client_members`` those of the client's. ``remembered`` is ``None`` if the prompt has too many tools for the
    memory. ``key_headers`` are those of the request."""

    row: CachingRow
    members: Members
    client_members: Members
    prompt: PromptDigest
    client_prompt: PromptDigest | None
    anchors: tuple[Anchor, ...]
    anchor: Anchor | None
    boundaries: tuple[tuple[int, float | None], ...]
    earlier: str | None
    remembered: RememberedPrompts | None
    key_headers: tuple[str | None, ...]

    @property
    def until(self) -> int:
        """The position in the prompt as sent after which its text may change: the deepest boundary that it leaves."""
        return self.boundaries[-1][0] if self.boundaries else self.prompt.end

    @property
    def other_anchor(self) -> Anchor | None:
        """Another anchor of the newest message, if the client marks none of its blocks: its last text may change."""
        own = self.own
        if len(self.anchors) < _LAST or (own.marks and own.marks[-1][0] > own.history_start):
            return None
        return self.anchors[1] if self.anchors[1].position > own.roles.rfind(ASSISTANT) else None

    @property
    def stable(self) -> bytes:
        """The prefix of tools and system texts."""
        return self.prompt.prefix(self.prompt.history_start) or b""

    def without_members(self) -> "ReadPrompts":
        """Return the prompts without the request, which may be large and which a long stream does not need."""
        return structs.replace(self, members={}, client_members={})

    def belongs_to(self, sent: SentRequest) -> bool:
        """Return whether these are the prompts of ``sent``, which was read before it was sent."""
        is_same = sent.client_members is None and self.members is sent.body and self.row is sent.row
        return is_same and self.key_headers == sent.key_headers

    @property
    def own(self) -> PromptDigest:
        """The prompt as the client wrote it."""
        return self.client_prompt or self.prompt


class UnreadRequest:
    """A sent request whose prompts are to be read. The event loop makes it, and any thread may read it.

    ``new`` are the bytes of all ``size`` ones that were not read before; the others take much less time."""

    def __init__(self, sent: SentRequest, memo: PromptMemo[ReadList], size: int) -> None:
        self.sent, self.new, self.size = sent, size, size
        self._memo = memo
        self._members: tuple[Members, Members] | None = None
        self._sources: list[PromptSource] = []
        if not callable(sent.client_members) and not (isinstance(sent.body, bytes) and len(sent.body) > _MOST_HASHED):
            self._open()
            self.new -= sum([one.look_up(_MOST_HASHED) for one in self._sources])

    @property
    def is_short(self) -> bool:
        """Whether reading it takes no longer than a switch to a thread."""
        if self._members is None or continued_response(self._members[0]) is not None:
            return self.size <= LARGE  # all of its digests may be computed again, after those of earlier turns
        return self.new <= LARGE

    def _open(self) -> None:
        """Find the members of the request; there are no sources if it is none."""
        sent, row, given = self.sent, self.sent.row, self.sent.client_members
        try:
            members, found = (
                members_of(sent.api, sent.body, self._memo) if isinstance(sent.body, bytes) else (sent.body, None)
            )
            own = members if given is None else given() if callable(given) else given
        except NOT_JSON:
            self._members = {}, {}
            return
        self._members = members, own
        if sent.api in LAYOUTS:
            self._sources.append(PromptSource(sent.api, members, row, sent.headers, self._memo, 0, found))
            if given is not None and sent.client_api in LAYOUTS:
                self._sources.append(PromptSource(sent.client_api, own, row, {}, self._memo, sent.client_earlier))

    def read(self, key: bytes) -> ReadPrompts | None:
        """Return the prompts, with ``key`` as the key of all digests; ``None`` if the request has none.

        The client's memo has all new parts from now on."""
        if self._members is None:
            self._open()
        try:
            prompts = [one.read(key) for one in self._sources]
        except NOT_JSON:
            return None
        if not prompts or self._members is None:
            return None
        client_prompt = prompts[1] if len(prompts) > 1 else None
        return plan_prompts(self.sent.row, self._members, prompts[0], client_prompt, self.sent.key_headers, key)


class PromptReader:
    """The reader of all prompts of a process, with the keys of ``memory``."""

    def __init__(self, memory: PromptMemory) -> None:
        self.memory = memory
        self._memos: OrderedDict[str, PromptMemo[ReadList]] = OrderedDict()

    def open(self, sent: SentRequest, size: int = 0) -> UnreadRequest:
        """Return a request of ``size`` bytes, with the parts that were read before.

        This hashes at most a mebibyte of each part, which takes less time than a switch to a thread."""
        memo = self._memos.pop(sent.client, None) or PromptMemo()
        self._memos[sent.client] = memo
        if len(self._memos) > _MOST_MEMOS:
            self._memos.popitem(last=False)
        return UnreadRequest(sent, memo, size)

    def read(self, unread: UnreadRequest) -> ReadPrompts | None:
        """Return the prompts of a request, in the event loop."""
        read = unread.read(self.memory.key)
        self._limit_memos(unread.sent.client)
        return read

    async def read_in_thread(self, unread: UnreadRequest) -> ReadPrompts | None:
        """Return the prompts of a request, in a thread if much of it is new."""
        read = await offload(unread.new, unread.read, self.memory.key)
        self._limit_memos(unread.sent.client)
        return read

    def complete_prompts(self, read: ReadPrompts, parent: Parent | None) -> ReadPrompts:
        """Return the whole prompts of a request to which the provider may add earlier turns, those of ``parent``.

        An unknown history is a placeholder, the digest of the response's id. It becomes part of each prefix, so that no
        other history has an equal one."""
        if read.earlier is None:
            return read
        if parent is not None:
            prompt = parent.prompt.continued_by(read.prompt)
        else:
            response = self.memory.response_anchor(read.earlier)
            block = RawBlock(0, -1, -1, ASSISTANT, OTHER, response)
            unknown = PromptDigest(read.prompt.api, history=make_rows([block], self.memory.key))
            prompt = unknown.continued_by(read.prompt)
        members = read.members, read.client_members
        return plan_prompts(read.row, members, prompt, None, read.key_headers, self.memory.key)

    def _limit_memos(self, latest: str) -> None:
        """Drop the least recently used of the large memos until all together have few enough bytes, if that of the
        client ``latest``, which may have grown, is large."""
        grown = self._memos.get(latest)
        size = 0 if grown is None or grown.size <= _LARGE_MEMO else self.memo_size
        for client, memo in [*self._memos.items()]:
            if size <= MOST_MEMO_BYTES:
                break
            if memo.size > _LARGE_MEMO:
                size -= memo.size
                del self._memos[client]

    @property
    def memo_size(self) -> int:
        """The bytes of memory of all memos."""
        return sum([memo.size for memo in self._memos.values()])


def plan_prompts(
    row: CachingRow, members: tuple[Members, Members], prompt: PromptDigest, client_prompt: PromptDigest | None,
    key_headers: tuple[str | None, ...], key: bytes,
) -> ReadPrompts:  # fmt: skip
    """Return what a request with these prompts leaves in the memory and at the provider."""
    positions, own = boundary_positions(prompt, row), client_prompt or prompt
    anchors = tuple(islice(each_anchor(own, key), _LAST))
    last = anchors[0] if anchors else None
    if positions and positions[-1] < prompt.end and own.marks and own.marks[-1][0] > own.history_start:
        last = last_anchor(own, key, own.marks[-1][0])
    words = dict(prompt.marks)
    boundaries = tuple([(position, lifetime_of(prompt, row, words.get(position))) for position in positions])
    return ReadPrompts(
        row, *members, prompt, client_prompt, anchors, last, boundaries, continued_response(members[0]),
        _to_remember(prompt, client_prompt), key_headers,
    )  # fmt: skip


def _to_remember(prompt: PromptDigest, client_prompt: PromptDigest | None) -> RememberedPrompts | None:
    """Return both prompts as the memory has them, ``None`` if they do not fit."""
    if client_prompt is None:
        return None if (only := prompt.to_remember()) is None else (only, None)
    sent, client = prompt.to_remember(LARGEST // 2), client_prompt.to_remember(LARGEST // 2)
    return None if sent is None or client is None else (sent, client)


def continued_response(members: Members) -> str | None:
    """Return the id of the response that the provider continues, ``None`` if the request has its whole conversation."""
    for name in _CONTINUED:
        if name in members and isinstance(id := _read_small(members[name]), str):
            return id
    return None


def compared_response(members: Members) -> str | None:
    """Return the id of the response with which the provider compares the request, ``None`` without one."""
    for name, inner in _DIAGNOSES:
        if name in members and isinstance(found := _read_small(members[name]), dict):
            own = found.get(inner)
            return own if isinstance(own, str) else None
    return None


def _read_small(raw: msgspec.Raw) -> object:
    return None if len(raw) > _MAX_TEXT else decode_or(msgspec.json.decode, raw, None)
